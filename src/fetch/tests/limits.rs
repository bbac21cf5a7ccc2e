//! How long a download takes at most, and how many run at once.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[test]
fn the_deadline_ends_whatever_a_server_does_to_hold_on() {
    let drip = Duration::from_millis(10);
    let server = Server::new(move |path, stream| match path {
        "/silent" => silence(stream),
        "/header-drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
            for_ever(stream, b"x", drip)
        }
        "/interim-replies" => for_ever(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n", drip),
        "/body-silent" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")?;
            silence(stream)
        }
        "/body-drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
            for_ever(stream, b"x", drip)
        }
        "/chunk-drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            for_ever(stream, b"1\r\nx\r\n", drip)
        }
        "/chunk-extension-drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")?;
            for_ever(stream, b"x", drip)
        }
        // Each hop alone is quick enough.
        _ => {
            thread::sleep(Duration::from_millis(400));
            stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /slow-redirects\r\n\r\n")
        }
    });
    // The kernel connects what nobody accepts; a handshake there is never answered.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let mute_address = mute.local_addr().expect("its address");
    let fetcher = fetcher(&format!(
        "timeout = \"1s\"\nmax_concurrent = 16\nallow = [\"{}\", \"{mute_address}\"]",
        server.address
    ));
    let mut urls: Vec<String> = [
        "/silent",
        "/header-drip",
        "/interim-replies",
        "/body-silent",
        "/body-drip",
        "/chunk-drip",
        "/chunk-extension-drip",
        "/slow-redirects",
    ]
    .map(|path| server.url(path))
    .to_vec();
    urls.push(format!("https://{mute_address}/"));
    thread::scope(|scope| {
        for url in &urls {
            let fetcher = &fetcher;
            scope.spawn(move || {
                let cause = cause(get(fetcher, url, PLENTY));
                assert!(cause.contains("timeout"), "{url}: {cause}");
            });
        }
    });
}

/// Keeps a connection until the test sets the flag.
fn wait_until(is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn no_more_downloads_run_at_once_than_configured() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let server = {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        Server::new(move |_, stream| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            // The first waits for the second. A third download, if one came, would find both still here.
            let second = Instant::now() + Duration::from_secs(15);
            while Instant::now() < second && most.load(Ordering::SeqCst) < 2 {
                thread::sleep(Duration::from_millis(1));
            }
            let patience = Instant::now() + Duration::from_millis(100);
            while Instant::now() < patience && most.load(Ordering::SeqCst) <= 2 {
                thread::sleep(Duration::from_millis(1));
            }
            running.fetch_sub(1, Ordering::SeqCst);
            stream.write_all(&with_length(b"image"))
        })
    };
    let fetcher = allowing(&[&server], "max_concurrent = 2");
    let url = server.url("/");
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(get(&fetcher, &url, PLENTY).expect("a body"), b"image"));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
    assert_eq!(server.paths().len(), 6);
}

#[test]
fn waiting_for_a_slot_ends_at_the_deadline_and_a_refused_url_does_not_wait() {
    let server = Server::sending(with_length(b"image"));
    let fetcher = allowing(&[&server], "timeout = \"1s\"\nmax_concurrent = 1");
    let slot = fetcher.admission.admit(-1, Instant::now());
    let slot = slot.expect("the only slot");
    let busy = get(&fetcher, &server.url("/"), PLENTY);
    assert!(
        matches!(&busy, Err((FetchError::Busy { cause, .. }, _)) if cause.contains("in time")),
        "{busy:?}"
    );
    assert!(cause(get(&fetcher, "ftp://x/", PLENTY)).contains("URL refused"));
    assert!(server.paths().is_empty());
    drop(slot);
}

#[test]
fn downloads_that_wait_leave_half_of_the_connections() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    // Silent until the others were refused.
    let server = Server::new(move |_, _| {
        wait_until(&over);
        Ok(())
    });
    let settings = format!("allow = [\"{}\"]\nmax_concurrent = 1", server.address);
    let fetcher = fetcher_of(&settings, 6);
    let url = server.url("/");
    let outcomes: Vec<_> = thread::scope(|scope| {
        let downloads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| get(&fetcher, &url, PLENTY)))
            .collect();
        let ended = || downloads.iter().filter(|download| download.is_finished());
        while ended().count() < 5 {
            thread::sleep(Duration::from_millis(1));
        }
        is_over.store(true, Ordering::SeqCst);
        let join = |download: thread::ScopedJoinHandle<'_, _>| download.join().expect("no panic");
        downloads.into_iter().map(join).collect()
    });
    let busy = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err((FetchError::Busy { .. }, _))))
        .count();
    // One ran, and two waited.
    assert_eq!(busy, 5, "{outcomes:?}");
    // Their permits are released, and every configuration has one.
    assert!(cause(get(&fetcher, "http://127.0.0.1/", PLENTY)).contains("not permitted"));
    let smallest = fetcher_of("", 1);
    assert!(cause(get(&smallest, "http://127.0.0.1/", PLENTY)).contains("not permitted"));
}

#[test]
fn a_client_whose_downloads_hang_leaves_the_others_their_slots() {
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let server = Server::new(move |path, stream| match path {
        "/silent" => {
            wait_until(&over);
            Ok(())
        }
        _ => stream.write_all(&with_length(b"image")),
    });
    let fetcher = allowing(&[&server], "");
    let url = server.url("/silent");
    let silent = || {
        server
            .paths()
            .iter()
            .filter(|path| *path == "/silent")
            .count()
    };
    thread::scope(|scope| {
        let hostile: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| get_as(-1, &fetcher, &url, PLENTY)))
            .collect();
        while silent() < 2 {
            thread::yield_now();
        }
        for _ in 0..20 {
            let body = get(&fetcher, &server.url("/image"), PLENTY);
            assert_eq!(body.expect("a body"), b"image");
        }
        assert_eq!(silent(), 2, "a quarter of eight");
        is_over.store(true, Ordering::SeqCst);
        for download in hostile {
            assert!(download.join().expect("no panic").is_err());
        }
    });
}

#[test]
fn a_client_whose_downloads_failed_for_a_minute_has_to_wait() {
    let server = Server::new(|path, stream| match path {
        "/missing" => stream.write_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"),
        _ => stream.write_all(&with_length(b"image")),
    });
    let fetcher = allowing(&[&server], "");
    let missing = server.url("/missing");
    let began = Instant::now();
    let mut failed = 0;
    let retry_after = loop {
        match get_as(-1, &fetcher, &missing, PLENTY) {
            Err((FetchError::Failed(_), _)) => failed += 1,
            Err((FetchError::Busy { retry_after, .. }, _)) => break retry_after,
            other => panic!("{other:?}"),
        }
        assert!(failed < 2_000);
    };
    // A tenth of a second each, or the time that a slow machine took.
    let cost = Duration::from_millis(100) * failed + began.elapsed();
    assert!(cost >= Duration::from_mins(1), "{failed}: {cost:?}");
    assert!((1..=60).contains(&retry_after));
    let image = server.url("/image");
    assert!(get_as(-1, &fetcher, &image, PLENTY).is_err());
    assert!(get_as(-2, &fetcher, &image, PLENTY).is_ok());
}
