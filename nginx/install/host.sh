# shellcheck shell=sh
# An installation on a host, as root: install_on_host is all of it, top to bottom. What runs before `begin` changes nothing.

install_on_host() {
  [ "$(id -u)" = 0 ] || err "this needs root: run it with sudo, or './install.sh --user' for your home directory alone"
  set_host_places
  choose_prefix
  make_temporary
  find_manager
  find_known
  recover
  need_programs
  find_panel
  if [ -z "$no_nginx" ]; then
    find_program
    find_nginx
  fi
  get_binary
  if [ -z "$no_nginx" ]; then
    read_facts
    find_places
  fi
  choose_config
  find_certificate
  : >"$tmp/wanted"
  if [ -z "$no_nginx" ]; then
    find_site
    choose_tls_block
    has_block || site_link=''
    change_scheme
  fi
  write_new_config
  render_files
  want_files
  compare_files
  find_renewal
  find_reload
  if is_same; then
    say "corenexis-cdn is installed here as it should be: nothing to do."
    check_health
    [ -n "$dry_run" ] || get_certificate
    return
  fi
  print_plan
  if [ -n "$dry_run" ]; then
    say "This was a dry run: nothing was written."
    return
  fi
  confirm
  ask_contact

  begin
  remember_directories
  remember_data
  [ -z "$nginx_reload" ] || remember nginx-reload - - "$nginx_reload"
  remember_options
  make_account
  make_directories
  place_config
  place_files
  check_service
  if [ -z "$no_nginx" ]; then
    [ -z "${site_link:-}" ] || place_link "$site_file" "$site_link"
    include_snippet
    test_nginx
    [ -z "$needs_reload" ] || apply_nginx
  fi
  start_service
  if can_probe; then
    smoke_test
  fi
  finish
  get_certificate
  conclude
}

set_host_places() {
  config_directory=/etc/corenexis-cdn
  config=$config_directory/config.toml
  record=$config_directory/install
  data=/var/lib/corenexis-cdn
  root_owner=root:root
}

# A package has the program below /usr; otherwise an upgrade stays where the installation is.
choose_prefix() {
  if is_packaged; then
    [ -z "$prefix" ] || [ "$prefix" = /usr ] || usage_error "--prefix $prefix: the package has the program in /usr/bin"
    prefix=/usr
  elif [ -z "$prefix" ] && [ -n "$upgrade" ]; then
    prefix=$(recorded_prefix)
  fi
  : "${prefix:=/usr/local}"
}

# What an earlier run noted, for recovery and for the command of --nginx-reload.
find_known() {
  docroot=$(recorded_paths docroot | head -n 1)
  ledger=$(recorded_paths ledger | head -n 1)
  listen=$(recorded_paths socket | head -n 1)
  listen=${listen:+unix:$listen}
  if [ -n "$user_mode" ]; then
    : "${docroot:=$data/docroot}"
  else
    : "${docroot:=/var/www/corenexis-cdn}"
  fi
  : "${ledger:=$data/ledger.db}"
  : "${nginx_reload:=$(recorded_word nginx-reload)}"
  [ -z "$upgrade" ] || take_options
}

# The options of the installation, for --upgrade.
take_options() {
  is_installed || err "nothing is installed here that --upgrade could upgrade: install with --domain NAME"
  for option in $(recorded_word options); do
    case $option in
    --no-nginx) no_nginx=1 ;;
    --no-service) no_service=1 ;;
    --no-cron) no_cron=1 ;;
    --no-test) no_test=1 ;;
    --panel=*) panel=${option#--panel=} ;;
    esac
  done
}

remember_options() {
  options="${https:+ --https}${certificate_file:+ --certificate=$certificate_file --key=$key_file}${no_nginx:+ --no-nginx}${no_service:+ --no-service}${no_cron:+ --no-cron}${no_test:+ --no-test}"
  [ "$panel" = none ] || options="$options --panel=$panel"
  [ -z "$options" ] || remember options - - "${options# }"
}

need_programs() {
  missing=''
  if [ -z "$no_nginx" ] && [ ! -x /www/server/nginx/sbin/nginx ] && ! have nginx; then
    need_cmd nginx nginx
    # One that this run installs is started.
    nginx_is_new=1
  fi
  need_cmd curl curl
  need_certbot
  if [ -z "$no_cron" ]; then
    need_cmd flock util-linux
    # Where neither a timer of systemd nor a directory of scripts is, the sweep needs a cron.
    [ "$manager" = systemd ] || [ -d /etc/periodic/15min ] || need_cmd crontab cron
  fi
  [ "$manager" = systemd ] || [ -n "$no_service" ] || need_cmd spawn-fcgi spawn-fcgi
  need_build
  get_missing
  # In a chroot a package does not start what it brings.
  case $manager:$missing in
  sysv:*cron*) ! [ -x /etc/init.d/cron ] || /etc/init.d/cron start >&2 ;;
  esac
}

