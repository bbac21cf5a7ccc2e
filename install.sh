#!/bin/sh
# Puts the image CDN on this host. `./install.sh --help` says how.
#
# Everything lives in functions and the last line calls main, so that a file that was cut off on its way does nothing. The parts lie
# in nginx/install/: host.sh and user.sh read as the steps of an installation, demo.sh as those of the demo. Messages go to standard
# error, results (the JSON of the upload, addresses, tokens) to standard output.

set -eu

DEMO_PORT=8080
DEMO_TOKEN=8b5d24c7e3af9d87156a40b1c3e92f67 # of client_3m_plan in the public documentation, for the demo alone
SAMPLE=lake.jpg                             # of the demo, in tests/samples/
HEALTHY_WITHIN=30                           # seconds
RELOADED_WITHIN=10                          # seconds, for nginx to replace its workers or to start
ACCOUNT=corenexis-cdn                       # what owns images and ledger, and runs the responder
# A socket's path has to fit into sun_path with a NUL at its end: 108 bytes on Linux, 104 on the BSDs and macOS.
SOCKET_PATH_MAX=103

main() {
  set +m
  here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
  parts=$here/nginx/install
  # nginx lies in an sbin directory that is not on the PATH of people who are not root, and rustup's cargo where login shells look.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:${HOME:-/root}/.cargo/bin
  export PATH
  # awk, sed and tr are to treat paths as bytes.
  LC_ALL=C
  export LC_ALL
  [ -r "$parts/messages.sh" ] || {
    echo "install.sh: $parts is missing: run install.sh inside the whole source tree" >&2
    exit 1
  }
  # shellcheck source=nginx/install/messages.sh
  . "$parts/messages.sh"
  # shellcheck source=nginx/install/requirements.sh
  . "$parts/requirements.sh"
  # shellcheck source=nginx/install/config.sh
  . "$parts/config.sh"

  read_options "$@"
  if [ -n "$demo" ]; then
    # shellcheck source=nginx/install/demo.sh
    . "$parts/demo.sh"
    # shellcheck source=nginx/install/demo-run.sh
    . "$parts/demo-run.sh"
    if [ -n "$cluster" ]; then
      # shellcheck source=nginx/install/demo-cluster.sh
      . "$parts/demo-cluster.sh"
      demo_cluster
    else
      demo
    fi
    return
  fi
  # shellcheck source=nginx/install/account.sh
  . "$parts/account.sh"
  # shellcheck source=nginx/install/record.sh
  . "$parts/record.sh"
  # shellcheck source=nginx/install/recovery.sh
  . "$parts/recovery.sh"
  # shellcheck source=nginx/install/files.sh
  . "$parts/files.sh"
  # shellcheck source=nginx/install/nginx.sh
  . "$parts/nginx.sh"
  # shellcheck source=nginx/install/site.sh
  . "$parts/site.sh"
  # shellcheck source=nginx/install/https.sh
  . "$parts/https.sh"
  # shellcheck source=nginx/install/service.sh
  . "$parts/service.sh"
  # shellcheck source=nginx/install/probe.sh
  . "$parts/probe.sh"
  # shellcheck source=nginx/install/purge.sh
  . "$parts/purge.sh"
  # shellcheck source=nginx/install/uninstall.sh
  . "$parts/uninstall.sh"
  # shellcheck source=nginx/install/plan.sh
  . "$parts/plan.sh"
  # shellcheck source=nginx/install/host.sh
  . "$parts/host.sh"
  if [ -n "$user_mode" ]; then
    # shellcheck source=nginx/install/user.sh
    . "$parts/user.sh"
  fi
  if [ -n "$uninstall" ]; then
    uninstall
  elif [ -n "$user_mode" ]; then
    install_for_user
  else
    install_on_host
  fi
}

