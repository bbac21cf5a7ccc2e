# shellcheck shell=bash disable=SC2016,SC2317
# An installation in a home directory, by an account that may do nothing else.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

useradd --create-home --shell /bin/bash tester
chmod 755 /home/tester
cp -a /source /home/tester/source
chown -R tester: /home/tester/source
snapshot >/tmp/before
cron_user() { crontab -u tester -l 2>/dev/null; }
as() { runuser -l tester -c "cd ~/source && $*"; }
home=/home/tester/.local/share/corenexis-cdn

check "dry run" as ./install.sh --user --port 8085 --dry-run
unchanged "a dry run writes nothing" /tmp/before
echo '5 5 * * * true' | crontab -u tester -
python3 -m http.server 8086 --bind 127.0.0.1 >/dev/null 2>&1 &
other=$!
poll curl -s http://127.0.0.1:8086/
refuses "a port in use" 1 "port 8086 is in use" as ./install.sh --user --port 8086 --yes
kill $other
# Once, the lines of others in the crontab were gone after a failure.
mkdir /tmp/faulty
printf '#!/bin/sh\ncase "$*" in *client_token*) exit 7 ;; esac\nexec /usr/bin/curl "$@"\n' >/tmp/faulty/curl
chmod 755 /tmp/faulty /tmp/faulty/curl
refuses "an upload that fails" 1 "Putting everything back" as PATH=/tmp/faulty:/usr/bin:/bin ./install.sh --user --port 8085 --yes
same "puts the crontab back" "5 5 * * * true" "$(cron_user)"
same "and everything else" "" "$(differences /tmp/before)"
same "and leaves nothing running" "" "$(pgrep -u tester 'corenexis|nginx')"
check "install" as ./install.sh --user --port 8085 --yes
same "only its home was written to" "" "$(differences /tmp/before | grep -v ' /home/tester/')"
same "the crontab has what it had and two lines more" "5 5 * * * true 3" "$(cron_user | head -n 1) $(cron_user | wc -l)"
same "everything runs as that account" "tester" "$(ps -o user= -C corenexis-cdn,nginx | sort -u)"

runuser -l tester -c '.local/bin/corenexis-cdn --config .config/corenexis-cdn/config.toml client add checks --plan 3m' | sed -n 's/^client_token=//p' >/tmp/token
url=http://127.0.0.1:8085
path=$(upload localhost $url)
same "an image is served" 0 "$(serves localhost "$path" $url && echo 0)"
same "another nginx on this host is not its business" "" "$(pgrep -u root nginx)"
check "the crontab line starts what runs already, and does nothing" runuser -l tester -c "$(cron_user | sed -n "s/^@reboot //p")"
check "the sweep's line sweeps" runuser -l tester -c "$(cron_user | sed -n 's/^\*\/10 \* \* \* \* //p')"

snapshot >/tmp/installed
check "install again" as ./install.sh --user --yes
unchanged "changes nothing" /tmp/installed

killed=$(cat $home/run/responder.pid)
kill -KILL "$killed"
poll ended "$killed"
check "a responder that was killed is back" poll curl -sf $url/image/v2/health

sed -i 's/^requests_per_second = .*/requests_per_second = 0/; s/^concurrent_requests = .*/concurrent_requests = 0/; s/^failed_attempts_per_minute = .*/failed_attempts_per_minute = 0/; s/^daily_uploads = 1000/daily_uploads = 1000000/' \
  /home/tester/.config/corenexis-cdn/config.toml
check "a changed configuration" as ./install.sh --user --yes
runuser -l tester -c '.local/bin/corenexis-cdn --config .config/corenexis-cdn/config.toml client add load --plan 3m' | sed -n 's/^client_token=//p' >/tmp/load.token
rm -f /tmp/enough
python3 install/load.py localhost 8085 /tmp/load.token >/tmp/load.out 2>&1 &
load=$!
printf '\n' >>/home/tester/source/dist/corenexis-cdn
check "upgrade under load" as ./install.sh --user --yes
touch /tmp/enough
wait $load
same "not one upload failed: $(head -n 1 /tmp/load.out)" 0 "$?$(sed 1d /tmp/load.out)"

# The supervisor looks at the logs when it starts, and every minute.
head -c 11000000 /dev/zero | tr '\0' x >>$home/logs/responder.log
check "restart" runuser -l tester -c "$home/corenexis-cdn-user stop && $home/corenexis-cdn-user start"
logs_anew_at_home() { curl -s -o /dev/null $url/image/v2/ && test -s $home/logs/responder.log.1 && grep -q event=request $home/logs/responder.log; }
check "a log of more than 10 MiB is rotated, and opened again" poll logs_anew_at_home
same "the old one is beside it" 0 "$(test "$(stat -c %s $home/logs/responder.log.1)" -gt 11000000 && echo 0)"