# Asked at the first installation on a terminal, after the plan was accepted; afterwards config.toml has the answer.
ask_contact() {
  [ -n "$asked" ] && [ ! -e "$config" ] && [ -z "$contact" ] || return 0
  printf 'Where may people report an image: a mail address or a URL? [none] ' >&2
  read -r contact || contact=''
  [ -n "$contact" ] || return 0
  write_new_config
  render_files
}

# The configuration that is there decides; only a first installation has to be told the name.
choose_config() {
  public_url=''
  if [ -e "$config" ]; then
    refuse_settings
    public_url=$(config_get site.public_url)
    configured=${public_url#*://}
    configured=$(printf '%s' "${configured%%[:/]*}" | tr '[:upper:]' '[:lower:]')
    [ "${domain:=$configured}" = "$configured" ] ||
      err "$config says public_url = \"$public_url\", not $domain: change it there, or leave --domain out"
    config_source=$config
    docroot=$(config_get storage.docroot)
  else
    [ -n "$domain" ] || usage_error "a first installation needs --domain NAME"
    config_source=$tmp/config.toml
  fi
}

# Needs the scheme, which follows from the site.
write_new_config() {
  if [ ! -e "$config" ]; then
    # The default port of the scheme stays out of the URL.
    public_url=${scheme:-https}://$domain
    case ${site:-}:$port in
    own:80 | own: | [!o]* | :*) ;;
    own:*) public_url=$public_url:$port ;;
    esac
    set -- "site.public_url=$public_url" "site.contact=$contact"
    # Only systemd keeps what is said on standard error.
    [ "$manager" = systemd ] || set -- "$@" server.log=/var/log/corenexis-cdn/responder.log
    printf '%s' "$settings" >"$tmp/settings"
    while IFS= read -r setting; do
      set -- "$@" "$setting"
    done <"$tmp/settings"
    config_default "corenexis-cdn on this host" "After a change run $(own_name) again." "$@" >"$config_source"
  fi
  read_places
}

read_places() {
  docroot=$(config_get storage.docroot "$config_source")
  ledger=$(config_get ledger.path "$config_source")
  ledger_url=$(config_get ledger.url "$config_source")
  log=$(config_get server.log "$config_source")
  listen=$(config_get server.listen "$config_source")
  kind=$(config_get storage.kind "$config_source")
  spool=$(config_get storage.spool "$config_source")
  check_path '[storage] docroot' "$docroot"
  check_path '[storage] spool' "$spool"
  check_path '[ledger] path' "$ledger"
  check_path '[ledger] url' "$ledger_url"
  check_path '[server] log' "$log"
}

render_files() {
  set -- --binary "$prefix/bin/corenexis-cdn" --config-path "$config" --user "$ACCOUNT"
  if [ -z "$no_nginx" ]; then
    set -- "$@" --nginx-group "$worker_group"
    if has_block; then
      set -- "$@" --site "$domain" --snippet "$snippet"
    fi
    if [ "$site" = own ]; then
      while read -r address; do
        set -- "$@" --site-listen "$address"
      done <"$tmp/listens"
    fi
    if [ -n "$tls_block" ]; then
      set -- "$@" --site-certificate "$certificate" --site-key "$key"
      [ "$site" = own ] || set -- "$@" --site-beside
      while read -r address; do
        set -- "$@" --site-tls-listen "$address"
      done <"$tmp/tls.listens"
    fi
    # Sites that have a certificate have a way of their own to renew it.
    if [ -n "$https" ] && [ -z "$certificate_file" ] && { [ "$scheme" = http ] || [ -n "$tls_block" ]; }; then
      set -- "$@" --acme
    fi
  fi
  "$bin" --config "$config_source" render "$tmp/rendered" "$@" >/dev/null ||
    err "the files cannot be made from $config_source: the line above says why"
}

# The binary first: everything else names it.
want_files() {
  if ! is_packaged; then
    want "$bin" "$prefix/bin/corenexis-cdn" 755 "$root_owner"
    want_documentation "$root_owner"
  fi
  want_pages "$root_owner"
  for file in lifecycle.json policy.json; do
    [ ! -e "$tmp/rendered/s3/$file" ] || want "$tmp/rendered/s3/$file" "$config_directory/s3/$file" 644 "$root_owner"
  done
  if [ -n "$no_nginx" ]; then
    want "$tmp/rendered/nginx/corenexis-cdn.http.conf" "$config_directory/nginx/corenexis-cdn.http.conf" 644 "$root_owner"
    want "$tmp/rendered/nginx/corenexis-cdn.server.conf" "$config_directory/nginx/corenexis-cdn.server.conf" 644 "$root_owner"
  else
    want "$tmp/rendered/nginx/corenexis-cdn.http.conf" "$http_file" 644 "$root_owner"
    want "$tmp/rendered/nginx/corenexis-cdn.server.conf" "$snippet" 644 "$root_owner"
    [ ! -s "$tmp/stubs" ] || cat -- "$tmp/stubs" >>"$tmp/wanted"
    ! has_block || want "$tmp/rendered/nginx/corenexis-cdn.site.conf" "$site_file" 644 "$root_owner"
  fi
  want_service
}

