use super::*;
use crate::render::render;
use crate::render::tests::{self, config};

fn options() -> Options {
    Options {
        own_nginx: None,
        ..tests::options()
    }
}

fn file(toml: &str, options: &Options, path: &str) -> String {
    tests::file(&config(toml), options, path)
}

#[test]
fn the_units_name_what_the_configuration_says() {
    let socket = file("", &options(), "service/corenexis-cdn.socket");
    for line in [
        "ListenStream=/run/corenexis-cdn.sock",
        "SocketUser=corenexis-cdn",
        "SocketGroup=www-data",
    ] {
        assert!(socket.lines().any(|found| found == line), "{line}");
    }
    let service = file("", &options(), "service/corenexis-cdn.service");
    for line in [
        "ExecStart=/usr/local/bin/corenexis-cdn --config /etc/corenexis-cdn/config.toml serve",
        "ReadWritePaths=/var/www/corenexis-cdn /var/lib/corenexis-cdn",
        "ProtectHome=yes",
    ] {
        assert!(service.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn a_port_has_no_owner() {
    let toml = "[server]\nlisten = \"tcp:127.0.0.1:9000\"\n";
    let socket = file(toml, &options(), "service/corenexis-cdn.socket");
    assert!(socket.contains("ListenStream=127.0.0.1:9000\n") && !socket.contains("SocketUser"));
    let script = file(toml, &options(), "service/corenexis-cdn.init");
    assert!(script.contains("spawn-fcgi -a 127.0.0.1 -p 9000 ") && !script.contains("SOCKET"));
}

#[test]
fn paths_in_homes_stay_visible_to_the_service() {
    let toml =
        "[server]\nlog = \"/srv/100% logs/cdn.log\"\n[storage]\ndocroot = \"/home/shop/web\"\n";
    let service = file(toml, &options(), "service/corenexis-cdn.service");
    assert!(!service.contains("ProtectHome"));
    let line = "ReadWritePaths=/home/shop/web /var/lib/corenexis-cdn \"/srv/100%% logs\"\n";
    assert!(service.contains(line), "{service}");
    let rotation = file(toml, &options(), "cron/corenexis-cdn.logrotate");
    assert!(rotation.contains("\n\"/srv/100% logs/cdn.log\" {\n"));
}

#[test]
fn scripts_quote_their_paths() {
    let mut special = options();
    special.binary = "/opt/it's $HOME/cdn".to_owned();
    for path in [
        "service/corenexis-cdn.init",
        "service/corenexis-cdn.openrc",
        "service/corenexis-cdn.user",
        "service/corenexis-cdn.cgi",
        "cron/corenexis-cdn.periodic",
    ] {
        let script = file("", &special, path);
        assert!(script.contains(r"'/opt/it'\''s $HOME/cdn'"), "{path}");
    }
    let unit = file("", &special, "service/corenexis-cdn.service");
    assert!(unit.contains("ExecStart=\"/opt/it's $$HOME/cdn\" --config "));
}

#[test]
fn the_sweeps_cron_lines_are_the_same_but_for_the_account() {
    let system = file("", &options(), "cron/corenexis-cdn");
    let own = file("", &options(), "cron/corenexis-cdn.crontab");
    let (_, command) = own.split_once("* * * * ").expect("a line");
    assert!(command.starts_with("output=$(flock -n '/etc/corenexis-cdn/config.toml' "));
    assert!(system.ends_with(command));
}

#[test]
fn the_crontab_quotes_for_cron_and_shell() {
    let line = |options: &Options| {
        file("", options, "cron/corenexis-cdn")
            .lines()
            .last()
            .map(str::to_owned)
    };
    let begin = "*/10 * * * * corenexis-cdn { [ -d /run/systemd/system ] && [ -e /etc/systemd/system/timers.target.wants/corenexis-cdn-sweep.timer ]; } \
        || output=$(flock -n '/etc/corenexis-cdn/config.toml'";
    let end = r#"sweep 2>&1) || [ $? -eq 75 ] || [ -z "$output" ] || echo "$output""#;
    assert_eq!(
        line(&options()),
        Some(format!(
            "{begin} '/usr/local/bin/corenexis-cdn' --config '/etc/corenexis-cdn/config.toml' {end}"
        ))
    );
    let mut special = options();
    special.binary = "/opt/it's 100% $(x)/cdn".to_owned();
    assert_eq!(
        line(&special),
        Some(format!(
            r"{begin} '/opt/it'\''s 100\% $(x)/cdn' --config '/etc/corenexis-cdn/config.toml' {end}"
        ))
    );
}

#[test]
fn a_server_block_takes_names_and_addresses_alone() {
    let block = |name: &str, listen: &str| {
        let mut options = options();
        options.site = Some(crate::render::Site {
            name: name.to_owned(),
            listen: vec!["80".to_owned(), listen.to_owned()],
            snippet: "/etc/nginx/snippets/corenexis-cdn.conf".to_owned(),
            tls: None,
        });
        render(&config(""), &options)
    };
    let files = block("cdn.example.com", "[::]:80").expect("valid options");
    let file = files
        .iter()
        .find(|file| file.path == "nginx/corenexis-cdn.site.conf");
    let text = String::from_utf8_lossy(&file.expect("a server block").contents).into_owned();
    assert!(
        text.contains("    listen 80;\n    listen [::]:80;\n    server_name cdn.example.com;\n")
    );
    assert!(text.contains("include \"/etc/nginx/snippets/corenexis-cdn.conf\";"));
    for (name, listen) in [
        ("", "80"),
        ("a b", "80"),
        ("a;", "80"),
        ("a", ""),
        ("a", "80 ssl"),
        ("a", "80;"),
    ] {
        assert!(block(name, listen).is_err(), "{name:?} {listen:?}");
    }
}

#[test]
fn for_fcgiwrap_nginx_keeps_no_connections() {
    let mut options = options();
    options.cgi = Some(crate::render::Cgi {
        wrapper: "unix:/run/fcgiwrap.socket".parse().expect("an address"),
        script: "/srv/cdn.cgi".to_owned(),
    });
    let http = file("", &options, "nginx/corenexis-cdn.http.conf");
    assert!(http.contains("server \"unix:/run/fcgiwrap.socket\";") && !http.contains("keepalive"));
    let server = file("", &options, "nginx/corenexis-cdn.server.conf");
    assert!(server.contains("fastcgi_param GATEWAY_INTERFACE CGI/1.1;"));
    assert!(server.contains("fastcgi_param SCRIPT_FILENAME \"/srv/cdn.cgi\";"));
    assert!(!server.contains("fastcgi_keep_conn"));
}

#[cfg(feature = "s3")]
#[test]
fn only_units_that_need_the_network_have_it() {
    let bucket = "[storage]\nkind = \"s3\"\nendpoint = \"https://s3.example.net\"\nbucket = \"images\"\nkey_file = \"/k\"\nspool = \"/srv/spool\"\n";
    let [sweep, backup, responder] = ["-sweep", "-backup", ""].map(|name| {
        let path = format!("service/corenexis-cdn{name}.service");
        move |toml: &str| file(toml, &options(), &path)
    });
    for unit in [&sweep, &backup] {
        assert!(unit("").contains("PrivateNetwork=yes\n"));
        assert!(unit("").contains("RestrictAddressFamilies=AF_UNIX\n"));
        assert!(!unit(bucket).contains("PrivateNetwork"));
        assert!(
            unit(bucket).contains("RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n")
        );
        assert!(unit(bucket).contains("ReadWritePaths=/srv/spool /var/lib/corenexis-cdn\n"));
    }
    assert!(!responder("").contains("network-online"));
    assert!(responder(bucket).contains("After=network-online.target"));
    assert!(responder(bucket).contains("ReadWritePaths=/srv/spool /var/lib/corenexis-cdn\n"));
}

/// Once, the purge command had no network when the sweep ran it.
#[test]
fn the_sweep_has_a_network_for_the_purge_command() {
    let toml = "purge_command = [\"/usr/bin/curl\", \"{url}\"]\n";
    let unit = |name: &str| file(toml, &options(), name);
    assert!(!unit("service/corenexis-cdn-sweep.service").contains("PrivateNetwork"));
    assert!(unit("service/corenexis-cdn-backup.service").contains("PrivateNetwork"));
}
