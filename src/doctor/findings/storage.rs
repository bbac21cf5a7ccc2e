//! Docroot, spool, room and file systems.

use super::super::Finding;
use super::super::access::Want;
use super::super::facts::{Facts, Place, Room};
use super::super::mounts::Trait;
use super::{bytes, is_denied};

/// Files that can still be made, below which it is getting tight.
const FEW_FILES: u64 = 10_000;

/// Room that the ledger should have, in bytes.
const LEDGER_ROOM: u64 = 128 << 20;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![writable(facts), one_file_system(facts)];
    findings.extend(file_systems(facts));
    findings.push(space(facts));
    findings.extend(files(facts));
    findings.extend(ledger_space(facts));
    findings
}

fn writable(facts: &Facts) -> Finding {
    let check = "docroot";
    let places = &facts.places;
    let path = places.docroot.path.display();
    match &places.docroot.way {
        Ok(_) => {}
        Err(why) if is_denied(why) => return Finding::skip(check, why),
        Err(why) => {
            return Finding::fail(
                check,
                why,
                format!("make it, or mount its disk: `install -d -o corenexis-cdn {path}`"),
            );
        }
    }
    let service = match &facts.service {
        Ok(service) => service,
        Err(why) => return Finding::skip(check, why),
    };
    for place in [&places.spool, &places.images]
        .into_iter()
        .chain(&places.classes)
    {
        let way = match &place.way {
            Ok(way) => way,
            // Only its owner looks into the spool.
            Err(why) => return Finding::skip(check, why),
        };
        let mount = place.mount.as_ref();
        if let Some(mount) = mount.filter(|mount| mount.read_only) {
            return Finding::fail(
                check,
                format!(
                    "{} lies on {}, which is mounted read-only",
                    place.path.display(),
                    mount.point.display()
                ),
                "a disk with errors is mounted so by itself: look at `dmesg`, then `mount -o remount,rw`",
            );
        }
        let refused = way
            .obstacle(service, Want::Fill)
            .map(|obstacle| obstacle.to_string())
            .or_else(|| match &place.writable {
                Some(Err(why)) if facts.examiner.uid == service.uid => {
                    Some(format!("cannot write to {}: {why}", place.path.display()))
                }
                _ => None,
            });
        if let Some(refused) = refused {
            return Finding::fail(
                check,
                format!("{}, who runs the responder, {refused}", service.name),
                format!(
                    "`chown -R {} {path}/.spool {path}/p`, and `chmod u+rwx` on it",
                    service.name
                ),
            );
        }
    }
    Finding::ok(check, format!("{} can write to {path}", service.name))
}

fn one_file_system(facts: &Facts) -> Finding {
    let check = "one file system";
    let places = &facts.places;
    let Some(spool) = places.spool.device else {
        return Finding::skip(
            check,
            format!("{} could not be looked at", places.spool.path.display()),
        );
    };
    let others = [&places.images].into_iter().chain(&places.classes);
    let elsewhere = others
        .filter(|place| place.device.is_some_and(|device| device != spool))
        .map(|place| place.path.display().to_string());
    match elsewhere.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => Finding::ok(check, "uploads are renamed into their places"),
        elsewhere => Finding::fail(
            check,
            format!(
                "{elsewhere} lies on another file system than {}, and an upload cannot be renamed across",
                places.spool.path.display()
            ),
            "mount the disk at the docroot itself, with .spool/ and p/ on it",
        ),
    }
}

fn file_systems(facts: &Facts) -> Vec<Finding> {
    let places = &facts.places;
    let named = [
        ("docroot", &places.images),
        ("ledger", &places.ledger_directory),
    ];
    let findings: Vec<_> = named
        .into_iter()
        .filter_map(|(what, place)| file_system(what, place))
        .collect();
    if findings.is_empty() {
        let kinds: Vec<_> = named
            .iter()
            .filter_map(|(what, place)| Some(format!("{what} on {}", place.mount.as_ref()?.kind)))
            .collect();
        return vec![match kinds.join(", ") {
            none if none.is_empty() => Finding::skip("file systems", "they could not be looked at"),
            kinds => Finding::ok("file systems", kinds),
        }];
    }
    findings
}

fn file_system(what: &str, place: &Place) -> Option<Finding> {
    let check = "file systems";
    let mount = place.mount.as_ref()?;
    let seen = format!(
        "the {what} lies on {} ({})",
        mount.kind,
        mount.point.display()
    );
    Some(match mount.nature()? {
        Trait::Network if what == "ledger" => Finding::fail(
            check,
            format!("{seen}, a network file system: SQLite's write-ahead log does not work there"),
            "set [ledger] path to a local disk, and move the ledger there while the responder is stopped",
        ),
        Trait::Network => Finding::warn(
            check,
            format!(
                "{seen}, a network file system: whether an image is on disk when it says so is up to its server"
            ),
            "use a local disk, or make sure that the server does not acknowledge early (NFS: `sync`)",
        ),
        Trait::Volatile => Finding::warn(
            check,
            format!("{seen}, in memory: a restart loses it"),
            "use a disk, unless this is a trial",
        ),
        Trait::NoJournal => Finding::warn(
            check,
            format!("{seen}, which has no journal: a power cut may damage it"),
            "use ext4, XFS or Btrfs",
        ),
        Trait::Layer => Finding::warn(
            check,
            format!("{seen}, the layer of a container: it goes with the container"),
            "mount a volume there, unless this is a trial",
        ),
    })
}

fn space(facts: &Facts) -> Finding {
    let check = "free space";
    let min_free = facts.config.storage.min_free();
    let Some(room) = facts.places.docroot.room else {
        return Finding::skip(check, "the docroot could not be looked at");
    };
    let left = format!(
        "{} of {} are free",
        bytes(room.free_bytes),
        bytes(room.bytes)
    );
    if room.free_bytes < min_free {
        Finding::fail(
            check,
            format!(
                "{left}, less than min_free ({}): uploads are refused",
                bytes(min_free)
            ),
            "make room, or lower [storage] min_free; `corenexis-cdn sweep` deletes what has expired",
        )
    } else if room.free_bytes < min_free.saturating_mul(2) {
        Finding::warn(
            check,
            format!("{left}, and below {} uploads are refused", bytes(min_free)),
            "make room soon, or lower [storage] min_free",
        )
    } else {
        Finding::ok(check, left)
    }
}

fn files(facts: &Facts) -> Option<Finding> {
    let check = "free inodes";
    let room = facts.places.docroot.room?;
    let Room {
        files, free_files, ..
    } = room;
    if files == 0 {
        return Some(Finding::ok(
            check,
            "this file system has no fixed number of them",
        ));
    }
    let left = format!("{free_files} of {files} are free");
    let advice = "each image takes one: delete files, or use a file system without a fixed number (XFS, Btrfs)";
    Some(if free_files == 0 {
        Finding::fail(check, format!("{left}: no file can be made"), advice)
    } else if free_files < FEW_FILES.min(files / 20) {
        Finding::warn(check, left, advice)
    } else {
        Finding::ok(check, left)
    })
}

/// The ledger may lie elsewhere, and then has a disk of its own to fill.
fn ledger_space(facts: &Facts) -> Option<Finding> {
    let place = &facts.places.ledger_directory;
    let room = place.room?;
    (room.free_bytes < LEDGER_ROOM).then(|| {
        Finding::warn(
            "ledger space",
            format!(
                "{} has only {} left",
                place.path.display(),
                bytes(room.free_bytes)
            ),
            "make room there: without it no upload can be recorded",
        )
    })
}
