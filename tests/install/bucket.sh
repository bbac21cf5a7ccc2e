# shellcheck shell=bash
# An installation whose images lie in a bucket of SeaweedFS, under systemd.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

echo '127.0.0.1 cdn.example' >>/etc/hosts
snapshot >/tmp/before
mkdir /tmp/store
cat >/tmp/store/s3.json <<'IDENTITIES'
{"identities": [
  {"name": "responder", "credentials": [{"accessKey": "responder", "secretKey": "secret"}], "actions": ["Read", "Write", "List"]},
  {"name": "anonymous", "actions": ["Read:images/d/*", "Read:images/m/*", "Read:images/mm/*", "Read:images/l/*"]}
]}
IDENTITIES
(cd /tmp/store && exec /source/extra/weed -logtostderr=true server -dir=/tmp/store -ip=127.0.0.1 -ip.bind=127.0.0.1 -filer -s3 -s3.config=s3.json \
  -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=100 -volume.minFreeSpace=1MiB -s3.port.iceberg=0 -s3.port.lance=0) \
  >/tmp/store/log 2>&1 &
store=$!
for _ in $(seq 300); do
  curl -sf -o /dev/null -X POST http://127.0.0.1:8888/buckets/images/ && curl -sf -o /dev/null http://127.0.0.1:8333/status && break
  sleep 0.1
done
printf 'responder:secret\n' >/etc/s3.key
chmod 600 /etc/s3.key

set -- --set storage.kind=s3 --set storage.endpoint=http://127.0.0.1:8333 --set storage.bucket=images --set storage.key_file=/etc/s3.key
check "dry run" ./install.sh --domain cdn.example --dry-run "$@"
refuses "a value that is none" 1 'serve = "none"' ./install.sh --domain cdn.example --yes "$@" --set storage.serve=none
refuses "a key without its kind" 1 'kind = "s3"' ./install.sh --domain cdn.example --yes --set storage.bucket=images
check "install, with a test upload" ./install.sh --domain cdn.example --yes "$@"
same "the key is for the account of the responder" "640 root:corenexis-cdn" "$(stat -c '%a %U:%G' /etc/s3.key)"
same "the spool too" "700 corenexis-cdn:corenexis-cdn" "$(stat -c '%a %U:%G' /var/lib/corenexis-cdn/spool)"
same "the cache is for nginx's workers" www-data "$(stat -c %U /var/cache/corenexis-cdn)"
check "the units are right" systemd-analyze verify /etc/systemd/system/corenexis-cdn.service /etc/systemd/system/corenexis-cdn-sweep.service
path=$(upload cdn.example)
same "an image is served" 0 "$(serves cdn.example "$path" && echo 0)"
same "and lies in the bucket" 0 "$(curl -sf "http://127.0.0.1:8333/images/$path" | cmp - samples/lake.jpg && echo 0)"
same "not in the docroot" "" "$(find /var/www/corenexis-cdn/p 2>/dev/null)"
check "the rules of the bucket are there" grep -q '"Prefix": "mm/"' /etc/corenexis-cdn/s3/lifecycle.json
check "the sweep reaches the bucket" systemctl start corenexis-cdn-sweep.service
check "and says what it did" sh -c "journalctl -u corenexis-cdn-sweep --no-pager | grep -q 'deleted 0 expired'"
check "the backup runs" systemctl start corenexis-cdn-backup.service
check "doctor finds nothing broken" sh -c '! corenexis-cdn doctor --nagios | grep CRITICAL'
refuses "--set for a configuration that is there" 1 "is there already" ./install.sh --yes "$@"
snapshot >/tmp/installed
check "install again" ./install.sh --yes
unchanged "changes nothing" /tmp/installed

sed -i 's/^serve = .*/serve = "signed"/' /etc/corenexis-cdn/config.toml
check "a private bucket" ./install.sh --yes
path=$(upload cdn.example)
same "is served" 0 "$(serves cdn.example "$path" && echo 0)"

check "uninstall --purge" ./install.sh --uninstall --purge --yes
rm /etc/s3.key
unchanged "leaves nothing" /tmp/before
same "no cache is left" "" "$(ls -d /var/cache/corenexis-cdn 2>/dev/null)"
same "the images are still in the bucket" lake "$(curl -sf "http://127.0.0.1:8333/images/$path" | cmp -s - samples/lake.jpg && echo lake)"
kill -KILL $store
