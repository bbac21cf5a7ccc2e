//! Why a statement or a connection failed, and what mends it.

use std::error::Error as _;
use std::io;

use postgres::error::{Severity, SqlState};

use crate::ledger::LedgerError;

/// The failure of one attempt.
#[derive(Debug)]
pub(super) enum Failure {
    /// There was no answer within the deadline: the statement may have been carried out.
    Late,
    /// The connection ended before the answer came: the statement may have been carried out.
    Lost,
    /// There is no connection. The text says why, and what to do.
    Unconnected {
        /// The error text.
        why: String,
        /// Whether another attempt may succeed without anybody's help.
        is_passing: bool,
    },
    /// The server refused the statement.
    Refused(Box<postgres::Error>),
}

/// What another attempt needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: the same statement at once.
    Again,
    /// A new connection, after a pause.
    Reconnect,
    /// None: another attempt would fail in the same way.
    Nothing,
}

impl Failure {
    /// The failure of a statement.
    pub(super) fn of_statement(error: postgres::Error) -> Self {
        match error.as_db_error() {
            Some(_) => Self::Refused(Box::new(error)),
            // A parameter that cannot be converted, or a reply that cannot be read.
            None if error
                .source()
                .is_some_and(|source| !source.is::<io::Error>()) =>
            {
                Self::Refused(Box::new(error))
            }
            None => Self::Lost,
        }
    }

    /// What another attempt needs.
    pub(super) fn remedy(&self) -> Remedy {
        match self {
            Self::Lost
            | Self::Unconnected {
                is_passing: true, ..
            } => Remedy::Reconnect,
            Self::Late | Self::Unconnected { .. } => Remedy::Nothing,
            Self::Refused(error) => match error.code() {
                Some(code) if is_conflict(code) => Remedy::Again,
                Some(code) if is_passing(code) => Remedy::Reconnect,
                _ => Remedy::Nothing,
            },
        }
    }

    /// Whether the statement may have been carried out although no answer came.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::Late | Self::Lost => true,
            Self::Unconnected { .. } => false,
            Self::Refused(error) => error.code().is_some_and(|code| {
                code == &SqlState::ADMIN_SHUTDOWN
                    || code == &SqlState::CRASH_SHUTDOWN
                    || code.code().starts_with("08")
            }),
        }
    }

    /// Whether the connection can be used on: the server refused the statement and nothing else.
    pub(super) fn keeps_connection(&self) -> bool {
        match self {
            Self::Refused(error) => error.as_db_error().is_some_and(|error| {
                error.parsed_severity() == Some(Severity::Error)
                    && error.code() != &SqlState::READ_ONLY_SQL_TRANSACTION
            }),
            _ => false,
        }
    }

    /// The error of the ledger, when no other attempt is made.
    pub(super) fn into_error(self, url: &str) -> LedgerError {
        let unreachable = |why: &str| LedgerError::Unreachable(format!("the ledger {url} {why}"));
        let error = match self {
            Self::Late => return unreachable("did not answer in time"),
            Self::Lost => return unreachable("closed the connection"),
            Self::Unconnected { why, .. } => return LedgerError::Unreachable(why),
            Self::Refused(error) => error,
        };
        let text = message(&error);
        match error.code() {
            Some(code) if code == &SqlState::DISK_FULL => LedgerError::Full(text),
            Some(code) if code == &SqlState::READ_ONLY_SQL_TRANSACTION => unreachable(&format!(
                "is read-only: {text}; if it is a replica, name the primary too in [ledger] url, with target_session_attrs=read-write"
            )),
            Some(code)
                if code == &SqlState::QUERY_CANCELED
                    || code == &SqlState::LOCK_NOT_AVAILABLE
                    || is_conflict(code)
                    || is_passing(code) =>
            {
                unreachable(&format!("could not do it in time: {text}"))
            }
            Some(code) if code == &SqlState::INSUFFICIENT_PRIVILEGE => {
                LedgerError::Failed(format!(
                    "the ledger {url} cannot be written: {text}; the account of [ledger] url must own the schema corenexis: \
                 ALTER DATABASE … OWNER TO that account, or GRANT it the rights of the owner"
                ))
            }
            Some(code) if code.code().starts_with("XX") => {
                LedgerError::Failed(format!("the ledger {url} is damaged: {text}"))
            }
            _ => LedgerError::Failed(format!("the ledger {url} failed: {text}")),
        }
    }
}

/// What the server said, or the driver with the cause.
pub(super) fn message(error: &postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => error.message().to_owned(),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

/// The transaction was rolled back because of another one.
fn is_conflict(code: &SqlState) -> bool {
    code == &SqlState::T_R_SERIALIZATION_FAILURE || code == &SqlState::T_R_DEADLOCK_DETECTED
}

/// The server, or the pooler in front of it, goes away, comes back, has no room, or has become a replica.
pub(super) fn is_passing(code: &SqlState) -> bool {
    let code = code.code();
    [
        "57P01", "57P02", "57P03", "57P05", "25006", "25P03", "53300",
    ]
    .contains(&code)
        || code.starts_with("08")
}
