# shellcheck shell=sh
# What has to be on the machine first: programs, Rust, and the binary itself.

# need_cmd COMMAND PACKAGE
need_cmd() {
  have "$1" || missing="$missing $2"
}

install_packages() {
  if have apt-get; then
    packages=$(echo "$1" | sed 's/gcc/gcc libc6-dev/')
    install="apt-get install -y --no-install-recommends$packages"
  elif have dnf; then
    packages=$(echo "$1" | sed 's/ cron/ cronie/')
    install="dnf install -y$packages"
  elif have apk; then
    packages=$(echo "$1" | sed 's/gcc/gcc musl-dev/')
    install="apk add$packages"
  else
    err "missing on this machine:$1; install them and run this again"
  fi
  [ "$(id -u)" = 0 ] || err "missing on this machine:$1; run as root: $install"
  say "Installing$1 ..."
  case $1 in
  *nginx*) [ -z "$demo" ] || say "(The package may also start a service of its own on port 80. The demo does not use it.)" ;;
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
