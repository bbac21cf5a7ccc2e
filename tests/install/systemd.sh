# shellcheck shell=bash disable=SC2016,SC2317
# An installation on a host with systemd, which is process 1 of this room.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

make_shop
reload_by systemctl reload nginx
snapshot >/tmp/before
# A unit without a file that neither runs nor failed is a name that systemd forgets when it gets to it, on a busy machine after minutes.
no_unit_is_left() { ! systemctl list-units --all --no-legend --plain 'corenexis*' | grep -v ' not-found  *inactive  *dead '; }

check "install" ./install.sh --domain shop.example --yes
for unit in corenexis-cdn.socket corenexis-cdn.service corenexis-cdn-sweep.timer; do
  same "$unit runs and is enabled" "active enabled" "$(systemctl is-active $unit) $(systemctl is-enabled $unit)"
done
check "the units are right" systemd-analyze verify /etc/systemd/system/corenexis-cdn.socket /etc/systemd/system/corenexis-cdn.service \
  /etc/systemd/system/corenexis-cdn-sweep.service /etc/systemd/system/corenexis-cdn-sweep.timer
for unit in corenexis-cdn corenexis-cdn-sweep; do
  check "$unit.service is exposed by no more than 1.5" systemd-analyze security --offline=true --threshold=15 "/etc/systemd/system/$unit.service"
done
path=$(upload shop.example)
same "an image is served by a responder under all that hardening" 0 "$(serves shop.example "$path" && echo 0)"
same "the socket is for nginx alone" "660 corenexis-cdn:www-data" "$(stat -c '%a %U:%G' /run/corenexis-cdn.sock)"
check "downloads get past the hardening: the resolver answers" sh -c "curl -s -H 'Host: shop.example' -F client_id=checks -F client_token=\$(cat /tmp/token) \
  -F store_duration=7D -F image_url=http://127.0.0.1/x.png http://127.0.0.1/image/v2/ | grep -q 'Failed to download image'"
check "the sweep runs" systemctl start corenexis-cdn-sweep.service
check "and says what it did" poll sh -c "journalctl -u corenexis-cdn-sweep --no-pager | grep 'deleted 0 expired'"
same "the cron line leaves it to the timer" "" "$(
  mv /usr/local/bin/corenexis-cdn /tmp/away
  sh -c "$(sed -n 's/^\*\/10 \* \* \* \* corenexis-cdn //p' /etc/cron.d/corenexis-cdn)" 2>&1
  mv /tmp/away /usr/local/bin/corenexis-cdn
)"

check "the backup runs" systemctl start corenexis-cdn-backup.service
check "and writes what restore takes" sh -c 'runuser -u corenexis-cdn -- corenexis-cdn --config /etc/corenexis-cdn/config.toml backup /tmp/x --keep 1 2>&1 | grep "is no directory" && ls /var/lib/corenexis-cdn-backup/ledger-*.db'
same "its timer waits to be enabled" disabled "$(systemctl is-enabled corenexis-cdn-backup.timer)"
check "and can be" systemctl enable --now corenexis-cdn-backup.timer
check "doctor is a check for Nagios" sh -c "corenexis-cdn doctor --nagios | head -n 1 | grep -E '^CDN (OK|WARNING|CRITICAL) - '"

snapshot >/tmp/installed
check "install again" ./install.sh --yes
check "and again" ./install.sh --yes
unchanged "changes nothing" /tmp/installed

# A log of its own, which the sandbox has to let it write and logrotate has to rotate.
sed -i 's|^#log = .*|log = "/var/log/corenexis-cdn/responder.log"|; s/^requests_per_second = .*/requests_per_second = 0/; s/^concurrent_requests = .*/concurrent_requests = 0/' /etc/corenexis-cdn/config.toml
sed -i 's/^failed_attempts_per_minute = .*/failed_attempts_per_minute = 0/; s/^daily_uploads = 1000/daily_uploads = 1000000/' /etc/corenexis-cdn/config.toml
check "a changed configuration" ./install.sh --yes
check "the log is written" grep -q event=listening /var/log/corenexis-cdn/responder.log
check "and rotated" logrotate -f /etc/logrotate.d/corenexis-cdn
check "and opened again" poll logs_anew shop.example

