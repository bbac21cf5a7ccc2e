//! Concurrent uploaders, and the replies they got.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use support::builder::SiteBuilder;
use support::machine::{path_of, until, until_at_least};
use support::pictures::png_of;
use support::site::Site;

/// The uploaders of a busy site.
pub(crate) const UPLOADERS: usize = 16;

/// The uploaders of a crowded site.
pub(crate) const CROWD: usize = 64;

const DURATIONS: [&str; 4] = ["7D", "1M", "3M", "LTF"];

/// An image whose upload was answered with 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) path: String,
    /// The seed of its bytes, see [`png_of`].
    pub(crate) serial: u64,
}

/// The replies to the uploaders of one site.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    acknowledged: Mutex<Vec<Image>>,
    refused: Mutex<BTreeMap<String, u64>>,
    serials: AtomicU64,
}

impl Uploads {
    /// Uploads one image and records the reply; returns its status.
    pub(crate) fn upload(&self, site: &Site, size: usize) -> u16 {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let duration = DURATIONS[usize::try_from(serial % 4).expect("0 to 3")];
        let reply = site.upload("lifetime", duration, &png_of(size, serial));
        if reply.status == 200 {
            self.note(path_of(&reply.url()), serial);
        } else {
            let answer = format!("{} {}", reply.status, reply.text());
            *lock(&self.refused).entry(answer).or_default() += 1;
        }
        reply.status
    }

    /// Records an image whose upload was answered with 200.
    pub(crate) fn note(&self, path: &str, serial: u64) {
        let path = path.to_owned();
        lock(&self.acknowledged).push(Image { path, serial });
    }

    /// Runs `event` while `uploaders` clients upload images of about `size` bytes.
    pub(crate) fn during<T>(
        &self,
        site: &Site,
        uploaders: usize,
        size: usize,
        event: impl FnOnce() -> T,
    ) -> T {
        self.during_at(&[site], uploaders, size, event)
    }

    /// The same, with the uploaders spread over several hosts.
    pub(crate) fn during_at<T>(
        &self,
        hosts: &[&Site],
        uploaders: usize,
        size: usize,
        event: impl FnOnce() -> T,
    ) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for uploader in 0..uploaders {
                let over = &over;
                let site = hosts[uploader % hosts.len()];
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        if self.upload(site, size + 997 * uploader) != 200 {
                            // No busy loop while the fault lasts.
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            }
            // Stops the uploaders also when `event` panics: the scope waits for them.
            let _over = Over(&over);
            event()
        })
    }

    /// Waits for this many more acknowledged uploads.
    pub(crate) fn wait_for(&self, more: usize) {
        until_at_least("uploads", self.len() + more, || self.len());
    }

    /// The number of acknowledged uploads.
    pub(crate) fn len(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// The acknowledged uploads without the first `behind`.
    pub(crate) fn acknowledged(&self, behind: usize) -> Vec<Image> {
        lock(&self.acknowledged)[behind..].to_vec()
    }

    /// Whether there are replies other than 200.
    pub(crate) fn has_refusals(&self) -> bool {
        !lock(&self.refused).is_empty()
    }

    /// Takes the replies other than 200 with their counts.
    pub(crate) fn take_refusals(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut lock(&self.refused))
    }
}

/// Sets a flag when it is dropped.
pub(crate) struct Over<'a>(pub(crate) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no uploader panicked")
}

/// Waits for the checkpoint of everything uploaded so far: after it the responder writes nothing by itself.
pub(crate) fn until_checkpointed(site: &Site) {
    until("a checkpoint", || {
        let metrics = site.get("/image/v2/metrics");
        let age = "corenexis_cdn_log_oldest_record_seconds 0.0\n";
        metrics.text().contains(age).then_some(())
    });
}

/// A site with one client, `lifetime`, with a quota that no test exhausts.
pub(crate) fn unlimited() -> SiteBuilder {
    Site::builder().set(
        "plans.lifetime",
        "daily_uploads = 4000000000\nmax_file_size = \"10MiB\"\ndurations = [\"7D\", \"1M\", \"3M\", \"LTF\"]\nurl = \"direct\"",
    )
}

/// The same, for a responder that stops meanwhile: nginx may log failed connections.
pub(crate) fn unlimited_with_restarts() -> SiteBuilder {
    unlimited()
        .expect("connect() to unix:")
        .expect("upstream prematurely closed connection")
        .expect("Connection reset by peer")
        .expect("Broken pipe")
}

/// Random numbers (xorshift64), different in each run, for the time of a fault. The seed is printed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        let now = time::UtcDateTime::now().unix_timestamp_nanos();
        let seed = u64::try_from(now & i128::from(u64::MAX)).unwrap_or(1) | 1;
        eprintln!("seed of the random delays: {seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
