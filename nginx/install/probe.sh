# shellcheck shell=sh
# The smoke test: a real upload through the host's nginx by a client that exists for that long alone.

# Sets $probe_url and $probe_to, curl's arguments for reaching the site on this host whatever its name resolves to elsewhere.
find_probe_address() {
  list_servers
  # The listen directives of the blocks with our name that come to our locations, those of the scheme first wanted.
  set -- "$(awk -F '\t' -v https="$1" '
    $4 && !$5 {
      count = split($7, listen, "|")
      for (i = 1; i <= count; i++) {
        if (listen[i] ~ /^unix:/) continue
        if ((listen[i] ~ / ssl( |$)/) == (https == "https")) { print listen[i]; exit }
      }
    }' "$tmp/servers")" "$1"
  [ -n "$1" ] || return 1
  address=${1%% *}
  case $address in
  \[*\]) probe_port=80 ;;
  *:*) probe_port=${address##*:} address=${address%:*} ;;
  *[!0-9]*) probe_port=80 ;;
  *) probe_port=$address address='*' ;;
  esac
  case $address in
  '*' | 0.0.0.0) address=127.0.0.1 ;;
  '[::]') address='[::1]' ;;
  esac
  probe_url=$2://$domain:$probe_port
  probe_to="--insecure --resolve $domain:$probe_port:$address"
  case " $1 " in *" proxy_protocol "*) probe_to="$probe_to --haproxy-protocol" ;; esac
}

# probe_curl ARGUMENT...
probe_curl() {
  # The words hold no spaces of their own.
  # shellcheck disable=SC2086
  local_curl $probe_to --max-time 60 "$@" </dev/null
}

# Waits until the new configuration answers: a reload of nginx takes effect when its new workers have started.
wait_until_healthy() {
  deadline=$(($(date +%s) + HEALTHY_WITHIN))
  until failure=$(probe_curl --fail --output "$tmp/health" "$probe_url/image/v2/health" 2>&1) && grep -q '"status"' "$tmp/health"; do
    [ "$(date +%s)" -lt "$deadline" ] || return 1
    nap
  done
}

smoke_test() {
  wait_until_healthy || err "$probe_url/image/v2/health does not answer through nginx: ${failure:-another site answers}; see nginx's error log, and $(service_log)$(selinux_hint)"
  say "Uploading a test image through nginx ..."
  probe=install-probe-$$
  make_probe_image "$tmp/probe.png"
  # What a failure from here on leaves would be in a ledger that stays.
  add_probe || err "cannot add a client for the test: the lines above say why"
  failure='' path=''
  try_upload || failure=${failure:-the upload failed}
  remove_probe
  [ -z "$failure" ] || err "the test upload failed: $failure"
  say "Uploaded, fetched back, compared, and removed again."
}

add_probe() {
  # Any plan that takes an upload; those of the configuration, else the default ones.
  plans=$(sed -n 's/^[ \t]*\[plans\.\([A-Za-z0-9_-]*\)\].*/\1/p' "$config")
  for plan in ${plans:-free}; do
    if answer=$(cdn client add "$probe" --plan "$plan"); then
      token=$(printf '%s\n' "$answer" | sed -n 's/^client_token=//p')
      return 0
    fi
  done
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
    failure="the answer was: $answer"
    return 1
    ;;
  esac
  probe_curl --fail --output "$tmp/fetched" "$probe_url/p/$path" 2>>"$tmp/probe.said" || {
    failure="$probe_url/p/$path cannot be fetched: $(cat -- "$tmp/probe.said"); can the account $worker read $docroot?"
    return 1
  }
  cmp -s -- "$tmp/probe.png" "$tmp/fetched" || {
    failure="what $probe_url/p/$path gives is not what was uploaded"
    return 1
  }
  # The host's own rules must not get hold of what lies behind an image's name, a rule for PHP above all.
  status=$(probe_curl --output "$tmp/fetched" --write-out '%{http_code}' "$probe_url/p/$path/x.php") || status=none
  [ "$status" = 404 ] || {
    failure="$probe_url/p/$path/x.php was answered with $status instead of 404: a rule of the host comes before the images' locations"
    return 1
  }
}

upload() {
  printf '%s' "$token" >"$tmp/probe.token"
  answer=$(probe_curl -X POST -F "client_id=$probe" -F "client_token=<$tmp/probe.token" -F "store_duration=$1" \
    -F "image=@$tmp/probe.png;filename=probe.png" "$probe_url/image/v2/" 2>>"$tmp/probe.said") || {
    failure="no answer: $(cat -- "$tmp/probe.said")"
    return 1
  }
}

# Nothing of the test stays: neither image nor client, nor the directories that were made for it.
remove_probe() {
  rm -f -- "$tmp/probe.token"
  if [ -n "$path" ]; then
    cdn image delete "$path" >/dev/null || say "The test image $path could not be deleted"
    rmdir -- "$docroot/p/${path%/*}" "$docroot/p/${path%%/*}" 2>/dev/null || true
  fi
  cdn client remove "$probe" --yes >/dev/null 2>&1 || say "The test client $probe could not be removed"
}

# The smallest PNG: one grey pixel.
make_probe_image() {
  printf '\211PNG\015\012\032\012\000\000\000\015IHDR\000\000\000\001\000\000\000\001\010\000\000\000\000\072\176\233U' >"$1"
  printf '\000\000\000\012IDATx\332ch\000\000\000\202\000\201\332E\010\073\000\000\000\000IEND\256B\140\202' >>"$1"
}

selinux_hint() {
  if have getenforce && [ "$(getenforce)" = Enforcing ]; then
    echo "; SELinux is enforcing: 'ausearch -m avc -ts recent' shows whether it kept nginx from the socket or the images"
  fi
}
