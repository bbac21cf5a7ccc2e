BINARY=@BINARY@
CONFIG=@CONFIG_FILE@
ACCOUNT=@USER@
PIDFILE=/run/corenexis-cdn.pid
@[UNIX]
SOCKET=@SOCKET@
@[/UNIX]

# Prints the process id of the responder, and fails where it does not run.
responder_pid() {
  [ -s "$PIDFILE" ] || return 1
  # spawn-fcgi ends the file without a newline.
  pid=$(cat -- "$PIDFILE")
  kill -0 "$pid" 2>/dev/null || return 1
  # Process ids are reused.
  tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "--config $CONFIG serve" || return 1
  echo "$pid"
}

# spawn-fcgi opens the socket, changes to the account, and passes the socket as descriptor 0. It waits a tenth of a second for a
# responder that ends at once, which is too short on a busy machine, and what that says is lost: so a refusal is asked for first.
spawn_responder() {
  "$BINARY" --config "$CONFIG" serve --check >/dev/null || {
    echo "corenexis-cdn did not start: the line above says why" >&2
    return 1
  }
  # The modes of logs and images are set when they are created.
  umask 022
@[UNIX]
  # Under another name first: the rename takes the place of a running responder's socket in one step, and no upload finds none.
  rm -f -- "$SOCKET.new"
  spawn-fcgi -s "$SOCKET.new" -M 0660 -U "$ACCOUNT" -G @GROUP@ -u "$ACCOUNT" -g "$ACCOUNT" -P "$PIDFILE.new" \
    -- "$BINARY" --config "$CONFIG" serve >/dev/null || {
    rm -f -- "$SOCKET.new" "$PIDFILE.new"
@[/UNIX]
@[TCP]
  spawn-fcgi -a @HOST@ -p @PORT@ -u "$ACCOUNT" -g "$ACCOUNT" -P "$PIDFILE.new" \
    -- "$BINARY" --config "$CONFIG" serve >/dev/null || {
    rm -f -- "$PIDFILE.new"
@[/TCP]
    echo "corenexis-cdn did not start; as $ACCOUNT, '$BINARY --config $CONFIG serve' says why" >&2
    return 1
  }
@[UNIX]
  mv -f -- "$SOCKET.new" "$SOCKET"
@[/UNIX]
  mv -f -- "$PIDFILE.new" "$PIDFILE"
}

# stop_responder PID: SIGTERM lets what was begun end, within ten seconds.
stop_responder() {
  kill -TERM "$1" 2>/dev/null || return 0
  waited=0
  while kill -0 "$1" 2>/dev/null; do
    [ "$waited" -lt 15 ] || kill -KILL "$1" 2>/dev/null || true
    sleep 1
    waited=$((waited + 1))
  done
}

start_responder() {
  ! responder_pid >/dev/null || return 0
  spawn_responder
}

end_responder() {
  if running=$(responder_pid); then
    stop_responder "$running"
  fi
  rm -f -- "$PIDFILE"@REMOVE_SOCKET@
}

# Replaces a running responder by a new one, after an upgrade or a change of the configuration.
renew_responder() {
@[TCP]
  end_responder
  spawn_responder
@[/TCP]
@[UNIX]
  # No request is lost: the new one takes over the socket's name, and the old one ends after it took what was queued on its own.
  running=$(responder_pid) || running=''
  spawn_responder
  if [ -n "$running" ]; then
    sleep 1
    stop_responder "$running"
  fi
@[/UNIX]
}
