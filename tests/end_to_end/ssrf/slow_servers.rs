//! Uploads by URL from servers that are slow, silent or never end: none holds a download longer than its deadline, or takes the place of
//! other requests.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::machine::until;
use support::origin::{Canary, FAILED, Origin, by_url, for_ever, redirect, silence, whole};
use support::pictures::PNG;
use support::site::{NOTHING, Site};

use super::{settings, site};

/// Whatever a server does to hold on to a download.
fn hold(target: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let drip = Duration::from_millis(20);
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    match target {
        "/silent" => silence(stream),
        "/header-drip" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
            for_ever(stream, b"x", drip)
        }
        "/interim-replies" => for_ever(stream, b"HTTP/1.1 103 Early Hints\r\n\r\n", drip),
        "/interim-flood" => for_ever(stream, b"HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO),
        "/body-silent" => {
            stream.write_all(long)?;
            silence(stream)
        }
        "/body-drip" => {
            stream.write_all(long)?;
            for_ever(stream, b"x", drip)
        }
        "/image-drip" => {
            // Taken and checked as it comes, an image has no end either.
            stream.write_all(&whole("image/png", PNG)[..200])?;
            for_ever(stream, &PNG[150..151], drip)
        }
        "/chunk-drip" => {
            stream.write_all(chunked)?;
            for_ever(stream, b"1\r\nx\r\n", drip)
        }
        "/extension-flood" => {
            stream.write_all(&[chunked, &b"1;"[..]].concat())?;
            for_ever(stream, &[b'x'; 4_096], Duration::ZERO)
        }
        "/trailer-flood" => {
            stream.write_all(&[chunked, &b"1\r\nx\r\n0\r\n"[..]].concat())?;
            for_ever(
                stream,
                b"X-Trailer: xxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
                Duration::ZERO,
            )
        }
        "/trailer-drip" => {
            stream.write_all(&[chunked, &b"1\r\nx\r\n0\r\nX-Trailer: "[..]].concat())?;
            for_ever(stream, b"x", drip)
        }
        _ => {
            // Each hop alone is quick enough.
            thread::sleep(Duration::from_millis(800));
            stream.write_all(&redirect(302, "/slow-redirects"))
        }
    }
}

/// Bodies without an end, each sent as fast as it can be.
fn endless(target: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    if target == "/chunked" {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        return for_ever(stream, b"10\r\n0123456789abcdef\r\n", Duration::ZERO);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    for_ever(stream, &[7; 4_096], Duration::ZERO)
}

#[test]
fn every_download_ends_at_its_deadline() {
    // Two seconds, and what a busy machine adds. Without a deadline they would take minutes.
    const LIMIT: Duration = Duration::from_secs(40);
    let canary = Canary::on_all_addresses();
    let hops = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hops);
    let origin = Origin::start(Ipv4Addr::LOCALHOST, move |target, stream| {
        if target == "/slow-redirects" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        hold(target, stream)
    });
    // A handshake that is never answered, and one whose record comes byte by byte.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let dripping = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let [mute_address, dripping_address] =
        [&mute, &dripping].map(|listener| listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut stream in dripping.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1_024]);
                let _ = stream.write_all(b"\x16\x03\x03\x3f\xff\x02\0\x3f\xfb");
                let _ = for_ever(&mut stream, b"\0", Duration::from_millis(20));
            });
        }
    });
    let site = Site::builder()
        .set(
            "fetch",
            &format!(
                "allow = [\"{}\", \"{mute_address}\", \"{dripping_address}\"]\n\
                 ports = [80, 443, {}]\ntimeout = \"2s\"\nmax_concurrent = 64",
                origin.address,
                canary.port()
            ),
        )
        .start();
    let mut urls: Vec<String> = [
        "/silent",
        "/header-drip",
        "/interim-replies",
        "/interim-flood",
        "/body-silent",
        "/body-drip",
        "/image-drip",
        "/chunk-drip",
        "/extension-flood",
        "/trailer-flood",
        "/trailer-drip",
        "/slow-redirects",
    ]
    .map(|target| origin.url(target))
    .to_vec();
    urls.push(format!("https://{mute_address}/"));
    urls.push(format!("https://{dripping_address}/"));
    thread::scope(|scope| {
        for url in &urls {
            let site = &site;
            scope.spawn(move || {
                let began = Instant::now();
                let reply = by_url(site, "3m", url);
                let took = began.elapsed();
                assert_eq!((reply.status, reply.text()), (400, FAILED), "{url}");
                assert!(took < LIMIT, "{url}: {took:?}");
            });
        }
    });
    // Each took 0.8 seconds, and there may be six.
    let hops = hops.load(Ordering::SeqCst);
    assert!(hops <= 3, "{hops} hops in two seconds");
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn a_body_without_end_is_cut_at_the_plans_limit() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, endless);
    let site = site(&origin, &canary, "60s");
    let expected = r#"{"error":"File too large","max_size":2097152}"#;
    for target in ["/plain", "/chunked"] {
        let reply = by_url(&site, "free", &origin.url(target));
        assert_eq!((reply.status, reply.text()), (400, expected), "{target}");
    }
    assert_eq!(site.holdings(), NOTHING);
}

