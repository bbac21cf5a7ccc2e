//! Instants in whole seconds of Unix time, as ledger and file times have them.

use std::fmt;
use std::str::FromStr;

use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcDateTime};

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The instant that lies so many seconds before this one.
    #[must_use]
    pub const fn minus(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// The UTC day; `None` outside the years that [`Date`] has.
    pub fn date(self) -> Option<Date> {
        Some(UtcDateTime::from_unix_timestamp(self.0).ok()?.date())
    }
}

impl From<UtcDateTime> for Timestamp {
    fn from(instant: UtcDateTime) -> Self {
        Self(instant.unix_timestamp())
    }
}

/// RFC 3339 in UTC, `2026-04-05T12:00:00Z`; the number of seconds where the year has more than four digits.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = UtcDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|instant| instant.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => self.0.fmt(f),
        }
    }
}

/// A text that is not an instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339, for example 2026-04-05T12:00:00Z")]
pub struct InvalidTime;

/// RFC 3339 with any offset. Fractions of a second are cut off.
impl FromStr for Timestamp {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTime)?;
        Ok(Self(instant.unix_timestamp()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_utc() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(i64::MAX).to_string(), i64::MAX.to_string());
    }

    #[test]
    fn timestamps_are_read_with_any_offset() {
        for text in ["2026-04-05T12:00:00Z", "2026-04-05T14:00:00.9+02:00"] {
            assert_eq!(text.parse(), Ok(Timestamp(1_775_390_400)), "{text}");
        }
        for wrong in ["", "2026-04-05", "2026-04-05T12:00:00", "1775390400"] {
            assert_eq!(wrong.parse::<Timestamp>(), Err(InvalidTime), "{wrong}");
        }
    }
}
