# shellcheck shell=sh
# --purge: removing data of this host. Only what the manifest names, and in its directories only names that this program gives:
# <class>/<day>/<name> and .identity below p, the ledger, its write-ahead log and the files beside it, the log and its rotations, spool
# files. Other files stay, and their directory is named. A bucket, a ledger in PostgreSQL and a docroot that other hosts may serve are left
# alone.
#
# In directories that the responder's account may write, the commands run as that account.

purge() {
  # The sweep that cron has started holds this lock.
  [ ! -e "$config" ] || ! have flock || flock -w 30 -- "$config" true || true
  recorded_paths docroot | while read -r path; do
    is_shared "$path" || purge_docroot "$path"
  done
  recorded_paths ledger | while read -r path; do
    purge_ledger "$path"
  done
  recorded_paths log | while read -r path; do
    purge_log "$path"
  done
  recorded_paths spool | while read -r path; do
    purge_spool "$path"
  done
  if [ -z "$user_mode" ]; then
    # What corenexis-cdn-backup.timer writes.
    as_account sh -c 'rm -f -- /var/lib/corenexis-cdn-backup/ledger-[0-9]*-[0-9]*.db' || true
    rmdir -- /var/lib/corenexis-cdn-backup 2>/dev/null || true
    purge_log /var/log/corenexis-cdn/responder.log
    rmdir -- /var/log/corenexis-cdn 2>/dev/null || true
    # nginx's cache of the bucket.
    rm -rf -- /var/cache/corenexis-cdn
  fi
  { recorded_paths kept && recorded_paths edited; } | while read -r path; do
    rm -f -- "$path"
  done
  rm -f -- "$config"
  remove_empty_below "$config_directory/edited"
  [ -z "$user_mode" ] || purge_home
  # For what follows when the manifest is gone.
  { recorded_paths docroot && recorded_paths ledger | sed 's|/[^/]*$||' && echo "$config_directory"; } | sort -u | while read -r path; do
    is_shared "$path" || echo "$path"
  done >"$tmp/left"
  made_account=$(recorded_paths account)
}

# The pages went with the other placed files, but for those that an installation found here: they came with a docroot that was moved.
purge_docroot() {
  awk -F '\t' '$1 == "found" { print $2 "\t" $3 }' "$tmp/placed" | while IFS=$TAB read -r sum page; do
    case $page in
    "$1"/view/* | "$1"/image/docs/* | "$1"/image/upload/*) ! is_still "$page" "$sum" || rm -f -- "$page" ;;
    esac
  done
  # shellcheck disable=SC2016
  as_account sh -c '
    cd -- "$1/p" 2>/dev/null || exit 0
    for class in d m mm l; do
      [ -d "$class" ] && [ ! -L "$class" ] || continue
      find "$class" -type f \( -path "$class/[a-z][a-z][1-9]/*" -o -path "$class/[a-z][a-z][1-3][0-9]/*" \) ! -path "*/*/*/*" \
        \( -name "??????*.jpg" -o -name "??????*.png" -o -name "??????*.gif" -o -name "??????*.webp" \) \
        ! -name "*[!A-Za-z0-9.]*" ! -name "*.*.*" -exec rm -f -- {} +
      find "$class" -depth -type d \( -path "$class/[a-z][a-z][1-9]" -o -path "$class/[a-z][a-z][1-3][0-9]" \) -exec rmdir -- {} + 2>/dev/null
      rmdir -- "$class" 2>/dev/null
    done
    rm -f -- .identity .identity-*
    if [ -d .quarantine ] && [ ! -L .quarantine ]; then
      find .quarantine -maxdepth 1 -type f -name "*-*-??????*.*" ! -name "*[!A-Za-z0-9.-]*" -exec rm -f -- {} +
      rmdir -- .quarantine 2>/dev/null
    fi
    cd ../.spool 2>/dev/null || exit 0
    find . -type f -name "[0-9]*-[0-9]*-[0-9]*" ! -name "*[!0-9-]*" -exec rm -f -- {} +' sh "$1" || true
  rmdir -- "$1/p" "$1/.spool" 2>/dev/null || true
  remove_empty_below "$1/view"
  remove_empty_below "$1/image"
}

purge_ledger() {
  # shellcheck disable=SC2016
  as_account sh -c '
    for log in "$1-log" "$1-log".* "$1".before-restore-*-log; do
      [ -d "$log" ] && [ ! -L "$log" ] || continue
      rm -f -- "$log"/[0-9][0-9][0-9][0-9].segment "$log"/[0-9][0-9][0-9][0-9].partial
      rmdir -- "$log" 2>/dev/null
    done
    for file in "$1" "$1-wal" "$1-shm" "$1-journal" "$1.sweep-lock" "$1.release-lock" "$1".before-migration-from-* "$1".before-restore-*; do
      [ -d "$file" ] || rm -f -- "$file"
    done' sh "$1" || true
}

purge_spool() {
  # shellcheck disable=SC2016
  as_account sh -c '
    cd -- "$1" 2>/dev/null || exit 0
    find . -type f -name "[0-9]*-[0-9]*-[0-9]*" ! -name "*[!0-9-]*" -exec rm -f -- {} +' sh "$1" || true
}

purge_log() {
  # shellcheck disable=SC2016
  as_account sh -c '
    for file in "$1" "$1".[0-9] "$1".[0-9][0-9] "$1".[0-9].gz "$1".[0-9][0-9].gz; do
      rm -f -- "$file"
    done' sh "$1" || true
}

# What the supervisor and the nginx of --user write.
purge_home() {
  for file in supervisor.log responder.log access.log error.log; do
    for directory in "$data/logs" "$data/nginx/logs"; do
      purge_log "$directory/$file"
    done
  done
  rm -f -- "$data/run/supervisor.pid" "$data/run/responder.pid" "$data/nginx/run/nginx.pid"
  rm -rf -- "$data/nginx/run/images"
  for name in body proxy fastcgi uwsgi scgi; do
    remove_empty_below "$data/nginx/run/$name"
  done
}

# Directories only.
remove_empty_below() {
  [ ! -d "$1" ] || [ -L "$1" ] || find "$1" -depth -type d -exec rmdir -- {} + 2>/dev/null || true
}

# After the directories of the installation are removed: names the directories that still hold other files.
name_leftovers() {
  left=''
  while read -r directory; do
    # One that `move` made is in no line of a directory.
    rmdir -- "$directory" 2>/dev/null || true
    if [ -d "$directory" ]; then
      left=1
      say "Kept $directory, which holds files that are not from corenexis-cdn."
    fi
  done <"$tmp/left"
  # The account was made by an installation, and owns nothing any more.
  if [ -z "$user_mode" ] && [ -n "$made_account" ]; then
    if [ -z "$left" ] || [ -z "$(find_owned)" ]; then
      remove_account
    else
      say "Kept the account $ACCOUNT, which owns some of them."
    fi
  fi
}

find_owned() {
  while read -r directory; do
    [ ! -d "$directory" ] || find "$directory" -user "$ACCOUNT" 2>/dev/null | head -n 1
  done <"$tmp/left"
}
