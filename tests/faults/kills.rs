//! Signals in the midst of uploads: SIGKILL at any instant, and SIGTERM.

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::promise::{Place, holds};
use crate::times;
use crate::uploads::{CROWD, Moments, UPLOADERS, Uploads, endless_with_ends};

/// Kills of one site; the next ones are those of a new site, because each is followed by a look at every file and row.
const KILLS_OF_A_SITE: u32 = 100;

/// What was found after so many kills.
#[derive(Debug, Default)]
struct Killed {
    acknowledged: usize,
    /// Files that the sweep cleared from the spool.
    left: usize,
    /// Rows that never got their files.
    withdrawn: u64,
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let kills = times("FAULTS_KILLS", 12);
    let mut moments = Moments::new();
    let mut found = Killed::default();
    let began = Instant::now();
    let mut left = kills;
    while left > 0 {
        let now = left.min(KILLS_OF_A_SITE);
        kill(now, &mut moments, &mut found);
        left -= now;
        eprintln!("{} kills: {found:?}", kills - left);
    }
    eprintln!(
        "{kills} kills under {UPLOADERS} and {CROWD} uploaders in {:.0} s: {} images acknowledged, 0 lost, 0 partial, the ledger sound each time; \
         the sweep cleared {} files from the spool and withdrew {} rows without files",
        began.elapsed().as_secs_f64(),
        found.acknowledged,
        found.left,
        found.withdrawn,
    );
}

/// Kills a site so many times.
fn kill(kills: u32, moments: &mut Moments, found: &mut Killed) {
    // Where much waits to be written, by whomever, a crowd's uploads would not be committed in groups.
    rustix::fs::sync();
    let mut site = endless_with_ends().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    for kill in 1..=kills {
        let before = uploads.len();
        let uploaders = if kill % 2 == 0 { CROWD } else { UPLOADERS };
        uploads.during(&site, uploaders, 9_000, || {
            uploads.wait_for(1);
            thread::sleep(Duration::from_micros(moments.below(120_000)));
            site.signal(Signal::KILL);
        });
        assert_eq!(site.wait_for_end().code(), None);
        // Before the next responder opens the ledger.
        holds(&mut place, &uploads.acknowledged(before));
        if kill % 50 == 0 || kill == kills {
            found.left += place.spooled();
            let report = place.sweep_clears_what_was_left();
            found.withdrawn += report["withdrawn"].as_u64().unwrap_or(0);
        }
        forget_log(&site);
        site.start_responder();
    }
    holds(&mut place, &uploads.acknowledged(0));
    assert_eq!(uploads.upload(&site, 9_000), 200, "after the last kill");
    found.acknowledged += uploads.len();
}

#[test]
fn terminations_leave_nothing_behind() {
    let mut site = endless_with_ends().start();
    let mut place = Place::of(&site);
    let uploads = Uploads::default();
    for _ in 0..times("FAULTS_TERMS", 4) {
        let before = uploads.len();
        uploads.during(&site, UPLOADERS, 60_000, || {
            uploads.wait_for(UPLOADERS);
            site.signal(Signal::TERM);
            // Uploads go on, to nobody.
            thread::sleep(Duration::from_millis(20));
        });
        assert_eq!(site.wait_for_end().code(), Some(0));
        holds(&mut place, &uploads.acknowledged(before));
        let (_, rows) = place.quota_and_rows();
        assert_eq!((rows, place.spooled()), (place.files().len() as u64, 0));
        site.start_responder();
    }
    assert_eq!(uploads.upload(&site, 9_000), 200);
}

/// Begins the responder's log anew; it is read whole whenever a responder starts.
fn forget_log(site: &support::site::Site) {
    let log = File::options()
        .write(true)
        .open(site.root.join("responder.log"));
    log.and_then(|log| log.set_len(0)).expect("the log");
}
