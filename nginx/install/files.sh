# shellcheck shell=sh
# Placing files: what differs is found first, for the plan; then each is written as X.new, what was there is saved, and X.new gets the
# name. A file that is the same already is not touched.

# want SOURCE TARGET MODE OWNER:GROUP adds a file to what is to be there. SOURCE is below $tmp, or the binary.
want() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$tmp/wanted"
}

# Prints what has to happen to a file: create, replace, adopt (somebody else's file of the same name), keep (edited here), or same.
change_of() {
  if [ ! -e "$2" ] && [ ! -L "$2" ]; then
    echo create
    return
  fi
  placed=$(recorded "$2" 2)
  if [ ! -e "$1" ]; then
    echo replace
  elif cmp -s -- "$1" "$2"; then
    echo same
  elif [ -z "$placed" ]; then
    echo adopt
  elif [ "$(checksum "$2")" = "$placed" ]; then
    echo replace
  else
    echo keep
  fi
}

# Finds the changes, into $tmp/changes, and sets $changed to their number.
compare_files() {
  : >"$tmp/changes"
  while IFS=$TAB read -r source target mode owner; do
    printf '%s\t%s\t%s\t%s\t%s\n' "$(change_of "$source" "$target")" "$source" "$target" "$mode" "$owner" >>"$tmp/changes"
  done <"$tmp/wanted"
  obsolete_files >"$tmp/obsolete"
  changed=$(grep -cv "^same$TAB" "$tmp/changes" || true)
  changed=$((changed + $(grep -c . "$tmp/obsolete" || true)))
}

# Files of the last installation that this one does not have any more, because an option or the configuration changed.
obsolete_files() {
  [ -e "$record/manifest" ] || return 0
  awk -F '\t' -v link="${site_link:-}" 'NR == FNR { change[$3] = $1; next }
    $1 == "linked" && $3 != link { print $3 }
    ($1 == "created" || $1 == "replaced") && !($3 in change) { print $3 }
    $1 == "beside" && change[$4] != "keep" { print $3 }' \
    "$tmp/changes" "$record/manifest"
}

print_changes() {
  while IFS=$TAB read -r change _ target _ _; do
    case $change in
    create) say "  create   $target" ;;
    replace) say "  replace  $target" ;;
    adopt) say "  replace  $target, which was there before; an uninstall puts it back" ;;
    keep) say "  keep     $target, which was edited here; the new one goes to $(beside "$target")" ;;
    esac
  done <"$tmp/changes"
  while read -r target; do
    say "  remove   $target"
  done <"$tmp/obsolete"
}

# Whether a path is among those that change. Patterns are allowed.
changes() {
  while IFS=$TAB read -r change _ target _ _; do
    case $change in same | keep) continue ;; esac
    # The pattern is the caller's.
    # shellcheck disable=SC2254
    case $target in $1) return 0 ;; esac
  done <"$tmp/changes"
  return 1
}

