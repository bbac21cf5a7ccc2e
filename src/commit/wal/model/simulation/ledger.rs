//! The ledger of a simulated host: the verbs that the write-ahead log calls.

use time::{Date, UtcDateTime};

use super::{Rows, World};
use crate::auth::TokenDigest;
use crate::delete_key::SECRET_BYTES;
use crate::expiry::Expiry;
use crate::idempotency::Fingerprint;
use crate::identity::Identity;
use crate::image_digest::ImageDigest;
use crate::image_path::ImagePath;
use crate::ledger::{
    Account, Blocked, ClientKey, ClientRow, Deleted, Expired, FoundImage, ImageFilter, ImageRow,
    KeyedUpload, Ledger, LedgerError, Listing, LogMarks, LoggedImage, NewImage, Owner, Purge,
    Quarantined, Status, StorageDifference, Swept, Takedown, TakedownCounts, TokenAdded,
    TokenRemoved, TokenRow, TokenUse, Tokens, UsageRow, Verdict,
};
use crate::timestamp::Timestamp;

impl Ledger for World {
    fn record(&self, batch: &[NewImage], now: UtcDateTime) -> Result<Vec<Verdict>, LedgerError> {
        self.before("record");
        Ok(self.commit(true, |rows| record(rows, batch, now)))
    }

    fn record_unsynced(
        &self,
        batch: &[NewImage],
        now: UtcDateTime,
        last_lsn: u64,
    ) -> Result<Vec<Verdict>, LedgerError> {
        self.before("record");
        Ok(self.commit(false, |rows| {
            rows.recorded = rows.recorded.max(last_lsn);
            record(rows, batch, now)
        }))
    }

    fn log_marks(&self) -> Result<Option<LogMarks>, LedgerError> {
        let state = self.state();
        let rows = state.last();
        Ok(Some(LogMarks {
            log_id: 1,
            recorded: rows.recorded,
            checkpointed: rows.checkpointed,
        }))
    }

    fn replay(&self, images: &[LoggedImage], last_lsn: u64) -> Result<usize, LedgerError> {
        self.before("recovery: replay");
        Ok(self.commit(true, |rows| {
            rows.recorded = rows.recorded.max(last_lsn);
            let mut new = 0;
            for image in images {
                let before = rows.images.insert(image.path.clone(), image.clone());
                assert_eq!(before, None, "a row above the mark was not lost");
                new += 1;
            }
            rows.used += new;
            new
        }))
    }

    fn checkpoint(&self, lsn: u64) -> Result<(), LedgerError> {
        self.before("checkpoint");
        self.commit(true, |rows| {
            rows.checkpointed = rows.checkpointed.max(lsn);
        });
        Ok(())
    }

    fn refund(&self, paths: &[ImagePath]) -> Result<usize, LedgerError> {
        self.before("refund");
        Ok(self.commit(true, |rows| {
            let refunded = paths.iter().filter_map(|path| rows.images.remove(path));
            let refunded = refunded.count();
            rows.used -= refunded;
            refunded
        }))
    }

    fn delete_rows(&self, paths: &[ImagePath]) -> Result<Deleted, LedgerError> {
        self.before("delete row");
        self.commit(true, |rows| {
            let deleted = paths.iter().filter_map(|path| rows.images.remove(path));
            rows.deleted += deleted.count();
        });
        Ok(Deleted::default())
    }

    fn image(&self, path: &ImagePath) -> Result<Option<ImageRow>, LedgerError> {
        let state = self.state();
        let rows = state.last();
        Ok(rows.images.get(path).map(|row| ImageRow {
            path: row.path.clone(),
            client: "a".to_owned(),
            owner: row.client,
            client_removed_at: None,
            size: row.size,
            width: row.width,
            height: row.height,
            uploaded_at: row.uploaded_at,
            expires_at: row.expiry().map(Expiry::instant),
            address: row.address,
            quarantine: rows.quarantine.get(path).cloned(),
        }))
    }

