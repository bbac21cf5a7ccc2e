//! Starting the responder: on its own socket, on an inherited one, as CGI; and configurations it refuses.

use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use support::builder::Launch;
use support::form::{Form, MULTIPART};
use support::machine::{PATIENCE, path_of, until};
use support::pictures::PNG;
use support::site::{NOTHING, Site};
use support::{http, program, skip};

fn works(site: &Site) {
    let path = site.store("3m", "7D", PNG);
    assert_eq!(site.get(&format!("/p/{path}")).body, PNG);
    assert_eq!(site.upload("3m", "LTF", PNG).status, 400);
}

#[test]
fn it_listens_on_tcp() {
    let site = Site::builder().tcp().start();
    assert!(site.responder_log().contains("address=tcp:127.0.0.1:"));
    works(&site);
}

#[test]
fn its_socket_is_open_to_its_group_only() {
    let site = Site::start();
    let metadata = fs::metadata(site.socket()).expect("a socket");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    works(&site);
    // A second responder does not replace the socket of a running one.
    let output = site.output(&["serve"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    works(&site);
}

#[test]
fn it_takes_a_socket_on_descriptor_0() {
    works(&Site::builder().launch(Launch::StandardInput).start());
}

#[test]
fn it_takes_a_socket_from_systemd() {
    works(&Site::builder().launch(Launch::SocketActivation).start());
}

#[test]
fn systemd_is_told_that_it_is_ready_alive_and_stopping() {
    for launch in [Launch::SocketActivation, Launch::Plain] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("a socket");
        manager.set_read_timeout(Some(PATIENCE)).expect("set");
        let told = || {
            let mut message = [0; 256];
            let length = manager.recv(&mut message).expect("a message");
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        let mut site = Site::builder()
            .launch(launch)
            .variable("NOTIFY_SOCKET", &path)
            .variable("WATCHDOG_USEC", "300000")
            .start();
        assert_eq!(told(), "READY=1\n");
        for _ in 0..5 {
            assert_eq!(told(), "WATCHDOG=1\n");
        }
        thread::scope(|scope| {
            let working = scope.spawn(|| works(&site));
            // Messages that nobody takes would stop it.
            while !working.is_finished() {
                assert_eq!(told(), "WATCHDOG=1\n");
            }
        });
        site.signal(Signal::TERM);
        let last = until("the last message", || {
            let message = told();
            (message != "WATCHDOG=1\n").then_some(message)
        });
        assert_eq!(last, "STOPPING=1\n");
        assert!(site.wait_for_end().success());
    }
}

/// A site without a responder, for a CGI host.
fn cgi_site() -> Site {
    Site::builder().launch(Launch::Absent).start()
}

/// Runs the program as a CGI host does (RFC 3875).
fn cgi(site: &Site, arguments: &[&str], variables: &[(&str, &str)], body: &[u8]) -> Output {
    let mut child = Command::new(program())
        .args(arguments)
        .env("CORENEXIS_CDN_CONFIG", site.config())
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("SCRIPT_NAME", "/image/v2/")
        .env("REQUEST_URI", "/image/v2/")
        .env("REMOTE_ADDR", "192.0.2.1")
        .env("CONTENT_LENGTH", body.len().to_string())
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("its input");
    // It may reply and exit before it has read everything.
    let _ = input.write_all(body);
    drop(input);
    child.wait_with_output().expect("its end")
}

fn post() -> [(&'static str, &'static str); 2] {
    [("REQUEST_METHOD", "POST"), ("CONTENT_TYPE", MULTIPART)]
}

#[test]
fn it_answers_one_request_as_cgi() {
    let site = cgi_site();
    let body = Form::upload(site.client("3m"), "7D", PNG).body();
    let output = cgi(&site, &[], &post(), &body);
    assert!(output.status.success(), "{output:?}");
    let reply = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(
        reply.starts_with("Status: 200 OK\r\nContent-Type: application/json\r\n"),
        "{reply}"
    );
    let (_, json) = reply.split_once("\r\n\r\n").expect("a body");
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let path = path_of(json["url"].as_str().expect("a url"));
    assert_eq!(site.get(&format!("/p/{path}")).body, PNG);
    let holdings = site.holdings();
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.spooled),
        (1, 1, 0)
    );
    assert_eq!(
        site.count("SELECT count(*) FROM token WHERE last_used_at IS NOT NULL"),
        1,
        "the use of the token is noted"
    );

    let reply = cgi(&site, &[], &post(), &body[..body.len() - 10]);
    let reply = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(reply.starts_with("Status: 400 "), "{reply}");
    let longer = [
        ("CONTENT_LENGTH", "99999"),
        ("REQUEST_METHOD", "POST"),
        ("CONTENT_TYPE", MULTIPART),
    ];
    let reply = cgi(&site, &[], &longer, &body[..body.len() - 10]);
    let reply = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(reply.starts_with("Status: 400 "), "{reply}");
    let reply = cgi(&site, &[], &[("REQUEST_METHOD", "GET")], b"");
    let reply = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(reply.starts_with("Status: 405 "), "{reply}");
    assert_eq!(site.holdings(), holdings);
}