# Where the new version of an edited file goes: beside it, under a name that whoever reads the directory ignores.
beside() {
  case $1 in
  */nginx.conf_* | */nginx.ssl.conf_*) echo "$(dirname -- "$1")/new.$(basename -- "$1")" ;;
  */logrotate.d/*) echo "$1.dpkg-new" ;;
  *) echo "$1.new" ;;
  esac
}

# make_directory PATH MODE OWNER:GROUP, with those above it. One that is there stays as it is. A third word, tree, says that what will
# be in it is this installation's alone: a failure removes the whole of it.
make_directory() {
  if [ ! -d "$1" ]; then
    make_directory_above "$1"
    journal "${4:-rmdir}" "$1"
    mkdir -m "$2" -- "$1"
    own "$1" "$3"
    remember directory - "$1"
  fi
}

# Directories that earlier runs made, whatever this one has to do with them.
remember_directories() {
  [ -e "$record/manifest" ] || return 0
  while IFS=$TAB read -r action _ directory _; do
    [ "$action" != directory ] || [ ! -d "$directory" ] || remember directory - "$directory"
  done <"$record/manifest"
}

make_directory_above() {
  above=$(dirname -- "$1")
  [ -d "$above" ] || make_directory "$above" 755 "$root_owner"
}

# own PATH OWNER:GROUP, where this is root's to decide.
own() {
  [ -n "$user_mode" ] || chown -h -- "$2" "$1"
}

place_files() {
  while IFS=$TAB read -r change source target mode owner; do
    case $change in
    same)
      # Left alone when it was there before the first installation, and noted when it is ours.
      known=$(recorded "$target" 1)
      remember "${known:-found}" "$(checksum "$target")" "$target" "$(recorded "$target" 4)"
      ;;
    keep) keep_edited "$source" "$target" "$mode" "$owner" ;;
    *) place "$source" "$target" "$mode" "$owner" ;;
    esac
  done <"$tmp/changes"
  while read -r target; do
    if [ -L "$target" ]; then
      journal link "$target" "$(readlink -- "$target")"
      rm -f -- "$target"
      continue
    fi
    remove_placed "$target" "$(recorded "$target" 1)" "$(recorded "$target" 2)" "$(recorded "$target" 4)"
  done <"$tmp/obsolete"
}

# place SOURCE TARGET MODE OWNER:GROUP
place() {
  make_directory_above "$2"
  journal remove "$2.new"
  cp -- "$1" "$2.new"
  chmod -- "$3" "$2.new"
  own "$2.new" "$4"
  action=$(recorded "$2" 1)
  original=$(recorded "$2" 4)
  if [ -e "$2" ] || [ -L "$2" ]; then
    if [ -z "$action" ] || [ "$action" = found ]; then
      action=replaced
      original=$record/originals/$(printf '%s' "$2" | tr '/' '_')
      make_directory "$record/originals" 700 "$root_owner"
      journal remove "$original"
      cp -p -- "$2" "$original"
    fi
    save "$2"
  else
    : "${action:=created}"
    journal remove "$2"
  fi
  mv -f -- "$2.new" "$2"
  remember "$action" "$(checksum "$2")" "$2" "$original"
}

# The checksum in the manifest stays the one of what was placed, so that the file counts as edited the next time too.
keep_edited() {
  new=$(beside "$2")
  if ! cmp -s -- "$1" "$new" 2>/dev/null; then
    [ ! -e "$new" ] || save "$new"
    journal remove "$new.writing"
    cp -- "$1" "$new.writing"
    chmod -- "$3" "$new.writing"
    own "$new.writing" "$4"
    [ -e "$new" ] || journal remove "$new"
    mv -f -- "$new.writing" "$new"
  fi
  say "Kept $2, which was edited here; the new version is $new"
  remember "$(recorded "$2" 1)" "$(recorded "$2" 2)" "$2" "$(recorded "$2" 4)"
  remember beside "$(checksum "$new")" "$new" "$2"
}

# place_link TARGET LINK
place_link() {
  if [ ! -L "$2" ]; then
    [ ! -e "$2" ] || err "$2 is in the way: move it away and run this again"
    journal remove "$2"
    ln -s -- "$1" "$2"
  fi
  remember linked - "$2"
}

# insert_line FILE LINE_NUMBER TEXT puts a line of ours behind a line of a file that is somebody else's.
insert_line() {
  # The target of a symbolic link, which is what sites-enabled is made of, keeps its name.
  save "$1"
  journal remove "$1.new"
  # A copy first, for the mode and the owner.
  cp -p -- "$1" "$1.new"
  awk -v after="$2" -v text="$3" '{ print } NR == after { print text }' "$1" >"$1.new"
  # awk ends the last line, where the file may not.
  trim_last_newline "$1" "$1.new"
  mv -f -- "$1.new" "$1"
}

# remove_line FILE takes out the lines that carry our mark.
remove_line() {
  [ -e "$1" ] && grep -qF -- "$MARK" "$1" || return 0
  cp -p -- "$1" "$1.new"
  grep -vF -- "$MARK" "$1" >"$1.new" || true
  trim_last_newline "$1" "$1.new"
  mv -f -- "$1.new" "$1"
}

# trim_last_newline MODEL FILE: where the model does not end with a newline, the file does not either.
trim_last_newline() {
  if [ -s "$1" ] && [ "$(tail -c 1 -- "$1" | od -An -c | tr -d ' ')" != '\n' ]; then
    size=$(wc -c <"$2")
    head -c "$((size - 1))" -- "$2" >"$2.trimmed"
    cat -- "$2.trimmed" >"$2"
    rm -f -- "$2.trimmed"
  fi
}
