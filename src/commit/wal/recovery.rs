//! Recovery: makes ledger and store agree with the log after a crash or a power cut.
//!
//! ```text
//! record above the ledger's mark      its row was lost: it is inserted, and its quota counted
//! record up to the mark, with a row   its file is compared with the record, and written anew if it differs
//! record up to the mark, no row       the image was deleted, or its upload refused: nothing is done
//! image in quarantine                 its bytes are durable, and it must not be served: nothing is done
//! ```
//!
//! Deletions are durable together with the mark of every earlier row, so a deleted image is never taken for one whose row was lost.

use std::io::{self, Read, Write};

use super::log::Log;
use super::record::{self, Record};
use super::segment::Segment;
use crate::error::Fault;
use crate::ledger::{Ledger, LogMarks};
use crate::store::{Publication, PublishError, Store};

/// What a recovery did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// Records that were not checkpointed.
    pub records: u64,
    /// Rows that were inserted.
    pub rows: u64,
    /// Files that were missing, short or different, and were written anew.
    pub files: u64,
    /// The highest LSN that was ever used.
    pub(crate) last_lsn: u64,
}

/// Recovers from a log to which this process has appended nothing. Afterwards all of it is checkpointed.
pub(super) fn recover(
    log: &mut Log,
    marks: LogMarks,
    ledger: &dyn Ledger,
    store: &dyn Store,
) -> Result<Recovered, Fault> {
    let mut recovered = Recovered {
        last_lsn: marks.recorded.max(marks.checkpointed),
        ..Recovered::default()
    };
    for segment in unfinished(log.segments(), marks.checkpointed).map_err(Fault::SaveImage)? {
        let bytes = segment.read().map_err(Fault::SaveImage)?;
        let records: Vec<_> = record::records(&bytes).collect();
        let Some(last) = records.last() else {
            continue;
        };
        let lost: Vec<_> = records
            .iter()
            .filter(|record| record.lsn > marks.recorded)
            .map(|record| record.row.clone())
            .collect();
        if !lost.is_empty() {
            recovered.rows += ledger.replay(&lost, last.lsn)? as u64;
        }
        let mut paths = Vec::with_capacity(records.len());
        for record in &records {
            if !is_served(record, ledger, store)? {
                continue;
            }
            if !is_intact(record, store).map_err(Fault::SaveImage)? {
                rewrite(record, ledger, store)?;
                recovered.files += 1;
            }
            paths.push(record.row.path.clone());
        }
        store.sync(&paths).map_err(Fault::saving)?;
        recovered.records += records.len() as u64;
        recovered.last_lsn = recovered.last_lsn.max(last.lsn);
    }
    if recovered.records > 0 {
        ledger.checkpoint(recovered.last_lsn)?;
    }
    Ok(recovered)
}

/// The segments with records that are not checkpointed, in the order of LSNs. A checkpoint covers whole segments, so one that begins at
/// or below the mark ends there, too.
pub(super) fn unfinished(segments: &[Segment], checkpointed: u64) -> io::Result<Vec<&Segment>> {
    let mut unfinished = Vec::new();
    for segment in segments {
        let first = segment.first_lsn()?;
        unfinished.extend(first.filter(|&lsn| lsn > checkpointed).zip(Some(segment)));
    }
    unfinished.sort_unstable_by_key(|&(lsn, _)| lsn);
    Ok(unfinished.into_iter().map(|(_, segment)| segment).collect())
}

/// Writes the file of a record, whose row exists, whatever lies at its path.
pub(super) fn rewrite(
    record: &Record<'_>,
    ledger: &dyn Ledger,
    store: &dyn Store,
) -> Result<(), Fault> {
    let path = &record.row.path;
    let expiry = record.row.expiry();
    let mut spool = store.spool().map_err(Fault::saving)?;
    spool.write_all(record.image).map_err(Fault::saving)?;
    store
        .prepare(&mut [(&mut spool, expiry)])
        .map_err(Fault::saving)?;
    let mut publish = || {
        let publication = Publication {
            spool: &mut spool,
            path,
            expiry,
        };
        store.publish(&mut [publication]).remove(0)
    };
    match publish() {
        Err(PublishError::NameTaken) => {
            delete(record, store)?;
            publish()?;
        }
        other => other?,
    }
    // The image may have been deleted or quarantined since its row was looked up.
    if !is_served(record, ledger, store)? {
        delete(record, store)?;
    }
    Ok(())
}

/// Whether the image of a record has its row, not that of a later image which got its path, and is not in quarantine. A quarantine that
/// was cut off has moved the file and not yet marked the row.
pub(super) fn is_served(
    record: &Record<'_>,
    ledger: &dyn Ledger,
    store: &dyn Store,
) -> Result<bool, Fault> {
    let path = &record.row.path;
    let row = ledger.image(path)?;
    let is_served = row.is_some_and(|row| {
        row.owner == record.row.client
            && row.size == record.row.size
            && row.uploaded_at == record.row.uploaded_at
            && row.quarantine.is_none()
    });
    let in_quarantine = || store.stat_quarantined(path).map_err(Fault::SaveImage);
    Ok(is_served && in_quarantine()?.is_none())
}

fn is_intact(record: &Record<'_>, store: &dyn Store) -> io::Result<bool> {
    let path = &record.row.path;
    let Some(stored) = store.stat(path)? else {
        return Ok(false);
    };
    let expiry = record.row.expiry();
    if stored.size != record.row.size
        || expiry.is_some_and(|expiry| stored.expires_at != expiry.instant())
    {
        return Ok(false);
    }
    let mut bytes = Vec::with_capacity(record.image.len());
    store.read(path)?.read_to_end(&mut bytes)?;
    Ok(bytes == record.image)
}

fn delete(record: &Record<'_>, store: &dyn Store) -> Result<(), Fault> {
    let deleted = store.delete(std::slice::from_ref(&record.row.path));
    deleted
        .into_iter()
        .try_for_each(|deleted| deleted.map(drop).map_err(Fault::SaveImage))
}
