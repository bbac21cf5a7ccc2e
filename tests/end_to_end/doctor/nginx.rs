//! Faults of nginx, of its configuration and of the public URL.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;
use support::machine::{free_port, have};
use support::site::Site;

use super::{edit_nginx, finding, is_told};

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
