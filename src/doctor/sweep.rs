//! Whether the sweep runs every ten minutes: when the last one ended, and what starts the next.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::ledger::duration;
use super::{Check, INSTALL, Installation, read_file};
use crate::ledger::Inspection;
use crate::plan::DAY_SECONDS;

/// Seconds since the last sweep above which doctor warns.
const LATE: i64 = 3_600;

/// Seconds since the last sweep above which expired images have been served for more than a day.
const LOST: i64 = 2 * DAY_SECONDS;

/// Crontabs, and directories of crontabs and scripts that cron runs (crontab(5), run-parts(8)).
const CRONTABS: [&str; 6] = [
    "etc/crontab",
    "etc/cron.d",
    "etc/crontabs",
    "etc/periodic/15min",
    "var/spool/cron/crontabs",
    "var/spool/cron",
];

/// The names of cron daemons: Debian and Vixie cron, cronie and BusyBox, fcron, bcron.
const DAEMONS: [&str; 4] = ["cron", "crond", "fcron", "bcron-sched"];

const TIMER: &str = "corenexis-cdn-sweep.timer";

/// The unit that the timer starts.
const UNIT: &str = "/etc/systemd/system/corenexis-cdn-sweep.service";

pub(super) fn checks(installation: &Installation, ledger: Option<&Inspection>) -> Vec<Check> {
    let now = installation.now.0;
    let last = match ledger.and_then(|ledger| Some((ledger.created?, ledger.swept))) {
        Some((created, swept)) => last_sweep(now, created.0, swept.map(|swept| swept.0)),
        None => Check::skip("last sweep", "only the ledger records it"),
    };
    vec![last, schedule(installation)]
}

/// `created` is when the ledger was created, `swept` when a sweep last ended; Unix seconds.
fn last_sweep(now: i64, created: i64, swept: Option<i64>) -> Check {
    let name = "last sweep";
    let advice = "run `corenexis-cdn sweep` as the account of the responder and read its messages; the next line shows what starts it";
    let message = match swept {
        Some(swept) => format!("{} ago", duration(now - swept)),
        None => format!(
            "none since the ledger was created, {} ago",
            duration(now - created)
        ),
    };
    match now - swept.unwrap_or(created) {
        age if age > LOST => Check::fail(
            name,
            format!("{message}: expired images are still served"),
            advice,
        ),
        age if age > LATE => Check::warn(
            name,
            format!("{message}; a sweep is due every ten minutes"),
            advice,
        ),
        _ => Check::ok(name, message),
    }
}

fn schedule(installation: &Installation) -> Check {
    let name = "sweep schedule";
    let unit = read_file(Path::new(UNIT)).unwrap_or_default();
    if Path::new("/run/systemd/system").exists()
        && runs_sweep(&unit, &installation.config_file)
        && let Some(check) = timer(&systemctl_show())
    {
        return check;
    }
    let (crontabs, unreadable) = crontabs(Path::new("/"), &installation.config_file);
    let crontabs = if crontabs.is_empty() && own_crontab(&installation.config_file) {
        format!("the crontab of {}", installation.account.name)
    } else {
        crontabs.join(", ")
    };
    if !crontabs.is_empty() {
        return match cron_daemon(Path::new("/proc")) {
            Some(daemon) => Check::ok(name, format!("{crontabs}, run by {daemon}")),
            None if !Path::new("/proc/1").exists() => Check::skip(
                name,
                format!(
                    "{crontabs}; whether a cron daemon runs is hidden{}",
                    installation.as_root()
                ),
            ),
            None => Check::warn(
                name,
                format!("{crontabs}, but no cron daemon runs"),
                "start it: `systemctl enable --now cron` (Debian), `systemctl enable --now crond` (Fedora), `rc-service crond start` (Alpine)",
            ),
        };
    }
    if unreadable.is_empty() {
        return Check::warn(
            name,
            "neither a crontab nor a systemd timer runs the sweep",
            INSTALL,
        );
    }
    Check::skip(
        name,
        format!(
            "none was found, and these could not be read: {}",
            unreadable.join(", ")
        ),
    )
}

