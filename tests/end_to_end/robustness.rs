//! What must not bring the responder down or cost an image: floods, small limits, broken peers, signals.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::ops::Range;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::builder::Launch;
use support::form::{Form, MULTIPART};
use support::machine::{path_of, until};
use support::pictures::{PNG, png_of, serial_of};
use support::site::{NOTHING, Site};
use support::{fastcgi, http};

#[test]
fn few_descriptors_and_500_connections() {
    let mut site = Site::builder()
        .launch(Launch::Descriptors(64))
        .expect("upstream prematurely closed connection")
        .expect("while connecting to upstream")
        .expect("Connection reset by peer")
        .expect("Broken pipe")
        .start();
    let limit = fs::read_to_string(format!("/proc/{}/limits", site.pid())).expect("limits");
    let open_files = limit
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert!(
        open_files.is_some_and(|line| line.contains(" 64 ")),
        "{open_files:?}"
    );
    // Connections that say nothing, as many as the system lets wait.
    let silent: Vec<_> = (0..500).map(|_| site.connect_responder()).collect();
    drop(silent);
    let statuses = Mutex::new(BTreeSet::new());
    let left = AtomicUsize::new(500);
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let take = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    let reply = site.upload("lifetime", "7D", PNG);
                    assert_eq!(reply.header("Content-Type"), Some("application/json"));
                    statuses.lock().expect("no panic").insert(reply.status);
                }
            });
        }
    });
    let statuses = statuses.into_inner().expect("no panic");
    assert!(
        statuses.is_subset(&BTreeSet::from([200, 502, 503])),
        "{statuses:?}"
    );
    until("an upload after the flood", || {
        (site.upload("3m", "7D", PNG).status == 200).then_some(())
    });
    site.pid();
    let holdings = site.holdings();
    assert_eq!(holdings.rows, holdings.files.len());
    assert_eq!((holdings.counted, holdings.spooled), (holdings.rows, 0));
}

/// A figure of `/proc/PID/status`, in KiB; `None` for a process that has ended.
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn memory_does_not_grow_with_the_size_of_uploads() {
    let mut site = Site::start();
    let pid = site.pid();
    assert_eq!(site.upload("lifetime", "7D", PNG).status, 200);
    let before = memory(pid, "VmRSS").expect("it runs");
    let image = png_of(10 << 20, 7);
    let body = Form::upload(site.client("lifetime"), "7D", &image).body();
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let reply = site.post_as(MULTIPART, &body);
                assert_eq!(reply.status, 200, "{}", reply.text());
            });
        }
    });
    let highest = memory(pid, "VmHWM").expect("it runs");
    let grown = highest.saturating_sub(before);
    eprintln!("64 uploads of 10 MiB at once: {grown} KiB more resident at the highest");
    assert!(grown < 64 << 10, "{grown} KiB");
    assert_eq!(site.holdings().files.len(), 65);
}

/// The most memory that a verification has resident, in KiB, as far as it is seen in time.
fn memory_of_verification(site: &Site) -> u64 {
    let mut command = site.command(&["verify"]);
    let mut verification = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut highest = 0;
    let status = until("the end of the verification", || {
        highest = memory(verification.id(), "VmHWM").unwrap_or(highest);
        verification.try_wait().expect("a child")
    });
    assert!(status.success(), "{status:?}");
    highest
}

