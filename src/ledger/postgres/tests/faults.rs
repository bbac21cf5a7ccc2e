//! Killed backends, cut connections and a stopped server: what was acknowledged is there once, and counted once.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use support::tcp_proxy::{Direction, TcpProxy};

use super::*;
use crate::ledger::{ImageFilter, TokenAdded, Tokens as _};

/// A place that is reached through a proxy.
fn place_behind(proxy: &TcpProxy, database: &str, directory: &std::path::Path) -> Postgres {
    let file = directory.join("password");
    Server::write_password(&file);
    Postgres {
        password_file: Some(file),
        ..place(Server::tcp_url(proxy.port(), database))
    }
}

/// Asserts that the rows, the quota and the stored bytes are those of these images.
fn assert_exactly(ledger: &PostgresLedger, id: &str, acknowledged: &[ImagePath]) {
    let mut rows = HashSet::new();
    let mut filter = ImageFilter::all(2_000);
    loop {
        let page = ledger.images(&filter).expect("readable");
        let Some(last) = page.last() else { break };
        filter.after = Some(last.path.clone());
        rows.extend(page.into_iter().map(|row| row.path));
    }
    let expected: HashSet<_> = acknowledged.iter().cloned().collect();
    assert_eq!(expected.len(), acknowledged.len(), "none twice");
    assert_eq!(rows, expected);
    let account = ledger.account(id, NOW).expect("readable").expect("there");
    let count = acknowledged.len() as u64;
    assert_eq!(u64::from(account.used), count);
    assert_eq!(
        (account.stored.images, account.stored.bytes),
        (count, 100 * count)
    );
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    // It may have ended.
    let _ = kill_process(pid, signal);
}

#[test]
fn killed_backends_lose_and_repeat_nothing() {
    let Some(server) = server() else { return };
    let database = server.database();
    let place = place(server.url(&database));
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    let client = add(&ledger, "a");
    let acknowledged = Mutex::new(Vec::new());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let batch = [(); 3].map(|()| new_image(client, 1_000_000));
                    let verdicts = ledger.record(&batch, NOW).expect("recorded in the end");
                    assert!(
                        verdicts
                            .iter()
                            .all(|verdict| matches!(verdict, Verdict::Recorded { .. }))
                    );
                    let paths = batch.map(|image| image.path);
                    acknowledged.lock().expect("no panic").extend(paths);
                }
            });
        }
        for _ in 0..100 {
            let before = acknowledged.lock().expect("no panic").len();
            // In one statement: starting psql takes longer than anything else here.
            let two = format!(
                "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE datname = '{database}' LIMIT 2) AS two"
            );
            server.run("postgres", &two);
            let limit = Instant::now() + Duration::from_mins(2);
            while acknowledged.lock().expect("no panic").len() == before {
                if Instant::now() > limit {
                    is_over.store(true, Ordering::Relaxed);
                    panic!("nothing is recorded any more");
                }
                thread::yield_now();
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_exactly(&ledger, "a", &acknowledged.into_inner().expect("no panic"));
}

#[test]
fn a_commit_that_is_cut_anywhere_happens_once() {
    let Some(server) = server() else { return };
    let database = server.database();
    let proxy = TcpProxy::to(server.port());
    let directory = tempfile::tempdir().expect("a directory");
    let place = place_behind(&proxy, &database, directory.path());
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    let client = add(&ledger, "a");
    let mut acknowledged = Vec::new();
    for direction in [Direction::ToServer, Direction::ToClient] {
        for bytes in (0..).step_by(13) {
            proxy.cut_after(direction, bytes);
            let batch = [(); 2].map(|()| new_image(client, 1_000_000));
            let verdicts = ledger.record(&batch, NOW).expect("recorded in the end");
            assert!(
                verdicts
                    .iter()
                    .all(|verdict| matches!(verdict, Verdict::Recorded { .. }))
            );
            acknowledged.extend(batch.map(|image| image.path));
            if proxy.cut_no_more() {
                assert!(bytes > 100, "a batch is longer");
                break;
            }
        }
    }
    assert!(acknowledged.len() > 50, "{}", acknowledged.len());
    assert_exactly(&ledger, "a", &acknowledged);
}

#[test]
fn administration_that_is_cut_reports_what_it_did() {
    let Some(server) = server() else { return };
    let database = server.database();
    let proxy = TcpProxy::to(server.port());
    let directory = tempfile::tempdir().expect("a directory");
    let place = place_behind(&proxy, &database, directory.path());
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    let swept = Swept {
        expired: 1,
        ..Swept::default()
    };
    for number in 0..10_u64 {
        let id = format!("client-{number}");
        // The reply to each is lost, after it was carried out.
        let cut = || proxy.cut_after(Direction::ToClient, 0);
        cut();
        assert_eq!(ledger.add_client(&id, "free", digest(&id), NOW), Ok(true));
        cut();
        let added = ledger.add_token(&id, "ci", digest("ci"), NOW);
        assert_eq!(added, Ok(TokenAdded::Added));
        cut();
        ledger.finish_sweep(swept, Some(NOW)).expect("noted");
        assert_eq!(ledger.status().expect("readable").swept.expired, number + 1);
        let mark = Identity {
            id: 7,
            mark: number,
        };
        cut();
        ledger.update_identity(&mut |_| Ok(mark)).expect("changed");
        cut();
        assert_eq!(ledger.remove_client(&id, NOW), Ok(true));
        assert!(!proxy.cut_no_more());
    }
}

#[test]
fn a_stopped_server_is_waited_for_no_longer_than_the_deadline() {
    if server().is_none() {
        return;
    }
    // One of its own: the other tests need theirs.
    let server = Server::start().expect("started");
    let database = server.database();
    // Long enough for a busy machine to add a client.
    let deadline = Duration::from_secs(2);
    let place = place(server.url(&database));
    let ledger =
        PostgresLedger::open_within(&place, Durability::Full, NOW, deadline).expect("opened");
    let client = add(&ledger, "a");
    let mut stopped = server.backends(&database);
    stopped.push(server.process());
    for pid in &stopped {
        signal(*pid, Signal::STOP);
    }
    // More than there are connections, so that some wait for one.
    thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let began = Instant::now();
                let refused = ledger.record(&[new_image(client, 1_000)], NOW);
                assert!(
                    matches!(refused, Err(LedgerError::Unreachable(_))),
                    "{refused:?}"
                );
                assert!(began.elapsed() < 10 * deadline, "{:?}", began.elapsed());
            });
        }
    });
    for pid in stopped {
        signal(pid, Signal::CONT);
    }
    let limit = Instant::now() + Duration::from_mins(2);
    let recorded = loop {
        match ledger.record(&[new_image(client, 1_000)], NOW) {
            Err(LedgerError::Unreachable(_)) if Instant::now() < limit => thread::yield_now(),
            recorded => break recorded,
        }
    };
    assert!(
        matches!(recorded.as_deref(), Ok([Verdict::Recorded { .. }])),
        "{recorded:?}"
    );
    // What was under way when the server was stopped may have been recorded without an acknowledgement; rows and quota agree all the same.
    let account = ledger.account("a", NOW).expect("readable").expect("there");
    assert_eq!(u64::from(account.used), account.stored.images);
    assert_eq!(ledger.storage_differences(false), Ok(Vec::new()));
}