/// The properties of the timer, lines of `Name=value` (systemctl(1)).
fn systemctl_show() -> String {
    let properties = "--property=LoadState,UnitFileState,ActiveState,NextElapseUSecRealtime";
    let output = Command::new("systemctl")
        .args(["show", TIMER, properties])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output();
    let printed = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&printed).into_owned()
}

/// Whether the timer is enabled and due; `None` if the host has no such unit.
fn timer(properties: &str) -> Option<Check> {
    let name = "sweep schedule";
    let value = |name: &str| {
        let mut values = properties
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next().unwrap_or_default()
    };
    if value("LoadState") != "loaded" {
        return None;
    }
    let (enabled, active) = (value("UnitFileState"), value("ActiveState"));
    let next = value("NextElapseUSecRealtime");
    Some(if enabled != "enabled" || active != "active" {
        Check::warn(
            name,
            format!(
                "{TIMER} is {enabled} and {active}: the sweep does not run, or not after the next boot"
            ),
            format!("`systemctl enable --now {TIMER}`"),
        )
    } else if next.is_empty() {
        Check::warn(
            name,
            format!("{TIMER} is enabled and has no next run"),
            format!("`systemctl restart {TIMER}`, then `systemctl list-timers {TIMER}`"),
        )
    } else {
        Check::ok(name, format!("{TIMER}, next run {next}"))
    })
}

/// The crontabs and scripts below `root` that run the sweep of this configuration, and the places that may not be read.
fn crontabs(root: &Path, config_file: &Path) -> (Vec<String>, Vec<String>) {
    let mut found = Vec::new();
    let mut unreadable = Vec::new();
    for place in CRONTABS.map(|place| root.join(place)) {
        let files = match fs::read_dir(&place) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                unreadable.push(place.display().to_string());
                continue;
            }
            Err(_) => vec![place.clone()],
        };
        // cron ignores files in cron.d whose names contain a dot.
        let is_read = |file: &PathBuf| !place.ends_with("cron.d") || file.extension().is_none();
        for file in files.into_iter().filter(is_read) {
            match read_file(&file) {
                Ok(text) if runs_sweep(&text, config_file) => {
                    found.push(file.display().to_string());
                }
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    unreadable.push(file.display().to_string());
                }
                _ => {}
            }
        }
    }
    (found, unreadable)
}

/// A script may name the program on one line and run it on another. Without --config the default configuration is meant.
fn runs_sweep(text: &str, config_file: &Path) -> bool {
    let is_command = |line: &&str| !line.trim_start().starts_with('#');
    let commands: String = text.lines().filter(is_command).collect();
    let names_config = commands.contains(&*config_file.to_string_lossy());
    commands.contains("corenexis-cdn")
        && commands.contains(" sweep")
        && (names_config || !commands.contains("--config"))
}

/// Whether the crontab of the account doctor runs as runs the sweep; other accounts' are readable by root alone.
fn own_crontab(config_file: &Path) -> bool {
    let output = Command::new("crontab")
        .arg("-l")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        output.status.success() && runs_sweep(&String::from_utf8_lossy(&output.stdout), config_file)
    })
}

