//! nginx, the way to the responder, visitors.

use super::*;
use Verdict::{Fail, Skip, Warn};

#[test]
fn versions_of_nginx() {
    for (version, verdict, noted) in [
        ("1.14.2", Fail, true),
        ("1.18.0", Warn, true),
        ("1.22.1", Verdict::Ok, true),
        ("1.30.3", Verdict::Ok, true),
        ("1.30.4", Verdict::Ok, false),
        ("1.31.2", Verdict::Ok, true),
        ("1.31.3", Verdict::Ok, false),
        ("2.0.0", Verdict::Ok, false),
    ] {
        let found = nginx_version(&build(version));
        assert_eq!(
            (found.verdict, found.advice.is_some()),
            (verdict, noted),
            "{version}"
        );
    }
}

#[test]
fn faults_of_nginx() {
    is_told(
        |facts| facts.nginx.master = Ok(None),
        "nginx running",
        Fail,
        "no nginx runs",
    );
    is_told(
        |facts| {
            facts.nginx.test = Ok(Test {
                passed: false,
                complaints: vec!["[emerg] unknown directive \"x\"".to_owned()],
            });
        },
        "nginx configuration",
        Fail,
        "unknown directive",
    );
    is_told(
        |facts| {
            let line = "[warn] conflicting server name \"cdn.example.com\" on 0.0.0.0:80, ignored";
            facts.nginx.test = Ok(Test {
                passed: true,
                complaints: vec![line.to_owned()],
            });
        },
        "nginx configuration",
        Warn,
        "conflicting",
    );
    is_told(
        |facts| {
            facts.examiner = account("me", 1000);
            facts.nginx.test = Err("`nginx -t` does not work for me".to_owned());
        },
        "nginx configuration",
        Skip,
        "as root",
    );
    is_told(
        |facts| facts.nginx.outdated = vec!["/n/s.conf".into()],
        "nginx files",
        Warn,
        "/n/s.conf",
    );
}

#[test]
fn faults_of_the_site_in_nginx() {
    is_told(
        |facts| facts.nginx.web = Ok(Web::default()),
        "locations",
        Fail,
        "no server",
    );
    is_told(
        |facts| {
            facts.nginx.web = Ok(web(&facts.config, |text| {
                text.replace("location ^~ /.spool/", "location /x")
            }));
        },
        "locations",
        Fail,
        "^~ /.spool/",
    );
    is_told(
        |facts| facts.config = config_of("https://other.example", ""),
        "locations",
        Fail,
        "other.example",
    );
    for (size, verdict, text) in [
        ("client_max_body_size 1m;", Fail, "over 1 MiB"),
        ("client_max_body_size 10m;", Fail, "images of 10 MiB"),
        ("client_max_body_size 64m;", Warn, "takes in 64 MiB"),
        ("client_max_body_size 0;", Warn, "is 0"),
    ] {
        let edit = |text: String| text.replace("client_max_body_size 10551296;", size);
        is_told(
            |facts| facts.nginx.web = Ok(web(&facts.config, edit)),
            "body size",
            verdict,
            text,
        );
    }
    let edit = |text: String| text.replace("root \"/var/www/corenexis-cdn\"", "root /srv");
    is_told(
        |facts| facts.nginx.web = Ok(web(&facts.config, edit)),
        "docroot in nginx",
        Fail,
        "from /srv",
    );
    is_told(
        |facts| facts.nginx.web.as_mut().expect("read").responders = vec!["unix:/x".to_owned()],
        "responder in nginx",
        Fail,
        "unix:/x",
    );
}

#[test]
fn faults_between_nginx_and_the_rest() {
    is_told(
        |facts| facts.places.docroot = place("/var/www/corenexis-cdn", 900, 900, 0o750),
        "nginx workers",
        Fail,
        "www-data may not enter /var/www/corenexis-cdn (mode 0750)",
    );
    is_told(
        |facts| facts.places.classes[0].is_link = true,
        "nginx workers",
        Fail,
        "symbolic link",
    );
    is_told(
        |facts| facts.places.pages[0].way = Err("/x: No such file".to_owned()),
        "nginx workers",
        Warn,
        "a page is missing",
    );
    is_told(
        |facts| facts.responder.socket = Some(place("/run/corenexis-cdn.sock", 900, 900, 0o660)),
        "socket",
        Fail,
        "may not write to /run/corenexis-cdn.sock",
    );
    let nobody = || Err(Unconnected::Nobody("Connection refused".to_owned()));
    is_told(
        |facts| facts.responder.connected = nobody(),
        "responder",
        Fail,
        "refused",
    );
    let denied = || Err(Unconnected::Denied("Permission denied".to_owned()));
    is_told(
        |facts| {
            facts.examiner = account("me", 1000);
            facts.responder.connected = denied();
        },
        "responder",
        Skip,
        "as root",
    );
    is_told(
        |facts| facts.worker.body_temp = Ok(place("/var/lib/nginx/body", 101, 0, 0o700)),
        "client_body_temp",
        Fail,
        "make files in /var/lib/nginx/body",
    );
    is_told(
        |facts| {
            facts
                .worker
                .body_temp
                .as_mut()
                .expect("seen")
                .room
                .as_mut()
                .expect("room")
                .free_bytes = 1 << 20;
        },
        "client_body_temp",
        Warn,
        "1 MiB left",
    );
}

#[test]
fn what_visitors_get() {
    let health = |answer| move |facts: &mut Facts| facts.public.health = answer;
    is_told(
        health(Err("Connection refused".to_owned())),
        "public url",
        Fail,
        "refused",
    );
    let redirect = Answer {
        location: Some("https://www.example.com/".to_owned()),
        ..answer(301, "")
    };
    is_told(
        health(Ok(redirect)),
        "public url",
        Fail,
        "redirects to https://www",
    );
    let unwell = r#"{"status":"failed","ledger":"ok","docroot":"failed","free_space":"ok"}"#;
    is_told(
        health(Ok(answer(503, unwell))),
        "public url",
        Fail,
        "uploads fail: docroot",
    );
    is_told(
        health(Ok(answer(502, r#"{"error":"Bad gateway"}"#))),
        "public url",
        Fail,
        "502",
    );
    is_told(
        health(Ok(answer(404, "<html>"))),
        "public url",
        Fail,
        "without JSON",
    );
    is_told(
        health(Ok(answer(200, r#"{"status":"fine"}"#))),
        "public url",
        Fail,
        "answers 200",
    );
    let page = Ok(answer(404, "<html>"));
    is_told(
        |facts| facts.public.missing_image = page,
        "image rules",
        Fail,
        "404",
    );
}
