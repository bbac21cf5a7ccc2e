# shellcheck shell=sh
# What is said before an installation, and after it.

print_plan() {
  version=$("$bin" -V)
  if is_installed; then
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
    if [ -z "$needs_reload" ]; then
      :
    elif nginx_runs; then
      say "  reload   nginx, whose workers are $worker:$worker_group, after 'nginx -t' has accepted the new files${nginx_reload:+: $nginx_reload}"
    elif [ -n "$nginx_is_new" ]; then
      say "  start    nginx"
    else
      say "  (nginx does not run, and is not started; if it runs where this cannot see it, use --nginx-reload COMMAND)"
    fi
  fi
  if [ -z "$no_service" ]; then
    verb=start
    [ -z "$renew" ] || ! service_runs || verb=renew
    case $verb:$manager in
    renew:*) say "  renew    the responder; uploads wait for a moment and none fails" ;;
    *:systemd) say "  start    corenexis-cdn.socket and .service of systemd" ;;
    *:openrc) say "  start    corenexis-cdn of OpenRC" ;;
    *:sysv) say "  start    /etc/init.d/corenexis-cdn" ;;
    *:user)
      if have crontab; then
        say "  start    $data/corenexis-cdn-user, now and after a reboot (crontab)"
      else
        say "  start    $data/corenexis-cdn-user; this host has no crontab command, so not after a reboot, and nothing sweeps"
      fi
      ;;
    esac
  fi
  ! can_probe || say "  test     an upload through nginx, removed again"
  say "If a step fails, all are undone."
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
  [ -n "$no_nginx" ] || nginx_runs || say "Left to do: start nginx, which does not run; no test upload was made"
  [ -z "$no_service" ] || say "Left to do: run '$prefix/bin/corenexis-cdn --config $config serve' as $ACCOUNT"
  [ -z "$no_cron" ] || say "Left to do: run '$prefix/bin/corenexis-cdn --config $config sweep' as $ACCOUNT every ten minutes"
  if [ "${site:-}" = own ] && [ "$scheme" = http ]; then
    say "For https: $(own_name) --https --email ADDRESS"
  fi
  add_test_client
  ! "$prefix/bin/corenexis-cdn" doctor --help >/dev/null 2>&1 || run_doctor
  say "A client that may upload:  $(cdn_by_hand) client add shop --plan 3m"
}

# With a token of its own: that of the client in the public documentation is public.
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
