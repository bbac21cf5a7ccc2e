//! The ledger: present, intact, owned by the account of the responder, and not younger than the clock says.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use indicatif::HumanDuration;

use super::access::Permission;
use super::check::Check;
use super::docroot::class_directories;
use super::installation::Installation;
use crate::config::Config;
use crate::expiry::DAY_SECONDS;
use crate::ledger::{Inspection, QuickCheck, inspect};
use crate::owner::Owner;
use crate::timestamp::Timestamp;

/// How long SQLite's quick check of the ledger may take.
const QUICK_CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long reading the ledger may take in all.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// No ledger was created before.
const EARLIEST: Timestamp = Timestamp(1_767_225_600); // 2026-01-01

/// Seconds by which the clock may be set back without a report.
const CLOCK_TOLERANCE: i64 = 120;

const RESTORE: &str = "stop the responder, then `corenexis-cdn restore BACKUP`; without a backup move the file away and run `corenexis-cdn \
                       verify --rebuild`";

/// The checks, and what the ledger holds if it can be read.
pub(super) fn checks(installation: &Installation) -> (Vec<Check>, Option<Inspection>) {
    #[cfg(feature = "postgres")]
    if let Some(place) = &installation.config.ledger.postgres {
        return super::postgres::checks(installation, place);
    }
    let path = &installation.config.ledger.path;
    let mut checks = Vec::new();
    // Before SQLite opens the files: as root it gives them to the owner of the ledger.
    let owners = owners(installation, path);
    let inspection = match inspected(installation, path) {
        Ok(inspection) => {
            checks.push(integrity(path, &inspection));
            checks.extend(clients(&installation.config, &inspection));
            Some(inspection)
        }
        Err(check) => {
            checks.push(check);
            None
        }
    };
    checks.extend(owners);
    checks.push(clock(installation.now, inspection.as_ref()));
    (checks, inspection)
}

/// The ledger and the files that SQLite keeps beside it.
fn files(path: &Path) -> [PathBuf; 4] {
    ["", "-wal", "-shm", "-journal"].map(|suffix| {
        let mut name = OsString::from(path);
        name.push(suffix);
        name.into()
    })
}

/// Runs `read` on a thread of its own, so that nothing that replaces files meanwhile can block doctor. As root the thread becomes the owner
/// of the ledger's directory, because SQLite creates files there.
pub(super) fn read_as_owner<T: Send + 'static>(
    config: &Config,
    read: impl FnOnce(&Config) -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = channel();
    let config = config.clone();
    thread::spawn(move || {
        let owner = Owner::of(&config);
        let became = owner.and_then(|owner| owner.map_or(Ok(()), Owner::become_owner));
        // After the time limit nobody receives the result.
        let _ = sender.send(became.map(|()| read(&config)));
    });
    match receiver.recv_timeout(READ_TIMEOUT) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "no answer within {} seconds",
            READ_TIMEOUT.as_secs()
        )),
    }
}

fn inspected(installation: &Installation, path: &Path) -> Result<Inspection, Check> {
    let name = "ledger";
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(lost(installation, path));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let why = format!("{}: {error}{}", path.display(), installation.as_root());
            return Err(Check::skip(name, why));
        }
        _ => {}
    }
    if let Ok(Some(refusal)) = installation.account.refusal(path, Permission::Read) {
        let why = format!("{refusal}; run doctor as root or as the account that owns it");
        return Err(Check::skip(name, why));
    }
    read_as_owner(&installation.config, |config| {
        inspect(config, QUICK_CHECK_TIMEOUT)
    })
    .and_then(|inspected| inspected.map_err(|error| error.to_string()))
    .map_err(|why| Check::fail(name, why, RESTORE))
}

fn lost(installation: &Installation, path: &Path) -> Check {
    let docroot = &installation.config.storage.docroot;
    let is_used = |class: &PathBuf| fs::read_dir(class).is_ok_and(|mut days| days.next().is_some());
    let mut message = format!("there is no ledger {}", path.display());
    let advice = if class_directories(docroot).iter().any(is_used) {
        let docroot = docroot.display();
        message = format!(
            "{message}, although {docroot} holds images: the ledger is lost, or [ledger] path is wrong"
        );
        "stop the responder, then correct [ledger] path, or `corenexis-cdn restore BACKUP`; without a backup `corenexis-cdn verify --rebuild`"
    } else {
        "on a new site `corenexis-cdn client add`, run as the account of the responder, creates it"
    };
    Check::fail("ledger", message, advice)
}

