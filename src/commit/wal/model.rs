//! The log against a model: random sequences of uploads, refusals, deletions, quarantines, checkpoints and power cuts.
//!
//! Ledger and store are simulated with what a power cut leaves of each: the ledger keeps a prefix of its unsynced transactions, the store
//! any part of its unsynced files, and the log, whose files are real, any sectors of a batch that was not synced yet. The cut comes at a
//! call chosen at random, in recoveries too.

mod simulation;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv6Addr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use time::UtcDateTime;
use time::macros::utc_datetime;

use super::checkpoint::Checkpoints;
use super::log::Log;
use super::{Site, record, recovery};
use crate::expiry::StoreDuration;
use crate::image::ImageType;
use crate::image_path::ImagePath;
use crate::ledger::{ClientKey, Ledger, LoggedImage, NewImage, Quarantined, Takedown};
use crate::store::{Publication, Quarantine, Store};
use simulation::{Cut, Random, World};

const NOW: UtcDateTime = utc_datetime!(2026-04-05 12:00);

/// Bytes of a segment: few, so that each is used again soon.
const SEGMENT: u64 = 8 * 4096;

/// What is known of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// There is no reply, neither to the upload nor to a deletion.
    Pending,
    /// The reply was 200.
    Acknowledged,
    /// It was deleted, or refused: the reply says so.
    Gone,
    /// Its file was moved into quarantine, whether its row says so yet or not.
    Quarantined,
}

/// The images of a sequence, and the bytes of each.
#[derive(Debug, Default)]
struct Images(BTreeMap<ImagePath, (Known, Vec<u8>)>);

/// A process that uses log, ledger and store until the power is cut.
struct Process<'a> {
    world: &'a World,
    images: &'a mut Images,
    random: &'a mut Random,
    checkpoints: Checkpoints,
    next_lsn: u64,
}

#[test]
fn no_power_cut_loses_an_acknowledged_image_or_brings_a_deleted_one_back() {
    let sequences = std::env::var("MODEL_SEQUENCES").map_or(300, |text| {
        text.parse().expect("MODEL_SEQUENCES is a number")
    });
    let mut cuts = BTreeMap::new();
    for seed in 1..=sequences {
        sequence(seed, &mut cuts);
    }
    eprintln!("{sequences} sequences, power cuts by what was about to happen: {cuts:?}");
    for step in [
        "record",
        "append",
        "publish",
        "reply",
        "sync",
        "checkpoint",
        "reuse",
        "delete file",
        "delete row",
        "quarantine file",
        "quarantine row",
        "refund",
        "recovery: replay",
        "recovery: publish durably",
        "recovery: sync",
        "recovery: checkpoint",
    ] {
        let hits = cuts.get(step).copied().unwrap_or(0);
        assert!(hits >= 5, "{step} was cut {hits} times: {cuts:?}");
    }
}

/// A few processes, one after the other, each of which ends with a power cut.
fn sequence(seed: u64, cuts: &mut BTreeMap<String, u32>) {
    let mut random = Random::new(seed);
    let world = World::new();
    let mut images = Images::default();
    for _ in 0..4 {
        // Half of them come early, in a recovery.
        let latest = [12, 80][random.below(2)];
        world.cut_after(random.below(latest));
        let mut is_recovering = true;
        let cut = catch_unwind(AssertUnwindSafe(|| {
            let mut process = Process::start(&world, &mut images, &mut random);
            is_recovering = false;
            loop {
                process.act();
            }
        }));
        let cut: Result<Box<Cut>, _> = cut.map(|never: ()| never).expect_err("it ends").downcast();
        let Cut(step) = *cut.unwrap_or_else(|panic| {
            eprintln!("sequence {seed}");
            resume_unwind(panic)
        });
        let step = if is_recovering && !step.starts_with("recovery") {
            format!("recovery: {step}")
        } else {
            step.to_owned()
        };
        *cuts.entry(step).or_default() += 1;
        world.lose(&mut random);
        if random.chance(3) {
            check(seed, &world, &mut images, &mut random);
        }
    }
    check(seed, &world, &mut images, &mut random);
}

