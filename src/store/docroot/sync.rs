//! Makes images durable that were published without a sync.
//!
//! On ext4 one syncfs(2) costs two commits of the journal however many files there are, so it is used unless it would take long because of
//! what other programs wrote to that file system. Then each file is synced by itself, on several threads, whose syncs share commits of the
//! journal; still, several times as many commits make uploads wait that come meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{fstatfs, syncfs};
use rustix::system::uname;

/// `EXT4_SUPER_MAGIC` of statfs(2). On btrfs syncfs would be a transaction of the whole tree; other file systems were not measured.
const EXT4: i64 = 0xEF53;

/// Since this version syncfs(2) reports writes that failed before it was called (its manual page, "Versions").
const FIRST_KERNEL: (u32, u32) = (5, 8);

/// Bytes of any program that may always wait to be written while syncfs is used: about a second's work of a slow disk, behind what a
/// full log describes.
const ALWAYS_ALLOWED: u64 = 192 * 1024 * 1024;

/// How long a syncfs should take at most.
const ALLOWED_TIME: Duration = Duration::from_secs(1);

/// How long the duration of a syncfs decides whether the next one is used.
const REMEMBERED: Duration = Duration::from_mins(1);

/// Threads that sync single files.
const THREADS: usize = 8;

/// Lines such as `Dirty:   123 kB` (proc_meminfo(5)).
const MEMORY: &str = "/proc/meminfo";

/// The same for each part of the memory, `Node 0 Dirty:   123 kB`, where `/proc` shows processes only, as under systemd's `ProcSubset=`
/// (Linux, Documentation/ABI/stable/sysfs-devices-node).
const NODES: &str = "/sys/devices/system/node";

/// A file system that syncfs is used for.
#[derive(Debug)]
pub(super) struct FileSystem {
    /// Opened before the first upload, so that every write that fails is reported to it.
    directory: File,
    has_failed: AtomicBool,
    last: Mutex<Option<Sync>>,
}

/// A syncfs that succeeded.
#[derive(Debug, Clone, Copy)]
struct Sync {
    /// Bytes of this host that waited to be written when it began. How many of them are on this file system is unknown.
    waiting: u64,
    began: Instant,
    took: Duration,
}

impl Sync {
    /// Whether a syncfs at `now`, with so many bytes waiting, is expected to take no longer than [`ALLOWED_TIME`].
    fn allows(last: Option<Self>, waiting: u64, now: Instant) -> bool {
        let Some(last) = last.filter(|last| now.duration_since(last.began) < REMEMBERED) else {
            return true;
        };
        // At the rate of the last one.
        let expected = last.took.as_nanos() * u128::from(waiting)
            / u128::from(last.waiting.max(ALWAYS_ALLOWED));
        waiting <= ALWAYS_ALLOWED || expected <= ALLOWED_TIME.as_nanos()
    }
}

impl FileSystem {
    /// That of `directory`; `None` if files have to be synced one by one.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let reports_failures = kernel_version(&uname().release().to_string_lossy())
            .is_some_and(|version| version >= FIRST_KERNEL);
        let directory = File::open(directory).ok()?;
        let is_ext4 = i128::from(fstatfs(&directory).ok()?.f_type) == i128::from(EXT4);
        (reports_failures && is_ext4).then(|| Self {
            directory,
            has_failed: AtomicBool::new(false),
            last: Mutex::default(),
        })
    }

    /// Syncs the whole file system; `None` if its files had better be synced one by one.
    fn sync(&self) -> Option<io::Result<()>> {
        if self.has_failed.load(Ordering::Relaxed) {
            return None;
        }
        let (waiting, began) = (waiting_now()?, Instant::now());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !Sync::allows(*last, waiting, began) {
            return None;
        }
        let synced = syncfs(&self.directory);
        if synced.is_err() {
            // It is not used again after a failure: only each file's own fsync tells which ones are lost.
            self.has_failed.store(true, Ordering::Relaxed);
        }
        *last = Some(Sync {
            waiting,
            began,
            took: began.elapsed(),
        });
        Some(synced.map_err(io::Error::from))
    }
}

