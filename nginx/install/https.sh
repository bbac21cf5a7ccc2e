# shellcheck shell=sh
# --https: a certificate by certbot's webroot method, or one that is there, and a server block for it. The installation over http is
# complete before a certificate is asked for, so that it stays where that fails.

# Sets $https where an earlier run had it, and $certificate and $key where there are such files. A run that has a certificate makes the
# server block; one that has none only lets nginx answer the challenges.
find_certificate() {
  certificate='' key=''
  for word in $(recorded_word options); do
    case $word in
    --https) https=1 ;;
    --certificate=*) : "${certificate_file:=${word#*=}}" ;;
    --key=*) : "${key_file:=${word#*=}}" ;;
    esac
  done
  [ -n "$https" ] || return 0
  if [ -n "$certificate_file" ]; then
    [ -r "$certificate_file" ] || err "--certificate $certificate_file: the file cannot be read"
    [ -r "$key_file" ] || err "--key $key_file: the file cannot be read"
    certificate=$certificate_file key=$key_file
  elif [ -r "/etc/letsencrypt/live/$domain/fullchain.pem" ] && [ -r "/etc/letsencrypt/live/$domain/privkey.pem" ]; then
    certificate=/etc/letsencrypt/live/$domain/fullchain.pem key=/etc/letsencrypt/live/$domain/privkey.pem
  fi
}

# certbot, where this run has to get a certificate. A site that has https needs none, which is known later; a plan with certbot is asked
# for before that only where the name has no certificate of its own.
need_certbot() {
  [ -n "$https" ] && [ -z "$certificate_file" ] || return 0
  name=$domain
  [ -n "$name" ] || name=$(sed -n 's|^[[:space:]]*public_url.*://\([^/:"]*\).*|\1|p' "$config" 2>/dev/null)
  [ -e "/etc/letsencrypt/live/$name/fullchain.pem" ] || site_has_https "$name" || need_cmd certbot certbot
}

# site_has_https NAME: whether a server block of the host with this name listens for https already, as far as the files tell before the program is there.
site_has_https() {
  have nginx && nginx -T 2>/dev/null | awk -v name="$1" '
    /^[ \t]*server[ \t]*\{/ { tls = 0; named = 0 }
    /^[ \t]*listen[ \t].*[ \t]ssl/ { tls = 1 }
    /^[ \t]*server_name[ \t]/ { line = $0; gsub(/;/, " ", line); if (index(line " ", " " name " ")) named = 1 }
    tls && named { found = 1 }
    END { exit !found }'
}

# Whether a server block of ours serves https: there is a certificate, and the site of the host, if it has one, listens for http alone.
# Sets $tls_block, and $scheme.
choose_tls_block() {
  tls_block=''
  [ -n "$https" ] && [ "$scheme" = http ] || return 0
  case $site:$port in
  own:80 | include:*) ;;
  own:*) err "--https needs port 80, where the certificate authority asks, and the block of this installation is on port $port" ;;
  *) err "--https: the sites of $panel get their certificate in the panel; then run this without --https" ;;
  esac
  if [ -n "$certificate" ]; then
    tls_block=1 scheme=https
    find_tls_listens
  fi
}

# The sockets that other blocks use for the port 443, with a server name that no site has.
find_tls_listens() {
  "$bin" nginx-sites "$tmp/nginx" --name corenexis-cdn.invalid --port 443 --ignore "$site_file" ${site_link:+--ignore "$site_link"} 2>/dev/null |
    awk -F '\t' '$1 == "listen" { print $2 }' >"$tmp/tls.listens" || : >"$tmp/tls.listens"
  if [ ! -s "$tmp/tls.listens" ]; then
    [ -n "$(recorded "$site_file" 1)" ] || is_free 443 || err "port 443 is taken by a program that is not nginx: end it, or leave --https out"
    echo 443 >"$tmp/tls.listens"
    [ ! -s /proc/net/if_inet6 ] || echo '[::]:443' >>"$tmp/tls.listens"
  fi
}

