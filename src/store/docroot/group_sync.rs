//! One sync of the whole file system for many files (syncfs(2)), where that is cheaper than a sync for each.
//!
//! Measured on ext4, 20 KiB, 2 cores: for 64 uploads at once it stores a fifth to a third more than as many threads that fsync their
//! own files; for fewer than about 32 it stores less, because syncfs makes the journal commit twice.
//!
//! It waits for whatever anybody wrote to that file system. So it is used only while little is waiting to be written, and not at all
//! where it is not known to be cheap, or where the kernel would keep a failed write to itself.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::fs::{fstatfs, syncfs};
use rustix::system::uname;

/// `EXT4_SUPER_MAGIC` of statfs(2): a sync of everything is two commits of the journal, however many files there are. On btrfs it
/// would be a transaction of the whole tree; others have not been measured.
const EXT4: i64 = 0xEF53;

/// Since this version syncfs(2) reports writes that failed before it was called (its manual page, "Versions").
const FIRST_KERNEL: (u32, u32) = (5, 8);

/// Bytes that may be waiting to be written, by whomever: a second's work for a slow disk.
const MAX_WAITING: u64 = 64 * 1024 * 1024;

/// How long the answer holds to how much is waiting, in milliseconds.
const LOOK_EVERY: u64 = 50;

/// Where the kernel says how much waits, in lines such as `Dirty:   123 kB` (proc_meminfo(5)).
const MEMORY: &str = "/proc/meminfo";

/// Where it says so of each part of the memory, `Node 0 Dirty:   123 kB`: a service that sees only processes in `/proc`, as ours does
/// under systemd, still sees this (Linux, Documentation/ABI/stable/sysfs-devices-node).
const NODES: &str = "/sys/devices/system/node";

/// A file system that may be synced as a whole.
#[derive(Debug)]
pub(super) struct GroupSync {
    /// Opened before any upload, so that a write that failed since then is reported to it.
    file_system: File,
    /// Whether little is waiting, or was when it was last looked at.
    open: AtomicBool,
    failed: AtomicBool,
    started: Instant,
    /// When to look again: milliseconds since `started`.
    look_at: AtomicU64,
}

impl GroupSync {
    /// That of the file system which `directory` lies on; `None` where it must not be used.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let reports_failures = kernel_version(&uname().release().to_string_lossy())
            .is_some_and(|version| version >= FIRST_KERNEL);
        let file_system = File::open(directory).ok()?;
        let is_ext4 = i128::from(fstatfs(&file_system).ok()?.f_type) == i128::from(EXT4);
        let knows_what_waits = waiting_now().is_some();
        (reports_failures && is_ext4 && knows_what_waits).then(|| Self::over(file_system))
    }

    fn over(file_system: File) -> Self {
        Self {
            file_system,
            open: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            started: Instant::now(),
            look_at: AtomicU64::new(0),
        }
    }

    /// Whether it may be used now.
    pub(super) fn is_open(&self) -> bool {
        if self.failed.load(Ordering::Relaxed) {
            return false;
        }
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let look_at = self.look_at.load(Ordering::Relaxed);
        let next = now.saturating_add(LOOK_EVERY);
        let turn = now >= look_at
            && self
                .look_at
                .compare_exchange(look_at, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if turn {
            let open = waiting_now().is_some_and(|bytes| bytes <= MAX_WAITING);
            self.open.store(open, Ordering::Relaxed);
        }
        self.open.load(Ordering::Relaxed)
    }

    /// Puts on disk whatever was written to the file system. After a failure it is not used again: each file's own fsync knows
    /// better what became of it.
    pub(super) fn sync(&self) -> io::Result<()> {
        syncfs(&self.file_system).map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            error.into()
        })
    }
}

/// The first two numbers of a release such as `6.1.0-13-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Bytes of this host that are dirty or being written; `None` where nothing says so.
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

/// The bytes that `text` says are dirty or being written, if it says both.
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
    fn the_kernels_version_is_read_and_compared() {
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
    fn what_waits_is_dirty_or_being_written() {
        let memory = "MemTotal:       24602540 kB\nDirty:              1200 kB\nWriteback:            24 kB\nWritebackTmp:          7 kB\n";
        assert_eq!(waiting_of(memory), Some(1224 * 1024));
        let node = "Node 0 Active:  5 kB\nNode 0 Dirty:              1200 kB\nNode 0 Writeback:            24 kB\n";
        assert_eq!(waiting_of(node), Some(1224 * 1024));
        let half = "Dirty: 1 kB\n";
        assert_eq!(waiting_of(half), None);
        assert_eq!(waiting_of("Dirty: much\nWriteback: 0 kB\n"), None);
        assert!(waiting_now().is_some(), "this host says so");
    }

    impl GroupSync {
        /// A descriptor that was opened for its path alone cannot be synced.
        pub(crate) fn that_fails() -> Self {
            let only_a_path = rustix::fs::open("/", OFlags::PATH, Mode::empty()).expect("open");
            Self::over(only_a_path.into())
        }
    }

    #[test]
    fn after_a_failure_it_is_not_used_again() {
        let sync = GroupSync::that_fails();
        assert!(sync.sync().is_err());
        sync.open.store(true, Ordering::Relaxed);
        assert!(!sync.is_open());
    }
}
