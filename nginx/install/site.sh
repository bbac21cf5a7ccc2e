# shellcheck shell=sh
# The server block that the images belong to: the host's own for the name, or one that is made.

# Lists the server blocks of the configuration that nginx reads, from $tmp/nginx, a line each, with tabs between:
#   file, line of its brace, whether a line can be put behind that one, whether it has the name $domain, whether it answers everything
#   by a `return` outside any location, whether it has our include, its listen directives (joined by |; without one it is 80), its locations (joined by |)
# nginx's own notation: words, quotes, comments, braces; blocks of stream and mail are no sites.
list_servers() {
  awk -v name="$domain" -v snippet="$snippet" '
    function reset(file_) { file = file_; line = 0; depth = 0; words = 0; word = ""; quote = ""; inside = 0 }
    function add() { if (word != "" || quoted) { list[++words] = word } word = ""; quoted = 0 }
    function directive() {
      add()
      if (server && depth == server) {
        if (list[1] == "server_name") for (i = 2; i <= words; i++) if (tolower(list[i]) == name) named = 1
        if (list[1] == "return") returns = 1
        if (list[1] == "include" && list[2] == snippet) included = 1
        if (list[1] == "listen") { text = list[2]; for (i = 3; i <= words; i++) text = text " " list[i]; listens = listens (listens == "" ? "" : "|") text }
      }
      words = 0
    }
    function open_block() {
      add()
      depth++
      kind[depth] = list[1]
      if (list[1] == "server" && words == 1 && kind[depth - 1] != "stream" && kind[depth - 1] != "mail" && !server) {
        server = depth; at = line; named = returns = included = 0; listens = locations = ""; after = rest ~ /^[ \t\r]*(#.*)?$/
      } else if (server && depth == server + 1 && list[1] == "location") {
        locations = locations (locations == "" ? "" : "|") list[words]
      }
      words = 0
    }
    function close_block() {
      if (server && depth == server) {
        if (listens == "") listens = "80"
        print file "\t" at "\t" after "\t" named "\t" returns "\t" included "\t" listens "\t" locations
        server = 0
      }
      if (depth > 0) depth--
      words = 0
    }
    /^# configuration file .*:$/ { path = $0; sub(/^# configuration file /, "", path); sub(/:$/, "", path); reset(path); server = 0; next }
    {
      line++
      count = length($0)
      for (position = 1; position <= count; position++) {
        character = substr($0, position, 1)
        if (quote != "") {
          if (character == "\\") { word = word substr($0, ++position, 1) }
          else if (character == quote) { quote = ""; quoted = 1 }
          else word = word character
        } else if (character == "\\") { word = word character substr($0, ++position, 1) }
        else if (character == "$" && substr($0, position + 1, 1) == "{") {
          end = index(substr($0, position), "}")
          word = word substr($0, position, end); position += end - 1
        }
        else if (character == "#" && word == "" ) break
        else if ((character == "\"" || character == "\047") && word == "") quote = character
        else if (character == ";") directive()
        else if (character == "{") { rest = substr($0, position + 1); open_block() }
        else if (character == "}") close_block()
        else if (character == " " || character == "\t" || character == "\r") add()
        else word = word character
      }
      if (quote == "") add(); else word = word "\n"
    }' "$tmp/nginx" >"$tmp/servers"
}

# Decides how the images get into nginx, for the plan. Sets $site: include (into server blocks of the host), panel (files that the
# panel's blocks include), hand (the administrator does it) or own (a server block of ours), and what each needs. $scheme follows.
find_site() {
  site='' scheme=http
  : >"$tmp/include"
  find_site_file
  list_servers
  # A block that an earlier run made is not the host's.
  awk -F '\t' -v file="$site_file" -v link="$site_link" '$1 != file && $1 != link' "$tmp/servers" >"$tmp/others"
  mv -f -- "$tmp/others" "$tmp/servers"
  if awk -F '\t' '$4' "$tmp/servers" | grep -q .; then
    find_scheme
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
  [ "$site" = own ] || site_link=''
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

# https where any of the site's blocks has it.
find_scheme() {
  ! awk -F '\t' '$4 { print "|" $7 "|" }' "$tmp/servers" | grep -qE '[^|]* ssl( [^|]*)?\|' || scheme=https
}

include_in_blocks() {
  site=include
  # What answers everything by a `return` never comes to a location: a redirect to https, mostly.
  awk -F '\t' '$4 && !$5' "$tmp/servers" >"$tmp/blocks"
  [ -s "$tmp/blocks" ] || err "the site $domain answers every request by a 'return' outside any location, before images could be served"
  while IFS=$TAB read -r file line safe _ _ included _ locations; do
    warn_of_locations "$file" "$locations"
    [ "$included" = 0 ] || continue
    [ "$safe" = 1 ] || err "$file, line $line: something follows the brace of 'server {'; put this line into the block yourself and run this again:
    include $snippet;"
    # The file itself, where sites-enabled has a link to it.
    printf '%s\t%s\n' "$(readlink -f -- "$file")" "$line" >>"$tmp/include"
  done <"$tmp/blocks"
}

# Locations of the site that ours come before: exact and ^~ beat everything but exact ones and longer prefixes.
warn_of_locations() {
  for taken in /image/v2 /image/docs /p/ /view; do
    case "|$2" in
    *"|$taken"*) say "Note: $1 has a location that begins with $taken of its own; from now on the images' come first there." ;;
    esac
  done
}

# A panel writes its server blocks anew whenever it likes, and includes files of the operator's by a pattern.
place_for_panel() {
  site=panel
  stubs=''
  case $panel in
  hestia)
    for directory in /home/*/conf/web/"$domain"; do
      [ -d "$directory" ] || continue
      stubs="$directory/nginx.conf_corenexis-cdn"
      [ ! -e "$directory/nginx.ssl.conf" ] || stubs="$stubs $directory/nginx.ssl.conf_corenexis-cdn"
    done
    ;;
  aapanel) stubs="/www/server/panel/vhost/nginx/extension/$domain/corenexis-cdn.conf" ;;
  cpanel)
    for directory in "$nginx_directory"/conf.d/users/*/"$domain"; do
      [ ! -d "$directory" ] || stubs="$directory/corenexis-cdn.conf"
    done
    ;;
  esac
  [ -n "$stubs" ] || err "$panel has no directory for additions to the site $domain: is the name the one of the site in the panel?"
  # The words are paths that the panel made, of names that it allows.
  for stub in $stubs; do
    printf '# The images of corenexis-cdn. Placed by install.sh.\ninclude %s;\n' "$snippet" >"$tmp/stub"
    want "$tmp/stub" "$stub" 644 "$root_owner"
  done
}

