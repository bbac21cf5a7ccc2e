//! Whether the sweep runs every ten minutes: when the last one ended, and what starts the next.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::check::{Check, INSTALL};
use super::files::read_file;
use super::installation::Installation;
use super::ledger::duration;
use crate::expiry::DAY_SECONDS;
use crate::ledger::Inspection;

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

/// The properties of the timer that systemctl(1) prints as lines of `Name=value`.
const PROPERTIES: &str =
    "--property=LoadState,UnitFileState,ActiveState,SubState,NextElapseUSecRealtime";

/// The unit that the timer starts.
const UNIT: &str = "/etc/systemd/system/corenexis-cdn-sweep.service";

pub(super) fn checks(installation: &Installation, ledger: Option<&Inspection>) -> Vec<Check> {
    let now = installation.now.0;
    let (created, swept) = ledger.map_or((None, None), |ledger| (ledger.created, ledger.swept));
    let last = created.map_or_else(
        || Check::skip("last sweep", "only the ledger records it"),
        |created| last_sweep(now, created.0, swept.map(|swept| swept.0)),
    );
    let is_recent = swept.is_some_and(|swept| now - swept.0 < LATE);
    vec![last, schedule(installation, is_recent)]
}

/// `created` is when the ledger was created, `swept` when a sweep last ended; Unix seconds.
fn last_sweep(now: i64, created: i64, swept: Option<i64>) -> Check {
    let name = "last sweep";
    let advice = "run `corenexis-cdn sweep` as the account of the responder and read its messages; the next line shows what starts it";
    let age = now - swept.unwrap_or(created);
    let message = match swept {
        Some(_) => format!("{} ago", duration(age)),
        None => format!("none since the ledger was created, {} ago", duration(age)),
    };
    if age > LOST {
        Check::fail(
            name,
            format!("{message}: expired images are still served"),
            advice,
        )
    } else if age > LATE {
        Check::warn(
            name,
            format!("{message}; a sweep is due every ten minutes"),
            advice,
        )
    } else {
        Check::ok(name, message)
    }
}

/// `is_recent`: a sweep ended within the last hour.
fn schedule(installation: &Installation, is_recent: bool) -> Check {
    let name = "sweep schedule";
    let config_file = &installation.config_file;
    let unit = read_file(Path::new(UNIT)).unwrap_or_default();
    if Path::new("/run/systemd/system").exists()
        && runs_sweep(&unit, config_file)
        && let Some(check) = timer(&printed(
            Command::new("systemctl").args(["show", TIMER, PROPERTIES]),
        ))
    {
        return check;
    }
    let (mut crontabs, unreadable) = crontabs(Path::new("/"), config_file);
    // Other accounts' crontabs are readable by root alone.
    if crontabs.is_empty() && runs_sweep(&printed(Command::new("crontab").arg("-l")), config_file) {
        crontabs.push(format!("the crontab of {}", installation.account.name));
    }
    let crontabs = crontabs.join(", ");
    if crontabs.is_empty() && is_recent {
        // A demo or a supervisor may start it.
        return Check::ok(
            name,
            "not by cron or systemd, but a sweep ended within the last hour",
        );
    } else if crontabs.is_empty() && unreadable.is_empty() {
        let message = "neither a crontab nor a systemd timer runs the sweep";
        return Check::warn(name, message, INSTALL);
    } else if crontabs.is_empty() {
        let unreadable = unreadable.join(", ");
        return Check::skip(
            name,
            format!("none was found, and these could not be read: {unreadable}"),
        );
    }
    match cron_daemon(Path::new("/proc")) {
        Some(daemon) => Check::ok(name, format!("{crontabs}, run by {daemon}")),
        None if !Path::new("/proc/1").exists() => {
            let why = "other accounts' processes are hidden, so a cron daemon may run or not";
            Check::skip(name, format!("{crontabs}; {why}{}", installation.as_root()))
        }
        None => Check::warn(
            name,
            format!("{crontabs}, but no cron daemon runs"),
            "start it: `systemctl enable --now cron` (Debian), `systemctl enable --now crond` (Fedora), `rc-service crond start` (Alpine)",
        ),
    }
}

/// The standard output of a command that succeeds; else nothing.
fn printed(command: &mut Command) -> String {
    let command = command.env("LC_ALL", "C").stdin(Stdio::null());
    match command.stderr(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        _ => String::new(),
    }
}

/// Whether the timer is enabled and due, by its `properties`; `None` if the host has no such unit.
fn timer(properties: &str) -> Option<Check> {
    let name = "sweep schedule";
    let properties: BTreeMap<_, _> = properties
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let value = |name| properties.get(name).copied().unwrap_or_default();
    let (enabled, active) = (value("UnitFileState"), value("ActiveState"));
    let next = value("NextElapseUSecRealtime");
    if value("LoadState") != "loaded" {
        return None;
    }
    Some(if enabled != "enabled" || active != "active" {
        let message = "the sweep does not run, or not after the next boot";
        let message = format!("{TIMER} is {enabled} and {active}: {message}");
        Check::warn(name, message, format!("`systemctl enable --now {TIMER}`"))
    } else if value("SubState") == "running" {
        // Until the unit that the timer started has ended, there is no next run.
        Check::ok(name, format!("{TIMER}, running now"))
    } else if next.is_empty() {
        let advice = format!("`systemctl restart {TIMER}`, then `systemctl list-timers {TIMER}`");
        Check::warn(
            name,
            format!("{TIMER} is enabled and has no next run"),
            advice,
        )
    } else {
        Check::ok(name, format!("{TIMER}, next run {next}"))
    })
}

/// The crontabs and scripts below `root` that run the sweep of this configuration, and the places that may not be read.
fn crontabs(root: &Path, config_file: &Path) -> (Vec<String>, Vec<String>) {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for place in CRONTABS.map(|place| root.join(place)) {
        let mut files = match fs::read_dir(&place) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                unreadable.push(place.display().to_string());
                continue;
            }
            Err(_) => vec![place.clone()],
        };
        // cron ignores files in cron.d whose names contain a dot.
        files.retain(|file| !place.ends_with("cron.d") || file.extension().is_none());
        for file in files {
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
    use super::super::check::Verdict::{Fail, Ok, Warn};
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
        let shown = "NextElapseUSecRealtime=Thu 2026-04-30 10:20:00 UTC\nLoadState=loaded\nActiveState=active\nSubState=waiting\nUnitFileState=enabled\n";
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
        let running = shown
            .replace("Thu 2026-04-30 10:20:00 UTC", "")
            .replace("waiting", "running");
        assert_eq!(timer(&running).map(|check| check.verdict), Some(Ok));
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
