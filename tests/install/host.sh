# shellcheck shell=bash disable=SC2016,SC2317
# An installation on a host without systemd: fresh, again, upgraded, removed. The init script and spawn-fcgi run for real.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

make_shop
start_nginx
same "the shop works before" 0 "$(shop_works && echo 0)"
snapshot >/tmp/before

# ---------------------------------------------------------------- before anything

check "dry run" ./install.sh --domain shop.example --dry-run
unchanged "a dry run writes nothing" /tmp/before
refuses "without a terminal nobody is asked" 1 "use --yes" ./install.sh --domain shop.example
refuses "a first installation needs a name" 2 "needs --domain" ./install.sh --yes
refuses "an unknown option" 2 "unknown option" ./install.sh --frobnicate
refuses "nothing to remove" 1 "nothing was installed" ./install.sh --uninstall --yes
echo 'bogus;' >/etc/nginx/conf.d/bogus.conf
refuses "nginx has to accept what it has" 1 "nothing was changed" ./install.sh --domain shop.example --yes
rm /etc/nginx/conf.d/bogus.conf
refuses "root is needed" 1 "this needs root" runuser -u nobody -- ./install.sh --domain shop.example
unchanged "refusals write nothing" /tmp/before
check "on a terminal it asks, and takes no for no" sh -c "echo n | script -qec './install.sh --domain shop.example' /dev/null | grep 'Nothing was changed'"
unchanged "no writes nothing" /tmp/before
check "and yes for yes" sh -c "echo y | script -qec './install.sh --domain shop.example' /dev/null | grep 'is installed'"
check "purge" ./install.sh --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before

# ---------------------------------------------------------------- into a site that is there

check "install into the shop's site" ./install.sh --domain shop.example --yes
same "the shop's PHP and static rules go on" 0 "$(shop_works && echo 0)"
same "one line was put into the site" "    include /etc/nginx/snippets/corenexis-cdn.conf; # corenexis-cdn: placed by install.sh" \
  "$(diff <(grep -v '^$' /etc/nginx/sites-available/shop) <(grep -v 'corenexis' /etc/nginx/sites-available/shop | grep -v '^$') | sed -n 's/^< //p')"
same "nothing of the test is left" "0" "$(cdn client list --json | grep -c probe)$(find /var/www/corenexis-cdn/p -mindepth 1 ! -name .identity)"
path=$(upload shop.example)
same "an image is served" 0 "$(serves shop.example "$path" && echo 0)"
same "a rule of the shop never sees what lies behind it" 404 "$(curl -s -o /dev/null -w '%{http_code}' -H 'Host: shop.example' "http://127.0.0.1/p/$path/x.php")"
same "the socket is for nginx alone" "660 corenexis-cdn:www-data" "$(stat -c '%a %U:%G' /run/corenexis-cdn.sock)"
same "the configuration is not for everybody" "640 root:corenexis-cdn" "$(stat -c '%a %U:%G' /etc/corenexis-cdn/config.toml)"
same "the pages belong to root" "root:root" "$(stat -c '%U:%G' /var/www/corenexis-cdn/view/page.html)"
check "the manual pages are there" sh -c 'MANPATH=/usr/local/share/man man -w corenexis-cdn corenexis-cdn.toml || test -s /usr/local/share/man/man5/corenexis-cdn.toml.5'
check "and the completions" grep -q corenexis /usr/local/share/bash-completion/completions/corenexis-cdn
check "the cron file is accepted by name and owner" test "$(stat -c '%a %U' /etc/cron.d/corenexis-cdn)" = "644 root"
check "the cron line sweeps" runuser -u corenexis-cdn -- sh -c "$(sed -n 's/^\*\/10 \* \* \* \* corenexis-cdn //p' /etc/cron.d/corenexis-cdn); [ -z \"\$output\" ] || echo \"\$output\" | grep -q '^deleted 0 expired'"
check "logrotate accepts its file" logrotate -d /etc/logrotate.d/corenexis-cdn
check "logrotate rotates" logrotate -f /etc/logrotate.d/corenexis-cdn
check "and SIGUSR1 opens the log again" poll logs_anew shop.example

snapshot >/tmp/installed
check "install a second time" ./install.sh --domain shop.example --yes
unchanged "the second run changes nothing" /tmp/installed
check "install a third time, without any option" sh -c './install.sh 2>&1 | grep "nothing to do"'
unchanged "the third run changes nothing" /tmp/installed
refuses "another name than the configuration has" 1 "says public_url" ./install.sh --domain other.example --yes

