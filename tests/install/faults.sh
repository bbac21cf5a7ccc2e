# shellcheck shell=bash disable=SC2016,SC2317
# Whatever fails on the way, and wherever a run is killed, everything is as it was before, byte for byte, and the host goes on serving.
# Three parts ($1), which take about the same time.
# shellcheck source=tests/install/checks.sh
. install/checks.sh

make_shop
start_nginx

# A command that fails at its Nth call, or kills the installer there, and works otherwise. Nothing in install.sh knows of it.
mkdir -p /tmp/faulty
faulty() {
  rm -f /tmp/faulty/*
  local real
  real=$(command -v "$1")
  cat >"/tmp/faulty/$1" <<SCRIPT
#!/bin/sh
count=\$((\$(cat /tmp/count 2>/dev/null || echo 0) + 1))
echo \$count >/tmp/count
if [ \$count = $2 ]; then
  [ "$3" != kill ] || kill -KILL \$PPID
  echo "$1: no, this is call $2" >&2
  exit 1
fi
exec $real "\$@"
SCRIPT
  chmod 755 "/tmp/faulty/$1"
  rm -f /tmp/count
}

run() {
  PATH=/tmp/faulty:$PATH ./install.sh "$@" >/tmp/run.log 2>&1 </dev/null
}

# fails_everywhere NAME COMMAND STEP ARGUMENT...: the command fails at its first call, then at its second, and so on by STEP until the
# installer gets through. Each time everything has to be as it was.
fails_everywhere() {
  local name=$1 command=$2 step=$3 call=1 wrong='' undone=0
  shift 3
  while [ "$call" -lt 400 ]; do
    faulty "$command" "$call" fail
    if run "$@"; then
      # Either the call does not exist, and this was a whole installation, or the failure did not matter.
      [ "$(cat /tmp/count 2>/dev/null || echo 0)" -ge "$call" ] || break
      put_back
    else
      undone=$((undone + 1))
      snapshot >/tmp/now
      diff /tmp/before /tmp/now >/tmp/diff || {
        wrong="$wrong $call"
        cp /tmp/diff /tmp/wrong.diff
        cp /tmp/run.log /tmp/wrong.log
      }
      [ -z "$serving" ] || serves shop.example "$serving" >/dev/null || wrong="$wrong $call(serving)"
    fi
    shop_works || wrong="$wrong $call(shop)"
    call=$((call + step))
  done
  put_back
  if [ -z "$wrong" ] && [ "$undone" -gt 0 ]; then
    echo "ok $name: $undone failures undone"
  else
    echo "FAIL $name: left something behind after call$wrong of $command ($undone failures)"
    head -n 20 /tmp/wrong.diff | sed 's/^/    /'
    tail -n 20 /tmp/wrong.log | sed 's/^/    /'
  fi
  rm -f /tmp/faulty/*
}

serving=''
put_back() { ./install.sh --uninstall --purge --yes >/dev/null 2>&1 || true; }
snapshot >/tmp/before
case $1 in
1) commands=(mv:3 cp:5) ;;
2) commands=(mkdir:2 chown:4 useradd:1 curl:1 nginx:1) ;;
*) commands=() ;;
esac
for command in "${commands[@]}"; do
  fails_everywhere "fresh installation, $command" "${command%:*}" "${command#*:}" --domain shop.example --yes
done
[ "$1" = 3 ] || exit 0

# A responder that does not start.
cp dist/corenexis-cdn /tmp/good
printf '#!/bin/sh\n[ "$3" != serve ] || exit 1\nexec /tmp/good "$@"\n' >dist/corenexis-cdn
refuses "a responder that does not start" 1 "Putting everything back" ./install.sh --domain shop.example --yes
unchanged "leaves nothing behind" /tmp/before
cp /tmp/good dist/corenexis-cdn

# Killed outright, nothing of it runs any more; the next run puts back first.
wrong='' killed=0
for call in 3 7 11 15 19 23; do
  faulty mv "$call" kill
  run --domain shop.example --yes && continue
  killed=$((killed + 1))
  rm -f /tmp/faulty/*
  [ -e /etc/corenexis-cdn/install/journal ] || wrong="$wrong $call(no journal)"
  echo 'bogus;' >/etc/nginx/conf.d/zz-bogus.conf
  # This one ends before it changes anything, but not before it has put back.
  ./install.sh --domain shop.example --yes >/tmp/run.log 2>&1 </dev/null
  rm /etc/nginx/conf.d/zz-bogus.conf
  snapshot >/tmp/now
  diff /tmp/before /tmp/now >/tmp/wrong.diff || wrong="$wrong $call"
  shop_works || wrong="$wrong $call(shop)"
done
same "killed $killed times, the next run puts everything back" "" "$wrong$(head -n 5 /tmp/wrong.diff)"

# An upgrade that fails leaves the old version serving.
check "install" ./install.sh --domain shop.example --yes
serving=$(upload shop.example)
sed -i 's/^contact = .*/contact = "abuse@example.com"/; s/^max_file_size = "10MiB"/max_file_size = "20MiB"/' /etc/corenexis-cdn/config.toml
snapshot >/tmp/before
printf '\n' >>dist/corenexis-cdn
# An upgrade that gets through ends the search.
put_back() { :; }
for command in mv:3 cp:4; do
  fails_everywhere "upgrade, $command" "${command%:*}" "${command#*:}" --yes
  sed -i 's/"20MiB"/"21MiB"/; t; s/"21MiB"/"20MiB"/' /etc/corenexis-cdn/config.toml
  printf '\n' >>dist/corenexis-cdn
  snapshot >/tmp/before
done

# nginx -t fails in the middle: a second file of the host has a name that ours has too.
sed -i 's/^requests_per_second = .*/requests_per_second = 9/' /etc/corenexis-cdn/config.toml
check "upgrade" ./install.sh --yes
check "uninstall" ./install.sh --uninstall --yes
echo 'upstream corenexis_responder { server 127.0.0.1:9; }' >/etc/nginx/conf.d/aa-mine.conf
reload_by nginx -s reload
snapshot >/tmp/before
refuses "nginx -t fails in the middle" 1 "duplicate upstream" ./install.sh --domain shop.example --yes
unchanged "everything is as before" /tmp/before
same "the host serves as before" 0 "$(shop_works && nginx -t 2>/dev/null && echo 0)"
rm /etc/nginx/conf.d/aa-mine.conf

# A name that a site gets from a file it includes is found before anything is touched.
printf 'server { listen 80; include /etc/nginx/name[.]inc; }\n' >/etc/nginx/conf.d/other.conf
echo 'server_name cdn.example.com;' >/etc/nginx/name.inc
sed -i 's/shop.example/cdn.example.com/' /etc/corenexis-cdn/config.toml
snapshot >/tmp/before
refuses "a block in one line is refused with its line" 1 "/etc/nginx/conf.d/other.conf, line 1: something follows the brace" ./install.sh --yes
unchanged "everything is as before" /tmp/before

# A name that only nginx itself finds twice: a warning to it, a reason to stop for us.
printf 'server {\n    listen 80;\n    server_name $hostname;\n}\n' >/etc/nginx/conf.d/other.conf
rm /etc/nginx/name.inc
sed -i 's/cdn.example.com/room/' /etc/corenexis-cdn/config.toml
snapshot >/tmp/before
refuses "a name that another site has already" 1 "conflicting server name" ./install.sh --yes
unchanged "everything is as before" /tmp/before
