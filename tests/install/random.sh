# shellcheck shell=bash disable=SC2016,SC2317
# Random sequences of what administrators do and of what breaks: install, upgrade, edit, upload, sweep, restore, a docroot whose disk is
# not mounted, kills of the installer and of the responder, removal. After each step every acknowledged image is whole on the disk and
# the site's file has only our line more; at the end all images are served, and a purge leaves what is not ours.
#
#   random.sh [SEQUENCES] [SEED]       a failure names the seed and the steps
# shellcheck source=tests/install/checks.sh
. install/checks.sh

sequences=${1:-3} seed=${2:-1}
make_shop
start_nginx
site=/etc/nginx/sites-available/shop
docroot=/var/www/corenexis-cdn
mkdir -p /tmp/faulty /srv/away
cp dist/corenexis-cdn /tmp/good
installer() { ./install.sh "$@" >/tmp/run.log 2>&1 </dev/null; }

# killed COMMAND CALL ARGUMENT...: the installer, killed at a call of the command.
killed() {
  local real
  real=$(command -v "$1")
  rm -f /tmp/count
  printf '#!/bin/sh\ncount=$(($(cat /tmp/count 2>/dev/null || echo 0) + 1))\necho $count >/tmp/count\n[ $count != %s ] || { kill -KILL $PPID; exit 1; }\nexec %s "$@"\n' \
    "$2" "$real" >"/tmp/faulty/$1"
  chmod 755 "/tmp/faulty/$1"
  PATH=/tmp/faulty:$PATH ./install.sh "${@:3}" >/tmp/run.log 2>&1 </dev/null
  rm -f "/tmp/faulty/$1"
}

step() {
  case $1 in
  install) installer --domain shop.example --yes ;;
  upgrade) printf '\n' >>dist/corenexis-cdn && installer --domain shop.example --yes ;;
  killed-install) printf '\n' >>dist/corenexis-cdn && pick mv cp rm chmod mkdir && killed "$picked" $((RANDOM % 40 + 1)) --domain shop.example --yes ;;
  killed-test) killed curl $((RANDOM % 5 + 1)) --domain shop.example --yes ;;
  uninstall) installer --uninstall --yes ;;
  killed-uninstall) pick mv cp rm rmdir && killed "$picked" $((RANDOM % 40 + 1)) --uninstall --yes ;;
  edit-site) echo "# edit $RANDOM" | tee -a "$site" >>/tmp/site ;;
  edit-placed) [ ! -e /etc/nginx/snippets/corenexis-cdn.conf ] || echo "# edit $RANDOM" >>/etc/nginx/snippets/corenexis-cdn.conf ;;
  edit-config) [ ! -e /etc/corenexis-cdn/config.toml ] || sed -i "s/^burst = .*/burst = $((RANDOM % 90 + 10))/" /etc/corenexis-cdn/config.toml ;;
  sweep) corenexis-cdn sweep ;;
  restore)
    rm -f /tmp/backup.db
    corenexis-cdn backup /tmp/backup.db && /etc/init.d/corenexis-cdn stop && corenexis-cdn restore --yes /tmp/backup.db
    /etc/init.d/corenexis-cdn start
    ;;
  unmounted)
    [ -d $docroot ] && mv $docroot /srv/away/docroot && mkdir $docroot
    corenexis-cdn sweep
    corenexis-cdn verify --repair
    /etc/init.d/corenexis-cdn restart
    [ ! -d /srv/away/docroot ] || { rm -rf $docroot && mv /srv/away/docroot $docroot; }
    /etc/init.d/corenexis-cdn restart
    ;;
  kill)
    local killed
    killed=$(cat /run/corenexis-cdn.pid) && kill -KILL "$killed" && poll ended "$killed"
    ;;
  upload)
    local path
    [ -s /tmp/token ] || cdn client add checks --plan 3m | sed -n 's/^client_token=//p' >/tmp/token
    path=$(upload shop.example)
    [ -z "$path" ] || echo "$path" >>/tmp/images
    ;;
  esac >/tmp/step.log 2>&1
}

# Sets $picked. In a command substitution bash would seed RANDOM anew, and no sequence could be repeated.
pick() { local all=("$@") && picked=${all[RANDOM % ${#all[@]}]}; }

holds() {
  local path
  while read -r path; do
    cmp -s samples/lake.jpg "$docroot/p/$path" || echo "the image $path is lost"
  done </tmp/images
  grep -v 'placed by install.sh' $site | cmp -s - /tmp/site || echo "the site's file has changed"
  nginx -t 2>/tmp/nginx.log || echo "nginx does not accept its configuration: $(grep emerg /tmp/nginx.log)"
}

cp $site /tmp/site.first
for ((number = seed; number < seed + sequences; number++)); do
  RANDOM=$number
  cp /tmp/site.first /tmp/site
  cp /tmp/site.first $site
  : >/tmp/images
  rm -f /tmp/token
  steps=install wrong=''
  installer --domain shop.example --yes
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    pick upload upload upload install upgrade killed-install killed-install killed-test uninstall killed-uninstall edit-site edit-placed \
      edit-config sweep restore unmounted kill
    steps="$steps $picked"
    step "$picked"
    wrong=$(holds)
    [ -z "$wrong" ] || break
  done
  if [ -z "$wrong" ]; then
    installer --domain shop.example --yes || wrong="the last installation fails: $(tail -n 3 /tmp/run.log)"
    while read -r path; do
      serves shop.example "$path" >/dev/null 2>&1 || wrong="$wrong $path is not served"
    done </tmp/images
  fi
  same "sequence $number with $(grep -c . /tmp/images) images: $steps" "" "$wrong"
  installer --uninstall --purge --yes || echo "FAIL the purge of sequence $number: $(tail -n 3 /tmp/run.log)"
  same "sequence $number leaves nothing of ours" "" \
    "$(find /etc /usr/local /var/www /var/lib /var/log /run -xdev -name '*corenexis*' ! -name '*.new' ! -path '*/edited*' 2>/dev/null)$(grep corenexis $site)"
  rm -rf $docroot /var/lib/corenexis-cdn /etc/corenexis-cdn /etc/nginx/snippets/corenexis-cdn.conf*
  ! id corenexis-cdn >/dev/null 2>&1 || userdel corenexis-cdn
  cp /tmp/good dist/corenexis-cdn
done
