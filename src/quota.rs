//! The daily quota of a client.

use crate::timestamp::Timestamp;

/// A client's uploads of one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Uploads allowed on the day.
    pub limit: u32,
    /// Images stored on the day.
    pub used: u32,
    /// The next UTC midnight.
    pub resets_at: Timestamp,
}

impl Quota {
    /// Uploads left today.
    pub const fn remaining(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }

    /// Whether no upload is left.
    #[must_use]
    pub const fn is_exceeded(self) -> bool {
        self.remaining() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_never_negative() {
        let quota = |limit, used| Quota {
            limit,
            used,
            resets_at: Timestamp(0),
        };
        assert_eq!(quota(50, 49).remaining(), 1);
        assert!(quota(50, 50).is_exceeded());
        assert!(quota(0, 0).is_exceeded());
        assert_eq!(
            quota(10, 50).remaining(),
            0,
            "a plan that was made smaller during the day"
        );
    }
}
