//! Two hosts over one PostgreSQL and one bucket: backends of the database and responders are killed under uploads.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use support::cluster::{Cluster, sum};
use support::machine::until;
use support::pictures::serial_of;
use support::site::Site;
use support::skip;

use crate::times;
use crate::uploads::{Random, UPLOADERS, Uploads, unlimited_with_restarts};

/// Rows without objects are the sweep's after ten minutes.
const SETTLED: u64 = 601;

/// Whether the day is too young for rows to be moved back within it; the test is then skipped. To be asked before the uploads, and after
/// them.
fn is_after_midnight() -> bool {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time").as_secs();
    let is_young = now % 86_400 < SETTLED + 60;
    if is_young {
        skip("the UTC day is younger than ten minutes");
    }
    is_young
}

fn hosts(cluster: &Cluster) -> [&Site; 2] {
    cluster.hosts.each_ref()
}

/// Lets both hosts sweep, with rows old enough for it, and asserts that acknowledged images are there byte for byte, none twice,
/// and that rows, objects and counted uploads are equal. Returns the number of rows that were refunded.
#[track_caller]
fn assert_whole(cluster: &Cluster, uploads: &Uploads) -> u64 {
    let age = format!("UPDATE corenexis.image SET uploaded_at = uploaded_at - {SETTLED}");
    cluster.server.run(&cluster.database, &age);
    let reports = cluster.sweep();
    assert_eq!(
        (sum(&reports, "failed"), sum(&reports, "orphaned")),
        (0, 0),
        "{reports:?}"
    );
    let (rows, counted, objects) = cluster.holdings();
    assert_eq!((rows, counted), (objects, objects), "{reports:?}");

    let stored: BTreeSet<_> = cluster.bucket.objects().into_iter().collect();
    let acknowledged = uploads.acknowledged(0);
    for image in &acknowledged {
        assert!(stored.contains(&image.path), "lost {}", image.path);
    }
    // Uploads whose reply was lost may be stored; none is twice.
    let mut serials = BTreeSet::new();
    for path in &stored {
        let reply = cluster.hosts[0].get(&format!("/p/{path}"));
        let serial = serial_of(&reply.body);
        assert!(serial.is_some(), "altered {path}: {}", reply.status);
        assert!(serials.insert(serial), "twice: {path}");
    }
    for image in &acknowledged {
        assert!(serials.contains(&Some(image.serial)), "lost {}", image.path);
    }
    for host in &cluster.hosts {
        host.run(&["verify"]);
    }
    sum(&reports, "withdrawn")
}

#[test]
fn killed_backends_lose_no_upload_and_store_none_twice() {
    let kills = times("FAULTS_BACKENDS", 10);
    if is_after_midnight() {
        return;
    }
    let Some(cluster) = Cluster::start_alone(unlimited_with_restarts) else {
        return;
    };
    let mut random = Random::new();
    let uploads = Uploads::default();
    let (mut killed, mut round) = (0, 0);
    uploads.during_at(&hosts(&cluster), UPLOADERS, 9_000, || {
        while killed < kills {
            uploads.wait_for(4);
            thread::sleep(Duration::from_micros(random.below(50_000)));
            // Mostly some are ended; now and then one is killed outright, and PostgreSQL ends the others and recovers.
            round += 1;
            let (signal, most) = if round % 4 == 0 {
                (Signal::KILL, 1)
            } else {
                (Signal::TERM, 3)
            };
            let backends = cluster.server.backends(&cluster.database);
            for id in backends.into_iter().take(most) {
                let id = Pid::from_raw(id.cast_signed()).expect("a process id");
                killed += u32::from(kill_process(id, signal).is_ok());
            }
            until("PostgreSQL", || cluster.server.answers().then_some(()));
        }
        uploads.wait_for(UPLOADERS);
    });
    if is_after_midnight() {
        return;
    }
    let refused = uploads.take_refusals();
    let refunded = assert_whole(&cluster, &uploads);
    let (rows, ..) = cluster.holdings();
    let unknown: u64 = refused.values().sum();
    assert!(rows - uploads.len() <= usize::try_from(unknown).expect("a number"));
    eprintln!(
        "{killed} backends killed under {UPLOADERS} uploaders at two hosts: {} images acknowledged, {rows} stored, 0 lost, 0 twice; \
         refused: {refused:?}; {refunded} rows without objects refunded",
        uploads.len()
    );
}

#[test]
fn a_killed_responder_of_two_loses_no_acknowledged_upload() {
    let kills = times("FAULTS_RESPONDERS", 4);
    if is_after_midnight() {
        return;
    }
    let Some(mut cluster) = Cluster::start(unlimited_with_restarts) else {
        return;
    };
    let mut random = Random::new();
    let uploads = Uploads::default();
    for kill in 0..kills {
        let number = usize::from(kill % 2 == 1);
        uploads.during_at(&hosts(&cluster), UPLOADERS, 9_000, || {
            uploads.wait_for(UPLOADERS);
            thread::sleep(Duration::from_micros(random.below(50_000)));
            cluster.hosts[number].signal(Signal::KILL);
            // The other host goes on.
            uploads.wait_for(UPLOADERS);
        });
        let killed = &mut cluster.hosts[number];
        assert_eq!(killed.wait_for_end().code(), None);
        killed.start_responder();
    }
    if is_after_midnight() {
        return;
    }
    let refused: u64 = uploads.take_refusals().values().sum();
    let refunded = assert_whole(&cluster, &uploads);
    let (rows, ..) = cluster.holdings();
    eprintln!(
        "{kills} kills of one responder of two under {UPLOADERS} uploaders: {} images acknowledged, {rows} stored, 0 lost, 0 twice; \
         {refused} refused, {refunded} rows without objects refunded",
        uploads.len()
    );
}
