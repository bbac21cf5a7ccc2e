//! Whether a ledger and a store belong together.
//!
//! Both carry the same random id, made with them. Both also carry a mark that each start of the responder and each sweep increments, the
//! store's first and synced, then the ledger's. An older copy of either has the same id and a smaller mark: below a mount point whose
//! disk is not mounted, or from a backup.
//!
//! A copy that is only minutes older may have the same mark. No image is lost by that: a sweep deletes those without rows only when they
//! have expired.

use std::fmt;

use crate::random::{self, NoRandom};

/// The id and the mark of a ledger or a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Random, below 2⁶³.
    pub id: u64,
    /// 0 in a store whose ledger has not confirmed the id yet.
    pub mark: u64,
}

impl Identity {
    /// A new id with the mark 0.
    pub(crate) fn random() -> Result<Self, NoRandom> {
        let mut bytes = [0; 8];
        random::fill(&mut bytes)?;
        Ok(Self {
            id: u64::from_be_bytes(bytes) >> 1,
            mark: 0,
        })
    }

    /// The identity of a ledger that is an unfinished copy of this one's: its id is no store's.
    #[must_use]
    pub(crate) const fn unfinished(self) -> Self {
        Self {
            id: self.id ^ (1 << 62),
            mark: 0,
        }
    }

    /// The identity of a pair with the ledger's next mark. If a renewal was interrupted, the store has that mark already; a higher one
    /// would leave it two ahead after the next interruption.
    #[must_use]
    pub(crate) fn renewed(ledger: Option<Self>, store: Self) -> Self {
        Self {
            id: store.id,
            mark: ledger.map_or(store.mark, |ledger| ledger.mark) + 1,
        }
    }

    /// The identity with the next mark after those of both, which need not be a pair.
    #[must_use]
    pub(crate) fn joined(ledger: Option<Self>, store: Self) -> Self {
        let mark = ledger.map_or(0, |ledger| ledger.mark).max(store.mark);
        Self {
            id: store.id,
            mark: mark + 1,
        }
    }
}

/// `0123456789abcdef (mark 7)`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} (mark {})", self.id, self.mark)
    }
}

/// What is known of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LedgerState {
    /// There is none.
    Missing,
    /// It was made by a version without identities, or is new; `has_images` tells whether it has rows of images.
    Unnamed {
        /// Whether it has rows of images.
        has_images: bool,
    },
    /// It has an identity.
    Named(Identity),
}

/// What is known of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoreState {
    /// Its identity, if it has one.
    pub identity: Option<Identity>,
    /// Whether it has images, or had a ledger that confirmed its identity.
    pub has_images: bool,
}

/// How a ledger and a store that belong together stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// Both have the same identity.
    Complete,
    /// Neither the ledger nor, unless it is given here, the store has an identity yet.
    Unnamed(Option<Identity>),
}

/// Why a ledger and a store are not taken for a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// There is no ledger, but the store has images, or an id that a ledger has confirmed.
    LostLedger,
    /// The ledger has no identity, but the store has one: the ledger is not the store's.
    NewLedger,
    /// The ledger has an identity or images, but the store has neither.
    LostStore,
    /// The ids differ.
    OtherIds,
    /// The store's mark is behind the ledger's.
    OldStore,
    /// The ledger's mark is more than one behind the store's. A crash between the two writes leaves it one behind.
    OldLedger,
}

