use std::io::Write;
use std::sync::Barrier;
use std::thread;

use time::macros::utc_datetime;

use super::*;
use crate::auth::TokenDigest;
use crate::config::Durability;
use crate::image::ImageType;
use crate::ledger::ImageFilter;
use crate::ledger::sqlite::SqliteLedger;
use crate::store::docroot::Docroot;

const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

struct Site {
    directory: tempfile::TempDir,
    ledger: Arc<SqliteLedger>,
    store: Arc<Docroot>,
    committer: Committer,
    client: ClientKey,
}

fn site() -> Site {
    site_with(|docroot| docroot)
}

fn site_with(change: impl FnOnce(Docroot) -> Docroot) -> Site {
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
    let store = Arc::new(change(
        Docroot::open(&root, Durability::Full).expect("open"),
    ));
    let committer = Committer::start(ledger.clone(), store.clone(), 10, || NOW, Box::new(|_| {}))
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
            duration: StoreDuration::Days7,
        }
    }

    fn upload(&self, daily_limit: u32) -> Result<Outcome, Fault> {
        let mut begun = self.committer.begin(self.received(daily_limit))?;
        begun.seal();
        begun.finish()
    }

    /// Outcomes of as many uploads as a group commits.
    fn upload_in_groups(&self, uploads: usize, daily_limit: u32) -> Vec<Result<Outcome, Fault>> {
        let seats: Vec<_> = (0..uploads)
            .map(|_| self.committer.group.join(self.received(daily_limit)))
            .collect();
        seats.into_iter().map(|seat| seat?.wait()).collect()
    }

    /// One to the same ledger, to do to it what the program never does.
    fn other_connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.directory.path().join("ledger.db")).expect("open")
    }

    /// From now on the ledger takes the names of so many rows for taken, whatever they are.
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
            .images(&ImageFilter {
                limit: 10_000,
                ..ImageFilter::default()
            })
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
        self.store.list("d/ap5").expect("listed").len()
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
            Outcome::Exhausted { .. } => None,
        })
        .collect();
    let mut used: Vec<_> = stored.iter().map(|(_, used)| *used).collect();
    used.sort_unstable();
    assert_eq!(used, (1..=50).collect::<Vec<_>>(), "each was counted once");
    assert!(
        stored
            .iter()
            .all(|(path, _)| site.store.placed_at(path).expect("known").is_some())
    );
    assert_eq!(
        (site.rows(), site.used(), site.files(), site.spooled()),
        (50, 50, 50, 0)
    );
}

fn assert_fifty_in_groups(site: &Site) {
    let outcomes = site.upload_in_groups(64, 50);
    let outcomes: Vec<_> = outcomes.into_iter().map(|o| o.expect("no fault")).collect();
    assert_fifty(site, &outcomes);
}

#[test]
fn a_group_is_stored_up_to_the_limit() {
    let site = site();
    assert_fifty_in_groups(&site);
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
fn a_group_some_of_whose_names_are_taken_is_stored_whole() {
    let site = site();
    site.take_names(2);
    assert_fifty_in_groups(&site);
}

#[test]
fn an_upload_all_of_whose_names_are_taken_is_refused() {
    let site = site();
    site.take_names(2 * NAME_TRIES as usize);
    let grouped = site.upload_in_groups(1, 50).remove(0);
    for outcome in [site.upload(50), grouped] {
        let fault = outcome.expect_err("no name").to_string();
        assert!(fault.contains("3 random names were taken"), "{fault}");
    }
    assert_eq!(
        (site.rows(), site.used(), site.files(), site.spooled()),
        (0, 0, 0, 0)
    );
    assert!(site.upload(50).is_ok(), "others are free");
}

#[test]
fn a_group_that_cannot_be_placed_is_not_counted() {
    let site = site();
    let class = site.directory.path().join("docroot/p/d");
    std::fs::write(&class, "in the way").expect("written");
    for outcome in site.upload_in_groups(8, 50) {
        let fault = outcome.expect_err("no directory");
        assert!(
            matches!(fault, Fault::SaveImage(_) | Fault::CreateDirectory(_)),
            "{fault}"
        );
    }
    assert_eq!((site.rows(), site.used(), site.spooled()), (0, 0, 0));
    std::fs::remove_file(&class).expect("removed");
    for outcome in site.upload_in_groups(8, 50) {
        assert!(matches!(outcome, Ok(Outcome::Stored { .. })));
    }
    assert_eq!((site.rows(), site.used(), site.files()), (8, 8, 8));
}

#[test]
fn a_group_whose_sync_fails_is_refused_whole() {
    let site = site_with(Docroot::whose_group_sync_fails);
    for outcome in site.upload_in_groups(8, 50) {
        let fault = outcome.expect_err("not on disk");
        assert!(matches!(fault, Fault::SaveImage(_)), "{fault}");
    }
    assert_eq!((site.rows(), site.used(), site.spooled()), (0, 0, 0));
    assert!(!site.store.seals_together(), "another may lie");
    assert!(matches!(site.upload(50), Ok(Outcome::Stored { .. })));
}

#[test]
fn a_few_uploads_at_once_are_no_group() {
    let site = site();
    let begun: Vec<_> = (1..GROUP_FROM)
        .map(|_| site.committer.begin(site.received(50)).expect("begun"))
        .collect();
    for mut begun in begun {
        assert!(matches!(begun.way, Way::Alone(_)));
        begun.seal();
        begun.finish().expect("no fault");
    }
    assert_eq!(site.committer.under_way.load(Ordering::Relaxed), 0);
    assert_eq!(
        (site.rows(), site.files()),
        (GROUP_FROM - 1, GROUP_FROM - 1)
    );
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
fn an_upload_that_cannot_be_placed_is_not_counted() {
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
        .expect("mended");
    assert!(
        matches!(site.upload(50), Ok(Outcome::Stored { used: 1, .. })),
        "no restart is needed"
    );
}

#[test]
fn what_was_given_to_a_committer_is_finished_when_it_is_dropped() {
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
    assert_eq!(store.list("d/ap5").expect("listed").len(), 8);
    drop(directory);
}
