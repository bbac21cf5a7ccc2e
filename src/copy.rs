//! Copies a ledger or a store into another of whichever kind: the rows in `rows`, the images in `images`.
//!
//! A copy can be ended at any time and goes on when it is repeated. Nothing changes in the source. Until the copy is complete, its target
//! has an identity that no pair accepts.

pub(crate) mod images;
pub(crate) mod rows;
mod sides;

use crate::identity::Identity;

/// The state of a target before the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// It is empty, or a copy that is not complete: what the source does not have is deleted in it.
    Unfinished,
    /// It was completed once: nothing is deleted or replaced in it, because it may have been in use since.
    Complete,
}

impl Target {
    /// Judges a target by its identity, of which `unfinished` is that of a copy that is not complete; `Err` says why nothing is copied.
    pub(crate) fn of(
        found: Option<Identity>,
        is_empty: bool,
        source: Identity,
        unfinished: Identity,
    ) -> Result<Self, &'static str> {
        match found {
            Some(found) if found == unfinished => Ok(Self::Unfinished),
            None if is_empty => Ok(Self::Unfinished),
            Some(found) if found.id != source.id => Err("it belongs to another site"),
            None => Err("it belongs to another site"),
            Some(found) if found.mark > source.mark => {
                Err("it was in use later than the one to be copied")
            }
            Some(_) => Ok(Self::Complete),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_of_another_site_or_a_later_one_is_refused() {
        let identity = |id, mark| Identity { id, mark };
        let of = |found, is_empty| Target::of(found, is_empty, identity(1, 5), identity(1, 0));
        assert_eq!(of(None, true), Ok(Target::Unfinished));
        assert_eq!(of(Some(identity(1, 0)), false), Ok(Target::Unfinished));
        for mark in [1, 5] {
            assert_eq!(of(Some(identity(1, mark)), false), Ok(Target::Complete));
        }
        for (found, is_empty) in [
            (None, false),
            (Some(identity(2, 0)), true),
            (Some(identity(1, 6)), false),
        ] {
            assert!(of(found, is_empty).is_err(), "{found:?}");
        }
    }
}
