//! The store over a real SeaweedFS, and over a proxy in front of it that loses replies, answers that it is busy, and cuts bodies.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use support::http_proxy::{Disturbance, Head, HttpProxy, slow_down};
use support::seaweedfs::{Access, Bucket};
use support::tcp_proxy::TcpProxy;
use time::macros::date;

use super::*;
use crate::config::Config;
use crate::image::ImageType;
use crate::store::{Quarantine, conformance};

/// A bucket, and the store in it.
struct Fixture {
    bucket: Bucket,
    proxy: HttpProxy,
    /// Through the proxy.
    store: S3Store,
}

impl Fixture {
    /// `None`, and the test is skipped, where SeaweedFS is not installed.
    fn new() -> Option<Self> {
        let bucket = Bucket::new(Access::Private)?;
        let proxy = HttpProxy::start(&bucket.endpoint);
        let storage = bucket.storage_at(&proxy.endpoint(), "responder");
        Some(Self {
            store: open(&storage).expect("open"),
            bucket,
            proxy,
        })
    }

    /// The same bucket without the proxy.
    fn direct(&self) -> S3Store {
        open(&self.bucket.storage()).expect("open")
    }
}

fn open(storage: &str) -> io::Result<S3Store> {
    let text = format!("[site]\npublic_url = \"https://cdn.example.com\"\n[storage]\n{storage}");
    let config = Config::from_toml(&text).expect("a configuration");
    S3Store::open(&config.storage.s3.expect("a bucket"))
}

fn path() -> ImagePath {
    ImagePath::random(
        StoreDuration::Days7,
        date!(2026 - 04 - 05),
        10,
        ImageType::Png,
    )
    .expect("random")
}

fn publish(store: &S3Store, path: &ImagePath, bytes: &[u8]) -> Result<(), PublishError> {
    let mut spool = store.spool().expect("a spool");
    spool.write_all(bytes).expect("written");
    let expiry = Expiry::from_instant(Timestamp(1_800_057_600));
    conformance::publish_with(store, &mut spool, path, expiry)
}

fn bytes_of(store: &S3Store, path: &ImagePath) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = store.read(path).expect("readable");
    reader.read_to_end(&mut bytes).expect("read");
    bytes
}

/// Whether it failed in the way that is answered with 503.
fn is_busy(outcome: &Result<(), PublishError>) -> bool {
    matches!(outcome, Err(PublishError::Image(error)) if error.kind() == io::ErrorKind::ResourceBusy)
}

/// Tells the first PUT from all other requests.
fn first_put() -> impl Fn(&Head) -> bool + Send + Sync {
    let is_past = Mutex::new(false);
    move |head| {
        head.method() == "PUT" && !std::mem::replace(&mut *is_past.lock().expect("a lock"), true)
    }
}

#[test]
fn it_is_a_store() {
    let buckets = RefCell::new(Vec::new());
    let Some(first) = Bucket::new(Access::Private) else {
        return;
    };
    buckets.borrow_mut().push(first);
    conformance::check(|| {
        let bucket = Bucket::new(Access::Private).expect("it is installed");
        let store = open(&bucket.storage()).expect("open");
        buckets.borrow_mut().push(bucket);
        store
    });
}

#[test]
fn a_reply_that_is_lost_is_not_taken_for_a_name_that_is_taken() {
    let Some(site) = Fixture::new() else { return };
    for lost in [
        Disturbance::LoseReply,
        Disturbance::Cut(20),
        Disturbance::Cut(0),
    ] {
        let path = path();
        site.proxy.disturb_next("PUT", 1, lost.clone());
        publish(&site.store, &path, b"12345").unwrap_or_else(|error| panic!("{lost:?}: {error:?}"));
        assert_eq!(bytes_of(&site.store, &path), b"12345");
        let again = publish(&site.store, &path, b"others");
        assert!(matches!(again, Err(PublishError::NameTaken)), "{again:?}");
    }
}

