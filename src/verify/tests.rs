use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::*;
use crate::config::Durability;
use crate::expiry::StoreDuration;
use crate::image::ImageType;
use crate::ledger::NewImage;
use crate::ledger::testing::{self, SqliteLedger, add_client, record};
use crate::store::Docroot;
use crate::store::Store;
use crate::store::conformance::place;

const PNG: &[u8] = include_bytes!("../../tests/samples/badge.png");
const PNG_SIZE: (u32, u32) = (160, 160);

struct Site {
    directory: tempfile::TempDir,
    ledger: SqliteLedger,
    store: Docroot,
    now: UtcDateTime,
}

fn open_ledger(path: &Path, now: UtcDateTime) -> SqliteLedger {
    SqliteLedger::open(path, Durability::Full, 1, now).expect("open")
}

fn site() -> Site {
    let directory = tempfile::tempdir().expect("a directory");
    let now = UtcDateTime::now();
    let ledger = open_ledger(&directory.path().join("ledger.db"), now);
    add_client(&ledger, now);
    let store = Docroot::open(directory.path(), Durability::Relaxed).expect("open");
    Site {
        directory,
        ledger,
        store,
        now,
    }
}

impl Site {
    /// An upload of 20 minutes ago; `placed` says whether its file came.
    fn upload(&self, duration: StoreDuration, placed: bool) -> ImagePath {
        self.upload_at(duration, placed, self.now - Duration::from_mins(20))
    }

    fn upload_at(&self, duration: StoreDuration, placed: bool, at: UtcDateTime) -> ImagePath {
        let path = record(&self.ledger, duration, at, PNG.len(), PNG_SIZE);
        if placed {
            self.place(&path, PNG, at);
        }
        path
    }

    fn place(&self, path: &ImagePath, bytes: &[u8], at: UtcDateTime) {
        place(&self.store, path, bytes, at);
    }

    fn file(&self, path: &ImagePath) -> PathBuf {
        path.below(self.directory.path())
    }

    fn verify(&self, repair: bool, rebuild: bool) -> (Report, Vec<Finding>) {
        self.verify_with(&self.ledger, repair, rebuild)
    }

    fn verify_with(
        &self,
        ledger: &SqliteLedger,
        repair: bool,
        rebuild: bool,
    ) -> (Report, Vec<Finding>) {
        let mut findings = Vec::new();
        let report = Verification {
            ledger,
            store: &self.store,
            now: self.now,
            repair,
            rebuild: rebuild.then_some("free"),
            tell: &mut |finding| {
                findings.push(finding.clone());
                Ok(())
            },
            progress: &|_| {},
        }
        .run()
        .expect("verified");
        (report, findings)
    }

    fn used(&self) -> u32 {
        let account = self.ledger.account("a", self.now - Duration::from_mins(20));
        account.expect("readable").expect("there").used
    }
}

fn set_modified(file: &Path, time: SystemTime) {
    let file = fs::File::options().write(true).open(file).expect("open");
    file.set_modified(time).expect("set");
}

fn image(finding: &Finding) -> &ImagePath {
    match &finding.subject {
        Subject::Image(path) => path,
        Subject::Client(id) => panic!("a finding about the client {id}"),
    }
}

#[test]
fn a_site_that_is_whole_has_no_differences() {
    let site = site();
    for duration in StoreDuration::ALL {
        for _ in 0..3 {
            site.upload(duration, true);
        }
    }
    fs::write(site.directory.path().join("p/index.html"), "mine").expect("written");
    let (report, findings) = site.verify(true, true);
    assert_eq!(findings, []);
    assert_eq!((report.images, report.remaining()), (12, 0));
    assert_eq!(report.bytes, 12 * PNG.len() as u64);
    assert_eq!(report.directories, Directory::COUNT);
    assert_eq!(site.ledger.account(RECOVERED, site.now), Ok(None));
}

#[test]
fn a_row_without_its_file_is_withdrawn_once_it_is_old_enough() {
    let site = site();
    let lost = site.upload(StoreDuration::Days7, false);
    let kept = site.upload(StoreDuration::Days7, true);
    site.upload_at(StoreDuration::Days7, false, site.now);
    // Its life ended: its file is the sweep's to delete, its row too.
    let long_ago = site.now - Duration::from_hours(24 * 30);
    site.upload_at(StoreDuration::Days7, false, long_ago);
    let (report, findings) = site.verify(false, false);
    assert_eq!(
        (report.missing, report.pending, report.remaining()),
        (1, 1, 1)
    );
    assert_eq!(image(&findings[0]), &lost);
    assert!(site.ledger.image(&lost).expect("readable").is_some());
    let before = site.used();
    let (report, _) = site.verify(true, false);
    assert_eq!(
        (report.missing, report.repaired, report.remaining()),
        (1, 1, 0)
    );
    assert_eq!(site.ledger.image(&lost), Ok(None));
    assert!(site.ledger.image(&kept).expect("readable").is_some());
    assert_eq!(site.used(), before - 1, "its quota is given back");
}

