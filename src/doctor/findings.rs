//! Judgements: from what was seen to what it means. Pure.

mod ledger;
mod storage;
mod visitors;
mod website;

use super::Finding;
use super::facts::Facts;

pub use website::version as nginx_version;

/// What brings nginx's files up to date.
const RENDER: &str = "run `corenexis-cdn render DIR`, put its nginx files in the place of the old ones, then `nginx -t && nginx -s reload`";

/// All findings, in the order in which they are best put right.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = ledger::settings(facts);
    findings.extend(website::findings(facts));
    findings.extend(storage::findings(facts));
    findings.extend(ledger::findings(facts));
    findings.extend(visitors::findings(facts));
    findings
}

/// Whether something could not be looked at because only others may.
fn is_denied(why: &str) -> bool {
    why.contains("Permission denied")
}

/// Bytes for people.
fn bytes(number: u64) -> String {
    let mut rest = number;
    let mut unit = "bytes";
    let mut tenths = 0;
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if rest < 1024 {
            break;
        }
        tenths = rest % 1024 * 10 / 1024;
        rest /= 1024;
        unit = next;
    }
    if tenths > 0 && rest < 100 {
        format!("{rest}.{tenths} {unit}")
    } else {
        format!("{rest} {unit}")
    }
}

/// A length of time in seconds for people.
fn age(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..120 => (seconds, "seconds"),
        120..7_200 => (seconds / 60, "minutes"),
        7_200..172_800 => (seconds / 3_600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    let unit = if number == 1 { "second" } else { unit };
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests;