# Three upgrades under load, each with another binary and another configuration, so that nginx reads its files anew too.
cdn client add load --plan 3m | sed -n 's/^client_token=//p' >/tmp/load.token
rm -f /tmp/enough
python3 install/load.py shop.example 80 /tmp/load.token >/tmp/load.out 2>&1 &
load=$!
for round in 1 2 3; do
  printf '\n' >>dist/corenexis-cdn
  sed -i "s/^max_megapixels = .*/max_megapixels = 4$round/; s/^max_file_size = .*/max_file_size = \"1${round}MiB\"/" /etc/corenexis-cdn/config.toml
  before=$(systemctl show -p MainPID --value corenexis-cdn.service)
  check "upgrade $round under load" ./install.sh --yes
  check "it is another process" test "$(systemctl show -p MainPID --value corenexis-cdn.service)" != "$before"
done
touch /tmp/enough
wait $load
same "not one upload failed: $(head -n 1 /tmp/load.out)" 0 "$?$(sed 1d /tmp/load.out)"

kill -KILL "$(systemctl show -p MainPID --value corenexis-cdn.service)"
same "a responder that was killed is back before anybody notices" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"

# A responder that hangs. The unit waits for 30 seconds; here 2.
mkdir -p /run/systemd/system/corenexis-cdn.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/corenexis-cdn.service.d/soon.conf
check "the unit with a short watchdog" sh -c 'systemctl daemon-reload && systemctl restart corenexis-cdn.service'
hanging=$(systemctl show -p MainPID --value corenexis-cdn.service)
kill -STOP "$hanging"
same "a responder that hangs is ended and started again, and the upload that waited is answered" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"
check "it is another process" test "$(systemctl show -p MainPID --value corenexis-cdn.service)" != "$hanging"
rm -r /run/systemd/system/corenexis-cdn.service.d
check "the unit as it was" sh -c 'systemctl daemon-reload && systemctl restart corenexis-cdn.service'

# An upgrade whose responder does not start: the old one comes back.
cp dist/corenexis-cdn /tmp/good
printf '#!/bin/sh\n[ "$3" != serve ] || exit 1\nexec /tmp/good "$@"\n' >dist/corenexis-cdn
snapshot >/tmp/installed
refuses "an upgrade that does not answer" 1 "Putting everything back" ./install.sh --yes
unchanged "is undone" /tmp/installed
same "and the old version goes on" 0 "$(serves shop.example "$(upload shop.example)" && echo 0)"
cp /tmp/good dist/corenexis-cdn

check "uninstall --purge" ./install.sh --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before
check "no unit is left" poll no_unit_is_left
same "the shop goes on" 0 "$(shop_works && echo 0)"

# ---------------------------------------------------------------- the package

deb=$(find /source/extra -name '*.deb')
check "the package" dpkg -i "$deb"
check "it starts nothing" sh -c '! systemctl is-active corenexis-cdn.socket'
check "setup" corenexis-cdn setup --domain shop.example --yes
rm -f /tmp/token
path=$(upload shop.example)
same "serves an image" 0 "$(serves shop.example "$path" && echo 0)"
same "with the package's program" /usr/bin/corenexis-cdn "$(readlink "/proc/$(systemctl show -p MainPID --value corenexis-cdn.service)/exe")"
before=$(systemctl show -p MainPID --value corenexis-cdn.service)
check "the same package again" dpkg -i "$deb"
same "renews nothing" "$before" "$(systemctl show -p MainPID --value corenexis-cdn.service)"
echo corenexis-cdn corenexis-cdn/purge-data boolean true | debconf-set-selections
check "purged" env DEBIAN_FRONTEND=noninteractive dpkg -P corenexis-cdn
unchanged "leaves nothing" /tmp/before
check "no unit is left" poll no_unit_is_left
