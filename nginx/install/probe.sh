# shellcheck shell=sh
# The smoke test: a real upload through the host's nginx by a client that exists for that long alone.

# Sets $probe_url and writes curl's arguments, one a line, for reaching the site on this host without DNS.
# The placement is looked up among all blocks that nginx has now, a block of our own included.
find_probe_address() {
  : >"$tmp/probe.arguments"
  ask_placement --no-insert || err "the placed files do not serve $domain: the line above says why"
  awk -F '\t' -v scheme="${public_url%%:*}" '$1 == "address" { print ($2 == scheme ? 0 : 1) "\t" $0 }' "$tmp/placement" |
    sort -s -k 1,1 >"$tmp/addresses"
  IFS=$TAB read -r _ _ probe_scheme address probe_port proxy <"$tmp/addresses" || {
    say "$domain listens on no address that curl can reach, so there is no test upload."
    return 1
  }
  probe_url=$probe_scheme://$domain:$probe_port
  printf '%s\n' --insecure --resolve "$domain:$probe_port:$address" >"$tmp/probe.arguments"
  [ "$proxy" != proxy_protocol ] || echo --haproxy-protocol >>"$tmp/probe.arguments"
}

# probe_curl ARGUMENT...
probe_curl() {
  while read -r argument; do
    set -- "$@" "$argument"
  done <"$tmp/probe.arguments"
  local_curl --max-time 60 "$@" </dev/null
}

# probe_get URL FILE writes the reply to the file, and sets $failure where its status is not 200.
probe_get() {
  : >"$2"
  status=$(probe_curl --output "$2" --write-out '%{http_code}' "$1" 2>"$tmp/probe.said") || {
    failure="no answer: $(cat -- "$tmp/probe.said")"
    return 1
  }
  failure="status $status"
  [ "$status" = 200 ]
}

# Waits until the new configuration answers. Where the reload of nginx was seen to take effect, a refusal is not waited for. nginx goes on
# with its old configuration where another process had a port that is new in it, as a 'nginx -t' has for a moment; so it is told to reload
# again when half of the time has passed.
wait_until_healthy() {
  deadline=$(($(date +%s) + HEALTHY_WITHIN))
  again=$((deadline - HEALTHY_WITHIN / 2))
  until probe_get "$probe_url/image/v2/health" "$tmp/health" && failure='another site answers' && grep -q '"status"' "$tmp/health"; do
    case ${reloaded:-}:$status in
    1:401 | 1:403) return 1 ;;
    esac
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    if [ -n "${reloaded+asked}" ] && [ -n "$again" ] && [ "$(date +%s)" -ge "$again" ]; then
      again=''
      ask_for_reload || true
    fi
    nap
  done
}

# fail_probe TEXT REPLY ends with the text, the reply and the last line of the log.
fail_probe() {
  said=$1
  if [ -s "$2" ]; then
    said="$said
    reply: $(head -c 300 -- "$2" | tr '\n' ' ')"
  fi
  last=$(last_log_line)
  [ -z "$last" ] || said="$said
    log:   $last"
  err "$said
    nginx's error log and $(service_log) say more$(selinux_hint); a site that only some visitors reach is installed with --no-test"
}

last_log_line() {
  if [ -n "$log" ] || [ "$manager" != systemd ]; then
    tail -n 1 -- "${log:-$(service_log)}" 2>/dev/null || true
  else
    journalctl -q --no-pager -n 1 -o cat -u corenexis-cdn 2>/dev/null || true
  fi
}

smoke_test() {
  wait_until_healthy || fail_probe "$probe_url/image/v2/health does not answer through nginx: $failure" "$tmp/health"
  say "Uploading a test image through nginx ..."
  probe=install-probe-$$
  make_probe_image "$tmp/probe.png"
  # The client is in the journal first: if this run is killed, the next one removes it.
  journal probe "$probe"
  add_probe || err "cannot add a client for the test: the lines above say why"
  : >"$tmp/reply"
  try_upload || fail_probe "the test upload failed: $failure" "$tmp/reply"
  remove_probe "$probe"
  say "Uploaded, fetched back, compared, and removed again."
}

