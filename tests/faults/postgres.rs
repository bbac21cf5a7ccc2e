//! The ledger in PostgreSQL under uploads: backends that are killed and connections that are cut at two responders, and a server that is
//! replaced by its replica.

use std::collections::BTreeSet;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use support::machine::list_files;
use support::postgres::Server;
use support::site::Site;
use support::skip;
use support::tcp_proxy::{Direction, TcpProxy};

use crate::times;
use crate::uploads::{Random, UPLOADERS, Uploads, unlimited};

/// Of so many kills, one crashes the whole server, which recovers.
const CRASHES: u64 = 10;

#[test]
fn killed_backends_and_cut_commits_lose_and_repeat_no_upload() {
    if let Err(why) = Server::shared() {
        return skip(why);
    }
    let faults = times("FAULTS_BACKENDS", 20);
    let server = Server::start().expect("started");
    let database = server.database();
    let directory = tempfile::tempdir().expect("a directory");
    let password = directory.path().join("password");
    Server::write_password(&password);
    let proxies = [(); 2].map(|()| TcpProxy::to(server.port()));
    let ledger = |proxy: &TcpProxy| {
        let url = Server::tcp_url(proxy.port(), &database);
        format!(
            "url = \"{url}\"\npassword_file = \"{}\"",
            password.display()
        )
    };
    let one = unlimited().set("ledger", &ledger(&proxies[0])).start();
    let other = unlimited()
        .set("ledger", &ledger(&proxies[1]))
        .beside(&one)
        .start();
    let uploads = Uploads::default();
    let mut random = Random::new();
    let began = Instant::now();
    let cause_faults = || {
        for _ in 0..faults {
            kill(&server, &database, &mut random);
            uploads.wait_for(3);
            let direction = [Direction::ToServer, Direction::ToClient]
                [usize::try_from(random.below(2)).expect("0 or 1")];
            let bytes = usize::try_from(random.below(1_500)).expect("small");
            for proxy in &proxies {
                proxy.cut_after(direction, bytes);
            }
            uploads.wait_for(3);
        }
        for proxy in &proxies {
            proxy.cut_no_more();
        }
    };
    uploads.during(&one, UPLOADERS / 2, 3_000, || {
        uploads.during(&other, UPLOADERS / 2, 3_000, cause_faults);
    });
    let counted = verify(&server, &database, &one, &uploads);
    eprintln!(
        "{faults} killed backends and {faults} cut commits under {UPLOADERS} uploaders on two responders in {:.0} s: {counted}",
        began.elapsed().as_secs_f64()
    );
}

/// The replica has every commit that was acknowledged, because the server waits for it.
#[test]
fn a_promoted_replica_takes_over_under_uploads() {
    if let Err(why) = Server::shared() {
        return skip(why);
    }
    let mut first = Server::start().expect("started");
    let second = first.replica();
    first.replicate_synchronously();
    let database = first.database();
    let directory = tempfile::tempdir().expect("a directory");
    let password = directory.path().join("password");
    Server::write_password(&password);
    let url = Server::tcp_url_of(&[first.port(), second.port()], &database);
    let ledger = format!(
        "url = \"{url}\"\npassword_file = \"{}\"",
        password.display()
    );
    let site = unlimited().set("ledger", &ledger).start();
    let uploads = Uploads::default();
    let began = Instant::now();
    uploads.during(&site, UPLOADERS, 3_000, || {
        uploads.wait_for(UPLOADERS);
        first.kill();
        second.promote();
        uploads.wait_for(2 * UPLOADERS);
        // The first server of the URL is there again, as a replica that takes no writes.
        first.follow(&second);
        for backend in second.backends(&database) {
            second.run(
                "postgres",
                &format!("SELECT pg_terminate_backend({backend})"),
            );
        }
        uploads.wait_for(2 * UPLOADERS);
    });
    let counted = verify(&second, &database, &site, &uploads);
    eprintln!(
        "a killed server and a promoted replica under {UPLOADERS} uploaders in {:.0} s: {counted}",
        began.elapsed().as_secs_f64()
    );
}

/// Kills a backend of the ledger, in an orderly way or so that the server has to recover.
fn kill(server: &Server, database: &str, random: &mut Random) {
    let backends = server.backends(database);
    let count = u64::try_from(backends.len()).expect("few").max(1);
    let Some(&backend) = backends.get(usize::try_from(random.below(count)).expect("small")) else {
        return;
    };
    let signal = if random.below(CRASHES) == 0 {
        Signal::KILL
    } else {
        Signal::TERM
    };
    let id = Pid::from_raw(backend.cast_signed()).expect("a process id");
    // It may have ended.
    let _ = kill_process(id, signal);
}

/// Asserts that every acknowledged image is there once, as a row and as a file, and that the quota counts exactly the rows; returns
/// what there is, for people.
fn verify(server: &Server, database: &str, site: &Site, uploads: &Uploads) -> String {
    let acknowledged: Vec<_> = uploads.acknowledged(0);
    let paths: BTreeSet<_> = acknowledged
        .iter()
        .map(|image| image.path.clone())
        .collect();
    assert_eq!(paths.len(), acknowledged.len(), "none twice");
    let images = site.docroot().join("p");
    let mut files = Vec::new();
    list_files(&images, &images, &mut files);
    let files: BTreeSet<_> = files.into_iter().collect();
    assert_eq!(
        files, paths,
        "the acknowledged ones and no others are served"
    );
    let rows = server.run(database, "SELECT path FROM corenexis.image");
    let rows: BTreeSet<_> = rows.lines().map(str::to_owned).collect();
    assert!(rows.is_superset(&paths), "{:?}", paths.difference(&rows));
    let refusals = uploads.take_refusals();
    let refused: u64 = refusals.values().sum();
    // An upload that was answered with 503 may have left a row, which the sweep refunds.
    assert!(
        (rows.len() - paths.len()) as u64 <= refused,
        "{} rows, {} images, {refusals:?}",
        rows.len(),
        paths.len()
    );
    assert!(
        refusals.keys().all(|answer| answer.starts_with("503 ")),
        "{refusals:?}"
    );
    let counted = server.run(database, "SELECT sum(uploads) FROM corenexis.usage");
    assert_eq!(counted, rows.len().to_string());
    let stored = "SELECT sum(stored_images) FROM corenexis.client";
    assert_eq!(server.run(database, stored), rows.len().to_string());
    format!(
        "{} images acknowledged, 0 lost, 0 twice; {refused} answered with 503, {} rows for the sweep",
        paths.len(),
        rows.len() - paths.len()
    )
}
