# shellcheck shell=bash disable=SC2016,SC2317
# The drills of the operator's handbook, with its own commands: backup, loss of the docroot, of the ledger, of both, restore; a move; a
# change of the domain; an upgrade and a downgrade.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

# handbook SECTION NUMBER prints a block of commands of a section, without comments and sudo.
handbook() {
  awk -v section="## $1" -v wanted="$2" '
    /^## / { inside = $0 == section }
    inside && /^```/ { if (open) open = 0; else { open = 1; block++ } next }
    inside && open && block == wanted { sub(/ +#.*/, ""); sub(/^sudo /, ""); print }' nginx/README.md
}
same "the handbook has the commands of a backup and of a restore" "backup rsync rsync restore verify" \
  "$({ handbook 'Backup and restore' 1 && handbook 'Backup and restore' 2; } | sed 's/^corenexis-cdn //; s/ .*//' | tr '\n' ' ' | sed 's/ $//')"

start_nginx
check "install" ./install.sh --domain cdn.example.com --yes
before=$(upload cdn.example.com)
mkdir /backup
check "the backup" sh -ec "$(handbook 'Backup and restore' 1)"
after=$(upload cdn.example.com)
served() { serves cdn.example.com "$1" >/dev/null && echo served; }

# drill NAME COMMAND EXPECTED: what the command loses comes back by the handbook's restore; EXPECTED is what is served of the image
# before the backup and the one after it.
drill() {
  /etc/init.d/corenexis-cdn stop
  sh -c "$2"
  refuses "$1 lost: the service does not start" 1 "did not start" /etc/init.d/corenexis-cdn start
  check "$1 lost: the restore" sh -ec "$(handbook 'Backup and restore' 2 | sed 's/^corenexis-cdn restore.*/& --yes/')"
  check "$1 lost: the service starts" /etc/init.d/corenexis-cdn start
  same "$1 lost: the images are served" "$3" "$(served "$before") $(served "$after")"
  check "$1 lost: the rows are those of the files" cdn verify
  check "$1 lost: a sweep deletes nothing" sh -c "runuser -u corenexis-cdn -- corenexis-cdn sweep | grep '^deleted 0 expired images (0 bytes), 0 abandoned uploads, 0 rows without files, 0 files without rows'"
  same "$1 lost: the client uploads with its token" served "$(served "$(upload cdn.example.com)")"
}

drill "the ledger" 'rm -r /var/lib/corenexis-cdn/*' "served served"
drill "the docroot" 'rm -r /var/www/corenexis-cdn' "served "
drill "both" 'rm -r /var/www/corenexis-cdn /var/lib/corenexis-cdn/*' "served "

# ---------------------------------------------------------------- another place, another name, another version

# `move` changes config.toml itself, or says which line to change.
mkdir /srv/images
/etc/init.d/corenexis-cdn stop
check "the docroot moves" sh -c "corenexis-cdn move docroot /srv/images/docroot"
grep -q '^docroot = "/srv/images/docroot"' /etc/corenexis-cdn/config.toml ||
  sed -i 's|^docroot = .*|docroot = "/srv/images/docroot"|' /etc/corenexis-cdn/config.toml
check "and is installed" ./install.sh --yes
same "the images are served from there" "/srv/images/docroot served" "$(cdn config get storage.docroot) $(served "$before")"
sed -i 's|^public_url = .*|public_url = "http://img.example.com"|' /etc/corenexis-cdn/config.toml
check "the domain changes" ./install.sh --yes
same "the images are served under the new name" 0 "$(serves img.example.com "$before" >/dev/null && echo 0)"
check "and the uploads answer with it" sh -c "curl -s -H 'Host: img.example.com' -F client_id=checks -F client_token=$(cat /tmp/token) -F store_duration=7D \
  -F image=@samples/lake.jpg http://127.0.0.1/image/v2/ | grep -q '\"url\":\"http://img.example.com/'"

cp dist/corenexis-cdn /tmp/this
printf '\n' >>dist/corenexis-cdn
check "an upgrade" ./install.sh --yes
cp /tmp/this dist/corenexis-cdn
check "and the version before again" ./install.sh --yes
check "which runs" cmp /tmp/this "$(readlink /proc/"$(cat /run/corenexis-cdn.pid)"/exe)"
same "the images are served" 0 "$(serves img.example.com "$before" >/dev/null && echo 0)"
check "purge" ./install.sh --uninstall --purge --yes
same "leaves nothing in either place" "" "$(find /srv/images/docroot /var/www/corenexis-cdn /var/lib/corenexis-cdn /etc/corenexis-cdn 2>/dev/null)"