    fn update_identity(
        &self,
        _: &mut dyn FnMut(Option<Identity>) -> Result<Identity, LedgerError>,
    ) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn set_dimensions(&self, _: &[(&ImagePath, (u32, u32))]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn delete_secret(&self) -> Result<[u8; SECRET_BYTES], LedgerError> {
        unreachable!()
    }

    fn set_created_at(&self, _: UtcDateTime) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn account(&self, _: &str, _: UtcDateTime) -> Result<Option<Account>, LedgerError> {
        unreachable!()
    }

    fn expired(
        &self,
        _: UtcDateTime,
        _: Option<&Expired>,
        _: u32,
    ) -> Result<Vec<Expired>, LedgerError> {
        unreachable!()
    }

    fn expired_count(&self, _: UtcDateTime) -> Result<u64, LedgerError> {
        unreachable!()
    }

    fn keyed_upload(
        &self,
        _: ClientKey,
        _: Fingerprint,
        _: Timestamp,
    ) -> Result<Option<KeyedUpload>, LedgerError> {
        unreachable!()
    }

    fn forget(&self, _: Timestamp, _: Timestamp, _: u32) -> Result<(usize, usize), LedgerError> {
        unreachable!()
    }

    fn storage_differences(&self, _: bool) -> Result<Vec<StorageDifference>, LedgerError> {
        unreachable!()
    }

    fn list(&self, _: &Listing) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn images(&self, _: &ImageFilter) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn adopt(
        &self,
        _: &[FoundImage],
        _: &str,
        _: &str,
        _: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn add_client(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
    ) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn set_plan(&self, _: &str, _: &str) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn set_disabled(&self, _: &str, _: bool, _: UtcDateTime) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn remove_client(&self, _: &str, _: UtcDateTime) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn clients_named(&self, _: &str) -> Result<Vec<(ClientKey, Option<Timestamp>)>, LedgerError> {
        unreachable!()
    }

    fn clients(&self, _: UtcDateTime) -> Result<Vec<ClientRow>, LedgerError> {
        unreachable!()
    }

    fn usage(&self, _: Option<&Owner>, _: Option<Date>) -> Result<Vec<UsageRow>, LedgerError> {
        unreachable!()
    }

    fn status(&self) -> Result<Status, LedgerError> {
        unreachable!()
    }

    fn finish_sweep(&self, _: Swept, _: Option<UtcDateTime>) -> Result<(), LedgerError> {
        unreachable!()
    }
}

impl Tokens for World {
    fn add_token(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        unreachable!()
    }

    fn rotate_token(
        &self,
        _: &str,
        _: &str,
        _: TokenDigest,
        _: UtcDateTime,
        _: UtcDateTime,
    ) -> Result<TokenAdded, LedgerError> {
        unreachable!()
    }

    fn remove_token(&self, _: &str, _: &str) -> Result<TokenRemoved, LedgerError> {
        unreachable!()
    }

    fn tokens(&self, _: &str, _: UtcDateTime) -> Result<Option<Vec<TokenRow>>, LedgerError> {
        unreachable!()
    }

    fn note_token_uses(&self, _: &[TokenUse]) -> Result<(), LedgerError> {
        unreachable!()
    }
}

impl Takedown for World {
    fn takedown_counts(&self) -> Result<TakedownCounts, LedgerError> {
        unreachable!()
    }

    fn set_quarantine(
        &self,
        paths: &[ImagePath],
        quarantine: &Quarantined,
        _: bool,
    ) -> Result<usize, LedgerError> {
        self.before("quarantine row");
        Ok(self.commit(true, |rows| {
            for path in paths {
                rows.quarantine.insert(path.clone(), quarantine.clone());
            }
            paths.len()
        }))
    }

    fn end_quarantine(&self, _: &[ImagePath]) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn quarantined(&self, _: Option<&ImagePath>, _: u32) -> Result<Vec<ImageRow>, LedgerError> {
        unreachable!()
    }

    fn block(
        &self,
        _: &[ImageDigest],
        _: Option<&str>,
        _: UtcDateTime,
    ) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn unblock(&self, _: &[ImageDigest]) -> Result<usize, LedgerError> {
        unreachable!()
    }

    fn has_blocked(&self) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn is_blocked(&self, _: &[ImageDigest]) -> Result<bool, LedgerError> {
        unreachable!()
    }

    fn blocked(&self) -> Result<Vec<Blocked>, LedgerError> {
        unreachable!()
    }

    fn queue_purges(&self, _: &[ImagePath], _: UtcDateTime) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn claim_purges(
        &self,
        _: UtcDateTime,
        _: UtcDateTime,
        _: u32,
    ) -> Result<Vec<Purge>, LedgerError> {
        unreachable!()
    }

    fn defer_purges(&self, _: &[(ImagePath, UtcDateTime)]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn finish_purges(&self, _: &[Purge]) -> Result<(), LedgerError> {
        unreachable!()
    }

    fn waiting_purges(&self) -> Result<(u64, Option<Timestamp>), LedgerError> {
        unreachable!()
    }
}

fn record(rows: &mut Rows, batch: &[NewImage], now: UtcDateTime) -> Vec<Verdict> {
    batch
        .iter()
        .map(|image| {
            let row = LoggedImage::of(image, now.into());
            rows.images.insert(image.path.clone(), row);
            rows.used += 1;
            Verdict::Recorded { used: 1 }
        })
        .collect()
}
