# shellcheck shell=sh
# The host's nginx: where it is, what its workers are, whether it accepts its configuration, and making it read that again.

# The end of every line that is put into somebody else's file.
MARK='# corenexis-cdn: placed by install.sh'

# Sets $nginx (the program), $nginx_conf and $nginx_directory, $worker and $worker_group, and writes the whole configuration to
# $tmp/nginx. Ends where nginx does not accept what it has now: what is broken already could not be told from what we break.
find_nginx() {
  nginx=nginx
  # aaPanel builds its own and does not put it on the PATH.
  [ ! -x /www/server/nginx/sbin/nginx ] || nginx=/www/server/nginx/sbin/nginx
  nginx_conf=$(nginx_built_with conf-path)
  : "${nginx_conf:=/etc/nginx/nginx.conf}"
  nginx_directory=$(dirname -- "$nginx_conf")
  read_nginx || {
    show "$tmp/nginx.said"
    err "nginx does not accept its configuration as it is now, so nothing was changed: 'nginx -t' has to pass first"
  }
  # Group: the second argument of `user`, else the group of the account's name; else what nginx was built with.
  # shellcheck disable=SC2046
  set -- $(sed -n 's/^[ \t]*user[ \t][ \t]*\([^;]*\);.*/\1/p' "$tmp/nginx" | head -n 1)
  worker=${1:-$(nginx_built_with user)}
  : "${worker:=nobody}"
  worker_group=${2:-}
  if [ -z "$worker_group" ]; then
    if [ -n "${1:-}" ]; then
      worker_group=$1
    else
      worker_group=$(nginx_built_with group)
    fi
  fi
  has_group "$worker_group" || worker_group=$(id -gn -- "$worker" 2>/dev/null || true)
  [ -n "$worker_group" ] || err "cannot find the group of nginx's workers: the account $worker of 'user' in $nginx_conf does not exist"
}

nginx_built_with() {
  "$nginx" -V 2>&1 | tr ' ' '\n' | sed -n "s/^--$1=//p" | head -n 1
}

has_group() {
  [ -n "$1" ] && grep -q "^$1:" /etc/group
}

# Writes the whole configuration to $tmp/nginx and what nginx says about it to $tmp/nginx.said.
read_nginx() {
  "$nginx" -T >"$tmp/nginx" 2>"$tmp/nginx.said"
}

# After everything is placed. A name that two server blocks have is no error to nginx: it only warns, and one of them is ignored.
test_nginx() {
  said_before=$(grep -c 'conflicting server name' "$tmp/nginx.said" || true)
  if ! read_nginx; then
    show "$tmp/nginx.said"
    err "nginx does not accept its configuration with the new files: the lines above say why"
  fi
  if [ "$(grep -c 'conflicting server name' "$tmp/nginx.said" || true)" -gt "$said_before" ]; then
    grep 'conflicting server name' "$tmp/nginx.said" >&2
    err "another site has the name $domain already, in a way that this installer could not read"
  fi
  if ! grep -q "^upstream corenexis_responder" "$tmp/nginx"; then
    err "$http_file is not read by nginx: $nginx_conf has no include for it inside http { }"
  fi
}

# Where files of the http context are included from, the first that there is: aaPanel; Alpine, whose conf.d is read outside http;
# everybody else.
find_places() {
  for directory in /www/server/panel/vhost/nginx "$nginx_directory/http.d" "$nginx_directory/conf.d"; do
    if [ -d "$directory" ] && is_included "$directory/*.conf"; then
      http_file=$directory/corenexis-cdn.conf
      snippet=$nginx_directory/snippets/corenexis-cdn.conf
      return
    fi
  done
  err "$nginx_conf includes neither conf.d/*.conf nor http.d/*.conf inside http { }: add such a line, or use --no-nginx"
}

# Whether the configuration has an `include` of this pattern, absolute or relative to nginx.conf.
is_included() {
  relative=${1#"$nginx_directory"/}
  awk -v absolute="$1" -v relative="$relative" '
    $1 == "include" { sub(/;.*/, "", $2); gsub(/"/, "", $2); if ($2 == absolute || $2 == relative) found = 1 }
    END { exit !found }' "$tmp/nginx"
}

nginx_pid() {
  pid_file=$(sed -n 's/^[ \t]*pid[ \t][ \t]*\([^;]*\);.*/\1/p' "$tmp/nginx" 2>/dev/null | head -n 1)
  [ -n "$pid_file" ] || pid_file=$(nginx_built_with pid-path)
  case $pid_file in
  /*) ;;
  *) pid_file=$(nginx_built_with prefix)/$pid_file ;;
  esac
  [ -s "$pid_file" ] || return 1
  read -r pid <"$pid_file"
  kill -0 "$pid" 2>/dev/null || return 1
  echo "$pid"
}

# Makes nginx read its configuration, or starts it.
reload_nginx() {
  if nginx_pid >/dev/null; then
    if [ "$manager" = systemd ] && systemctl is-active --quiet nginx; then
      systemctl reload nginx
    else
      "$nginx" -s reload 2>>"$tmp/reload"
    fi
    return
  fi
  journal stop-nginx
  case $manager in
  systemd) systemctl start nginx ;;
  openrc) rc-service nginx start >&2 ;;
  *)
    if [ -x /etc/init.d/nginx ]; then
      /etc/init.d/nginx start >&2
    else
      "$nginx"
    fi
    ;;
  esac
}

stop_nginx() {
  case $manager in
  systemd) systemctl stop nginx ;;
  openrc) rc-service nginx stop >&2 ;;
  *) ! nginx_pid >/dev/null || "$nginx" -s quit ;;
  esac
}
