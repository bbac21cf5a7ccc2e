//! Two hosts, each with a responder behind its nginx, over one PostgreSQL and one bucket; and the other pairs of ledger and store.

mod pairs;

use std::collections::BTreeMap;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use support::cluster::{Cluster, sum};
use support::http;
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;
use support::skip;

fn cluster() -> Option<Cluster> {
    Cluster::start(Site::builder)
}

/// The UTC day, which decides about quotas.
fn today() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() / 86_400
}

#[test]
fn two_hosts_with_a_bucket_store_exactly_the_quota() {
    let Some(cluster) = cluster() else {
        return;
    };
    let day = today();
    let statuses = thread::scope(|scope| {
        let uploads: Vec<_> = (0..200)
            .map(|serial: u64| {
                let host = &cluster.hosts[usize::from(serial % 2 == 1)];
                scope.spawn(move || host.upload("free", "1M", &png_of(20_000, serial)).status)
            })
            .collect();
        let mut statuses = BTreeMap::new();
        for status in uploads.into_iter().map(ScopedJoinHandle::join) {
            *statuses.entry(status.expect("a reply")).or_insert(0) += 1;
        }
        statuses
    });
    if today() != day {
        skip("midnight came during the test, and with it another quota");
        return;
    }
    assert_eq!(statuses, BTreeMap::from([(200, 50), (429, 150)]));
    assert_eq!(cluster.holdings(), (50, 50, 50));
}

#[test]
fn two_sweeps_at_once_delete_each_expired_image_once_and_no_other() {
    let Some(cluster) = cluster() else {
        return;
    };
    let [one, other] = &cluster.hosts;
    let stored: Vec<_> = (0..60_u64)
        .map(|serial| {
            let host = if serial % 2 == 0 { one } else { other };
            host.store("3m", "7D", &png_of(3_000, serial))
        })
        .collect();
    let (expired, kept) = stored.split_at(40);
    let list = expired.join("','");
    let expire = format!("UPDATE corenexis.image SET expires_at = 1 WHERE path IN ('{list}')");
    cluster.server.run(&cluster.database, &expire);

    let reports = cluster.sweep();
    assert_eq!(
        (
            sum(&reports, "expired"),
            sum(&reports, "bytes"),
            sum(&reports, "failed")
        ),
        (40, 40 * 3_000, 0),
        "{reports:?}"
    );
    assert_eq!(
        (sum(&reports, "orphaned"), sum(&reports, "withdrawn")),
        (0, 0),
        "{reports:?}"
    );
    assert_eq!(cluster.holdings(), (20, 60, 20));
    let mut kept = kept.to_vec();
    kept.sort();
    assert_eq!(cluster.bucket.objects(), kept);
    for host in &cluster.hosts {
        host.run(&["verify"]);
    }
}

#[test]
fn what_is_taken_down_on_one_host_is_gone_on_the_other() {
    let Some(cluster) = cluster() else {
        return;
    };
    let [one, other] = &cluster.hosts;
    let status = |host: &Site, path: &str| host.get(&format!("/p/{path}")).status;
    let store = |serial| one.store("3m", "7D", &png_of(5_000, serial));
    // In the caches of both hosts.
    let cached = [1, 2, 3].map(store);
    for path in &cached {
        assert_eq!([status(one, path), status(other, path)], [200, 200]);
    }
    let [deleted, quarantined, by_client] = &cached;
    one.run(&["image", "delete", "--yes", deleted]);
    other.run(&["image", "quarantine", quarantined]);
    let client = one.client("3m");
    let credentials = [
        ("X-Client-Id", client.id.as_str()),
        ("X-Client-Token", &client.token),
    ];
    let target = format!("/image/v2/images/{by_client}");
    let reply = http::request(other.port, "DELETE", &target, &credentials, b"");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let taken_down = Instant::now();

    // In no cache: at once.
    let fresh = store(4);
    one.run(&["image", "quarantine", &fresh]);
    assert_eq!([status(one, &fresh), status(other, &fresh)], [404, 404]);
    let blocked = one.store("3m", "7D", JPEG);
    one.run(&["image", "block", &blocked]);
    assert_eq!(other.upload("3m", "7D", JPEG).status, 400);
    let listed = other.run(&["image", "list"]);
    assert!(!listed.contains(deleted.as_str()), "{listed}");
    let passed = other.store("3m", "7D", PNG);
    assert_eq!(status(one, &passed), 200, "other images stay");

    // nginx asks the store again after a minute.
    for path in &cached {
        for host in &cluster.hosts {
            loop {
                let asked = taken_down.elapsed();
                if status(host, path) == 404 {
                    break;
                }
                assert!(asked < Duration::from_secs(61), "{path}");
                thread::park_timeout(Duration::from_millis(100));
            }
        }
    }
    other.run(&["image", "release", &fresh]);
    // A cache keeps no 404.
    assert_eq!([status(one, &fresh), status(other, &fresh)], [200, 200]);
}
