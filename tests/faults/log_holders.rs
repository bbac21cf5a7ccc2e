//! Several processes on one ledger, of which one holds the write-ahead log; and a log whose disk is full.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Signal, kill_process};

use crate::invariants::{Installation, assert_invariants};
use crate::uploads::{Uploads, unlimited, unlimited_with_restarts};
use crate::volume::Volume;
use support::fastcgi::request_from;
use support::form::{Form, MULTIPART};
use support::machine::{end, path_of, pid_of, read, until};
use support::pictures::png_of;
use support::program;
use support::site::Site;

/// A responder beside the one behind nginx.
struct Second {
    process: Child,
    socket: PathBuf,
    log: PathBuf,
}

impl Second {
    fn start(site: &Site) -> Self {
        let socket = site.root.join("run/second.sock");
        let log = site.root.join("second.log");
        let process = site
            .command(&["serve", "--listen", &format!("unix:{}", socket.display())])
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("the responder starts");
        let second = Self {
            process,
            socket,
            log,
        };
        until("the second responder", || {
            second.has_logged("event=listening").then_some(())
        });
        second
    }

    fn has_logged(&self, event: &str) -> bool {
        read(&self.log).contains(event)
    }

    /// Uploads one image to it.
    fn upload(&self, site: &Site, uploads: &Uploads, serial: u64) {
        let body = body(site, serial);
        let mut stream = UnixStream::connect(&self.socket).expect("the responder accepts");
        let request = request_from("127.0.0.1", MULTIPART, &body);
        stream.write_all(&request).expect("sent");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).expect("a reply");
        note(uploads, &String::from_utf8_lossy(&reply), serial);
    }

    fn end(mut self) {
        kill_process(pid_of(&self.process), Signal::TERM).expect("signalled");
        assert!(self.process.wait().expect("its end").success());
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn body(site: &Site, serial: u64) -> Vec<u8> {
    Form::upload(site.client("lifetime"), "7D", &png_of(9_000, serial)).body()
}

/// Notes the image of a successful reply.
fn note(uploads: &Uploads, reply: &str, serial: u64) {
    let (_, rest) = reply.split_once(r#""url":""#).expect(reply);
    let (url, _) = rest.split_once('"').expect(reply);
    uploads.note(path_of(url), serial);
}

/// Uploads one image as a CGI host does.
fn upload_by_cgi(site: &Site, uploads: &Uploads, serial: u64) {
    let body = body(site, serial);
    let mut child = Command::new(program())
        .env("CORENEXIS_CDN_CONFIG", site.config())
        .env("GATEWAY_INTERFACE", "CGI/1.1")
        .env("SERVER_PROTOCOL", "HTTP/1.1")
        .env("REQUEST_METHOD", "POST")
        .env("CONTENT_TYPE", MULTIPART)
        .env("SCRIPT_NAME", "/image/v2/")
        .env("REQUEST_URI", "/image/v2/")
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("its input");
    input.write_all(&body).expect("read");
    drop(input);
    let output = child.wait_with_output().expect("its end");
    note(uploads, &String::from_utf8_lossy(&output.stdout), serial);
}

#[test]
fn processes_without_the_log_commit_beside_its_holder_and_the_next_responder_takes_it_over() {
    let mut site = unlimited_with_restarts().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let second = Second::start(&site);
    assert!(!second.has_logged("event=log_opened"), "two hold the log");
    uploads.during(&site, 4, 9_000, || {
        thread::scope(|scope| {
            scope.spawn(|| (0..40).for_each(|n| second.upload(&site, &uploads, 1_000_000 + n)));
            scope.spawn(|| (0..10).for_each(|n| upload_by_cgi(&site, &uploads, 2_000_000 + n)));
        });
        uploads.wait_for(10);
        site.signal(Signal::KILL);
        // The first upload after the end of the holder finds the log free, at the latest after a second.
        let mut serial = 3_000_000;
        until("the log in the second responder", || {
            serial += 1;
            second.upload(&site, &uploads, serial);
            second.has_logged("event=log_opened").then_some(())
        });
    });
    assert_eq!(site.wait_for_end().code(), None);
    assert_invariants(&mut installation, &uploads.acknowledged(0));

    // An upgrade: the next responder starts while the old one still serves, which then ends in order.
    let opened = |site: &Site| site.responder_log().matches("event=log_opened").count();
    let before = opened(&site);
    site.start_responder();
    assert_eq!(uploads.upload(&site, 9_000), 200);
    assert_eq!(opened(&site), before, "two hold the log");
    uploads.during(&site, 4, 9_000, || {
        (0..10).for_each(|n| second.upload(&site, &uploads, 4_000_000 + n));
        second.end();
        until("the log in the next responder", || {
            (opened(&site) > before).then_some(())
        });
    });
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    installation.sweep_removes_leftovers();
}

#[test]
fn regression_sqlites_wal_took_the_space_that_its_checkpoint_needs() {
    let Some(ledger) = Volume::make(32) else {
        return;
    };
    let site = unlimited()
        .set("storage", "min_free = 0")
        .ledger(&ledger.directory("ledger"))
        .start();
    // SQLite's WAL may grow to 64 MiB.
    ledger.leave(14 << 20);
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    uploads.during(&site, 4, 2_000, || uploads.wait_for(3_000));
    assert_eq!(uploads.take_refusals(), BTreeMap::new());
    assert_invariants(&mut installation, &uploads.acknowledged(0));
}

#[test]
fn log_ledger_and_docroot_may_each_be_full_while_the_others_are_not() {
    let (Some(log), Some(ledger), Some(docroot)) =
        (Volume::make(64), Volume::make(64), Volume::make(256))
    else {
        return;
    };
    let ledger_directory = ledger.directory("ledger");
    let name: &Path = &ledger_directory.join("ledger.db-log");
    symlink(log.directory("log"), name).expect("a link");
    let mut site = unlimited()
        .set("storage", "min_free = 0")
        .docroot(&docroot.directory("docroot"))
        .ledger(&ledger_directory)
        .start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    for (full, volume) in [("log", &log), ("ledger", &ledger), ("docroot", &docroot)] {
        let before = uploads.len();
        assert_eq!(uploads.upload(&site, 9_000), 200);
        volume.leave(0);
        // Small, so that a fast machine does not fill the docroot meanwhile.
        uploads.during(&site, 4, 2_000, || match full {
            // It has its space from the start.
            "log" => uploads.wait_for(1_000),
            _ => until("refusals", || uploads.has_refusals().then_some(())),
        });
        let refused = uploads.take_refusals();
        assert_eq!(refused.is_empty(), full == "log", "{full}: {refused:?}");
        assert_invariants(&mut installation, &uploads.acknowledged(before));
        volume.free_again();
        assert_eq!(uploads.upload(&site, 9_000), 200, "{full}: there is space");
    }
    // A responder that finds no space for the log commits without it, and opens it later.
    site.stop();
    fs::remove_dir_all(log.directory("log")).expect("removed");
    fs::create_dir(log.directory("").join("log")).expect("made");
    log.leave(0);
    let opened = |site: &Site| site.responder_log().matches("event=log_opened").count();
    let before = opened(&site);
    site.start_responder();
    site.wait_for_log("event=log_unavailable");
    assert_eq!(uploads.upload(&site, 9_000), 200);
    assert_eq!(opened(&site), before);
    log.free_again();
    until("the log", || {
        assert_eq!(uploads.upload(&site, 9_000), 200);
        (opened(&site) > before).then_some(())
    });
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    installation.sweep_removes_leftovers();
}
