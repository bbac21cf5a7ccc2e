# shellcheck shell=bash disable=SC2016,SC2317
# The .rpm on a copy of this machine with the layout of Alma's nginx. rpm unpacks it and runs its scripts; what dnf does before, finding
# the packages that it requires, is left out.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

rpm=$(find /source/extra -name '*.rpm')
if [ -z "$rpm" ]; then
  echo "no .rpm was made: rpmbuild is not installed"
  exit 77
fi
# Debian's rpm wants to be told that it is meant.
rpm() {
  command rpm --dbpath /tmp/rpmdb --force-debian "$@"
}
mv /etc/nginx /etc/nginx.debian
groupadd --system nginx && useradd --system --no-user-group -g nginx nginx
cp -a install/layouts/alma /etc/nginx
start_nginx
snapshot >/tmp/before

# ---------------------------------------------------------------- what is in it

# A release for Red Hat Enterprise Linux 9, whose glibc is 2.34, requires nothing else. The program of this test may need a newer one.
rpm -qp --requires "$rpm" >/tmp/requires
same "it requires what Red Hat Enterprise Linux has" "" \
  "$(grep -v -e '^rpmlib(' -e '^lib\(c\|m\|gcc_s\|dl\|pthread\|rt\)\.so\.[0-9]' -e '^ld-linux' -e '^rtld(GNU_HASH)' -e '^curl' -e '^util-linux' -e '^/bin/sh' /tmp/requires)"
same "all of it is below /usr and root's" "" "$(rpm -qp --qf '[%{FILENAMES} %{FILEUSERNAME}:%{FILEGROUPNAME}\n]' "$rpm" | grep -v '^/usr/.* root:root$')"
check "with licence, manual pages, completions and installer" sh -c "rpm -qpl $rpm | grep -c -e /LICENSE -e /corenexis-cdn.1.gz -e /corenexis-cdn.toml.5.gz -e /_corenexis-cdn -e '/install\.sh$' | grep -x 5"

# ---------------------------------------------------------------- installation, upgrade, removal

check "installed" rpm -i --nodeps "$rpm"
same "starts nothing, and leaves nginx alone" "" "$(pgrep -x corenexis-cdn)$(find /etc -name '*corenexis*')"
check "setup" corenexis-cdn setup --domain cdn.example.com --yes
path=$(upload cdn.example.com)
same "an image is served" 0 "$(serves cdn.example.com "$path" && echo 0)"
same "the program is the package's" /usr/bin/corenexis-cdn "$(readlink "/proc/$(cat /run/corenexis-cdn.pid)/exe")"

# another VERSION SCHEMA makes /tmp/VERSION.rpm, with another program.
another() {
  rm -rf /tmp/tree /tmp/top
  mkdir -p /tmp/tree /tmp/top
  (cd / && rpm -qpl "$rpm" | while read -r file; do [ ! -f "$file" ] || cp --parents -p ".$file" /tmp/tree; done)
  printf '\n' >>/tmp/tree/usr/bin/corenexis-cdn
  sed -e "s/@SCHEMA@/$2/" nginx/package/preinst >/tmp/preinst
  sed -e "s/@VERSION@/$1/" -e '/^@PREINST@$/{r /tmp/preinst' -e 'd}' nginx/package/corenexis-cdn.spec >/tmp/corenexis-cdn.spec
  rpmbuild -bb --quiet --define "_topdir /tmp/top" --define "staged /tmp/tree" /tmp/corenexis-cdn.spec >/tmp/rpmbuild.log 2>&1
  cp /tmp/top/RPMS/*/*.rpm "/tmp/$1.rpm"
}
another 9.0.0 999
another 0.0.9 0
old=$(cat /run/corenexis-cdn.pid)
check "an upgrade" rpm -U --nodeps /tmp/9.0.0.rpm
check "renews the responder" sh -c "test \"\$(cat /run/corenexis-cdn.pid)\" != $old"
same "and serves" 0 "$(serves cdn.example.com "$path" && echo 0)"
refuses "a program that is older than the ledger is not installed" 1 "reads versions up to 0" rpm -U --nodeps --oldpackage /tmp/0.0.9.rpm
same "the version before stays" 9.0.0 "$(rpm -q --qf '%{VERSION}' corenexis-cdn)"
check "removed" rpm -e corenexis-cdn
same "nothing runs" "" "$(pgrep -x corenexis-cdn)"
check "nginx goes on" sh -c 'nginx -t && curl -s -o /dev/null http://127.0.0.1/'
check "images stay" test -s "/var/www/corenexis-cdn/p/$path"
refuses "nor after the removal" 1 "reads versions up to 0" rpm -i --nodeps /tmp/0.0.9.rpm
check "installed again" rpm -i --nodeps "$rpm"
check "and set up again" corenexis-cdn setup --yes
same "the image is served again" 0 "$(serves cdn.example.com "$path" && echo 0)"
check "purged, as the handbook says" corenexis-cdn setup --uninstall --purge --yes
check "and removed" rpm -e corenexis-cdn
unchanged "leaves nothing" /tmp/before
same "nor below /usr" "" "$(find /usr -name '*corenexis*')"
