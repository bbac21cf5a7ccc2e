# shellcheck shell=sh
# Removing what the manifest says was placed. Images, ledger and configuration stay unless --purge is given, and the manifest keeps
# their lines, so that a later --purge finds them.

uninstall() {
  if [ -n "$user_mode" ]; then
    set_user_places
  else
    [ "$(id -u)" = 0 ] || err "this needs root: run it with sudo, or './install.sh --uninstall --user' for your home directory alone"
    set_host_places
    find_manager
  fi
  make_temporary
  [ -e "$record/manifest" ] || [ -e "$record/journal" ] ||
    err "nothing was installed by install.sh here: $record/manifest is missing"
  find_installed
  recover
  find_installed
  is_installed || [ -n "$purge" ] || err "corenexis-cdn is removed already; --purge removes its data too"
  print_removal
  if [ -n "$dry_run" ]; then
    say "This was a dry run: nothing was removed."
    return
  fi
  confirm
  begin
  : >"$record/manifest.new"
  # nginx first: it must not pass requests to a responder that has ended.
  [ -n "$user_mode" ] || leave_nginx
  stop_for_good
  remove_all_placed
  finish_removal
}

# What the manifest knows of the installation: program, data, the command for nginx.
find_installed() {
  prefix=$(recorded_prefix)
  bin=$prefix/bin/corenexis-cdn
  listen=$(recorded_paths socket | head -n 1)
  listen=${listen:+unix:$listen}
  : "${nginx_reload:=$(recorded_word nginx-reload)}"
  docroot=$(recorded_paths docroot | head -n 1)
  ledger=$(recorded_paths ledger | head -n 1)
  log=$(recorded_paths log | head -n 1)
  # A manifest of the first versions has no such lines.
  if [ -z "$docroot$ledger" ] && [ -e "$config" ] && [ -x "$bin" ]; then
    docroot=$(config_get storage.docroot) ledger=$(config_get ledger.path) log=$(config_get server.log) listen=$(config_get server.listen)
  fi
}

print_removal() {
  say "Removing corenexis-cdn:"
  shared=$(recorded_paths shared | head -n 1) awk -F '\t' '
    BEGIN { shared = ENVIRON["shared"] }
    $3 ~ /\/share\/(man|bash-completion|zsh|fish)\// && $1 == "created" { pages++; next }
    shared != "" && index($3, shared "/") == 1 { next }
    $1 == "created" || $1 == "beside" || $1 == "linked" { print "  remove   " $3 }
    $1 == "replaced" { print "  restore  " $3 ", as it was before" }
    $1 == "inserted" { print "  change   " $3 ": our include line goes" }
    END { if (pages) print "  remove   " pages " manual pages and completions" }' "$record/manifest" >&2
  kept=''
  if [ -n "$purge" ]; then
    recorded_paths docroot | while read -r path; do is_shared "$path" || say "  remove   all images and pages in $path"; done
    recorded_paths ledger | while read -r path; do say "  remove   the ledger $path"; done
    say "  remove   $config"
  else
    is_shared "$docroot" || kept="images in ${docroot:-the docroot}, "
    say "  keep     $kept${ledger:+the ledger $ledger, }$config; --purge removes them too"
  fi
  [ -z "$(recorded_paths spool)" ] || say "  keep     the images in the bucket"
  [ -z "$(recorded_paths database)" ] || say "  keep     the ledger $(recorded_paths database)"
  recorded_paths shared | while read -r path; do
    say "  keep     $path, images and pages: other hosts may serve it"
  done
}

