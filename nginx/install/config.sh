# shellcheck shell=sh
# config.toml, which the program reads and writes.

# config_get KEY [FILE] prints the value that holds for a key; nothing for a key that has none.
config_get() {
  "$bin" --config "${2:-$config}" config get "$1" ||
    err "${2:-$config} cannot be used: the line above says why"
}

# config_default TITLE APPLY KEY=VALUE... prints a whole configuration. TITLE says whose it is, APPLY how a change takes effect.
config_default() {
  title=$1 apply=$2
  shift 2
  for setting; do
    shift
    set -- "$@" --set "$setting"
  done
  "$bin" config default --title "$title" --apply "$apply" "$@" || err "no configuration could be written: the line above says why"
}

# Ends where --set is given for a configuration that is there.
refuse_settings() {
  [ -z "$settings" ] || err "$config is there already, and --set is for a first installation: change it there, then run this again without --set"
}

# Ends where a path of the configuration holds a character that the manifest, a file of lines and tabs, has no notation for.
check_path() {
  case $2 in
  *[[:cntrl:]]*) err "$1 in $config holds a line break, a tab or another control character: choose another path" ;;
  esac
}
