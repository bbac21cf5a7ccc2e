//! Backup and restore of a ledger.
//!
//! A backup is one file, written while uploads go on (<https://www.sqlite.org/lang_vacuum.html#vacuuminto>). Each process that has a
//! ledger open holds a shared flock(2) on its directory, which the kernel releases when the process ends; a restore takes the exclusive
//! lock. So a restore cannot replace the file while a responder uses it, and it also works for a damaged or missing ledger.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{FlockOperation, OFlags, fcntl_lock};
use tempfile::TempPath;
use time::UtcDateTime;
use time::macros::format_description;

use super::{SqliteLedger, log, schema};
use crate::ledger::LedgerError;
use crate::timestamp::Timestamp;

/// What a ledger file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Clients that were not removed.
    pub clients: u64,
    /// Images.
    pub images: u64,
    /// When the newest of the images was uploaded.
    pub newest: Option<Timestamp>,
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    /// What the restored ledger holds.
    pub contents: Contents,
    /// Where the replaced ledger is kept; `None` if there was none.
    pub replaced: Option<PathBuf>,
}

impl SqliteLedger {
    /// Writes a checked copy of the ledger to a file beside `path` that has no name any more when this returns.
    pub(crate) fn backup_unnamed(&self, path: &Path) -> Result<(File, Contents), LedgerError> {
        let failed = |error: io::Error| {
            LedgerError::Failed(format!("no backup beside {}: {error}", path.display()))
        };
        let copy = create_beside(path).map_err(failed)?;
        self.readers
            .with(|connection| copy_into(connection, &copy))?;
        let contents = check(&copy)?;
        Ok((File::open(&copy).map_err(failed)?, contents))
    }

    /// Writes a copy of the ledger to `target` under a temporary name, checks it, and renames it. An existing file is replaced only with
    /// `force`. The copy is durable when this returns.
    pub(crate) fn backup(&self, target: &Path, force: bool) -> Result<Contents, LedgerError> {
        let failed = |error: &dyn std::fmt::Display| {
            LedgerError::Failed(format!("no backup at {}: {error}", target.display()))
        };
        match target.symlink_metadata() {
            Ok(found) if !found.is_file() => {
                return Err(failed(
                    &"the path exists and is not a regular file: name a file, which may be new",
                ));
            }
            Ok(_) if !force => {
                return Err(failed(&"the file exists: --force replaces it"));
            }
            _ => {}
        }
        let partial = create_beside(target).map_err(|error| failed(&error))?;
        self.readers
            .with(|connection| copy_into(connection, &partial))?;
        let contents = check(&partial)?;
        persist(partial, target, force).map_err(|error| failed(&error))?;
        Ok(contents)
    }
}

/// Writes a checked copy of the ledger at `path` to `target`, which must not exist. The caller holds the exclusive lock.
pub(crate) fn back_up_locked(path: &Path, target: &Path) -> Result<Contents, LedgerError> {
    let failed =
        |error: io::Error| LedgerError::Failed(format!("no copy at {}: {error}", target.display()));
    require_regular(path).map_err(failed)?;
    if target.symlink_metadata().is_ok() {
        return Err(failed(io::Error::other(
            "the path exists, perhaps from a move that was interrupted: remove it, or name another",
        )));
    }
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let copy = create_beside(target).map_err(failed)?;
    copy_into(&connection, &copy)?;
    let contents = check(&copy)?;
    persist(copy, target, false).map_err(failed)?;
    Ok(contents)
}

/// Copies the file `backup` to a temporary file beside the ledger at `path`.
pub(crate) fn stage(backup: &mut File, path: &Path) -> Result<TempPath, LedgerError> {
    let failed = |error: io::Error| {
        LedgerError::Failed(format!(
            "the backup could not be copied beside the ledger {}: {error}",
            path.display()
        ))
    };
    let staged = create_beside(path).map_err(failed)?;
    let mut file = OpenOptions::new()
        .write(true)
        .open(&staged)
        .map_err(failed)?;
    io::copy(backup, &mut file).map_err(failed)?;
    Ok(staged)
}

/// Checks that the file at `path` is an intact ledger of a known schema version.
pub(crate) fn check(path: &Path) -> Result<Contents, LedgerError> {
    let connection = open_for_reading(path)?;
    check_connection(&connection, path)
}

/// Replaces the ledger at `path`, which may be missing or damaged, with the backup at `backup`.
///
/// The replaced ledger is kept beside it.
pub(crate) fn restore(
    backup: &Path,
    path: &Path,
    now: UtcDateTime,
) -> Result<Restored, LedgerError> {
    super::refuse_network_file_system(path)?;
    let failed = |error: io::Error| {
        LedgerError::Failed(format!(
            "the ledger {} could not be replaced: {error}",
            path.display()
        ))
    };
    let _exclusive = lock_exclusively(path)?;
    let source = open_for_reading(backup)?;
    let contents = check_connection(&source, backup)?;
    let partial = create_beside(path).map_err(failed)?;
    copy_into(&source, &partial)?;
    drop(source);
    // The scope closes the connection before the file is renamed.
    {
        let connection = Connection::open(&partial)?;
        log::reset(&connection)?;
    }
    let aside = aside_of(path, now).map_err(failed)?;
    let mut replaced = None;
    let mut _others = None;
    if path.try_exists().map_err(failed)? {
        checkpoint_wal(path);
        _others = Some(refuse_other_programs(path)?);
        set_aside(path, &aside).map_err(failed)?;
        replaced = Some(aside.clone());
    }
    // The write-ahead log of another ledger: its records would bring deleted images back.
    rename_if_exists(path, &aside, "-log").map_err(failed)?;
    persist(partial, path, true).map_err(failed)?;
    Ok(Restored { contents, replaced })
}

