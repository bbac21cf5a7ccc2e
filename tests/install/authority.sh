# shellcheck shell=bash
# A certificate authority in the room: pebble, Let's Encrypt's own test program. Sets $authority, the URL of its directory.
# shellcheck disable=SC2034
authority=https://localhost:14000/dir

# start_authority: starts it, with a certificate of its own that certbot trusts by its environment.
start_authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout /tmp/pebble.key -out /tmp/pebble.pem 2>/dev/null
  cat >/tmp/pebble.json <<'CONFIG'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": "/tmp/pebble.pem",
  "privateKey": "/tmp/pebble.key", "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": false}}
CONFIG
  export REQUESTS_CA_BUNDLE=/tmp/pebble.pem PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
  pebble -config /tmp/pebble.json >/tmp/pebble.log 2>&1 &
  authority_pid=$!
  until (exec 3<>/dev/tcp/127.0.0.1/14000) 2>/dev/null; do
    kill -0 "$authority_pid" || break
    sleep 0.1
  done
}