# ---------------------------------------------------------------- upgrades

cp -p /etc/nginx/snippets/corenexis-cdn.conf /tmp/placed
echo '# mine' >>/etc/nginx/snippets/corenexis-cdn.conf
cp -p /etc/nginx/snippets/corenexis-cdn.conf /tmp/edited
printf '\n' >>dist/corenexis-cdn
old=$(cat /run/corenexis-cdn.pid)
stat -c '%Y %n' /etc/nginx/conf.d/corenexis-cdn.conf >/tmp/unchanged
check "upgrade" ./install.sh --yes
check "what was edited is kept" cmp /tmp/edited /etc/nginx/snippets/corenexis-cdn.conf
check "and the new version lies beside it" cmp /tmp/placed /etc/nginx/snippets/corenexis-cdn.conf.new
check "the binary is the new one" cmp dist/corenexis-cdn /usr/local/bin/corenexis-cdn
check "the responder is another process" test "$(cat /run/corenexis-cdn.pid)" != "$old" -a ! -e "/proc/$old"
same "a file that is the same keeps its time" "$(cat /tmp/unchanged)" "$(stat -c '%Y %n' /etc/nginx/conf.d/corenexis-cdn.conf)"
same "the image is still served" 0 "$(serves shop.example "$path" && echo 0)"
snapshot >/tmp/upgraded
check "after the upgrade there is nothing to do" ./install.sh --yes
unchanged "and nothing is done" /tmp/upgraded
mv /etc/nginx/snippets/corenexis-cdn.conf.new /etc/nginx/snippets/corenexis-cdn.conf
check "the new version taken over" ./install.sh --yes

sed -i 's/^max_file_size = "10MiB"/max_file_size = "20MiB"/' /etc/corenexis-cdn/config.toml
check "a changed configuration reaches nginx" ./install.sh --yes
check "as its body size" grep -q 'client_max_body_size 42008576' /etc/nginx/snippets/corenexis-cdn.conf
cp -p /etc/corenexis-cdn/config.toml /tmp/good.toml
sed -i 's/^max_side = .*/max_side = 0/' /etc/corenexis-cdn/config.toml
refuses "a configuration that cannot be used" 1 "max_side" ./install.sh --yes
cp -p /tmp/good.toml /etc/corenexis-cdn/config.toml
same "harms nobody" 0 "$(serves shop.example "$path" && echo 0)"

# Once, a plan renamed in the configuration took the service down, though a client had it.
sed -i 's/^\[plans.3m\]/[plans.quarter]/' /etc/corenexis-cdn/config.toml
old=$(cat /run/corenexis-cdn.pid)
refuses "a plan that a client has is renamed: the refusal names both" 1 "3m" ./install.sh --yes
check "what was checked says so" sh -c "./install.sh --yes 2>&1 | grep 'the service would not start'"
same "the running responder was not touched" "$old" "$(cat /run/corenexis-cdn.pid)"
same "and serves" 0 "$(serves shop.example "$path" && echo 0)"
cp -p /tmp/good.toml /etc/corenexis-cdn/config.toml

/etc/init.d/corenexis-cdn stop
check "a responder that was stopped is started" ./install.sh --yes
killed=$(cat /run/corenexis-cdn.pid)
kill -KILL "$killed"
poll ended "$killed"
check "and one that was killed" ./install.sh --yes

# A ledger that a newer version has migrated.
python3 -c 'import sqlite3; print(sqlite3.connect("/var/lib/corenexis-cdn/ledger.db").execute("PRAGMA user_version").fetchone()[0])' >/tmp/schema
/etc/init.d/corenexis-cdn stop
python3 -c 'import sqlite3; sqlite3.connect("/var/lib/corenexis-cdn/ledger.db").execute("PRAGMA user_version = 99")'
printf '\n' >>dist/corenexis-cdn
snapshot >/tmp/newer
refuses "a program that is older than the ledger is not installed" 1 "99" ./install.sh --yes
unchanged "and nothing is changed" /tmp/newer
python3 -c "import sqlite3; sqlite3.connect('/var/lib/corenexis-cdn/ledger.db').execute('PRAGMA user_version = $(cat /tmp/schema)')"
check "with its ledger it is" ./install.sh --yes

