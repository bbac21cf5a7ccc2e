//! Failing system calls of an upload: EIO, ENOSPC, EDQUOT, EROFS, EMFILE and ENFILE at each of them.

use std::process::{Child, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::invariants::{Installation, assert_invariants};
use crate::shim::Shim;
use crate::uploads::{UPLOADERS, Uploads, unlimited, unlimited_with_restarts, until_checkpointed};
use support::machine::{end, until};
use support::site::Site;
use support::skip;

/// Bytes of an image that goes through the write-ahead log, and of one that is synced by itself.
const SMALL: usize = 9_000;
const LARGE: usize = 270_000;

const SAVE: &str = r#"500 {"error":"Failed to save image"}"#;
const DIRECTORY: &str = r#"500 {"error":"Failed to create directory"}"#;
const STORAGE: &str = r#"500 {"error":"Insufficient storage"}"#;
const INTERNAL: &str = r#"500 {"error":"Internal server error"}"#;

#[test]
fn failing_calls_refuse_the_upload_and_leave_nothing() {
    let Some(shim) = Shim::build() else {
        return;
    };
    let site = shim.preload(unlimited()).start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    // The directories of all classes exist before the faults.
    for _ in 0..4 {
        assert_eq!(uploads.upload(&site, 9_000), 200);
    }
    for (size, call, part, errno, answers) in [
        (SMALL, "sync", "/ledger.db-log/", Errno::IO, &[SAVE][..]),
        (SMALL, "write", "/ledger.db-log/", Errno::IO, &[SAVE]),
        (SMALL, "write", "/ledger.db-log/", Errno::NOSPC, &[STORAGE]),
        (SMALL, "write", "/ledger.db-log/", Errno::ROFS, &[SAVE]),
        (SMALL, "write", "/.spool/", Errno::IO, &[SAVE]),
        (SMALL, "write", "/ledger.db-wal", Errno::IO, &[INTERNAL]),
        (SMALL, "write", "/ledger.db-wal", Errno::NOSPC, &[STORAGE]),
        (SMALL, "open", "/.spool/", Errno::MFILE, &[SAVE]),
        (LARGE, "sync", "/.spool/", Errno::IO, &[SAVE]),
        (LARGE, "sync", "/p/", Errno::IO, &[DIRECTORY, SAVE]),
        (LARGE, "sync", "/ledger.db-wal", Errno::IO, &[INTERNAL]),
        (LARGE, "write", "/.spool/", Errno::IO, &[SAVE]),
        (LARGE, "write", "/.spool/", Errno::NOSPC, &[STORAGE]),
        (LARGE, "write", "/.spool/", Errno::DQUOT, &[STORAGE]),
        (LARGE, "write", "/ledger.db-wal", Errno::IO, &[INTERNAL]),
        (LARGE, "write", "/ledger.db-wal", Errno::NOSPC, &[STORAGE]),
        (LARGE, "write", "/ledger.db-wal", Errno::ROFS, &[INTERNAL]),
        (LARGE, "open", "/.spool/", Errno::NFILE, &[SAVE]),
        (LARGE, "open", "/.spool/", Errno::ROFS, &[SAVE]),
        (LARGE, "open", "/p/", Errno::MFILE, &[DIRECTORY, SAVE]),
    ] {
        let case = format!("{call} {part} {errno:?}, {size} bytes");
        // Once: a retried fsync succeeds although the data is lost.
        for times in [1, u32::MAX >> 1] {
            let before = uploads.len();
            if times == 1 {
                // Again where the responder met it by itself: in a checkpoint, in a log that grows, in the note of a token's use.
                until(&case, || {
                    shim.fail(call, part, errno.raw_os_error(), times);
                    let status = uploads.upload(&site, size);
                    assert!(shim.heal() > 0, "{case} was never met");
                    (status == 500).then_some(())
                });
            } else {
                shim.fail(call, part, errno.raw_os_error(), times);
                for _ in 0..8 {
                    assert_eq!(uploads.upload(&site, size), 500, "{case}");
                }
                assert!(shim.heal() > 0, "{case} was never met");
            }
            for answer in uploads.take_refusals().keys() {
                assert!(answers.contains(&answer.as_str()), "{case}: {answer}");
            }
            assert_eq!(installation.spooled(), 0, "{case}");
            assert_eq!(uploads.upload(&site, size), 200, "after {case}");
            assert_invariants(&mut installation, &uploads.acknowledged(before));
            let (_, rows) = installation.quota_and_rows();
            assert_eq!(rows, installation.files().len() as u64, "{case}");
        }
        let before = uploads.len();
        // The fault comes and goes under concurrent uploads.
        uploads.during(&site, UPLOADERS, size, || {
            uploads.wait_for(5);
            shim.fail(call, part, errno.raw_os_error(), 10);
            uploads.wait_for(20);
        });
        assert!(shim.heal() > 0, "{case} was never met among many");
        uploads.take_refusals();
        assert_invariants(&mut installation, &uploads.acknowledged(before));
    }
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    installation.sweep_removes_leftovers();
}

#[test]
fn a_checkpoint_that_fails_is_repeated_and_refuses_no_upload_meanwhile() {
    let Some(shim) = Shim::build() else {
        return;
    };
    let site = shim.preload(unlimited()).start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    // Small uploads need no sync of the ledger's WAL; the checkpoint does.
    shim.fail(
        "sync",
        "/ledger.db-wal",
        Errno::IO.raw_os_error(),
        u32::MAX >> 1,
    );
    until("a checkpoint that fails", || {
        assert_eq!(uploads.upload(&site, SMALL), 200);
        let log = site.responder_log();
        log.contains("event=checkpoint_failed").then_some(())
    });
    assert!(shim.heal() > 0);
    until_checkpointed(&site);
    assert_invariants(&mut installation, &uploads.acknowledged(0));
    installation.sweep_removes_leftovers();
}

#[test]
fn failing_renames_refuse_the_upload_and_leave_nothing() {
    let site = unlimited().start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    assert_eq!(uploads.upload(&site, 9_000), 200);
    for errno in ["EIO", "ENOSPC", "EROFS", "EDQUOT"] {
        let inject = format!("inject=renameat2:error={errno}");
        let arguments = ["-o", "/dev/null", "-e", "trace=renameat2", "-e", &inject];
        let Some(mut strace) = attach_strace(&site, arguments) else {
            return;
        };
        for _ in 0..4 {
            assert_eq!(uploads.upload(&site, 9_000), 500, "{errno}");
        }
        end(&mut strace);
        for answer in uploads.take_refusals().keys() {
            assert!(
                [SAVE, STORAGE].contains(&answer.as_str()),
                "{errno}: {answer}"
            );
        }
        assert_eq!(installation.spooled(), 0, "{errno}");
        assert_eq!(uploads.upload(&site, 9_000), 200, "after {errno}");
        assert_invariants(&mut installation, &uploads.acknowledged(0));
        let (_, rows) = installation.quota_and_rows();
        assert_eq!(rows, installation.files().len() as u64, "{errno}");
    }
    installation.sweep_removes_leftovers();
}

/// Attaches strace to all threads of the responder; `None` after a [`skip`] where that is not possible.
pub(crate) fn attach_strace<'a>(
    site: &Site,
    arguments: impl IntoIterator<Item = &'a str>,
) -> Option<Child> {
    if Command::new("strace").arg("-V").output().is_err() {
        skip("strace is not installed");
        return None;
    }
    let mut strace = Command::new("strace")
        .args(["-f", "-qq"])
        .args(arguments)
        .arg("-p")
        .arg(site.responder_id().to_string())
        .stdin(Stdio::null())
        .spawn()
        .expect("strace starts");
    if !traced(site, &mut strace) {
        skip("processes may not be traced here");
        return None;
    }
    Some(strace)
}

