//! The ledger, the sweep and the clock.

use time::UtcDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::utc_datetime;

use super::super::Finding;
use super::super::access::Want;
use super::super::facts::Facts;
use super::{age, is_denied};
use crate::config::Durability;
use crate::ledger::{Inspection, QuickCheck, newest_schema};
use crate::plan::DAY_SECONDS;

/// This program is younger than that.
const EARLIEST: UtcDateTime = utc_datetime!(2026-01-01 0:00);

/// Seconds by which a clock may have been set back without harm.
const TOLERANCE: i64 = 120;

/// Seconds after which a sweep, which runs every ten minutes, is late.
const SWEEP_LATE: i64 = 3_600;

/// Seconds after which expired images have been kept for more than a day.
const SWEEP_LOST: i64 = 2 * DAY_SECONDS;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("SQLite", rusqlite::version())];
    match &facts.ledger {
        Ok(ledger) => {
            findings.push(integrity(facts, ledger));
            findings.extend(clients(facts, ledger));
        }
        Err(why) => findings.push(unopened(facts, why)),
    }
    findings.extend(owners(facts));
    let ledger = facts.ledger.as_ref().ok();
    findings.push(clock(facts, ledger));
    findings.push(sweep(facts, ledger));
    findings.push(schedule(facts));
    findings
}

fn unopened(facts: &Facts, why: &str) -> Finding {
    let check = "ledger";
    let path = facts.config.ledger.path.display();
    let way = facts.places.ledger_files.first().map(|place| &place.way);
    let denied = match way {
        Some(Ok(way)) => way.obstacle(&facts.examiner, Want::Read).is_some(),
        Some(Err(why)) => is_denied(why),
        None => false,
    };
    if denied {
        return Finding::skip(
            check,
            format!(
                "{} may not read {path}; run doctor as root or as the account that owns it",
                facts.examiner.name
            ),
        );
    }
    match way {
        Some(Ok(_)) => Finding::fail(
            check,
            why,
            "stop the responder, then `corenexis-cdn restore BACKUP`; without a backup move the file away and run `corenexis-cdn verify \
             --rebuild`",
        ),
        _ => Finding::fail(
            check,
            format!("there is no ledger {path}"),
            "a new site makes it with `corenexis-cdn client add`, as the account of the responder; a lost one comes back by `corenexis-cdn \
             restore BACKUP` or `corenexis-cdn verify --rebuild`",
        ),
    }
}

fn integrity(facts: &Facts, ledger: &Inspection) -> Finding {
    let check = "ledger";
    let path = facts.config.ledger.path.display();
    let known = newest_schema();
    match (&ledger.check, ledger.schema) {
        (QuickCheck::Damaged(damage), _) => Finding::fail(
            check,
            format!("{path} is damaged: {damage}"),
            "stop the responder, then `corenexis-cdn restore BACKUP`; without a backup move the file away and run `corenexis-cdn verify \
             --rebuild`",
        ),
        (_, 0) => Finding::fail(
            check,
            format!("{path} is a database of something else"),
            "set [ledger] path to a file of its own",
        ),
        (_, schema) if schema > known => Finding::fail(
            check,
            format!("{path} has schema version {schema}, and this program knows {known}"),
            "use a newer corenexis-cdn",
        ),
        (_, schema) if schema < known => Finding::warn(
            check,
            format!("{path} has schema version {schema} of {known}"),
            "restart the responder: it backs the ledger up and brings it to the newest version",
        ),
        (QuickCheck::Unfinished, schema) => Finding::ok(check, format!("{path}, schema {schema}"))
            .noting("the quick check took too long and was given up: `corenexis-cdn verify` and `backup` read everything"),
        (QuickCheck::Sound, _) if ledger.journal != "wal" => Finding::warn(
            check,
            format!("{path} has journal_mode={} instead of wal", ledger.journal),
            "restart the responder, which sets it",
        ),
        (QuickCheck::Sound, schema) => Finding::ok(check, format!("{path} is sound, schema {schema}")),
    }
}

fn clients(facts: &Facts, ledger: &Inspection) -> Option<Finding> {
    let check = "clients";
    let plans = &facts.config.plans;
    let stranded: Vec<_> = ledger
        .clients
        .iter()
        .filter(|(_, plan)| !plans.contains_key(plan))
        .map(|(id, plan)| format!("{id} (plan {plan:?})"))
        .collect();
    if !stranded.is_empty() {
        return Some(Finding::fail(
            check,
            format!("the configuration has no plan for {}", stranded.join(", ")),
            "put the plan back, or remove the clients: the responder does not start like this",
        ));
    }
    if ledger.schema != newest_schema() {
        return None;
    }
    Some(match ledger.clients.len() {
        0 => Finding::warn(
            check,
            "there are none, so nobody can upload",
            "`corenexis-cdn client add shop --plan 3m`",
        ),
        1 => Finding::ok(check, "1 client"),
        number => Finding::ok(check, format!("{number} clients")),
    })
}