#[test]
fn a_damaged_image_is_reported_and_kept() {
    let site = site();
    let cut = site.upload(StoreDuration::Month1, true);
    let file = site.file(&cut);
    let modified = fs::metadata(&file)
        .expect("there")
        .modified()
        .expect("a time");
    fs::write(&file, b"half").expect("written");
    set_modified(&file, modified);
    let (report, findings) = site.verify(true, true);
    assert_eq!(
        (report.sizes, report.repaired, report.remaining()),
        (1, 0, 1)
    );
    let expected = Difference::Size {
        recorded: PNG.len() as u64,
        found: 4,
    };
    assert_eq!(
        (image(&findings[0]), &findings[0].difference),
        (&cut, &expected)
    );
    assert_eq!(fs::read(file).expect("there"), b"half");
}

#[test]
fn width_and_height_of_rows_are_corrected_to_what_browsers_show() {
    let site = site();
    let paths: Vec<_> = (0..3)
        .map(|_| site.upload(StoreDuration::Month1, true))
        .collect();
    let of = |path: &ImagePath| {
        let row = site.ledger.image(path).expect("readable").expect("there");
        (row.width, row.height)
    };
    // As rows were before Exif orientation was heeded.
    let turned = (PNG_SIZE.1 + 1, PNG_SIZE.0);
    site.ledger
        .set_dimensions(&[(&paths[1], turned)])
        .expect("set");
    for repair in [false, true] {
        let (report, findings) = site.verify(repair, false);
        assert_eq!(
            (report.dimensions, report.remaining()),
            (1, u64::from(!repair))
        );
        let expected = Difference::Dimensions {
            recorded: turned,
            found: PNG_SIZE,
        };
        assert_eq!(
            (image(&findings[0]), &findings[0].difference),
            (&paths[1], &expected)
        );
    }
    for path in &paths {
        assert_eq!(of(path), PNG_SIZE);
    }
    assert_eq!(site.verify(false, false).0.dimensions, 0);
}

#[test]
fn times_that_a_copy_lost_come_back_from_the_ledger() {
    let site = site();
    let paths = StoreDuration::ALL.map(|duration| site.upload(duration, true));
    let right = paths
        .each_ref()
        .map(|path| site.store.stat(path).expect("known"));
    for path in &paths {
        set_modified(&site.file(path), SystemTime::now());
    }
    let (report, _) = site.verify(false, false);
    assert_eq!(
        (report.times, report.repaired),
        (3, 0),
        "lifetime images carry no mark"
    );
    let (report, _) = site.verify(true, false);
    assert_eq!((report.times, report.repaired), (3, 3));
    for (path, right) in paths.iter().zip(right).take(3) {
        let stored = site.store.stat(path).expect("known").expect("there");
        assert_eq!(stored.expires_at, right.expect("there").expires_at);
    }
    assert_eq!(site.verify(false, false).0.remaining(), 0);
}

#[test]
fn what_is_no_file_is_reported_and_does_not_stop_the_rest() {
    let site = site();
    let odd = site.upload(StoreDuration::Days7, false);
    fs::create_dir_all(site.file(&odd)).expect("made");
    let link = site.upload(StoreDuration::Days7, true);
    let unknown = ImagePath::random(StoreDuration::Days7, site.now.date(), 10, ImageType::Png)
        .expect("random");
    // Just after midnight the uploads above lie in the directory of the day before.
    let directory = site.file(&unknown);
    fs::create_dir_all(directory.parent().expect("a directory")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", site.file(&unknown)).expect("linked");
    let (report, findings) = site.verify(true, true);
    assert_eq!(
        (report.images, report.unreadable, report.remaining()),
        (2, 2, 2)
    );
    assert!(
        findings
            .iter()
            .all(|finding| finding.cause.as_deref() == Some("it is not a regular file"))
    );
    assert!(site.file(&link).is_file());
}

#[test]
fn files_without_rows_are_left_alone() {
    let site = site();
    let path = ImagePath::random(StoreDuration::Days7, site.now.date(), 10, ImageType::Png)
        .expect("random");
    site.place(&path, PNG, site.now);
    let (report, findings) = site.verify(true, false);
    assert_eq!((report.unknown, report.repaired), (1, 0));
    assert_eq!(
        (image(&findings[0]), &findings[0].difference),
        (&path, &Difference::Unknown)
    );
    assert!(site.file(&path).exists());
}

#[test]
fn a_lost_ledger_comes_back_from_the_docroot() {
    let site = site();
    let paths: Vec<_> = (0..3)
        .flat_map(|_| StoreDuration::ALL)
        .map(|duration| site.upload(duration, true))
        .collect();
    let fresh = open_ledger(&site.directory.path().join("fresh.db"), site.now);
    assert_eq!(site.verify_with(&fresh, false, false).0.unknown, 12);
    let (report, _) = site.verify_with(&fresh, false, true);
    assert_eq!(
        (report.unknown, report.repaired, report.remaining()),
        (12, 12, 0)
    );
    for path in &paths {
        let old = site.ledger.image(path).expect("readable").expect("there");
        let new = fresh.image(path).expect("readable").expect("there");
        assert_eq!((new.size, new.expires_at), (old.size, old.expires_at));
        assert_eq!(new.client, RECOVERED);
        assert!(new.width > 1 && new.height > 1 && new.uploaded_at <= site.now.into());
    }
    let account = fresh
        .account(RECOVERED, site.now)
        .expect("readable")
        .expect("there");
    assert!(account.disabled && account.tokens.is_empty() && account.used == 0);
    assert_eq!(site.verify_with(&fresh, false, false).0.remaining(), 0);
}

#[test]
fn what_says_no_expiry_or_is_no_image_gets_no_row() {
    let site = site();
    let path = |image_type| {
        ImagePath::random(StoreDuration::Days7, site.now.date(), 10, image_type).expect("random")
    };
    let [timeless, broken, gif] = [ImageType::Png, ImageType::Png, ImageType::Gif].map(path);
    for (path, bytes) in [
        (&timeless, PNG),
        (&broken, &PNG[..PNG.len() / 2]),
        (&gif, PNG),
    ] {
        site.place(path, bytes, site.now);
    }
    let noon = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000 + 12);
    set_modified(&site.file(&timeless), noon);
    let (report, findings) = site.verify(true, true);
    assert_eq!((report.unknown, report.repaired), (3, 0));
    let cause = |path: &ImagePath| {
        let finding = findings.iter().find(|finding| image(finding) == path);
        finding
            .and_then(|finding| finding.cause.clone())
            .expect("a cause")
    };
    assert!(cause(&timeless).contains("without times"));
    assert!(cause(&broken).contains("truncated"), "{}", cause(&broken));
    assert!(cause(&gif).contains("another type"));
}

