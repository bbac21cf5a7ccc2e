//! Two hosts, each with a responder behind its nginx, over one PostgreSQL and one bucket; and the other pairs of ledger and store.

mod pairs;

use std::thread;
use std::time::{Duration, Instant};

use support::cluster::{Cluster, sum};
use support::http;
use support::machine::until;
use support::pictures::{JPEG, PNG, png_of};
use support::site::Site;

use super::quota::race_for_50;

fn cluster() -> Option<Cluster> {
    Cluster::start(Site::builder)
}

#[test]
fn two_hosts_with_a_bucket_store_exactly_the_quota() {
    let Some(cluster) = cluster() else {
        return;
    };
    if race_for_50(&cluster.hosts.each_ref()).is_none() {
        return;
    }
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
    until("the block list", || {
        (other.upload("3m", "7D", JPEG).status == 400).then_some(())
    });
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
