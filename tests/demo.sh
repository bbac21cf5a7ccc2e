#!/usr/bin/env bash
# The stage `demo`: install.sh --demo and --demo --cluster. Sourced by tests/run, whose functions and variables it uses.
# shellcheck disable=SC2154

# answers NAME STATUS TEXT ARGUMENT... : install.sh with these arguments exits with STATUS and prints TEXT.
answers() {
  local name=$1 wanted=$2 text=$3 status=0
  shift 3
  timeout 300 ./install.sh "$@" >"$work/log" 2>&1 </dev/null || status=$?
  if [ "$status" != "$wanted" ]; then
    fail "$name" "status $status instead of $wanted" "$work/log"
  elif ! grep -qF -- "$text" "$work/log"; then
    fail "$name" "it does not say '$text'" "$work/log"
  else
    ok "$name"
  fi
}

# demo_ready STATE waits until the demo in the background is ready or has exited.
demo_ready() {
  local deadline=$((SECONDS + 300))
  until [ -e "$1/demo.env" ] || ! kill -0 "$background" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || break
    sleep 0.1
  done
  [ -e "$1/demo.env" ]
}

# The demo of a cluster: twice, since the second start finds the servers' files.
cluster_demo() {
  local state="$work/a cluster" port run
  if ! have weed; then
    skip "install.sh --demo --cluster" "SeaweedFS (weed) is not installed"
    return
  elif ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    skip "install.sh --demo --cluster" "PostgreSQL is not installed"
    return
  fi
  port=$(tests/free-port 12)
  for run in first second; do
    check "install.sh --demo --cluster --once, the $run time" ./install.sh --demo --cluster --once --state "$state" --port "$port"
  done
  if pgrep -f "$state" >/dev/null; then
    fail "demo of a cluster: leaves nothing behind" "$(pgrep -af "$state")"
  else
    ok "demo of a cluster: leaves nothing behind"
  fi
}

stage_demo() {
  headline "demo"
  built_ahead release
  local state="$work/a state" port other status=0
  port=$(tests/free-port)
  other=$port
  until [ "$other" != "$port" ]; do other=$(tests/free-port); done
  answers "install.sh: an unknown option" 2 "unknown option: --bogus" --bogus
  answers "install.sh: an invalid port" 2 "--port 70000" --demo --port 70000
  answers "install.sh: no option" 2 "--domain NAME installs on this host"
  answers "install.sh: --demo with an option of an installation" 2 "--demo goes with" --demo --domain cdn.example.com

  if ! ./install.sh --demo --once --state "$state" --port "$port" >"$work/out" 2>"$work/log" </dev/null; then
    fail "install.sh --demo --once" "it failed" "$work/log"
    return
  fi
  if grep -q '^{"status":"success","url":"http://127.0.0.1:'"$port"'/p/d/.*","expires_at":"....-..-.."' "$work/out"; then
    ok "install.sh --demo --once"
  else
    fail "install.sh --demo --once" "it does not print the JSON of an upload" "$work/out"
  fi
  cluster_demo
  answers "demo: another port than in config.toml" 1 "says port $port, not $other" --demo --state "$state" --port "$other"

  # A machine without Rust. The installer of rustup is a stand-in, whose cargo hands out the program that is built already.
  mkdir -p "$work/home"
  cat >"$work/rustup-init.sh" <<'STAND_IN'
#!/bin/sh
mkdir -p "$CARGO_HOME/bin"
printf '#!/bin/sh\necho rustc 9.9.9\n' >"$CARGO_HOME/bin/rustc"
printf '#!/bin/sh\nwhile [ "$1" != --target-dir ]; do shift; done\nmkdir -p "$2/release" && cp "$BUILT" "$2/release/corenexis-cdn"\n' >"$CARGO_HOME/bin/cargo"
chmod +x "$CARGO_HOME/bin/"*
STAND_IN
  local bare=(env -u RUSTUP_HOME -u CARGO_HOME HOME="$work/home" PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin BUILT="${CARGO_TARGET_DIR:-target}/release/corenexis-cdn"
    CARGO_TARGET_DIR="$work/built" RUSTUP_INIT="file://$work/rustup-init.sh")
  if "${bare[@]}" sh -c 'command -v cargo' >/dev/null || [ -x dist/corenexis-cdn ]; then
    skip "demo: a machine without Rust" "cargo is in /usr/bin here, or dist/corenexis-cdn is there"
  else
    check "demo: without Rust nobody is asked without a terminal" sh -c '! "$@" </dev/null 2>&1' sh "${bare[@]}" ./install.sh --demo --once --state "$work/bare" --port "$other"
    check "demo: and nothing is installed" test ! -e "$work/bare/rust"
    check "demo: --yes lets rustup install it below the demo's directory" "${bare[@]}" ./install.sh --demo --once --yes --state "$work/bare" --port "$other"
    check "demo: nothing else of the home directory changes" test -z "$(find "$work/home" -mindepth 1)"
    check "demo: the next one uses it" "${bare[@]}" ./install.sh --demo --once --state "$work/bare" --port "$other"
  fi

  ./install.sh --demo --state "$state" >"$work/demo.log" 2>&1 </dev/null &
  background=$!
  if ! demo_ready "$state"; then
    fail "demo: starts" "it did not become ready" "$work/demo.log"
    return
  fi
  answers "demo: a second one in the same directory" 1 "already running" --demo --state "$state"
  answers "demo: a port in use" 1 "in use" --demo --state "$work/other" --port "$port"
  check "demo: demo.env has mode 600" test "$(stat -c %a "$state/demo.env")" = 600
  # shellcheck disable=SC1091
  . "$state/demo.env"
  check "demo: demo.env quotes paths with spaces" test "$CDN_CONFIG" = "$state/config.toml"
  check "demo: doctor finds nothing that fails" "$CDN_BIN" --config "$CDN_CONFIG" doctor
  if "$tools/bin/python" -c 'import prometheus_client' 2>/dev/null; then
    check "demo: metrics, read by Prometheus's parser" "$tools/bin/python" tests/metrics/check "$CDN_URL"
  else
    skip "demo: metrics" "the Python library prometheus_client is not installed"
  fi
  kill -KILL "$CDN_PID"
  wait "$background" || status=$?
  background=''
  if [ "$status" = 1 ] && grep -q 'ended by signal 9' "$work/demo.log"; then
    ok "demo: says that its responder died, and ends"
  else
    fail "demo: says that its responder died, and ends" "status $status" "$work/demo.log"
  fi
  check "demo: leaves no demo.env behind" test ! -e "$state/demo.env"
  if kill -0 "$CDN_NGINX_PID" 2>/dev/null; then
    fail "demo: leaves no nginx behind" "process $CDN_NGINX_PID lives"
  else
    ok "demo: leaves no nginx behind"
  fi
}