/// Recovers, and looks at everything. What has no reply may be there or not, but whole and counted.
fn check(seed: u64, world: &World, images: &mut Images, random: &mut Random) {
    world.cut_after(usize::MAX);
    drop(Process::start(world, images, random));
    assert_eq!(world.unsynced(), 0, "sequence {seed}");
    let rows: BTreeMap<_, _> = world
        .rows()
        .into_iter()
        .map(|row| (row.path.clone(), row))
        .collect();
    for (path, (known, bytes)) in &images.0 {
        let case = format!("sequence {seed}, {path}, {known:?}");
        let file = world.bytes(path);
        match known {
            Known::Acknowledged => {
                assert!(rows.contains_key(path), "{case}: no row");
                assert_eq!(file.as_ref(), Some(bytes), "{case}");
            }
            Known::Gone => {
                assert!(!rows.contains_key(path), "{case}: a row");
                assert_eq!(file, None, "{case}");
            }
            Known::Quarantined => {
                assert!(rows.contains_key(path), "{case}: no row");
                assert_eq!(file, None, "{case}: it is served");
                assert_eq!(
                    world.quarantined_bytes(path).as_ref(),
                    Some(bytes),
                    "{case}"
                );
            }
            Known::Pending => assert!(
                file.is_none() || (rows.contains_key(path) && file.as_ref() == Some(bytes)),
                "{case}"
            ),
        }
    }
    let (counted, expected) = world.quota();
    assert_eq!(counted, expected, "sequence {seed}: quota");
    // What a sweep does: rows without files are refunded.
    let files = world.files();
    let lost: Vec<_> = rows
        .into_keys()
        .filter(|path| !files.contains(path) && world.quarantined_bytes(path).is_none())
        .collect();
    world.refund(&lost).expect("refunded");
    for path in lost {
        images.0.get_mut(&path).expect("known").0 = Known::Gone;
    }
}

impl<'a> Process<'a> {
    /// Opens the log and recovers.
    fn start(world: &'a World, images: &'a mut Images, random: &'a mut Random) -> Self {
        let log = Log::open_with(&world.log(), 1, true, SEGMENT);
        let mut log = log.expect("open").expect("made");
        let marks = world.log_marks().expect("readable").expect("some");
        let recovered = recovery::recover(&mut log, marks, world, world).expect("recovered");
        // A checkpoint is due whenever it is asked for.
        log.close();
        Self {
            world,
            images,
            random,
            next_lsn: recovered.last_lsn + 1,
            checkpoints: Checkpoints {
                log: Arc::new(log),
                site: Site {
                    ledger: Arc::new(world.clone()),
                    store: Arc::new(world.clone()),
                    clock: || NOW,
                    observe: Arc::new(|_| {}),
                },
            },
        }
    }

    fn act(&mut self) {
        match self.random.below(11) {
            0..5 => self.upload(),
            5 | 6 => self.delete(),
            7 => self.quarantine(),
            8 | 9 => self.checkpoint(),
            _ => self.upload_directly(),
        }
    }

    fn image(&mut self) -> NewImage {
        let duration = StoreDuration::ALL[self.random.below(4)];
        let path = ImagePath::random(duration, NOW.date(), 10, ImageType::Png).expect("random");
        let bytes: Vec<u8> = (0..=self.random.below(6_000))
            .map(|_| u8::try_from(1 + self.random.below(255)).expect("a byte"))
            .collect();
        let size = bytes.len() as u64;
        self.images.0.insert(path.clone(), (Known::Pending, bytes));
        NewImage {
            path,
            client: ClientKey(1),
            daily_limit: 1,
            max_storage: None,
            size,
            width: 1,
            height: 1,
            address: self.random.chance(2).then_some(Ipv6Addr::LOCALHOST),
            key: None,
        }
    }

