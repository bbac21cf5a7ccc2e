# shellcheck shell=bash disable=SC2016,SC2317
# Sites as hosts have them: https with a redirect, names with wildcards, locations of their own; and nginx as hosts run it.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

conf=/etc/nginx/conf.d/site.conf
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=shop.example -keyout /tmp/key.pem -out /tmp/cert.pem >/dev/null 2>&1
purge() { ./install.sh --uninstall --purge --yes >/tmp/purge.log 2>&1; }

# site TEXT: the host's only site besides Debian's default one; nginx reads it.
site() {
  printf '%s\n' "$1" >$conf
  nginx -t 2>/tmp/nginx.said || cat /tmp/nginx.said
  if [ -s /run/nginx.pid ]; then reload_by nginx -s reload; else start_nginx; fi
  cp $conf /tmp/site.conf
}

# included NAME HOST LINES: the include lines stand behind the lines with these numbers, an upload is served, and a purge leaves the site
# as it was.
included() {
  check "$1: install" ./install.sh --domain "$2" --yes
  same "$1: the lines" "$3" "$(grep -n 'placed by install.sh' $conf | cut -d : -f 1 | tr '\n' ' ' | sed 's/ $//')"
  rm -f /tmp/token
  purge
  check "$1: the site is as it was" cmp /tmp/site.conf $conf
}

# in_the_way NAME HOST LINE: the installation is refused, names the line, and leaves every byte as it was.
in_the_way() {
  snapshot >/tmp/before
  refuses "$1 is refused" 1 "$conf, line $3: " ./install.sh --domain "$2" --yes
  unchanged "$1: nothing is changed" /tmp/before
}

# Once, the installer took a worker that was just started, and still had its master's title, for the master: it told the worker to reload,
# and nginx went on with its old configuration. Here workers are slow to start, and come before the master in the order of /proc.
if command -v cc >/dev/null; then
  cat >/tmp/slow.c <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <grp.h>
#include <unistd.h>
int initgroups(const char *user, gid_t group) {
  sleep(2);
  return ((int (*)(const char *, gid_t))dlsym(RTLD_NEXT, "initgroups"))(user, group);
}
C
  cc -shared -fPIC -o /tmp/slow.so /tmp/slow.c -ldl
  printf 'server {\n    listen 80;\n    server_name shop.example;\n}\n' >$conf
  LD_PRELOAD=/tmp/slow.so nginx
  poll nginx_is_up
  until [ "$(sh -c 'echo $$')" -gt 1000 ]; do :; done
  reload_by nginx -s reload
  check "workers that have just been started" ./install.sh --domain shop.example --yes
  purge
  stop_nginx
  rm $conf
fi

tls='server {
    listen 443 ssl;
    server_name shop.example;
    ssl_certificate /tmp/cert.pem;
    ssl_certificate_key /tmp/key.pem;
    root /var/www/html;
}'
for redirect in 'return 301 https://$host$request_uri;' 'location / { return 301 https://$host$request_uri; }' \
  'if ($host = shop.example) { return 301 https://$host$request_uri; } return 404;'; do
  site "$tls
server {
    listen 80;
    server_name shop.example;
    $redirect
}"
  included "a block that redirects by '$redirect' gets no include" shop.example 2
done

site 'server {
    listen 80;
    server_name *.shop.example;
}'
included "a wildcard" cdn.shop.example 2
site 'server {
    listen 80;
    server_name .shop.example;
}'
included ".name" shop.example 2
site 'server
{
    listen 80;
    server_name ~^(cdn|img)\.shop\.example$;
}'
included "a regular expression" cdn.shop.example 3
site 'server {
    listen 80 proxy_protocol;
    server_name shop.example;
}'
rm -f /etc/nginx/sites-enabled/default
reload_by nginx -s reload
included "proxy_protocol" shop.example 2
check "a block of its own beside proxy_protocol" ./install.sh --domain cdn.example.com --yes
check "listens as the others do" grep -q 'listen 80 proxy_protocol;' /etc/nginx/sites-available/corenexis-cdn
purge

site 'server { listen 80; server_name shop.example; root /var/www/html; }'
in_the_way "a block in one line" shop.example 1
site 'server {
    listen 80;
    server_name shop.example;
    location /p/ { root /var/www/html; }
}'
in_the_way "a location /p/ of the site" shop.example 4
site 'server {
    listen 80;
    server_name ~^(?!www)(.+)\.shop\.example$;
}'
in_the_way "an expression that cannot be evaluated" cdn.shop.example 3
site 'server {
    listen 80;
    server_name shop.example;
    return 301 https://www.shop.example$request_uri;
}'
in_the_way "a site that only redirects" shop.example 4
mkdir -p /srv/shop/view
site 'server {
    listen 80;
    server_name shop.example;
    root /srv/shop;
}'
in_the_way "a directory view of the site" shop.example 1
rm -r /srv/shop

# ---------------------------------------------------------------- the test upload

site 'server {
    listen 80;
    server_name shop.example;
    location / { return 200 "shop"; }
    auth_basic "members";
    auth_basic_user_file /etc/hostname;
}'
snapshot >/tmp/before
refuses "a test upload that the site refuses quotes the reply" 1 "401 Authorization Required" ./install.sh --domain shop.example --yes
check "and names --no-test" sh -c "./install.sh --domain shop.example --yes 2>&1 | grep -e '--no-test'"
unchanged "and everything is undone" /tmp/before
check "--no-test" ./install.sh --domain shop.example --no-test --yes
same "it is installed" 401 "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: shop.example' http://127.0.0.1/image/v2/health)"
purge
unchanged "a purge leaves nothing" /tmp/before

# ---------------------------------------------------------------- nginx as hosts run it

stop_nginx
mkdir -p /etc/web
sed 's|^pid .*|pid /etc/web/nginx.pid;|' /etc/nginx/nginx.conf >/etc/web/nginx.conf
sed -i 's|include /etc/nginx/conf.d|include /etc/web/conf.d|; s|include \([a-z]\)|include /etc/nginx/\1|' /etc/web/nginx.conf
sed -i '/modules-enabled/d; /sites-enabled/d' /etc/web/nginx.conf
mkdir /etc/web/conf.d
printf 'server {\n    listen 80;\n    server_name shop.example;\n}\n' >/etc/web/conf.d/site.conf
/usr/sbin/nginx -c /etc/web/nginx.conf -g 'daemon off;' >/tmp/foreground.log 2>&1 &
master=$!
poll grep '^nginx: master process' /proc/$master/cmdline
snapshot >/tmp/before
check "an nginx in the foreground, with another -c and another pid file" ./install.sh --domain shop.example --yes
check "is found: its site has the line" grep -q 'placed by install.sh' /etc/web/conf.d/site.conf
rm -f /tmp/token
same "and serves" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"
purge
unchanged "a purge leaves nothing" /tmp/before
same "and nginx has read that" 404 "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: shop.example' http://127.0.0.1/image/v2/health)"
kill $master
wait $master

# A supervisor in front of it, such as that of a container, has a command of its own.
rm -r /etc/web $conf
unshare --mount sh -c 'exec /usr/sbin/nginx -g "daemon off;"' >/tmp/foreground.log 2>&1 &
poll nginx_is_up
check "--nginx-reload" ./install.sh --domain cdn.example.com --nginx-reload 'date >>/tmp/reloads; nginx -s reload' --yes
same "is the command that is run" 1 "$(grep -c . /tmp/reloads)"
check "and remembered" ./install.sh --uninstall --purge --yes
same "for the removal" 2 "$(grep -c . /tmp/reloads)"
kill $!
