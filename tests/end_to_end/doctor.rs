//! `doctor` beside a running site: the tests cause each fault and expect its report.

mod files;
mod nginx;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::machine::{can_unshare, unshared};
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
fn its_status_is_that_of_a_plugin_for_nagios() {
    let site = Site::start();
    let absent = Command::new(program())
        .args(["--config", "/absent.toml", "doctor", "--json", "--nagios"])
        .output()
        .expect("doctor ends");
    for output in [doctor(&site, &["--json", "--nagios"]), absent] {
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let status = match report["verdict"].as_str() {
            Some("fail") => 2,
            Some("warn") => 1,
            _ => 0,
        };
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    }
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
fn a_responder_that_does_not_run() {
    let mut site = Site::builder().expect("connect() to unix:").start();
    site.stop();
    is_told(&site, "responder", "fail", "nothing listens");
    is_told(&site, "public url", "fail", "502");
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
fn a_contact_that_is_missing_or_no_link_is_reported() {
    let site = Site::start();
    is_told(&site, "contact", "warn", "is empty");
    let set = |contact: &str| {
        site.edit_config(|text| {
            let (before, after) = text.split_once("[site]\n").expect("a table");
            let after = after.split_inclusive('\n');
            let after: String = after.filter(|line| !line.starts_with("contact")).collect();
            format!("{before}[site]\ncontact = \"{contact}\"\n{after}")
        });
    };
    set("ask at the desk");
    is_told(&site, "contact", "warn", "\"ask at the desk\"");
    for contact in ["abuse@example.com", "https://example.com/report"] {
        set(contact);
        assert_eq!(finding(&examine(&site), "contact")["message"], contact);
    }
}
