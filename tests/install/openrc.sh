# shellcheck shell=bash disable=SC2016,SC2317
# A host with OpenRC, Alpine's layout of nginx, busybox and Alpine's directories of scripts for cron. OpenRC is the real one, from Debian's
# packages; only its boot did not happen here, so what that makes is made by hand.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

for package in extra/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C / --keep-directory-symlink
done
mkdir -p /run/openrc/{starting,started,stopping,inactive,wasinactive,failed,hotplugged,daemons,options,exclusive,scheduled,init.d,tmp}
echo default >/run/openrc/softlevel
rm -rf /etc/init.d /etc/rc?.d /etc/cron.d
mkdir -p /etc/init.d /etc/periodic/15min
printf '#!/sbin/openrc-run\nstart() { :; }\n' >/etc/init.d/localmount
chmod 755 /etc/init.d/localmount
mv /etc/nginx /etc/nginx.debian
cp -a install/layouts/alpine /etc/nginx
groupadd --system nginx && useradd --system --no-user-group -g nginx nginx
# Its shell and tools are busybox's. Accounts are made with Debian's useradd, since Debian's busybox has no adduser.
command -v busybox >/dev/null || {
  echo "busybox is not installed"
  exit 77
}
mkdir /opt/alpine
busybox --install -s /opt/alpine
for program in curl spawn-fcgi flock; do
  ln -s "$(command -v "$program")" /opt/alpine/
done
ln -sf "$(command -v busybox)" /bin/sh
set_up() {
  PATH=/opt/alpine ./install.sh "$@"
}
start_nginx
snapshot >/tmp/before

check "install" set_up --domain cdn.example.com --yes
check "OpenRC says that it runs" rc-service corenexis-cdn status
check "and starts it at boot" sh -c 'rc-update show default | grep -q corenexis-cdn'
check "http.d is the http context" test -s /etc/nginx/http.d/corenexis-cdn.conf -a -s /etc/nginx/http.d/zz-corenexis-cdn.conf
same "the socket is for nginx's workers" "660 corenexis-cdn:nginx" "$(stat -c '%a %U:%G' /run/corenexis-cdn.sock)"
path=$(upload cdn.example.com)
same "an image is served" 0 "$(serves cdn.example.com "$path" && echo 0)"
check "the script for cron sweeps" sh -c '/etc/periodic/15min/corenexis-cdn | grep -q "^deleted 0 expired"'
snapshot >/tmp/installed
check "install again" set_up --yes
unchanged "changes nothing" /tmp/installed

sed -i 's/^requests_per_second = .*/requests_per_second = 0/; s/^concurrent_requests = .*/concurrent_requests = 0/; s/^failed_attempts_per_minute = .*/failed_attempts_per_minute = 0/; s/^daily_uploads = 1000/daily_uploads = 1000000/' \
  /etc/corenexis-cdn/config.toml
check "a changed configuration" set_up --yes
cdn client add load --plan 3m | sed -n 's/^client_token=//p' >/tmp/load.token
python3 install/load.py cdn.example.com 80 /tmp/load.token >/tmp/load.out 2>&1 &
load=$!
printf '\n' >>dist/corenexis-cdn
old=$(cat /run/corenexis-cdn.pid)
check "upgrade under load" set_up --yes
check "it is another process" test "$(cat /run/corenexis-cdn.pid)" != "$old"
touch /tmp/enough
wait $load
same "not one upload failed: $(head -n 1 /tmp/load.out)" 0 "$?$(sed 1d /tmp/load.out)"

# Once, an upgrade forgot the directories that the first installation had made.
check "purge" set_up --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before
same "no process is left" "" "$(pgrep corenexis)"
