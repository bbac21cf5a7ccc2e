#!/usr/bin/env bash
# For the scripts that try programs on a demo: their checks and counts, the demo in $state, and a web server for image_url. Sourced, with
# $root set.
# shellcheck disable=SC2154
passed=0 failed=0 skipped=0
export no_proxy='*' NO_PROXY='*'

work=$(mktemp -d)
clean_up() {
  local running
  running=$(jobs -pr)
  # shellcheck disable=SC2086
  [ -z "$running" ] || kill -TERM $running 2>/dev/null || true
  wait
  rm -rf -- "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ok() {
  echo "ok $1"
  passed=$((passed + 1))
}

# fail NAME WHY [FILE]
fail() {
  echo "FAIL $1: $2"
  [ -z "${3:-}" ] || tail -n 60 -- "$3" | cut -c 1-400 | sed 's/^/    /'
  failed=$((failed + 1))
}

skip() {
  echo "skip $1: $2"
  skipped=$((skipped + 1))
}

# all_passed prints the counts.
all_passed() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# poll SECONDS COMMAND...
poll() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# start_server DIRECTORY: $source_url is a web server with the files of the directory.
start_server() {
  python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$1" >"$work/server.log" 2>&1 &
  poll 120 grep -q ' port ' "$work/server.log"
  source_url=http://127.0.0.1:$(sed -n 's/.* port \([0-9]*\).*/\1/p' "$work/server.log" | head -n 1)
}

# make_demo makes a demo in $state, unless one is there.
make_demo() {
  local port
  [ ! -e "$state/config.toml" ] || return 0
  port=$("$root/tests/free-port")
  "$root/install.sh" --demo --once --state "$state" --port "$port" >"$work/demo.log" 2>&1 </dev/null || {
    fail "demo" "install.sh --demo --once failed" "$work/demo.log"
    return 1
  }
}

# configure_demo SCRIPT edits its config.toml by a script for sed.
configure_demo() {
  sed "$1" "$state/config.toml" >"$work/config.toml"
  cp -- "$work/config.toml" "$state/config.toml"
}

# Downloads from the web server are allowed.
allow_server() {
  configure_demo "s|^allow = .*|allow = [\"${source_url#http://}\"]|"
}

demo_is_ready() {
  [ -e "$state/demo.env" ] || ! kill -0 "$demo" 2>/dev/null
}

# start_demo starts it, and reads demo.env.
start_demo() {
  "$root/install.sh" --demo --state "$state" >"$work/demo.log" 2>&1 </dev/null &
  demo=$!
  poll 900 demo_is_ready || true
  [ -e "$state/demo.env" ] || {
    fail "demo" "it did not become ready" "$work/demo.log"
    return 1
  }
  # shellcheck disable=SC1091
  . "$state/demo.env"
}
