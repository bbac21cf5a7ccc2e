//! `doctor` beside a running site: each fault is really made, and has to be found.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::pictures::PNG;
use support::site::Site;
use support::{program, skip};

/// Runs doctor over the site's own nginx.
fn doctor(site: &Site, more: &[&str]) -> Output {
    let prefix = site.root.join("nginx").display().to_string();
    let conf = site
        .root
        .join("rendered/nginx/nginx.conf")
        .display()
        .to_string();
    let arguments = ["doctor", "--nginx-prefix", &prefix, "--nginx-conf", &conf];
    site.output(&[&arguments, more].concat())
}

fn examine(site: &Site) -> Value {
    let output = doctor(site, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"));
    let failed = report["verdict"] == "fail";
    assert_eq!(output.status.code(), Some(i32::from(failed)), "{output:?}");
    report
}

/// The finding of a check that comes once; `null` if there is none.
fn finding<'a>(report: &'a Value, check: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    let found = findings.iter().find(|finding| finding["check"] == check);
    found.unwrap_or(&Value::Null)
}

#[track_caller]
fn is_told(site: &Site, check: &str, verdict: &str, text: &str) {
    let report = examine(site);
    let finding = finding(&report, check);
    assert_eq!(finding["verdict"], verdict, "{check}: {report:#}");
    let message = finding["message"].as_str().expect("a message");
    assert!(message.contains(text), "{text:?} is not in {message:?}");
    assert!(finding["advice"].is_string(), "{finding}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode is set");
}

/// Changes one of the rendered files that nginx reads.
fn edit_nginx(site: &Site, name: &str, from: &str, to: &str) {
    let path = site.root.join("rendered/nginx").join(name);
    let text = fs::read_to_string(&path).expect("a rendered file");
    assert!(text.contains(from), "{from:?} is not in {name}");
    fs::write(&path, text.replacen(from, to, 1)).expect("written");
}

#[test]
fn a_site_that_works_has_nothing_that_fails() {
    let site = Site::start();
    site.store("3m", "7D", PNG);
    site.run(&["sweep"]);
    let report = examine(&site);
    for (check, verdict) in [
        ("configuration", "ok"),
        ("nginx", "ok"),
        ("nginx running", "ok"),
        ("nginx configuration", "ok"),
        ("locations", "ok"),
        ("body size", "ok"),
        ("nginx workers", "ok"),
        ("responder", "ok"),
        ("socket", "ok"),
        ("client_body_temp", "ok"),
        ("docroot", "ok"),
        ("one file system", "ok"),
        ("SQLite", "ok"),
        ("ledger", "ok"),
        ("clients", "ok"),
        ("clock", "ok"),
        ("last sweep", "ok"),
        ("public url", "ok"),
        ("image rules", "ok"),
    ] {
        assert_eq!(
            finding(&report, check)["verdict"],
            verdict,
            "{check}: {report:#}"
        );
    }
    assert_ne!(report["verdict"], "fail");
    let output = doctor(&site, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("ok    responder"), "{text}");
    assert!(text.contains(" fail"), "{text}");
    assert!(!text.contains('\u{1b}'), "colours in a pipe: {text:?}");
}

