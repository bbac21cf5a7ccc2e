#!/bin/sh
# Puts the image CDN on this host. `./install.sh --help` says how.
#
# Everything lives in functions and the last line calls main, so that a file that was cut off on its way does nothing. Messages go to
# standard error, results (the JSON of the upload, addresses) to standard output.

set -eu

SAMPLE=lake.jpg # in tests/samples/
DEMO_PORT=8080
DEMO_TOKEN=8b5d24c7e3af9d87156a40b1c3e92f67 # of client_3m_plan in the public documentation: known to everybody, so only for a demo
HEALTHY_WITHIN=30                           # seconds
# A socket's path has to fit into sun_path with a NUL at its end: 108 bytes on Linux, 104 on the BSDs and macOS.
SOCKET_PATH_MAX=103

main() {
  set +m
  here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
  # nginx lies in an sbin directory that is not on the PATH of people who are not root, and rustup's cargo where login shells look.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin
  export PATH
  # awk, sed and tr are to treat paths as bytes.
  LC_ALL=C
  export LC_ALL

  demo='' state='' port='' once='' mode=''
  while [ $# -gt 0 ]; do
    case $1 in
    --demo) demo=1 ;;
    --state | --port)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      set_option "$1" "$2"
      shift
      ;;
    --state=* | --port=*) set_option "${1%%=*}" "${1#*=}" ;;
    --once) once=1 ;;
    --upgrade | --uninstall) mode=$1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) usage_error "unknown option: $1" ;;
    esac
    shift
  done

  if [ -n "$demo" ]; then
    [ -z "$mode" ] || usage_error "--demo and $mode exclude each other"
    demo
  elif [ -n "$state$port$once" ]; then
    usage_error "--state, --port and --once belong to --demo"
  else
    err "${mode:-installing on a host} is not available yet; './install.sh --demo' runs the whole CDN on this machine"
  fi
}

usage() {
  cat <<USAGE
Usage: ./install.sh --demo [--state DIR] [--port N] [--once]

  --demo        run the whole CDN on this machine: its own nginx, the responder, a ledger, a docroot and three clients,
                all under one directory and reachable on 127.0.0.1 alone
  --state DIR   keep everything under DIR (default ./demo); one that exists is used again, its config.toml untouched
  --port N      listen on 127.0.0.1:N (default $DEMO_PORT, or the port in DIR/config.toml)
  --once        upload one image, fetch it back, and end; the exit status says whether that worked
  -h, --help    print this text

Installing on a host that already runs nginx is not available yet.

Examples:
  ./install.sh --demo                                   try it, then open the addresses that it prints; Ctrl-C ends it
  ./install.sh --demo --port 9000 --state /tmp/cdn      another port, another directory
  ./install.sh --demo --once                            check that it works here, and end
USAGE
}

say() {
  printf '%s\n' "$*" >&2
}

err() {
  say "install.sh: $*"
  exit 1
}

usage_error() {
  say "install.sh: $1"
  usage >&2
  exit 2
}

have() {
  command -v "$1" >/dev/null 2>&1
}

set_option() {
  case $1 in
  --state)
    [ -n "$2" ] || usage_error '--state needs a directory'
    state=$2
    ;;
  --port)
    case $2 in
    '' | 0* | *[!0-9]* | ??????*) usage_error "--port $2: expected a number from 1 to 65535" ;;
    esac
    [ "$2" -le 65535 ] || usage_error "--port $2: expected a number from 1 to 65535"
    port=$2
    ;;
  esac
}

# The demo, top to bottom.
demo() {
  prepare_state
  need_tools
  check_port
  get_binary
  write_config
  add_clients
  render_files
  start_responder
  start_nginx
  wait_until_healthy
  check_upload
  print_addresses
  if [ -n "$once" ]; then
    say "The check passed."
    return
  fi
  write_env
  say "The demo runs until Ctrl-C."
  running=1
  while still_running; do
    # In the background, so that a signal is answered at once and not after the second.
    sleep 1 &
    wait $! || true
  done
  exit 1
}

# ---------------------------------------------------------------- state directory