/// Waits until every thread of the responder is traced; `false` if the tracer ended instead.
fn traced(site: &Site, tracer: &mut Child) -> bool {
    let tasks = format!("/proc/{}/task", site.responder_id());
    until("the tracer", || {
        if tracer.try_wait().expect("its state").is_some() {
            return Some(false);
        }
        std::fs::read_dir(&tasks)
            .expect("the responder")
            .flatten()
            .map(|task| std::fs::read_to_string(task.path().join("status")).unwrap_or_default())
            .all(|status| !status.contains("TracerPid:\t0"))
            .then_some(true)
    })
}

/// RLIMIT_NOFILE of the running responder is lowered to the descriptors it has open, and raised again.
#[test]
fn uploads_go_on_after_descriptors_ran_out() {
    let site = unlimited_with_restarts()
        .expect("recv() failed")
        .expect("upstream timed out")
        .start();
    let mut installation = Installation::of(&site);
    let uploads = Uploads::default();
    let pid = Pid::from_raw(site.responder_id().cast_signed());
    let usual = getrlimit(Resource::Nofile);
    let limit = |current| {
        let limit = Rlimit {
            current,
            maximum: usual.maximum,
        };
        prlimit(pid, Resource::Nofile, limit).expect("the limit is set");
    };
    for round in 0..6 {
        let before = uploads.len();
        let open = std::fs::read_dir(format!("/proc/{}/fd", site.responder_id()))
            .expect("the responder")
            .count() as u64;
        uploads.during(&site, UPLOADERS, 9_000, || {
            uploads.wait_for(5);
            limit(Some(open + round));
            std::thread::sleep(std::time::Duration::from_millis(250));
            limit(usual.current);
            uploads.wait_for(20);
        });
        assert_invariants(&mut installation, &uploads.acknowledged(before));
    }
    assert_eq!(uploads.upload(&site, 9_000), 200);
    // An upload that nginx gave up may still be on its way.
    until("no spool file", || {
        (installation.spooled() == 0).then_some(())
    });
    installation.sweep_removes_leftovers();
}
