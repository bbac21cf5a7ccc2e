# shellcheck shell=sh
# The journal, which puts everything back when an installation fails or is cut off, and the manifest, which makes the next one an
# upgrade and knows what to remove. Both lie in $record, which belongs to whoever installs: the account of the responder must not be
# able to tell root what to delete.
#
# The journal has a line for each step, written before the step is taken: a verb, a path and sometimes a third word, with tabs between
# them. The manifest has a line for each thing that is there now: an action, a checksum or -, a path and sometimes a fourth word.

TAB=$(printf '\t')

# Puts back what an earlier run left half done, because it was killed or the machine went down.
recover() {
  [ -e "$record/journal" ] || return 0
  if [ -n "$dry_run" ]; then
    say "An earlier run was cut off; the next one without --dry-run first puts back what that had changed."
    return
  fi
  say "An earlier run was cut off: putting back what it had changed."
  undo
}

begin() {
  # The directories of the journal cannot be in it when they are made.
  : >"$tmp/made"
  make_parents "$record"
  rm -rf -- "$record/undo"
  (umask 077 && mkdir -- "$record/undo" && cat -- "$tmp/made" >"$record/journal")
  : >"$tmp/manifest"
  saved=0
  working=1
}

# Makes the directories above and including $1 that are missing, and writes a line of the journal for each to $tmp/made.
make_parents() {
  [ ! -d "$1" ] || return 0
  make_parents "$(dirname -- "$1")"
  mkdir -m 755 -- "$1" || err "cannot make the directory $1"
  printf 'rmdir\t%s\t\n' "$1" >>"$tmp/made"
}

# journal VERB [PATH [WORD]]: what undoes the step that follows. A word needs a path, if only -, for `read` takes two tabs as one.
journal() {
  printf '%s\t%s\t%s\n' "$1" "${2:-}" "${3:-}" >>"$record/journal"
}

# save PATH keeps a copy and notes that it is to be put back.
save() {
  saved=$((saved + 1))
  cp -p -- "$1" "$record/undo/$saved"
  journal restore "$1" "$record/undo/$saved"
}

# remember ACTION CHECKSUM PATH [WORD]: a line of the manifest that is to be.
remember() {
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}" >>"$tmp/manifest"
}

# recorded PATH FIELD prints a field of the manifest of the last installation for a path: 1 action, 2 checksum, 4 the last word.
recorded() {
  [ -e "$record/manifest" ] || return 0
  awk -F '\t' -v path="$1" -v field="$2" '$3 == path { print $field; exit }' "$record/manifest"
}

checksum() {
  sha256sum <"$1" | cut -d ' ' -f 1
}

# Undoes everything in the journal, the last step first. It may be cut off itself and begun again.
undo() {
  set +e
  cp -- "$record/journal" "$tmp/journal"
  # What runs is ended before its files go, and started again after they are back.
  undo_steps before
  undo_steps files
  rm -rf -- "$record/undo" "$record/manifest.new"
  rm -f -- "$record/journal"
  undo_steps directories
  undo_steps after
  set -e
}

# undo_steps PHASE
undo_steps() {
  awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$tmp/journal" >"$tmp/steps"
  while IFS=$TAB read -r verb path word; do
    case $1:$verb in
    before:stop-service) stop_service ;;
    before:stop-nginx) stop_nginx ;;
    files:remove) rm -f -- "$path" ;;
    files:restore)
      [ ! -e "$word" ] || { cp -p -- "$word" "$path.undo" && mv -f -- "$path.undo" "$path"; }
      ;;
    files:link) [ -L "$path" ] || ln -s -- "$word" "$path" ;;
    files:remove-tree) rm -rf -- "$path" ;;
    files:remove-account) remove_account ;;
    files:restore-crontab) restore_crontab "$word" ;;
    directories:rmdir) rmdir -- "$path" 2>/dev/null ;;
    after:reload-units) reload_units ;;
    after:start-service) enable_service ;;
    after:renew-service) renew_service ;;
    after:reload-nginx) reload_nginx ;;
    esac
  done <"$tmp/steps"
}

# The new manifest takes the place of the old one, and with that the installation is done.
finish() {
  if ! cmp -s -- "$tmp/manifest" "$record/manifest" 2>/dev/null; then
    (umask 077 && cat -- "$tmp/manifest" >"$record/manifest.new")
    mv -f -- "$record/manifest.new" "$record/manifest"
  fi
  working=''
  rm -f -- "$record/journal"
  rm -rf -- "$record/undo"
}

# The end of every run that installs or removes.
clean_up() {
  status=$?
  trap '' INT TERM HUP
  trap - EXIT
  if [ -n "${working:-}" ]; then
    say "Putting everything back as it was ..."
    undo
    say "Nothing of this run is left on this host."
  elif [ -s "$tmp/made" ] && [ ! -e "$record/manifest" ]; then
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
