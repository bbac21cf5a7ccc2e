//! A bucket that is found by names: as a host below the store's, and at addresses that change.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::dns::{Answer, NameServer};
use support::http_proxy::HttpProxy;
use support::machine::until;
use support::pictures::{PNG, png_of};
use support::seaweedfs::{Access, Bucket, DOMAIN};
use support::site::Site;

/// Where the store is, and where it moves to: two addresses of this host.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

fn is_below_domain(name: &str) -> bool {
    name == DOMAIN
        || name
            .strip_suffix(DOMAIN)
            .is_some_and(|host| host.ends_with('.'))
}

#[test]
fn a_bucket_is_a_host_below_that_of_the_store() {
    let answer = |name: &str, _| is_below_domain(name).then(|| Answer::of(&["127.0.0.1"]));
    let Some(names) = NameServer::start(answer) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    names.write(directory.path());
    for (serve, access) in [("public", Access::Public), ("signed", Access::Private)] {
        let Some(bucket) = Bucket::new(access) else {
            return;
        };
        let storage = bucket.storage_at(&bucket.named_endpoint(), "responder");
        let lines = format!("{storage}path_style = false\nserve = \"{serve}\"\n");
        let site = Site::builder()
            .names(directory.path())
            .set("storage", &lines)
            .start();
        let [kept, deleted] = [1, 2].map(|number| site.store("3m", "1M", &png_of(3_000, number)));
        assert!(names.asked(&format!("{}.{DOMAIN}", bucket.name)) > 0);
        for path in [&kept, &deleted] {
            assert_eq!(site.get(&format!("/p/{path}")).status, 200, "{serve}");
        }
        site.run(&["image", "delete", &deleted]);
        site.run(&["image", "quarantine", &kept]);
        assert_eq!(bucket.objects(), [format!(".quarantine/{kept}")], "{serve}");
        site.run(&["image", "release", &kept]);
        assert_eq!(bucket.objects(), [kept], "{serve}");
        site.run(&["sweep"]);
        site.run(&["verify"]);
    }
}

#[test]
fn a_store_that_moves_is_followed_without_a_reload() {
    let has_moved = Arc::new(AtomicBool::new(false));
    let moved = Arc::clone(&has_moved);
    let answer = move |name: &str, _| {
        let address = ADDRESSES[usize::from(moved.load(Ordering::Relaxed))];
        is_below_domain(name).then(|| Answer::Addresses(vec![address.into()]))
    };
    let Some(names) = NameServer::start(answer) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    names.write(directory.path());
    for (serve, access) in [("public", Access::Public), ("signed", Access::Private)] {
        has_moved.store(false, Ordering::Relaxed);
        let Some(bucket) = Bucket::new(access) else {
            return;
        };
        let port = support::machine::free_port();
        let proxies =
            ADDRESSES.map(|address| HttpProxy::start_at((address, port).into(), &bucket.endpoint));
        let storage = bucket.storage_at(&format!("http://{DOMAIN}:{port}"), "responder");
        let resolver = format!(
            "resolver = [\"{}\"]\nserve = \"{serve}\"\n",
            names.address()
        );
        let site = Site::builder()
            .names(directory.path())
            .set("storage", &format!("{storage}{resolver}"))
            .start();
        let fetch = || {
            let path = site.store("3m", "1M", PNG);
            let before = proxies.each_ref().map(HttpProxy::requests);
            assert_eq!(site.get(&format!("/p/{path}")).status, 200, "{serve}");
            [0, 1].map(|at| proxies[at].requests() - before[at])
        };
        assert_eq!(fetch(), [1, 0], "{serve}");
        has_moved.store(true, Ordering::Relaxed);
        // nginx keeps an answer for the second in which it came.
        until("the new address", || (fetch() == [0, 1]).then_some(()));
    }
}
