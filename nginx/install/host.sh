# shellcheck shell=sh
# An installation on a host, as root: install_on_host is all of it, top to bottom. What runs before `begin` changes nothing.

install_on_host() {
  [ "$(id -u)" = 0 ] || err "this needs root: run it with sudo, or './install.sh --user' for your home directory alone"
  : "${prefix:=/usr/local}"
  set_host_places
  make_temporary
  find_manager
  recover
  need_programs
  find_panel
  [ -n "$no_nginx" ] || find_nginx
  [ -n "$no_nginx" ] || find_places
  get_binary
  choose_config
  : >"$tmp/wanted"
  [ -n "$no_nginx" ] || find_site
  write_new_config
  render_files
  want_files
  compare_files
  find_renewal
  find_reload
  if is_same; then
    say "corenexis-cdn is installed here as it should be: nothing to do."
    check_health
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
  make_account
  make_directories
  place_config
  place_files
  if [ -z "$no_nginx" ]; then
    [ -z "${site_link:-}" ] || place_link "$site_file" "$site_link"
    include_snippet
    test_nginx
    if [ -n "$reads_anew" ]; then
      journal reload-nginx
      reload_nginx || err "nginx could not be made to read its new configuration: $(tail -n 3 -- "$tmp/reload" 2>/dev/null)"
    fi
  fi
  start_service
  if can_probe; then
    smoke_test
  fi
  finish
  conclude
}

set_host_places() {
  config_directory=/etc/corenexis-cdn
  config=$config_directory/config.toml
  record=$config_directory/install
  data=/var/lib/corenexis-cdn
  root_owner=root:root
}

need_programs() {
  missing=''
  [ -n "$no_nginx" ] || [ -x /www/server/nginx/sbin/nginx ] || need_cmd nginx nginx
  need_cmd curl curl
  if [ -z "$no_cron" ]; then
    need_cmd flock util-linux
    # Where neither a timer of systemd nor a directory of scripts is, the sweep needs a cron.
    [ "$manager" = systemd ] || [ -d /etc/periodic/15min ] || need_cmd crontab cron
  fi
  [ "$manager" = systemd ] || [ -n "$no_service" ] || need_cmd spawn-fcgi spawn-fcgi
  [ -x "$here/dist/corenexis-cdn" ] || need_cmd cc gcc
  if [ -n "$missing" ]; then
    say "Missing on this host:$missing"
    if [ -n "$dry_run" ]; then
      say "They would be installed with the package manager first; what follows depends on them. Nothing was written."
      exit 0
    fi
    confirm
    install_packages "$missing"
    # In a chroot a package does not start what it brings.
    case $manager:$missing in
    sysv:*cron*) ! [ -x /etc/init.d/cron ] || /etc/init.d/cron start >&2 ;;
    esac
  fi
  [ -x "$here/dist/corenexis-cdn" ] || need_rust
}

confirm() {
  [ -z "$yes" ] || return 0
  [ -t 0 ] || err "nobody can be asked here, for standard input is no terminal: look at the plan with --dry-run, then use --yes"
  printf 'Go on? [y/N] ' >&2
  read -r answer || answer=''
  case $answer in
  [yY] | [yY][eE][sS]) yes=1 ;;
  *)
    say "Nothing was changed."
    exit 1
    ;;
  esac
}

