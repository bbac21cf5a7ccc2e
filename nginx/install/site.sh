# shellcheck shell=sh
# The server block that the images belong to: the host's own for the name, or one that is made. The program reads the configuration and
# decides; `corenexis-cdn nginx-sites --help` says by what rules.

# Decides how the images get into nginx, for the plan. Sets $site: include (into server blocks of the host), panel (files that the
# panel's blocks include), hand (the administrator does it) or own (a server block of ours), and what each needs. $scheme follows.
find_site() {
  : >"$tmp/include"
  find_site_file
  choose_port
  # A block that an earlier run made is not the host's.
  set -- --port "$port" --docroot "$docroot" --ignore "$site_file"
  [ -z "$site_link" ] || set -- "$@" --ignore "$site_link"
  [ "$panel" = none ] || set -- "$@" --no-insert
  ask_placement "$@" || err "nothing was changed: the line above says what is in the way"
  scheme=$(placement address 2)
  : "${scheme:=http}"
  if grep -q "^site$TAB" "$tmp/placement"; then
    case $panel in
    none) include_in_blocks ;;
    plesk) site=hand ;;
    *) place_for_panel ;;
    esac
  elif [ "$panel" != none ]; then
    err "$panel has no site with the name $domain: make it in the panel first, or use --panel none"
  else
    own_block
  fi
}

# ask_placement ARGUMENT... writes where the images belong to $tmp/placement.
ask_placement() {
  "$bin" nginx-sites "$tmp/nginx" --name "$domain" --snippet "$snippet" "$@" >"$tmp/placement"
}

# placement WORD FIELD prints a field of the first line with the word.
placement() {
  awk -F '\t' -v word="$1" -v field="$2" '$1 == word { print $field; exit }' "$tmp/placement"
}

# Whether this installation has a server block of its own: for a name that no site has, or for https.
has_block() {
  [ "$site" = own ] || [ -n "$tls_block" ]
}

# Where a server block of our own goes.
find_site_file() {
  if [ -d "$nginx_directory/sites-available" ] && is_included "$nginx_directory/sites-enabled/*"; then
    site_file=$nginx_directory/sites-available/corenexis-cdn
    site_link=$nginx_directory/sites-enabled/zz-corenexis-cdn
  else
    site_file=$(dirname -- "$http_file")/zz-corenexis-cdn.conf
    site_link=''
  fi
}

# Which panel runs this host.
find_panel() {
  [ "$panel" = auto ] || return 0
  panel=none
  [ ! -d /usr/local/hestia ] || panel=hestia
  [ ! -d /www/server/panel ] || panel=aapanel
  [ ! -d /usr/local/psa ] || panel=plesk
  [ ! -d /usr/local/cpanel ] || panel=cpanel
}

# Of a later run, the port of a block of our own is in the URL of the configuration.
choose_port() {
  [ -z "$port" ] || return 0
  port=${public_url##*:}
  case $port in '' | *[!0-9]*) port=80 ;; esac
}

include_in_blocks() {
  site=include
  grep "^site$TAB.*${TAB}insert\$" "$tmp/placement" >"$tmp/blocks" || true
  while IFS=$TAB read -r _ file line _; do
    # The file itself, where sites-enabled has a link to it.
    printf '%s\t%s\n' "$(readlink -f -- "$file")" "$line" >>"$tmp/include"
  done <"$tmp/blocks"
}

# A panel overwrites its server blocks, and includes additional files by a pattern.
place_for_panel() {
  site=panel
  printf '# The images of corenexis-cdn. Placed by install.sh.\ninclude %s;\n' "$snippet" >"$tmp/stub"
  case $panel in
  hestia)
    for directory in /home/*/conf/web/"$domain"; do
      want_stub "$directory" nginx.conf_corenexis-cdn
      [ ! -e "$directory/nginx.ssl.conf" ] || want_stub "$directory" nginx.ssl.conf_corenexis-cdn
    done
    ;;
  aapanel) want_stub /www/server/panel/vhost/nginx/extension "$domain/corenexis-cdn.conf" ;;
  cpanel)
    for directory in "$nginx_directory"/conf.d/users/*/"$domain"; do
      want_stub "$directory" corenexis-cdn.conf
    done
    ;;
  esac
  [ -s "$tmp/stubs" ] ||
    err "$panel has no directory for additions to the site $domain: is the name the one of the site in the panel?"
}

# want_stub DIRECTORY FILE notes a stub in $tmp/stubs: it is placed after the snippet, which it includes.
want_stub() {
  [ ! -d "$1" ] || printf '%s\t%s\t644\t%s\n' "$tmp/stub" "$1/$2" "$root_owner" >>"$tmp/stubs"
}

# A block of our own listens on the sockets that other blocks use for the port.
own_block() {
  site=own
  awk -F '\t' '$1 == "listen" { print $2 }' "$tmp/placement" >"$tmp/listens"
  if [ ! -s "$tmp/listens" ]; then
    [ -n "$(recorded "$site_file" 1)" ] || is_free "$port" || err "port $port is taken by a program that is not nginx: choose another with --port"
    echo "$port" >"$tmp/listens"
    [ ! -s /proc/net/if_inet6 ] || echo "[::]:$port" >>"$tmp/listens"
  fi
}

is_free() {
  status=0
  local_curl --output /dev/null --connect-timeout 2 --max-time 2 "http://127.0.0.1:$1/" 2>/dev/null || status=$?
  # curl exits with 7 if the connection is refused: the port is free.
  [ "$status" = 7 ]
}

# The lines go in from the last to the first, so that the numbers of those that follow stay right.
include_snippet() {
  # Those of earlier runs are remembered as well.
  { cut -f 1 "$tmp/include" && recorded_paths inserted; } | sort -u >"$tmp/included"
  while read -r file; do
    [ ! -e "$file" ] || remember inserted - "$file"
  done <"$tmp/included"
  sort -t "$TAB" -k 1,1 -k 2,2nr "$tmp/include" >"$tmp/include.sorted"
  while IFS=$TAB read -r file line; do
    edit_line insert "$file" "$line" "    include $snippet; $MARK"
    say "Put an include line into $file"
  done <"$tmp/include.sorted"
}
