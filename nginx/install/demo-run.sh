# shellcheck shell=sh
# The processes of the demo, its check, and what it prints.

# start NAME LOG SIGNAL SECONDS COMMAND... runs it in the background and sets $started. SIGNAL asks it to end, for which it has so many
# SECONDS. In a session of its own, where the terminal's Ctrl-C does not reach it: this script ends the processes in their order.
start() {
  processes=$((processes + 1))
  eval "name_$processes=\$1 log_$processes=\$2 signal_$processes=\$3 seconds_$processes=\$4"
  start_log=$2
  shift 4
  if have setsid; then
    setsid "$@" >>"$start_log" 2>&1 </dev/null &
  else
    "$@" >>"$start_log" 2>&1 </dev/null &
  fi
  started=$!
  eval "pid_$processes=\$started"
  echo "$started" >>"$children"
}

# look_at NUMBER sets $process, $name and $log to those of a process that was started.
look_at() {
  eval "process=\$pid_$1 name=\$name_$1 log=\$log_$1"
}

start_responder() {
  case $listen in
  unix:/*) socket=${listen#unix:} ;;
  *) socket='' ;;
  esac
  # One that is there was left behind by a responder that was killed; the lock says that none runs.
  [ ! -S "$socket" ] || rm -f -- "$socket"
  start 'The responder' "$responder_log" TERM 15 "$bin" --config "$config" serve
  responder_pid=$started
  [ -n "$socket" ] || return 0
  # nginx would log each request that finds no socket as an error.
  await 'The responder' test -S "$socket"
}

start_nginx() {
  # An nginx before 1.19.5 has no -e and complains on standard error until it has read its configuration.
  set -- -p "$state/nginx" -c "$nginx_conf"
  if nginx -h 2>&1 | grep -q -- '-e filename'; then
    set -- "$@" -e "$nginx_log"
  fi
  set -- "$@" -g 'daemon off;'
  nginx "$@" -t >"$state/nginx/logs/test.log" 2>&1 || {
    say "nginx refuses the rendered configuration:"
    show "$state/nginx/logs/test.log"
    exit 1
  }
  start nginx "$nginx_log" QUIT 10 nginx "$@"
  nginx_pid=$started
}

# await NAME COMMAND... waits until the command succeeds.
await() {
  awaited=$1
  shift
  deadline=$(($(date +%s) + HEALTHY_WITHIN))
  until failure=$("$@" 2>&1 >/dev/null); do
    still_running || exit 1
    if [ "$(date +%s || echo 0)" -ge "$deadline" ]; then
      say "$awaited did not answer within $HEALTHY_WITHIN seconds${failure:+: $failure}"
      show_logs
      exit 1
    fi
    nap
  done
}

wait_until_healthy() {
  await 'The demo' local_curl --fail --max-time 2 "$url/image/v2/health"
  # If another server took the port meanwhile, it is that one which answers, and nginx has ended.
  still_running || exit 1
}

# What cron does on a host, every ten minutes. It runs in the background and never twice at once: the sweep has a lock.
sweep_now_and_then() {
  now=$(date +%s)
  [ "$((now - swept))" -ge 600 ] || return 0
  swept=$now
  cdn sweep >>"$state/logs/sweep.log" 2>&1 </dev/null &
}

# Says why a process does not live any more.
still_running() {
  number=1
  while [ "$number" -le "$processes" ]; do
    look_at "$number"
    if ! kill -0 "$process" 2>/dev/null; then
      eval "pid_$number=''"
      say_ended "$name" "$process" "$log"
      return 1
    fi
    number=$((number + 1))
  done
}

# say_ended NAME PID LOG
say_ended() {
  status=0
  wait "$2" 2>/dev/null || status=$?
  if [ "$status" -gt 128 ]; then
    say "$1 was ended by signal $((status - 128)). The end of its log, $3:"
  else
    say "$1 ended by itself with status $status. The end of its log, $3:"
  fi
  show "$3"
}

show_logs() {
  number=1
  while [ "$number" -le "$processes" ]; do
    look_at "$number"
    say "The end of $log:"
    show "$log"
    number=$((number + 1))
  done
}

# end PID SECONDS asks once more, firmly, when a process that was asked to end has not done so in time.
end() {
  deadline=$(($(date +%s) + $2))
  while kill -0 "$1" 2>/dev/null; do
    if [ "$(date +%s || echo 0)" -ge "$deadline" ]; then
      say "Process $1 did not end within $2 seconds: killing it"
      kill -KILL "$1" 2>/dev/null || true
      break
    fi
    nap
  done
  wait "$1" 2>/dev/null || true
}

# Those that were started last end first: nothing new arrives from nginx while the responder finishes what it has.
clean_up() {
  status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  rm -f -- "$env" "$env.new"
  allow_cluster
  process='' signal='' seconds=''
  while [ "$processes" -gt 0 ]; do
    eval "process=\$pid_$processes signal=\$signal_$processes seconds=\$seconds_$processes"
    processes=$((processes - 1))
    [ -n "$process" ] || continue
    kill "-$signal" "$process" 2>/dev/null
    end "$process" "$seconds"
  done
  rm -f -- "$lock" "$children"
  exit "$status"
}

# A demo that runs was asked to end and does: 0. One that was still starting has not done what it was asked to.
end_by_signal() {
  say ""
  if [ -n "$running" ]; then
    say "Ending the demo."
    exit 0
  fi
  exit "$1"
}

# ---------------------------------------------------------------- the check, and what is printed

# The documented call, with a file whose name needs no quoting wherever this tree lies.
check_upload() {
  answer=$(cd -- "$here/tests/samples" && local_curl --max-time 60 -X POST \
    -F "client_id=client_3m_plan" \
    -F "client_token=$DEMO_TOKEN" \
    -F "store_duration=7D" \
    -F "image=@$SAMPLE" \
    "$url/image/v2/") || check_failed "the upload got no answer"
  image=$(printf '%s\n' "$answer" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')
  case $image in
  "$url"/p/*) ;;
  *) check_failed "the upload was answered with: $answer" ;;
  esac
  local_curl --fail --max-time 60 --output "$state/run/fetched" "$image" || check_failed "cannot fetch $image back"
  cmp -- "$here/tests/samples/$SAMPLE" "$state/run/fetched" >&2 || check_failed "$image is not the file that was uploaded"
  rm -f -- "$state/run/fetched"
  printf '%s\n' "$answer"
}

check_failed() {
  still_running || exit 1
  say "install.sh: $1"
  show_logs
  exit 1
}

print_addresses() {
  cat <<ADDRESSES

image    $image
viewer   $url/view/?img=${image#"$url/p/"}
docs     $url/image/docs/
upload   $url/image/upload/
clients  $(quote "$env")

curl -X POST -F "client_id=client_3m_plan" -F "client_token=$DEMO_TOKEN" -F "store_duration=7D" -F $(quote "image=@$(curl_file "$here/tests/samples/$SAMPLE")") $url/image/v2/

ADDRESSES
}

# Prints $1 as a file name for curl's -F, to which a comma and a semicolon mean something.
curl_file() {
  case $1 in
  *[,\;\"]*) printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')" ;;
  *) printf '%s' "$1" ;;
  esac
}

# For programs that want to use the demo: there once it is ready, gone when it has ended. It holds tokens.
write_env() {
  (
    umask 077
    while read -r name value; do
      printf '%s=%s\n' "$name" "$(quote "$value")"
    done >"$env.new" <<ENV
CDN_URL $url
CDN_BIN $bin
CDN_CONFIG $config
CDN_DOCROOT $docroot
CDN_PID $responder_pid
CDN_NGINX_PID $nginx_pid
CDN_FREE_ID client_free_plan
CDN_FREE_TOKEN $(cat -- "$tokens/client_free_plan")
CDN_3M_ID client_3m_plan
CDN_3M_TOKEN $DEMO_TOKEN
CDN_LIFETIME_ID client_lifetime_plan
CDN_LIFETIME_TOKEN $(cat -- "$tokens/client_lifetime_plan")
ENV
  )
  mv -- "$env.new" "$env"
}
