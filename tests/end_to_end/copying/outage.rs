//! Copies whose store is out of reach for a while, or refuses what is asked.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::http_proxy::{Disturbance, Head, HttpProxy, slow_down};
use support::pictures::png_of;
use support::seaweedfs::{Access, Bucket};
use support::site::Site;

use super::interruption::copying;
use super::{config_with, copy, images, message};

/// Images that are copied.
const IMAGES: usize = 40;

/// Disturbs the chosen requests until the flag is cleared.
fn disturb(
    proxy: &HttpProxy,
    disturbance: Disturbance,
    is_chosen: impl Fn(&Head) -> bool + Send + Sync + 'static,
) -> Arc<AtomicBool> {
    let lasts = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&lasts);
    proxy.disturb(move |head| {
        if flag.load(Ordering::SeqCst) && is_chosen(head) {
            disturbance.clone()
        } else {
            Disturbance::None
        }
    });
    lasts
}

/// Ends an outage when the copy says that it waits for `place`; the copy then ends well.
fn recover(mut copy: Child, lasts: &AtomicBool, place: &str) {
    let mut stderr = BufReader::new(copy.stderr.take().expect("a pipe"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("read");
    assert!(line.contains(place), "{line}");
    assert!(line.ends_with("; trying again for a minute\n"), "{line}");
    lasts.store(false, Ordering::SeqCst);
    line.clear();
    stderr.read_line(&mut line).expect("read");
    assert!(line.starts_with("Complete: 40 images"), "{line}");
    assert!(copy.wait().expect("ended").success());
}

fn is_image(head: &Head, method: &str) -> bool {
    head.method() == method && head.target().contains(".png")
}

#[test]
fn a_copy_waits_for_a_store_that_is_out_of_reach_and_ends_where_it_is_refused() {
    let Some(bucket) = Bucket::new(Access::Private) else {
        return;
    };
    let mut site = Site::start();
    for serial in 0..IMAGES {
        site.store("3m", "7D", &png_of(5_000, serial as u64));
    }
    site.stop();
    let proxy = HttpProxy::start(&bucket.endpoint);
    let docroot = format!("docroot = \"{}\"\n", site.docroot().display());
    let storage = docroot + &bucket.storage_at(&proxy.endpoint(), "responder");
    let new = config_with(&site, "new.toml", &[("storage", &storage)]);

    // The access key may not write any more.
    let body = "<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>";
    let denied = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    disturb(&proxy, Disturbance::Answer(denied.into_bytes()), |head| {
        is_image(head, "PUT") && head.number > 20
    });
    let refused = copy(&site, "storage", &new);
    let text = message(&refused);
    assert_eq!(refused.status.code(), Some(4), "{text}");
    let place = format!("could not be written to the bucket {}", bucket.name);
    for needle in [&place, "access key", "run the same command again"] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
    assert_eq!(text.lines().count(), 1, "{text}");
    let there = bucket.objects().len();
    assert!(0 < there && there < IMAGES, "{there}");

    let lasts = disturb(&proxy, Disturbance::Answer(slow_down()), |head| {
        is_image(head, "PUT")
    });
    recover(copying(&site, "storage", &new), &lasts, &place);
    assert_eq!(bucket.objects(), images(&site.docroot()));

    // Back, without a list of the images.
    std::fs::copy(&new, site.config()).expect("switched");
    let back = site.root.join("back");
    std::fs::create_dir(&back).expect("made");
    let storage = format!("docroot = \"{}\"\n", back.display());
    let back_config = config_with(&site, "back.toml", &[("storage", &storage)]);
    let lasts = disturb(&proxy, Disturbance::LoseRequest, |head| {
        head.target().contains("prefix=")
            && !head.target().contains("delimiter=")
            && !head.target().contains("quarantine")
    });
    let place = format!("could not be listed in the bucket {}", bucket.name);
    recover(copying(&site, "storage", &back_config), &lasts, &place);
    std::fs::copy(&back_config, site.config()).expect("switched");
    site.run(&["verify"]);
    assert_eq!(images(&back), images(&site.docroot()));
}
