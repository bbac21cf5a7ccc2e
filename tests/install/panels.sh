# shellcheck shell=bash disable=SC2016,SC2218,SC2317
# Hosts with a panel: the directories and include lines of each, as its nginx files have them, in the real nginx. A panel writes its
# server blocks anew whenever it likes, so they must not be edited.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

# panel_host NAME DIRECTORY FILE...: installs on the host that was made, and removes it again. The directory is what the panel is known
# by; the files are to hold the include line.
panel_host() {
  local name=$1 marker=$2
  shift 2
  nginx -t >/dev/null 2>&1 || {
    echo "FAIL $name: the host of the test has no working nginx"
    nginx -t 2>&1 | sed 's/^/    /'
    return
  }
  start_nginx
  mkdir -p "$marker"
  snapshot >/tmp/before
  check "$name: found by itself" sh -c "./install.sh --domain shop.example --dry-run 2>&1 | grep -F '$1'"
  refuses "$name: a name that the panel does not have" 1 "$name has no site" ./install.sh --domain other.example --yes
  check "$name: install" ./install.sh --domain shop.example --yes
  local file
  for file; do
    check "$name: $file includes the snippet" grep -qx 'include .*/snippets/corenexis-cdn.conf;' "$file"
  done
  same "$name: the panel's own files are not touched" "" "$(differences /tmp/before | grep '^<')"
  rm -f /tmp/token
  same "$name: it serves" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"
  snapshot >/tmp/installed
  check "$name: install again" ./install.sh --yes
  unchanged "$name: changes nothing" /tmp/installed
  echo '# mine' >>"$1"
  check "$name: an edited addition" ./install.sh --yes
  check "$name: is kept, and nginx does not read the new one" sh -c "grep -q '# mine' '$1' && nginx -t"
  check "$name: purge" ./install.sh --uninstall --purge --yes
  unchanged "$name: nothing is left" /tmp/before
  rmdir "$marker"
  stop_nginx 2>/dev/null
}

# site FILE INCLUDE: a server block as a panel writes it.
site() {
  mkdir -p "$(dirname "$1")"
  printf 'server {\n    listen 80;\n    server_name shop.example www.shop.example;\n    root /var/www;\n    location / {\n        return 200 "shop";\n    }\n    include %s;\n}\n' "$2" >"$1"
}

# HestiaCP
useradd --create-home shop
site /home/shop/conf/web/shop.example/nginx.conf '/home/shop/conf/web/shop.example/nginx.conf_*'
chmod 755 /home/shop
ln -s /home/shop/conf/web/shop.example/nginx.conf /etc/nginx/conf.d/shop.example.conf
panel_host hestia /usr/local/hestia /home/shop/conf/web/shop.example/nginx.conf_corenexis-cdn
rm /etc/nginx/conf.d/shop.example.conf

# cPanel
mkdir -p /etc/nginx/conf.d/users/shop/shop.example
site /etc/nginx/conf.d/users/shop.conf 'conf.d/users/shop/shop.example/*.conf'
echo 'include /etc/nginx/conf.d/users/*.conf;' >/etc/nginx/conf.d/users.conf
panel_host cpanel /usr/local/cpanel /etc/nginx/conf.d/users/shop/shop.example/corenexis-cdn.conf
rm -r /etc/nginx/conf.d/users /etc/nginx/conf.d/users.conf

# Plesk: the directives are the panel's database's, so it is the administrator who enters them there.
site /var/www/vhosts/system/shop.example/conf/nginx.conf '/var/www/vhosts/system/shop.example/conf/vhost_nginx[.]conf'
echo 'include /var/www/vhosts/system/*/conf/nginx.conf;' >/etc/nginx/conf.d/zz_plesk.conf
start_nginx
mkdir /usr/local/psa
snapshot >/tmp/before
check "plesk: install" sh -c "./install.sh --domain shop.example --yes 2>&1 | grep -F 'Additional nginx directives'"
same "plesk: the panel's own files are not touched" "" "$(differences /tmp/before | grep '^<')"
echo 'include /etc/nginx/snippets/corenexis-cdn.conf;' >/var/www/vhosts/system/shop.example/conf/vhost_nginx.conf
reload_by nginx -s reload
rm -f /tmp/token
same "plesk: with the line entered it serves" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"
rm /var/www/vhosts/system/shop.example/conf/vhost_nginx.conf
check "plesk: purge" ./install.sh --uninstall --purge --yes
unchanged "plesk: nothing is left" /tmp/before
stop_nginx
rm -r /usr/local/psa /etc/nginx/conf.d/zz_plesk.conf /var/www/vhosts

# aaPanel, whose nginx is its own, not on the PATH and with its configuration elsewhere. A script stands for the build of it: it runs
# the real nginx with that configuration, and says what such a build says of itself.
mkdir -p /www/server/nginx/sbin /www/server/nginx/conf /www/server/panel/vhost/nginx/extension/shop.example
site /www/server/panel/vhost/nginx/shop.example.conf '/www/server/panel/vhost/nginx/extension/shop.example/*.conf'
cat >/www/server/nginx/conf/nginx.conf <<'CONF'
user www-data;
pid /run/nginx.pid;
events {
    worker_connections 100;
}
http {
    access_log off;
    include /www/server/panel/vhost/nginx/*.conf;
}
CONF
cat >/www/server/nginx/sbin/nginx <<'SCRIPT'
#!/bin/sh
if [ "$1" = -V ]; then
  echo 'configure arguments: --user=www --group=www --prefix=/www/server/nginx --conf-path=/www/server/nginx/conf/nginx.conf --pid-path=/run/nginx.pid' >&2
  exit
fi
exec /usr/sbin/nginx -c /www/server/nginx/conf/nginx.conf "$@"
SCRIPT
chmod 755 /www/server/nginx/sbin/nginx
nginx() { /www/server/nginx/sbin/nginx "$@"; }
snapshot() { find /www /etc/nginx -type f -exec sha256sum {} + | LC_ALL=C sort -k 2; }
mkdir -p /www/server/panel/keep
panel_host aapanel /www/server/panel/marker /www/server/panel/vhost/nginx/extension/shop.example/corenexis-cdn.conf
