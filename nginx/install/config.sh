# shellcheck shell=sh
# config.toml: what is read from it, and how the first one is written.

# config_value SECTION KEY [FILE] prints the string that config.toml, or the file, holds there; nothing when it has none.
config_value() {
  awk -v section="$1" -v key="$2" '
    /^[ \t]*\[/ { sub(/#.*/, ""); gsub(/[ \t\r]/, ""); here = $0; next }
    here == "[" section "]" && match($0, "^[ \t]*" key "[ \t]*=[ \t]*") {
      text = substr($0, RLENGTH + 1)
      quote = substr(text, 1, 1)
      if (quote != "\"" && quote != "\047") exit
      value = ""
      for (i = 2; i <= length(text); i++) {
        character = substr(text, i, 1)
        if (character == quote) break
        if (character == "\\" && quote == "\"") character = substr(text, ++i, 1)
        value = value character
      }
      print value
      exit
    }' "${3:-$config}"
}

# Prints a whole configuration. What differs between a demo, a host and a home directory: $title, $public_url, $listen, $log, $docroot,
# $min_free, $ledger, $limits (three numbers) and $apply, which says how a change takes effect.
config_text() {
  # shellcheck disable=SC2086
  set -- $limits
  cat <<CONFIG
# Configuration of $title, written once by install.sh and yours from then on. $apply
# Every key is here; "default" is what holds where a key is left out. Sizes are bytes or KiB, MiB, GiB; lengths of time end in s, m, h
# or d.

[site]
# Scheme and host of every URL that is handed out.
public_url = "$public_url"
# Where people report an image: a mail address or a URL. Default: none.
contact = ""

[server]
# Where nginx reaches the responder: unix:PATH or tcp:ADDRESS:PORT. Default: unix:/run/corenexis-cdn.sock
listen = $(toml "$listen")
# Connections served at once; over it the answer is 503. Default: 256
max_connections = 256
# Where the log goes; SIGUSR1 opens the file again after a rotation. Default: standard error, which systemd keeps in its journal
${log:-#log = "/var/log/corenexis-cdn/responder.log"}

[storage]
# What nginx serves images and the viewer from. Default: /var/www/corenexis-cdn
docroot = $(toml "$docroot")
# Uploads are refused while the disk has less than this free. Default: 1GiB
min_free = "$min_free"
# Random characters in an image's name, 6 to 32. Default: 10
name_length = 10
# "full": an upload that was acknowledged survives a power cut. "relaxed": it survives a crash of the process. Default: full
durability = "full"

[ledger]
# The SQLite database of clients, quotas and images. Default: /var/lib/corenexis-cdn/ledger.db
path = $(toml "$ledger")

[images]
# The largest image: pixels of the longer side, and millions of pixels. Defaults: 32768 and 64
max_side = 32768
max_megapixels = 64

[fetch]
# Downloads of image_url: the ports that may be connected to. Default: [80, 443]
ports = [80, 443]
# How long one may take, redirects included. Default: 20s
timeout = "20s"
# Downloads at once. Default: 8
max_concurrent = 8
# "ADDRESS:PORT" of servers that may be reached although they lie in a network that is refused otherwise. Default: none
allow = []

[limits]
# For each address; 0 turns one off. Defaults: 10, 40 and 10
requests_per_second = $1
burst = $2
failed_attempts_per_minute = $3

# The plans. These three are the defaults; a plan that is not named here does not exist.
[plans.free]
daily_uploads = 50
max_file_size = "2MiB"
durations = ["7D", "1M"]
# "viewer": uploads answer with the viewer page. "direct": with the image itself.
url = "viewer"

[plans.3m]
daily_uploads = 1000
max_file_size = "5MiB"
durations = ["7D", "1M", "3M"]
url = "direct"

[plans.lifetime]
daily_uploads = 3000
max_file_size = "10MiB"
durations = ["7D", "1M", "3M", "LTF"]
url = "direct"
CONFIG
}
