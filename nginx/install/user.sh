# shellcheck shell=sh
# An installation in a home directory, without root: install_for_user is all of it, top to bottom. The responder listens on a socket of
# its own for an nginx of its own, or, with --no-nginx, on a port for the nginx of the host's administrator.

install_for_user() {
  set_user_places
  make_temporary
  find_known
  recover
  # Neither system accounts nor panels, nor what else only root can change.
  panel=none site=own needs_reload=''
  need_user_programs
  get_binary
  choose_user_config
  : >"$tmp/wanted"
  write_user_config
  render_files
  want_user_files
  compare_files
  find_user_renewal
  if is_same && has_crontab; then
    say "corenexis-cdn is installed here as it should be: nothing to do."
    check_health
    say_crontab
    return
  fi
  print_plan
  if [ -n "$dry_run" ]; then
    say "This was a dry run: nothing was written."
    return
  fi
  confirm

  begin
  remember_directories
  remember_data
  chmod -- 700 "$config_directory"
  make_user_directories
  place_config
  place_files
  check_service
  test_own_nginx
  start_supervisor
  enter_crontab
  if can_probe; then
    smoke_test
  fi
  finish
  conclude_for_user
}

set_user_places() {
  manager=user
  ACCOUNT=$(id -un)
  root_owner=-
  [ -n "${HOME:-}" ] || err "HOME is not set: this installs into your home directory"
  case $HOME in
  *[[:cntrl:]]* | *\$*) err "the path of your home directory holds a character that nginx cannot serve from: $HOME" ;;
  esac
  : "${prefix:=$HOME/.local}"
  config_directory=${XDG_CONFIG_HOME:-$HOME/.config}/corenexis-cdn
  config=$config_directory/config.toml
  record=$config_directory/install
  data=${XDG_DATA_HOME:-$HOME/.local/share}/corenexis-cdn
}

need_user_programs() {
  missing=''
  [ -n "$no_nginx" ] || need_cmd nginx nginx
  need_cmd curl curl
  need_build
  get_missing
}

choose_user_config() {
  if [ -e "$config" ]; then
    refuse_settings
    config_source=$config
    public_url=$(config_get site.public_url)
    return
  fi
  config_source=$tmp/config.toml
  if [ -n "$no_nginx" ]; then
    [ -n "$domain" ] || usage_error "with --user --no-nginx, --domain NAME says whose site of the host's nginx the images belong to"
    public_url=https://$domain
    : "${port:=9000}"
  else
    : "${port:=8080}"
    is_free "$port" || err "port $port is in use: choose another with --port"
    # Without a name it is for this machine alone.
    public_url=http://${domain:-127.0.0.1}:$port
  fi
}

write_user_config() {
  if [ ! -e "$config" ]; then
    set -- "site.public_url=$public_url" "site.contact=$contact" "storage.docroot=$data/docroot" storage.min_free=256MiB \
      "ledger.path=$data/ledger.db"
    if [ -n "$no_nginx" ]; then
      # The workers of the host's nginx run as another account and cannot reach a Unix socket of this one.
      set -- "$@" "server.listen=tcp:127.0.0.1:$port"
    elif [ "${#data}" -gt $((SOCKET_PATH_MAX - 17)) ]; then
      err "the path $data/run/cdn.sock is too long for a socket: set XDG_DATA_HOME to a shorter one"
    else
      set -- "$@" "server.listen=unix:$data/run/cdn.sock"
    fi
    case $settings in *storage.kind=s3*) set -- "$@" "storage.spool=$data/spool" ;; esac
    printf '%s' "$settings" >"$tmp/settings"
    while IFS= read -r setting; do
      set -- "$@" "$setting"
    done <"$tmp/settings"
    config_default "corenexis-cdn of $ACCOUNT" "After a change run install.sh --user again." "$@" >"$config_source"
  fi
  read_places
  case $listen in
  tcp:*) no_nginx=1 ;;
  esac
  probe_url=$public_url
  : >"$tmp/probe.arguments"
  if [ -z "$no_nginx" ]; then
    # The port is the one of --port, else that of the configuration.
    host=${public_url#*://}
    : "${port:=${host##*:}}"
    case $port in *[!0-9]* | '') err "[site] public_url = \"$public_url\" in $config has no port for the nginx of your own: use --port" ;; esac
    own_listen=0.0.0.0:$port
    case $host in 127.0.0.1:*) own_listen=127.0.0.1:$port ;; esac
    probe_url=http://127.0.0.1:$port
  fi
}