prepare_state() {
  mkdir -p -- "${state:=./demo}" || err "cannot create the directory $state: name another one with --state"
  state=$(CDPATH='' cd -- "$state" && pwd -P)
  case $state in
  *[[:cntrl:]]*) err "the path of the state directory holds a line break or another control character: name another one with --state" ;;
  # nginx takes a dollar in its `root` for a variable and knows no way to write one.
  *\$*) err "the path $state holds a dollar sign, which nginx cannot serve from: name another directory with --state" ;;
  esac
  config=$state/config.toml
  mkdir -p -- "$state/run" "$state/logs" "$state/nginx/logs" "$state/ledger" ||
    err "cannot write to $state: name another directory with --state"
  responder_log=$state/logs/responder.log
  nginx_log=$state/nginx/logs/error.log

  responder_pid='' nginx_pid='' running=''
  lock_state
  trap clean_up EXIT
  trap 'end_by_signal 130' INT
  trap 'end_by_signal 143' TERM
  trap 'end_by_signal 129' HUP
  # Whoever waits for the file must not find the one of a demo that was killed.
  rm -f -- "$state/demo.env"
  choose_port
}

lock_state() {
  lock=$state/run/demo.pid
  # noclobber creates the file exclusively: of two demos that start at once, one gets it.
  if ! (set -C && echo $$ >"$lock") 2>/dev/null; then
    owner=$(cat -- "$lock" 2>/dev/null || true)
    if is_demo "$owner"; then
      err "a demo is already running in $state (process $owner): end it, or name another directory with --state"
    fi
    rm -f -- "$lock"
    (set -C && echo $$ >"$lock") 2>/dev/null || err "another demo has just started in $state"
    end_leftovers
  fi
}

# Whether process $1 is an install.sh that runs: a number alone may belong to anybody by now.
is_demo() {
  case $1 in
  '' | *[!0-9]* | "$$") return 1 ;;
  esac
  kill -0 "$1" 2>/dev/null || return 1
  [ ! -r "/proc/$1/cmdline" ] || tr '\0' '\n' <"/proc/$1/cmdline" | grep -q 'install\.sh$'
}

# A demo that was killed outright could not end its two processes, and they still hold the port.
end_leftovers() {
  [ -r "$state/run/children" ] || return 0
  while read -r child; do
    if (tr '\0' ' ' <"/proc/$child/cmdline") 2>/dev/null | grep -qF -- " $state/"; then
      say "Ending process $child, left behind by a demo that was killed"
      kill -TERM "$child" 2>/dev/null || true
      end "$child" 15
    fi
  done <"$state/run/children"
  rm -f -- "$state/run/children"
}

# The port of the URLs that are handed out is the one that config.toml says; --port decides it when the file is first written.
choose_port() {
  if [ -e "$config" ]; then
    public_url=$(config_value site public_url)
    public_url=${public_url%/}
    case $public_url in
    http://127.0.0.1:*) configured=${public_url##*:} ;;
    http://127.0.0.1) configured=80 ;;
    *) err "[site] public_url = \"$public_url\" in $config: the demo serves http://127.0.0.1:PORT alone; set that, or name another directory with --state" ;;
    esac
    if [ "${port:-$configured}" != "$configured" ]; then
      err "$config says port $configured, not $port: leave --port out, change public_url in the file, or name another directory with --state"
    fi
    port=$configured
  else
    : "${port:=$DEMO_PORT}"
  fi
  url=http://127.0.0.1:$port
}