# The configuration that is there decides; only a first installation has to be told the name.
choose_config() {
  public_url=''
  if [ -e "$config" ]; then
    public_url=$(config_value site public_url)
    configured=${public_url#*://}
    configured=$(printf '%s' "${configured%%[:/]*}" | tr '[:upper:]' '[:lower:]')
    [ -n "$configured" ] || err "[site] public_url is missing in $config: set it and run this again"
    [ "${domain:=$configured}" = "$configured" ] ||
      err "$config says public_url = \"$public_url\", not $domain: change it there, or leave --domain out"
    config_source=$config
  else
    [ -n "$domain" ] || usage_error "a first installation needs --domain NAME"
    config_source=$tmp/config.toml
  fi
}

# Needs the scheme, which follows from the site.
write_new_config() {
  if [ ! -e "$config" ]; then
    # The port belongs into the URL unless it is the one that everybody assumes.
    public_url=${scheme:-https}://$domain
    case ${site:-}:$port in
    own:80 | own: | [!o]* | :*) ;;
    own:*) public_url=$public_url:$port ;;
    esac
    title="corenexis-cdn on this host" apply="After a change run install.sh again."
    listen=unix:/run/corenexis-cdn.sock docroot=/var/www/corenexis-cdn ledger=$data/ledger.db min_free=1GiB limits='10 40 10'
    log=''
    # Only systemd keeps what is said on standard error.
    [ "$manager" = systemd ] || log='log = "/var/log/corenexis-cdn/responder.log"'
    config_text >"$config_source"
  fi
  docroot=$(config_value storage docroot "$config_source")
  : "${docroot:=/var/www/corenexis-cdn}"
  ledger=$(config_value ledger path "$config_source")
  : "${ledger:=/var/lib/corenexis-cdn/ledger.db}"
  log=$(config_value server log "$config_source")
}

render_files() {
  set -- --binary "$prefix/bin/corenexis-cdn" --config-path "$config" --user "$ACCOUNT"
  if [ -z "$no_nginx" ]; then
    set -- "$@" --nginx-group "$worker_group"
    if [ "$site" = own ]; then
      set -- "$@" --site "$domain" --snippet "$snippet"
      for address in $listens; do
        set -- "$@" --site-listen "$address"
      done
    fi
  fi
  "$bin" --config "$config_source" render "$tmp/rendered" "$@" >/dev/null ||
    err "the files cannot be made from $config_source: the line above says why"
}

# The binary first: everything else names it.
want_files() {
  want "$bin" "$prefix/bin/corenexis-cdn" 755 "$root_owner"
  for file in $(cd -- "$tmp/rendered/www" && find . -type f | sort); do
    want "$tmp/rendered/www/${file#./}" "$docroot/${file#./}" 644 "$root_owner"
  done
  if [ -n "$no_nginx" ]; then
    want "$tmp/rendered/nginx/corenexis-cdn.http.conf" "$config_directory/nginx/corenexis-cdn.http.conf" 644 "$root_owner"
    want "$tmp/rendered/nginx/corenexis-cdn.server.conf" "$config_directory/nginx/corenexis-cdn.server.conf" 644 "$root_owner"
  else
    want "$tmp/rendered/nginx/corenexis-cdn.http.conf" "$http_file" 644 "$root_owner"
    want "$tmp/rendered/nginx/corenexis-cdn.server.conf" "$snippet" 644 "$root_owner"
    [ "$site" != own ] || want "$tmp/rendered/nginx/corenexis-cdn.site.conf" "$site_file" 644 "$root_owner"
  fi
  want_service
}

# Whether nginx has to read its configuration anew: one of its files changes, or it does not run.
find_reload() {
  reads_anew=''
  [ -z "$no_nginx" ] || return 0
  cut -f 1,3 "$tmp/changes" | grep -v -e "^same$TAB" -e "^keep$TAB" | cut -f 2 | cat - "$tmp/obsolete" >"$tmp/touched"
  while read -r target; do
    ! is_nginx_file "$target" || reads_anew=1
  done <"$tmp/touched"
  if [ -s "$tmp/include" ] || { [ -n "$site_link" ] && [ ! -L "$site_link" ]; } || ! nginx_pid >/dev/null; then
    reads_anew=1
  fi
}

is_same() {
  [ -e "$record/manifest" ] && [ -z "$test_client" ] && [ "$changed" = "$(grep -c "^keep$TAB" "$tmp/changes" || true)" ] &&
    [ -z "$reads_anew" ] && [ -z "$renew" ] && { [ -n "$no_service" ] || service_runs; } && ! has_new_edits
}