/// Takes the shared lock that every process holds while it has the ledger at `path` open.
pub(super) fn lock_shared(path: &Path) -> Result<File, LedgerError> {
    let directory = open_directory(path)?;
    match directory.try_lock_shared() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Busy(
            "it is being restored from a backup".to_owned(),
        )),
        Err(TryLockError::Error(error)) => Err(unlockable(path, &error)),
    }
}

pub(crate) fn lock_exclusively(path: &Path) -> Result<File, LedgerError> {
    let directory = open_directory(path)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(error)) => Err(unlockable(path, &error)),
    }
}

fn in_use() -> LedgerError {
    LedgerError::Busy(
        "a responder, a sweep or another command has the ledger open; stop the responder, then restore"
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

/// Fails while another program, such as the sqlite3 shell, has the ledger open. Such a program does not lock the directory, but holds
/// SQLite's lock on the file (<https://www.sqlite.org/lockingv3.html>), which conflicts with a lock on the whole file.
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

/// Fails if the ledger cannot be read, with the cause that `SQLITE_CANTOPEN` lacks, or if one of its files is a FIFO, a device or the
/// like, which SQLite could read without end.
pub(super) fn require_regular(path: &Path) -> io::Result<()> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let irregular =
        |path: &Path| io::Error::other(format!("{} is not a regular file", path.display()));
    if !file.metadata()?.is_file() {
        return Err(irregular(path));
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let beside = with_suffix(path, suffix);
        match fs::symlink_metadata(&beside) {
            Ok(metadata) if !metadata.is_file() => return Err(irregular(&beside)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn open_for_reading(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let failed = |error: &dyn std::fmt::Display| {
        LedgerError::Failed(format!("{} could not be opened: {error}", path.display()))
    };
    require_regular(path).map_err(|error| failed(&error))?;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| failed(&error))?;
    connection.busy_timeout(super::connection::BUSY_TIMEOUT)?;
    Ok(connection)
}

fn check_connection(connection: &Connection, path: &Path) -> Result<Contents, LedgerError> {
    let no_ledger = |cause: &dyn std::fmt::Display| {
        LedgerError::Failed(format!(
            "{} is not an intact ledger: {cause}",
            path.display()
        ))
    };
    let sound: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|error| no_ledger(&error))?;
    if sound != "ok" {
        return Err(no_ledger(&sound));
    }
    let found = schema::version(connection)?;
    let known = schema::newest();
    if found > known {
        let path = path.display().to_string();
        return Err(LedgerError::TooNew { path, found, known });
    }
    if found < 1 {
        return Err(no_ledger(&"it is a database of something else"));
    }
    if connection.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(no_ledger(&"it has rows of clients that are missing"));
    }
    let contents = connection.query_row(
        "SELECT (SELECT count(*) FROM client WHERE removed_at IS NULL), count(*), max(uploaded_at) FROM image",
        [],
        |row| {
            Ok(Contents {
                clients: row.get(0)?,
                images: row.get(1)?,
                newest: row.get::<_, Option<i64>>(2)?.map(Timestamp),
            })
        },
    );
    contents.map_err(|error| no_ledger(&error))
}

fn copy_into(connection: &Connection, file: &Path) -> Result<(), LedgerError> {
    let target = file
        .to_str()
        .ok_or_else(|| LedgerError::Failed(format!("{} is not UTF-8", file.display())))?;
    connection
        .execute("VACUUM INTO ?1", [target])
        .map_err(|error| LedgerError::Failed(format!("{target} could not be written: {error}")))?;
    Ok(())
}

/// Checkpoints what a crash left in SQLite's WAL, so that the file alone is the whole ledger. If that fails on a damaged ledger, its WAL
/// is kept beside it.
fn checkpoint_wal(path: &Path) {
    if let Ok(connection) = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    ) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
}

/// The name that a replaced ledger gets.
fn aside_of(path: &Path, now: UtcDateTime) -> io::Result<PathBuf> {
    let time = now
        .format(format_description!(
            "[year][month][day]T[hour][minute][second]Z"
        ))
        .map_err(io::Error::other)?;
    Ok(with_suffix(path, &format!(".before-restore-{time}")))
}

/// Gives the ledger at `path` a second name, and renames SQLite's WAL along with it, which must not be applied to another ledger.
fn set_aside(path: &Path, aside: &Path) -> io::Result<()> {
    fs::hard_link(path, aside)?;
    for suffix in ["-wal", "-shm"] {
        rename_if_exists(path, aside, suffix)?;
    }
    Ok(())
}

fn rename_if_exists(path: &Path, aside: &Path, suffix: &str) -> io::Result<()> {
    match fs::rename(with_suffix(path, suffix), with_suffix(aside, suffix)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// A new file beside `target` with the mode of a ledger, to be filled by VACUUM INTO and then persisted under that name.
fn create_beside(target: &Path) -> io::Result<TempPath> {
    let mut prefix = target
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned();
    prefix.push(".partial-");
    let file = tempfile::Builder::new()
        .prefix(&prefix)
        .permissions(Permissions::from_mode(0o640))
        .tempfile_in(directory_of(target))?;
    Ok(file.into_temp_path())
}

/// Gives a finished file its name, and syncs file and directory.
fn persist(file: TempPath, target: &Path, replace: bool) -> io::Result<()> {
    File::open(&file)?.sync_all()?;
    if replace {
        file.persist(target)?;
    } else {
        file.persist_noclobber(target)?;
    }
    File::open(directory_of(target))?.sync_all()
}

#[cfg(test)]
mod tests;
