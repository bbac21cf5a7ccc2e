# shellcheck shell=bash disable=SC2016,SC2317
# The .deb on a Debian as debootstrap leaves it: installed, set up, upgraded over an installation of install.sh, removed, purged.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

export DEBIAN_FRONTEND=noninteractive
deb=$(find /source/extra -name '*.deb')
tarball=$(find /source/extra -name '*.tar.gz')
same "a Debian with nothing on it" "" "$(command -v nginx curl cargo)"
snapshot_all() {
  find / -xdev \( -path /proc -o -path /source -o -path /tmp -o -path /run -o -path /sys -o -path /dev \) -prune -o -name '*corenexis*' -print | sort
}

# ---------------------------------------------------------------- package, setup, upload

began=$(date +%s%N)
check "the package" apt-get install -y --no-install-recommends "$deb"
same "starts nothing, and leaves nginx alone" "" "$(find /etc /run /var/lib -xdev -name '*corenexis*' -not -path '/var/lib/dpkg/*' -not -path '/var/cache/*' 2>/dev/null)"
check "setup" corenexis-cdn setup --domain cdn.example.com --yes
path=$(upload cdn.example.com)
same "an image is served" 0 "$(serves cdn.example.com "$path" && echo 0)"
echo "ok from the package to the first image in $((($(date +%s%N) - began) / 1000000)) ms"
same "the program is the package's" "/usr/bin/corenexis-cdn" "$(readlink "/proc/$(cat /run/corenexis-cdn.pid)/exe")"
check "the unit files name it" grep -q /usr/bin/corenexis-cdn /etc/init.d/corenexis-cdn
same "nothing is below /usr/local" "" "$(find /usr/local -name '*corenexis*')"
check "the manual page and the completions" sh -c 'dpkg -L corenexis-cdn | grep -e man1/corenexis-cdn.1.gz -e completions/corenexis-cdn'
check "setup again has nothing to do" sh -c 'corenexis-cdn setup 2>&1 | grep "nothing to do"'

# ---------------------------------------------------------------- upgrade, downgrade

# another VERSION makes a package of that version, with another program.
another() {
  rm -rf /tmp/another
  dpkg-deb -R "$deb" /tmp/another
  sed -i "s/^Version: .*/Version: $1/" /tmp/another/DEBIAN/control
  printf '\n' >>/tmp/another/usr/bin/corenexis-cdn
  sed -i "s/^KNOWN=.*/KNOWN=${2:-$(sed -n 's/^KNOWN=//p' /tmp/another/DEBIAN/preinst)}/" /tmp/another/DEBIAN/preinst
  dpkg-deb --root-owner-group -Znone -b /tmp/another /tmp/another.deb >/dev/null
}
old=$(cat /run/corenexis-cdn.pid)
another 9.0.0-1
check "an upgrade" dpkg -i /tmp/another.deb
check "renews the responder" sh -c "test \"\$(cat /run/corenexis-cdn.pid)\" != $old"
same "and serves" 0 "$(serves cdn.example.com "$path" && echo 0)"
another 0.0.9-1 0
refuses "a program that is older than the ledger is not installed" 1 "reads versions up to 0" dpkg -i --force-downgrade /tmp/another.deb
same "the version before stays" "9.0.0-1 install ok installed" "$(dpkg-query -W -f '${Version} ${Status}' corenexis-cdn)"
same "and serves" 0 "$(serves cdn.example.com "$path" && echo 0)"

# ---------------------------------------------------------------- removal, purge

check "removal" dpkg -r corenexis-cdn
same "nothing runs" "" "$(cat /proc/[0-9]*/comm | grep corenexis)"
check "nginx goes on" sh -c 'nginx -t && curl -s -o /dev/null http://127.0.0.1/'
check "images stay" test -s "/var/www/corenexis-cdn/p/$path"
another 0.0.9-1 0
refuses "nor after the removal" 1 "reads versions up to 0" dpkg -i /tmp/another.deb
check "installed again" dpkg -i "$deb"
check "and set up again" corenexis-cdn setup --yes
same "the image is served again" 0 "$(serves cdn.example.com "$path" && echo 0)"
check "a purge that nobody answers" dpkg -P corenexis-cdn
check "deletes no image" test -s "/var/www/corenexis-cdn/p/$path"
check "once more" sh -c "dpkg -i $deb && corenexis-cdn setup --yes"
echo corenexis-cdn corenexis-cdn/purge-data boolean true | debconf-set-selections
check "a purge that was agreed to" dpkg -P corenexis-cdn
same "leaves nothing" "" "$(snapshot_all)"
same "and no account" "" "$(grep corenexis /etc/passwd /etc/group)"

# ---------------------------------------------------------------- archive, then package

rm -f /tmp/token
tar -xzf "$tarball" -C /tmp
began=$(date +%s%N)
check "the archive" "/tmp/$(basename "$tarball" .tar.gz)/install.sh" --domain cdn.example.com --no-test --yes
path=$(upload cdn.example.com)
same "serves" 0 "$(serves cdn.example.com "$path" && echo 0)"
echo "ok from the archive to the first image in $((($(date +%s%N) - began) / 1000000)) ms"
check "the package takes it over" dpkg -i "$deb"
same "with its own program" "/usr/bin/corenexis-cdn" "$(readlink "/proc/$(cat /run/corenexis-cdn.pid)/exe")"
same "the archive's is gone" "" "$(find /usr/local -name '*corenexis*')"
same "images, clients and quota are the same" 0 "$(serves cdn.example.com "$path" && upload cdn.example.com >/dev/null && echo 0)"
check "the options of the installation too" grep -q -- '--no-test' /etc/corenexis-cdn/install/manifest
echo corenexis-cdn corenexis-cdn/purge-data boolean true | debconf-set-selections
check "purged" dpkg -P corenexis-cdn
same "leaves nothing" "" "$(snapshot_all)"
