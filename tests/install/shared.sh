# shellcheck shell=bash
# One of several hosts, under systemd: the ledger in PostgreSQL, a docroot that other hosts serve too, and a configuration copied from one
# of them. Removing this host leaves theirs alone.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

programs=$(compgen -G '/usr/lib/postgresql/*/bin' | tail -n 1)
[ -n "$programs" ] || {
  echo "PostgreSQL is not installed"
  exit 77
}
echo '127.0.0.1 cdn.example' >>/etc/hosts
mkdir /tmp/postgresql
printf 'secret\n' >/tmp/password
chmod 644 /tmp/password
chown nobody /tmp/postgresql
as_nobody() { (cd / && setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"); }
as_nobody "$programs/initdb" -U corenexis --auth=scram-sha-256 --pwfile=/tmp/password -D /tmp/postgresql/data >/tmp/initdb.log 2>&1 || cat /tmp/initdb.log
as_nobody "$programs/postgres" -D /tmp/postgresql/data -h 127.0.0.1 -k '' >/tmp/postgresql.log 2>&1 &
poll "$programs/pg_isready" -q -h 127.0.0.1

# As `scp` by root writes them below a umask of 077.
mkdir -m 700 /etc/corenexis-cdn
(
  umask 077
  cp /tmp/password /etc/corenexis-cdn/pg.password
  cat >/etc/corenexis-cdn/config.toml <<'CONFIG'
[site]
public_url = "http://cdn.example"
[storage]
docroot = "/srv/shared"
[ledger]
url = "postgresql://corenexis@127.0.0.1/postgres"
password_file = "/etc/corenexis-cdn/pg.password"
CONFIG
)
check "install, with a copied configuration and a test upload" ./install.sh --domain cdn.example --yes
same "the account may read what was copied" "750 root:corenexis-cdn 640 root:corenexis-cdn 640 root:corenexis-cdn" \
  "$(cd /etc/corenexis-cdn && stat -c '%a %U:%G' . config.toml pg.password | paste -sd ' ')"
path=$(upload cdn.example)
shared() { find /srv/shared | LC_ALL=C sort; }
shared >/tmp/shared
check "uninstall" ./install.sh --uninstall --yes
same "keeps images, pages and the spool of the others" "" "$(shared | diff /tmp/shared -)"
refuses "uninstall --purge names what it keeps" 0 "/srv/shared, images and pages: other hosts may serve it" ./install.sh --uninstall --purge --yes
mv "$log" /tmp/purged
check "and the ledger" grep -qF 'keep     the ledger postgresql://corenexis@127.0.0.1/postgres' /tmp/purged
check "and the password" grep -qF 'Kept /etc/corenexis-cdn' /tmp/purged
same "keeps them too" "" "$(shared | diff /tmp/shared -)"
check "an image is still there" test -s "/srv/shared/p/$path"
