//! A connection to the ledger's file: where the file may lie, its settings, and how long it waits for locks.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rustix::fs::OFlags;

use super::backup;
use crate::config::Durability;
use crate::ledger::LedgerError;

/// How long a statement waits for another process's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two tries for a lock. SQLite's own are of up to a tenth of a second: on a slow disk, another process that commits all
/// the time leaves the lock free for milliseconds only, and would be found to hold it each time.
const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// Magic numbers of network file systems (statfs(2)), on which WAL's shared memory does not work.
const NETWORK_FILE_SYSTEMS: [(i64, &str); 7] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x0102_1997, "9P"),
];

/// Creates the file with mode 0640, which SQLite also gives to the WAL and shared-memory files.
pub(super) fn make_file(path: &Path) -> Result<(), LedgerError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
    {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LedgerError::Failed(format!(
            "the ledger {} could not be created: {error}; does the account that runs this own its directory?",
            path.display()
        ))),
    }
}

/// `PRAGMA synchronous`: a commit is not synced, but survives a power cut only if all earlier ones do
/// (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
pub(super) const NORMAL: i64 = 1;

/// `PRAGMA synchronous`: a commit, and with it every earlier one, is synced.
pub(super) const FULL: i64 = 2;

pub(super) const fn synchronous(durability: Durability) -> i64 {
    match durability {
        Durability::Full => FULL,
        Durability::Relaxed => 0,
    }
}

/// SQLite's busy handler (<https://www.sqlite.org/c3ref/busy_handler.html>): pauses, and tells whether to try again. `tries` is the number
/// of tries so far.
fn wait_for_lock(tries: i32) -> bool {
    thread_local! {
        static BEGAN: Cell<Instant> = Cell::new(Instant::now());
    }
    if tries == 0 {
        BEGAN.set(Instant::now());
    }
    let is_patient = BEGAN.get().elapsed() < BUSY_TIMEOUT;
    if is_patient {
        thread::sleep(BUSY_PAUSE);
    }
    is_patient
}

/// Opens a connection with the settings of the ledger; an error if SQLite does not take them.
pub(super) fn connect(path: &Path, durability: Durability) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    backup::require_regular(path).map_err(|error| unopened(path, &error))?;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| unopened(path, &error))?;
    connection.busy_handler(Some(wait_for_lock))?;
    let synchronous = synchronous(durability);
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A journal mode that cannot be set is not an error: the old one stays. So both are read back.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || level != synchronous {
        return Err(LedgerError::Failed(format!(
            "the ledger {} took journal_mode={mode} and synchronous={level} instead of wal and {synchronous}",
            path.display()
        )));
    }
    // The query planner stability guarantee: without it SQLite recompiles a statement for each new value that its planner may look at,
    // which took an eighth of the responder's CPU time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// `SQLITE_CANTOPEN` has no cause, so the file is opened again for the errno.
fn unopened(path: &Path, error: &dyn std::fmt::Display) -> LedgerError {
    let path_text = path.display();
    let cause = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .err();
    LedgerError::Failed(match cause {
        Some(cause) if cause.kind() == io::ErrorKind::PermissionDenied => format!(
            "the ledger {path_text} could not be opened: {cause}; run this as the account that owns it"
        ),
        Some(cause) => format!("the ledger {path_text} could not be opened: {cause}"),
        None => format!("the ledger {path_text} could not be opened: {error}"),
    })
}

/// Refuses a ledger whose directory is missing or on a network file system.
pub(super) fn refuse_network_file_system(path: &Path) -> Result<(), LedgerError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let missing = |error: &dyn std::fmt::Display| {
        LedgerError::Failed(format!(
            "the ledger's directory {} cannot be used: {error}; create it, owned by the user that runs the responder",
            directory.display()
        ))
    };
    fs::metadata(directory).map_err(|error| missing(&error))?;
    let found = rustix::fs::statfs(directory)
        .map_err(|error| missing(&error))?
        .f_type;
    match NETWORK_FILE_SYSTEMS
        .iter()
        .find(|(magic, _)| i128::from(*magic) == i128::from(found) & 0xFFFF_FFFF)
    {
        Some((_, name)) => Err(LedgerError::Failed(format!(
            "the ledger {} lies on {name}, where SQLite's WAL does not work: set [ledger] path to a local disk",
            path.display()
        ))),
        None => Ok(()),
    }
}
