# shellcheck shell=sh
# Undoing a run from its journal: at its own failure, or by the next run where it was killed. No step removes a directory that holds
# anything, and a file is removed or put back only where it still is what the run placed: what was edited later stays.

# What an earlier run left, because it was killed or the machine went down.
recover() {
  [ -e "$record/journal" ] || return 0
  began=$(awk -F '\t' '$1 == "started" { print $2 }' "$record/journal")
  say "An earlier run of install.sh${began:+, of $began,} did not end. It had begun these steps:"
  describe_journal
  if [ -n "$dry_run" ]; then
    say "The next run without --dry-run asks whether they are kept or undone."
    return
  fi
  # What runs may not have read what is there.
  recovered=1
  # An uninstall continues from the present state.
  [ -n "$uninstall" ] || ask_recovery
  case ${uninstall:+keep}${choice:-} in
  keep)
    say "Keeping what is there."
    keep_steps
    ;;
  undo)
    say "Undoing them."
    undo
    ;;
  esac
}

# Sets $choice.
ask_recovery() {
  choice=undo
  ! serves_now || choice=keep
  if [ -n "$yes" ]; then
    return
  fi
  [ -t 0 ] || err "standard input is not a terminal, so nothing can be asked: '--yes' would $choice them$(serves_text)"
  printf 'Keep them, or undo them? [keep/undo, Enter ends] ' >&2
  read -r answer || answer=''
  case $answer in
  keep | undo) choice=$answer ;;
  *)
    say "Nothing was changed."
    exit 1
    ;;
  esac
}

serves_text() {
  [ "$choice" = undo ] || printf ', because the service runs'
}

# Whether there is a service that works: then it is kept.
serves_now() {
  service_runs && { [ -n "$user_mode" ] || ! have nginx || nginx -t >/dev/null 2>&1; }
}

describe_journal() {
  awk -F '\t' '
    $1 == "create" { print "  create   " $2 }
    $1 == "replace" { print "  replace  " $2 }
    $1 == "delete" || $1 == "unlink" { print "  remove   " $2 }
    $1 == "insert" { print "  change   " $2 ": an include line" }
    $1 == "uninsert" { print "  change   " $2 ": our include line goes" }
    $1 == "link" { print "  link     " $2 }
    $1 == "directory" { print "  create   the directory " $2 }
    $1 == "account" { print "  add      the account " $2 }
    $1 == "probe" { print "  test     with the client " $2 }' "$record/journal" >&2
}

# Takes the steps of the journal for done: the manifest gets its lines for what is there.
keep_steps() {
  remove_probes
  if [ -s "$record/manifest.new" ]; then
    : >"$tmp/merged"
    while IFS=$TAB read -r action sum path word; do
      keep_line "$action" "$sum" "$path" "$word"
    done <"$record/manifest.new"
    # Lines of the manifest before, for what the run had not come to.
    [ ! -e "$record/manifest" ] ||
      awk -F '\t' 'NR == FNR { seen[$1 == "inserted" || $1 == "directory" ? $1 $3 : $3] = 1; next }
        !(($1 == "inserted" || $1 == "directory" ? $1 $3 : $3) in seen)' "$tmp/merged" "$record/manifest" >"$tmp/rest"
    [ ! -e "$tmp/rest" ] || cat -- "$tmp/rest" >>"$tmp/merged"
    cat -- "$tmp/merged" >"$record/manifest.new"
    mv -f -- "$record/manifest.new" "$record/manifest"
  fi
  rm -f -- "$record/journal"
  clear_undo
}

# keep_line ACTION CHECKSUM PATH WORD adds a line to $tmp/merged where the step was taken: lines are written before the step.
keep_line() {
  case $1 in
  created | replaced | beside)
    [ -e "$3" ] || return 0
    if ! is_still "$3" "$2"; then
      before=$(recorded "$3" 2)
      # Not replaced yet: the line of the manifest before stays, or the file is not ours.
      [ -z "$before" ] || ! is_still "$3" "$before" || return 0
      [ "$1" != replaced ] || [ ! -e "$4" ] || ! cmp -s -- "$4" "$3" || return 0
    fi
    ;;
  inserted) grep -qF -- "$MARK" "$3" 2>/dev/null || return 0 ;;
  linked) [ -L "$3" ] || return 0 ;;
  directory) [ -d "$3" ] || return 0 ;;
  account) id -- "$3" >/dev/null 2>&1 || return 0 ;;
  kept) [ -e "$3" ] || return 0 ;;
  esac
  printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" >>"$tmp/merged"
}

