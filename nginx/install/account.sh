# shellcheck shell=sh
# The account that owns images and ledger and runs the responder. Root runs nothing in its directories but as that account.

make_account() {
  if id -- "$ACCOUNT" >/dev/null 2>&1; then
    [ -z "$(recorded "$ACCOUNT" 1)" ] || remember account - "$ACCOUNT"
    return 0
  fi
  journal account "$ACCOUNT"
  remember account - "$ACCOUNT"
  nologin=$(command -v nologin || echo /bin/false)
  if have useradd; then
    useradd --system --user-group --home-dir "$data" --no-create-home --shell "$nologin" "$ACCOUNT"
  else
    addgroup -S "$ACCOUNT"
    adduser -S -D -H -h "$data" -s "$nologin" -G "$ACCOUNT" "$ACCOUNT"
  fi
}

remove_account() {
  if have userdel; then
    tries=50
    while :; do
      refusal=0
      userdel -- "$ACCOUNT" 2>"$tmp/userdel" || refusal=$?
      # 8: a process of the account is still ending.
      if [ "$refusal" != 8 ] || [ "$tries" = 0 ]; then break; fi
      tries=$((tries - 1))
      nap
    done
    [ "$refusal" != 8 ] || say "The account $ACCOUNT could not be removed: $(cat -- "$tmp/userdel")"
    ! has_group "$ACCOUNT" || groupdel -- "$ACCOUNT" 2>/dev/null
  else
    deluser "$ACCOUNT" 2>/dev/null
    ! has_group "$ACCOUNT" || delgroup "$ACCOUNT" 2>/dev/null
  fi
  return 0
}

# as_account COMMAND... runs it as the account that owns images and ledger.
as_account() {
  if [ -n "$user_mode" ]; then
    "$@" </dev/null
  elif ! id -- "$ACCOUNT" >/dev/null 2>&1; then
    return 1
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

# cdn ARGUMENT... runs the installed program as the account.
cdn() {
  as_account "$prefix/bin/corenexis-cdn" --config "$config" "$@"
}

cdn_by_hand() {
  if [ -n "$user_mode" ]; then
    echo "$(quote "$prefix/bin/corenexis-cdn") --config $(quote "$config")"
  elif have sudo || ! have runuser; then
    echo "sudo -u $ACCOUNT $prefix/bin/corenexis-cdn"
  else
    echo "runuser -u $ACCOUNT -- $prefix/bin/corenexis-cdn"
  fi
}
