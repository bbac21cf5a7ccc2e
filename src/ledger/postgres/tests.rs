//! Against a real server, which the test process starts; see [`support::postgres`].

mod faults;
mod refusals;

use std::thread;

use support::postgres::{Server, pgbouncer};

use super::*;
use crate::ledger::conformance::{self, NOW, add, day_image, digest};

/// The server of the tests; `None`, and a line that says so, if there is none here.
fn server() -> Option<&'static Server> {
    Server::shared().inspect_err(|why| support::skip(why)).ok()
}

/// A ledger in the database of a URL, with as many connections as by default.
fn place(url: String) -> Postgres {
    Postgres {
        url,
        password_file: None,
        ca_file: None,
        connections: 8,
    }
}

/// A new ledger.
fn ledger(server: &Server) -> PostgresLedger {
    let place = place(server.url(&server.database()));
    PostgresLedger::open(&place, Durability::Full, NOW).expect("opened")
}

fn new_image(client: ClientKey, daily_limit: u32) -> NewImage {
    NewImage {
        daily_limit,
        ..day_image(client)
    }
}

#[test]
fn it_is_a_ledger() {
    let Some(server) = server() else { return };
    conformance::check(|| ledger(server));
}

#[test]
fn it_is_a_ledger_behind_pgbouncer_in_transaction_mode() {
    let Some(server) = server() else { return };
    let (_pgbouncer, port) = match pgbouncer(server) {
        Ok(started) => started,
        Err(why) => return support::skip(&why),
    };
    conformance::check(|| {
        let place = place(Server::tcp_url(port, &server.database()));
        PostgresLedger::open(&place, Durability::Full, NOW).expect("opened")
    });
}

#[test]
fn processes_that_open_a_new_ledger_at_once_make_one() {
    let Some(server) = server() else { return };
    let place = place(server.url(&server.database()));
    thread::scope(|scope| {
        let opened = [(); 8].map(|()| {
            scope.spawn(|| PostgresLedger::open(&place, Durability::Full, NOW).map(drop))
        });
        for opened in opened {
            assert_eq!(opened.join().expect("no panic"), Ok(()));
        }
    });
    assert_eq!(
        state(&place),
        Ok(crate::identity::LedgerState::Unnamed { has_images: false })
    );
}

#[test]
fn changes_of_the_identity_follow_each_other() {
    let Some(server) = server() else { return };
    let ledger = ledger(server);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let renewed = ledger.update_identity(&mut |current| {
                    let mark = current.map_or(0, |identity| identity.mark) + 1;
                    Ok(Identity { id: 7, mark })
                });
                assert_eq!(renewed, Ok(()));
            });
        }
    });
    let refused = ledger.update_identity(&mut |current| {
        assert_eq!(current, Some(Identity { id: 7, mark: 16 }));
        Err(LedgerError::Failed("the store failed".to_owned()))
    });
    assert_eq!(
        refused,
        Err(LedgerError::Failed("the store failed".to_owned()))
    );
    ledger
        .update_identity(&mut |current| {
            assert_eq!(current, Some(Identity { id: 7, mark: 16 }));
            Ok(Identity { id: 7, mark: 17 })
        })
        .expect("no lock is left");
}

#[test]
fn sweeps_run_beside_each_other_and_not_beside_a_release() {
    let Some(server) = server() else { return };
    let place = place(server.url(&server.database()));
    let sweep = || PostgresLedger::open_locked(&place, Durability::Full, NOW, LockMode::Shared);
    let release =
        || PostgresLedger::open_locked(&place, Durability::Full, NOW, LockMode::Exclusive);
    let sweeps = [(); 2].map(|()| sweep().expect("sweeps"));
    assert!(matches!(release(), Err(LedgerError::SweepRuns)));
    drop(sweeps);
    // The server may notice the end of a connection a moment later.
    let released = loop {
        match release() {
            Err(LedgerError::SweepRuns) => thread::yield_now(),
            released => break released.expect("no sweep runs"),
        }
    };
    assert!(matches!(sweep(), Err(LedgerError::SweepRuns)));
    drop(released);
}

