# shellcheck shell=sh
# Removing what the manifest says was placed. Images, ledger and configuration stay unless --purge is given.

uninstall() {
  if [ -n "$user_mode" ]; then
    set_user_places
    manager=user
  else
    [ "$(id -u)" = 0 ] || err "this needs root: run it with sudo, or './install.sh --uninstall --user' for your home directory alone"
    set_host_places
    find_manager
  fi
  make_temporary
  recover
  [ -e "$record/manifest" ] || err "nothing was installed by install.sh here: $record/manifest is missing"
  prefix=$(awk -F '\t' '$3 ~ /\/bin\/corenexis-cdn$/ { sub(/\/bin\/corenexis-cdn$/, "", $3); print $3; exit }' "$record/manifest")
  docroot=$(config_value storage docroot 2>/dev/null || true)
  : "${docroot:=/var/www/corenexis-cdn}"
  ledger=$(config_value ledger path 2>/dev/null || true)
  : "${ledger:=$data/ledger.db}"
  log=$(config_value server log 2>/dev/null || true)
  print_removal
  if [ -n "$dry_run" ]; then
    say "This was a dry run: nothing was removed."
    return
  fi
  confirm
  begin
  cp -- "$record/manifest" "$tmp/placed"
  # nginx lets go first, so that no request meets a responder that is gone.
  leave_nginx
  stop_for_good
  remove_all_placed
  finish_removal
}

print_removal() {
  say "Removing corenexis-cdn:"
  awk -F '\t' '
    $1 == "created" || $1 == "beside" || $1 == "linked" { print "  remove   " $3 }
    $1 == "replaced" { print "  restore  " $3 ", as it was before" }
    $1 == "inserted" { print "  change   " $3 ": our include line goes" }' "$record/manifest" >&2
  if [ -n "$purge" ]; then
    say "  remove   $docroot with all images, $(dirname -- "$ledger") with the ledger, $config_directory"
  else
    say "  keep     images in $docroot, the ledger $ledger, $config; --purge removes them too"
  fi
}

# Whether a placed file is one that nginx reads.
is_nginx_file() {
  case $1 in
  "$prefix"/bin/* | "$docroot"/* | /etc/systemd/* | /etc/init.d/* | /etc/cron.d/* | /etc/periodic/* | /etc/logrotate.d/* | "$data"/*) return 1 ;;
  "$config_directory"/*) return 1 ;;
  esac
}

leave_nginx() {
  [ -z "$user_mode" ] || return 0
  : >"$tmp/touched"
  while IFS=$TAB read -r action sum path word; do
    case $action in
    inserted)
      [ -e "$path" ] || continue
      save "$path"
      remove_line "$path"
      echo "$path" >>"$tmp/touched"
      ;;
    linked)
      [ -L "$path" ] || continue
      journal link "$path" "$(readlink -- "$path")"
      rm -f -- "$path"
      echo "$path" >>"$tmp/touched"
      ;;
    created | replaced | beside)
      is_nginx_file "$path" || continue
      remove_placed "$path" "$action" "$sum" "$word"
      echo "$path" >>"$tmp/touched"
      ;;
    esac
  done <"$tmp/placed"
  [ -s "$tmp/touched" ] || return 0
  nginx=nginx
  [ ! -x /www/server/nginx/sbin/nginx ] || nginx=/www/server/nginx/sbin/nginx
  if have "$nginx"; then
    if ! read_nginx; then
      show "$tmp/nginx.said"
      err "nginx does not accept its configuration without us: something that was added later needs us"
    fi
    if nginx_pid >/dev/null; then
      journal reload-nginx
      reload_nginx || err "nginx could not be made to read its configuration"
    fi
  fi
}

stop_for_good() {
  if grep -qE "(/systemd/system/corenexis-cdn|/init\.d/corenexis-cdn|/corenexis-cdn-user$TAB)" "$tmp/placed"; then
    journal start-service
    stop_service
  fi
  [ -z "$user_mode" ] || leave_crontab
}

# remove_placed PATH ACTION CHECKSUM ORIGINAL: removes a file that was placed, or puts back the one that was there before it. One that
# was edited meanwhile is not lost.
remove_placed() {
  if [ -e "$1" ]; then
    if [ "$2" = created ] && [ "$(checksum "$1")" != "$3" ] && [ -z "$purge" ]; then
      make_directory "$config_directory/edited" 755 "$root_owner"
      cp -p -- "$1" "$config_directory/edited/$(basename -- "$1")"
      say "$1 was edited here; a copy is in $config_directory/edited"
    fi
    save "$1"
    rm -f -- "$1"
  fi
  if [ "$2" = replaced ] && [ -e "$4" ]; then
    [ -e "$1" ] || journal remove "$1"
    cp -p -- "$4" "$1"
  fi
}

remove_all_placed() {
  while IFS=$TAB read -r action sum path word; do
    case $action in
    created | replaced | beside)
      is_nginx_file "$path" && [ -z "$user_mode" ] && continue
      remove_placed "$path" "$action" "$sum" "$word"
      ;;
    esac
  done <"$tmp/placed"
  reload_units
}

# From here on nothing can be put back, and nothing has to be.
finish_removal() {
  working=''
  rm -rf -- "$record"
  if [ -n "$purge" ]; then
    purge_directory "$docroot" p .spool view image
    purge_directory "$(dirname -- "$ledger")" "$(basename -- "$ledger")*"
    purge_directory "$config_directory" config.toml edited
    [ -z "$log" ] || purge_directory "$(dirname -- "$log")" "$(basename -- "$log")*"
    if [ -n "$user_mode" ]; then
      rm -rf -- "$data"
    else
      rm -rf -- /var/log/corenexis-cdn
    fi
  fi
  # The deepest first. What still has something in it is not ours alone.
  awk -F '\t' '$1 == "directory" { print $3 }' "$tmp/placed" | sort -r | while read -r directory; do
    rmdir -- "$directory" 2>/dev/null || true
  done
  rmdir -- "$config_directory" 2>/dev/null || true
  # An account of this name with this home was made by an installation, whichever.
  if [ -n "$purge" ] && [ -z "$user_mode" ] && grep -q "^$ACCOUNT:.*:$data:" /etc/passwd; then
    remove_account
  fi
  say "corenexis-cdn is removed."
  [ -n "$purge" ] || say "Images, ledger and configuration are where they were; a later installation takes them up again."
}

# purge_directory DIRECTORY NAME... : the whole of it where an installation made it, else what is ours in it. Patterns are allowed.
purge_directory() {
  if [ -n "$(awk -F '\t' -v path="$1" '$1 == "directory" && $3 == path' "$tmp/placed")" ]; then
    rm -rf -- "$1"
    return
  fi
  directory=$1
  shift
  for name; do
    # The pattern is meant.
    # shellcheck disable=SC2086
    (cd -- "$directory" 2>/dev/null && rm -rf -- $name)
  done
  rmdir -- "$directory" 2>/dev/null || true
}