#[test]
fn a_terminal_has_colours_unless_it_wants_none() {
    let script = Path::new("/usr/bin/script");
    if !script.exists() {
        skip("script(1) is not installed");
        return;
    }
    let site = Site::start();
    let typescript = |no_color: &str| {
        let command = format!(
            "{no_color} {} --config {} doctor",
            program(),
            site.config().display()
        );
        let output = Command::new(script)
            .args(["-qec", &command, "/dev/null"])
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .output()
            .expect("script runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = typescript("");
    assert!(coloured.contains("\u{1b}[32mok"), "{coloured:?}");
    let plain = typescript("NO_COLOR=1");
    assert!(!plain.contains("[32m"), "{plain:?}");
    assert!(plain.contains("ok    "), "{plain:?}");
}

#[test]
fn an_own_nginx_beside_the_configuration_is_found() {
    let site = Site::start();
    let output = site.output(&["doctor", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        finding(&report, "nginx running")["verdict"],
        "ok",
        "{report:#}"
    );
}

#[test]
fn nginx_that_does_not_run() {
    let mut site = Site::start();
    site.stop_nginx();
    is_told(&site, "nginx running", "fail", "no nginx runs");
    is_told(&site, "public url", "fail", "does not answer");
}

#[test]
fn a_responder_that_does_not_run() {
    let mut site = Site::builder().expect("connect() to unix:").start();
    site.signal(Signal::TERM);
    site.wait_for_end();
    is_told(&site, "responder", "fail", "nobody listens");
    is_told(&site, "public url", "fail", "502");
}

#[test]
fn nginx_that_says_something_else_than_the_configuration() {
    let site = Site::start();
    let server = "corenexis-cdn.server.conf";
    edit_nginx(
        &site,
        server,
        "client_max_body_size 10551296;",
        "client_max_body_size 1m;",
    );
    is_told(&site, "body size", "fail", "over 1 MiB");
    is_told(&site, "nginx files", "warn", server);
    edit_nginx(
        &site,
        server,
        "location = /image/docs {",
        "location = /elsewhere {",
    );
    is_told(&site, "locations", "fail", "= /image/docs");
    edit_nginx(
        &site,
        "corenexis-cdn.http.conf",
        "run/cdn.sock",
        "run/other.sock",
    );
    is_told(&site, "responder in nginx", "fail", "other.sock");
    edit_nginx(
        &site,
        "nginx.conf",
        "include corenexis-cdn.server.conf;",
        "",
    );
    is_told(&site, "locations", "fail", "no server of nginx");
    edit_nginx(&site, "nginx.conf", "http {", "http { nonsense on;");
    is_told(&site, "nginx configuration", "fail", "nonsense");
}

#[test]
fn a_configuration_that_was_not_rendered_again() {
    let site = Site::start();
    site.edit_config(|text| {
        format!("{text}[plans.3m]\nmax_file_size = \"20MiB\"\n[plans.free]\n[plans.lifetime]\n")
    });
    is_told(&site, "body size", "fail", "images of 20 MiB");
    site.edit_config(|text| text.replace("[plans.lifetime]\n", ""));
    is_told(&site, "clients", "fail", "client-lifetime");
    site.edit_config(|text| text.replace("/docroot", "/docroto"));
    is_told(&site, "docroot", "fail", "docroto");
    is_told(&site, "docroot in nginx", "fail", "docroto");
    site.edit_config(|text| text.replace("[plans.free]", "[plans.free]\nbogus = 1"));
    is_told(&site, "configuration", "fail", "bogus");
}

#[test]
fn a_ledger_that_is_lost_damaged_or_in_the_future() {
    let site = Site::start();
    let ledger = site.ledger();
    let late = "UPDATE meta SET value = value - 864000";
    ledger.execute(late, []).expect("updated");
    is_told(&site, "last sweep", "fail", "never");
    site.run(&["sweep"]);
    ledger
        .execute(
            "UPDATE meta SET value = value - 7300 WHERE name = 'swept_at'",
            [],
        )
        .expect("updated");
    is_told(&site, "last sweep", "warn", "2 hours ago");
    ledger
        .execute("UPDATE meta SET value = value + 864000", [])
        .expect("updated");
    is_told(&site, "clock", "fail", "as the ledger has it");
    drop(ledger);
    let damaged = site.root.join("damaged.db");
    site.run(&["backup", &damaged.display().to_string()]);
    let mut bytes = fs::read(&damaged).expect("a backup");
    let from = bytes.len() / 2;
    bytes[from..].fill(0xAA);
    fs::write(&damaged, bytes).expect("written");
    site.edit_config(|text| text.replace("ledger/ledger.db", "damaged.db"));
    is_told(&site, "ledger", "fail", "damaged");
    site.edit_config(|text| text.replace("damaged.db", "lost.db"));
    is_told(&site, "ledger", "fail", "there is no ledger");
    assert!(!site.root.join("lost.db").exists());
}

#[test]
fn another_site_at_the_public_url() {
    let site = Site::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>");
        }
    });
    site.edit_config(|text| text.replace(&format!(":{}\"", site.port), &format!(":{port}\"")));
    is_told(&site, "public url", "fail", "without JSON");
}

#[test]
fn files_that_another_account_may_not_use() {
    if !rustix::process::geteuid().is_root() {
        skip("only root can give files to others");
        return;
    }
    let site = Site::start();
    // Somebody else runs the responder, and may enter where its files lie.
    let nobody = 65_534;
    set_mode(&site.root, 0o755);
    for place in ["ledger", "ledger/ledger.db", "docroot/.spool", "docroot/p"] {
        chown(site.root.join(place), Some(nobody), None).expect("given away");
    }
    let report = examine(&site);
    assert_eq!(finding(&report, "docroot")["verdict"], "ok", "{report:#}");
    // A command that root ran left its files there.
    chown(site.root.join("docroot/p"), Some(0), None).expect("taken back");
    is_told(&site, "docroot", "fail", "may not make files in");
    let wal = site.root.join("ledger/ledger.db-wal");
    chown(&wal, Some(1234), Some(1234)).expect("given away");
    is_told(&site, "ledger files", "fail", "ledger.db-wal");
    // What an account without rights sees, and does not.
    let copy = site.root.join("doctor");
    fs::copy(program(), &copy).expect("a copy");
    set_mode(&copy, 0o755);
    set_mode(&site.ledger_file(), 0o600);
    chown(site.ledger_file(), Some(0), None).expect("taken back");
    let output = Command::new("setpriv")
        .args(["--reuid", "1234", "--regid", "1234", "--clear-groups"])
        .arg(&copy)
        .arg("--config")
        .arg(site.config())
        .args(["doctor", "--json"])
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        skip("setpriv(1) is not installed");
        return;
    };
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"));
    for check in ["nginx configuration", "responder", "ledger", "last sweep"] {
        let finding = finding(&report, check);
        assert_eq!(finding["verdict"], "skip", "{check}: {report:#}");
    }
    assert_eq!(finding(&report, "locations")["verdict"], "ok", "{report:#}");
    assert_eq!(finding(&report, "public url")["verdict"], "ok");
}

#[test]
fn a_linked_directory_and_a_missing_page() {
    let site = Site::start();
    site.store("3m", "7D", PNG);
    let images = site.docroot().join("p");
    let elsewhere = site.root.join("elsewhere");
    fs::rename(&images, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &images).expect("linked");
    is_told(&site, "nginx workers", "fail", "symbolic link");
    fs::remove_file(&images).expect("unlinked");
    fs::rename(&elsewhere, &images).expect("moved back");
    fs::remove_file(site.docroot().join("view/page.html")).expect("removed");
    is_told(&site, "nginx workers", "warn", "a page is missing");
}

#[test]
fn too_little_room() {
    let site = Site::start();
    site.edit_config(|text| text.replace("min_free = \"10MiB\"", "min_free = \"900000GiB\""));
    is_told(&site, "free space", "fail", "less than min_free");
    site.edit_config(|text| text.replace("900000GiB", "1KiB"));
    assert_eq!(finding(&examine(&site), "free space")["verdict"], "ok");
}