# Whether a path lies in a docroot that other hosts may serve too, because their ledger is in PostgreSQL.
is_shared() {
  recorded_paths shared >"$tmp/shared"
  while read -r shared; do
    case $1 in "$shared" | "$shared"/*) return 0 ;; esac
  done <"$tmp/shared"
  return 1
}

# Whether a placed file is one that nginx reads.
is_nginx_file() {
  case $1 in
  */bin/corenexis-cdn | */share/man/* | */share/bash-completion/* | */share/zsh/* | */share/fish/*) return 1 ;;
  "$docroot"/* | /etc/systemd/* | /etc/init.d/* | /etc/cron.d/* | /etc/periodic/* | /etc/logrotate.d/* | "$data"/*) return 1 ;;
  "$config_directory"/*) return 1 ;;
  esac
}

# Files that include others go before those: nginx accepts every state in between.
leave_nginx() {
  : >"$tmp/touched"
  leave_nginx_files lines
  leave_nginx_files including
  leave_nginx_files included
  [ -s "$tmp/touched" ] || return 0
  find_program
  if have "$nginx"; then
    if ! read_nginx; then
      show "$tmp/nginx.said"
      err "nginx does not accept its configuration without us: something that was added later needs us"
    fi
    nginx_is_new=''
    apply_nginx
  fi
}

# leave_nginx_files KIND: lines (include lines and links), including (files that include the snippet) or included.
leave_nginx_files() {
  while IFS=$TAB read -r action sum path word; do
    case $1:$action in
    lines:inserted)
      grep -qF -- "$MARK" "$path" 2>/dev/null || continue
      edit_line uninsert "$path"
      ;;
    lines:linked) unlink_placed "$path" ;;
    including:created | including:replaced | including:beside)
      is_nginx_file "$path" || continue
      grep -qs '^ *include .*/snippets/corenexis-cdn.conf;' "$path" || continue
      remove_placed "$path" "$action" "$sum" "$word"
      ;;
    included:created | included:replaced | included:beside)
      is_nginx_file "$path" || continue
      remove_placed "$path" "$action" "$sum" "$word"
      ;;
    *) continue ;;
    esac
    echo "$path" >>"$tmp/touched"
  done <"$record/manifest"
}

stop_for_good() {
  if grep -qE "(/systemd/system/corenexis-cdn|/init\.d/corenexis-cdn|/corenexis-cdn-user$TAB)" "$record/manifest"; then
    journal start-service
    stop_service
  fi
  [ -z "$user_mode" ] || leave_crontab
}

remove_all_placed() {
  while IFS=$TAB read -r action sum path word; do
    case $action in
    created | replaced | beside) is_shared "$path" || remove_placed "$path" "$action" "$sum" "$word" ;;
    esac
  done <"$record/manifest"
  reload_units
}

# From here on nothing is undone: a run that is cut off is finished by the next --uninstall, for the manifest goes last.
finish_removal() {
  cat -- "$record/manifest" >"$tmp/placed"
  awk -F '\t' '$1 ~ /^(directory|docroot|ledger|database|shared|log|spool|kept|account|edited|found)$/' "$tmp/placed" >>"$record/manifest.new"
  mv -f -- "$record/manifest.new" "$record/manifest"
  working=''
  rm -f -- "$record/journal"
  clear_undo
  [ -z "$purge" ] || purge
  remove_directories
  [ -z "$purge" ] || name_leftovers
  say "corenexis-cdn is removed."
  [ -n "$purge" ] || say "Images, ledger and configuration are where they were; a later installation takes them up again."
}

# Those that installations made, the deepest first. What still has something in it is not ours alone.
remove_directories() {
  for file in "$record/originals"/*; do
    # A purge has put the originals back.
    [ ! -f "$file" ] || rm -f -- "$file"
  done
  recorded_paths directory | sort -ru | while read -r directory; do
    is_shared "$directory" || echo "$directory"
  done >"$tmp/directories"
  if [ -n "$purge" ]; then
    rm -f -- "$record/manifest"
  fi
  while read -r directory; do
    rmdir -- "$directory" 2>/dev/null || true
  done <"$tmp/directories"
  [ -z "$purge" ] || rmdir -- "$record" "$config_directory" 2>/dev/null || true
}
