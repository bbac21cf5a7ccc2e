//! What an error of SQLite means for the ledger, and what mends it.

use crate::ledger::LedgerError;

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, ReadOnly,
        };
        // The shared-memory file is created when the ledger is opened.
        let no_shared_memory = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE);
        match error.sqlite_error_code() {
            Some(DatabaseBusy | DatabaseLocked) => Self::Busy(error.to_string()),
            Some(DiskFull) => Self::Full(error.to_string()),
            _ if no_shared_memory => Self::Full(error.to_string()),
            Some(ReadOnly) => Self::Failed(format!(
                "the ledger cannot be written: {error}; run this as the account that owns it"
            )),
            // In the sandbox of a unit that was rendered for another configuration, for example.
            Some(CannotOpen) => Self::Failed(format!(
                "the ledger cannot be opened: {error}; the account that runs this has to write to its directory; after a change of \
                 config.toml run `install.sh`, which allows the units to"
            )),
            Some(DatabaseCorrupt) => Self::Failed(format!("the ledger is damaged: {error}")),
            _ => Self::Failed(format!("the ledger failed: {error}")),
        }
    }
}
