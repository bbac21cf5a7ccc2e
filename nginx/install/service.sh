# shellcheck shell=sh
# What keeps the responder running and the sweep coming: systemd, OpenRC, an init script with spawn-fcgi, or nothing of ours.

# Sets $manager.
find_manager() {
  if [ -d /run/systemd/system ] && have systemctl; then
    manager=systemd
  elif have rc-service && [ -d /run/openrc ]; then
    manager=openrc
  else
    # Also where systemd is installed and does not run, as in a chroot or a container.
    manager=sysv
  fi
}

# Adds the files of the service and of the sweep to what is to be there.
want_service() {
  if [ -z "$no_service" ]; then
    case $manager in
    systemd)
      want "$tmp/rendered/service/corenexis-cdn.socket" /etc/systemd/system/corenexis-cdn.socket 644 "$root_owner"
      want "$tmp/rendered/service/corenexis-cdn.service" /etc/systemd/system/corenexis-cdn.service 644 "$root_owner"
      ;;
    openrc) want "$tmp/rendered/service/corenexis-cdn.openrc" /etc/init.d/corenexis-cdn 755 "$root_owner" ;;
    sysv) want "$tmp/rendered/service/corenexis-cdn.init" /etc/init.d/corenexis-cdn 755 "$root_owner" ;;
    esac
    want "$tmp/rendered/cron/corenexis-cdn.logrotate" /etc/logrotate.d/corenexis-cdn 644 "$root_owner"
  fi
  [ -z "$no_cron" ] || return 0
  if [ "$manager" = systemd ] && [ -z "$no_service" ]; then
    want "$tmp/rendered/service/corenexis-cdn-sweep.service" /etc/systemd/system/corenexis-cdn-sweep.service 644 "$root_owner"
    want "$tmp/rendered/service/corenexis-cdn-sweep.timer" /etc/systemd/system/corenexis-cdn-sweep.timer 644 "$root_owner"
  fi
  if [ "$manager" = systemd ]; then
    want "$tmp/rendered/service/corenexis-cdn-backup.service" /etc/systemd/system/corenexis-cdn-backup.service 644 "$root_owner"
    want "$tmp/rendered/service/corenexis-cdn-backup.timer" /etc/systemd/system/corenexis-cdn-backup.timer 644 "$root_owner"
  fi
  if [ -d /etc/periodic/15min ] && [ ! -d /etc/cron.d ]; then
    want "$tmp/rendered/cron/corenexis-cdn.periodic" /etc/periodic/15min/corenexis-cdn 755 "$root_owner"
  else
    want "$tmp/rendered/cron/corenexis-cdn" /etc/cron.d/corenexis-cdn 644 "$root_owner"
  fi
}

# Whether the installed program can serve with the configuration, asked as the account that will: its sentence is what the administrator
# reads, before a running service is touched.
check_service() {
  cdn serve --check >&2 || err "the service would not start: the line above says why"
}

# Starts what does not run, and renews what runs an older binary, unit or configuration.
start_service() {
  [ -z "$no_service" ] || return 0
  if ! service_runs; then
    say "Starting the responder"
    journal reload-units
    journal stop-service
    enable_service || err "the responder could not be started: $(service_log) says why"
  elif [ -n "$renew" ]; then
    say "Renewing the responder"
    journal renew-service
    journal reload-units
    # Units that a new version brings.
    if [ "$manager" = systemd ]; then
      systemctl daemon-reload
      # shellcheck disable=SC2046
      systemctl enable --quiet $(systemd_units)
    fi
    if changes /etc/systemd/system/corenexis-cdn.socket; then
      systemctl stop corenexis-cdn.service && systemctl restart corenexis-cdn.socket
    fi
    renew_service || err "the responder could not be renewed: $(service_log) says why"
  fi
  if [ "$manager" = systemd ] && [ -z "$no_cron" ]; then
    systemctl start corenexis-cdn-sweep.timer
  fi
}

