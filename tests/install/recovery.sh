# shellcheck shell=bash disable=SC2016,SC2317
# What an administrator does to a host over the years, and where a run of the installer is killed: nothing of it costs an image, an edit
# or a file of the host.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

make_shop
start_nginx
snapshot >/tmp/before
purge() { ./install.sh --uninstall --purge --yes >/tmp/purge.log 2>&1; }

# killed_at COMMAND PATTERN ARGUMENT...: the installer, killed when it calls the command with an argument that fits.
killed_at() {
  local command=$1 pattern=$2 real
  shift 2
  real=$(command -v "$command")
  mkdir -p /tmp/faulty
  printf '#!/bin/sh\ncase "$*" in %s) kill -KILL "$PPID"; exit 1 ;; esac\nexec %s "$@"\n' "$pattern" "$real" >"/tmp/faulty/$command"
  chmod 755 "/tmp/faulty/$command"
  PATH=/tmp/faulty:$PATH ./install.sh "$@" >/tmp/killed.log 2>&1 </dev/null
  rm -f "/tmp/faulty/$command"
}

# ---------------------------------------------------------------- a journal that nobody noticed

killed_at curl '*client_token*' --domain shop.example --yes
check "killed during the test upload, the service works" curl -sf -H 'Host: shop.example' http://127.0.0.1/image/v2/health
path=$(upload shop.example)
sed -i 's/# The shop\./# The shop, edited weeks later./' /etc/nginx/sites-available/shop
sed -i 's/^contact = .*/contact = "abuse@example.com"/' /etc/corenexis-cdn/config.toml
cp /etc/corenexis-cdn/config.toml /tmp/edited.toml
refuses "a journal is shown, and nobody is asked without a terminal" 1 "did not end" ./install.sh
same "which changes nothing" 0 "$(serves shop.example "$path" && echo 0)"
check "with --yes the steps are kept" sh -c "./install.sh --yes 2>&1 | grep 'Keeping what is there'"
same "the image is served" 0 "$(serves shop.example "$path" && echo 0)"
check "the configuration is the edited one" cmp /tmp/edited.toml /etc/corenexis-cdn/config.toml
check "and so is the site" grep -q 'edited weeks later' /etc/nginx/sites-available/shop
same "the client of the test is gone" "1 0" "$(cdn client list --json | grep -c '"client_id"\|"id"') $(cdn client list --json | grep -c install-probe)"
check "purge" purge
sed -i 's/# The shop, edited weeks later\./# The shop./' /etc/nginx/sites-available/shop
unchanged "leaves nothing: the manifest knows what the killed run placed" /tmp/before
rm -f /tmp/token

killed_at curl '*client_token*' --domain shop.example --yes
path=$(upload shop.example)
/etc/init.d/corenexis-cdn stop
sed -i 's/# The shop\./# The shop, edited weeks later./' /etc/nginx/sites-available/shop
echo '# mine' >>/etc/nginx/snippets/corenexis-cdn.conf
check "undone, where the service does not run" sh -c "echo 'bogus;' >/etc/nginx/conf.d/bogus.conf; ./install.sh --yes 2>&1 | grep 'Undoing them'"
rm /etc/nginx/conf.d/bogus.conf
check "images stay" cmp samples/lake.jpg "/var/www/corenexis-cdn/p/$path"
check "the ledger stays" test -s /var/lib/corenexis-cdn/ledger.db
check "an edited site loses our line alone" sh -c "grep -q 'edited weeks later' /etc/nginx/sites-available/shop && ! grep -q corenexis /etc/nginx/sites-available/shop"
check "an edited file of ours stays" grep -q '# mine' /etc/nginx/snippets/corenexis-cdn.conf
check "the account stays, which owns them" id corenexis-cdn
rm /etc/nginx/snippets/corenexis-cdn.conf
check "installed again" ./install.sh --domain shop.example --yes
same "the image is served" 0 "$(serves shop.example "$path" && echo 0)"
check "purge" purge
sed -i 's/# The shop, edited weeks later\./# The shop./' /etc/nginx/sites-available/shop
rm -f /tmp/token

# ---------------------------------------------------------------- an upgrade and a removal that are killed

check "install" ./install.sh --domain shop.example --yes
path=$(upload shop.example)
wrong=''
for call in conf.d/corenexis-cdn.conf snippets/corenexis-cdn.conf bin/corenexis-cdn view/page.html; do
  printf '\n' >>dist/corenexis-cdn
  sed -i 's/^contact = .*/contact = "a'"$RANDOM"'@example.com"/; s/^burst = .*/burst = '"$RANDOM"'/' /etc/corenexis-cdn/config.toml
  killed_at mv "*/$call" --yes
  serves shop.example "$path" || wrong="$wrong $call(serving)"
  ./install.sh --yes >/tmp/run.log 2>&1 </dev/null || wrong="$wrong $call(next)"
  cmp dist/corenexis-cdn /usr/local/bin/corenexis-cdn >/dev/null || wrong="$wrong $call(binary)"
  [ ! -e /etc/nginx/snippets/corenexis-cdn.conf.new ] || wrong="$wrong $call(edited)"
  serves shop.example "$path" || wrong="$wrong $call(after)"
done
same "an upgrade killed anywhere goes on serving, and the next run finishes it" "" "$wrong"
for call in '*sites-available/shop' '*corenexis-cdn.conf' '*/page.html' '*manifest'; do
  killed_at rm "$call" --uninstall --yes
  killed_at mv "$call" --uninstall --yes
