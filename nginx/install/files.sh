# shellcheck shell=sh
# Placing files: what differs is found first, for the plan; then each is written beside its place, what was there is saved, and the new
# one gets the name. A file that is the same already is not touched.

# want SOURCE TARGET MODE OWNER:GROUP adds a file to what is to be there. SOURCE is below $tmp, or the binary.
want() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" >>"$tmp/wanted"
}

# want_pages OWNER:GROUP adds the rendered pages of the docroot.
want_pages() {
  (cd -- "$tmp/rendered/www" && find . -type f) | sort >"$tmp/pages"
  while read -r file; do
    want "$tmp/rendered/www/${file#./}" "$docroot/${file#./}" 644 "$1"
  done <"$tmp/pages"
}

# want_documentation OWNER:GROUP adds the manual pages and the completions of bash, zsh and fish, which a package has itself.
want_documentation() {
  share=$prefix/share
  "$bin" man "$tmp/man" || err "the manual pages could not be written: the line above says why"
  for page in "$tmp/man"/*; do
    want "$page" "$share/man/man${page##*.}/${page##*/}" 644 "$1"
  done
  for shell in bash zsh fish; do
    "$bin" completions "$shell" >"$tmp/completions.$shell" || err "the completions of $shell could not be written: the line above says why"
  done
  want "$tmp/completions.bash" "$share/bash-completion/completions/corenexis-cdn" 644 "$1"
  want "$tmp/completions.zsh" "$share/zsh/site-functions/_corenexis-cdn" 644 "$1"
  want "$tmp/completions.fish" "$share/fish/vendor_completions.d/corenexis-cdn.fish" 644 "$1"
}

# Prints what has to happen to a file: create, replace, adopt (a file of the same name that was there before), keep (edited here), or same.
change_of() {
  if [ ! -e "$2" ]; then
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
    [ ! -L "$target" ] || err "$target is a symbolic link, and a file belongs there: move it away and run this again"
    [ ! -d "$target" ] || err "$target is a directory, and a file belongs there: move it away and run this again"
    printf '%s\t%s\t%s\t%s\t%s\n' "$(change_of "$source" "$target")" "$source" "$target" "$mode" "$owner" >>"$tmp/changes"
  done <"$tmp/wanted"
  obsolete_files >"$tmp/obsolete"
  changed=$(grep -cv "^same$TAB" "$tmp/changes" || true)
  changed=$((changed + $(grep -c . "$tmp/obsolete" || true)))
}

# Files of the last installation that this one does not have any more, because an option or the configuration changed.
obsolete_files() {
  [ -e "$record/manifest" ] || return 0
  link=${site_link:-} awk -F '\t' 'NR == FNR { change[$3] = $1; next }
    $1 == "linked" && $3 != ENVIRON["link"] { print $3 }
    ($1 == "created" || $1 == "replaced") && !($3 in change) { print $3 }
    $1 == "beside" && change[$4] != "keep" { print $3 }' \
    "$tmp/changes" "$record/manifest"
}

