//! Many clients that upload at once, and what they were told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;
use support::builder::SiteBuilder;
use support::machine::{path_of, until};
use support::pictures::png_of;
use support::site::Site;

/// As many as a busy site has at a time.
pub(crate) const UPLOADERS: usize = 16;

/// So many that their uploads are committed in groups.
pub(crate) const CROWD: usize = 64;

const DURATIONS: [&str; 4] = ["7D", "1M", "3M", "LTF"];

/// An image that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) path: String,
    /// What its bytes are made from, see [`png_of`].
    pub(crate) serial: u64,
}

/// What the uploaders of one site were told.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    acknowledged: Mutex<Vec<Image>>,
    refused: Mutex<BTreeMap<String, u64>>,
    serials: AtomicU64,
}

impl Uploads {
    /// Uploads one image, and notes the answer. Gives its status.
    pub(crate) fn upload(&self, site: &Site, size: usize) -> u16 {
        let serial = self.serials.fetch_add(1, Ordering::Relaxed);
        let duration = DURATIONS[usize::try_from(serial % 4).expect("0 to 3")];
        let reply = site.upload("lifetime", duration, &png_of(size, serial));
        if reply.status == 200 {
            let path = path_of(&reply.url()).to_owned();
            lock(&self.acknowledged).push(Image { path, serial });
        } else {
            let answer = format!("{} {}", reply.status, reply.text());
            *lock(&self.refused).entry(answer).or_default() += 1;
        }
        reply.status
    }

    /// Uploads images of about `size` bytes from so many clients at once, until `event` has happened.
    pub(crate) fn during<T>(
        &self,
        site: &Site,
        uploaders: usize,
        size: usize,
        event: impl FnOnce() -> T,
    ) -> T {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for uploader in 0..uploaders {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        if self.upload(site, size + 997 * uploader) != 200 {
                            // Nobody's fault is made better by asking again at once.
                            thread::sleep(Duration::from_millis(5));
                        }
                    }
                });
            }
            // Uploaders end whether the event succeeds or panics; a scope waits for them.
            let _over = Over(&over);
            event()
        })
    }

    /// Waits until so many more uploads were acknowledged.
    pub(crate) fn wait_for(&self, more: usize) {
        let enough = self.len() + more;
        until("uploads", || (self.len() >= enough).then_some(()));
    }

    /// How many were acknowledged.
    pub(crate) fn len(&self) -> usize {
        lock(&self.acknowledged).len()
    }

    /// Those that were acknowledged, behind the first so many.
    pub(crate) fn acknowledged(&self, behind: usize) -> Vec<Image> {
        lock(&self.acknowledged)[behind..].to_vec()
    }

    /// Answers other than 200 so far, and how often each came; they are forgotten.
    pub(crate) fn take_refusals(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut lock(&self.refused))
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no uploader panicked")
}

/// A site with one client, `lifetime`, whose quota no test uses up.
pub(crate) fn endless() -> SiteBuilder {
    Site::builder().set(
        "plans.lifetime",
        "daily_uploads = 4000000000\nmax_file_size = \"10MiB\"\ndurations = [\"7D\", \"1M\", \"3M\", \"LTF\"]\nurl = \"direct\"",
    )
}

/// The same, and nginx may complain of a responder that is not there.
pub(crate) fn endless_with_ends() -> SiteBuilder {
    endless()
        .expect("connect() to unix:")
        .expect("upstream prematurely closed connection")
        .expect("Connection reset by peer")
        .expect("Broken pipe")
}

/// Numbers that differ from run to run: moments for faults. (Marsaglia's xorshift64.)
#[derive(Debug)]
pub(crate) struct Moments(u64);

impl Moments {
    pub(crate) fn new() -> Self {
        let now = time::UtcDateTime::now().unix_timestamp_nanos();
        let seed = u64::try_from(now & i128::from(u64::MAX)).unwrap_or(1) | 1;
        eprintln!("the moments of this run begin with {seed}");
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