#[test]
fn a_directory_of_many_pages_is_compared_whole() {
    let site = site();
    let at = site.now - Duration::from_mins(20);
    let images = BATCH as usize * 2 + 100;
    let client = site
        .ledger
        .account("a", at)
        .expect("readable")
        .expect("there")
        .key;
    let mut paths: Vec<_> = (0..images)
        .map(|_| {
            ImagePath::random(StoreDuration::Lifetime, at.date(), 10, ImageType::Png)
                .expect("random")
        })
        .collect();
    for path in &paths {
        let file = site.file(path);
        fs::create_dir_all(file.parent().expect("a day")).expect("made");
        fs::write(file, PNG).expect("written");
    }
    paths.sort_unstable();
    // Every seventh has no row, and every eleventh no file.
    let rows: Vec<_> = paths
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 7 != 0)
        .map(|(_, path)| NewImage {
            path: path.clone(),
            daily_limit: u32::MAX,
            size: PNG.len() as u64,
            ..testing::image(client, path.duration(), at)
        })
        .collect();
    site.ledger.record(&rows, at).expect("recorded");
    for path in paths.iter().step_by(11) {
        fs::remove_file(site.file(path)).expect("removed");
    }
    let (sevenths, elevenths) = (images.div_ceil(7), images.div_ceil(11));
    let both = images.div_ceil(77);
    let (report, _) = site.verify(true, true);
    assert_eq!(report.images, (images - sevenths) as u64);
    assert_eq!(report.unknown, (sevenths - both) as u64);
    assert_eq!(report.missing, (elevenths - both) as u64);
    assert_eq!(report.remaining(), 0);
    let (report, findings) = site.verify(false, false);
    assert_eq!(findings, []);
    assert_eq!(report.images, (images - elevenths) as u64);
}

/// The documented order: the ledger, then the docroot.
#[test]
fn a_backup_and_a_copy_of_the_docroot_make_the_site_again() {
    let site = site();
    let before = StoreDuration::ALL.map(|duration| site.upload(duration, true));
    let backup = site.directory.path().join("backup.db");
    site.ledger.backup(&backup, false).expect("backed up");
    let between = StoreDuration::ALL.map(|duration| site.upload(duration, true));

    let fresh = tempfile::tempdir().expect("a directory");
    let store = Docroot::open(fresh.path(), Durability::Relaxed).expect("open");
    for path in before.iter().chain(&between) {
        let (from, to) = (site.file(path), path.below(fresh.path()));
        fs::create_dir_all(to.parent().expect("a day")).expect("made");
        fs::copy(&from, &to).expect("copied");
        let modified = fs::metadata(from).expect("there").modified();
        set_modified(&to, modified.expect("a time"));
    }
    let path = fresh.path().join("ledger.db");
    let restored = testing::restore(&backup, &path, site.now);
    assert_eq!(restored.expect("restored").contents.images, 4);
    let copy = Site {
        directory: fresh,
        ledger: open_ledger(&path, site.now),
        store,
        now: site.now,
    };
    let (report, _) = copy.verify(false, false);
    assert_eq!(
        (report.images, report.unknown, report.remaining()),
        (4, 4, 4)
    );
    assert_eq!(copy.verify(false, true).0.remaining(), 0);
    assert_eq!(copy.verify(false, false).0.images, 8);
    for path in between {
        let (old, new) = (site.ledger.image(&path), copy.ledger.image(&path));
        let expiry =
            |row: Result<Option<ImageRow>, _>| row.expect("readable").expect("there").expires_at;
        assert_eq!(expiry(new), expiry(old));
    }
}
