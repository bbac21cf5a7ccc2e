# shellcheck shell=bash
# For the scripts that run in a room: checks with a line each, and what they have in common.
set -uo pipefail
cd /source || exit 1
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
log=/tmp/log

# check NAME COMMAND...
check() {
  local name=$1 status=0
  shift
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" = 0 ]; then
    echo "ok $name"
  else
    echo "FAIL $name: status $status of: $*"
    tail -n 30 "$log" | sed 's/^/    /'
    grep -sE '\[(emerg|alert|crit)\]' /var/log/nginx/error.log | tail -n 5 | sed 's/^/    nginx: /'
  fi
}

# refuses NAME STATUS TEXT COMMAND... : it ends with the status and says the text.
refuses() {
  local name=$1 wanted=$2 text=$3 status=0
  shift 3
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" = "$wanted" ] && grep -qF -- "$text" "$log"; then
    echo "ok $name"
  else
    echo "FAIL $name: status $status instead of $wanted, or it does not say '$text'"
    tail -n 30 "$log" | sed 's/^/    /'
  fi
}

# poll COMMAND... waits until the command succeeds: a minute, which a machine needs that is busy with other scenarios.
poll() {
  local deadline=$((SECONDS + 60))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ]; then
      "$@"
      return
    fi
    sleep 0.1
  done
}

ended() { [ ! -e "/proc/$1" ]; }

# same NAME EXPECTED FOUND
same() {
  if [ "$2" = "$3" ]; then
    echo "ok $1"
  else
    echo "FAIL $1: expected '$2', found '$3'" | sed '2,$s/^/    /'
  fi
}

# Everything that an installation might change, a line each: kind, mode, owner, name; contents of what lies in /etc, size and time of
# the rest. The backups that the tools for accounts keep are no part of it, nor is what the responder itself writes.
snapshot() {
  local directory not=(! -name 'passwd-' ! -name 'group-' ! -name 'shadow-' ! -name 'gshadow-' ! -name 'sub?id-' ! -name '.pwd.lock'
    ! -name 'ledger.db*' ! -name 'responder.log*' ! -name access.log)
  for directory in /etc /usr/local /var/www /var/lib/corenexis-cdn /var/log/corenexis-cdn /home /srv /opt; do
    [ -e "$directory" ] || continue
    find "$directory" "${not[@]}" -printf '%y %m %u:%g %p %l\n'
    find "$directory" -type f "${not[@]}" ! -path '/etc/*' -printf '%s bytes %p modified %T@\n'
  done | LC_ALL=C sort
  find /etc -type f "${not[@]}" -exec sha256sum {} + | LC_ALL=C sort -k 2
}

# What differs from the snapshot in the file but belongs to accounts, whose names and groups an installation adds.
differences() {
  snapshot | diff "$1" - | grep '^[<>]' | grep -vE ' /etc/(passwd|group|shadow|gshadow)$'
}

# unchanged NAME SNAPSHOT: the same as in the file.
unchanged() {
  snapshot >/tmp/now
  check "$1" diff "$2" /tmp/now
}

# ---------------------------------------------------------------- nginx

# nginx is in the background before it has written its pid file, before its processes have their titles, and before it has read a
# configuration again. These wait for that.
start_nginx() {
  nginx
  poll nginx_is_up
}

nginx_is_up() {
  grep -q '^nginx: master process' "/proc/$(cat /run/nginx.pid)/cmdline" && [ -n "$(nginx_workers)" ]
}

# reload_by COMMAND...
reload_by() {
  local old
  old=$(nginx_workers)
  "$@"
  poll nginx_has_replaced "$old"
}

# The workers that take connections. One that was just started has its master's title until it has its own.
nginx_workers() {
  local master
  for master in $(grep -l '^nginx: master process' /proc/[0-9]*/cmdline 2>/dev/null | tr -dc '0-9\n'); do
    grep -l "^PPid:[[:space:]]*$master\$" /proc/[0-9]*/status 2>/dev/null
  done | sed 's|status$|cmdline|' | xargs -r grep -sL 'is shutting down'
}

# Not by a pipe: `grep -q` ends at the first match, and a writer that fails by that would be taken for no match.
nginx_has_replaced() {
  local now
  now=$(nginx_workers)
  [ -n "$now" ] && { [ -z "$1" ] || ! grep -qxF -- "$1" <<<"$now"; }
}

stop_nginx() {
  local master
  master=$(cat /run/nginx.pid)
  nginx -s quit
  poll ended "$master"
}

# A site of a shop on the port 80, as hosts have them: PHP, and long expiry for images by their names.
make_shop() {
  mkdir -p /var/www/shop/img
  echo '<?php echo "php says ", 6 * 7;' >/var/www/shop/index.php
  echo 'pixels' >/var/www/shop/img/logo.png
  cat >/etc/nginx/sites-available/shop <<'SITE'
# The shop.
server {
    listen 80;
    server_name www.shop.example shop.example; # both
    root /var/www/shop;
    index index.php;

    location ~ \.php$ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_pass unix:/run/shop-php.sock;
    }

    location ~* "\.(png|jpe?g|gif|webp)$" {
        add_header X-Shop static;
        expires 30d;
    }
}
SITE
  ln -s ../sites-available/shop /etc/nginx/sites-enabled/shop
  local fpm
  fpm=$(find /usr/sbin -name 'php-fpm*' | sort | tail -n 1)
  printf '[global]\nerror_log = /tmp/fpm.log\n[www]\nuser = www-data\nlisten = /run/shop-php.sock\nlisten.owner = www-data\npm = static\npm.max_children = 1\n' >/tmp/fpm.conf
  "$fpm" --fpm-config /tmp/fpm.conf >/dev/null 2>&1
}

shop_works() {
  [ "$(curl -s -H 'Host: shop.example' http://127.0.0.1/index.php)" = "php says 42" ] &&
    [ "$(curl -s -H 'Host: shop.example' http://127.0.0.1/img/logo.png)" = pixels ] &&
    grep -q 'X-Shop: static' <<<"$(curl -s -D - -o /dev/null -H 'Host: shop.example' http://127.0.0.1/img/logo.png)"
}

# logs_anew HOST: a request to the host is in the log, and there is a rotated one.
logs_anew() {
  curl -s -o /dev/null -H "Host: $1" http://127.0.0.1/image/v2/
  test -s /var/log/corenexis-cdn/responder.log.1 && grep -q event=request /var/log/corenexis-cdn/responder.log
}

cdn() {
  runuser -u corenexis-cdn -- corenexis-cdn "$@"
}

# upload HOST [URL] uploads a sample as the client "checks", and prints the path of the image.
upload() {
  [ -s /tmp/token ] || cdn client add checks --plan 3m | sed -n 's/^client_token=//p' >/tmp/token
  curl -s -H "Host: $1" -F client_id=checks -F "client_token=$(cat /tmp/token)" -F store_duration=7D -F image=@samples/lake.jpg \
    "${2:-http://127.0.0.1}/image/v2/" | sed -n 's|.*/p/\([^"]*\)".*|\1|p'
}

# serves HOST PATH [URL]: the image is the sample.
serves() {
  [ -n "$2" ] && curl -sf -H "Host: $1" "${3:-http://127.0.0.1}/p/$2" | cmp - samples/lake.jpg
}