# With https, the URLs that are handed out say so.
change_scheme() {
  [ -n "$https" ] && [ "$scheme" = https ] && [ -e "$config" ] || return 0
  case $public_url in
  http://*) ;;
  *) return 0 ;;
  esac
  sed "s|^\([[:space:]]*public_url[[:space:]]*=[[:space:]]*[\"']\)http://\([^:\"']*\)\(:80\)\{0,1\}\([\"']\)|\1https://\2\4|" "$config" >"$tmp/config.toml"
  config_source=$tmp/config.toml
  public_url=$(config_get site.public_url "$config_source")
  case $public_url in
  https://*) say "public_url becomes $public_url" ;;
  *) err "$config: public_url could not be changed to https://: change it there, and run this again" ;;
  esac
}

# Whether the certificate is one of --staging, which a run without it replaces.
is_trial() {
  [ -n "$tls_block" ] && [ -z "$certificate_file$staging" ] && grep -qs '^server = https://acme-staging' "/etc/letsencrypt/renewal/$domain.conf"
}

# After the installation over http. Ends with an error that leaves it, or by the run that makes the server block.
get_certificate() {
  # An upgrade asks for none.
  [ -n "$certify" ] || return 0
  again=--keep-until-expiring
  if is_trial; then
    again=--force-renewal
  elif [ "$scheme" = https ]; then
    return
  fi
  nginx_runs || err "--https needs a running nginx, which answers the certificate authority: start it and run this again"
  say ""
  say "Asking for a certificate for $domain ..."
  set -- certonly --webroot --webroot-path "$docroot" --domain "$domain" --cert-name "$domain" --non-interactive --agree-tos \
    "$again" --deploy-hook "$(renewal_hook)"
  if [ -n "$email" ]; then
    set -- "$@" --email "$email"
  else
    set -- "$@" --register-unsafely-without-email
  fi
  [ -z "$staging" ] || set -- "$@" --staging
  [ -z "$acme_server" ] || set -- "$@" --server "$acme_server"
  if ! certbot "$@" >"$tmp/certbot" 2>&1 </dev/null || [ ! -r "/etc/letsencrypt/live/$domain/fullchain.pem" ]; then
    show "$tmp/certbot"
    err "no certificate was issued: the lines above say why. The site goes on with $scheme.
    The certificate authority fetches http://$domain/.well-known/acme-challenge/…: the name has to lead to this host, with port 80 open.
    Run this again afterwards; --staging tries it without using up Let's Encrypt's limits"
  fi
  check_renewal
  say "The certificate is /etc/letsencrypt/live/$domain/fullchain.pem"
  rm -rf -- "$tmp"
  # The second run finds it.
  if is_packaged; then set --; else set -- --prefix "$prefix"; fi
  exec sh "$here/install.sh" --https --yes --domain "$domain" "$@" ${no_test:+--no-test} ${no_cron:+--no-cron} ${no_service:+--no-service}
}

# nginx reads a renewed certificate when it is reloaded.
renewal_hook() {
  if [ -n "$nginx_reload" ]; then
    echo "$nginx_reload"
  elif [ "$manager" = systemd ]; then
    echo "systemctl reload nginx"
  elif [ "$manager" = openrc ]; then
    echo "rc-service nginx reload"
  else
    echo "$nginx -s reload"
  fi
}

# certbot renews what its timer or cron line finds; the hook is in the file of the certificate.
check_renewal() {
  grep -qs '^renew_hook = ' "/etc/letsencrypt/renewal/$domain.conf" ||
    say "Look at /etc/letsencrypt/renewal/$domain.conf: it has no renew_hook that reloads nginx, so a renewed certificate would not be used."
  if [ "$manager" = systemd ] && { systemctl is-enabled --quiet certbot.timer || systemctl is-enabled --quiet certbot-renew.timer; } 2>/dev/null; then
    return
  fi
  [ -e /etc/cron.d/certbot ] || grep -qs certbot /etc/crontab /etc/periodic/*/* ||
    say "Nothing here renews certificates: run 'certbot renew' once a day from a timer or cron."
}