#[test]
fn a_query_string_passed_as_arguments_is_not_a_command() {
    let site = cgi_site();
    let path = site.root.join("elsewhere");
    let elsewhere = path.display().to_string();
    for arguments in [
        &["sweep"][..],
        &["client", "remove", "client-3m", "--yes"],
        &["--config", "/nonexistent", "serve"],
        &["render", &elsewhere],
        &["--help"],
    ] {
        let query = ("QUERY_STRING", "sweep");
        let variables = [query, ("REQUEST_METHOD", "GET")];
        let output = cgi(&site, arguments, &variables, b"");
        let reply = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            reply.starts_with("Status: 405 "),
            "{arguments:?}: {output:?}"
        );
    }
    assert!(!path.exists());
    site.run(&["client", "show", "client-3m"]);
    assert_eq!(
        site.count("SELECT count(*) FROM meta WHERE name = 'swept_at'"),
        0
    );
    assert_eq!(site.holdings(), NOTHING);
}

/// A child process that Drop kills.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_answers_behind_fcgiwrap() {
    let Some(fcgiwrap) = ["/usr/sbin/fcgiwrap", "/usr/bin/fcgiwrap"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists())
    else {
        skip("fcgiwrap is not installed (package fcgiwrap)");
        return;
    };
    let wrapped = tempfile::tempdir().expect("a directory");
    let socket = wrapped.path().join("wrap.sock");
    // The fastcgi_params of Debian's fcgiwrap package.
    let server = format!(
        "server {{
            listen unix:{directory}/http.sock;
            location / {{
                fastcgi_param GATEWAY_INTERFACE CGI/1.1;
                fastcgi_param SERVER_PROTOCOL $server_protocol;
                fastcgi_param REQUEST_METHOD $request_method;
                fastcgi_param REQUEST_URI $request_uri;
                fastcgi_param DOCUMENT_URI $document_uri;
                fastcgi_param QUERY_STRING $query_string;
                fastcgi_param CONTENT_TYPE $content_type;
                fastcgi_param CONTENT_LENGTH $content_length;
                fastcgi_param REMOTE_ADDR $remote_addr;
                fastcgi_param SCRIPT_NAME $fastcgi_script_name;
                fastcgi_param SCRIPT_FILENAME {program};
                fastcgi_pass unix:{socket};
            }}
        }}",
        directory = wrapped.path().display(),
        socket = socket.display(),
        program = program(),
    );
    let site = Site::builder()
        .launch(Launch::Absent)
        .nginx(&server)
        // nginx logs the standard error of a CGI program, here its log.
        .expect("FastCGI sent in stderr")
        .start();
    let _wrapper = Ended(
        Command::new(fcgiwrap)
            .arg("-s")
            .arg(format!("unix:{}", socket.display()))
            .env("CORENEXIS_CDN_CONFIG", site.config())
            .stdin(Stdio::null())
            .spawn()
            .expect("fcgiwrap starts"),
    );
    until("fcgiwrap", || socket.exists().then_some(()));
    let body = Form::upload(site.client("3m"), "7D", PNG).body();
    let head = format!(
        "POST /image/v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {MULTIPART}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = std::os::unix::net::UnixStream::connect(wrapped.path().join("http.sock"))
        .expect("nginx accepts");
    stream
        .write_all(&[head.as_bytes(), &body].concat())
        .expect("the request is sent");
    let reply = http::read_reply(&mut stream).expect("a reply");
    let path = path_of(&reply.url()).to_owned();
    assert_eq!(site.get(&format!("/p/{path}")).body, PNG);
}

#[test]
fn a_configuration_that_drops_a_plan_in_use_is_refused() {
    let site = Site::builder()
        .set("plans.free", "")
        .set("plans.3m", "")
        .launch(Launch::Absent)
        .start();
    site.edit_config(|text| text.replace("[plans.3m]", "[plans.lifetime]"));
    let output = site.output(&["serve"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("client-3m"), "{message}");
    assert!(!message.contains("client-free"), "{message}");
    // Without the client the configuration is valid.
    site.run(&["client", "remove", "client-3m", "--yes"]);
    site.edit_config(|text| text.replace("[plans.lifetime]", "[plans.other]"));
    let output = site.output(&["serve"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("[plans.other] has no"), "{message}");
}

#[test]
fn errors_name_the_unusable_configuration() {
    let site = cgi_site();
    let good = fs::read_to_string(site.config()).expect("config.toml");
    let cases = [
        (good.replace("[server]", "[sever]"), "sever"),
        (good.replace("min_free", "min_fre"), "min_fre"),
        (good.replace("10MiB", "10MB"), "10MB"),
        (good.replace("listen = \"unix:", "listen = \"unx:"), "unx:"),
        (format!("{good}\n[images]\nmax_side = 0\n"), "max_side"),
        ("[".to_owned(), "line 1"),
    ];
    for (text, expected) in cases {
        fs::write(site.config(), &text).expect("written");
        for command in [&["serve"][..], &["sweep"], &["client", "list"]] {
            let output = site.output(command);
            assert_eq!(output.status.code(), Some(3), "{expected}: {output:?}");
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(message.contains(expected), "{message}");
            assert!(message.contains("config.toml"), "{message}");
        }
    }
    fs::remove_file(site.config()).expect("removed");
    let output = site.output(&["serve"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    fs::write(site.config(), &good).expect("written");
}