/// Decides whether a ledger and a store belong together.
pub(crate) fn check(ledger: LedgerState, store: StoreState) -> Result<Pair, Mismatch> {
    match (ledger, store.identity) {
        (LedgerState::Missing, _) if store.has_images => Err(Mismatch::LostLedger),
        (LedgerState::Missing, identity) => Ok(Pair::Unnamed(identity)),
        (LedgerState::Unnamed { has_images: true }, None) if !store.has_images => {
            Err(Mismatch::LostStore)
        }
        (LedgerState::Unnamed { .. }, None) => Ok(Pair::Unnamed(None)),
        (LedgerState::Unnamed { .. }, Some(identity)) if identity.mark == 0 => {
            Ok(Pair::Unnamed(Some(identity)))
        }
        (LedgerState::Unnamed { .. }, Some(_)) => Err(Mismatch::NewLedger),
        (LedgerState::Named(_), None) => Err(Mismatch::LostStore),
        (LedgerState::Named(ledger), Some(store)) => {
            if ledger.id != store.id {
                Err(Mismatch::OtherIds)
            } else if store.mark < ledger.mark {
                Err(Mismatch::OldStore)
            } else if store.mark - ledger.mark > 1 {
                Err(Mismatch::OldLedger)
            } else {
                Ok(Pair::Complete)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn identity(id: u64, mark: u64) -> Identity {
        Identity { id, mark }
    }

    const fn store(identity: Option<Identity>, has_images: bool) -> StoreState {
        StoreState {
            identity,
            has_images,
        }
    }

    #[test]
    fn a_new_site_and_an_old_installation_get_an_identity() {
        use LedgerState::{Missing, Unnamed};
        let fresh = Some(identity(1, 0));
        for (ledger, store, expected) in [
            (Missing, store(None, false), None),
            (Missing, store(fresh, false), fresh),
            (Unnamed { has_images: true }, store(None, true), None),
            (Unnamed { has_images: false }, store(None, true), None),
            (Unnamed { has_images: true }, store(fresh, true), fresh),
        ] {
            assert_eq!(check(ledger, store), Ok(Pair::Unnamed(expected)));
        }
    }

    #[test]
    fn a_crash_between_the_two_writes_is_no_mismatch() {
        let ledger = LedgerState::Named(identity(1, 7));
        for mark in [7, 8] {
            let store = store(Some(identity(1, mark)), true);
            assert_eq!(check(ledger, store), Ok(Pair::Complete));
        }
    }

    #[test]
    fn lost_old_and_other_halves_are_refused() {
        use LedgerState::{Missing, Named, Unnamed};
        let named = Named(identity(1, 7));
        for (ledger, store, mismatch) in [
            (Missing, store(None, true), Mismatch::LostLedger),
            (
                Missing,
                store(Some(identity(1, 7)), true),
                Mismatch::LostLedger,
            ),
            (
                Unnamed { has_images: false },
                store(Some(identity(1, 7)), true),
                Mismatch::NewLedger,
            ),
            (
                Unnamed { has_images: true },
                store(None, false),
                Mismatch::LostStore,
            ),
            (named, store(None, false), Mismatch::LostStore),
            (named, store(None, true), Mismatch::LostStore),
            (named, store(Some(identity(2, 7)), true), Mismatch::OtherIds),
            (named, store(Some(identity(1, 6)), true), Mismatch::OldStore),
            (
                named,
                store(Some(identity(1, 9)), true),
                Mismatch::OldLedger,
            ),
        ] {
            assert_eq!(check(ledger, store), Err(mismatch), "{ledger:?} {store:?}");
        }
    }

    #[test]
    fn a_joined_mark_is_ahead_of_both() {
        let store = identity(1, 8);
        assert_eq!(Identity::joined(None, store).mark, 9);
        assert_eq!(Identity::joined(Some(identity(1, 7)), store).mark, 9);
        assert_eq!(Identity::joined(Some(identity(1, 11)), store).mark, 12);
    }

    #[test]
    fn regression_two_interrupted_renewals_are_no_mismatch() {
        let ledger = identity(1, 7);
        let mut store = ledger;
        for _ in 0..3 {
            store = Identity::renewed(Some(ledger), store);
            let states = (
                LedgerState::Named(ledger),
                StoreState {
                    identity: Some(store),
                    has_images: true,
                },
            );
            assert_eq!(check(states.0, states.1), Ok(Pair::Complete), "{store}");
        }
        assert_eq!(store.mark, 8);
        assert_eq!(Identity::renewed(None, identity(1, 0)).mark, 1);
    }
}
