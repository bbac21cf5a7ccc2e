# shellcheck shell=sh
# The host's nginx: which program and configuration run, what the workers are, and making it read its configuration again.

# The comment at the end of each include line, by which it is found again.
MARK='# corenexis-cdn: placed by install.sh'

# Sets $nginx, the program, and writes the arguments with which the one that runs was started (-c and -p) to $tmp/nginx.arguments.
find_program() {
  nginx=nginx nginx_master=''
  : >"$tmp/nginx.arguments"
  # aaPanel builds its own and does not put it on the PATH.
  [ ! -x /www/server/nginx/sbin/nginx ] || nginx=/www/server/nginx/sbin/nginx
  find_master
}

# The master process, by its title, also in the foreground or under a supervisor. Left out: those of containers, which have another
# mount namespace, and those of the demo and of --user, which run with our nginx.conf.
find_master() {
  default_conf=$(nginx_built_with conf-path)
  others=''
  grep -l '^nginx: master process' /proc/[0-9]*/cmdline 2>/dev/null >"$tmp/masters" || true
  while read -r file; do
    process=${file%/cmdline}
    [ "$(readlink "$process/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || continue
    title=$(tr '\0' ' ' <"$file" 2>/dev/null) || continue
    ! is_new_worker "$process" || continue
    conf=$(title_option -c "$title")
    if [ -z "$conf" ] || [ "$conf" = "$default_conf" ]; then
      nginx_master=${process#/proc/}
      return
    fi
    ! grep -qs '^# A complete nginx for the demo' "$conf" || continue
    others="$others ${process#/proc/}"
  done <"$tmp/masters"
  case $others in
  '') ;;
  ' '*' '*) [ -n "$nginx_reload" ] || err "several nginx run here, none with $default_conf (processes$others): end those that are not the host's, or use --no-nginx" ;;
  *)
    nginx_master=${others# }
    nginx=$(readlink -- "/proc/$nginx_master/exe")
    title=$(tr '\0' ' ' <"/proc/$nginx_master/cmdline")
    for option in -c -p; do
      value=$(title_option "$option" "$title")
      [ -z "$value" ] || printf '%s\n%s\n' "$option" "$value" >>"$tmp/nginx.arguments"
    done
    ;;
  esac
}

# Whether a process with a master's title is a worker that was just started and has its own title soon: a child of a master without
# children. It takes no notice of SIGHUP. A master that is another's child, as in an upgrade of nginx, has workers.
is_new_worker() {
  parent=$(sed -n "s/^PPid:$TAB//p" "$1/status" 2>/dev/null)
  grep -qs '^nginx: master process' "/proc/$parent/cmdline" && ! grep -qs "^PPid:$TAB${1#/proc/}\$" /proc/[0-9]*/status
}

# title_option OPTION TITLE prints the word behind an option in a process's title.
title_option() {
  printf '%s\n' "$2" | tr ' ' '\n' | awk -v option="$1" 'found { print; exit } $0 == option { found = 1 }'
}

# run_nginx ARGUMENT... runs the program with the -c and -p of the one that runs.
run_nginx() {
  while read -r argument; do
    set -- "$@" "$argument"
  done <"$tmp/nginx.arguments"
  "$nginx" "$@"
}

# Sets $nginx_conf and $nginx_directory, $worker and $worker_group, and writes the configuration to $tmp/nginx and what was found in it
# to $tmp/nginx.facts. Ends where nginx does not accept what it has now: what is broken already could not be told from what we break.
find_nginx() {
  read_nginx || {
    show "$tmp/nginx.said"
    err "nginx does not accept its configuration as it is now, so nothing was changed: 'nginx -t' has to pass first"
  }
}

read_facts() {
  "$bin" nginx-sites "$tmp/nginx" >"$tmp/nginx.facts" || err "the output of 'nginx -T' cannot be read: the line above says why"
  nginx_conf=$(sed -n 's/^# configuration file \(.*\):$/\1/p' "$tmp/nginx" | head -n 1)
  nginx_directory=$(dirname -- "$nginx_conf")
  # Group: the second argument of `user`, else the group of the account's name; else what nginx was built with.
  worker=$(fact user 2) worker_group=$(fact user 3)
  if [ -z "$worker_group" ]; then
    worker_group=${worker:-$(nginx_built_with group)}
  fi
  : "${worker:=$(nginx_built_with user)}"
  : "${worker:=nobody}"
  has_group "$worker_group" || worker_group=$(id -gn -- "$worker" 2>/dev/null || true)
  [ -n "$worker_group" ] || err "cannot find the group of nginx's workers: the account $worker of 'user' in $nginx_conf does not exist"
}