    /// A batch: rows, records, then each its file and its reply. Some cannot be published.
    fn upload(&mut self) {
        let batch: Vec<_> = (0..=self.random.below(3)).map(|_| self.image()).collect();
        let first = self.next_lsn;
        self.next_lsn += batch.len() as u64;
        let last = self.next_lsn - 1;
        self.world
            .record_unsynced(&batch, NOW, last)
            .expect("recorded");
        let mut records = Vec::new();
        for (lsn, image) in (first..).zip(&batch) {
            let row = LoggedImage::of(image, NOW.into());
            let (_, bytes) = &self.images.0[&image.path];
            record::encode(&mut records, lsn, &row, bytes, lsn == last);
        }
        if self.checkpoints.log.would_wait(records.len()) {
            self.checkpoint();
        }
        let paths: Vec<_> = batch.iter().map(|image| image.path.clone()).collect();
        let is_cut = self.world.is_cut();
        let before = self.world.segments();
        let unpublished = self.checkpoints.log.append(&records, last, paths);
        if is_cut {
            let is_reused = simulation::tear(&before, self.random);
            resume_unwind(Box::new(Cut(if is_reused { "reuse" } else { "append" })));
        }
        for image in &batch {
            let known = if self.random.chance(6) {
                self.world
                    .refund(std::slice::from_ref(&image.path))
                    .expect("refunded");
                Known::Gone
            } else {
                self.publish(image, World::publish_unsynced);
                Known::Acknowledged
            };
            self.reply(&image.path, known);
        }
        drop(unpublished.expect("appended"));
    }

    /// What a process does that does not hold the log.
    fn upload_directly(&mut self) {
        let image = self.image();
        self.world
            .record(std::slice::from_ref(&image), NOW)
            .expect("recorded");
        self.publish(&image, |store, upload| {
            store.publish(&mut [upload]).remove(0)
        });
        self.reply(&image.path, Known::Acknowledged);
    }

    fn publish<E: std::fmt::Debug>(
        &self,
        image: &NewImage,
        publish: impl FnOnce(&World, Publication<'_>) -> Result<(), E>,
    ) {
        let mut spool = self.world.spool().expect("a spool");
        let (_, bytes) = &self.images.0[&image.path];
        spool.write_all(bytes).expect("written");
        let upload = Publication {
            spool: &mut spool,
            path: &image.path,
            expiry: image.path.duration().expiry(NOW),
        };
        publish(self.world, upload).expect("published");
    }

    fn reply(&mut self, path: &ImagePath, known: Known) {
        self.world.before("reply");
        self.images.0.get_mut(path).expect("known").0 = known;
    }

    /// One of the images that are served.
    fn any_image(&mut self) -> Option<ImagePath> {
        let there: Vec<_> = self
            .images
            .0
            .iter()
            .filter(|(_, (known, _))| *known == Known::Acknowledged)
            .map(|(path, _)| path.clone())
            .collect();
        let chosen = self.random.below(there.len().max(1));
        there.into_iter().nth(chosen)
    }

    /// Once its file was moved, the image is never served again, whatever is cut off.
    fn quarantine(&mut self) {
        let Some(path) = self.any_image() else {
            return;
        };
        let paths = std::slice::from_ref(&path);
        let moved = self.world.quarantine(paths).remove(0);
        assert!(moved.expect("moved"), "{path} is not served");
        self.images.0.get_mut(&path).expect("known").0 = Known::Quarantined;
        let quarantine = Quarantined {
            at: NOW.into(),
            until: None,
            reason: None,
            with_client: false,
        };
        self.world
            .set_quarantine(paths, &quarantine, true)
            .expect("marked");
    }

    fn delete(&mut self) {
        let Some(path) = self.any_image() else {
            return;
        };
        self.images.0.get_mut(&path).expect("known").0 = Known::Pending;
        let paths = std::slice::from_ref(&path);
        self.world.delete(paths).remove(0).expect("deleted");
        self.world.delete_rows(paths).expect("deleted");
        self.reply(&path, Known::Gone);
    }

    fn checkpoint(&mut self) {
        if let Some(filled) = self.checkpoints.log.take_due() {
            self.checkpoints
                .make_durable(&filled, &mut self.random.chance(8))
                .expect("durable");
            self.checkpoints.log.release(filled);
        }
    }
}
