//! When tokens were last used, to the hour. Requests note it in memory; a thread of its own writes it to the ledger, so that no request
//! waits for that.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use time::UtcDateTime;

use crate::auth::TokenDigest;
use crate::ledger::{ClientKey, Ledger, LedgerError, TokenUse};
use crate::log::Line;
use crate::timestamp::Timestamp;

/// Seconds of an hour: a token is written once in each.
const HOUR: i64 = 3600;

/// How often the responder writes what was noted.
const PAUSE: Duration = Duration::from_secs(5);

/// The tokens that were used since this process started.
#[derive(Debug, Default)]
pub(crate) struct TokenUses(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    /// The hour in which a token was last used. It has an entry for each token that was valid once.
    hours: HashMap<(ClientKey, TokenDigest), i64>,
    unwritten: Vec<TokenUse>,
}

impl TokenUses {
    /// Notes that a valid token was used.
    pub(crate) fn note(&self, client: ClientKey, token: TokenDigest, now: UtcDateTime) {
        let hour = now.unix_timestamp().div_euclid(HOUR) * HOUR;
        let mut noted = self.lock();
        if noted.hours.insert((client, token), hour) != Some(hour) {
            noted.unwritten.push(TokenUse {
                client,
                token,
                at: Timestamp(hour),
            });
        }
    }

    /// Writes what was noted since the last time. What cannot be written is kept for the next time, with a line in the log.
    pub(crate) fn write_or_log(&self, ledger: &dyn Ledger) {
        if let Err(error) = self.write(ledger) {
            Line::new(UtcDateTime::now(), "token_uses_not_written")
                .field("cause", error)
                .write();
        }
    }

    fn write(&self, ledger: &dyn Ledger) -> Result<(), LedgerError> {
        let mut uses = mem::take(&mut self.lock().unwritten);
        if uses.is_empty() {
            return Ok(());
        }
        let outcome = ledger.note_token_uses(&uses);
        if outcome.is_err() {
            self.lock().unwritten.append(&mut uses);
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what is noted, as long as the ledger is in use. It is held while it is written only, so that it is closed at the end of the
/// process.
pub(crate) fn write_while_in_use(uses: &Arc<TokenUses>, ledger: &Weak<dyn Ledger>) {
    while let Some(ledger) = ledger.upgrade() {
        uses.write_or_log(&*ledger);
        drop(ledger);
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    #[test]
    fn a_token_is_written_once_an_hour() {
        let uses = TokenUses::default();
        let token = TokenDigest([1; 32]);
        let unwritten = || mem::take(&mut uses.lock().unwritten);
        let noted = |client, at: UtcDateTime| TokenUse {
            client: ClientKey(client),
            token,
            at: at.into(),
        };
        for now in [
            utc_datetime!(2026-04-05 12:00),
            utc_datetime!(2026-04-05 12:59:59),
        ] {
            uses.note(ClientKey(1), token, now);
            uses.note(ClientKey(2), token, now);
        }
        let noon = utc_datetime!(2026-04-05 12:00);
        assert_eq!(unwritten(), [noted(1, noon), noted(2, noon)]);
        uses.note(ClientKey(1), token, utc_datetime!(2026-04-05 12:30));
        assert_eq!(unwritten(), []);
        uses.note(ClientKey(1), token, utc_datetime!(2026-04-05 13:00:01));
        assert_eq!(unwritten(), [noted(1, utc_datetime!(2026-04-05 13:00))]);
    }
}