#[test]
fn memory_of_a_verification_does_not_grow_with_the_number_of_images() {
    const COPY: &str = "INSERT INTO image (path, client, size, width, height, uploaded_at)
        SELECT ?1, client, size, width, height, uploaded_at FROM image WHERE path = ?2";
    let site = Site::start();
    let first = site.store("lifetime", "LTF", PNG);
    let add = |serials: Range<u32>| {
        let mut ledger = site.ledger();
        let rows = ledger.transaction().expect("a transaction");
        for serial in serials {
            let (month, day) = (["ja", "fe"][serial as usize % 2], serial / 2 % 28 + 1);
            let path = format!("l/{month}{day}/{serial:010}.png");
            rows.execute(COPY, [&path, &first]).expect("a row");
            let file = site.file(&path);
            fs::create_dir_all(file.parent().expect("a directory")).expect("made");
            fs::hard_link(site.file(&first), file).expect("linked");
        }
        rows.commit().expect("committed");
    };
    add(0..2_000);
    // The most of three: it may end before it is seen at its highest.
    let few = [(); 3].map(|()| memory_of_verification(&site));
    let few = few.into_iter().max().expect("three");
    add(2_000..40_000);
    let many = memory_of_verification(&site);
    eprintln!("a verification has {few} KiB resident with 2,000 images, {many} KiB with 40,000");
    assert!(many < few + (5 << 10), "{few} KiB, then {many} KiB");
}

#[test]
fn sigterm_lets_uploads_end() {
    until(
        "an upload that gets the ledger in time",
        sigterm_before_upload_ends,
    );
}

/// `None` if the machine took longer for it than an upload waits for the ledger.
fn sigterm_before_upload_ends() -> Option<()> {
    let mut site = Site::builder().expect("connect() to unix:").start();
    let ledger = site.ledger();
    let locked = Instant::now();
    ledger.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let reply = thread::scope(|scope| {
        let upload = scope.spawn(|| site.upload("3m", "7D", PNG));
        // It is spooled, and now waits for the ledger.
        until("the upload", || {
            (site.holdings().spooled == 1 || upload.is_finished()).then_some(())
        });
        site.signal(Signal::TERM);
        site.wait_for_log("event=draining");
        ledger.execute_batch("ROLLBACK").expect("the lock's end");
        upload.join().expect("a reply")
    });
    assert_eq!(site.wait_for_end().code(), Some(0));
    if reply.status == 500 && locked.elapsed() >= Duration::from_secs(5) {
        return None;
    }
    let path = path_of(&reply.url()).to_owned();
    assert!(site.responder_log().contains("event=stopped"));
    assert!(!site.socket().exists(), "the socket's file was left");
    assert_eq!(
        site.get(&format!("/p/{path}")).body,
        PNG,
        "images need no responder"
    );
    assert_eq!(site.upload("3m", "7D", PNG).status, 502);
    site.start_responder();
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);
    Some(())
}

#[test]
fn sigterm_under_load_loses_nothing_that_was_acknowledged() {
    let mut site = Site::builder()
        .expect("connect() to unix:")
        .expect("upstream prematurely closed connection")
        .expect("Connection reset by peer")
        .start();
    let acknowledged = load_until(&site, 20, || site.signal(Signal::TERM));
    assert_eq!(site.wait_for_end().code(), Some(0));
    site.start_responder();
    all_are_there(&site, &acknowledged);
    let holdings = site.holdings();
    assert_eq!(holdings.rows, holdings.files.len());
    assert_eq!((holdings.counted, holdings.spooled), (holdings.rows, 0));
}

#[test]
fn sigkill_under_load_loses_nothing_that_was_acknowledged() {
    let mut site = Site::builder()
        .expect("connect() to unix:")
        .expect("upstream prematurely closed connection")
        .expect("Connection reset by peer")
        .expect("Broken pipe")
        .start();
    for _ in 0..3 {
        let acknowledged = load_until(&site, 20, || site.signal(Signal::KILL));
        assert_eq!(site.wait_for_end().code(), None);
        // The file of its socket is left; the next responder takes its place.
        site.start_responder();
        all_are_there(&site, &acknowledged);
        let holdings = site.holdings();
        assert!(holdings.rows >= holdings.files.len(), "{holdings:?}");
        for path in &holdings.files {
            let bytes = fs::read(site.file(path)).expect("an image");
            assert!(serial_of(&bytes).is_some(), "{path} is not whole");
        }
    }
    assert_eq!(site.upload("3m", "7D", &png_of(1_000, 1)).status, 200);
}

