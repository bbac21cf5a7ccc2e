//! Backups of a ledger, and putting one in the ledger's place.
//!
//! A backup is one file, written while uploads go on (<https://www.sqlite.org/lang_vacuum.html#vacuuminto>). Whoever has a ledger open
//! holds a shared lock on its directory (flock(2)), which the kernel lets go of when the process ends, however it ends; a restore
//! takes that lock alone. So it cannot pull the file away under a responder, and it works for a ledger that is broken or lost too.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, fcntl_lock};
use time::UtcDateTime;
use time::macros::format_description;

use super::{SqliteLedger, migration, note_time};
use crate::ledger::{Event, LedgerError};
use crate::store::docroot::rename_exclusive;

/// What a ledger file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Clients that were not removed.
    pub clients: u64,
    /// Images.
    pub images: u64,
    /// When the newest of the images was uploaded, in Unix seconds.
    pub newest: Option<i64>,
}

/// What became of the ledger that a restore replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the ledger holds now.
    pub contents: Contents,
    /// Where the replaced ledger lies; `None` if there was none.
    pub replaced: Option<PathBuf>,
}

impl SqliteLedger {
    /// Writes the ledger as it is now to `target`, checks the copy, and only then gives it its name: `target` is whole or not there.
    /// An existing file is replaced only with `force`. It is on disk when this returns.
    pub fn backup(&self, target: &Path, force: bool) -> Result<Contents, LedgerError> {
        let failed = |error: &dyn std::fmt::Display| {
            LedgerError::Failed(format!("no backup at {}: {error}", target.display()))
        };
        match target.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(failed(
                    &"there is something of that name that is no file: name a file, which may be new",
                ));
            }
            Ok(_) if !force => {
                return Err(failed(
                    &"there is a file of that name, which --force replaces",
                ));
            }
            _ => {}
        }
        let mut partial = Partial::create(target).map_err(|error| failed(&error))?;
        self.readers
            .with(|connection| copy_into(connection, &partial))?;
        let contents = check(&partial.path)?;
        partial
            .place(target, force)
            .map_err(|error| failed(&error))?;
        Ok(contents)
    }
}

/// Checks that the file at `path` is a whole ledger of a version that is known here.
pub fn check(path: &Path) -> Result<Contents, LedgerError> {
    let connection = open_for_reading(path)?;
    check_connection(&connection, path)
}

/// Puts the backup at `backup` in the place of the ledger at `path`, where there may be none or a broken one.
///
/// The ledger that is replaced is kept beside it. The restored one counts as made `now`, so that no sweep takes images that were
/// uploaded after the backup for orphans.
pub fn restore(backup: &Path, path: &Path, now: UtcDateTime) -> Result<Restored, LedgerError> {
    super::refuse_network_file_system(path)?;
    let failed = |error: io::Error| {
        LedgerError::Failed(format!(
            "the ledger {} could not be replaced: {error}",
            path.display()
        ))
    };
    let _alone = hold_alone(path)?;
    let source = open_for_reading(backup)?;
    let contents = check_connection(&source, backup)?;
    let mut partial = Partial::create(path).map_err(failed)?;
    copy_into(&source, &partial)?;
    drop(source);
    // In a scope of its own: the file must be closed before it gets its place.
    {
        let connection = Connection::open(&partial.path)?;
        note_time(&connection, Event::Created, now)?;
    }
    take_owner(&partial.path, path).map_err(failed)?;
    let mut replaced = None;
    let mut _others = None;
    if path.try_exists().map_err(failed)? {
        fold_wal(path);
        _others = Some(refuse_other_programs(path)?);
        replaced = Some(set_aside(path, now).map_err(failed)?);
    }
    partial.place(path, true).map_err(failed)?;
    Ok(Restored { contents, replaced })
}

/// The shared lock of everybody who has the ledger at `path` open.
pub(super) fn hold(path: &Path) -> Result<File, LedgerError> {
    let directory = open_directory(path)?;
    match directory.try_lock_shared() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Busy(
            "it is being restored from a backup".to_owned(),
        )),
        Err(TryLockError::Error(error)) => Err(unlockable(path, &error)),
    }
}

fn hold_alone(path: &Path) -> Result<File, LedgerError> {
    let directory = open_directory(path)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(error)) => Err(unlockable(path, &error)),
    }
}

fn in_use() -> LedgerError {
    LedgerError::Busy(
        "a responder, a sweep or another command has it open; stop the responder, then restore"
            .to_owned(),
    )
}

fn unlockable(path: &Path, error: &io::Error) -> LedgerError {
    LedgerError::Failed(format!(
        "the directory of the ledger {} could not be locked: {error}",
        path.display()
    ))
}

fn open_directory(path: &Path) -> Result<File, LedgerError> {
    File::open(directory_of(path)).map_err(|error| unlockable(path, &error))
}

