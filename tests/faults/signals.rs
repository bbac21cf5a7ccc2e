//! SIGKILL and SIGTERM during uploads.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::invariants::{Installation, assert_invariants};
use crate::times;
use crate::uploads::{CROWD, Random, UPLOADERS, Uploads, unlimited_with_restarts};

/// Kills per site. Every file and row is checked after each kill, so more of them on one site would take ever longer.
const KILLS_OF_A_SITE: u32 = 100;

/// Totals over all kills.
#[derive(Debug, Default)]
struct Killed {
    acknowledged: usize,
    /// Spool files that the sweep deleted.
    left: usize,
    /// Rows without files that the sweep deleted.
    withdrawn: u64,
}

#[test]
fn sigkill_loses_no_acknowledged_upload() {
    let kills = times("FAULTS_KILLS", 12);
    let mut random = Random::new();
    let mut found = Killed::default();
    let began = Instant::now();
    let mut left = kills;
    while left > 0 {
        let now = left.min(KILLS_OF_A_SITE);
        kill(now, &mut random, &mut found);
        left -= now;
        eprintln!("{} kills: {found:?}", kills - left);
    }
    eprintln!(
        "{kills} kills under {UPLOADERS} and {CROWD} uploaders in {:.0} s: {} images acknowledged, 0 lost, 0 partial, the ledger intact each time; \
         the sweep cleared {} files from the spool and withdrew {} rows without files",
        began.elapsed().as_secs_f64(),
        found.acknowledged,
        found.left,
        found.withdrawn,
    );
}

/// Kills the responder of one site `kills` times.
fn kill(kills: u32, random: &mut Random, found: &mut Killed) {
    // Group commit needs a host with little to write back.
    rustix::fs::sync();
    let mut site = unlimited_with_restarts().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    for kill in 1..=kills {
        let before = uploads.len();
        let uploaders = if kill % 2 == 0 { CROWD } else { UPLOADERS };
        uploads.during(&site, uploaders, 9_000, || {
            uploads.wait_for(1);
            thread::sleep(Duration::from_micros(random.below(120_000)));
            site.signal(Signal::KILL);
        });
        assert_eq!(site.wait_for_end().code(), None);
        // Before the next responder opens the ledger.
        assert_invariants(&mut installation, &uploads.acknowledged(before));
        if kill % 50 == 0 || kill == kills {
            found.left += installation.spooled();
            let report = installation.sweep_removes_leftovers();
            found.withdrawn += report["withdrawn"].as_u64().unwrap_or(0);
        }
        forget_log(&site);
        site.start_responder();
    }
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    assert_eq!(uploads.upload(&site, 9_000), 200, "after the last kill");
    found.acknowledged += uploads.len();
}

#[test]
fn sigterm_leaves_no_partial_upload() {
    let mut site = unlimited_with_restarts().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    for _ in 0..times("FAULTS_TERMS", 4) {
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 60_000, || {
            uploads.wait_for(UPLOADERS);
            site.signal(Signal::TERM);
            // Uploads go on without a responder.
            thread::sleep(Duration::from_millis(20));
        });
        assert_eq!(site.wait_for_end().code(), Some(0));
        assert_invariants(&mut installation, &uploads.acknowledged(before));
        let (_, rows) = installation.quota_and_rows();
        assert_eq!(
            (rows, installation.spooled()),
            (installation.files().len() as u64, 0)
        );
        site.start_responder();
    }
    assert_eq!(uploads.upload(&site, 9_000), 200);
}

/// Empties the responder's log, which is read whole at each start.
fn forget_log(site: &support::site::Site) {
    let log = File::options()
        .write(true)
        .open(site.root.join("responder.log"));
    log.and_then(|log| log.set_len(0)).expect("the log");
}