#[test]
fn regression_downloads_that_wait_took_every_connection() {
    let canary = Canary::on_all_addresses();
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let origin = Origin::start(Ipv4Addr::LOCALHOST, move |_, _| {
        while !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    });
    let fetch = settings(&origin, &canary, "60s");
    let site = Site::builder()
        .set("server", "max_connections = 8")
        .set("fetch", &format!("{fetch}\nmax_concurrent = 2"))
        .start();
    let url = origin.url("/x.png");
    thread::scope(|scope| {
        let plans = ["free", "3m", "lifetime"].into_iter().cycle().take(15);
        let downloads: Vec<_> = plans
            .map(|plan| {
                let (site, url) = (&site, &url);
                scope.spawn(move || by_url(site, plan, url))
            })
            .collect();
        until("the refusals", || {
            let over = downloads.iter().filter(|download| download.is_finished());
            (over.count() >= 12).then_some(())
        });
        // Each client has one slot. The silent server holds two of them and the third waits; files are taken all the time.
        for _ in 0..50 {
            assert_eq!(site.upload("lifetime", "7D", PNG).status, 200);
        }
        is_over.store(true, Ordering::Relaxed);
        let replies: Vec<_> = downloads
            .into_iter()
            .map(|download| download.join().expect("a reply"))
            .collect();
        let busy = replies.iter().filter(|reply| reply.status == 503);
        for reply in busy.clone() {
            assert_eq!(reply.text(), r#"{"error":"Server busy"}"#);
            assert_eq!(reply.header("Retry-After"), Some("1"));
        }
        assert!(busy.count() >= 12, "{replies:?}");
        let failed = replies.iter().filter(|reply| reply.text() == FAILED);
        assert!((2..=3).contains(&failed.count()), "{replies:?}");
    });
}

#[test]
fn a_client_whose_downloads_hang_leaves_the_others_theirs() {
    let canary = Canary::on_all_addresses();
    let origin = Origin::start(Ipv4Addr::LOCALHOST, |target, stream| match target {
        "/silent" => silence(stream),
        _ => stream.write_all(&whole("image/png", PNG)),
    });
    let site = site(&origin, &canary, "5s");
    let (silent, image) = (origin.url("/silent"), origin.url("/x.png"));
    until("ten downloads before the deadline of the others", || {
        let (before, began) = (origin.connections(), Instant::now());
        thread::scope(|scope| {
            let hostile: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| by_url(&site, "3m", &silent)))
                .collect();
            until("the first downloads", || {
                (origin.connections() >= before + 2).then_some(())
            });
            for _ in 0..10 {
                let reply = by_url(&site, "lifetime", &image);
                assert_eq!(reply.status, 200, "{}", reply.text());
            }
            let connections = origin.connections() - before;
            let is_in_time = began.elapsed() < Duration::from_secs(5);
            if is_in_time {
                assert_eq!(connections, 12, "two of the client's eight, and ten");
            }
            for download in hostile {
                let status = download.join().expect("a reply").status;
                assert!(matches!(status, 400 | 503), "{status}");
            }
            is_in_time.then_some(())
        })
    });
    // Those that waited were told, or got a slot in the last moment of their own time.
    let told = "cause=\"the client's other downloads did not end in time";
    assert!(origin.connections() > 12 || site.responder_log().contains(told));
}
