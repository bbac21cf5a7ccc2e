//! Whether uploads have to be compared with the block list.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ledger::{Ledger, LedgerError};

/// How long an answer counts. The first image that is blocked is refused a second later, each further one at once.
const VALID: Duration = Duration::from_secs(1);

/// Remembers whether any image is blocked, so that uploads are not hashed on a site that blocks none.
#[derive(Debug, Default)]
pub(crate) struct BlockList {
    asked: Mutex<Option<(Instant, bool)>>,
}

impl BlockList {
    /// Whether any image is blocked.
    pub(crate) fn is_used(&self, ledger: &dyn Ledger, now: Instant) -> Result<bool, LedgerError> {
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *asked();
        match known {
            Some((at, is_used)) if now.saturating_duration_since(at) < VALID => Ok(is_used),
            _ => {
                let is_used = ledger.has_blocked()?;
                *asked() = Some((now, is_used));
                Ok(is_used)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use crate::image_digest::ImageDigest;
    use crate::ledger::Takedown;
    use crate::ledger::testing::SqliteLedger;
    use time::macros::utc_datetime;

    #[test]
    fn a_change_of_another_process_is_seen_after_a_second() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("ledger.db");
        let now = utc_datetime!(2026-04-05 12:00);
        let [own, other] =
            [(); 2].map(|()| SqliteLedger::open(&path, Durability::Full, 1, now).expect("open"));
        let list = BlockList::default();
        let began = Instant::now();
        assert_eq!(list.is_used(&own, began), Ok(false));
        other
            .block(&[ImageDigest([1; 32])], None, now)
            .expect("blocked");
        assert_eq!(list.is_used(&own, began + VALID / 2), Ok(false));
        assert_eq!(list.is_used(&own, began + VALID), Ok(true));
    }
}
