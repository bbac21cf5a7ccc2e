//! Upload, quota, listing, deletion, takedown and expiry over each pair of a ledger and a store.

use std::path::Path;

use support::builder::SiteBuilder;
use support::http;
use support::machine::list_files;
use support::pictures::png_of;
use support::postgres::Server;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;
use support::skip;

/// The UTC day, which decides about quotas.
fn today() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("a time").as_secs() / 86_400
}

/// A host, and another that shares its ledger and store; the same one if they cannot be shared.
struct Pair<'a> {
    one: &'a Site,
    other: &'a Site,
    /// Runs SQL, in which the tables are `image` and `usage`, and returns a number.
    number: &'a dyn Fn(&str) -> usize,
    /// Lists the stored images.
    stored: &'a dyn Fn() -> Vec<String>,
}

/// A quota that a test exhausts.
fn builder() -> SiteBuilder {
    Site::builder().set(
        "plans.free",
        "daily_uploads = 4\nmax_file_size = \"1MiB\"\ndurations = [\"7D\"]\nurl = \"viewer\"",
    )
}

fn files(docroot: &Path) -> Vec<String> {
    let images = docroot.join("p");
    let mut files = Vec::new();
    list_files(&images, &images, &mut files);
    files
}

fn postgres() -> Option<(&'static Server, String)> {
    let server = Server::shared().inspect_err(|why| skip(why)).ok()?;
    Some((server, server.database()))
}

fn number_in(server: &Server, database: &str, sql: &str) -> usize {
    let path = format!("SET search_path = corenexis; {sql}");
    server.run(database, &path).parse().expect("a number")
}

fn number_in_sqlite(site: &Site, sql: &str) -> usize {
    if sql.starts_with("SELECT") {
        site.count(sql)
    } else {
        let (update, select) = sql.split_once(';').expect("two statements");
        site.ledger().execute(update, []).expect("updated");
        site.count(select)
    }
}

#[test]
fn postgresql_and_a_bucket_make_a_site() {
    let Some((server, database)) = postgres() else {
        return;
    };
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let host = |number| {
        builder()
            .set("ledger", &format!("url = \"{}\"", server.url(&database)))
            .set("storage", &bucket.storage_of_host(number))
    };
    let one = host(1).start();
    let other = host(2).clients_of(&one).start();
    check(&Pair {
        one: &one,
        other: &other,
        number: &|sql| number_in(server, &database, sql),
        stored: &|| bucket.objects(),
    });
}

#[test]
fn postgresql_and_a_shared_docroot_make_a_site() {
    let Some((server, database)) = postgres() else {
        return;
    };
    let host = || builder().set("ledger", &format!("url = \"{}\"", server.url(&database)));
    let one = host().start();
    let other = host().beside(&one).start();
    check(&Pair {
        one: &one,
        other: &other,
        number: &|sql| number_in(server, &database, sql),
        stored: &|| files(&one.docroot()),
    });
}

#[test]
fn sqlite_and_a_bucket_make_a_site() {
    let Some(bucket) = Bucket::new(Access::Public) else {
        return;
    };
    let site = builder().set("storage", &bucket.storage()).start();
    check(&Pair {
        one: &site,
        other: &site,
        number: &|sql| number_in_sqlite(&site, sql),
        stored: &|| bucket.objects(),
    });
}

#[test]
fn sqlite_and_a_docroot_make_a_site() {
    let site = builder().start();
    check(&Pair {
        one: &site,
        other: &site,
        number: &|sql| number_in_sqlite(&site, sql),
        stored: &|| files(&site.docroot()),
    });
}

/// Four uploads, half of them by each host; then one image is deleted, one taken down and released, and one expires.
#[track_caller]
fn check(pair: &Pair<'_>) {
    let Pair { one, other, .. } = *pair;
    let holdings = || {
        (
            (pair.number)("SELECT count(*) FROM image"),
            (pair.number)("SELECT coalesce(sum(uploads), 0) FROM usage"),
            (pair.stored)().len(),
        )
    };
    let day = today();
    let images = [0, 1, 2, 3].map(|serial| png_of(6_000, serial));
    let paths = [0, 1, 2, 3].map(|serial: usize| {
        let host = if serial.is_multiple_of(2) { one } else { other };
        host.store("free", "7D", &images[serial])
    });
    for (path, image) in paths.iter().zip(&images) {
        for host in [one, other] {
            let reply = host.get(&format!("/p/{path}"));
            assert_eq!((reply.status, &reply.body), (200, image), "{path}");
        }
    }
    let refused = [one, other].map(|host| host.upload("free", "7D", &images[0]).status);
    if today() != day {
        skip("midnight came during the test, and with it another quota");
        return;
    }
    assert_eq!(refused, [429, 429]);
    assert_eq!(holdings(), (4, 4, 4));

    let client = one.client("free");
    let credentials = [
        ("X-Client-Id", client.id.as_str()),
        ("X-Client-Token", &client.token),
    ];
    let own = |host: &Site, method: &str, target: &str| {
        let target = format!("/image/v2/{target}");
        http::request(host.port, method, &target, &credentials, b"")
    };
    let [first, second, third, fourth] = &paths;
    for host in [one, other] {
        let listed = own(host, "GET", "images");
        let text = listed.text();
        assert!(paths.iter().all(|path| text.contains(path)), "{text}");
    }
    let deleted = own(other, "DELETE", &format!("images/{first}"));
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert!(!(pair.stored)().contains(first), "{first} is deleted");
    let listed = own(one, "GET", "images");
    assert!(!listed.text().contains(first), "{}", listed.text());
    assert_eq!(holdings(), (3, 4, 3));

    one.run(&["image", "quarantine", second]);
    assert!(!(pair.stored)().contains(second), "{second} is not served");
    other.run(&["image", "release", second]);
    assert!((pair.stored)().contains(second), "{second} is served again");

    // The third image has expired; the fourth has not.
    let expire = format!(
        "UPDATE image SET expires_at = 1 WHERE path = '{third}'; SELECT count(*) FROM image WHERE expires_at = 1"
    );
    assert_eq!((pair.number)(&expire), 1);
    let swept = other.run(&["sweep", "--json"]);
    assert!(swept.contains("\"expired\":1"), "{swept}");
    assert_eq!(holdings(), (2, 4, 2));
    let mut left = (pair.stored)();
    left.sort();
    let mut expected = vec![second.clone(), fourth.clone()];
    expected.sort();
    assert_eq!(left, expected);
    for host in [one, other] {
        host.run(&["verify"]);
        assert_eq!(host.get("/image/v2/health").status, 200);
    }
}
