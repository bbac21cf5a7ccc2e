//! `doctor` beside a running site: the tests cause each fault and expect its report.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use support::machine::{can_unshare, free_port, have, unshared};
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

/// Expects a finding of this check with this verdict, a message that contains `text`, and advice.
#[track_caller]
fn is_told(site: &Site, check: &str, verdict: &str, text: &str) {
    let report = examine(site);
    let findings = report["findings"].as_array().expect("findings");
    let told = findings.iter().any(|finding| {
        finding["check"] == check
            && finding["verdict"] == verdict
            && finding["message"]
                .as_str()
                .is_some_and(|message| message.contains(text))
            && finding["advice"].is_string()
    });
    assert!(told, "no {check} {verdict} with {text:?}: {report:#}");
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
        ("nginx running", "ok"),
        ("nginx configuration", "ok"),
        ("nginx files", "ok"),
        ("nginx workers", "ok"),
        ("responder", "ok"),
        ("socket", "ok"),
        ("client_body_temp", "ok"),
        ("docroot", "ok"),
        ("file systems", "ok"),
        ("free space", "ok"),
        ("ledger", "ok"),
        ("write-ahead log", "ok"),
        ("identity", "ok"),
        ("clients", "ok"),
        ("clock", "ok"),
        ("last sweep", "ok"),
        ("sweep schedule", "ok"),
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
    for finding in report["findings"].as_array().expect("findings") {
        let has_advice = finding["advice"].is_string();
        let is_bad = ["warn", "fail"]
            .iter()
            .any(|bad| finding["verdict"] == *bad);
        assert_eq!(has_advice, is_bad, "{finding}");
    }
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
    is_told(&site, "responder", "fail", "nothing listens");
    is_told(&site, "public url", "fail", "502");
}

#[test]
fn nginx_that_says_something_else_than_the_configuration() {
    let site = Site::start();
    let server = "corenexis-cdn.server.conf";
    edit_nginx(
        &site,
        server,
        "client_max_body_size 21037056;",
        "client_max_body_size 1m;",
    );
    is_told(
        &site,
        "nginx files",
        "fail",
        "lacks `client_max_body_size 21037056;`",
    );
    edit_nginx(
        &site,
        server,
        "location = /image/docs {",
        "location = /elsewhere {",
    );
    is_told(&site, "nginx files", "fail", "`location = /image/docs {`");
    let http = "corenexis-cdn.http.conf";
    edit_nginx(
        &site,
        http,
        "keepalive_timeout 60s;",
        "keepalive_timeout 5s;",
    );
    is_told(&site, "nginx files", "warn", "`keepalive_timeout 60s;`");
    edit_nginx(&site, http, "run/cdn.sock", "run/other.sock");
    is_told(&site, "nginx files", "fail", "run/cdn.sock");
    edit_nginx(
        &site,
        "nginx.conf",
        "include corenexis-cdn.server.conf;",
        "",
    );
    is_told(&site, "nginx files", "fail", "no corenexis-cdn.server.conf");
    edit_nginx(&site, "nginx.conf", "http {", "http { nonsense on;");
    is_told(&site, "nginx configuration", "fail", "nonsense");
}

#[test]
fn a_configuration_that_was_not_rendered_again() {
    let site = Site::start();
    site.edit_config(|text| {
        format!("{text}[plans.3m]\nmax_file_size = \"20MiB\"\n[plans.free]\n[plans.lifetime]\n")
    });
    is_told(
        &site,
        "nginx files",
        "fail",
        "client_max_body_size 42008576;",
    );
    site.edit_config(|text| text.replace("[plans.lifetime]\n", ""));
    is_told(&site, "clients", "fail", "client-lifetime");
    site.edit_config(|text| text.replace("/docroot", "/docroto"));
    is_told(&site, "docroot", "fail", "docroto");
    is_told(&site, "nginx files", "fail", "docroto");
    site.edit_config(|text| text.replace("[plans.free]", "[plans.free]\nbogus = 1"));
    is_told(&site, "configuration", "fail", "bogus");
}