/// Makes files and their names durable. Files that do not exist any more are left out.
pub(super) fn sync(file_system: Option<&FileSystem>, files: &[PathBuf]) -> io::Result<()> {
    if let Some(synced) = file_system.and_then(FileSystem::sync) {
        return synced;
    }
    let part = files.len().div_ceil(THREADS).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = files
            .chunks(part)
            .map(|part| scope.spawn(|| part.iter().try_for_each(|file| sync_if_exists(file))))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            let panicked = |_| Err(io::Error::other("a thread that syncs files panicked"));
            thread.join().unwrap_or_else(panicked)
        })
    })?;
    let directories: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
    directories.into_iter().try_for_each(sync_if_exists)
}

fn sync_if_exists(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// The first two numbers of a release such as `6.1.0-13-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Bytes of this host that are dirty or being written; `None` if they are unknown.
fn waiting_now() -> Option<u64> {
    waiting(Path::new(MEMORY)).or_else(|| {
        let mut nodes = fs::read_dir(NODES)
            .ok()?
            .flatten()
            .filter_map(|node| waiting(&node.path().join("meminfo")))
            .peekable();
        nodes.peek()?;
        Some(nodes.sum())
    })
}

fn waiting(file: &Path) -> Option<u64> {
    waiting_of(&fs::read_to_string(file).ok()?)
}

fn waiting_of(text: &str) -> Option<u64> {
    ["Dirty:", "Writeback:"]
        .into_iter()
        .try_fold(0, |sum, name| {
            let (_, number) = text.lines().find_map(|line| line.split_once(name))?;
            let kibibytes: u64 = number.strip_suffix("kB")?.trim().parse().ok()?;
            Some(sum + kibibytes * 1024)
        })
}

#[cfg(test)]
mod tests {
    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn the_kernel_version_is_parsed_and_compared() {
        for (release, version) in [
            ("6.1.0-13-amd64", Some((6, 1))),
            ("5.8.0", Some((5, 8))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("5.10-rc1", Some((5, 10))),
            ("", None),
            ("six.one", None),
        ] {
            assert_eq!(kernel_version(release), version, "{release}");
        }
        assert!((5, 10) >= FIRST_KERNEL && (4, 18) < FIRST_KERNEL);
    }

    #[test]
    fn dirty_bytes_and_those_being_written_are_added() {
        let memory = "MemTotal:       24602540 kB\nDirty:              1200 kB\nWriteback:            24 kB\nWritebackTmp:          7 kB\n";
        assert_eq!(waiting_of(memory), Some(1224 * 1024));
        let node = "Node 0 Active:  5 kB\nNode 0 Dirty:              1200 kB\nNode 0 Writeback:            24 kB\n";
        assert_eq!(waiting_of(node), Some(1224 * 1024));
        assert_eq!(waiting_of("Dirty: 1 kB\n"), None);
        assert_eq!(waiting_of("Dirty: much\nWriteback: 0 kB\n"), None);
        assert!(waiting_now().is_some(), "this host has the figures");
    }

    #[test]
    fn a_file_system_whose_sync_failed_is_not_synced_as_a_whole_again() {
        // A descriptor opened for its path alone cannot be synced.
        let only_a_path = rustix::fs::open("/", OFlags::PATH, Mode::empty()).expect("open");
        let file_system = FileSystem {
            directory: only_a_path.into(),
            has_failed: AtomicBool::new(false),
            last: Mutex::default(),
        };
        sync(Some(&file_system), &[]).expect_err("it fails");
        assert!(file_system.sync().is_none());
        sync(Some(&file_system), &[]).expect("no file to sync");
    }

    #[test]
    fn a_file_system_is_not_synced_as_a_whole_while_that_takes_long() {
        const GIB: u64 = 1 << 30;
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        assert!(Sync::allows(None, 100 * GIB, began), "the first one tells");
        let sync = |millis| {
            Some(Sync {
                waiting: GIB,
                began,
                took: Duration::from_millis(millis),
            })
        };
        // What waits belongs to another file system.
        assert!(Sync::allows(sync(50), 10 * GIB, after(1)));
        assert!(!Sync::allows(sync(5_000), GIB, after(5)));
        assert!(Sync::allows(sync(5_000), GIB / 10, after(5)));
        assert!(Sync::allows(sync(5_000), GIB, after(60)), "tried again");
    }

    #[test]
    fn files_that_were_deleted_are_left_out_of_a_sync() {
        let directory = tempfile::tempdir().expect("a directory");
        let there = directory.path().join("there");
        fs::write(&there, "x").expect("written");
        let files = [there, directory.path().join("deleted/file")];
        sync(None, &files).expect("synced");
    }
}