# config_value SECTION KEY prints the string that config.toml holds there; nothing when it has none.
config_value() {
  awk -v section="$1" -v key="$2" '
    /^[ \t]*\[/ { sub(/#.*/, ""); gsub(/[ \t\r]/, ""); here = $0; next }
    here == "[" section "]" && match($0, "^[ \t]*" key "[ \t]*=[ \t]*") {
      text = substr($0, RLENGTH + 1)
      quote = substr(text, 1, 1)
      if (quote != "\"" && quote != "\047") exit
      value = ""
      for (i = 2; i <= length(text); i++) {
        character = substr(text, i, 1)
        if (character == quote) break
        if (character == "\\" && quote == "\"") character = substr(text, ++i, 1)
        value = value character
      }
      print value
      exit
    }' "$config"
}

# ---------------------------------------------------------------- what has to be there first

need_tools() {
  missing=''
  need_cmd nginx nginx
  need_cmd curl curl
  if [ ! -x "$here/dist/corenexis-cdn" ]; then
    need_cmd cc gcc
  fi
  [ -z "$missing" ] || install_packages "$missing"
  [ -x "$here/dist/corenexis-cdn" ] || need_rust
}

# need_cmd COMMAND PACKAGE
need_cmd() {
  have "$1" || missing="$missing $2"
}

install_packages() {
  if have apt-get; then
    packages=$(echo "$1" | sed 's/gcc/gcc libc6-dev/')
    install="apt-get install -y --no-install-recommends$packages"
  elif have dnf; then
    install="dnf install -y$1"
  elif have apk; then
    packages=$(echo "$1" | sed 's/gcc/gcc musl-dev/')
    install="apk add$packages"
  else
    err "missing on this machine:$1; install them and run this again"
  fi
  [ "$(id -u)" = 0 ] || err "missing on this machine:$1; run as root: $install"
  say "Installing$1 ..."
  case $1 in
  *nginx*) say "(The package may also start a service of its own on port 80. The demo does not use it.)" ;;
  esac
  if have apt-get; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get -q update >&2 || say "apt-get update failed; trying with the package lists that are here"
  fi
  # The words of the command hold no spaces of their own.
  # shellcheck disable=SC2086
  $install >&2 || err "could not install$1: the lines above say why; the command was: $install"
}

need_rust() {
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
  if ! have cargo || ! have rustc; then
    err "Rust $wanted or newer is missing: get it from https://rustup.rs, open a new shell, and run this again"
  fi
  found=$(cd -- "$here" && rustc --version | awk '{ print $2 }') || err "rustc --version failed: the lines above say why"
  # shellcheck disable=SC2046
  if ! newer_or_same $(echo "$found $wanted" | tr . ' '); then
    err "Rust $wanted or newer is needed and this is $found: run 'rustup update stable', or get it from https://rustup.rs"
  fi
}

# newer_or_same FOUND_MAJOR FOUND_MINOR FOUND_PATCH WANTED_MAJOR WANTED_MINOR
newer_or_same() {
  [ "$1" -gt "$4" ] || { [ "$1" -eq "$4" ] && [ "$2" -ge "$5" ]; }
}

# Proxies and ~/.curlrc are for the way out of this machine; nothing here leaves it.
local_curl() {
  curl -q --noproxy '*' --silent --show-error "$@"
}

check_port() {
  status=0
  local_curl --output /dev/null --connect-timeout 2 --max-time 2 "$url/" 2>/dev/null || status=$?
  # 7 is "failed to connect": nobody listens. Anything else, a reply that is not HTTP included, comes from somebody.
  [ "$status" = 7 ] || err "port $port on 127.0.0.1 is in use: choose another with --port, or end what listens there"
}

get_binary() {
  if [ -x "$here/dist/corenexis-cdn" ]; then
    bin=$here/dist/corenexis-cdn
    return
  fi
  say "Building the release binary (a few minutes the first time) ..."
  target=${CARGO_TARGET_DIR:-$here/target}
  (
    cd -- "$here"
    # It would put the binary below a directory of its own name.
    unset CARGO_BUILD_TARGET
    cargo build --release --locked --target-dir "$target" --bin corenexis-cdn >&2
  ) || err "the build failed: the lines above say why"
  case $target in
  /*) bin=$target/release/corenexis-cdn ;;
  *) bin=$here/$target/release/corenexis-cdn ;;
  esac
}

# ---------------------------------------------------------------- configuration, files, clients

write_config() {
  if [ ! -e "$config" ]; then
    choose_socket
    demo_config >"$config.new"
    mv -- "$config.new" "$config"
    say "Wrote $config"
  fi
  docroot=$(config_value storage docroot)
  [ -n "$docroot" ] || err "[storage] docroot is missing in $config: set it, or remove the file to have it written again"
  listen=$(config_value server listen)
  case $listen in
  "unix:${TMPDIR:-/tmp}"/corenexis-cdn.* | unix:/tmp/corenexis-cdn.*) keep_short_directory "$(dirname -- "${listen#unix:}")" ;;
  esac
}

# The socket lies in the state directory where its path allows it, else in a private directory for temporary files.
choose_socket() {
  socket=$state/run/cdn.sock
  reason=$(unfit_for_socket "$socket")
  [ -n "$reason" ] || return 0
  short=$(mktemp -d "${TMPDIR:-/tmp}/corenexis-cdn.XXXXXX")
  if [ -n "$(unfit_for_socket "$short/cdn.sock")" ]; then
    rmdir -- "$short"
    short=$(mktemp -d /tmp/corenexis-cdn.XXXXXX)
  fi
  say "The socket is $short/cdn.sock, because the path $socket $reason"
  socket=$short/cdn.sock
}

# Prints why a path cannot be a socket's; nothing when it can.
unfit_for_socket() {
  if [ ${#1} -gt "$SOCKET_PATH_MAX" ]; then
    echo "has ${#1} bytes and a socket's path at most $SOCKET_PATH_MAX"
    return
  fi
  case $1 in
  *[!A-Za-z0-9/._+,@%=~-]*) echo "holds a character that nginx does not take in a socket's path" ;;
  esac
}

# Makes the socket's directory again when the host has cleared it, and refuses one that somebody else made in its place.
keep_short_directory() {
  mkdir -m 700 -- "$1" 2>/dev/null || true
  if [ -L "$1" ] || [ -z "$(find "$1" -prune -type d -user "$(id -u)" 2>/dev/null)" ]; then
    err "the socket's directory $1 is not yours: change [server] listen in $config"
  fi
}

demo_config() {
  cat <<CONFIG
# Configuration of a demo of corenexis-cdn, written once by install.sh and yours from then on. Every key is here; "default" is what
# holds where a key is left out. Sizes are bytes or KiB, MiB, GiB; lengths of time end in s, m, h or d.

[site]
# Scheme and host of every URL that is handed out. The demo takes its port from here.
public_url = "$url"
# Where people report an image: a mail address or a URL. Default: none.
contact = ""

[server]
# Where nginx reaches the responder: unix:PATH or tcp:ADDRESS:PORT. Default: unix:/run/corenexis-cdn.sock
listen = $(toml "unix:$socket")
# Connections served at once; over it the answer is 503. Default: 256
max_connections = 256

[storage]
# What nginx serves images and the viewer from. Default: /var/www/corenexis-cdn
docroot = $(toml "$state/docroot")
# Uploads are refused while the disk has less than this free. Default: 1GiB
min_free = "64MiB"
# Random characters in an image's name, 6 to 32. Default: 10
name_length = 10
# "full": an upload that was acknowledged survives a power cut. "relaxed": it survives a crash of the process. Default: full
durability = "full"

[ledger]
# The SQLite database of clients, quotas and images. Default: /var/lib/corenexis-cdn/ledger.db
path = $(toml "$state/ledger/ledger.db")

[images]
# The largest image: pixels of the longer side, and millions of pixels. Defaults: 16384 and 50
max_side = 16384
max_megapixels = 50

[fetch]
# Downloads of image_url: the ports that may be connected to. Default: [80, 443]
ports = [80, 443]
# How long one may take, redirects included. Default: 20s
timeout = "20s"
# Downloads at once. Default: 8
max_concurrent = 8
# "ADDRESS:PORT" of servers that may be reached although they lie in a network that is refused otherwise. Default: none
allow = []

[limits]
# For each address; 0 turns one off, as in this demo. Defaults: 10, 40 and 10
requests_per_second = 0
burst = 0
failed_attempts_per_minute = 0

# The plans. These three are the defaults; a plan that is not named here does not exist.
[plans.free]
daily_uploads = 50
max_file_size = "2MiB"
durations = ["7D", "1M"]
# "viewer": uploads answer with the viewer page. "direct": with the image itself.
url = "viewer"

[plans.3m]
daily_uploads = 1000
max_file_size = "5MiB"
durations = ["7D", "1M", "3M"]
url = "direct"

[plans.lifetime]
daily_uploads = 3000
max_file_size = "10MiB"
durations = ["7D", "1M", "3M", "LTF"]
url = "direct"
CONFIG
}

# Prints $1 as a TOML string.
toml() {
  printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"
}

cdn() {
  "$bin" --config "$config" "$@"
}

# Writes nginx.conf and the pages from config.toml; the one place that knows how `render` is called. The page may show the
# documented client, because the documentation does.
render_files() {
  rm -rf -- "$state/rendered"
  set -- --nginx-listen "127.0.0.1:$port" --user "$(id -un)" \
    --demo-client client_3m_plan --demo-token-file "$tokens/client_3m_plan"
  # Workers that change to another user could not reach a state directory below /root.
  [ "$(id -u)" != 0 ] || set -- "$@" --nginx-worker-user root
  cdn render "$state/rendered" "$@" >"$state/logs/render.log" ||
    err "corenexis-cdn render failed: the lines above say why"
  nginx_conf=$state/rendered/nginx/nginx.conf
  mkdir -p -- "$state/nginx/run" "$docroot"
  cp -R -- "$state/rendered/www/." "$docroot/"
}

add_clients() {
  tokens=$state/tokens
  mkdir -p -- "$tokens"
  chmod 700 "$tokens"
  (umask 077 && printf '%s\n' "$DEMO_TOKEN" >"$tokens/client_3m_plan")
  add_client client_free_plan free
  add_client client_3m_plan 3m
  add_client client_lifetime_plan lifetime
}

# add_client ID PLAN, with a token that outlives both the ledger and this run: a directory that is used again gets the same demo.env.
add_client() {
  file=$tokens/$1
  if cdn client show "$1" >/dev/null 2>&1; then
    [ ! -s "$file" ] || return 0
    set -- client rotate "$1"
  elif [ -s "$file" ]; then
    set -- client add "$1" --plan "$2" --token-file "$file"
  else
    set -- client add "$1" --plan "$2"
  fi
  answer=$(cdn "$@") || err "corenexis-cdn $* failed: the lines above say why"
  (umask 077 && printf '%s\n' "$answer" | sed -n 's/^client_token=//p' >"$file.new")
  # Nothing to keep where the token came from the file.
  if [ -s "$file.new" ]; then
    mv -- "$file.new" "$file"
  else
    rm -f -- "$file.new"
  fi
  [ -s "$file" ] || err "corenexis-cdn $* printed no client_token"
}

# ---------------------------------------------------------------- the two processes

# start LOG COMMAND... runs it in the background and sets $started. In a session of its own, where the terminal's Ctrl-C does not reach
# it: this script ends the two processes in their order.
start() {
  start_log=$1
  shift
  if have setsid; then
    setsid "$@" >>"$start_log" 2>&1 </dev/null &
  else
    "$@" >>"$start_log" 2>&1 </dev/null &
  fi
  started=$!
  echo "$started" >>"$state/run/children"
}

start_responder() {
  case $listen in
  unix:/*) socket=${listen#unix:} ;;
  *) socket='' ;;
  esac
  # One that is there was left behind by a responder that was killed; the lock says that none runs.
  [ ! -S "$socket" ] || rm -f -- "$socket"
  start "$responder_log" "$bin" --config "$config" serve
  responder_pid=$started
  [ -n "$socket" ] || return 0
  # nginx would log each request that finds no socket as an error.
  deadline=$(($(date +%s) + HEALTHY_WITHIN))
  until [ -S "$socket" ] || [ "$(date +%s)" -ge "$deadline" ]; do
    responder_runs || exit 1
    nap
  done
}

start_nginx() {
  # An nginx before 1.19.5 has no -e and complains on standard error until it has read its configuration.
  set -- -p "$state/nginx" -c "$nginx_conf"
  if nginx -h 2>&1 | grep -q -- '-e filename'; then
    set -- "$@" -e "$nginx_log"
  fi
  set -- "$@" -g 'daemon off;'
  nginx "$@" -t >"$state/nginx/logs/test.log" 2>&1 || {
    say "nginx refuses the rendered configuration:"
    show "$state/nginx/logs/test.log"
    exit 1
  }
  start "$nginx_log" nginx "$@"
  nginx_pid=$started
}

wait_until_healthy() {
  deadline=$(($(date +%s) + HEALTHY_WITHIN))
  until failure=$(local_curl --fail --output /dev/null --max-time 2 "$url/image/v2/health" 2>&1); do
    still_running || exit 1
    if [ "$(date +%s)" -ge "$deadline" ]; then
      say "The demo did not become healthy within $HEALTHY_WITHIN seconds: $failure"
      show_logs
      exit 1
    fi
    nap
  done
  # Somebody else's server may have taken the port in between, and then nginx has ended.
  still_running || exit 1
}

# The next three say why a process does not live any more.
still_running() {
  responder_runs && nginx_runs
}

responder_runs() {
  if ! kill -0 "$responder_pid" 2>/dev/null; then
    gone=$responder_pid responder_pid=''
    say_ended 'The responder' "$gone" "$responder_log"
    return 1
  fi
}

nginx_runs() {
  if ! kill -0 "$nginx_pid" 2>/dev/null; then
    gone=$nginx_pid nginx_pid=''
    say_ended nginx "$gone" "$nginx_log"
    return 1
  fi
}

# say_ended NAME PID LOG
say_ended() {
  status=0
  wait "$2" 2>/dev/null || status=$?
  if [ "$status" -gt 128 ]; then
    say "$1 was ended by signal $((status - 128)). The end of its log, $3:"
  else
    say "$1 ended by itself with status $status. The end of its log, $3:"
  fi
  show "$3"
}

show() {
  tail -n 20 -- "$1" 2>/dev/null | sed 's/^/    /' >&2
}

show_logs() {
  for log in "$responder_log" "$nginx_log"; do
    say "The end of $log:"
    show "$log"
  done
}

# A moment between two looks; not every sleep takes a fraction.
nap() {
  sleep 0.1 2>/dev/null || sleep 1
}

# end PID SECONDS asks once more, firmly, when a process that was asked to end has not done so in time.
end() {
  deadline=$(($(date +%s) + $2))
  while kill -0 "$1" 2>/dev/null; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
      say "Process $1 did not end within $2 seconds: killing it"
      kill -KILL "$1" 2>/dev/null || true
      break
    fi
    nap
  done
  wait "$1" 2>/dev/null || true
}

# nginx first, so that nothing new arrives while the responder finishes what it has.
clean_up() {
  status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  rm -f -- "$state/demo.env" "$state/demo.env.new"
  if [ -n "$nginx_pid" ]; then
    kill -QUIT "$nginx_pid" 2>/dev/null
    end "$nginx_pid" 10
  fi
  if [ -n "$responder_pid" ]; then
    kill -TERM "$responder_pid" 2>/dev/null
    end "$responder_pid" 15
  fi
  rm -f -- "$lock" "$state/run/children"
  exit "$status"
}

# A demo that runs was asked to end and does: 0. One that was still starting has not done what it was asked to.
end_by_signal() {
  say ""
  if [ -n "$running" ]; then
    say "Ending the demo."
    exit 0
  fi
  exit "$1"
}

# ---------------------------------------------------------------- the check, and what is printed

# The documented call, with a file whose name needs no quoting wherever this tree lies.
check_upload() {
  answer=$(cd -- "$here/tests/samples" && local_curl --max-time 60 -X POST \
    -F "client_id=client_3m_plan" \
    -F "client_token=$DEMO_TOKEN" \
    -F "store_duration=7D" \
    -F "image=@$SAMPLE" \
    "$url/image/v2/") || check_failed "the upload got no answer"
  image=$(printf '%s\n' "$answer" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')
  case $image in
  "$url"/p/*) ;;
  *) check_failed "the upload was answered with: $answer" ;;
  esac
  local_curl --fail --max-time 60 --output "$state/run/fetched" "$image" || check_failed "cannot fetch $image back"
  cmp -- "$here/tests/samples/$SAMPLE" "$state/run/fetched" >&2 || check_failed "$image is not the file that was uploaded"
  rm -f -- "$state/run/fetched"
  printf '%s\n' "$answer"
}

check_failed() {
  still_running || exit 1
  say "install.sh: $1"
  show_logs
  exit 1
}

print_addresses() {
  cat <<ADDRESSES

image    $image
viewer   $url/view/?img=${image#"$url/p/"}
docs     $url/image/docs/
clients  $(quote "$state/demo.env")

curl -X POST -F "client_id=client_3m_plan" -F "client_token=$DEMO_TOKEN" -F "store_duration=7D" -F $(quote "image=@$(curl_file "$here/tests/samples/$SAMPLE")") $url/image/v2/

ADDRESSES
}

# Prints $1 as one word for a shell.
quote() {
  case $1 in
  *[!A-Za-z0-9/._+,:@%=-]* | '') printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
  *) printf '%s' "$1" ;;
  esac
}

# Prints $1 as a file name for curl's -F, to which a comma and a semicolon mean something.
curl_file() {
  case $1 in
  *[,\;\"]*) printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')" ;;
  *) printf '%s' "$1" ;;
  esac
}

# For programs that want to use the demo: there once it is ready, gone when it has ended. It holds tokens.
write_env() {
  (
    umask 077
    while read -r name value; do
      printf '%s=%s\n' "$name" "$(quote "$value")"
    done >"$state/demo.env.new" <<ENV
CDN_URL $url
CDN_BIN $bin
CDN_CONFIG $config
CDN_DOCROOT $docroot
CDN_PID $responder_pid
CDN_NGINX_PID $nginx_pid
CDN_FREE_ID client_free_plan
CDN_FREE_TOKEN $(cat -- "$tokens/client_free_plan")
CDN_3M_ID client_3m_plan
CDN_3M_TOKEN $DEMO_TOKEN
CDN_LIFETIME_ID client_lifetime_plan
CDN_LIFETIME_TOKEN $(cat -- "$tokens/client_lifetime_plan")
ENV
  )
  mv -- "$state/demo.env.new" "$state/demo.env"
}

main "$@"
