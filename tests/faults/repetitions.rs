//! Uploads with an `Idempotency-Key` that are repeated until they are answered twice, while the responder is killed.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::times;
use crate::uploads::{Random, UPLOADERS, unlimited_with_restarts};
use support::form::{Form, MULTIPART};
use support::http;
use support::machine::{path_of, until};
use support::pictures::png_of;
use support::site::Site;

/// An upload that is sent with the same key until it has two answers.
#[derive(Debug, Clone)]
struct Pending {
    serial: u32,
    /// The path in the first answer.
    path: Option<String>,
}

fn send(site: &Site, serial: u32) -> Option<String> {
    let size = 5_000 + 97 * serial as usize;
    let form = Form::upload(site.client("lifetime"), "7D", &png_of(size, serial.into()));
    let key = format!("upload-{serial}");
    let headers = [
        ("Content-Type", MULTIPART),
        ("Idempotency-Key", key.as_str()),
    ];
    let reply = http::request(site.port, "POST", "/image/v2/", &headers, &form.body());
    (reply.status == 200).then(|| path_of(&reply.url()).to_owned())
}

#[test]
fn each_upload_is_stored_and_counted_once_however_often_it_is_sent() {
    let count = times("FAULTS_REPEATED", 200);
    let mut site = unlimited_with_restarts().start();
    let mut random = Random::new();
    let all = (0..count).map(|serial| Pending { serial, path: None });
    let queue = Mutex::new(all.collect::<VecDeque<_>>());
    let (sent, answered, done) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    let mut kills = 0;
    while done.load(Ordering::Relaxed) < count {
        let over = AtomicBool::new(false);
        let work = || {
            while !over.load(Ordering::Relaxed) {
                let Some(mut upload) = queue.lock().expect("no panic").pop_front() else {
                    break;
                };
                sent.fetch_add(1, Ordering::Relaxed);
                let path = send(&site, upload.serial);
                answered.fetch_add(u32::from(path.is_some()), Ordering::Relaxed);
                match (path, upload.path.take()) {
                    (Some(path), Some(first)) => {
                        assert_eq!(path, first, "upload {}", upload.serial);
                        done.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    (None, first) => {
                        // A kill between row and record leaves a row without a file: 409 for a minute, then it is stored anew.
                        thread::sleep(Duration::from_millis(20));
                        upload.path = first;
                    }
                    (first, None) => upload.path = first,
                }
                let mut queue = queue.lock().expect("no panic");
                // Some at once, when the first reply may just have been sent.
                if upload.serial % 2 == 0 {
                    queue.push_front(upload);
                } else {
                    queue.push_back(upload);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..UPLOADERS {
                scope.spawn(work);
            }
            // However slow the machine is, each responder answers something, unless all that is left waits for a minute to pass.
            let before = answered.load(Ordering::Relaxed);
            let latest = Instant::now() + Duration::from_secs(20);
            until("an answer", || {
                let is_answered = answered.load(Ordering::Relaxed) > before;
                let is_over = done.load(Ordering::Relaxed) == count || Instant::now() > latest;
                (is_answered || is_over).then_some(())
            });
            thread::sleep(Duration::from_micros(5_000 + random.below(200_000)));
            site.signal(Signal::KILL);
            over.store(true, Ordering::Relaxed);
        });
        site.wait_for_end();
        kills += 1;
        site.start_responder();
    }
    let holdings = site.holdings();
    let count = count as usize;
    assert_eq!(
        (holdings.rows, holdings.counted, holdings.files.len()),
        (count, count, count)
    );
    eprintln!(
        "{count} uploads sent {} times under {kills} kills: {count} images, quota {count}",
        sent.into_inner()
    );
}
