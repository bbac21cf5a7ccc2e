# shellcheck shell=sh
# What has to be on the machine first: programs, Rust, and the binary itself.

# need_cmd COMMAND PACKAGE adds the package to $missing where the command is not found.
need_cmd() {
  have "$1" || missing="$missing $2"
}

# What a build needs, where no binary is shipped. Sets $missing_rust to what is wrong with Rust, which no package manager is asked for.
need_build() {
  missing_rust=''
  if is_packaged || [ -x "$here/dist/corenexis-cdn" ]; then
    return
  fi
  need_cmd cc gcc
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$here/Cargo.toml")
  if ! have cargo || ! have rustc; then
    missing_rust="Rust $wanted or newer is missing: get it from https://rustup.rs, open a new shell, and run this again"
    return
  fi
  found=$(cd -- "$here" && rustc --version | awk '{ print $2 }') || found=''
  # shellcheck disable=SC2046
  if [ -z "$found" ] || ! newer_or_same $(echo "$found $wanted" | tr . ' '); then
    missing_rust="Rust $wanted or newer is needed and this is ${found:-broken}: run 'rustup update stable', or get it from https://rustup.rs"
  fi
}

# newer_or_same FOUND_MAJOR FOUND_MINOR FOUND_PATCH WANTED_MAJOR WANTED_MINOR
newer_or_same() {
  [ "$1" -gt "$4" ] || { [ "$1" -eq "$4" ] && [ "$2" -ge "$5" ]; }
}

# Says everything that is missing before the first package is installed; installs what packages have.
get_missing() {
  [ -n "$missing$missing_rust" ] || return 0
  [ -z "$missing" ] || say "Missing on this machine:$missing"
  [ -z "$missing_rust" ] || say "$missing_rust"
  if [ -n "${dry_run:-}" ]; then
    say "The packages would be installed first; the rest of the plan depends on them. Nothing was written."
    exit 0
  fi
  [ -z "$missing_rust" ] || err "nothing was installed"
  [ -n "$user_mode" ] || confirm
  choose_packages "$missing"
  install_packages "$missing"
}

# Asks whether to go on; --yes agrees.
confirm() {
  [ -z "$yes" ] || return 0
  hint="look at the plan with --dry-run, then use --yes"
  [ -z "$demo" ] || hint="--yes agrees"
  [ -t 0 ] || err "standard input is not a terminal, so nothing can be asked: $hint"
  printf 'Go on? [y/N] ' >&2
  read -r answer || answer=''
  case $answer in
  [yY] | [yY][eE][sS]) yes=1 asked=1 ;;
  *)
    say "Nothing was changed."
    exit 1
    ;;
  esac
}

# choose_packages PACKAGES, by their names in Debian: sets $install to the command that installs them here. Ends where this account cannot.
choose_packages() {
  if have apt-get; then
    packages=$(echo "$1" | sed 's/gcc/gcc libc6-dev/')
    install="apt-get install -y --no-install-recommends$packages"
  elif have dnf; then
    packages=$(echo "$1" | sed 's/ cron/ cronie/; s/ postgresql/ postgresql-server/; s/ python3-venv//')
    install="dnf install -y$packages"
  elif have apk; then
    packages=$(echo "$1" | sed 's/gcc/gcc musl-dev/; s/ python3-venv//')
    install="apk add$packages"
  else
    err "no package manager was found here: install$1 and run this again"
  fi
  [ "$(id -u)" = 0 ] || err "missing on this machine:$1; run as root: $install"
}

install_packages() {
  say "Installing$1 ..."
  case $1 in
  *nginx*) [ -z "$demo" ] || say "(The package may start an nginx of its own on port 80, which the demo does not use.)" ;;
  esac
  if have apt-get; then
    DEBIAN_FRONTEND=noninteractive
    export DEBIAN_FRONTEND
    apt-get -q update >&2 || say "apt-get update failed; trying with the package lists that are here"
  fi
  case $1 in *postgresql*) keep_cluster_away ;; esac
  # The words of the command hold no spaces of their own.
  # shellcheck disable=SC2086
  $install >&2 || err "could not install$1: the lines above say why; the command was: $install"
  allow_cluster
}

# Debian's package postgresql creates and starts a cluster, unless a file says that it should not. The demo's clean_up calls allow_cluster.
keep_cluster_away() {
  have apt-get || return 0
  without_cluster=/etc/postgresql-common/createcluster.d/corenexis-cdn.conf
  mkdir -p -- "${without_cluster%/*}"
  echo 'create_main_cluster = false' >"$without_cluster"
}

# Clusters that somebody makes later are as without the demo.
allow_cluster() {
  [ -n "${without_cluster:-}" ] || return 0
  rm -f -- "$without_cluster"
  rmdir -- "${without_cluster%/*}" 2>/dev/null || true
  without_cluster=''
}

# Whether this is the install.sh of a .deb or .rpm, which has the program in /usr/bin.
is_packaged() {
  [ -e "$here/packaged" ]
}

# What the operator calls this script.
own_name() {
  if is_packaged; then
    echo "'corenexis-cdn setup'"
  else
    echo install.sh
  fi
}

# A download that was cut off or damaged is not installed.
check_sums() {
  [ -e "$here/SHA256SUMS" ] || return 0
  damaged=$(cd -- "$here" && sha256sum -c SHA256SUMS 2>/dev/null | sed '/: OK$/d')
  if [ -n "$damaged" ]; then
    say "$damaged"
    err "these files are not as $here/SHA256SUMS says: unpack the archive again, or download it again"
  fi
}

get_binary() {
  check_sums
  if is_packaged; then
    bin=/usr/bin/corenexis-cdn
    return
  fi
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
    CORENEXIS_CDN_COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
    export CORENEXIS_CDN_COMMIT
    cargo build --release --locked --target-dir "$target" --bin corenexis-cdn >&2
  ) || err "the build failed: the lines above say why"
  case $target in
  /*) bin=$target/release/corenexis-cdn ;;
  *) bin=$here/$target/release/corenexis-cdn ;;
  esac
}
