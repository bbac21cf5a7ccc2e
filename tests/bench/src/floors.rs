//! The same disk work without a server, which is the upper bound of every rate.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::disk::{files, settle};
use crate::load::STOP;
use crate::rows;

/// Files of the unlink loop.
const UNLINKED: u64 = 20_000;

pub struct Floor {
    pub key: &'static str,
    pub label: &'static str,
    kind: Kind,
}

enum Kind {
    Files(usize),
    Log(usize),
    Commits(usize),
    Unlinks,
}

impl Floor {
    pub const ALL: [Self; 8] = [
        Self::new(
            "files-1",
            "file: create, fsync, rename, fsync directory; 1 thread",
            Kind::Files(1),
        ),
        Self::new("files-16", "the same, 16 threads", Kind::Files(16)),
        Self::new("files-64", "the same, 64 threads", Kind::Files(64)),
        Self::new(
            "log-16",
            "16 files appended to a preallocated log, fdatasync; in files",
            Kind::Log(16),
        ),
        Self::new("log-64", "the same with 64", Kind::Log(64)),
        Self::new(
            "commits-1",
            "SQLite: one row a commit, synchronous=FULL",
            Kind::Commits(1),
        ),
        Self::new(
            "commits-64",
            "SQLite: 64 rows a commit, in rows",
            Kind::Commits(64),
        ),
        Self::new("unlinks", "unlink, 1 thread", Kind::Unlinks),
    ];

    const fn new(key: &'static str, label: &'static str, kind: Kind) -> Self {
        Self { key, label, kind }
    }

    /// Operations a second, with files of `content`.
    pub fn measure(&self, disk: &Path, content: &[u8], seconds: f64) -> io::Result<f64> {
        let directory = disk.join("floor");
        for name in ["spool", "stored"] {
            fs::create_dir_all(directory.join(name))?;
        }
        settle(&directory)?;
        let time = Duration::from_secs_f64(seconds);
        let rate = match self.kind {
            Kind::Files(threads) => store_files(&directory, content, threads, time),
            Kind::Log(files) => append_files(&directory, content, files, time),
            Kind::Commits(rows) => commit_rows(&directory, rows, time).map_err(io::Error::other),
            Kind::Unlinks => unlink_files(&directory),
        }?;
        fs::remove_dir_all(&directory)?;
        settle(disk)?;
        if STOP.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(rate)
    }
}

fn store_files(
    directory: &Path,
    content: &[u8],
    threads: usize,
    time: Duration,
) -> io::Result<f64> {
    let (spool, stored) = (directory.join("spool"), directory.join("stored"));
    let number = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let store = || -> io::Result<()> {
        while began.elapsed() < time
            && !over.load(Ordering::Relaxed)
            && !STOP.load(Ordering::Relaxed)
        {
            let name = number.fetch_add(1, Ordering::Relaxed).to_string();
            let path = spool.join(&name);
            let mut file = File::create_new(&path)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&path, stored.join(&name))?;
            File::open(&stored)?.sync_all()?;
        }
        Ok(())
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| store().inspect_err(|_| over.store(true, Ordering::Relaxed))))
            .collect();
        threads
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let elapsed = began.elapsed();
    for outcome in outcomes {
        outcome.unwrap_or_else(|_| Err(io::Error::other("a panic")))?;
    }
    Ok(files(&stored)?.len() as f64 / elapsed.as_secs_f64())
}

/// Bytes of the log, which is written from its beginning again when it is full.
const LOG: usize = 64 << 20;

/// One sync for the bytes of several files, as a write-ahead log has it.
fn append_files(directory: &Path, content: &[u8], files: usize, time: Duration) -> io::Result<f64> {
    let mut log = File::create_new(directory.join("log"))?;
    log.write_all(&vec![0; LOG])?;
    log.sync_all()?;
    let batch = content.repeat(files);
    let (mut number, mut end) = (0_usize, 0);
    let began = Instant::now();
    while began.elapsed() < time && !STOP.load(Ordering::Relaxed) {
        if end + batch.len() > LOG {
            end = 0;
        }
        log.write_all_at(&batch, end as u64)?;
        log.sync_data()?;
        end += batch.len();
        number += files;
    }
    Ok(number as f64 / began.elapsed().as_secs_f64())
}

fn commit_rows(directory: &Path, rows: usize, time: Duration) -> rusqlite::Result<f64> {
    let mut ledger = rows::open(&directory.join("ledger.db"))?;
    let began = Instant::now();
    let mut number = 0_u64;
    while began.elapsed() < time && !STOP.load(Ordering::Relaxed) {
        let transaction = ledger.transaction()?;
        for _ in 0..rows {
            number += 1;
            rows::insert(&transaction, number)?;
        }
        transaction.commit()?;
    }
    Ok(number as f64 / began.elapsed().as_secs_f64())
}

fn unlink_files(directory: &Path) -> io::Result<f64> {
    let stored = directory.join("stored");
    for number in 0..UNLINKED {
        File::create_new(stored.join(number.to_string()))?.write_all(b"image")?;
    }
    settle(directory)?;
    let paths = files(&stored)?;
    let began = Instant::now();
    paths.iter().try_for_each(fs::remove_file)?;
    Ok(UNLINKED as f64 / began.elapsed().as_secs_f64())
}
