use std::io::Write;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use time::macros::utc_datetime;

use super::*;
use crate::auth::TokenDigest;
use crate::config::Durability;
use crate::image::ImageType;
use crate::image_path::Directory;
use crate::ledger::ImageFilter;
use crate::ledger::testing::SqliteLedger;
use crate::store::Docroot;

const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

struct Site {
    directory: tempfile::TempDir,
    ledger: Arc<SqliteLedger>,
    store: Arc<Docroot>,
    committer: Committer,
    client: ClientKey,
}

fn site() -> Site {
    site_with(true)
}

fn site_with(log: bool) -> Site {
    site_by(log, || NOW)
}

fn site_by(log: bool, clock: fn() -> UtcDateTime) -> Site {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("docroot");
    std::fs::create_dir(&root).expect("made");
    let path = directory.path().join("ledger.db");
    let ledger = Arc::new(SqliteLedger::open(&path, Durability::Full, 2, NOW).expect("open"));
    ledger
        .add_client("a", "free", TokenDigest([1; 32]), NOW)
        .expect("added");
    let client = ledger
        .account("a", NOW)
        .expect("readable")
        .expect("there")
        .key;
    let store = Arc::new(Docroot::open(&root, Durability::Full).expect("open"));
    let committer = Committer::start(Settings {
        ledger: ledger.clone(),
        store: store.clone(),
        name_length: 10,
        log: log.then(|| directory.path().join("ledger.db-log")),
        clock,
        observe_batch: Arc::new(|_| {}),
        observe_checkpoint: Arc::new(|_| {}),
    })
    .expect("started");
    Site {
        directory,
        ledger,
        store,
        committer,
        client,
    }
}

impl Site {
    fn received(&self, daily_limit: u32) -> Upload {
        let mut spool = self.store.spool().expect("a spool");
        spool.write_all(b"bytes").expect("written");
        Upload {
            spool,
            inspected: Inspected {
                image_type: ImageType::Png,
                width: 1,
                height: 1,
            },
            client: self.client,
            daily_limit,
            max_storage: None,
            address: None,
            key: None,
            duration: StoreDuration::Days7,
        }
    }

    fn upload(&self, daily_limit: u32) -> Result<Outcome, Fault> {
        self.committer.commit(self.received(daily_limit))
    }

    /// Another connection to the ledger, for changes that the program never makes.
    fn other_connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("ledger.db")).expect("open")
    }

    /// Makes the ledger treat the next `count` names as taken.
    fn take_names(&self, count: usize) {
        self.other_connection()
            .execute_batch(&format!(
                "CREATE TABLE taken (path TEXT);
                 CREATE TRIGGER take BEFORE INSERT ON image WHEN (SELECT count(*) FROM taken) < {count} BEGIN
                     INSERT INTO taken VALUES (new.path);
                     SELECT RAISE(IGNORE);
                 END"
            ))
            .expect("a trigger");
    }

    fn rows(&self) -> usize {
        self.ledger
            .images(&ImageFilter::all(10_000))
            .expect("readable")
            .len()
    }

    fn used(&self) -> u32 {
        self.ledger
            .account("a", NOW)
            .expect("readable")
            .expect("there")
            .used
    }

    fn files(&self) -> usize {
        images_in(&*self.store)
    }

    fn spooled(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("docroot/.spool"))
            .expect("readable")
            .count()
    }
}

/// That 50 of these uploads are stored and counted, each once.
fn assert_fifty(site: &Site, outcomes: &[Outcome]) {
    let stored: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Stored { path, used, .. } => Some((path, *used)),
            _ => None,
        })
        .collect();
    let mut used: Vec<_> = stored.iter().map(|(_, used)| *used).collect();
    used.sort_unstable();
    assert_eq!(used, (1..=50).collect::<Vec<_>>(), "each was counted once");
    assert!(
        stored
            .iter()
            .all(|(path, _)| site.store.stat(path).expect("known").is_some())
    );
    assert_eq!(
        (site.rows(), site.used(), site.files(), site.spooled()),
        (50, 50, 50, 0)
    );
}

