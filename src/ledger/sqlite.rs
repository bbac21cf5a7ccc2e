//! The ledger in SQLite, in WAL mode with `synchronous=FULL`: a commit is on disk when it returns
//! (<https://www.sqlite.org/wal.html>, <https://www.sqlite.org/pragma.html#pragma_synchronous>).
//!
//! One connection writes. A few others read, opened at the start so that a full descriptor table cannot stop a request later.

pub mod backup;
mod clients;
mod images;
pub mod inspection;
mod migration;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use time::{Date, UtcDateTime};

use super::{
    Account, ClientKey, ClientRow, Event, Expired, FoundImage, ImageFilter, ImageRow, Ledger,
    LedgerError, NewImage, Swept, UsageRow, Verdict, day_number,
};
use crate::auth::TokenDigest;
use crate::config::Durability;
use crate::image_path::ImagePath;

/// How long a statement waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite 3.7.0 to 3.51.2 can corrupt a WAL database that two processes write, as responder and sweep do.
const OLDEST_SQLITE: i32 = 3_051_003;

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

/// A ledger in an SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    writer: Mutex<Connection>,
    readers: Readers,
    /// Keeps a restore away; let go of after the connections.
    _held: File,
}

impl SqliteLedger {
    /// Opens the ledger at `path`, makes it if there is none, and brings it to this program's schema version after a backup.
    ///
    /// `readers` is how many requests may read at once; others wait for their turn.
    pub fn open(
        path: &Path,
        durability: Durability,
        readers: usize,
        now: UtcDateTime,
    ) -> Result<Self, LedgerError> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            let found = rusqlite::version();
            return Err(LedgerError::Failed(format!(
                "SQLite {found} is older than 3.51.3 and can corrupt the ledger: build with the bundled one"
            )));
        }
        refuse_network_file_system(path)?;
        let held = backup::hold(path)?;
        make_file(path)?;
        let mut writer = connect(path, durability)?;
        migration::migrate(&mut writer, path, now)?;
        let readers = (0..readers.max(1))
            .map(|_| connect(path, durability))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            writer: Mutex::new(writer),
            readers: Readers::new(readers),
            _held: held,
        })
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        self.readers.with(read).map_err(LedgerError::from)
    }

    fn write<T>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let mut writer = lock(&self.writer);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let outcome = write(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }
}

impl Ledger for SqliteLedger {
    fn account(&self, id: &str, now: UtcDateTime) -> Result<Option<Account>, LedgerError> {
        self.read(|connection| clients::account(connection, id, now))
    }

    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError> {
        self.write(|connection| images::record(connection, batch, now))
    }

    fn withdraw(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.write(|connection| images::withdraw(connection, paths))
    }

    fn forget(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.write(|connection| images::forget(connection, paths))
    }

    fn expired(
        &self,
        now: UtcDateTime,
        after: Option<&Expired>,
        limit: u32,
    ) -> Result<Vec<Expired>, LedgerError> {
        self.read(|connection| images::expired(connection, now, after, limit))
    }

    fn expired_count(&self, now: UtcDateTime) -> Result<u64, LedgerError> {
        self.read(|connection| images::expired_count(connection, now))
    }

    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
        self.read(|connection| images::image(connection, path))
    }

    fn images(&self, filter: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
        self.read(|connection| images::images(connection, filter))
    }

    fn adopt(
        &self,
        images: &[FoundImage],
        id: &str,
        plan: &str,
        now: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let client = clients::without_token(connection, id, plan, now)?;
            images::adopt(connection, images, client)
        })
    }

    fn add_client(
        &self,
        id: &str,
        plan: &str,
        token: TokenDigest,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        self.write(|connection| clients::add(connection, id, plan, token, now))
    }

    fn rotate_token(
        &self,
        id: &str,
        token: TokenDigest,
        old_tokens_end: i64,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        self.write(|connection| clients::rotate_token(connection, id, token, old_tokens_end, now))
    }

    fn set_disabled(
        &self,
        id: &str,
        disabled: bool,
        now: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        self.write(|connection| clients::set_disabled(connection, id, disabled, now))
    }

    fn remove_client(&self, id: &str, now: UtcDateTime) -> Result<bool, LedgerError> {
        self.write(|connection| clients::remove(connection, id, now))
    }

    fn clients(&self, now: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
        self.read(|connection| clients::list(connection, now))
    }

    fn usage(
        &self,
        client: Option<&str>,
        since: Option<Date>,
    ) -> Result<Vec<UsageRow>, LedgerError> {
        self.read(|connection| clients::usage(connection, client, since))
    }

    fn usage_of(&self, client: ClientKey, since: Date) -> Result<Vec<UsageRow>, LedgerError> {
        self.read(|connection| clients::usage_of(connection, client, since))
    }

    fn note_time(&self, event: Event, at: UtcDateTime) -> Result<(), LedgerError> {
        self.write(|connection| note_time(connection, event, at))
    }

    fn noted_time(&self, event: Event) -> Result<Option<i64>, LedgerError> {
        use rusqlite::OptionalExtension;
        self.read(|connection| {
            connection
                .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
                .query_row([event_name(event)], |row| row.get(0))
                .optional()
        })
    }

    fn add_swept(&self, mut swept: Swept) -> Result<(), LedgerError> {
        self.write(|connection| {
            let mut add = connection.prepare_cached(
                "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            )?;
            for (name, number) in swept_counters(&mut swept) {
                add.execute((name, *number))?;
            }
            Ok(())
        })
    }

    fn swept(&self) -> Result<Swept, LedgerError> {
        self.read(|connection| {
            let mut swept = Swept::default();
            let mut query = connection
                .prepare_cached("SELECT coalesce(max(value), 0) FROM meta WHERE name = ?1")?;
            for (name, number) in swept_counters(&mut swept) {
                *number = query.query_row([name], |row| row.get(0))?;
            }
            Ok(swept)
        })
    }
}