# fact WORD FIELD prints a field of the first line with the word.
fact() {
  awk -F '\t' -v word="$1" -v field="$2" '$1 == word { print $field; exit }' "$tmp/nginx.facts"
}

nginx_built_with() {
  "$nginx" -V 2>&1 | tr ' ' '\n' | sed -n "s/^--$1=//p" | head -n 1
}

has_group() {
  [ -n "$1" ] && grep -q "^$1:" /etc/group
}

# Writes the whole configuration to $tmp/nginx and what nginx says about it to $tmp/nginx.said.
read_nginx() {
  run_nginx -T >"$tmp/nginx" 2>"$tmp/nginx.said"
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

# The directory of files for the http context: the first of aaPanel's, of Alpine's (whose conf.d is read outside http), and conf.d.
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

# Whether the http context has an `include` of this pattern.
is_included() {
  pattern=$1 awk -F '\t' '$1 == "http-include" && $2 == ENVIRON["pattern"] { found = 1 } END { exit !found }' "$tmp/nginx.facts"
}

nginx_runs() {
  [ -n "$nginx_reload" ] || { [ -n "$nginx_master" ] && kill -0 "$nginx_master" 2>/dev/null; }
}

# Makes nginx read its configuration, and waits until its old workers take no more connections: what answers next has read it.
reload_nginx() {
  nginx_workers >"$tmp/workers"
  ask_for_reload || return 1
  reloaded=1
  deadline=$(($(date +%s) + RELOADED_WITHIN))
  while read -r process; do
    while takes_connections "$process"; do
      # It may have refused the configuration; the test upload will tell.
      if [ "$(date +%s)" -ge "$deadline" ]; then
        reloaded=''
        return 0
      fi
      nap
    done
  done <"$tmp/workers"
  [ -s "$tmp/workers" ] || reloaded=''
}

# Prints the process ids of the workers of nginx that take connections. One that was just started has its master's title.
nginx_workers() {
  [ -n "$nginx_master" ] || return 0
  grep -lE '^nginx: (worker|master) process' /proc/[0-9]*/cmdline 2>/dev/null >"$tmp/processes" || true
  while read -r file; do
    process=${file%/cmdline}
    process=${process#/proc/}
    if grep -qs "^PPid:$TAB$nginx_master\$" "/proc/$process/status" && takes_connections "$process"; then
      echo "$process"
    fi
  done <"$tmp/processes"
}

# Whether a process is a worker of nginx, other than one that "is shutting down".
takes_connections() {
  case $(tr '\0' '\n' <"/proc/$1/cmdline" | head -n 1) in
  'nginx: worker process' | 'nginx: master process'*) ;;
  *) return 1 ;;
  esac
} 2>/dev/null

ask_for_reload() {
  if [ -n "$nginx_reload" ]; then
    sh -c "$nginx_reload" >"$tmp/reload" 2>&1
  elif [ "$manager" = systemd ] && [ "$(systemctl show -p MainPID --value nginx.service)" = "$nginx_master" ]; then
    systemctl reload nginx.service 2>"$tmp/reload"
  else
    kill -HUP "$nginx_master" 2>"$tmp/reload"
  fi
}

# Starts the nginx that this run installed. One that was stopped stays stopped.
start_nginx() {
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
  # It is in the background before its process has the title by which it is found.
  deadline=$(($(date +%s) + RELOADED_WITHIN))
  until find_master && [ -n "$nginx_master" ] || [ "$(date +%s)" -ge "$deadline" ]; do
    nap
  done
}

stop_nginx() {
  case $manager in
  systemd) systemctl stop nginx ;;
  openrc) rc-service nginx stop >&2 ;;
  *) ! nginx_runs || kill -QUIT "$nginx_master" ;;
  esac
}

# After the new files are there.
apply_nginx() {
  if nginx_runs; then
    journal reload-nginx
    reload_nginx || err "nginx could not be made to read its new configuration: $(tail -n 3 -- "$tmp/reload" 2>/dev/null)"
  elif [ -n "$nginx_is_new" ]; then
    start_nginx || err "nginx could not be started: the lines above say why"
  fi
}