/// Unix seconds as RFC 3339, UTC.
fn instant(seconds: i64) -> String {
    UtcDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|instant| instant.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// A command that root ran may have left files that the responder cannot write to.
fn owners(facts: &Facts) -> Option<Finding> {
    let check = "ledger files";
    let service = facts.service.as_ref().ok()?;
    let stuck = facts.places.ledger_files.iter().find_map(|place| {
        let way = place.way.as_ref().ok()?;
        let obstacle = way
            .obstacle(service, Want::Write)
            .or_else(|| way.obstacle(service, Want::Read))?;
        Some(obstacle.to_string())
    });
    let directory = &facts.places.ledger_directory;
    let directory = directory
        .way
        .as_ref()
        .ok()
        .and_then(|way| way.obstacle(service, Want::Fill));
    let stuck = stuck.or_else(|| directory.map(|obstacle| obstacle.to_string()))?;
    let path = facts.places.ledger_directory.path.display();
    Some(Finding::fail(
        check,
        format!("{}, who runs the responder, {stuck}", service.name),
        format!(
            "`chown -R {} {path}`; run commands as that account: `runuser -u {} -- corenexis-cdn …`",
            service.name, service.name
        ),
    ))
}

fn clock(facts: &Facts, ledger: Option<&Inspection>) -> Finding {
    let check = "clock";
    let now = facts.now.unix_timestamp();
    let said = instant(now);
    let advice = "set it, and keep it right with NTP (chrony, systemd-timesyncd): expiry and quota follow it";
    if facts.now < EARLIEST {
        return Finding::fail(check, format!("it says {said}, which is long past"), advice);
    }
    let known = ledger.into_iter().flat_map(|ledger| {
        let newest_day = ledger.newest_day.map(|day| day * DAY_SECONDS);
        [
            ("the ledger was made", ledger.created.map(|at| at.0)),
            ("a sweep ended", ledger.swept.map(|at| at.0)),
            ("an upload was recorded", newest_day),
        ]
    });
    let later = known
        .filter_map(|(what, at)| Some((what, at?)))
        .filter(|(_, at)| *at > now + TOLERANCE)
        .max_by_key(|(_, at)| *at);
    match later {
        Some((what, at)) => Finding::fail(
            check,
            format!(
                "it says {said}, but {what} {} later, as the ledger has it",
                age(at - now)
            ),
            advice,
        ),
        None => Finding::ok(check, said),
    }
}

fn sweep(facts: &Facts, ledger: Option<&Inspection>) -> Finding {
    let check = "last sweep";
    let Some(ledger) = ledger.filter(|ledger| ledger.schema == newest_schema()) else {
        return Finding::skip(check, "only the ledger knows");
    };
    let now = facts.now.unix_timestamp();
    let advice = "run `corenexis-cdn sweep` as the account of the responder and read what it says; `corenexis-cdn render DIR` writes the \
                  cron line that runs it every ten minutes";
    match (ledger.swept.map(|at| at.0), ledger.created.map(|at| at.0)) {
        (Some(swept), _) => {
            let since = now - swept;
            let ago = format!("{} ago", age(since.max(0)));
            if since > SWEEP_LOST {
                Finding::fail(
                    check,
                    format!("{ago}: images that have expired are still there"),
                    advice,
                )
            } else if since > SWEEP_LATE {
                Finding::warn(
                    check,
                    format!("{ago}, and it should be every ten minutes"),
                    advice,
                )
            } else {
                Finding::ok(check, ago)
            }
        }
        (None, Some(created)) if now - created > SWEEP_LOST => Finding::fail(
            check,
            "never, since the ledger was made: images that have expired are still there",
            advice,
        ),
        (None, Some(created)) if now - created < SWEEP_LATE => {
            Finding::ok(check, "there was none yet, and the ledger is new")
        }
        (None, _) => Finding::warn(check, "there was none yet", advice),
    }
}

fn schedule(facts: &Facts) -> Finding {
    let check = "sweep schedule";
    if !facts.schedules.is_empty() {
        return Finding::ok(check, facts.schedules.join(", "));
    }
    let unseen = &facts.unseen_schedules;
    if unseen.is_empty() {
        return Finding::warn(
            check,
            "neither a crontab nor a systemd timer runs the sweep",
            "`corenexis-cdn render DIR` writes the cron file: put it into /etc/cron.d/, or its line into a crontab",
        );
    }
    Finding::skip(
        check,
        format!(
            "none was found, but not everything could be looked at: {}",
            unseen.join(", ")
        ),
    )
}

/// Settings that are legal and worth a second thought.
pub(super) fn settings(facts: &Facts) -> Vec<Finding> {
    let config = &facts.config;
    let plans: Vec<_> = config.plans.keys().map(String::as_str).collect();
    let mut findings = vec![Finding::ok(
        "configuration",
        format!(
            "{} is valid, with the plans {}",
            facts.config_file.display(),
            plans.join(", ")
        ),
    )];
    if config.storage.durability == Durability::Relaxed {
        findings.push(Finding::warn(
            "durability",
            "[storage] durability = \"relaxed\": a power cut may lose uploads that were acknowledged",
            "set it to \"full\", unless they may be lost",
        ));
    }
    if !config.fetch.allow.is_empty() {
        let allowed: Vec<_> = config.fetch.allow.iter().map(ToString::to_string).collect();
        findings.push(Finding::warn(
            "fetch",
            format!(
                "[fetch] allow lets clients reach {} through this host",
                allowed.join(", ")
            ),
            "take out what image_url does not need",
        ));
    }
    findings
}
