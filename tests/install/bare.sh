# shellcheck shell=bash disable=SC2016,SC2317
# From a Debian as debootstrap leaves it to the first upload over https, by two commands, with the .deb or the archive ($1). Then a second
# installation, after which the host is what it was, byte for byte.
# shellcheck source=tests/install/checks.sh
. install/checks.sh
# shellcheck source=tests/install/authority.sh
. install/authority.sh

kind=$1
export DEBIAN_FRONTEND=noninteractive
deb=$(find /source/extra -name '*.deb')
tarball=$(find /source/extra -name '*.tar.gz')
. /etc/os-release
echo "127.0.0.1 localhost cdn.example.com" >/etc/hosts
# What the certificate authority needs is not the host's.
apt-get install -y --no-install-recommends pebble openssl >/tmp/authority.log 2>&1 || {
  echo "pebble could not be installed: $(tail -n 1 /tmp/authority.log)"
  exit 77
}
start_authority
same "$PRETTY_NAME with nothing on it" "" "$(command -v nginx curl certbot crontab spawn-fcgi cargo)"

# The two commands.
get() {
  if [ "$kind" = deb ]; then
    apt-get install -y --no-install-recommends "$deb"
  else
    tar -xzf "$tarball" -C /opt
  fi
}
set_up() {
  if [ "$kind" = deb ]; then
    corenexis-cdn setup "$@"
  else
    "/opt/$(basename "$tarball" .tar.gz)/install.sh" "$@"
  fi
}
# Sets $first and $second to the milliseconds that they took.
install_over_https() {
  local began then
  began=$(now)
  check "the first command, $kind" get
  then=$(now)
  check "the second" set_up --domain cdn.example.com --https --email admin@example.com --acme-server "$authority" --yes
  first=$((then - began)) second=$(($(now) - then))
}
now() {
  date +%s%3N
}
# With the authority's certificate, and the address that the API answers with.
upload_over_https() {
  local url
  cdn client add checks --plan 3m | sed -n 's/^client_token=//p' >/tmp/token
  url=$(curl -s --cacert /tmp/root.pem -F client_id=checks -F "client_token=$(cat /tmp/token)" -F store_duration=7D \
    -F image=@samples/lake.jpg https://cdn.example.com/image/v2/ | sed -n 's|^{"status":"success","url":"\(https://cdn.example.com/p/[^"]*\)".*|\1|p')
  [ -n "$url" ] && curl -sf --cacert /tmp/root.pem "$url" | cmp - samples/lake.jpg
}

# ---------------------------------------------------------------- the time

# processor_time: milliseconds that the children of this shell have used so far. Other rooms run at the same time, so that the clock alone
# would judge them too.
processor_time() {
  # shellcheck disable=SC2046
  set -- $(cut -d ' ' -f 16,17 "/proc/$$/stat")
  echo $((($1 + $2) * 1000 / $(getconf CLK_TCK)))
}
began=$(now) used=$(processor_time)
install_over_https
curl -sk https://localhost:15000/roots/0 >/tmp/root.pem
check "an upload over https" upload_over_https
took=$(($(now) - began)) used=$(($(processor_time) - used))
echo "ok $PRETTY_NAME, nginx $(nginx -v 2>&1 | sed 's|.*/||'): from the $kind to the first upload over https in $took ms ($first for the first command, $second for the second), of which $used ms of processor time"

# ---------------------------------------------------------------- removal

# Everything on the host but what certbot, apt and the logs of others keep.
everything() {
  local keep=(-path /proc -o -path /source -o -path /tmp -o -path /run -o -path /sys -o -path /dev -o -path /root -o -path /opt
    -o -path /etc/letsencrypt -o -path /var/lib/letsencrypt -o -path /var/log -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg)
  find / -xdev \( "${keep[@]}" \) -prune -o ! -name 'passwd-' ! -name 'group-' ! -name 'shadow-' ! -name 'gshadow-' ! -name 'sub?id-' ! -name '.pwd.lock' \
    -printf '%y %m %u:%g %p %l\n' | LC_ALL=C sort
  find /etc /var /usr/local /usr/bin /usr/sbin /usr/share -xdev \( "${keep[@]}" \) -prune -o -type f ! -name '*-' ! -name '.pwd.lock' -exec sha256sum {} + | LC_ALL=C sort -k 2
}
remove() {
  if [ "$kind" = deb ]; then
    dpkg -r corenexis-cdn
  else
    set_up --uninstall --yes
  fi
}
purge() {
  if [ "$kind" = deb ]; then
    echo corenexis-cdn corenexis-cdn/purge-data boolean true | debconf-set-selections
    dpkg -P corenexis-cdn
  else
    set_up --uninstall --purge --yes
  fi
}
check "purged" purge
everything >/tmp/before
same "no file of it is left" "" "$(grep -i corenexis /tmp/before)"
check "the packages of Debian are as Debian has them" dpkg --verify
grep ' /etc/nginx' /tmp/before >/tmp/nginx.before
install_over_https
check "an upload over https" upload_over_https
check "removed" remove
same "/etc/nginx is as before, byte for byte" "" "$(everything | grep ' /etc/nginx' | diff /tmp/nginx.before -)"
check "the images stay" test -n "$(find /var/www/corenexis-cdn/p -type f -size +1k)"
check "purged again" purge
everything >/tmp/after
check "the host is as before, byte for byte" diff /tmp/before /tmp/after
