//! The write-ahead log: whether it is this ledger's, intact, and recovered.

use super::check::Check;
use super::installation::Installation;
use super::ledger::read_as_owner;
use crate::commit::log_directory;
use crate::commit::wal::{self, Found, Unavailable};
use crate::ledger::Inspection;

/// The check; `None` if no responder made a log yet.
pub(super) fn check(installation: &Installation, ledger: Option<&Inspection>) -> Option<Check> {
    let name = "write-ahead log";
    let marks = ledger?.log?;
    let directory = log_directory(&installation.config)?;
    let found = read_as_owner(&installation.config, {
        let directory = directory.clone();
        move |_| wal::inspect(&directory, marks)
    });
    let directory = directory.display();
    Some(match found {
        Err(why) => Check::skip(name, format!("{directory}: {why}")),
        Ok(Ok(Found::Nothing)) => return None,
        Ok(Ok(Found::OtherLedger(id))) => Check::warn(
            name,
            format!("{directory} belongs to another ledger, with the log id {id:016x}"),
            "the responder renames it and makes a new one when it starts",
        ),
        Ok(Ok(Found::Log { bytes, unfinished })) => {
            let size = format!("{directory} has {} MiB", bytes >> 20);
            match unfinished {
                None => Check::ok(name, format!("{size}; a responder uses it")),
                Some(0) => Check::ok(name, format!("{size}; all of it is checkpointed")),
                Some(_) => Check::warn(
                    name,
                    format!("{size}, with images of a responder that was killed"),
                    "start the responder or run `corenexis-cdn sweep`: each recovers them",
                ),
            }
        }
        Ok(Err(Unavailable::Failed(error)))
            if error.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            let why = format!("{directory}: {error}{}", installation.as_root());
            Check::skip(name, why)
        }
        Ok(Err(error)) => Check::fail(
            name,
            format!("{directory}: {error}"),
            "stop the responder and move the directory away; `corenexis-cdn verify` then lists images that are missing",
        ),
    })
}