/// Once, an upload to a bucket that is encrypted by the store was taken for another's, because its tag is no hash of its bytes.
#[test]
fn a_lost_reply_of_a_store_with_tags_of_its_own_is_proven_by_the_bytes() {
    let Some(site) = Fixture::new() else { return };
    let path = path();
    let is_first_put = first_put();
    site.proxy.disturb(move |head: &Head| match head.method() {
        _ if is_first_put(head) => Disturbance::LoseReply,
        "HEAD" => Disturbance::StripReply("etag"),
        _ => Disturbance::None,
    });
    publish(&site.store, &path, b"12345").expect("it is ours");
    let again = publish(&site.store, &path, b"54321");
    assert!(matches!(again, Err(PublishError::NameTaken)), "{again:?}");
}

/// Once, the proof after a lost reply had a deadline of its own, and nginx had given up before it ended.
#[test]
fn a_store_that_hangs_after_a_lost_reply_is_given_up_at_the_deadline() {
    let Some(site) = Fixture::new() else { return };
    let is_first_put = first_put();
    site.proxy.disturb(move |head: &Head| match head.method() {
        _ if is_first_put(head) => Disturbance::LoseReply,
        "HEAD" => Disturbance::Delay(Duration::from_secs(40)),
        _ => Disturbance::None,
    });
    let began = Instant::now();
    let deadline = began + Duration::from_secs(2);
    let mut spool = site.store.spool().expect("a spool");
    spool.write_all(b"12345").expect("written");
    let upload = Publication {
        spool: &mut spool,
        path: &path(),
        expiry: None,
    };
    let refused =
        publication::publish_until(&site.store.client, upload.path.as_str(), &upload, deadline);
    assert!(is_busy(&refused), "{refused:?}");
    // The deadline, and the two seconds of the withdrawal.
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_busy_store_is_asked_again_and_then_given_up() {
    let Some(site) = Fixture::new() else { return };
    let image = path();
    site.proxy
        .disturb_next("PUT", 3, Disturbance::Answer(slow_down()));
    publish(&site.store, &image, b"12345").expect("the fourth PUT");
    let began = Instant::now();
    site.proxy
        .disturb_next("PUT", 1_000, Disturbance::Answer(slow_down()));
    let refused = publish(&site.store, &path(), b"12345");
    assert!(is_busy(&refused), "{refused:?}");
    assert!(
        began.elapsed() < operations::DEADLINE,
        "{:?}",
        began.elapsed()
    );
    site.proxy
        .disturb_next("HEAD", 2, Disturbance::Answer(slow_down()));
    assert!(site.store.stat(&image).expect("the third HEAD").is_some());
    site.proxy
        .disturb_next("POST", 2, Disturbance::Answer(slow_down()));
    let deleted = site.store.delete(std::slice::from_ref(&image)).remove(0);
    deleted.expect("the third POST");
    assert_eq!(site.store.stat(&image).expect("known"), None);
}

#[test]
fn an_upload_that_was_refused_leaves_no_object() {
    let Some(site) = Fixture::new() else { return };
    let path = path();
    // The first PUT is stored and its reply lost; the others are refused.
    let is_first_put = first_put();
    site.proxy.disturb(move |head: &Head| match head.method() {
        _ if is_first_put(head) => Disturbance::LoseReply,
        "PUT" => Disturbance::Answer(slow_down()),
        _ => Disturbance::None,
    });
    let refused = publish(&site.store, &path, b"12345");
    assert!(is_busy(&refused), "{refused:?}");
    assert_eq!(site.direct().stat(&path).expect("known"), None);
}

#[test]
fn a_store_that_is_down_is_busy_soon() {
    let Some(site) = Fixture::new() else { return };
    let port = support::machine::free_port();
    let storage = site
        .bucket
        .storage_at(&format!("http://127.0.0.1:{port}"), "responder");
    let store = open(&storage).expect("open");
    let began = Instant::now();
    let refused = publish(&store, &path(), b"12345");
    assert!(is_busy(&refused), "{refused:?}");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    let error = store.identity().expect_err("down");
    assert_eq!(error.kind(), io::ErrorKind::ResourceBusy, "{error}");
    let cleaned = store
        .clean(Timestamp(i64::MAX), &[], true)
        .expect("cleaned");
    assert_eq!(cleaned.abandoned, 0, "no spool file is left");
}

#[test]
fn a_store_that_ignores_the_condition_stores_each_name_once() {
    let Some(site) = Fixture::new() else { return };
    let path = path();
    let is_first_put = first_put();
    site.proxy.disturb(move |head: &Head| match head.method() {
        _ if is_first_put(head) => Disturbance::LoseReply,
        "PUT" => Disturbance::Strip("if-none-match"),
        _ => Disturbance::None,
    });
    publish(&site.store, &path, b"12345").expect("published by the second PUT");
    assert_eq!(bytes_of(&site.store, &path), b"12345");
    assert_eq!(site.store.list(path.directory()).expect("listed"), [path]);
}

#[test]
fn a_body_that_is_cut_off_is_continued() {
    let Some(site) = Fixture::new() else { return };
    let image: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let path = path();
    publish(&site.store, &path, &image).expect("published");
    for cut in [500, 40_000, 66_000] {
        site.proxy.disturb_next("GET", 3, Disturbance::Cut(cut));
        assert!(bytes_of(&site.store, &path) == image, "cut at {cut}");
    }
    site.proxy.disturb(|head| match head.method() {
        "GET" => Disturbance::Cut(20_000),
        _ => Disturbance::None,
    });
    let small = self::path();
    publish(&site.store, &small, &image[..30_000]).expect("published");
    assert!(bytes_of(&site.store, &small) == image[..30_000]);
    // A large image arrives in as many parts as it needs.
    let parts: Vec<u8> = image.iter().copied().cycle().take(900_000).collect();
    let large = self::path();
    publish(&site.store, &large, &parts).expect("published");
    site.proxy.disturb(|head| match head.method() {
        "GET" => Disturbance::Cut(70_000),
        _ => Disturbance::None,
    });
    assert!(bytes_of(&site.store, &large) == parts);
    // A changed object is not continued with other bytes.
    let mut reader = site.store.read(&path).expect("readable");
    site.proxy.disturb(|_| Disturbance::None);
    let direct = site.direct();
    direct
        .delete(std::slice::from_ref(&path))
        .remove(0)
        .expect("deleted");
    publish(&direct, &path, &vec![7; 300_000]).expect("published");
    assert!(reader.read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn the_beginning_of_an_image_costs_one_request() {
    let Some(site) = Fixture::new() else { return };
    let path = path();
    publish(&site.store, &path, &vec![1; 300_000]).expect("published");
    let before = site.proxy.requests();
    let mut head = vec![0; 16 << 10];
    let opened = site.store.open(&path, Part::First(16 << 10));
    let (stored, mut reader) = opened.expect("readable").expect("there");
    assert_eq!(stored.size, 300_000);
    reader.read_exact(&mut head).expect("read");
    drop(reader);
    assert_eq!(site.proxy.requests() - before, 1);
}

#[test]
fn images_are_read_over_one_connection() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let (_, port) = bucket.endpoint.rsplit_once(':').expect("a port");
    let proxy = TcpProxy::to(port.parse().expect("a port"));
    let endpoint = format!("http://127.0.0.1:{}", proxy.port());
    let store = open(&bucket.storage_at(&endpoint, "responder")).expect("open");
    let (path, image) = (path(), vec![1; 300_000]);
    publish(&store, &path, &image).expect("published");
    for _ in 0..3 {
        assert!(bytes_of(&store, &path) == image);
        for length in [16 << 10, 300_000, 400_000] {
            let opened = store.open(&path, Part::First(length));
            let (stored, mut reader) = opened.expect("readable").expect("there");
            assert_eq!(stored.size, 300_000);
            let mut first = vec![0; 16 << 10];
            reader.read_exact(&mut first).expect("read");
            assert!(first == image[..16 << 10]);
        }
    }
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn many_are_deleted_with_few_requests_and_listed_in_pages() {
    let Some(site) = Fixture::new() else { return };
    let direct = site.direct();
    let paths: Vec<_> = (0..1_030).map(|_| path()).collect();
    std::thread::scope(|scope| {
        for part in paths.chunks(130) {
            let direct = &direct;
            scope.spawn(move || {
                for path in part {
                    publish(direct, path, b"x").expect("published");
                }
            });
        }
    });
    let listed = site.store.list(paths[0].directory()).expect("listed");
    assert_eq!(listed.len(), paths.len(), "two pages");
    let before = site.proxy.requests();
    let outcomes = site.store.delete(&paths);
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(site.proxy.requests() - before, 2);
    assert_eq!(site.store.list(paths[0].directory()).expect("listed"), []);
}

#[test]
fn an_object_that_cannot_be_deleted_is_told_apart_in_a_reply_of_success() {
    let Some(site) = Fixture::new() else { return };
    let paths = [path(), path(), path()];
    let body = format!(
        "<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Error><Key>{}</Key><Code>AccessDenied</Code><Message>No</Message></Error></DeleteResult>",
        paths[1]
    );
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    site.proxy
        .disturb_next("POST", 1, Disturbance::Answer(answer.into_bytes()));
    let outcomes = site.store.delete(&paths);
    let kinds: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().err().map(io::Error::kind))
        .collect();
    assert_eq!(kinds, [None, Some(io::ErrorKind::PermissionDenied), None]);
}

#[test]
fn a_key_without_the_permission_to_list_sees_missing_images() {
    let Some(site) = Fixture::new() else { return };
    site.direct()
        .set_identity(Identity { id: 1, mark: 0 })
        .expect("written");
    let forbidden = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    site.proxy.disturb(|head| {
        let is_image = head.method() == "HEAD" && !head.target().contains(".identity");
        if is_image {
            Disturbance::Answer(forbidden.to_vec())
        } else {
            Disturbance::None
        }
    });
    assert_eq!(site.store.stat(&path()).expect("missing"), None);
    site.proxy
        .disturb_next("HEAD", 1_000, Disturbance::Answer(forbidden.to_vec()));
    let error = site.store.stat(&path()).expect_err("nothing may be read");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
}

#[test]
fn what_cannot_be_used_says_why_in_one_sentence() {
    let Some(site) = Fixture::new() else { return };
    let (endpoint, bucket) = (&site.bucket.endpoint, &site.bucket);
    for (storage, needle) in [
        (
            bucket.storage().replace(&bucket.name, "no-such-bucket"),
            "no such bucket",
        ),
        (
            bucket.storage_at(endpoint, "stranger"),
            "does not know the access key",
        ),
    ] {
        let store = open(&storage).expect("open");
        let error = store.identity().expect_err(needle).to_string();
        assert!(error.contains(needle), "{error}");
    }
    let reader = open(&bucket.storage_at(endpoint, "reader")).expect("open");
    assert_eq!(reader.identity().expect("readable"), None);
    let error = reader.check_writable().expect_err("read-only");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    let refused = publish(&reader, &path(), b"12345");
    assert!(
        matches!(&refused, Err(PublishError::Image(error)) if error.kind() == io::ErrorKind::PermissionDenied),
        "{refused:?}"
    );
    let others = std::fs::write(bucket.key_file("responder"), "responder:wrong\n");
    others.expect("written");
    let wrong = open(&bucket.storage()).expect("open");
    let error = wrong.identity().expect_err("a wrong secret").to_string();
    assert!(error.contains("secret"), "{error}");
}

#[test]
fn an_expiry_that_the_store_drops_is_kept_in_metadata() {
    let Some(site) = Fixture::new() else { return };
    site.proxy.disturb(|_| Disturbance::StripReply("expires"));
    let path = path();
    publish(&site.store, &path, b"12345").expect("published");
    let stored = site.store.stat(&path).expect("known").expect("there");
    assert_eq!(stored.expires_at, Timestamp(1_800_057_600));
}

#[test]
fn a_copy_keeps_what_the_original_says() {
    let Some(site) = Fixture::new() else { return };
    let path = path();
    publish(&site.store, &path, b"12345").expect("published");
    let before = site.store.stat(&path).expect("known").expect("there");
    assert!(
        site.store
            .quarantine(std::slice::from_ref(&path))
            .remove(0)
            .expect("moved")
    );
    assert!(site.store.release(&path).expect("released"));
    assert_eq!(site.store.stat(&path).expect("known"), Some(before));
    // A release that was cut off between copy and deletion is finished by the next.
    let kept = format!("{}{path}", quarantine::PREFIX);
    let object = site
        .store
        .client
        .head(path.as_str())
        .expect("known")
        .expect("there");
    site.store
        .client
        .copy(path.as_str(), &kept, &object.etag, None)
        .expect("copied");
    assert!(site.store.release(&path).expect("released"));
    assert_eq!(site.store.stat_quarantined(&path).expect("known"), None);
    assert_eq!(bytes_of(&site.store, &path), b"12345");
}
