//! The bucket of `[storage] kind = "s3"`: whether it does what the program needs. It is the one subject of doctor that writes: three
//! small objects, which are deleted again.

use super::check::Check;
use super::installation::Installation;

#[cfg(feature = "s3")]
pub(super) fn checks(installation: &Installation) -> Vec<Check> {
    use super::ledger::read_as_owner;
    use crate::store::s3::probe::{self, Finding, Outcome};

    // The account of the responder has to be able to read the key.
    let probed = read_as_owner(&installation.config, |config| {
        config.storage.s3.as_ref().map(probe::run)
    });
    let findings = match probed {
        Ok(findings) => findings.unwrap_or_default(),
        Err(why) => return vec![Check::skip("bucket", why)],
    };
    let as_check = |Finding { name, outcome }| match outcome {
        Outcome::Good(message) => Check::ok(name, message),
        Outcome::Poor(message, advice) => Check::warn(name, message, advice),
        Outcome::Bad(message, advice) => Check::fail(name, message, advice),
    };
    findings.into_iter().map(as_check).collect()
}

#[cfg(not(feature = "s3"))]
pub(super) fn checks(_: &Installation) -> Vec<Check> {
    Vec::new()
}
