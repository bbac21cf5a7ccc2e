//! Power cuts at each step of the write-ahead log: the responder is stopped before a system call, the disk is copied, and the copy is
//! recovered and checked.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::invariants::{Installation, assert_invariants};
use crate::power_cuts::{copy_of, until_stopped};
use crate::shim::Shim;
use crate::times;
use crate::uploads::{Uploads, unlimited};
use crate::volume::Volume;
use support::machine::until;
use support::site::Site;

/// The steps, by the system call before which the power is cut.
const STEPS: [(&str, &str, &str); 8] = [
    ("record", "write", "/ledger.db-wal"),
    ("append", "write", "/ledger.db-log/"),
    ("sync of the log", "sync", "/ledger.db-log/"),
    ("rename", "mark", "/.spool/"),
    ("reply", "write", "socket:"),
    // The dirty pages are looked up before the files are synced.
    ("sync of the files", "open", "/proc/meminfo"),
    ("sync of the ledger", "sync", "/ledger.db-wal"),
    ("reuse of a segment", "rewrite", "/ledger.db-log/"),
];

/// A site whose disk can be copied, and the library that stops its responder.
fn site() -> Option<(Volume, Shim, Site)> {
    let shim = Shim::build()?;
    let volume = Volume::make(512)?;
    let site = shim
        .preload(unlimited())
        .docroot(&volume.directory("docroot"))
        .ledger(&volume.directory("ledger"))
        .start();
    let directory = std::fs::File::open(site.docroot()).expect("the docroot");
    rustix::fs::syncfs(&directory).expect("synced");
    Some((volume, shim, site))
}

#[test]
fn a_power_cut_at_any_step_of_the_log_loses_no_acknowledged_upload() {
    let Some((volume, shim, site)) = site() else {
        return;
    };
    let uploads = Uploads::default();
    let cuts = times("FAULTS_STEP_CUTS", 5);
    let (mut recovered, mut interrupted) = (0, 0);
    for number in 0..cuts {
        for (step, call, part) in STEPS {
            let (acknowledged, left) = uploads.during(&site, 4, 7_000, || {
                wait_for_uploads(&uploads, &site);
                shim.stop_before(call, part);
                until(step, || is_stopped(site.responder_id()).then_some(()));
                until_stopped(site.responder_id());
                let acknowledged = uploads.acknowledged(0);
                let left = volume.after_a_power_cut();
                assert_eq!(shim.heal(), 1, "before the {step}");
                site.signal(Signal::CONT);
                (acknowledged, left)
            });
            let installation = copy_of(&site, &volume, &left);
            // Every other recovery is cut off by another power cut.
            let again = (number % 2 == 1).then(|| cut_recovery(&shim, &installation, &left));
            let second = again.flatten();
            interrupted += u32::from(second.is_some());
            let mut installation = match &second {
                Some(second) => copy_of(&site, &volume, second),
                None => installation,
            };
            let output = installation.recover();
            assert!(output.status.success(), "before the {step}: {output:?}");
            recovered += u32::from(!output.stderr.is_empty());
            assert_invariants(&mut installation, &acknowledged);
            installation.sweep_removes_leftovers();
        }
    }
    assert!(recovered > 0, "no recovery had anything to do");
    let refused = uploads.take_refusals();
    assert!(refused.is_empty(), "{refused:?}");
    eprintln!(
        "{cuts} power cuts before each of: {}; {recovered} recoveries brought rows or files back, {interrupted} were cut off first; \
         {} images acknowledged, 0 lost",
        STEPS.map(|(step, ..)| step).join(", "),
        uploads.len()
    );
}

/// Waits for six uploads. A second thread may have been about to stop the responder when it was continued.
fn wait_for_uploads(uploads: &Uploads, site: &Site) {
    let enough = uploads.len() + 6;
    until("uploads", || {
        if is_stopped(site.responder_id()) {
            site.signal(Signal::CONT);
        }
        (uploads.len() >= enough).then_some(())
    });
}

/// Recovers a copy until it writes its first file, and cuts the power there; `None` if it writes none.
fn cut_recovery(shim: &Shim, installation: &Installation, left: &Volume) -> Option<Volume> {
    shim.stop_before("write", "/.spool/");
    let mut command: Command = installation.command(&["image", "list", "--limit", "1"]);
    let command = shim.preload_into(&mut command).stdout(Stdio::null());
    let mut recovery = command.spawn().expect("the program starts");
    let is_stopped = until("the end or a stop of the recovery", || {
        let has_ended = recovery.try_wait().expect("its state").is_some();
        (has_ended || is_stopped(recovery.id())).then_some(!has_ended)
    });
    let second = is_stopped.then(|| {
        until_stopped(recovery.id());
        left.after_a_power_cut()
    });
    shim.heal();
    if is_stopped {
        let pid = Pid::from_raw(recovery.id().cast_signed()).expect("a process id");
        kill_process(pid, Signal::KILL).expect("killed");
        recovery.wait().expect("its end");
    }
    second
}

fn is_stopped(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next();
    state.is_some_and(|state| state.trim().starts_with('T'))
}

#[test]
fn an_image_deleted_while_its_record_is_in_the_log_stays_deleted_after_a_power_cut() {
    let Some((volume, _shim, site)) = site() else {
        return;
    };
    let uploads = Uploads::default();
    let mut deleted = Vec::new();
    for round in 0..times("FAULTS_STEP_CUTS", 5) {
        for _ in 0..4 {
            assert_eq!(uploads.upload(&site, 7_000), 200);
        }
        let last = uploads.acknowledged(0).pop().expect("an image");
        site.run(&["image", "delete", &last.path]);
        deleted.push(last);
        site.signal(Signal::STOP);
        until_stopped(site.responder_id());
        let left = volume.after_a_power_cut();
        site.signal(Signal::CONT);
        let mut installation = copy_of(&site, &volume, &left);
        let output = installation.recover();
        assert!(output.status.success(), "{output:?}");
        let kept = uploads.acknowledged(0);
        let kept: Vec<_> = kept
            .into_iter()
            .filter(|image| !deleted.contains(image))
            .collect();
        let broken = installation.violations(&kept);
        assert!(broken.is_empty(), "round {round}: {}", broken.join("\n"));
        for image in &deleted {
            assert!(!installation.file(&image.path).exists(), "{image:?}");
        }
        let (counted, rows) = installation.quota_and_rows();
        assert_eq!(
            (counted - rows, rows),
            (deleted.len() as u64, kept.len() as u64)
        );
    }
}