# A block of our own listens where the others of this port do: nginx would never choose one that listens on all addresses for a
# request to an address that others name.
own_block() {
  site=own
  # Of a later run, the port is in the URL of the configuration.
  if [ -z "$port" ]; then
    port=${public_url##*:}
    case $port in '' | *[!0-9]*) port=80 ;; esac
  fi
  listens=$(awk -F '\t' '{ print $7 }' "$tmp/servers" | tr '|' '\n' |
    awk -v port="$port" '
      $0 == "" || / ssl/ || / proxy_protocol/ || /^unix:/ { next }
      { address = $1; if (address !~ /(^|:)[0-9]+$/ || address ~ /^\[[0-9a-fA-F:]*\]$/) address = address ":80"
        if (address ~ /^[0-9]+$/ ? address == port : address ~ ":" port "$") { sub(/^(\*|0\.0\.0\.0):/, "", address); if (!seen[address]++) print address } }')
  if [ -z "$listens" ]; then
    [ -n "$(recorded "$site_file" 1)" ] || is_free "$port" || err "port $port is taken by a program that is not nginx: choose another with --port"
    listens=$port
    [ ! -s /proc/net/if_inet6 ] || listens="$port [::]:$port"
  fi
}

is_free() {
  status=0
  local_curl --output /dev/null --connect-timeout 2 --max-time 2 "http://127.0.0.1:$1/" 2>/dev/null || status=$?
  # 7 is "failed to connect": nobody listens.
  [ "$status" = 7 ]
}

# The lines go in from the last to the first, so that the numbers of those that follow stay right.
include_snippet() {
  sort -t "$TAB" -k 1,1 -k 2,2nr "$tmp/include" >"$tmp/include.sorted"
  while IFS=$TAB read -r file line; do
    insert_line "$file" "$line" "    include $snippet; $MARK"
    say "Put an include line into $file"
  done <"$tmp/include.sorted"
  # Those of earlier runs are remembered as well.
  { cut -f 1 "$tmp/include.sorted" && recorded_lines; } | sort -u >"$tmp/included"
  while read -r file; do
    ! grep -qF -- "$MARK" "$file" 2>/dev/null || remember inserted - "$file"
  done <"$tmp/included"
}

recorded_lines() {
  [ ! -e "$record/manifest" ] || awk -F '\t' '$1 == "inserted" { print $3 }' "$record/manifest"
}