/// A shell such as sqlite3 knows nothing of the lock on the directory, but holds SQLite's own on the file as long as it has a ledger in
/// WAL mode open (<https://www.sqlite.org/lockingv3.html>): a lock on the whole file meets it.
fn refuse_other_programs(path: &Path) -> Result<File, LedgerError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| unlockable(path, &error))?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(in_use()),
        Err(error) => Err(unlockable(path, &error.into())),
    }
}

pub(super) fn open_for_reading(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: &dyn std::fmt::Display| {
        LedgerError::Failed(format!("{} could not be opened: {error}", path.display()))
    };
    // SQLite says no more than that it could not; the kernel says why.
    File::open(path).map_err(|error| failed(&error))?;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    connection.busy_timeout(super::BUSY_TIMEOUT)?;
    Ok(connection)
}

fn check_connection(connection: &Connection, path: &Path) -> Result<Contents, LedgerError> {
    let no_ledger = |cause: &dyn std::fmt::Display| {
        LedgerError::Failed(format!("{} is no whole ledger: {cause}", path.display()))
    };
    let sound: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| no_ledger(&error))?;
    if sound != "ok" {
        return Err(no_ledger(&sound));
    }
    let found = migration::version(connection)?;
    let known = migration::newest();
    if found > known {
        let path = path.display().to_string();
        return Err(LedgerError::TooNew { path, found, known });
    }
    if found < 1 {
        return Err(no_ledger(&"it is a database of something else"));
    }
    if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(no_ledger(&"it has rows of clients that it does not know"));
    }
    let contents = connection.query_row(
        "SELECT (SELECT count(*) FROM client WHERE removed_at IS NULL), count(*), max(uploaded_at) FROM image",
        [],
        |row| {
            Ok(Contents {
                clients: row.get(0)?,
                images: row.get(1)?,
                newest: row.get(2)?,
            })
        },
    );
    contents.map_err(|error| no_ledger(&error))
}

fn copy_into(connection: &Connection, partial: &Partial) -> Result<(), LedgerError> {
    let target = partial
        .path
        .to_str()
        .ok_or_else(|| LedgerError::Failed(format!("{} is not UTF-8", partial.path.display())))?;
    connection
        .execute("VACUUM INTO ?1", [target])
        .map_err(|error| LedgerError::Failed(format!("{target} could not be written: {error}")))?;
    Ok(())
}

/// Brings what a crash left in the write-ahead log into the file, so that one file is the whole ledger. A broken ledger cannot do that;
/// its log is kept beside it.
fn fold_wal(path: &Path) {
    if let Ok(connection) = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    ) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// Gives the ledger at `path` a second name, and its write-ahead log, which must not meet another ledger, the name that goes with it.
fn set_aside(path: &Path, now: UtcDateTime) -> io::Result<PathBuf> {
    let time = now
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .map_err(io::Error::other)?;
    let aside = with_suffix(path, &format!(".before-restore-{time}"));
    fs::hard_link(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Gives `file` the owner of the ledger at `path`, or of its directory: a restore is run by root, the responder is not.
fn take_owner(file: &Path, path: &Path) -> io::Result<()> {
    let wanted = fs::metadata(path).or_else(|_| fs::metadata(directory_of(path)))?;
    let found = fs::metadata(file)?;
    if (found.uid(), found.gid()) == (wanted.uid(), wanted.gid()) {
        return Ok(());
    }
    chown(file, Some(wanted.uid()), Some(wanted.gid()))
}

/// Gives a file that was just made to the owner of its directory: what root's commands make must not shut the responder out.
pub(crate) fn take_owner_of_directory(file: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let owner = fs::metadata(directory_of(file))?;
    chown(file, Some(owner.uid()), Some(owner.gid()))
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// A file on its way to its name. Dropped before, it is deleted.
struct Partial {
    path: PathBuf,
    placed: bool,
}

impl Partial {
    /// An empty file beside `target`, with the mode of a ledger, which VACUUM INTO fills.
    fn create(target: &Path) -> io::Result<Self> {
        if target.file_name().is_none() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let path = with_suffix(target, &format!(".partial-{}", std::process::id()));
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&path)?;
        Ok(Self {
            path,
            placed: false,
        })
    }

    fn place(&mut self, target: &Path, replace: bool) -> io::Result<()> {
        File::open(&self.path)?.sync_all()?;
        if replace {
            fs::rename(&self.path, target)?;
        } else {
            rename_exclusive(&self.path, target)?;
        }
        self.placed = true;
        File::open(directory_of(target))?.sync_all()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.placed {
            for suffix in ["", "-journal", "-wal", "-shm"] {
                let _ = fs::remove_file(with_suffix(&self.path, suffix));
            }
        }
    }
}

#[cfg(test)]
mod tests;
