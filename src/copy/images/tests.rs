use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use time::macros::date;

use super::*;
use crate::config::Durability;
use crate::image::ImageType;
use crate::store::{Docroot, SPOOL};

/// A copy from `source` to `target` below a directory.
fn copy_between(directory: &Path) -> ImageCopy {
    let [from, to] = ["source", "target"].map(|name| {
        let root = directory.join(name);
        fs::create_dir(&root).expect("made");
        Box::new(Docroot::open(&root, Durability::Full).expect("open"))
    });
    let target = Target::Unfinished;
    ImageCopy { from, to, target }
}

fn run(copy: &ImageCopy) -> Copied {
    let copied = copy.run(&Scope::all(), Comparison::Listed, &|_| {});
    copied.expect("copied")
}

fn path(duration: StoreDuration) -> ImagePath {
    ImagePath::random(duration, date!(2026 - 04 - 05), 10, ImageType::Png).expect("random")
}

/// Writes an image that expires at a midnight, so many days later than others.
fn write(file: &Path, bytes: &[u8], days: u32) {
    fs::create_dir_all(file.parent().expect("a directory")).expect("made");
    fs::write(file, bytes).expect("written");
    let time = UNIX_EPOCH + Duration::from_secs(1_900_022_399) + Duration::from_hours(24) * days;
    let marked = File::options().write(true).open(file);
    let marked = marked.and_then(|file| file.set_modified(time));
    marked.expect("marked");
}

#[test]
fn images_in_quarantine_are_copied_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = copy_between(directory.path());
    let path = path(StoreDuration::Lifetime);
    write(&path.below(&directory.path().join("source")), b"bytes", 0);
    run(&copy);
    let moved = copy.from.quarantine(std::slice::from_ref(&path)).remove(0);
    assert!(moved.expect("moved"));
    let copied = run(&copy);
    assert_eq!((copied.images, copied.new, copied.deleted), (1, 1, 1));
    assert_eq!(
        copy.to.stat(&path).expect("known"),
        None,
        "it is not served there"
    );
    let [from, to] = [&copy.from, &copy.to].map(|store| {
        let stored = store.stat_quarantined(&path).expect("known");
        stored.expect("there")
    });
    assert_eq!((from.size, from.expires_at), (to.size, to.expires_at));
    assert_eq!(run(&copy).new, 0);
}

#[test]
fn a_repeated_copy_follows_the_source() {
    let directory = tempfile::tempdir().expect("a directory");
    let copy = copy_between(directory.path());
    let [source, target] = ["source", "target"].map(|name| directory.path().join(name));
    let paths = StoreDuration::ALL.map(path);
    let write = |path: &ImagePath, bytes: &[u8], days| write(&path.below(&source), bytes, days);
    for path in &paths[..3] {
        write(path, b"bytes", 0);
    }
    let first = run(&copy);
    assert_eq!((first.images, first.new, first.bytes), (3, 3, 15));
    let second = run(&copy);
    assert_eq!((second.images, second.new, second.deleted), (3, 0, 0));

    write(&paths[0], b"other bytes", 0);
    fs::remove_file(paths[1].below(&source)).expect("deleted");
    write(&paths[2], b"bytes", 1);
    write(&paths[3], b"more", 0);
    let third = run(&copy);
    assert_eq!((third.images, third.new, third.deleted), (3, 3, 1));
    for path in [&paths[0], &paths[2], &paths[3]] {
        let [from, to] = [&source, &target].map(|root| {
            let file = path.below(root);
            let metadata = fs::metadata(&file).expect("there");
            (
                fs::read(&file).expect("read"),
                metadata.modified().expect("known"),
            )
        });
        assert_eq!(from, to, "{path}");
    }
    assert!(!paths[1].below(&target).exists());
    let spooled = fs::read_dir(target.join(SPOOL)).expect("readable").count();
    assert_eq!(spooled, 0);
}