/// The name and process id of a cron daemon that runs.
fn cron_daemon(proc: &Path) -> Option<String> {
    fs::read_dir(proc).ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let name = name.trim_end();
        DAEMONS
            .contains(&name)
            .then(|| format!("{name} (process {pid})"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Verdict::{Fail, Ok, Warn};
    use super::*;

    const CONFIG: &str = "/etc/corenexis-cdn/config.toml";

    #[test]
    fn the_age_of_the_last_sweep_is_judged() {
        let day = DAY_SECONDS;
        for (created, swept, verdict, text) in [
            (-30 * day, Some(-300), Ok, "5 minutes ago"),
            (-30 * day, Some(-7_200), Warn, "2 hours ago"),
            (-30 * day, Some(-3 * day), Fail, "3 days ago"),
            (-30 * day, None, Fail, "none since the ledger was created"),
            (-7_200, None, Warn, "none"),
            (-60, None, Ok, "60 seconds ago"),
            (-30 * day, Some(day), Ok, "0 seconds ago"),
        ] {
            let check = last_sweep(0, created, swept);
            assert_eq!(check.verdict, verdict, "{check:?}");
            assert!(check.message.contains(text), "{check:?}");
        }
    }

    #[test]
    fn crontabs_and_scripts_that_run_the_sweep_are_recognized() {
        let runs = |text| runs_sweep(text, Path::new(CONFIG));
        assert!(runs(
            "# deletes\n*/10 * * * * cdn output=$(/usr/local/bin/corenexis-cdn --config /etc/corenexis-cdn/config.toml sweep 2>&1)"
        ));
        assert!(runs("*/10 * * * * cdn corenexis-cdn sweep"));
        assert!(!runs(
            "*/10 * * * * cdn corenexis-cdn --config /srv/other.toml sweep"
        ));
        assert!(!runs("# corenexis-cdn sweep"));
        assert!(!runs("* * * * * root backup sweep"));
        assert!(runs(
            "#!/bin/sh\nBINARY=/usr/local/bin/corenexis-cdn\nCONFIG=/etc/corenexis-cdn/config.toml\n\"$BINARY\" --config \"$CONFIG\" sweep"
        ));
    }

    #[test]
    fn a_crontab_is_found_and_a_fifo_in_its_place_is_not_opened() {
        let root = tempfile::tempdir().expect("a directory");
        let cron = root.path().join("etc/cron.d");
        fs::create_dir_all(&cron).expect("created");
        let found = || crontabs(root.path(), Path::new(CONFIG)).0;
        rustix::fs::mkfifoat(rustix::fs::CWD, cron.join("fifo"), rustix::fs::Mode::RUSR)
            .expect("created");
        assert_eq!(found(), [""; 0]);
        let line = "*/10 * * * * cdn corenexis-cdn sweep\n";
        fs::write(cron.join("corenexis.cdn"), line).expect("written");
        assert_eq!(found(), [""; 0], "cron ignores names with a dot");
        let file = cron.join("corenexis-cdn");
        fs::write(&file, line).expect("written");
        assert_eq!(found(), [file.display().to_string()]);
    }

    #[test]
    fn a_timer_must_be_enabled_and_due() {
        // `systemctl show` of systemd 252.
        let shown = "NextElapseUSecRealtime=Thu 2026-04-30 10:20:00 UTC\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n";
        let check = timer(shown).expect("a timer");
        assert_eq!(
            (check.verdict, &*check.message),
            (
                Ok,
                "corenexis-cdn-sweep.timer, next run Thu 2026-04-30 10:20:00 UTC"
            )
        );
        let verdict = |from, to| timer(&shown.replace(from, to)).map(|check| check.verdict);
        assert_eq!(
            verdict("UnitFileState=enabled", "UnitFileState=disabled"),
            Some(Warn)
        );
        assert_eq!(
            verdict("ActiveState=active", "ActiveState=inactive"),
            Some(Warn)
        );
        assert_eq!(verdict("Thu 2026-04-30 10:20:00 UTC", ""), Some(Warn));
        assert_eq!(verdict("LoadState=loaded", "LoadState=not-found"), None);
        assert_eq!(timer(""), None);
    }

    #[test]
    fn a_cron_daemon_is_found_by_its_name() {
        let proc = tempfile::tempdir().expect("a directory");
        let add = |pid: &str, name: &str| {
            fs::create_dir(proc.path().join(pid)).expect("created");
            fs::write(proc.path().join(pid).join("comm"), format!("{name}\n")).expect("written");
        };
        add("1", "init");
        add("self", "cron");
        assert_eq!(cron_daemon(proc.path()), None);
        add("77", "crond");
        assert_eq!(
            cron_daemon(proc.path()).as_deref(),
            Some("crond (process 77)")
        );
    }
}