# After a reboot nothing runs, and the pid files of then are still there.
pkill -KILL -u tester
poll sh -c '! pgrep -u tester'
runuser -l tester -c "$(cron_user | sed -n "s/^@reboot //p")"
check "after a reboot the crontab's line brings it back" poll serves localhost "$path" $url

# Once, everybody could read the directories and logs of the account.
same "directories are for this account alone, and others get through the docroot" "700 700 700 711" \
  "$(stat -c '%a' $home $home/logs $home/nginx $home/docroot | tr '\n' ' ' | sed 's/ $//')"
same "logs are not for everybody" "" "$(find $home/logs $home/nginx/logs -type f -perm /o=rwx)"
check "images are" test "$(stat -c %a "$home/docroot/p/$path")" = 644

# Debian's fcgiwrap, as the account, behind an nginx of somebody else, without a responder.
runuser -l tester -c "$home/corenexis-cdn-user stop"
same "stopped, nothing is left running" "" "$(pgrep -u tester 'corenexis|nginx')"
chmod 711 $home
runuser -u tester -- fcgiwrap -s unix:/tmp/fcgiwrap.socket &
wrapper=$!
# 00010000: somebody listens.
poll grep -q ' 00010000 .*/tmp/fcgiwrap.socket' /proc/net/unix
chmod 666 /tmp/fcgiwrap.socket
sed 's|/run/fcgiwrap.socket|/tmp/fcgiwrap.socket|' $home/nginx/fcgiwrap/corenexis-cdn.http.conf >/etc/nginx/conf.d/cdn.conf
printf 'server {\n listen 8090;\n include %s;\n}\n' $home/nginx/fcgiwrap/corenexis-cdn.server.conf >/etc/nginx/conf.d/zz-cdn.conf
start_nginx
path=$(upload localhost http://127.0.0.1:8090)
same "through Debian's fcgiwrap an image is uploaded and served" 0 "$(serves localhost "$path" http://127.0.0.1:8090 && echo 0)"
check "no responder stays" poll sh -c '! pgrep -x corenexis-cdn'
kill $wrapper
stop_nginx
rm /etc/nginx/conf.d/cdn.conf /etc/nginx/conf.d/zz-cdn.conf

cp -a $home/docroot/p /tmp/images
check "uninstall" as ./install.sh --uninstall --user --yes
same "the crontab is as it was" "5 5 * * * true" "$(cron_user)"
check "images and ledger stay" sh -c "diff -r /tmp/images $home/docroot/p && test -s $home/ledger.db"
check "install again" as ./install.sh --user --yes
check "purge" as ./install.sh --uninstall --user --purge --yes
same "nothing of it is left in the home" "" "$(find /home/tester -path /home/tester/source -prune -o -name '*corenexis*' -print)"

# Once, an account without crontab had no sweep and was told so in a line among many; a second run said that all was well.
mv /usr/bin/crontab /tmp/crontab
check "without crontab" as ./install.sh --user --port 8085 --yes
cp "$log" /tmp/said
check "it says what to run after a reboot" grep -q 'after a reboot  *.*corenexis-cdn-user start' /tmp/said
check "and every ten minutes" grep -q 'every ten minutes  .* sweep' /tmp/said
check "each time" sh -c "runuser -l tester -c 'cd ~/source && ./install.sh --user --yes' 2>&1 | grep 'every ten minutes'"
rm /home/tester/.config/corenexis-cdn/config.toml
mkdir -p /var/www/corenexis-cdn/p && echo mine >/var/www/corenexis-cdn/p/keep
check "purge without the configuration" as ./install.sh --uninstall --user --purge --yes
check "the docroot of the system stays" test -s /var/www/corenexis-cdn/p/keep
same "nothing of it is left in the home" "" "$(find /home/tester -path /home/tester/source -prune -o -name '*corenexis*' -print)"
mv /tmp/crontab /usr/bin/crontab

# For the nginx of the host's administrator.
check "--no-nginx" as ./install.sh --user --no-nginx --domain cdn.example.com --port 9009 --yes
printf 'include %s;\nserver {\n listen 8091;\n server_name cdn.example.com;\n include %s;\n}\n' $home/nginx/conf/corenexis-cdn.http.conf \
  $home/nginx/conf/corenexis-cdn.server.conf >/etc/nginx/conf.d/cdn.conf
start_nginx
runuser -l tester -c '.local/bin/corenexis-cdn --config .config/corenexis-cdn/config.toml client add checks --plan 3m' | sed -n 's/^client_token=//p' >/tmp/token
path=$(upload cdn.example.com http://127.0.0.1:8091)
same "the files handed over work in the host's nginx" 0 "$(serves cdn.example.com "$path" http://127.0.0.1:8091 && echo 0)"
check "purge" as ./install.sh --uninstall --user --purge --yes