# An edited file whose new version does not lie beside it yet.
has_new_edits() {
  while IFS=$TAB read -r change source target _ _; do
    [ "$change" != keep ] || cmp -s -- "$source" "$(beside "$target")" || return 0
  done <"$tmp/changes"
  return 1
}

print_plan() {
  version=$("$bin" --version)
  if [ -e "$record/manifest" ]; then
    say "$version, upgrade of the installation for $public_url:"
  else
    say "$version, installation for $public_url:"
  fi
  [ -n "$user_mode" ] || id -- "$ACCOUNT" >/dev/null 2>&1 || say "  add      the account $ACCOUNT, which owns images and ledger"
  [ -e "$config" ] || say "  create   $config"
  print_changes
  if [ -z "$no_nginx$user_mode" ]; then
    while IFS=$TAB read -r file line; do
      say "  change   $file: an include line behind line $line, into the server block of $domain"
    done <"$tmp/include"
    [ -z "${site_link:-}" ] || [ -L "$site_link" ] || say "  link     $site_link"
    [ -z "$reads_anew" ] || say "  reload   nginx, whose workers are $worker:$worker_group, after 'nginx -t' has accepted the new files"
  fi
  if [ -z "$no_service" ]; then
    verb=start
    [ -z "$renew" ] || ! service_runs || verb=renew
    case $verb:$manager in
    renew:*) say "  renew    the responder; uploads wait for a moment and none fails" ;;
    *:systemd) say "  start    corenexis-cdn.socket and .service of systemd" ;;
    *:openrc) say "  start    corenexis-cdn of OpenRC" ;;
    *:sysv) say "  start    /etc/init.d/corenexis-cdn" ;;
    *:user) say "  start    $data/corenexis-cdn-user, now and after a reboot (crontab)" ;;
    esac
  fi
  ! can_probe || say "  test     an upload through nginx, removed again"
  say "Whatever fails, everything is put back."
}

make_account() {
  if id -- "$ACCOUNT" >/dev/null 2>&1; then
    [ -z "$(recorded "$ACCOUNT" 1)" ] || remember account - "$ACCOUNT"
    return 0
  fi
  journal remove-account
  nologin=$(command -v nologin || echo /bin/false)
  if have useradd; then
    useradd --system --user-group --home-dir "$data" --no-create-home --shell "$nologin" "$ACCOUNT"
  else
    addgroup -S "$ACCOUNT"
    adduser -S -D -H -h "$data" -s "$nologin" -G "$ACCOUNT" "$ACCOUNT"
  fi
  remember account - "$ACCOUNT"
}

remove_account() {
  if have userdel; then
    userdel -- "$ACCOUNT"
    ! has_group "$ACCOUNT" || groupdel -- "$ACCOUNT" 2>/dev/null
  else
    deluser "$ACCOUNT" 2>/dev/null
    ! has_group "$ACCOUNT" || delgroup "$ACCOUNT" 2>/dev/null
  fi
  return 0
}

# Root owns what nginx serves as pages; the responder's account owns images and ledger, and nothing that root executes or reads.
make_directories() {
  if grep -qF -- "$TAB$config_directory$TAB" "$tmp/made"; then
    chown -- "root:$ACCOUNT" "$config_directory"
    chmod -- 750 "$config_directory"
  fi
  chmod -- 700 "$record"
  make_directory "$(dirname -- "$ledger")" 750 "$ACCOUNT:$ACCOUNT" remove-tree
  make_directory "$docroot" 755 "$root_owner" remove-tree
  make_directory "$docroot/p" 755 "$ACCOUNT:$ACCOUNT"
  make_directory "$docroot/.spool" 700 "$ACCOUNT:$ACCOUNT"
  [ -z "$log" ] || make_directory "$(dirname -- "$log")" 750 "$ACCOUNT:$ACCOUNT" remove-tree
}