/// The counters of [`Swept`] by their names.
fn swept_counters(swept: &mut Swept) -> [(&'static str, &mut u64); 5] {
    [
        ("swept_expired", &mut swept.expired),
        ("swept_bytes", &mut swept.bytes),
        ("swept_abandoned", &mut swept.abandoned),
        ("swept_withdrawn", &mut swept.withdrawn),
        ("swept_orphaned", &mut swept.orphaned),
    ]
}

fn note_time(connection: &Connection, event: Event, at: UtcDateTime) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )?
        .execute((event_name(event), at.unix_timestamp()))?;
    Ok(())
}

const fn event_name(event: Event) -> &'static str {
    match event {
        Event::Created => "created_at",
        Event::Swept => "swept_at",
    }
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, ReadOnly};
        // Shared memory is a file as well, made when the ledger is opened.
        let no_shared_memory = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(error.to_string()),
            Some(DiskFull) => Self::Full(error.to_string()),
            _ if no_shared_memory => Self::Full(error.to_string()),
            Some(ReadOnly) => Self::Failed(format!(
                "the ledger cannot be written: {error}; run this as the account that owns it, or as root"
            )),
            _ => Self::Failed(format!("the ledger failed: {error}")),
        }
    }
}

/// Connections that only read, taken and given back.
#[derive(Debug)]
struct Readers {
    pool: Mutex<Pool>,
    given_back: Condvar,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<Connection>,
    /// How many wait for one. A notification is a system call even where nobody hears it.
    waiting: usize,
}

impl Readers {
    const fn new(connections: Vec<Connection>) -> Self {
        Self {
            pool: Mutex::new(Pool {
                idle: connections,
                waiting: 0,
            }),
            given_back: Condvar::new(),
        }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        let mut pool = lock(&self.pool);
        let connection = loop {
            if let Some(connection) = pool.idle.pop() {
                break connection;
            }
            pool.waiting += 1;
            pool = self
                .given_back
                .wait(pool)
                .unwrap_or_else(PoisonError::into_inner);
            pool.waiting -= 1;
        };
        drop(pool);
        let lent = Lent {
            readers: self,
            connection: Some(connection),
        };
        read(
            lent.connection
                .as_ref()
                .expect("it is given back on drop only"),
        )
    }
}

/// Gives its connection back whatever happens while it is lent, a panic included.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut pool = lock(&self.readers.pool);
        pool.idle.extend(self.connection.take());
        let is_awaited = pool.waiting > 0;
        drop(pool);
        if is_awaited {
            self.readers.given_back.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the file with the mode that SQLite then gives to the WAL and shared-memory files too.
fn make_file(path: &Path) -> Result<(), LedgerError> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
    {
        Ok(_) => backup::take_owner_of_directory(path).map_err(|error| unopened(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(LedgerError::Failed(format!(
            "the ledger {} could not be made: {error}; does the account that runs this own its directory?",
            path.display()
        ))),
    }
}

fn connect(path: &Path, durability: Durability) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|error| unopened(path, &error))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let synchronous = match durability {
        Durability::Full => 2,
        Durability::Relaxed => 0,
    };
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Read back: a journal mode that cannot be set is answered with the old one, not with an error.
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let level: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || level != synchronous {
        return Err(LedgerError::Failed(format!(
            "the ledger {} took journal_mode={mode} and synchronous={level} instead of wal and {synchronous}",
            path.display()
        )));
    }
    // Without the stability guarantee SQLite compiles a statement again for each new value that its planner might look at: an eighth
    // of the responder's CPU time went into that.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// SQLite says no more than that it could not; the kernel says why.
fn unopened(path: &Path, error: &dyn std::fmt::Display) -> LedgerError {
    let path_text = path.display();
    let cause = OpenOptions::new().read(true).write(true).open(path).err();
    LedgerError::Failed(match cause {
        Some(cause) if cause.kind() == io::ErrorKind::PermissionDenied => format!(
            "the ledger {path_text} could not be opened: {cause}; run this as the account that owns it, or as root"
        ),
        Some(cause) => format!("the ledger {path_text} could not be opened: {cause}"),
        None => format!("the ledger {path_text} could not be opened: {error}"),
    })
}

fn refuse_network_file_system(path: &Path) -> Result<(), LedgerError> {
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

#[cfg(test)]
mod tests;