fn integrity(path: &Path, ledger: &Inspection) -> Check {
    let name = "ledger";
    let path = path.display();
    let (schema, known) = (ledger.schema, ledger.newest);
    let version = format!("{path} has schema version {schema}");
    match &ledger.check {
        QuickCheck::Damaged(damage) => {
            Check::fail(name, format!("{path} is damaged: {damage}"), RESTORE)
        }
        _ if schema == 0 => {
            let advice = "set [ledger] path to a file of its own";
            Check::fail(
                name,
                format!("{path} is the database of another program"),
                advice,
            )
        }
        _ if schema > known => {
            let message = format!("{version}, and this program knows versions up to {known}");
            Check::fail(name, message, "use a newer corenexis-cdn")
        }
        _ if schema < known => {
            let advice = "restart the responder: it backs the ledger up and migrates it";
            Check::warn(
                name,
                format!("{version}, and the newest is {known}"),
                advice,
            )
        }
        QuickCheck::Unfinished => {
            let seconds = QUICK_CHECK_TIMEOUT.as_secs();
            let why = "`corenexis-cdn verify` checks all of it";
            Check::skip(
                name,
                format!("{version}; its quick check did not end within {seconds} seconds: {why}"),
            )
        }
        QuickCheck::Sound if ledger.journal.as_deref() != Some("wal") => {
            let journal = ledger.journal.as_deref().unwrap_or_default();
            let message = format!("{path} has journal_mode={journal} instead of wal");
            Check::warn(name, message, "restart the responder, which sets it")
        }
        QuickCheck::Sound => Check::ok(name, format!("{path} is intact, schema version {schema}")),
    }
}

pub(super) fn clients(config: &Config, ledger: &Inspection) -> Option<Check> {
    let name = "clients";
    let without_plan: Vec<_> = ledger
        .clients
        .iter()
        .filter(|(_, plan)| !config.plans.contains_key(plan))
        .map(|(id, plan)| format!("{id} (plan {plan:?})"))
        .collect();
    if !without_plan.is_empty() {
        return Some(Check::fail(
            name,
            format!(
                "the configuration lacks the plan of {}",
                without_plan.join(", ")
            ),
            "add the plan again, or remove the clients: the responder does not start without it",
        ));
    }
    // The clients of another schema version are not read.
    (ledger.schema == ledger.newest).then(|| match ledger.clients.len() {
        0 => Check::warn(
            name,
            "there is none, so no upload is accepted",
            "`corenexis-cdn client add shop --plan 3m`",
        ),
        1 => Check::ok(name, "1 client"),
        number => Check::ok(name, format!("{number} clients")),
    })
}

/// A command that root ran may leave files that the responder cannot write.
fn owners(installation: &Installation, path: &Path) -> Option<Check> {
    let service = installation.service.as_ref()?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let refusal = |path: &Path, permission| service.refusal(path, permission).ok().flatten();
    let of_file = |file: PathBuf| {
        refusal(&file, Permission::Write).or_else(|| refusal(&file, Permission::Read))
    };
    let refusal = refusal(directory, Permission::Create)
        .or_else(|| files(path).into_iter().find_map(of_file))?;
    let account = &service.name;
    Some(Check::fail(
        "ledger files",
        format!("the account of the responder, {refusal}"),
        format!(
            "`chown -R {account} {}`; run commands as that account: `sudo -u {account} corenexis-cdn …`",
            directory.display()
        ),
    ))
}

pub(super) fn clock(now: Timestamp, ledger: Option<&Inspection>) -> Check {
    let name = "clock";
    let advice = "set it, and synchronize it with NTP (chrony, systemd-timesyncd): expiry and quota depend on it";
    if now < EARLIEST {
        let message = format!("{now}: before the first release of this program");
        return Check::fail(name, message, advice);
    }
    let recorded = ledger.into_iter().flat_map(|ledger| {
        let newest_day = ledger.newest_day.map(|day| Timestamp(day * DAY_SECONDS));
        [
            ("the ledger was created", ledger.created),
            ("a sweep ended", ledger.swept),
            ("an upload was recorded", newest_day),
        ]
    });
    let newest = recorded
        .filter_map(|(what, at)| Some((at?, what)))
        .max()
        .filter(|(at, _)| at.minus(CLOCK_TOLERANCE) > now);
    match newest {
        Some((at, what)) => {
            let message = format!("{now}, but according to the ledger {what} at {at}");
            Check::fail(name, message, advice)
        }
        None => Check::ok(name, now.to_string()),
    }
}

/// Seconds in words.
pub(super) fn duration(seconds: i64) -> HumanDuration {
    HumanDuration(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}