place_config() {
  if [ ! -e "$config" ]; then
    journal remove "$config"
    journal remove "$config.new"
    (umask 077 && cat -- "$config_source" >"$config.new")
    chmod -- 640 "$config.new"
    [ -n "$user_mode" ] || chown -- "root:$ACCOUNT" "$config.new"
    mv -f -- "$config.new" "$config"
  fi
  remember kept "$(checksum "$config")" "$config"
}

# cdn ARGUMENT... runs the installed program as the account that owns the ledger, which must not get files of root's.
cdn() {
  set -- "$prefix/bin/corenexis-cdn" --config "$config" "$@"
  if [ -n "$user_mode" ]; then
    "$@" </dev/null
  elif have runuser; then
    (cd / && runuser -u "$ACCOUNT" -- "$@") </dev/null
  else
    line=''
    for word; do
      line="$line $(quote "$word")"
    done
    (cd / && su -s /bin/sh "$ACCOUNT" -c "$line") </dev/null
  fi
}

can_probe() {
  [ -z "$no_service" ] && [ -z "$no_nginx" ] && [ "${site:-}" != hand ] || return 1
  [ -z "$working" ] || find_address
}

# Once the files are placed, the address is looked up among all blocks that nginx has now. The nginx of a user's own has one.
find_address() {
  [ -n "$user_mode" ] || find_probe_address "${public_url%%:*}" || find_probe_address http || find_probe_address https
}

check_health() {
  [ -z "$dry_run" ] && can_probe || return 0
  find_address || return 0
  wait_until_healthy || err "but $probe_url/image/v2/health does not answer through nginx; see nginx's error log, and $(service_log)"
  say "$probe_url/image/v2/health answers."
}

conclude() {
  say ""
  say "corenexis-cdn is installed: $public_url"
  if [ -n "$no_nginx" ] || [ "${site:-}" = hand ]; then
    say "Left to do in nginx:"
    [ -z "$no_nginx" ] || say "  include $config_directory/nginx/corenexis-cdn.http.conf; inside http { }"
    [ -z "$no_nginx" ] || snippet=$config_directory/nginx/corenexis-cdn.server.conf
    [ "${site:-}" != hand ] || say "  in the panel, under \"Additional nginx directives\" of $domain:"
    say "  include $snippet; inside the server { } of $domain"
  fi
  [ -z "$no_service" ] || say "Left to do: run '$prefix/bin/corenexis-cdn --config $config serve' as $ACCOUNT"
  [ -z "$no_cron" ] || say "Left to do: run '$prefix/bin/corenexis-cdn --config $config sweep' as $ACCOUNT every ten minutes"
  if [ "${site:-}" = own ] && [ "$scheme" = http ]; then
    say "For https: 'certbot --nginx -d $domain', then https:// in public_url of $config, then this command again."
  fi
  add_test_client
  ! "$prefix/bin/corenexis-cdn" doctor --help >/dev/null 2>&1 || run_doctor
  say "A client that may upload:  $(cdn_by_hand) client add shop --plan 3m"
}

cdn_by_hand() {
  if [ -n "$user_mode" ]; then
    echo "$prefix/bin/corenexis-cdn --config $config"
  elif have sudo || ! have runuser; then
    echo "sudo -u $ACCOUNT $prefix/bin/corenexis-cdn"
  else
    echo "runuser -u $ACCOUNT -- $prefix/bin/corenexis-cdn"
  fi
}

# With a token of its own: the client of the public documentation is known to everybody.
add_test_client() {
  [ -n "$test_client" ] || return 0
  if cdn client show test >/dev/null 2>&1; then
    say "The client \"test\" is there already; '$(cdn_by_hand) client rotate test' gives it a new token."
  else
    cdn client add test --plan 3m || say "The client \"test\" could not be added: the line above says why"
  fi
}

# It looks at more than the smoke test does. What it finds is for the operator, and no reason to undo what has passed that.
run_doctor() {
  say ""
  "$prefix/bin/corenexis-cdn" --config "$config" doctor >&2 || say "The doctor found something to look at: see above."
}