/// Once, the time limit of a connection covered TCP alone: a first server that accepted connections and answered none kept every verb
/// waiting until its deadline, and the second was never asked.
#[test]
fn a_host_that_does_not_answer_leaves_time_for_the_next() {
    let Some(server) = server() else { return };
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = silent.local_addr().expect("an address").port();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    Server::write_password(&file);
    let database = server.database();
    let url = Server::tcp_url_of(&[port, server.port()], &database) + "?connect_timeout=1";
    let place = Postgres {
        password_file: Some(file),
        ..place(url)
    };
    let ledger = PostgresLedger::open(&place, Durability::Full, NOW).expect("opened");
    let client = add(&ledger, "a");
    // As many connections as there are, and again after they were lost: no attempt at the first host is repeated while one hangs.
    for _ in 0..3 {
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let verdicts = ledger.record(&[new_image(client, 1_000)], NOW);
                    assert!(
                        matches!(verdicts.as_deref(), Ok([Verdict::Recorded { .. }])),
                        "{verdicts:?}"
                    );
                });
            }
        });
        assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
        for backend in server.backends(&database) {
            server.run(
                "postgres",
                &format!("SELECT pg_terminate_backend({backend})"),
            );
        }
    }
    drop(silent);
}

#[test]
fn servers_that_are_all_replicas_are_named_with_their_reasons() {
    let Some(server) = server() else { return };
    let closed = TcpListener::bind(("127.0.0.1", 0)).expect("bound");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let database = server.database();
    server.run(
        "postgres",
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    );
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("password");
    Server::write_password(&file);
    let place = Postgres {
        password_file: Some(file),
        ..place(Server::tcp_url_of(&[server.port(), port], &database))
    };
    let both = server::Server::new(&place).expect("a server");
    let reasons = [0, 1].map(|host| (host, both.connect(host).err().expect("no writes")));
    let refused = both.failure(&reasons);
    assert_eq!(
        refused.remedy(),
        failure::Remedy::Reconnect,
        "one may be promoted"
    );
    let refused = refused.into_error(&place.url).to_string();
    for needle in [
        &format!("127.0.0.1:{}: ", server.port()),
        "does not allow writes",
        &format!("127.0.0.1:{port}: "),
        "onnection refused",
    ] {
        assert!(refused.contains(needle), "{refused}");
    }
}