/// Uploads from eight clients at once. After so many were acknowledged, something happens to the responder; the uploads end when
/// one fails. Gives the paths and serials of the acknowledged ones.
fn load_until(site: &Site, enough: usize, event: impl FnOnce()) -> Vec<(String, u64)> {
    let acknowledged = Mutex::new(Vec::new());
    let serials = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let serial = serials.fetch_add(1, Ordering::Relaxed) as u64;
                    let reply = site.upload("lifetime", "7D", &png_of(60_000, serial));
                    if reply.status == 200 {
                        let path = path_of(&reply.url()).to_owned();
                        acknowledged.lock().expect("no panic").push((path, serial));
                    } else {
                        assert_eq!(reply.status, 502, "{}", reply.text());
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        until("uploads", || {
            let count = acknowledged.lock().expect("no panic").len();
            (count >= enough).then_some(())
        });
        event();
    });
    acknowledged.into_inner().expect("no panic")
}

#[track_caller]
fn all_are_there(site: &Site, acknowledged: &[(String, u64)]) {
    for (path, serial) in acknowledged {
        let reply = site.get(&format!("/p/{path}"));
        assert_eq!(reply.status, 200, "{path} was acknowledged");
        assert_eq!(serial_of(&reply.body), Some(*serial), "{path}");
        let query = format!("SELECT count(*) FROM image WHERE path = '{path}'");
        assert_eq!(site.count(&query), 1, "{path} has no row");
    }
}

#[test]
fn a_client_that_leaves_leaves_nothing() {
    let site = Site::start();
    let body = Form::upload(site.client("3m"), "7D", &png_of(3 << 20, 1)).body();
    let head = format!(
        "POST /image/v2/ HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for sent in [0, 200, 100_000, body.len() - 1] {
        let mut stream = http::connect(site.port).expect("a connection");
        stream.write_all(head.as_bytes()).expect("the head is sent");
        stream.write_all(&body[..sent]).expect("a piece is sent");
        drop(stream);
        // nginx takes the whole request in first, so the responder never hears of this one.
        assert_eq!(site.upload("3m", "7D", b"").status, 400);
        assert_eq!(site.holdings(), NOTHING, "{sent} bytes");
    }
}

#[test]
fn a_web_server_that_breaks_off_leaves_nothing() {
    let site = Site::start();
    let body = Form::upload(site.client("3m"), "7D", &png_of(900_000, 1)).body();
    let opening = fastcgi::opening(MULTIPART, body.len());
    // Less than the form holds at a time, and more.
    for sent in [0, 30_000, 600_000] {
        let mut stream = site.connect_responder();
        stream.write_all(&opening).expect("the opening is sent");
        stream
            .write_all(&fastcgi::body(&body[..sent]))
            .expect("a piece is sent");
        if sent == 600_000 {
            until("the spool", || (site.holdings().spooled == 1).then_some(()));
        }
        drop(stream);
        until("an empty spool", || {
            (site.holdings() == NOTHING).then_some(())
        });
    }
    // One that ends the body early is answered, but not believed.
    let mut stream = site.connect_responder();
    let short = [opening, fastcgi::body(&body[..60_000]), fastcgi::body(b"")].concat();
    stream.write_all(&short).expect("the request is sent");
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).expect("the end");
    let reply = String::from_utf8_lossy(&reply);
    assert!(
        reply.contains(r#"{"error":"Malformed request body"}"#),
        "{reply}"
    );
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn garbage_on_the_socket_ends_its_connection_only() {
    let mut site = Site::start();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 4_096],
        &[0; 4_096],
        &[1, 1, 0, 1, 0xff, 0xff, 0xff, 0],
        &[1, 4, 0, 1, 0, 4, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ] {
        let mut stream = site.connect_responder();
        // It may be hung up on before it has sent everything.
        let _ = stream.write_all(garbage);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply);
    }
    site.pid();
    assert_eq!(site.upload("3m", "7D", PNG).status, 200);
}
