# shellcheck shell=bash disable=SC2016,SC2317
# `install.sh --https` with certbot and a certificate authority of Let's Encrypt's own test program, pebble.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

command -v certbot pebble >/dev/null || {
  echo "certbot or pebble is not installed"
  exit 77
}
printf '127.0.0.1 localhost cdn.example.com shop.example www.shop.example\n192.0.2.1 elsewhere.example\n' >/etc/hosts
# shellcheck source=tests/install/authority.sh
. install/authority.sh
start_authority

# status URL
status() {
  curl -sk -o /dev/null -w '%{http_code}' "$@"
}
uploads_over_https() {
  local path
  path=$(curl -sk -F client_id=checks -F "client_token=$(cat /tmp/token)" -F store_duration=7D -F image=@samples/lake.jpg "https://$1/image/v2/" |
    sed -n 's|^{"status":"success","url":"https://'"$1"'/p/\([^"]*\)".*|\1|p')
  [ -n "$path" ] && curl -skf "https://$1/p/$path" | cmp - samples/lake.jpg
}
add_client() {
  rm -f /tmp/token
  cdn client add checks --plan 3m | sed -n 's/^client_token=//p' >/tmp/token
}

# ---------------------------------------------------------------- failures leave http

start_nginx
snapshot >/tmp/before
refuses "--email without --https" 2 "belong to --https" ./install.sh --domain cdn.example.com --email a@example.com --yes
refuses "the authority does not answer" 1 "goes on with http" \
  ./install.sh --domain cdn.example.com --https --acme-server https://localhost:14999/dir --yes
add_client
same "http serves" 0 "$(serves cdn.example.com "$(upload cdn.example.com)" && echo 0)"
same "public_url is http" http://cdn.example.com "$(cdn config get site.public_url)"
check "a run without --https does not ask for a certificate" sh -c './install.sh --yes 2>&1 | grep "nothing to do"'
check "purge" ./install.sh --uninstall --purge --yes
refuses "the name leads elsewhere" 1 "has to lead to this host" \
  ./install.sh --domain elsewhere.example --https --acme-server "$authority" --yes
same "http serves" 200 "$(status -H 'Host: elsewhere.example' http://127.0.0.1/image/v2/health)"
check "purge" ./install.sh --uninstall --purge --yes

# ---------------------------------------------------------------- a name that no site has

check "one command" ./install.sh --domain cdn.example.com --https --email admin@example.com --acme-server "$authority" --yes
sed 's/^/| /' "$log"
add_client
same "public_url is https" https://cdn.example.com "$(cdn config get site.public_url)"
check "uploads over https" uploads_over_https cdn.example.com
check "with the certificate of the authority" sh -c 'echo | openssl s_client -connect 127.0.0.1:443 -servername cdn.example.com 2>/dev/null | grep -i "issuer.*pebble"'
same "http redirects" "301 https://cdn.example.com/view/x" "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' http://cdn.example.com/view/x)"
same "and uploads keep their method" 308 "$(status -X POST http://cdn.example.com/image/v2/)"
check "a renewal is answered over http" certbot renew --force-renewal --cert-name cdn.example.com --no-random-sleep-on-renew
check "and makes nginx read it" grep -q '^renew_hook = .*reload' /etc/letsencrypt/renewal/cdn.example.com.conf
snapshot >/tmp/installed
check "again" ./install.sh --yes
unchanged "changes nothing" /tmp/installed
check "and with --https" sh -c './install.sh --https --yes 2>&1 | grep "nothing to do"'
renewal=/etc/letsencrypt/renewal/cdn.example.com.conf
serial() { openssl x509 -noout -serial -in /etc/letsencrypt/live/cdn.example.com/cert.pem; }
before=$(serial)
sed -i 's|^server = .*|server = https://acme-staging-v02.api.letsencrypt.org/directory|' "$renewal"
check "a certificate of --staging is replaced" ./install.sh --https --acme-server "$authority" --yes
same "by one of the authority" "1 another" "$(grep -c "^server = $authority\$" "$renewal") $([ "$(serial)" = "$before" ] || echo another)"
check "which is kept" sh -c './install.sh --https --yes 2>&1 | grep "nothing to do"'
check "an upgrade keeps https" sh -c 'printf "\n" >>dist/corenexis-cdn && ./install.sh --upgrade --yes'
check "uploads over https go on" uploads_over_https cdn.example.com
check "purge" ./install.sh --uninstall --purge --yes
rm -rf /etc/letsencrypt /var/lib/letsencrypt
snapshot | grep -v letsencrypt >/tmp/now
check "leaves nothing but certbot's files" diff <(grep -v letsencrypt /tmp/before) /tmp/now

# ---------------------------------------------------------------- a site that has only http

make_shop
reload_by nginx -s reload
snapshot >/tmp/before
check "a site with http alone" ./install.sh --domain shop.example --https --acme-server "$authority" --yes
add_client
check "uploads over https" uploads_over_https shop.example
same "the shop goes on over http" 0 "$(shop_works && echo 0)"
same "and https leads to it" "302 http://shop.example/index.php" "$(curl -sk -o /dev/null -w '%{http_code} %{redirect_url}' https://shop.example/index.php)"
check "purge" ./install.sh --uninstall --purge --yes
same "the shop goes on" 0 "$(shop_works && echo 0)"

# ---------------------------------------------------------------- sites that have a certificate

# What `certbot --nginx` makes of the shop.
certificate=/etc/letsencrypt/live/shop.example
sed -i "s|listen 80;|listen 80;\n    listen 443 ssl; # managed by Certbot\n    ssl_certificate $certificate/fullchain.pem;\n    ssl_certificate_key $certificate/privkey.pem;|" /etc/nginx/sites-available/shop
reload_by nginx -s reload
snapshot >/tmp/before
check "a site that certbot manages" ./install.sh --domain shop.example --https --yes
add_client
same "gets no block of ours" "" "$(find /etc/nginx -name 'zz-corenexis*')"
check "uploads over https" uploads_over_https shop.example
check "purge" ./install.sh --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before
sed -i "s/listen 443 ssl;.*/# &/; s/^ *ssl_/#&/" /etc/nginx/sites-available/shop
reload_by nginx -s reload
check "installed over http first" ./install.sh --domain shop.example --yes
add_client
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shop.example -keyout /etc/ssl/shop.key -out /etc/ssl/shop.pem 2>/dev/null
kill "$authority_pid"
check "a certificate of another tool" ./install.sh --https --certificate /etc/ssl/shop.pem --key /etc/ssl/shop.key --yes
check "uploads over https" uploads_over_https shop.example
check "again, without options" sh -c './install.sh --yes 2>&1 | grep "nothing to do"'
refuses "a certificate that is not there" 1 "cannot be read" ./install.sh --https --certificate /etc/ssl/none.pem --key /etc/ssl/shop.key --yes
check "purge" ./install.sh --uninstall --purge --yes