# Whether the responder has to be renewed: its binary, its unit or its configuration is another one than before.
find_renewal() {
  renew=$recovered
  if changes "$prefix/bin/corenexis-cdn" || { is_packaged && [ "$(recorded "$bin" 2)" != "$(checksum "$bin")" ]; } || changes '*/corenexis-cdn.service' || changes '*/corenexis-cdn.socket' ||
    changes /etc/init.d/corenexis-cdn || [ "$(recorded "$config" 2)" != "$(checksum "$config_source")" ]; then
    renew=1
  fi
}

systemd_units() {
  printf '%s\n' corenexis-cdn.socket corenexis-cdn.service
  [ -n "$no_cron" ] || echo corenexis-cdn-sweep.timer
}

service_runs() {
  case $manager in
  systemd) systemctl is-active --quiet corenexis-cdn.service && systemctl is-enabled --quiet corenexis-cdn.socket 2>/dev/null ;;
  openrc) rc-service corenexis-cdn status >/dev/null 2>&1 ;;
  sysv) /etc/init.d/corenexis-cdn status >/dev/null 2>&1 ;;
  user) "$data/corenexis-cdn-user" status >/dev/null 2>&1 ;;
  esac
}

enable_service() {
  case $manager in
  systemd)
    systemctl daemon-reload
    # shellcheck disable=SC2046
    systemctl enable --quiet --now $(systemd_units)
    ;;
  openrc)
    rc-update add corenexis-cdn default >&2
    rc-service corenexis-cdn start >&2
    ;;
  sysv)
    if have update-rc.d; then
      update-rc.d corenexis-cdn defaults >&2
    elif have chkconfig; then
      chkconfig --add corenexis-cdn >&2
    else
      say "Nothing here knows how to start /etc/init.d/corenexis-cdn at boot; see to that yourself"
    fi
    /etc/init.d/corenexis-cdn start >&2
    ;;
  user) "$data/corenexis-cdn-user" start ;;
  esac
}

stop_service() {
  case $manager in
  systemd)
    systemctl disable --quiet --now corenexis-cdn-backup.timer corenexis-cdn-sweep.timer corenexis-cdn.socket corenexis-cdn.service 2>/dev/null || true
    # What the timers have started.
    systemctl stop corenexis-cdn-backup.service corenexis-cdn-sweep.service 2>/dev/null || true
    ;;
  openrc)
    rc-service corenexis-cdn stop >&2 || true
    rc-update del corenexis-cdn default >&2 || true
    ;;
  sysv)
    [ ! -x /etc/init.d/corenexis-cdn ] || /etc/init.d/corenexis-cdn stop >&2 || true
    ! have chkconfig || chkconfig --del corenexis-cdn >&2 || true
    ! have update-rc.d || update-rc.d -f corenexis-cdn remove >&2 || true
    ;;
  user) stop_supervisor ;;
  esac
  # systemd leaves the name of a socket that it held.
  case $listen in
  unix:*) [ ! -S "${listen#unix:}" ] || rm -f -- "${listen#unix:}" ;;
  esac
}

renew_service() {
  case $manager in
  systemd) systemctl restart corenexis-cdn.service ;;
  openrc) rc-service corenexis-cdn renew >&2 ;;
  sysv) /etc/init.d/corenexis-cdn restart >&2 ;;
  user) "$data/corenexis-cdn-user" restart ;;
  esac
}

reload_units() {
  [ "$manager" = systemd ] || return 0
  systemctl daemon-reload
  # A unit that had failed would stay in the list, though its file is gone.
  systemctl reset-failed 'corenexis-cdn*' 2>/dev/null || true
}

service_log() {
  case $manager in
  systemd) echo "'journalctl -u corenexis-cdn'" ;;
  user) echo "$data/logs/responder.log" ;;
  *) echo "/var/log/corenexis-cdn/responder.log" ;;
  esac
}
