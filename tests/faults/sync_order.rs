//! The order of syncs, renames and replies, as strace(1) shows it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::failing_calls::attach_strace;
use crate::uploads::{Uploads, unlimited, until_checkpointed};
use support::machine::end;
use support::site::Site;

/// A system call, with the lines of the trace at which it began and ended.
#[derive(Debug)]
struct Call {
    text: String,
    began: usize,
    ended: usize,
}

/// The calls of one upload of `size` bytes, and their trace; `None` after a skip.
fn upload(size: usize) -> Option<(Vec<Call>, String)> {
    let uploads = Uploads::default();
    let trace = trace(&uploads, |site, _| {
        assert_eq!(uploads.upload(site, size), 200);
    })?;
    Some((calls(&trace), trace))
}

#[track_caller]
fn find<'a>(calls: &'a [Call], what: &str, is: &dyn Fn(&str) -> bool) -> &'a Call {
    let call = calls.iter().find(|call| is(&call.text));
    call.unwrap_or_else(|| panic!("no {what} in {calls:#?}"))
}

#[test]
fn the_reply_to_a_small_upload_follows_the_sync_of_the_log() {
    let Some((calls, trace)) = upload(20_000) else {
        return;
    };
    let find = |what: &str, is: &dyn Fn(&str) -> bool| find(&calls, what, is);
    let writes = |text: &str| text.starts_with("pwrite64(");
    let row = find("write of the row", &|text| {
        writes(text) && text.contains("ledger.db-wal")
    });
    let record = find("write of the record", &|text| {
        writes(text) && text.contains("/ledger.db-log/")
    });
    let sync = find("sync of the log", &|text| {
        text.starts_with("fdatasync(") && text.contains("/ledger.db-log/")
    });
    let name = find("rename", &|text| {
        text.starts_with("rename") && text.contains("/.spool/")
    });
    let reply = find("reply", &|text| text.contains(r#"\"status\":\"success\""#));
    for (first, second) in [(row, record), (record, sync), (sync, name), (name, reply)] {
        assert!(
            first.ended < second.began,
            "{first:?}, {second:?}:\n{trace}"
        );
    }
    assert!(sync.text.ends_with("= 0"), "{sync:?}");
    let before_the_reply = calls.iter().filter(|call| call.began < reply.began);
    let synced = before_the_reply.filter(|call| call.text.contains("sync"));
    assert_eq!(synced.count(), 1, "one sync:\n{trace}");
}

#[test]
fn the_reply_to_a_large_upload_follows_the_syncs_of_bytes_row_and_name() {
    let Some((calls, trace)) = upload(300_000) else {
        return;
    };
    let find = |what: &str, is: &dyn Fn(&str) -> bool| find(&calls, what, is);
    let syncs = |text: &str| text.starts_with("fsync(") || text.starts_with("fdatasync(");
    let reply = find("reply", &|text| text.contains(r#"\"status\":\"success\""#));
    let file = find("sync of the file", &|text| {
        syncs(text) && text.contains("/.spool/")
    });
    let ledger = find("sync of the ledger", &|text| {
        syncs(text) && text.contains("ledger.db-wal")
    });
    let name = find("rename", &|text| {
        text.starts_with("rename") && text.contains("/.spool/")
    });
    let directory = find("sync of the directory", &|text| {
        syncs(text) && text.contains("/docroot/p/")
    });
    let shown: BTreeMap<_, _> = [file, ledger, name, directory, reply]
        .into_iter()
        .map(|call| (call.ended, call.text.chars().take(160).collect::<String>()))
        .collect();
    eprintln!(
        "one upload:\n{}",
        shown.into_values().collect::<Vec<_>>().join("\n")
    );
    for (what, call) in [
        ("file", file),
        ("ledger", ledger),
        ("name", name),
        ("directory", directory),
    ] {
        assert!(
            call.ended < reply.began,
            "the {what} comes after the reply:\n{trace}"
        );
        assert!(call.text.ends_with("= 0"), "the {what}: {}", call.text);
    }
    // The rename follows the syncs of bytes and row, and precedes the sync of the directory.
    assert!(
        file.ended < name.began,
        "the name came before the bytes:\n{trace}"
    );
    assert!(
        ledger.ended < name.began,
        "the name came before the row:\n{trace}"
    );
    assert!(
        name.ended < directory.began,
        "the directory came before the name:\n{trace}"
    );
}

/// The system calls of a responder during `event`; `None` after a skip where strace is not available.
fn trace(uploads: &Uploads, event: impl FnOnce(&Site, &Path)) -> Option<String> {
    let site = unlimited().start();
    // The day directories exist, as they do after the first uploads of a day.
    for _ in 0..4 {
        assert_eq!(uploads.upload(&site, 20_000), 200);
    }
    until_checkpointed(&site);
    let log = site.root.join("strace.log");
    let traced = "trace=fsync,fdatasync,syncfs,pwrite64,sync_file_range,rename,renameat,renameat2,link,linkat,write,writev,sendto,sendmsg";
    let file = log.to_str().expect("a path in UTF-8");
    let arguments = [
        "-y",
        "-s",
        "2000",
        "-e",
        "signal=none",
        "-e",
        traced,
        "-o",
        file,
    ];
    let mut strace = attach_strace(&site, arguments)?;
    event(&site, &log);
    end(&mut strace);
    Some(fs::read_to_string(&log).expect("a trace"))
}

/// Parses a trace of `strace -f`: a call interrupted by another thread ends on a later line.
fn calls(trace: &str) -> Vec<Call> {
    let mut begun: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    let mut calls = Vec::new();
    for (line, text) in trace.lines().enumerate() {
        let Some((thread, text)) = text.split_once(' ') else {
            continue;
        };
        let text = text.trim();
        if let Some(beginning) = text.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (line, beginning.trim_end().to_owned()));
        } else if text.starts_with("<... ") {
            let Some((began, beginning)) = begun.remove(thread) else {
                continue;
            };
            let end = text.split_once("resumed>").map_or("", |(_, end)| end);
            let text = beginning + end;
            calls.push(Call {
                text,
                began,
                ended: line,
            });
        } else {
            let (began, ended, text) = (line, line, text.to_owned());
            calls.push(Call { text, began, ended });
        }
    }
    calls
}