# Undoes everything in the journal, the last step first. It may be cut off itself and begun again.
undo() {
  set +e
  remove_probes
  awk '{ line[NR] = $0 } END { for (i = NR; i > 0; i--) print line[i] }' "$record/journal" >"$tmp/steps"
  # What runs is ended before its files go, and started again after they are back.
  undo_steps before
  undo_steps files
  keep_data_lines
  rm -f -- "$record/manifest.new" "$record/journal"
  clear_undo
  undo_steps directories
  undo_steps after
  set -e
}

# Data that stays keeps its lines in the manifest, for the next run and for a purge.
keep_data_lines() {
  [ -s "$record/manifest.new" ] && { [ -e "$ledger" ] || has_files "$docroot/p"; } || return 0
  : >"$tmp/merged"
  [ ! -e "$record/manifest" ] || cat -- "$record/manifest" >>"$tmp/merged"
  awk -F '\t' '$1 ~ /^(directory|docroot|ledger|database|shared|log|spool|kept|account)$/' "$record/manifest.new" >>"$tmp/merged"
  awk -F '\t' '!seen[$1 FS $3]++' "$tmp/merged" >"$record/manifest.kept"
  mv -f -- "$record/manifest.kept" "$record/manifest"
}

has_files() {
  [ -n "$(find "$1" -type f 2>/dev/null | head -n 1)" ]
}

# undo_steps PHASE
undo_steps() {
  while IFS=$TAB read -r verb path word sum; do
    case $1:$verb in
    before:stop-service) stop_service ;;
    before:stop-nginx) stop_nginx ;;
    before:ledger) remove_empty_ledger "$path" ;;
    before:log) purge_log "$path" ;;
    before:home) purge_home ;;
    files:temporary) rm -f -- "$path" ;;
    files:create) undo_create "$path" "$sum" ;;
    files:replace) undo_replace "$path" "$word" "$sum" ;;
    files:delete) [ -e "$path" ] || [ -L "$path" ] || put_back "$word" "$path" ;;
    files:insert | files:uninsert) undo_line "$verb" "$path" "$word" "$sum" ;;
    files:link) [ "$(readlink -- "$path")" != "$word" ] || rm -f -- "$path" ;;
    files:unlink) [ -e "$path" ] || [ -L "$path" ] || ln -s -- "$word" "$path" ;;
    files:crontab) restore_crontab "$word" ;;
    directories:directory) rmdir -- "$path" 2>/dev/null ;;
    directories:account) undo_account ;;
    after:reload-units) reload_units ;;
    after:start-service) enable_service ;;
    after:renew-service) renew_service ;;
    after:reload-nginx) ! nginx_runs || reload_nginx ;;
    esac
  done <"$tmp/steps"
}

# put_back COPY PATH
put_back() {
  [ -e "$1" ] || return 0
  cp -p -- "$1" "$2.dpkg-tmp" && mv -f -- "$2.dpkg-tmp" "$2"
}

undo_create() {
  if is_still "$1" "$2"; then
    rm -f -- "$1"
  elif [ -e "$1" ]; then
    say "Kept $1, which was changed after it was placed."
  fi
}

# undo_replace PATH COPY CHECKSUM
undo_replace() {
  if is_still "$1" "$3" || { [ ! -e "$1" ] && [ ! -L "$1" ]; }; then
    put_back "$2" "$1"
  elif ! cmp -s -- "$2" "$1"; then
    say "Kept $1, which was changed after it was placed."
  fi
}

# undo_line VERB PATH COPY CHECKSUM: a site's file with or without our line. If it was edited since, only the line is removed.
undo_line() {
  if is_still "$2" "$4"; then
    put_back "$3" "$2"
  elif [ "$1" = insert ] && [ -e "$2" ] && ! cmp -s -- "$3" "$2"; then
    say "$2 was changed after our line was put into it: only that line is removed."
    remove_line "$2"
  elif [ "$1" = uninsert ] && [ -e "$2" ] && ! cmp -s -- "$3" "$2"; then
    say "Kept $2, which was changed after our line was removed; './install.sh' puts it in again."
  fi
}

# The account stays while it owns a ledger or images.
undo_account() {
  if has_files "$docroot/p" || [ -e "$ledger" ]; then
    say "Kept the account $ACCOUNT, which owns what is left."
  else
    remove_account
  fi
}

# A ledger that this run made and that holds nothing: neither a client nor an image. One whose id is in a bucket stays.
remove_empty_ledger() {
  ! grep -qs '^kind = "s3"' "$config" || return 0
  [ -s "$1" ] && [ -x "$prefix/bin/corenexis-cdn" ] || return 0
  clients=$(cdn client list --json 2>/dev/null) && images=$(cdn image list --json 2>/dev/null) || return 0
  if [ "$(printf '%s' "$clients$images" | tr -d ' \n')" = '[][]' ]; then
    purge_ledger "$1"
    # The docroot has the id of that ledger.
    as_account rm -f -- "$docroot/p/.identity"
  else
    say "Kept the ledger $1, which holds clients or images."
  fi
}