#[test]
fn a_ledger_that_is_lost_damaged_or_in_the_future() {
    let site = Site::start();
    let ledger = site.ledger();
    let late = "UPDATE meta SET value = value - 864000 WHERE name LIKE '%_at'";
    ledger.execute(late, []).expect("updated");
    is_told(
        &site,
        "last sweep",
        "fail",
        "none since the ledger was created",
    );
    site.run(&["sweep"]);
    ledger
        .execute(
            "UPDATE meta SET value = value - 7300 WHERE name = 'swept_at'",
            [],
        )
        .expect("updated");
    is_told(&site, "last sweep", "warn", "2 hours ago");
    ledger
        .execute(
            "UPDATE meta SET value = value + 864000 WHERE name LIKE '%_at'",
            [],
        )
        .expect("updated");
    is_told(&site, "clock", "fail", "according to the ledger");
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
    site.store("3m", "7D", PNG);
    is_told(&site, "ledger", "fail", "holds images: the ledger is lost");
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
    is_told(&site, "docroot", "fail", "may not create files in");
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
    let unseen = [
        "nginx running",
        "nginx configuration",
        "nginx files",
        "nginx workers",
        "responder",
        "ledger",
        "last sweep",
    ];
    for check in unseen {
        let finding = finding(&report, check);
        assert_eq!(finding["verdict"], "skip", "{check}: {report:#}");
    }
    // What depends on nginx's configuration is not guessed.
    for check in ["socket", "client_body_temp"] {
        assert_eq!(*finding(&report, check), Value::Null, "{report:#}");
    }
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
    is_told(&site, "nginx workers", "warn", "page.html is missing");
}

#[test]
fn too_little_room() {
    let site = Site::start();
    site.edit_config(|text| text.replace("min_free = \"10MiB\"", "min_free = \"900000GiB\""));
    is_told(&site, "free space", "fail", "less than min_free");
    site.edit_config(|text| text.replace("900000GiB", "1KiB"));
    assert_eq!(finding(&examine(&site), "free space")["verdict"], "ok");
}

#[test]
fn fifos_in_docroot_and_ledger_directory_are_reported_and_not_opened() {
    let mut site = Site::builder().expect("connect() to unix:").start();
    site.store("3m", "7D", PNG);
    site.signal(Signal::TERM);
    site.wait_for_end();
    let replace_by_fifo = |path: &Path| {
        let away = path.with_extension("away");
        let _ = fs::rename(path, &away);
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        away
    };
    let restore = |path: &Path, away: &Path| {
        fs::remove_file(path).expect("removed");
        let _ = fs::rename(away, path);
    };
    let ledger = site.ledger_file();
    let wal = site.root.join("ledger/ledger.db-wal");
    let images = site.docroot().join("p/d");
    for (path, check) in [(&ledger, "ledger"), (&wal, "ledger"), (&images, "docroot")] {
        let away = replace_by_fifo(path);
        is_told(&site, check, "fail", "is not a");
        restore(path, &away);
    }
    // The ones below are read as text or by nginx, or only looked at.
    for path in [
        "docroot/view/page.html",
        "nginx/run/nginx.pid",
        "run/cdn.sock",
    ] {
        let path = site.root.join(path);
        let away = replace_by_fifo(&path);
        examine(&site);
        restore(&path, &away);
    }
}

#[test]
fn a_configured_mount_that_is_absent_is_reported() {
    if !can_unshare(&["--mount"]) {
        return;
    }
    let site = Site::start();
    let fstab = site.root.join("fstab");
    let docroot = site.docroot().canonicalize().expect("there");
    let line = format!("/dev/vdz1 {} ext4 defaults 0 2\n", docroot.display());
    fs::write(&fstab, line).expect("written");
    let report = |mount: &str| -> Value {
        let script = format!(
            "set -e; mount --bind {} /etc/fstab; {mount}; exec {} --config {} doctor --json",
            fstab.display(),
            program(),
            site.config().display()
        );
        let output = unshared(&["--mount"]).args(["sh", "-c", &script]).output();
        let output = output.expect("unshare runs");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"))
    };
    let absent = report("true");
    let mounts = finding(&absent, "mounts");
    assert_eq!(mounts["verdict"], "fail", "{absent:#}");
    let message = mounts["message"].as_str().expect("a message");
    assert!(message.contains("which is not mounted"), "{message}");
    let bind = format!("mount --bind {0} {0}", docroot.display());
    let mounted = report(&bind);
    assert_eq!(*finding(&mounted, "mounts"), Value::Null, "{mounted:#}");
}

