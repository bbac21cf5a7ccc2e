# shellcheck shell=bash disable=SC2317
# The demo of a cluster, from the archive, on a Debian as debootstrap leaves it: it brings PostgreSQL and SeaweedFS with it. A room has no
# network, so that pip finds SeaweedFS beside the archive.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

export PIP_NO_INDEX=1 PIP_FIND_LINKS=/source/extra
tarball=$(find /source/extra -name '*.tar.gz')
tar -xzf "$tarball" -C /opt
demo() {
  "/opt/$(basename "$tarball" .tar.gz)/install.sh" --demo --cluster --once --state /tmp/cluster "$@"
}
running() {
  cat /proc/[0-9]*/comm 2>/dev/null | grep -E '^(postgres|weed|corenexis)'
}

same "a Debian with nothing on it" "" "$(command -v nginx curl python3 weed cargo)"
began=$SECONDS
check "the check passes" demo
cp "$log" /tmp/transcript
echo "ok in $((SECONDS - began)) seconds, with all that it installs"
check "it says what it installs" sh -c "grep 'packages .* postgresql .* nginx' /tmp/transcript && grep 'SeaweedFS .*/tmp/cluster/tools' /tmp/transcript"
same "nothing is left running" "" "$(running)"
same "Debian's PostgreSQL has no cluster of its own" "" "$(
  ls -A /etc/postgresql 2>/dev/null
  find /var/lib/postgresql -name PG_VERSION
)"
same "and would make one when it is told to" "" "$(ls -A /etc/postgresql-common/createcluster.d 2>/dev/null)"
same "SeaweedFS is the demo's alone" "" "$(command -v weed)"
check "the next one finds all of it" demo
cp "$log" /tmp/again
same "and says nothing of installing" "" "$(grep -i install /tmp/again)"
same "nothing is left running" "" "$(running)"
sed 's/^/| /' /tmp/transcript