read_options() {
  demo='' cluster='' state='' port='' once=''
  domain='' dry_run='' upgrade='' https='' certify='' email='' staging='' acme_server='' certificate_file='' key_file='' certificate='' tls_block='' yes='' user_mode='' prefix='' panel=auto
  no_nginx='' no_service='' no_cron='' no_test='' test_client='' uninstall='' purge=''
  nginx_reload='' contact='' settings='' kind='' spool='' asked='' nginx_master='' nginx_is_new='' recovered=''
  any=''
  while [ $# -gt 0 ]; do
    any=1
    case $1 in
    --demo) demo=1 ;;
    --state | --port | --domain | --prefix | --panel | --nginx-reload | --contact | --set | --email | --acme-server | --certificate | --key)
      [ $# -ge 2 ] || usage_error "$1 needs a value"
      set_option "$1" "$2"
      shift
      ;;
    --state=* | --port=* | --domain=* | --prefix=* | --panel=* | --nginx-reload=* | --contact=* | --set=* | --email=* | --acme-server=* | --certificate=* | --key=*) set_option "${1%%=*}" "${1#*=}" ;;
    --once) once=1 ;;
    --cluster) cluster=1 ;;
    --dry-run) dry_run=1 ;;
    --upgrade) upgrade=1 ;;
    --https) https=1 certify=1 ;;
    --staging) staging=1 ;;
    --yes | -y) yes=1 ;;
    --user) user_mode=1 ;;
    --no-nginx) no_nginx=1 ;;
    --no-service) no_service=1 ;;
    --no-cron) no_cron=1 ;;
    --no-test) no_test=1 ;;
    --with-test-client) test_client=1 ;;
    --uninstall) uninstall=1 ;;
    --purge) purge=1 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) usage_error "unknown option: $1" ;;
    esac
    shift
  done
  check_options
}