#[test]
fn a_cron_job_without_a_cron_daemon_is_reported() {
    let namespaces = ["--mount", "--pid", "--fork", "--mount-proc"];
    if !can_unshare(&namespaces) {
        return;
    }
    let site = Site::start();
    let crontabs = site.root.join("cron.d");
    fs::create_dir(&crontabs).expect("created");
    let schedule = |config: &Path, start: &str| -> (Value, String) {
        let line = format!(
            "*/10 * * * * root corenexis-cdn --config {} sweep\n",
            config.display()
        );
        fs::write(crontabs.join("corenexis-cdn"), line).expect("written");
        let script = format!(
            "set -e; mount --bind {} /etc/cron.d; cp \"$(command -v sleep)\" {}/cron; {start}; exec {} --config {} doctor --json",
            crontabs.display(),
            site.root.display(),
            program(),
            site.config().display()
        );
        let output = unshared(&namespaces).args(["sh", "-c", &script]).output();
        let output = output.expect("unshare runs");
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {output:?}"));
        let found = finding(&report, "sweep schedule");
        (found["verdict"].clone(), found["message"].to_string())
    };
    let (verdict, message) = schedule(&site.config(), "true");
    assert_eq!(verdict, "warn", "{message}");
    assert!(
        message.contains("/etc/cron.d/corenexis-cdn, but no cron daemon runs"),
        "{message}"
    );
    let daemon = format!("{{ {}/cron 60 >&- 2>&- & }}", site.root.display());
    let (verdict, message) = schedule(&site.config(), &daemon);
    assert_eq!(verdict, "ok", "{message}");
    assert!(message.contains("run by cron (process "), "{message}");
    let (_, message) = schedule(Path::new("/srv/other.toml"), "true");
    assert!(
        !message.contains("cron.d"),
        "another configuration: {message}"
    );
}

#[test]
fn a_responder_that_other_hosts_may_reach_is_reported() {
    let site = Site::builder().tcp().start();
    assert_eq!(*finding(&examine(&site), "listen"), Value::Null);
    site.edit_config(|text| text.replace("tcp:127.0.0.1:", "tcp:0.0.0.0:"));
    is_told(&site, "listen", "warn", "FastCGI has no authentication");
}

#[test]
fn certificates_that_clients_reject_are_explained() {
    if !have(&["openssl"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name).display().to_string();
    let (key, request) = (at("key.pem"), at("request.pem"));
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output();
        let output = output.expect("openssl runs");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    let subject = [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ];
    let new_key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let request_options = ["req", "-new", "-keyout", &key, "-out", &request];
    openssl(&[&request_options, &new_key[..], &subject[..]].concat());
    // `openssl x509` has no option for the dates of a certificate before version 3.4.
    let database = format!(
        "[ca]\ndefault_ca = test\n[test]\ndatabase = {0}\nnew_certs_dir = {1}\nunique_subject = no\nrand_serial = yes\ndefault_md = sha256\npolicy = any\n\
         copy_extensions = copy\n[any]\ncommonName = supplied\n",
        at("index"),
        directory.path().display()
    );
    fs::write(at("ca.cnf"), database).expect("written");
    fs::write(at("index"), "").expect("written");
    let sign = |out: &str, end: &str| {
        let dates = ["-startdate", "20260101000000Z", "-enddate", end];
        let (config, files) = (
            at("ca.cnf"),
            ["-in", &request, "-keyfile", &key, "-out", out],
        );
        let options = ["ca", "-config", &config, "-selfsign", "-batch", "-notext"];
        openssl(&[&options[..], &dates, &files].concat());
    };
    let (expired, self_signed, authority) = (at("expired"), at("self-signed"), at("authority"));
    sign(&expired, "20260405000000Z");
    sign(&self_signed, "20991231000000Z");
    let options = [
        "req", "-x509", "-key", &key, "-out", &authority, "-days", "30",
    ];
    openssl(&[&options[..], &subject[..]].concat());
    let mut nginx = String::new();
    let mut cases = Vec::new();
    for (certificate, text) in [
        (expired, "expired on 2026-04-05"),
        (
            self_signed,
            "is not signed by a public certificate authority",
        ),
        (authority, "a self-signed certificate is the usual cause"),
    ] {
        let port = free_port();
        let _ = writeln!(
            nginx,
            "server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; }}"
        );
        cases.push((port, text));
    }
    let site = Site::builder().nginx(&nginx).start();
    for (port, text) in cases {
        site.edit_config(|config| {
            let (before, after) = config.split_once("public_url = \"").expect("a URL");
            let (_, after) = after.split_once('"').expect("an end");
            format!("{before}public_url = \"https://127.0.0.1:{port}\"{after}")
        });
        is_told(&site, "certificate", "fail", text);
    }
}