# Whether nginx has to reload its configuration: one of its files changes, or this run installs nginx.
find_reload() {
  needs_reload=''
  [ -z "$no_nginx" ] || return 0
  cut -f 1,3 "$tmp/changes" | grep -v -e "^same$TAB" -e "^keep$TAB" | cut -f 2 | cat - "$tmp/obsolete" >"$tmp/touched"
  while read -r target; do
    ! is_nginx_file "$target" || needs_reload=1
  done <"$tmp/touched"
  if [ -s "$tmp/include" ] || { [ -n "$site_link" ] && [ ! -L "$site_link" ]; } || [ -n "$nginx_is_new$recovered" ]; then
    needs_reload=1
  fi
}

is_same() {
  [ -e "$record/manifest" ] && [ -z "$test_client" ] && [ "$changed" = "$(grep -c "^keep$TAB" "$tmp/changes" || true)" ] &&
    [ -z "$needs_reload" ] && [ -z "$renew" ] && { [ -n "$no_service" ] || service_runs; } && ! has_new_edits
}

# An edited file whose new version does not lie beside it yet.
has_new_edits() {
  while IFS=$TAB read -r change source target _ _; do
    [ "$change" != keep ] || cmp -s -- "$source" "$(beside "$target")" || return 0
  done <"$tmp/changes"
  return 1
}

# Root owns what nginx serves as pages; the responder's account owns images and ledger, and nothing that root executes or reads.
make_directories() {
  if grep -qF -- "$TAB$config_directory$TAB" "$tmp/made"; then
    chown -- "root:$ACCOUNT" "$config_directory"
    chmod -- 750 "$config_directory"
  fi
  # The ledger may be on another host, and the images in a bucket.
  if [ -n "$ledger" ]; then
    make_directory "$(dirname -- "$ledger")" 750 "$ACCOUNT:$ACCOUNT"
    [ -e "$ledger" ] || journal ledger "$ledger"
  fi
  make_directory "$docroot" 755 "$root_owner"
  if [ -n "$https" ] && [ -z "$certificate_file" ]; then
    make_directory "$docroot/.well-known/acme-challenge" 755 "$root_owner"
  fi
  if [ "$kind" = s3 ]; then
    make_directory "$spool" 700 "$ACCOUNT:$ACCOUNT"
  else
    make_directory "$docroot/p" 755 "$ACCOUNT:$ACCOUNT"
    make_directory "$docroot/.spool" 700 "$ACCOUNT:$ACCOUNT"
  fi
  for key in storage.key_file ledger.password_file; do
    let_account_read "$(config_get "$key" "$config_source")"
  done
  let_account_read_config
  journal_log "${log:-/var/log/corenexis-cdn/responder.log}"
  [ -z "$log" ] || make_directory "$(dirname -- "$log")" 750 "$ACCOUNT:$ACCOUNT"
}

# let_account_read FILE: the responder reads the secret in a file of root's, and nobody else does.
let_account_read() {
  [ -n "$1" ] && [ -n "$(find "$1" -prune -type f -user 0 2>/dev/null)" ] || return 0
  chgrp -- "$ACCOUNT" "$1"
  chmod -- 640 "$1"
}

# A configuration that was copied from another host has the group of whoever copied it.
let_account_read_config() {
  if [ -n "$(find "$config_directory" -prune -user 0 ! -perm -001 2>/dev/null)" ]; then
    chgrp -- "$ACCOUNT" "$config_directory"
    chmod -- g+rx "$config_directory"
  fi
  [ -z "$(find "$config" -prune -type f ! -perm -004 2>/dev/null)" ] || let_account_read "$config"
}

# A log that this run makes goes with it; systemd makes the directory (LogsDirectory=).
journal_log() {
  [ -d "$(dirname -- "$1")" ] || journal directory "$(dirname -- "$1")"
  [ -e "$1" ] || journal log "$1"
}

place_config() {
  ! is_packaged || remember program "$(checksum "$bin")" "$bin"
  sum=$(checksum "$config_source")
  remember kept "$sum" "$config"
  [ "$config_source" != "$config" ] || return 0
  # One that is there is replaced by --https, which changes its public_url.
  put "$config_source" "$config" 640 "root:$ACCOUNT"
}

can_probe() {
  [ -z "$no_service" ] && [ -z "$no_nginx" ] && [ -z "$no_test" ] && [ "${site:-}" != hand ] || return 1
  [ -n "$user_mode" ] || nginx_runs || [ -n "$nginx_is_new" ] || return 1
  [ -z "$working" ] || find_address
}

# Once the files are placed, the address is looked up among all blocks that nginx has now. The nginx of a user's own has one.
find_address() {
  [ -n "$user_mode" ] || find_probe_address
}

check_health() {
  [ -z "$dry_run" ] && can_probe || return 0
  find_address || return 0
  wait_until_healthy || fail_probe "but $probe_url/image/v2/health does not answer through nginx: $failure" "$tmp/health"
  say "$probe_url/image/v2/health answers."
}