# Any plan that takes an upload.
add_probe() {
  "$bin" --config "$config" config get | sed -n 's/^plans\.\(.*\)\.url = .*/\1/p' >"$tmp/plans"
  while read -r plan; do
    if answer=$(cdn client add "$probe" --plan "$plan"); then
      token=$(printf '%s\n' "$answer" | sed -n 's/^client_token=//p')
      return 0
    fi
  done <"$tmp/plans"
  return 1
}

try_upload() {
  upload 7D || return 1
  # A plan without seven days says what it has.
  case $answer in
  *'"allowed":["'[0-9A-Z]*)
    duration=${answer#*\"allowed\":[\"}
    upload "${duration%%\"*}" || return 1
    ;;
  esac
  image=$(printf '%s\n' "$answer" | sed -n 's/.*"url":"\([^"]*\)".*/\1/p')
  case $image in
  */view/\?img=*) path=${image##*/view/\?img=} ;;
  */p/*) path=${image##*/p/} ;;
  *)
    failure="the upload was answered with an error"
    return 1
    ;;
  esac
  probe_get "$probe_url/p/$path" "$tmp/reply" || {
    case $kind in
    s3) advice="can nginx read the bucket? 'corenexis-cdn --config $config doctor' tries it; the handbook has the policy of a public bucket" ;;
    *) advice="can the account $worker read $docroot?" ;;
    esac
    failure="$probe_url/p/$path cannot be fetched: $failure; $advice"
    return 1
  }
  cmp -s -- "$tmp/probe.png" "$tmp/reply" || {
    failure="what $probe_url/p/$path gives is not what was uploaded"
    return 1
  }
  # The host's own rules must not get hold of what lies behind an image's name, a rule for PHP above all.
  probe_get "$probe_url/p/$path/x.php" "$tmp/reply" || true
  [ "$status" = 404 ] || {
    failure="$probe_url/p/$path/x.php was answered with $status instead of 404: a rule of the host comes before the images' locations"
    return 1
  }
}

upload() {
  printf '%s' "$token" >"$tmp/probe.token"
  probe_curl --output "$tmp/reply" -X POST -F "client_id=$probe" -F "client_token=<$tmp/probe.token" -F "store_duration=$1" \
    -F "image=@$tmp/probe.png;filename=probe.png" "$probe_url/image/v2/" 2>"$tmp/probe.said" || {
    failure="no answer: $(cat -- "$tmp/probe.said")"
    return 1
  }
  answer=$(cat -- "$tmp/reply")
}

# remove_probe CLIENT: nothing of a test stays, neither images nor client.
remove_probe() {
  cdn image list --client "$1" --json 2>/dev/null | sed -n 's/.*"path": *"\([a-z0-9/A-Z.]*\)".*/\1/p' >"$tmp/images" || true
  while read -r path; do
    cdn image delete "$path" >/dev/null || say "The test image $path could not be deleted"
    as_account rmdir -- "$docroot/p/${path%/*}" "$docroot/p/${path%%/*}" 2>/dev/null || true
  done <"$tmp/images"
  cdn client remove "$1" --yes >/dev/null 2>&1 || say "The test client $1 could not be removed"
}

# Those of the journal that are still there.
remove_probes() {
  [ -x "$prefix/bin/corenexis-cdn" ] || return 0
  awk -F '\t' '$1 == "probe" { print $2 }' "$record/journal" >"$tmp/probes"
  while read -r client; do
    ! cdn client show "$client" >/dev/null 2>&1 || remove_probe "$client"
  done <"$tmp/probes"
}

# The smallest PNG: one grey pixel.
make_probe_image() {
  printf '\211PNG\015\012\032\012\000\000\000\015IHDR\000\000\000\001\000\000\000\001\010\000\000\000\000\072\176\233U' >"$1"
  printf '\000\000\000\012IDATx\332ch\000\000\000\202\000\201\332E\010\073\000\000\000\000IEND\256B\140\202' >>"$1"
}

selinux_hint() {
  if have getenforce && [ "$(getenforce)" = Enforcing ]; then
    echo "; SELinux is enforcing: 'ausearch -m avc -ts recent' shows whether it kept nginx from the socket, the images or the store"
  fi
}
