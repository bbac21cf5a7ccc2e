//! Backups in a directory: a name with the time for each, and which of them are too old.

use std::io;
use std::path::{Path, PathBuf};

use time::UtcDateTime;
use time::macros::format_description;

/// The file of a backup that is made at `now`. The order of the names is that of the times.
pub(super) fn file_in(directory: &Path, now: UtcDateTime) -> PathBuf {
    let format = format_description!("ledger-[year][month][day]-[hour][minute][second].db");
    directory.join(now.format(format).unwrap_or_default())
}

/// Deletes all backups of the directory but the newest `keep`, and returns those that were deleted. Files with other names stay.
pub(super) fn delete_older(directory: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in directory.read_dir()? {
        names.extend(entry?.file_name().into_string());
    }
    let deleted: Vec<_> = older(names, keep)
        .into_iter()
        .map(|name| directory.join(name))
        .collect();
    for file in &deleted {
        std::fs::remove_file(file)?;
    }
    Ok(deleted)
}

fn older(mut names: Vec<String>, keep: usize) -> Vec<String> {
    names.retain(|name| is_backup(name));
    names.sort_unstable();
    let excess = names.len().saturating_sub(keep);
    names.truncate(excess);
    names
}

fn is_backup(name: &str) -> bool {
    let time = name
        .strip_prefix("ledger-")
        .and_then(|rest| rest.strip_suffix(".db"));
    time.is_some_and(|time| {
        let mut parts = time.split('-').map(|part| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then_some(part.len())
        });
        parts.next() == Some(Some(8)) && parts.next() == Some(Some(6)) && parts.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    #[test]
    fn the_newest_are_kept_and_other_files_left_alone() {
        let made = file_in(Path::new("/b"), utc_datetime!(2026-04-05 03:17:09));
        assert_eq!(made, Path::new("/b/ledger-20260405-031709.db"));
        let names = [
            "ledger-20260405-031709.db",
            "ledger.db",
            "ledger-20251231-235959.db",
            "ledger-20260404-031709.db",
            "ledger-20260404-031709.db.old",
            "ledger-mine.db",
            "ledger-20260101-000000-1.db",
        ];
        let names = || names.map(str::to_owned).to_vec();
        assert_eq!(
            older(names(), 1),
            ["ledger-20251231-235959.db", "ledger-20260404-031709.db"]
        );
        assert_eq!(older(names(), 3), [""; 0]);
    }
}
