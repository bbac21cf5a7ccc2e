#!/bin/sh
# The responder as a plain CGI program, for hosts that offer fcgiwrap or a cgi-bin and no place for a process that stays. It answers
# one request and ends. Rendered from config.toml: change that and run install.sh --user again.
CORENEXIS_CDN_CONFIG=@CONFIG_FILE@ exec @BINARY@