render_files() {
  set -- --binary "$prefix/bin/corenexis-cdn" --config-path "$config" --user "$ACCOUNT"
  [ -n "$no_nginx" ] || set -- "$@" --nginx-listen "$own_listen"
  # The files for a responder that fcgiwrap starts, for hosts that let no process stay.
  {
    "$bin" --config "$config_source" render "$tmp/rendered" "$@" &&
      "$bin" --config "$config_source" render "$tmp/cgi" "$@" \
        --cgi-wrapper unix:/run/fcgiwrap.socket --cgi-script "$data/corenexis-cdn.cgi"
  } >/dev/null ||
    err "the files cannot be made from $config_source: the line above says why"
}

want_user_files() {
  want "$bin" "$prefix/bin/corenexis-cdn" 755 -
  want_documentation -
  want_pages -
  [ -n "$no_nginx" ] || want "$tmp/rendered/nginx/nginx.conf" "$data/nginx/conf/nginx.conf" 644 -
  for file in corenexis-cdn.http.conf corenexis-cdn.server.conf; do
    want "$tmp/rendered/nginx/$file" "$data/nginx/conf/$file" 644 -
    want "$tmp/cgi/nginx/$file" "$data/nginx/fcgiwrap/$file" 644 -
  done
  want "$tmp/rendered/service/corenexis-cdn.user" "$data/corenexis-cdn-user" 755 -
  want "$tmp/rendered/service/corenexis-cdn.cgi" "$data/corenexis-cdn.cgi" 755 -
}

find_user_renewal() {
  renew=$recovered
  # Pages are read by nginx itself; anything else is for a process to read again.
  if changes "$prefix/bin/*" || changes "$data/nginx/conf/*" || [ "$(recorded "$config" 2)" != "$(checksum "$config_source")" ]; then
    renew=1
  fi
}

# For this account alone; the nginx of the host's administrator has to get through to the docroot.
make_user_directories() {
  [ -d "$data/logs" ] || journal home
  passable=700
  [ -z "$no_nginx" ] || passable=711
  make_directory "$data" "$passable" -
  if [ -n "$ledger" ]; then
    make_directory "$(dirname -- "$ledger")" 700 -
    [ -e "$ledger" ] || journal ledger "$ledger"
  fi
  make_directory "$docroot" 711 -
  if [ "$kind" = s3 ]; then
    make_directory "$spool" 700 -
  else
    make_directory "$docroot/p" 755 -
    make_directory "$docroot/.spool" 700 -
  fi
  for directory in run logs nginx nginx/logs nginx/run nginx/conf nginx/fcgiwrap; do
    make_directory "$data/$directory" 700 -
  done
  # Of an installation that an earlier version made.
  chmod -- "$passable" "$data"
  chmod -- 711 "$docroot"
  chmod -- 700 "$data/run" "$data/logs" "$data/nginx" "$data/nginx/logs" "$data/nginx/run" "$data/nginx/conf" "$data/nginx/fcgiwrap"
}

test_own_nginx() {
  [ -z "$no_nginx" ] || return 0
  # An nginx before 1.19.5 has no -e and complains on standard error until it has read its configuration.
  set -- -p "$data/nginx" -c "$data/nginx/conf/nginx.conf"
  if nginx -h 2>&1 | grep -q -- '-e filename'; then
    set -- "$@" -e "$data/nginx/logs/error.log"
  fi
  # nginx -t creates the logs, which get mode 0640.
  (umask 027 && nginx "$@" -t) >"$tmp/nginx.said" 2>&1 || {
    show "$tmp/nginx.said"
    err "nginx refuses the rendered configuration: the lines above say why"
  }
}

start_supervisor() {
  [ -z "$no_service" ] || return 0
  if ! service_runs; then
    say "Starting the responder"
    journal stop-service
    "$data/corenexis-cdn-user" start || err "the responder could not be started: $data/logs/responder.log says why"
  elif [ -n "$renew" ]; then
    say "Renewing the responder"
    journal renew-service
    "$data/corenexis-cdn-user" restart || err "the responder could not be renewed: $data/logs/responder.log says why"
  fi
}

