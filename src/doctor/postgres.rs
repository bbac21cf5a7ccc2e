//! The ledger in PostgreSQL: reachable, of a known version, near, durable, and with a clock that agrees.

use std::time::Duration;

use super::check::Check;
use super::installation::Installation;
use super::ledger::{clients, clock, read_as_owner};
use crate::config::Postgres;
use crate::ledger::{Database, Inspection, inspect};

/// How long one inspection may take; it has a deadline of its own.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A round trip that takes longer slows every upload.
const SLOW: Duration = Duration::from_millis(20);

/// Seconds by which the server's clock may differ. The ledger takes its times from the hosts; from a minute on, none opens it.
const CLOCK_TOLERANCE: u64 = 5;

/// The checks, and what the ledger holds if it can be read.
pub(super) fn checks(
    installation: &Installation,
    place: &Postgres,
) -> (Vec<Check>, Option<Inspection>) {
    let name = "ledger";
    let inspected = read_as_owner(&installation.config, |config| inspect(config, TIMEOUT));
    let inspected = inspected.and_then(|inspected| inspected.map_err(|error| error.to_string()));
    let mut checks = Vec::new();
    let inspection = match inspected {
        Err(why) => {
            let advice = "until it is reached, uploads are answered with 503";
            checks.push(Check::fail(name, why, advice));
            None
        }
        Ok(inspection) => {
            checks.push(schema(place, &inspection));
            checks.extend(clients(&installation.config, &inspection));
            checks.extend(inspection.database.iter().flat_map(|database| {
                [
                    durability(database),
                    round_trip(database),
                    server_clock(database),
                    connections(place, database),
                ]
            }));
            Some(inspection)
        }
    };
    checks.push(clock(installation.now, inspection.as_ref()));
    (checks, inspection)
}

fn schema(place: &Postgres, ledger: &Inspection) -> Check {
    let name = "ledger";
    let (schema, known, url) = (ledger.schema, ledger.newest, &place.url);
    if schema == 0 {
        let advice = "to move a ledger there, use `corenexis-cdn ledger copy`; on a new site `corenexis-cdn client add` makes one; otherwise \
                      restore a backup with pg_restore, or correct [ledger] url";
        return Check::fail(name, format!("{url} holds no ledger"), advice);
    }
    let version = format!("{url} has schema version {schema}");
    if schema > known {
        let message = format!("{version}, and this program knows versions up to {known}");
        return Check::fail(name, message, "use a newer corenexis-cdn");
    }
    if schema < known {
        let message = format!("{version}, and the newest is {known}");
        return Check::warn(name, message, "restart the responder: it migrates it");
    }
    let server = ledger.database.as_ref();
    let server = server.map_or_else(String::new, |database| {
        format!(", in PostgreSQL {}", database.version)
    });
    Check::ok(name, version + &server)
}

fn durability(database: &Database) -> Check {
    let name = "ledger durability";
    if database.not_durable.is_empty() {
        return Check::ok(name, "the server syncs what it commits");
    }
    Check::warn(
        name,
        format!("the server has {}", database.not_durable.join(", ")),
        "turn them on: a power cut may lose acknowledged uploads, or the whole ledger",
    )
}

fn round_trip(database: &Database) -> Check {
    let name = "ledger round trip";
    let took = format!("{:.1} ms", database.round_trip.as_secs_f64() * 1_000.0);
    if database.round_trip <= SLOW {
        return Check::ok(name, took);
    }
    let advice = "every upload waits for several: put the server nearer, or find what slows it";
    Check::warn(name, took, advice)
}

fn server_clock(database: &Database) -> Check {
    let name = "ledger clock";
    let ahead = database.ahead;
    if ahead.unsigned_abs() <= CLOCK_TOLERANCE {
        return Check::ok(name, "the server's clock agrees with this host's");
    }
    let direction = if ahead > 0 { "ahead of" } else { "behind" };
    Check::warn(
        name,
        format!(
            "the server's clock is {} s {direction} this host's",
            ahead.unsigned_abs()
        ),
        "synchronize both with NTP (chrony, systemd-timesyncd): hosts with different clocks disagree about the day of a quota",
    )
}

fn connections(place: &Postgres, database: &Database) -> Check {
    let name = "ledger connections";
    let (ours, all) = (place.connections, database.max_connections);
    let message = format!("up to {ours} of each process, of {all} of the server");
    // A restart has two responders for a while, and a sweep or a command may run beside them.
    if i64::try_from(ours).is_ok_and(|ours| ours.saturating_mul(2) < all) {
        return Check::ok(name, message);
    }
    let advice = "lower [ledger] connections, raise max_connections of the server, or put pgbouncer in front of it";
    Check::warn(name, message, advice)
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn database() -> Database {
        Database {
            version: "15.7".to_owned(),
            round_trip: Duration::from_micros(300),
            ahead: 0,
            not_durable: Vec::new(),
            max_connections: 100,
        }
    }

    #[test]
    fn a_server_that_is_near_durable_and_on_time_is_well() {
        let place = Postgres {
            url: "postgresql://u@h/d".to_owned(),
            password_file: None,
            ca_file: None,
            connections: 8,
        };
        let verdicts = |database: &Database| {
            [
                durability(database),
                round_trip(database),
                server_clock(database),
                connections(&place, database),
            ]
            .map(|check| check.verdict)
        };
        assert_eq!(verdicts(&database()), [Verdict::Ok; 4]);
        let unwell = Database {
            round_trip: Duration::from_millis(40),
            ahead: -60,
            not_durable: vec!["fsync = off".to_owned()],
            max_connections: 10,
            ..database()
        };
        assert_eq!(verdicts(&unwell), [Verdict::Warn; 4]);
    }
}
