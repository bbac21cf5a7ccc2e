use std::cell::RefCell;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use time::macros::{date, utc_datetime};

use super::*;
use crate::image::ImageType;
use crate::store::conformance;
use crate::store::conformance::publish_with;

fn docroot() -> (tempfile::TempDir, Docroot) {
    let directory = tempfile::tempdir().expect("a directory");
    let docroot = Docroot::open(directory.path(), Durability::Full).expect("open");
    (directory, docroot)
}

fn spool(docroot: &Docroot, bytes: &[u8]) -> Spool {
    let mut spool = docroot.spool().expect("a spool");
    spool.write_all(bytes).expect("written");
    spool
}

fn files_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory)
        .expect("readable")
        .map(|entry| entry.expect("an entry").path());
    entries
        .map(|path| if path.is_dir() { files_below(&path) } else { 1 })
        .sum()
}

#[test]
fn it_is_a_store() {
    let directories = RefCell::new(Vec::new());
    for durability in [Durability::Full, Durability::Relaxed] {
        let open = || {
            let directory = tempfile::tempdir().expect("a directory");
            let docroot = Docroot::open(directory.path(), durability).expect("open");
            directories.borrow_mut().push(directory);
            docroot
        };
        conformance::check(open);
        conformance::check_directories(open);
    }
}

#[test]
fn a_published_image_carries_its_expiry_and_may_be_read_by_nginx() {
    let (directory, docroot) = docroot();
    let now = utc_datetime!(2026-04-05 12:00);
    for duration in StoreDuration::ALL {
        let path = ImagePath::random(duration, now.date(), 10, ImageType::Gif).expect("random");
        let expiry = duration.expiry(now);
        let mut spool = spool(&docroot, b"bytes");
        let published = publish_with(&docroot, &mut spool, &path, expiry);
        published.expect("published");
        drop(spool);
        let file = directory.path().join("p").join(path.as_str());
        let metadata = fs::metadata(&file).expect("there");
        assert_eq!(fs::read(&file).expect("readable"), b"bytes");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
        assert_eq!(
            fs::metadata(file.parent().expect("a day"))
                .expect("there")
                .permissions()
                .mode()
                & 0o777,
            0o755
        );
        match expiry {
            Some(expiry) => assert_eq!(metadata.mtime(), expiry.instant().0 - 1, "{duration}"),
            None => assert!(
                metadata.mtime() <= UtcDateTime::now().unix_timestamp(),
                "a lifetime image keeps its own"
            ),
        }
    }
    assert_eq!(files_below(&directory.path().join(SPOOL)), 0);
}

use time::UtcDateTime;

#[test]
fn an_upload_that_crosses_midnight_is_sealed_again() {
    let (directory, docroot) = docroot();
    let before = StoreDuration::Days7.expiry(utc_datetime!(2026-04-05 23:59:59));
    let after = StoreDuration::Days7.expiry(utc_datetime!(2026-04-06 0:00));
    let mut spool = spool(&docroot, b"bytes");
    spool.prepare(before).expect("prepared");
    let path = ImagePath::random(
        StoreDuration::Days7,
        date!(2026 - 04 - 06),
        10,
        ImageType::Gif,
    )
    .expect("random");
    publish_with(&docroot, &mut spool, &path, after).expect("published");
    let metadata = fs::metadata(path.below(directory.path())).expect("there");
    assert_eq!(metadata.mtime(), after.expect("expires").instant().0 - 1);
}

#[test]
fn an_upload_that_ends_early_leaves_nothing() {
    let (directory, docroot) = docroot();
    drop(spool(&docroot, b"half an ima"));
    assert_eq!(files_below(directory.path()), 0);
}

#[test]
fn a_docroot_that_cannot_be_written_is_an_error_with_its_path() {
    let (directory, docroot) = docroot();
    let error = Docroot::open(&directory.path().join("nowhere"), Durability::Full)
        .expect_err("not there")
        .to_string();
    assert!(error.contains("nowhere"), "{error}");
    // A file where the class directory should be: root may write anywhere, but not below a file.
    fs::write(directory.path().join("p/d"), "in the way").expect("written");
    let path = ImagePath::random(
        StoreDuration::Days7,
        date!(2026 - 04 - 06),
        10,
        ImageType::Gif,
    )
    .expect("random");
    let mut spool = spool(&docroot, b"bytes");
    let outcome = publish_with(&docroot, &mut spool, &path, None);
    assert!(
        matches!(
            outcome,
            Err(PublishError::Image(_) | PublishError::Directory(_))
        ),
        "{outcome:?}"
    );
}

#[test]
fn files_that_are_no_images_are_left_alone() {
    let (directory, docroot) = docroot();
    fs::create_dir_all(directory.path().join("p/d/ap5")).expect("made");
    for name in ["index.html", "AbCdEf.svg", ".hidden.png"] {
        fs::write(directory.path().join("p/d/ap5").join(name), "mine").expect("written");
    }
    assert_eq!(
        docroot
            .list(Directory::of(StoreDuration::Days7, date!(2026 - 04 - 05)))
            .expect("listed"),
        []
    );
    assert_eq!(docroot.delete_empty_directories(&[]).expect("swept"), 0);
}
