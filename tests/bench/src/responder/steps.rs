//! The disk steps of a durable upload of this project: the spool file is synced beside a row, renamed, and its directory synced.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::rows;

/// How far the modification time of a stored file lies ahead.
const LIFE: Duration = Duration::from_hours(30 * 24);

/// The directories and the ledger of the steps.
pub struct Steps {
    stored: PathBuf,
    /// The directory `stored`, open for its syncs.
    entries: File,
    spool: PathBuf,
    rows: Sender<Row>,
}

struct Row {
    number: u64,
    recorded: SyncSender<()>,
}

impl Steps {
    /// Into `stored`; spool and ledger lie beside it.
    pub fn into(stored: &Path) -> io::Result<Self> {
        let spool = stored.with_file_name("spool");
        fs::create_dir(&spool)?;
        let mut ledger =
            rows::open(&stored.with_file_name("ledger.db")).map_err(io::Error::other)?;
        let (rows, waiting) = channel();
        thread::spawn(move || {
            // Waiting requests fail when their channels are dropped.
            if let Err(error) = record(&mut ledger, &waiting) {
                eprintln!("ledger: {error}");
            }
        });
        Ok(Self {
            stored: stored.to_owned(),
            entries: File::open(stored)?,
            spool,
            rows,
        })
    }

    /// The path of a spool file.
    pub fn spooled(&self, name: &str) -> PathBuf {
        self.spool.join(name)
    }

    /// Stores a file; when this returns, its bytes, row and name are on disk.
    pub fn take(&self, file: &File, name: &str, number: u64) -> io::Result<()> {
        let (recorded, row) = sync_channel(1);
        let sent = self.rows.send(Row { number, recorded });
        sent.map_err(|_| no_row())?;
        file.set_modified(SystemTime::now() + LIFE)?;
        file.sync_all()?;
        row.recv().map_err(|_| no_row())?;
        let target = self.stored.join(name);
        renameat_with(CWD, self.spooled(name), CWD, target, RenameFlags::NOREPLACE)?;
        self.entries.sync_all()
    }
}

fn no_row() -> io::Error {
    io::Error::other("the row was not recorded")
}

/// Records all waiting rows in one transaction, with one sync.
fn record(ledger: &mut Connection, waiting: &Receiver<Row>) -> rusqlite::Result<()> {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<_> = [first].into_iter().chain(waiting.try_iter()).collect();
        let transaction = ledger.transaction()?;
        for row in &batch {
            rows::insert(&transaction, row.number)?;
        }
        transaction.commit()?;
        for row in batch {
            // Its request may have ended with an error.
            let _ = row.recorded.send(());
        }
    }
    Ok(())
}