set_option() {
  case $1 in
  --state)
    [ -n "$2" ] || usage_error '--state needs a directory'
    state=$2
    ;;
  --port)
    case $2 in
    '' | 0* | *[!0-9]* | ??????*) usage_error "--port $2: expected a number from 1 to 65535" ;;
    esac
    [ "$2" -le 65535 ] || usage_error "--port $2: expected a number from 1 to 65535"
    port=$2
    ;;
  --domain)
    case $2 in
    '' | -* | .* | *[!A-Za-z0-9.-]*) usage_error "--domain $2: expected a host name such as cdn.example.com" ;;
    esac
    domain=$(printf '%s' "$2" | tr '[:upper:]' '[:lower:]')
    ;;
  --prefix)
    case $2 in
    *[[:cntrl:]]*) usage_error '--prefix: the path holds a line break or another control character' ;;
    /*) prefix=${2%/} ;;
    *) usage_error "--prefix $2: expected an absolute path such as /usr/local" ;;
    esac
    ;;
  --nginx-reload)
    case $2 in
    '' | *[[:cntrl:]]*) usage_error '--nginx-reload needs a command in one line' ;;
    esac
    nginx_reload=$2
    ;;
  --contact)
    case $2 in
    *[[:cntrl:]]*) usage_error '--contact: expected a mail address or a URL' ;;
    esac
    contact=$2
    ;;
  --set)
    case $2 in
    *[[:cntrl:]]*) usage_error '--set: the value holds a line break or another control character' ;;
    [a-z]*.*=*) ;;
    *) usage_error "--set $2: expected KEY=VALUE, such as storage.kind=s3" ;;
    esac
    settings="$settings$2
"
    ;;
  --email)
    case $2 in
    *[[:cntrl:][:space:]]* | -*) usage_error "--email $2: expected a mail address" ;;
    esac
    email=$2
    ;;
  --acme-server)
    case $2 in
    *[[:cntrl:][:space:]]*) usage_error "--acme-server $2: expected a URL" ;;
    https://*) acme_server=$2 ;;
    *) usage_error "--acme-server $2: expected a URL such as https://acme-v02.api.letsencrypt.org/directory" ;;
    esac
    ;;
  --certificate | --key)
    case $2 in
    *[[:cntrl:][:space:]]*) usage_error "$1: the path holds a space or a control character" ;;
    /*) ;;
    *) usage_error "$1 $2: expected an absolute path" ;;
    esac
    if [ "$1" = --key ]; then
      key_file=$2
    else
      certificate_file=$2
    fi
    ;;
  --panel)
    case $2 in
    auto | none | hestia | aapanel | plesk | cpanel) panel=$2 ;;
    *) usage_error "--panel $2: expected auto, none, hestia, aapanel, plesk or cpanel" ;;
    esac
    ;;
  esac
}

check_options() {
  if [ -n "$demo" ]; then
    [ -z "$domain$dry_run$upgrade$https$email$staging$acme_server$certificate_file$key_file$user_mode$prefix$no_nginx$no_service$no_cron$no_test$test_client$uninstall$purge$nginx_reload$contact$settings" ] ||
      usage_error "--demo goes with --cluster, --state, --port, --once and --yes alone"
    return
  fi
  # Where it is installed, no option is needed for an upgrade.
  [ -n "$any" ] || [ -e /etc/corenexis-cdn/install ] ||
    usage_error "say what to do: --domain NAME installs on this host, --demo tries it"
  [ -z "$state$once$cluster" ] || usage_error "--cluster, --state and --once belong to --demo"
  [ -z "$https$email$staging$acme_server$certificate_file$key_file" ] || [ -z "$uninstall$user_mode$no_nginx" ] ||
    usage_error "--https belongs to an installation by root with the nginx of the host"
  [ -z "$email$staging$acme_server$certificate_file$key_file" ] || [ -n "$https" ] || usage_error "--email, --staging, --acme-server, --certificate and --key belong to --https"
  [ -n "$certificate_file" ] || [ -z "$key_file" ] || usage_error "--key belongs to --certificate"
  [ -z "$certificate_file" ] || [ -n "$key_file" ] || usage_error "--certificate needs --key"
  [ -z "$upgrade" ] || [ -z "$uninstall$user_mode" ] || usage_error "--upgrade belongs to an installation by root"
  [ -z "$purge" ] || [ -n "$uninstall" ] || usage_error "--purge belongs to --uninstall"
}

usage() {
  cat <<USAGE
Usage: ./install.sh --domain NAME [OPTION...]      install on this host, or upgrade; as root
       ./install.sh --user [OPTION...]             the same in your home directory, without root
       ./install.sh --uninstall [--user] [--purge]
       ./install.sh --demo [--cluster] [--state DIR] [--port N] [--once] [--yes]

Install and upgrade:
  --domain NAME       the host name of the images. A site of this host that has it gets one include line; for a name that no
                      site has, a server block is made. Can be left out when it is installed already
  --https             serve over https: with the certificate of the site, else one that certbot gets from Let's Encrypt. A failure
                      leaves http serving
  --email ADDRESS     where the certificate authority writes to
  --staging           get a certificate that browsers do not accept, to try it
  --acme-server URL   the directory of another certificate authority
  --certificate FILE, --key FILE
                      use this certificate, which another tool renews
  --dry-run           print the plan and end; nothing is written
  --upgrade           upgrade what is installed here, with the options of its installation
  --yes               do not ask
  --prefix DIR        the binary goes to DIR/bin (default /usr/local; with --user ~/.local)
  --port N            the port of a server block that is made (default 80; with --user 8080)
  --panel NAME        whose site it is: auto (default), none, hestia, aapanel, plesk or cpanel
  --contact ADDRESS   where people report an image: a mail address or a URL
  --set KEY=VALUE     a value for config.toml, which a first installation writes; can be repeated
  --nginx-reload COMMAND
                      how nginx is made to read its configuration, where it runs under a supervisor that this cannot see
  --no-nginx          leave nginx alone; say what its administrator has to include
  --no-service        start nothing; you run the responder
  --no-cron           no timer and no cron line; you run 'corenexis-cdn sweep'
  --no-test           no test upload: for sites behind client certificates, allow and deny, or auth_basic
  --with-test-client  add a client named "test" of the plan 3m and print its token
  --user              no root: an nginx of its own on --port, or, with --no-nginx, files for the host's administrator

Remove:
  --uninstall         remove what was installed; images, ledger and configuration stay
  --purge             those too, but no bucket, no ledger in PostgreSQL, and no docroot that other hosts may serve with it

Try:
  --demo              run the whole CDN on this machine: its own nginx, the responder, a ledger, a docroot and three clients,
                      all under one directory and reachable on 127.0.0.1 alone
  --cluster           the same as two hosts behind one nginx, with the ledger in PostgreSQL and the images in SeaweedFS, an
                      S3-compatible store; it also uses the 12 ports after N
  --state DIR         keep everything under DIR (default ./demo); one that exists is used again, its config.toml untouched
  --port N            listen on 127.0.0.1:N (default $DEMO_PORT, or the port in DIR/config.toml)
  --yes               where Rust is missing, let rustup install it below DIR, without being asked
  --once              upload one image, fetch it back, and end; the exit status says whether that worked

  -h, --help          print this text

The binary is dist/corenexis-cdn beside this script where there is one, checked against SHA256SUMS; else it is built, for which Rust
is needed. From a package, 'corenexis-cdn setup' is this script.

Examples:
  ./install.sh --domain cdn.example.com --dry-run       what it would do
  ./install.sh --domain cdn.example.com                 install; the same command upgrades
  ./install.sh --domain cdn.example.com --https --email admin@example.com
  ./install.sh --domain cdn.example.com --set storage.kind=s3 --set storage.endpoint=https://s3.example.net \\
    --set storage.region=eu-1 --set storage.bucket=images --set storage.key_file=/etc/corenexis-cdn/s3.key
  ./install.sh --user --port 8080                       without root
  ./install.sh --demo                                   try it, then open the addresses that it prints; Ctrl-C ends it
  ./install.sh --demo --port 9000 --state /tmp/cdn      another port, another directory
  ./install.sh --demo --once                            check that it works here, and end
USAGE
}

usage_error() {
  say "install.sh: $1"
  usage >&2
  exit 2
}

main "$@"
