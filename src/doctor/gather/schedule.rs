//! What runs the sweep: crontabs and systemd timers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::doctor::access::Account;

/// Directories of crontabs and of timers, and files that are crontabs.
const PLACES: [&str; 8] = [
    "etc/crontab",
    "etc/cron.d",
    "etc/crontabs",
    "etc/periodic/15min",
    "var/spool/cron/crontabs",
    "var/spool/cron",
    "etc/systemd/system",
    "usr/lib/systemd/system",
];

/// What was found below `root`, and what could not be looked at. Only root reads the crontabs of others.
pub(super) fn look(root: &Path, examiner: &Account) -> (Vec<String>, Vec<String>) {
    let mut found = Vec::new();
    let mut unseen = Vec::new();
    for place in PLACES {
        let place = root.join(place);
        match files(&place) {
            Ok(files) => {
                // cron passes over names with a dot in cron.d.
                let counts =
                    |file: &PathBuf| !place.ends_with("cron.d") || file.extension().is_none();
                for file in files.into_iter().filter(counts) {
                    match fs::read_to_string(&file) {
                        Ok(text) if runs_sweep(&file, &text) => {
                            found.push(file.display().to_string());
                        }
                        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                            unseen.push(file.display().to_string());
                        }
                        _ => {}
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                unseen.push(place.display().to_string());
            }
            Err(_) => {}
        }
    }
    if found.is_empty() && own_crontab().is_some_and(|text| runs_sweep(Path::new("crontab"), &text))
    {
        found.push(format!("the crontab of {}", examiner.name));
    }
    (found, unseen)
}

/// The place itself if it is a file, else the files in it.
fn files(place: &Path) -> io::Result<Vec<PathBuf>> {
    if place.is_file() {
        return Ok(vec![place.to_owned()]);
    }
    let mut files: Vec<_> = fs::read_dir(place)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// A timer names the service that it starts; a crontab has the command.
fn runs_sweep(file: &Path, text: &str) -> bool {
    let is_timer = file
        .extension()
        .is_some_and(|extension| extension == "timer");
    if is_timer {
        return file
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("corenexis-cdn"));
    }
    if file
        .extension()
        .is_some_and(|extension| extension == "service" || extension == "socket")
    {
        return false;
    }
    // A script may name the program on one line and call it on another.
    let says = |wanted| {
        let mut lines = text.lines().map(str::trim_start);
        lines.any(|line| !line.starts_with('#') && line.contains(wanted))
    };
    says("corenexis-cdn") && says(" sweep")
}

/// `crontab -l` reads the examiner's own, which nobody else may read.
fn own_crontab() -> Option<String> {
    let output = Command::new("crontab")
        .arg("-l")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crontabs_and_timers_are_told_from_others() {
        let cron = "# corenexis-cdn sweep\n*/10 * * * * cdn output=$(/usr/local/bin/corenexis-cdn --config /etc/x.toml sweep 2>&1)";
        assert!(runs_sweep(Path::new("/etc/cron.d/corenexis-cdn"), cron));
        assert!(!runs_sweep(
            Path::new("/etc/cron.d/x"),
            "# corenexis-cdn sweep"
        ));
        assert!(!runs_sweep(
            Path::new("/etc/cron.d/x"),
            "* * * * * root backup sweep"
        ));
        let script = "#!/bin/sh\nBINARY=/usr/local/bin/corenexis-cdn\nexec \"$BINARY\" sweep";
        assert!(runs_sweep(
            Path::new("/etc/periodic/15min/corenexis-cdn"),
            script
        ));
        let service = "[Service]\nExecStart=/usr/local/bin/corenexis-cdn sweep";
        assert!(!runs_sweep(
            Path::new("/x/corenexis-cdn-sweep.service"),
            service
        ));
        assert!(runs_sweep(
            Path::new("/x/corenexis-cdn-sweep.timer"),
            "[Timer]"
        ));
        assert!(!runs_sweep(Path::new("/x/logrotate.timer"), "[Timer]"));
    }

    #[test]
    fn a_schedule_is_found_below_a_root() {
        let root = tempfile::tempdir().expect("a directory");
        let examiner = Account {
            name: "me".to_owned(),
            uid: 1,
            groups: Vec::new(),
        };
        let cron = root.path().join("etc/cron.d");
        fs::create_dir_all(&cron).expect("made");
        let (found, _) = look(root.path(), &examiner);
        assert!(
            found.iter().all(|place| place.contains("the crontab of")),
            "{found:?}"
        );
        let file = cron.join("corenexis-cdn");
        fs::write(&file, "*/10 * * * * cdn corenexis-cdn sweep\n").expect("written");
        assert_eq!(look(root.path(), &examiner).0, [file.display().to_string()]);
    }
}