check "--upgrade needs no other option" sh -c './install.sh --upgrade --yes 2>&1 | grep "nothing to do"'
find . -type f ! -name SHA256SUMS -exec sha256sum {} + >SHA256SUMS
check "an archive that is whole is installed" sh -c './install.sh --yes 2>&1 | grep "nothing to do"'
printf '\n' >>nginx/README.md
refuses "an archive that is damaged is not" 1 "nginx/README.md: FAILED" ./install.sh --yes
rm SHA256SUMS
check "a client for tests" sh -c "./install.sh --yes --with-test-client | grep '^client_token=[0-9a-f]\{32\}$'"

# ---------------------------------------------------------------- removal

cp -a /var/www/corenexis-cdn/p /tmp/images
check "uninstall" ./install.sh --uninstall --yes
check "images stay" diff -r /tmp/images /var/www/corenexis-cdn/p
check "the configuration stays" cmp /tmp/good.toml /etc/corenexis-cdn/config.toml
check "the ledger stays" test -s /var/lib/corenexis-cdn/ledger.db
grep ' /etc/nginx' /tmp/before >/tmp/nginx.before
same "/etc/nginx is as before, byte for byte" "" "$(snapshot | grep ' /etc/nginx' | diff /tmp/nginx.before -)"
same "the shop goes on" 0 "$(shop_works && echo 0)"
check "installed again" ./install.sh --domain shop.example --yes
same "it serves the old image" 0 "$(serves shop.example "$path" && echo 0)"
check "uninstall --purge" ./install.sh --uninstall --purge --yes
unchanged "a purge leaves nothing" /tmp/before
same "no process is left" "" "$(pgrep -x corenexis-cdn)"

# ---------------------------------------------------------------- a server block of its own

rm -f /tmp/token
unknown=$(curl -s -H 'Host: nobody.example' http://127.0.0.1/)
check "install for a name that no site has" ./install.sh --domain cdn.example.com --yes
path=$(upload cdn.example.com)
same "it serves" 0 "$(serves cdn.example.com "$path" && echo 0)"
same "the default site stays the default" "$unknown" "$(curl -s -H 'Host: nobody.example' http://127.0.0.1/)"
check "nginx's own errors are JSON there" sh -c "curl -s -X TRACE -H 'Host: cdn.example.com' http://127.0.0.1/ | grep -q '^{\"error\"'"
snapshot >/tmp/installed
check "run again" ./install.sh --yes
unchanged "changes nothing" /tmp/installed
# What somebody else put there before us comes back.
check "purge" ./install.sh --uninstall --purge --yes
unchanged "purge leaves nothing" /tmp/before
printf '# older hand-made file\n' >/etc/nginx/conf.d/corenexis-cdn.conf
printf '#!/bin/sh\n' >/usr/local/bin/corenexis-cdn
snapshot >/tmp/handmade
check "install over files of somebody else" ./install.sh --domain cdn.example.com --yes
check "purge" ./install.sh --uninstall --purge --yes
unchanged "they are put back" /tmp/handmade
rm /etc/nginx/conf.d/corenexis-cdn.conf /usr/local/bin/corenexis-cdn

# ---------------------------------------------------------------- other layouts, and less than everything

check "--no-nginx --no-service --no-cron" ./install.sh --domain cdn.example.com --no-nginx --no-service --no-cron --yes
same "leave /etc/nginx alone" "" "$(snapshot | grep ' /etc/nginx' | diff /tmp/nginx.before -)"
check "and purge" ./install.sh --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before

check "--prefix" ./install.sh --domain cdn.example.com --prefix /opt/cdn --port 8081 --yes
check "is where the binary is" test -x /opt/cdn/bin/corenexis-cdn -a ! -e /usr/local/bin/corenexis-cdn
check "--port is where it answers" sh -c "curl -sf -H 'Host: cdn.example.com' http://127.0.0.1:8081/image/v2/health"
check "run again finds both" sh -c "./install.sh --prefix /opt/cdn --yes 2>&1 | grep 'nothing to do'"
check "purge" ./install.sh --uninstall --purge --yes
unchanged "leaves nothing" /tmp/before

stop_nginx
mv /etc/nginx /etc/nginx.debian
groupadd --system nginx && useradd --system --no-user-group -g nginx nginx
cp -a install/layouts/alma /etc/nginx
start_nginx
snapshot >/tmp/before
check "Alma: install" ./install.sh --domain cdn.example.com --yes
check "Alma: conf.d is the http context" test -s /etc/nginx/conf.d/corenexis-cdn.conf -a -s /etc/nginx/conf.d/zz-corenexis-cdn.conf
check "Alma: purge" ./install.sh --uninstall --purge --yes
unchanged "Alma: nothing is left" /tmp/before