fn images_in(store: &dyn Store) -> usize {
    let directory = Directory::of(StoreDuration::Days7, NOW.date());
    store.list(directory).expect("listed").len()
}

#[test]
fn an_upload_whose_name_is_taken_gets_another() {
    let site = site();
    site.take_names(2);
    assert!(matches!(
        site.upload(50),
        Ok(Outcome::Stored { used: 1, .. })
    ));
    assert_eq!(
        (site.rows(), site.used(), site.files(), site.spooled()),
        (1, 1, 1, 0)
    );
}

#[test]
fn an_upload_all_of_whose_names_are_taken_is_refused() {
    let site = site();
    site.take_names(NAME_TRIES as usize);
    let fault = site.upload(50).expect_err("no name").to_string();
    assert!(fault.contains("3 random names were taken"), "{fault}");
    assert_eq!(
        (site.rows(), site.used(), site.files(), site.spooled()),
        (0, 0, 0, 0)
    );
    assert!(site.upload(50).is_ok(), "others are free");
}

#[test]
fn concurrent_uploads_are_stored_up_to_the_limit() {
    let site = site();
    let barrier = Barrier::new(64);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let uploaders: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    site.upload(50).expect("no fault")
                })
            })
            .collect();
        uploaders
            .into_iter()
            .map(|uploader| uploader.join().expect("no panic"))
            .collect()
    });
    assert_fifty(&site, &outcomes);
}

#[test]
fn an_upload_that_cannot_be_published_is_not_counted() {
    let site = site();
    let class = site.directory.path().join("docroot/p/d");
    std::fs::write(&class, "in the way").expect("written");
    let fault = site.upload(50).expect_err("no directory");
    assert!(
        matches!(fault, Fault::SaveImage(_) | Fault::CreateDirectory(_)),
        "{fault}"
    );
    assert_eq!((site.rows(), site.used(), site.spooled()), (0, 0, 0));
    std::fs::remove_file(&class).expect("removed");
    assert!(
        matches!(site.upload(50), Ok(Outcome::Stored { used: 1, .. })),
        "no restart is needed"
    );
}

#[test]
fn an_upload_is_refused_when_the_ledger_fails() {
    let site = site();
    let other = site.other_connection();
    other
        .execute_batch("ALTER TABLE usage RENAME TO elsewhere")
        .expect("broken");
    let fault = site.upload(50).expect_err("no table");
    assert_eq!(fault.message(), "Internal server error");
    assert_eq!((site.files(), site.spooled()), (0, 0));
    other
        .execute_batch("ALTER TABLE elsewhere RENAME TO usage")
        .expect("repaired");
    assert!(
        matches!(site.upload(50), Ok(Outcome::Stored { used: 1, .. })),
        "no restart is needed"
    );
}

#[test]
fn uploads_are_durable_before_the_committer_is_dropped() {
    let site = site();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| site.upload(50).expect("no fault"));
        }
    });
    let Site {
        committer,
        store,
        directory,
        ..
    } = site;
    drop(committer);
    assert_eq!(images_in(&*store), 8);
    drop(directory);
}

#[test]
fn regression_an_upload_that_stood_still_is_taken_back() {
    /// Goes on by as much as a repetition of the upload waits.
    fn clock() -> UtcDateTime {
        static READ: AtomicI64 = AtomicI64::new(0);
        let seconds = READ.fetch_add(1, Ordering::Relaxed) * CUT_OFF_AFTER;
        NOW + time::Duration::seconds(seconds)
    }
    for log in [true, false] {
        let site = site_by(log, clock);
        let fault = site.upload(50).expect_err("too late");
        assert_eq!(fault.status(), 503, "{fault}");
        assert_eq!((site.rows(), site.used()), (0, 0));
        assert_eq!((site.files(), site.spooled()), (0, 0));
    }
}
