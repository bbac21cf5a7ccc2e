# shellcheck shell=bash disable=SC2016,SC2317
# A Debian as debootstrap leaves it: no nginx, no curl, no cron, nothing that runs. One command, and it serves images.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

same "a Debian with nothing on it" "" "$(command -v nginx curl spawn-fcgi crontab)"
check "one command" ./install.sh --domain cdn.example.com --yes
cp "$log" /tmp/transcript
check "a cron runs, which the sweep needs" sh -c 'kill -0 "$(cat /run/crond.pid)"'
path=$(upload cdn.example.com)
same "serves an image" 0 "$(serves cdn.example.com "$path" && echo 0)"
check "the documentation is there" sh -c "curl -sf -H 'Host: cdn.example.com' http://127.0.0.1/image/docs/ | grep -q cdn.example.com"
check "the command again has nothing to do" sh -c "./install.sh --yes 2>&1 | grep 'nothing to do'"
# The boot of a machine without systemd: what is started then.
/etc/init.d/corenexis-cdn stop
stop_nginx
check "the init script is entered for the boot" sh -c 'ls /etc/rc2.d | grep -q "^S..corenexis-cdn$"'
check "nginx" /etc/init.d/nginx start
check "and the responder come up" /etc/init.d/corenexis-cdn start
same "and serve" 0 "$(serves cdn.example.com "$path" && echo 0)"
check "purge" ./install.sh --uninstall --purge --yes
same "leaves nothing" "" "$(find / -xdev -name '*corenexis*' -not -path '/source/*' -not -path '/proc/*' -not -path '/tmp/*')"
sed 's/^/| /' /tmp/transcript