stop_supervisor() {
  [ ! -x "$data/corenexis-cdn-user" ] || "$data/corenexis-cdn-user" stop
}

# ---------------------------------------------------------------- crontab

# The lines that are to be in the crontab.
crontab_lines() {
  [ -n "$no_service" ] || printf '@reboot %s start %s\n' "$(cron_word "$data/corenexis-cdn-user")" "$MARK"
  [ -n "$no_cron" ] || sed "s/\$/ $MARK/" "$tmp/rendered/cron/corenexis-cdn.crontab"
}

# cron reads a percent sign as the end of the line.
cron_word() {
  quote "$1" | sed 's/%/\\%/g'
}

wants_crontab() {
  [ -z "$no_service" ] || [ -z "$no_cron" ]
}

has_crontab() {
  wants_crontab && have crontab || return 0
  crontab_lines >"$tmp/lines"
  crontab -l 2>/dev/null | grep -F -- "$MARK" | cmp -s - "$tmp/lines"
}

enter_crontab() {
  wants_crontab && have crontab && ! has_crontab || return 0
  crontab_lines >"$tmp/lines"
  if crontab -l >"$record/undo/crontab" 2>/dev/null; then
    journal crontab - "$record/undo/crontab"
  else
    journal crontab
    : >"$record/undo/crontab"
  fi
  {
    grep -vF -- "$MARK" "$record/undo/crontab" || true
    cat -- "$tmp/lines"
  } >"$tmp/crontab"
  crontab "$tmp/crontab" || err "the crontab was not accepted: the line above says why; --no-cron --no-service do without"
}

# Without crontab nothing starts the service after a reboot and nothing sweeps.
say_crontab() {
  wants_crontab && ! have crontab || return 0
  say "This host has no crontab command. Have these commands run by what it has instead:"
  [ -n "$no_service" ] || say "  after a reboot     $(quote "$data/corenexis-cdn-user") start"
  [ -n "$no_cron" ] || say "  every ten minutes  $(cdn_by_hand) sweep"
}

# restore_crontab FILE, or - where there was none. Only lines that carry our mark are changed by what followed.
restore_crontab() {
  if [ "$1" = - ]; then
    crontab -l 2>/dev/null | grep -vF -- "$MARK" >"$tmp/crontab"
    if [ -s "$tmp/crontab" ]; then crontab "$tmp/crontab"; else crontab -r 2>/dev/null; fi
  else
    {
      crontab -l 2>/dev/null | grep -vF -- "$MARK"
      grep -F -- "$MARK" "$1"
    } >"$tmp/crontab"
    crontab "$tmp/crontab"
  fi
}

leave_crontab() {
  have crontab && crontab -l >"$record/undo/crontab" 2>/dev/null && grep -qF -- "$MARK" "$record/undo/crontab" || return 0
  journal crontab - "$record/undo/crontab"
  if grep -vF -- "$MARK" "$record/undo/crontab" >"$tmp/crontab"; then
    crontab "$tmp/crontab"
  else
    crontab -r
  fi
}

# ---------------------------------------------------------------- what is left to say

conclude_for_user() {
  say ""
  say "corenexis-cdn is installed: $public_url"
  if [ -n "$no_nginx" ]; then
    say "For the administrator of the host's nginx, whose workers have to be able to read $docroot:"
    say "  include $data/nginx/conf/corenexis-cdn.http.conf; inside http { }"
    say "  include $data/nginx/conf/corenexis-cdn.server.conf; inside the server { } of the site"
    say "Where no process may stay, fcgiwrap can start the responder for each request: then those in $data/nginx/fcgiwrap instead,"
    say "and fcgiwrap has to run as $ACCOUNT."
  fi
  say_crontab
  [ -z "$no_service" ] || say "Left to do: run '$data/corenexis-cdn-user start'"
  add_test_client
  ! "$prefix/bin/corenexis-cdn" doctor --help >/dev/null 2>&1 || run_doctor
  say "A client that may upload:  $(cdn_by_hand) client add shop --plan 3m"
}