print_changes() {
  pages=0
  while IFS=$TAB read -r change _ target _ _; do
    case $change:$target in
    create:"$prefix"/share/* | replace:"$prefix"/share/*)
      pages=$((pages + 1))
      continue
      ;;
    esac
    case $change in
    create) say "  create   $target" ;;
    replace) say "  replace  $target" ;;
    adopt) say "  replace  $target, which was there before; an uninstall puts it back" ;;
    keep) say "  keep     $target, which was edited here; the new one goes to $(beside "$target")" ;;
    esac
  done <"$tmp/changes"
  [ "$pages" = 0 ] || say "  place    $pages manual pages and completions below $prefix/share"
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

# The path for the new version of an edited file: beside it, with a suffix that nginx, cron and logrotate ignore.
beside() {
  case $1 in
  */nginx.conf_* | */nginx.ssl.conf_*) echo "$(dirname -- "$1")/new.$(basename -- "$1")" ;;
  */logrotate.d/*) echo "$1.dpkg-new" ;;
  *) echo "$1.new" ;;
  esac
}

# make_directory PATH MODE OWNER:GROUP, with those above it. One that is there stays as it is.
make_directory() {
  if [ ! -d "$1" ]; then
    make_directory_above "$1"
    journal directory "$1"
    remember directory - "$1"
    mkdir -m "$2" -- "$1"
    own "$1" "$3"
  fi
}

# Carries the lines of directories that earlier runs made over into the new manifest.
remember_directories() {
  recorded_paths directory | while read -r directory; do
    [ ! -d "$directory" ] || remember directory - "$directory"
  done
  awk -F '\t' '{ print $2 }' "$tmp/made" | while read -r directory; do
    remember directory - "$directory"
  done
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
      unlink_placed "$target"
    else
      remove_placed "$target" "$(recorded "$target" 1)" "$(recorded "$target" 2)" "$(recorded "$target" 4)"
    fi
  done <"$tmp/obsolete"
}

# write_beside SOURCE TARGET MODE OWNER:GROUP writes TARGET.dpkg-tmp, a name that cron, logrotate and nginx's patterns leave out. The
# file is made exclusively, so that no link that was planted under its name is followed.
write_beside() {
  journal temporary "$2.dpkg-tmp"
  rm -f -- "$2.dpkg-tmp"
  (umask 077 && set -C && cat -- "$1" >"$2.dpkg-tmp")
  chmod -- "$3" "$2.dpkg-tmp"
  own "$2.dpkg-tmp" "$4"
}

# put SOURCE TARGET MODE OWNER:GROUP makes or replaces TARGET at once. $sum is the checksum of SOURCE.
put() {
  write_beside "$1" "$2" "$3" "$4"
  if [ -e "$2" ]; then
    save "$2"
    journal replace "$2" "$copy" "$sum"
  else
    journal create "$2" - "$sum"
  fi
  mv -f -- "$2.dpkg-tmp" "$2"
}

# place SOURCE TARGET MODE OWNER:GROUP
place() {
  make_directory_above "$2"
  sum=$(checksum "$1")
  action=$(recorded "$2" 1)
  original=$(recorded "$2" 4)
  if [ -e "$2" ]; then
    if [ -z "$action" ] || [ "$action" = found ]; then
      action=replaced
      original=$record/originals/$(printf '%s' "$2" | sed 's/_/__/g; s|/|_|g')
      make_directory "$record/originals" 700 "$root_owner"
      journal temporary "$original"
      cp -p -- "$2" "$original"
    fi
  else
    : "${action:=created}"
  fi
  remember "$action" "$sum" "$2" "$original"
  put "$@"
}

# The checksum in the manifest stays the one of what was placed, so that the file counts as edited the next time too.
keep_edited() {
  remember "$(recorded "$2" 1)" "$(recorded "$2" 2)" "$2" "$(recorded "$2" 4)"
  new=$(beside "$2")
  if [ -e "$new" ] && [ -z "$(recorded "$new" 1)" ] && ! cmp -s -- "$1" "$new"; then
    say "Kept $2, which was edited here. Its new version is not beside it, because $new is another file: move that away and run this again."
    return
  fi
  sum=$(checksum "$1")
  remember beside "$sum" "$new" "$2"
  cmp -s -- "$1" "$new" 2>/dev/null || put "$1" "$new" "$3" "$4"
  say "Kept $2, which was edited here; the new version is $new"
}

# remove_placed PATH ACTION CHECKSUM ORIGINAL: removes a file that was placed, or puts back the one that was there before it. A copy of
# one that was edited meanwhile is kept under its whole path.
remove_placed() {
  if [ -f "$1" ] && [ ! -L "$1" ]; then
    if [ "$2" != beside ] && [ -z "$purge" ] && ! is_still "$1" "$3"; then
      edited=$config_directory/edited$1
      make_directory_above "$edited"
      remember edited - "$edited"
      write_beside "$1" "$edited" 600 "$root_owner"
      [ -e "$edited" ] || journal create "$edited" - "$(checksum "$1")"
      mv -f -- "$edited.dpkg-tmp" "$edited"
      say "$1 was edited here; a copy is $edited"
    fi
    save "$1"
    journal delete "$1" "$copy"
    rm -f -- "$1"
  fi
  if [ "$2" = replaced ] && [ -e "$4" ] && [ ! -e "$1" ]; then
    journal create "$1" - "$(checksum "$4")"
    journal temporary "$1.dpkg-tmp"
    cp -p -- "$4" "$1.dpkg-tmp"
    mv -f -- "$1.dpkg-tmp" "$1"
  fi
}

# place_link TARGET LINK
place_link() {
  remember linked - "$2"
  if [ ! -L "$2" ]; then
    [ ! -e "$2" ] || err "$2 is in the way: move it away and run this again"
    journal link "$2" "$1"
    ln -s -- "$1" "$2"
  fi
}

unlink_placed() {
  [ -L "$1" ] || return 0
  journal unlink "$1" "$(readlink -- "$1")"
  rm -f -- "$1"
}

# edit_line VERB FILE [LINE_NUMBER TEXT]: insert puts a line of ours behind a line of a site's file, uninsert removes the lines
# with our mark. The text is in the environment, for awk reads escapes in its own variables.
edit_line() {
  if [ "$1" = insert ]; then
    text=$4 awk -v after="$3" '{ print } NR == after { print ENVIRON["text"] }' "$2" >"$tmp/edit"
  else
    grep -vF -- "$MARK" "$2" >"$tmp/edit" || true
  fi
  trim_last_newline "$2" "$tmp/edit"
  save "$2"
  journal "$1" "$2" "$copy" "$(checksum "$tmp/edit")"
  replace_contents "$2" "$tmp/edit"
}

# remove_line FILE takes out our lines and writes nothing down.
remove_line() {
  grep -qF -- "$MARK" "$1" 2>/dev/null || return 0
  grep -vF -- "$MARK" "$1" >"$tmp/edit" || true
  trim_last_newline "$1" "$tmp/edit"
  replace_contents "$1" "$tmp/edit"
}

# replace_contents FILE NEW: mode and owner stay. The target of a symbolic link, which is what sites-enabled is made of, keeps its name.
replace_contents() {
  [ ! -e "$record/journal" ] || journal temporary "$1.dpkg-tmp"
  rm -f -- "$1.dpkg-tmp"
  cp -p -- "$1" "$1.dpkg-tmp"
  cat -- "$2" >"$1.dpkg-tmp"
  mv -f -- "$1.dpkg-tmp" "$1"
}

# trim_last_newline MODEL FILE: where the model does not end with a newline, the file does not either.
trim_last_newline() {
  if [ -s "$1" ] && [ "$(tail -c 1 -- "$1" | od -An -c | tr -d ' ')" != '\n' ]; then
    size=$(wc -c <"$2")
    head -c "$((size - 1))" -- "$2" >"$2.trimmed"
    mv -f -- "$2.trimmed" "$2"
  fi
}