#[test]
fn two_sweeps_delete_and_count_each_image_once() {
    let Some(server) = server() else { return };
    let ledger = ledger(server);
    let client = add(&ledger, "a");
    let images: Vec<_> = (0..500).map(|_| new_image(client, 1_000)).collect();
    ledger.record(&images, NOW).expect("recorded");
    let late = NOW + time::Duration::days(30);
    let deleted: usize = thread::scope(|scope| {
        let sweeps = [(); 4].map(|()| {
            scope.spawn(|| {
                let expired = ledger.expired(late, None, 1_000).expect("readable");
                let paths: Vec<_> = expired.into_iter().map(|expired| expired.path).collect();
                let deleted = ledger.delete_rows(&paths).expect("deleted");
                assert_eq!(deleted.bytes, 100 * deleted.rows as u64);
                deleted.rows
            })
        });
        sweeps
            .into_iter()
            .map(|sweep| sweep.join().expect("no panic"))
            .sum()
    });
    assert_eq!(deleted, 500);
    let account = ledger.account("a", late).expect("readable").expect("there");
    assert_eq!((account.stored.images, account.stored.bytes), (0, 0));
}

#[test]
fn regression_what_expires_by_a_clock_that_is_ahead_is_kept() {
    let Some(server) = server() else { return };
    let ledger = ledger(server);
    let client = add(&ledger, "a");
    let now = UtcDateTime::now();
    for at in [now - time::Duration::days(30), now] {
        ledger
            .record(&[new_image(client, 9)], at)
            .expect("recorded");
    }
    let expired = ledger.expired(now + time::Duration::days(30), None, 9);
    assert_eq!(expired.map(|expired| expired.len()), Ok(1));
}

#[test]
fn an_id_with_a_nul_is_nobodys() {
    let Some(server) = server() else { return };
    let ledger = ledger(server);
    assert_eq!(ledger.account("a\0b", NOW), Ok(None));
}

#[test]
fn damaged_counts_are_found_and_repaired() {
    let Some(server) = server() else { return };
    let database = server.database();
    let place = place(server.url(&database));
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    let client = add(&ledger, "a");
    ledger
        .record(&[new_image(client, 9), new_image(client, 9)], NOW)
        .expect("recorded");
    server.run(&database, "UPDATE corenexis.client SET stored_bytes = -5");
    let found = ledger.storage_differences(false).expect("readable");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].counted.bytes, found[0].found.bytes), (0, 200));
    assert_eq!(ledger.storage_differences(true), Ok(found));
    assert_eq!(ledger.storage_differences(true), Ok(Vec::new()));
}

#[test]
fn a_listing_reads_an_index_in_its_order() {
    let Some(server) = server() else { return };
    let database = server.database();
    let place = place(server.url(&database));
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    for id in ["a", "b"] {
        let client = add(&ledger, id);
        let images: Vec<_> = (0..2_000).map(|_| new_image(client, 9_999)).collect();
        ledger.record(&images, NOW).expect("recorded");
    }
    server.run(&database, "ANALYZE corenexis.image");
    let plan = |condition: &str, order: &str| {
        let select = "EXPLAIN SELECT * FROM corenexis.image";
        server.run(
            &database,
            &format!("{select} WHERE {condition} ORDER BY {order} LIMIT 50"),
        )
    };
    for (condition, order, index) in [
        (
            "(uploaded_at, path) < (9e15::bigint, '~') AND uploaded_at BETWEEN 0 AND 9e15::bigint",
            "uploaded_at DESC, path DESC",
            "image_by_time",
        ),
        (
            "client = 1 AND (uploaded_at, path) < (9e15::bigint, '~')",
            "uploaded_at DESC, path DESC",
            "image_by_client",
        ),
        (
            "expires_at IS NOT NULL AND expires_at <= least(9e15::bigint, extract(epoch FROM now())::bigint) AND quarantined_at IS NULL AND (expires_at, path) > (0, '')",
            "expires_at, path",
            "image_by_expiry",
        ),
        ("path > 'd/' AND path < 'd0'", "path", "image_pkey"),
    ] {
        let plan = plan(condition, order);
        assert!(plan.contains(index) && !plan.contains("Sort"), "{plan}");
    }
}
