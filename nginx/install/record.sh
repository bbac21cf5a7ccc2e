# shellcheck shell=sh
# The journal, from which a run that fails or is cut off is undone, and the manifest, which makes the next run an upgrade and says what
# an uninstall removes. Both lie in $record, which belongs to root (with --user to the account): the account of the responder must not
# be able to tell root what to delete. Their lines have four fields with tabs between them, - for an empty one.
#
#   journal    VERB  PATH  WORD  CHECKSUM    written before each step; recovery.sh has the verbs
#   manifest   ACTION  CHECKSUM  PATH  WORD  one line for each thing that is there:
#     created, replaced (WORD: the original), found (was there, the same), beside (WORD: the edited file)   files
#     edited                               a copy of an edited file that an uninstall made
#     inserted, linked, directory          include lines, links, directories
#     kept                                 config.toml
#     docroot, ledger, log, spool, socket  where data lies, of this and of earlier configurations
#     database, shared                     the URL of a ledger in PostgreSQL; a docroot that other hosts with that ledger may serve
#     account, nginx-reload, options       the account; the command of --nginx-reload and other options (WORD)
#     program                              the program of a package, which is not ours to remove

TAB=$(printf '\t')

begin() {
  # The directories of the journal cannot be in it when they are made.
  : >"$tmp/made"
  make_parents "$record"
  chmod -- 700 "$record"
  clear_undo
  mkdir -m 700 -- "$record/undo"
  : >"$record/manifest.new"
  {
    printf 'started\t%s\t-\t-\n' "$(date -u '+%Y-%m-%d %H:%M:%S UTC')"
    cat -- "$tmp/made"
  } >"$record/journal"
  saved=0
  working=1
}

# Makes the directories above and including $1 that are missing, and writes a line of the journal for each to $tmp/made.
make_parents() {
  [ ! -d "$1" ] || return 0
  make_parents "$(dirname -- "$1")"
  mkdir -m 755 -- "$1" || err "cannot make the directory $1"
  printf 'directory\t%s\t-\t-\n' "$1" >>"$tmp/made"
}

# journal VERB [PATH [WORD [CHECKSUM]]]: what undoes the step that follows.
journal() {
  printf '%s\t%s\t%s\t%s\n' "$1" "${2:--}" "${3:--}" "${4:--}" >>"$record/journal"
}

# save PATH keeps a copy for the journal, in $copy.
save() {
  saved=$((saved + 1))
  copy=$record/undo/$saved
  cp -p -- "$1" "$copy"
}

# remember ACTION CHECKSUM PATH [WORD]: a line of the manifest that is to be.
remember() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:--}" >>"$record/manifest.new"
}

# recorded PATH FIELD prints a field of the manifest's line for a file: 1 action, 2 checksum, 4 the word, nothing for -.
recorded() {
  [ -e "$record/manifest" ] || return 0
  path=$1 awk -F '\t' -v field="$2" '
    $1 ~ /^(created|replaced|found|beside|linked|kept|account|program)$/ && $3 == ENVIRON["path"] { if ($field != "-") print $field; exit }' \
    "$record/manifest"
}

# recorded_paths ACTION prints the paths of the manifest's lines for an action.
recorded_paths() {
  [ ! -e "$record/manifest" ] || awk -F '\t' -v action="$1" '$1 == action { print $3 }' "$record/manifest"
}

# recorded_word ACTION prints the word of the manifest's line for an action that has one line at most.
recorded_word() {
  [ ! -e "$record/manifest" ] || awk -F '\t' -v action="$1" '$1 == action { print $4; exit }' "$record/manifest"
}

# Where the manifest says that the program is.
recorded_prefix() {
  { cat -- "$record/manifest" "$record/manifest.new" 2>/dev/null || true; } |
    awk -F '\t' '$3 ~ /\/bin\/corenexis-cdn$/ { sub(/\/bin\/corenexis-cdn$/, "", $3); print $3; exit }'
}

is_installed() {
  [ -n "$(recorded_paths created)$(recorded_paths replaced)" ]
}

checksum() {
  sha256sum <"$1" | cut -d ' ' -f 1
}

# is_still PATH CHECKSUM: the file is what this installer placed.
is_still() {
  [ -f "$1" ] && [ ! -L "$1" ] && [ "$(checksum "$1")" = "$2" ]
}

# Where data lies now, and where it lay for earlier configurations: a purge removes both.
remember_data() {
  for action in docroot ledger log spool socket; do
    {
      case $action in
      docroot) echo "$docroot" ;;
      ledger) echo "$ledger" ;;
      log) echo "$log" ;;
      spool) echo "$spool" ;;
      socket) case $listen in unix:*) echo "${listen#unix:}" ;; esac ;;
      esac
      recorded_paths "$action"
    } | sort -u >"$tmp/data"
    while read -r path; do
      [ -z "$path" ] || remember "$action" - "$path"
    done <"$tmp/data"
  done
  if [ -n "$ledger_url" ]; then
    remember database - "$ledger_url"
    [ "$kind" = s3 ] || remember shared - "$docroot"
  fi
  recorded_paths edited | while read -r path; do
    remember edited - "$path"
  done
}

# The new manifest takes the place of the old one, and with that the run is done.
finish() {
  if cmp -s -- "$record/manifest.new" "$record/manifest" 2>/dev/null; then
    rm -f -- "$record/manifest.new"
  else
    mv -f -- "$record/manifest.new" "$record/manifest"
  fi
  working=''
  rm -f -- "$record/journal"
  clear_undo
}

# The copies are named by numbers.
clear_undo() {
  [ -d "$record/undo" ] || return 0
  find "$record/undo" -type f -exec rm -f -- {} +
  rmdir -- "$record/undo"
}

# The end of every run that installs or removes.
clean_up() {
  status=$?
  trap '' INT TERM HUP
  trap - EXIT
  if [ -n "${working:-}" ]; then
    say "Putting everything back as it was ..."
    undo
    say "What this run had changed is put back."
  elif [ -s "$tmp/made" ] && [ ! -e "$record/manifest" ] && [ ! -e "$record/journal" ]; then
    # It ended between the first directory and the journal.
    sed '1!G;h;$!d' "$tmp/made" | cut -f 2 | while read -r directory; do
      rmdir -- "$directory" 2>/dev/null || true
    done
  fi
  rm -rf -- "$tmp"
  exit "$status"
}

# A directory for what is rendered and compared, gone at the end.
make_temporary() {
  tmp=$(mktemp -d "${TMPDIR:-/tmp}/corenexis-cdn-install.XXXXXX")
  working=''
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap 'exit 129' HUP
}
