//! Whether ledger and store belong together.

use super::check::Check;
use super::installation::Installation;
use super::ledger::read_as_owner;
use crate::identity::Pair;
use crate::site::{SiteError, check as check_pair};

/// `None` where one of them cannot be read, which its own check reports.
pub(super) fn check(installation: &Installation) -> Option<Check> {
    let name = "identity";
    let kind = match installation.config.storage.s3 {
        Some(_) => "bucket",
        None => "docroot",
    };
    Some(
        match read_as_owner(&installation.config, check_pair).ok()? {
            Ok(Pair::Complete) => Check::ok(name, format!("ledger and {kind} belong together")),
            Ok(Pair::Unnamed(_)) => Check::ok(
                name,
                format!("ledger and {kind} get one at the next start of the responder"),
            ),
            Err(SiteError::Mismatch(refusal)) => Check::fail(
                name,
                refusal,
                "until they match nothing is stored or deleted; `corenexis-cdn verify --accept` makes them a pair as they are",
            ),
            Err(SiteError::Ledger(_) | SiteError::Store { .. }) => return None,
        },
    )
}