done
check "a removal killed anywhere is finished by the next" sh -c "./install.sh --uninstall --yes || ! grep -q created /etc/corenexis-cdn/install/manifest"
check "images stay" cmp samples/lake.jpg "/var/www/corenexis-cdn/p/$path"
check "the shop is as it was" sh -c "! grep -q corenexis /etc/nginx/sites-available/shop"
check "a purge after it" purge
unchanged "leaves nothing" /tmp/before
rm -f /tmp/token

# ---------------------------------------------------------------- what a purge keeps

site='/srv/the shop'
useradd --system --user-group corenexis-cdn
mkdir -p "$site/image" "$site/view" "$site/p/l/products" /srv/the "$site/p/l/ja1"
for file in image/logo.png view/index.html p/readme.txt p/l/products/a.jpg p/l/ja1/x.jpg keep.txt; do echo mine >"$site/$file"; done
echo mine >/srv/the/keep.txt
chown corenexis-cdn "$site/p"
snapshot >/tmp/with-site
mkdir -p /etc/corenexis-cdn
printf '[site]\npublic_url = "http://cdn.example.com"\n[storage]\ndocroot = "/srv/the shop"\n[server]\nlog = "/var/log/cdn log/cdn.log"\n' >/etc/corenexis-cdn/config.toml
check "install into a docroot that was there, with a space in its path" ./install.sh --domain cdn.example.com --yes
path=$(upload cdn.example.com)
check "an image is there" test -s "$site/p/$path"
mv "$site" "$site before"
cp -a "$site before" "$site"
check "purge" purge
rm -rf "$site before"
rm -f /etc/corenexis-cdn/config.toml
rmdir /etc/corenexis-cdn 2>/dev/null
unchanged "keeps the files of the site, and those beside its path" /tmp/with-site
rm -rf "$site" /srv/the /tmp/token
userdel corenexis-cdn

check "install" ./install.sh --domain cdn.example.com --yes
old=$(upload cdn.example.com)
/etc/init.d/corenexis-cdn stop
mv /var/www/corenexis-cdn /var/www/moved
sed -i 's|^docroot = .*|docroot = "/var/www/moved"|' /etc/corenexis-cdn/config.toml
check "the docroot moved" ./install.sh --yes
same "serves the images" 0 "$(serves cdn.example.com "$old" && echo 0)"
rm /etc/corenexis-cdn/config.toml
check "purge without the configuration" purge
same "removes the data of both places" "" "$(find /var/www/moved/p /var/www/moved/view /var/lib/corenexis-cdn /var/www/corenexis-cdn 2>/dev/null)"
rmdir /var/www/moved 2>/dev/null
unchanged "and nothing else" /tmp/before
rm -f /tmp/token

# ---------------------------------------------------------------- removal

check "install" ./install.sh --domain cdn.example.com --yes
edited=(/etc/nginx/snippets/corenexis-cdn.conf /etc/nginx/conf.d/corenexis-cdn.conf /etc/nginx/sites-available/corenexis-cdn
  /etc/cron.d/corenexis-cdn /etc/logrotate.d/corenexis-cdn /etc/init.d/corenexis-cdn)
for file in "${edited[@]}"; do echo "# mine: $file" >>"$file"; done
check "uninstall" ./install.sh --uninstall --yes
same "every edited file is kept, also those of the same name" 6 "$(grep -rl '^# mine: /etc' /etc/corenexis-cdn/edited | wc -l)"
same "the socket is gone" "" "$(find /run -name '*corenexis*')"
check "purge after the removal" purge
unchanged "leaves nothing" /tmp/before

# ---------------------------------------------------------------- nginx that was stopped

stop_nginx
check "install while nginx is stopped" ./install.sh --domain cdn.example.com --yes
cp "$log" /tmp/said
same "does not start it" "" "$(pgrep -x nginx)"
check "and says so" grep -q 'start nginx' /tmp/said
check "uninstall" ./install.sh --uninstall --purge --yes
same "neither does the removal" "" "$(pgrep -x nginx)"
killed_at mv '*/corenexis-cdn.conf' --domain cdn.example.com --yes
echo 'bogus;' >/etc/nginx/conf.d/bogus.conf
./install.sh --domain cdn.example.com --yes >/dev/null 2>&1 </dev/null
rm /etc/nginx/conf.d/bogus.conf
same "nor the undoing of a killed run" "" "$(pgrep -x nginx)"
unchanged "which leaves nothing" /tmp/before

# ---------------------------------------------------------------- what is missing

mv dist/corenexis-cdn /tmp/good
mv /usr/bin/spawn-fcgi /tmp/spawn-fcgi
printf '#!/bin/sh\necho "$*" >>/tmp/apt.calls\n' >/tmp/faulty/apt-get
printf '#!/bin/sh\necho "rustc 1.50.0 (old)"\n' >/tmp/faulty/rustc
cp /tmp/faulty/rustc /tmp/faulty/cargo
chmod 755 /tmp/faulty/*
refuses "everything missing is said in the dry run" 0 "Rust" env PATH="/tmp/faulty:$PATH" ./install.sh --domain cdn.example.com --dry-run
cp "$log" /tmp/said
check "packages too" grep -q spawn-fcgi /tmp/said
refuses "and before a package is installed" 1 "nothing was installed" env PATH="/tmp/faulty:$PATH" ./install.sh --domain cdn.example.com --yes
same "none was" "" "$(cat /tmp/apt.calls 2>/dev/null)"
mv /tmp/good dist/corenexis-cdn
mv /tmp/spawn-fcgi /usr/bin/spawn-fcgi
unchanged "and nothing changed" /tmp/before
