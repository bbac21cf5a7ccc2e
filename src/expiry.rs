//! How long images are kept, and when they expire.
//!
//! Arithmetic on dates; nothing reads a clock.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};
use time::{Date, Month, UtcDateTime};

use crate::timestamp::Timestamp;

/// The `expires_at` of a lifetime image, as the API writes it.
pub(crate) const NEVER_EXPIRES: &str = "Never (Lifetime)";

/// Seconds in a UTC day. Unix time has no leap seconds, so every day is this long.
pub(crate) const DAY_SECONDS: i64 = 86_400;

/// How long an image is kept: the `store_duration` of the upload API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreDuration {
    /// `7D`: seven days.
    Days7,
    /// `1M`: one calendar month.
    Month1,
    /// `3M`: three calendar months.
    Months3,
    /// `LTF`: for ever.
    Lifetime,
}

impl StoreDuration {
    /// Every duration, shortest first.
    pub const ALL: [Self; 4] = [Self::Days7, Self::Month1, Self::Months3, Self::Lifetime];

    /// The value of `store_duration` that asks for this duration.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Days7 => "7D",
            Self::Month1 => "1M",
            Self::Months3 => "3M",
            Self::Lifetime => "LTF",
        }
    }

    /// When an image uploaded at `now` expires; `None` for a lifetime image.
    ///
    /// A calendar month later means the same day of the month, or that month's last day where it is shorter:
    /// 31 January + 1 month is 28 or 29 February.
    pub fn expiry(self, now: UtcDateTime) -> Option<Expiry> {
        let today = now.date();
        let last_day = match self {
            Self::Days7 => today.saturating_add(time::Duration::days(7)),
            Self::Month1 => add_months(today, 1),
            Self::Months3 => add_months(today, 3),
            Self::Lifetime => return None,
        };
        Some(Expiry { last_day })
    }
}

impl fmt::Display for StoreDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A `store_duration` that is none of `7D`, `1M`, `3M`, `LTF`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a storage duration: use 7D, 1M, 3M or LTF")]
pub struct UnknownDuration;

impl FromStr for StoreDuration {
    type Err = UnknownDuration;

    fn from_str(code: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|duration| duration.code() == code)
            .ok_or(UnknownDuration)
    }
}

impl<'de> Deserialize<'de> for StoreDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        code.parse()
            .map_err(|error| de::Error::custom(format!("{code:?} is {error}")))
    }
}

/// When an image expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry {
    last_day: Date,
}

impl Expiry {
    /// The last UTC day on which the image is served: the `expires_at` of the reply.
    pub const fn last_day(self) -> Date {
        self.last_day
    }

    /// The first instant at which the image is no longer served: the midnight (UTC) that ends [`Self::last_day`].
    pub fn instant(self) -> Timestamp {
        Timestamp(unix_midnight(self.last_day) + DAY_SECONDS)
    }

    /// The expiry whose [`Self::instant`] is `instant`; `None` if that is not a UTC midnight in the years 0 to 9999.
    pub fn from_instant(instant: Timestamp) -> Option<Self> {
        if instant.0.rem_euclid(DAY_SECONDS) != 0 {
            return None;
        }
        Some(Self {
            last_day: instant.date()?.previous_day()?,
        })
    }
}

impl fmt::Display for Expiry {
    /// The date as the API writes it, `2026-04-12`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.last_day.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}

/// The `expires_at` of an image as the API writes it: the last day, or that it never expires. A file whose modification time was lost may
/// have been adopted with another instant than midnight, which is written whole.
pub(crate) fn expires_at(instant: Option<Timestamp>) -> String {
    match instant {
        None => NEVER_EXPIRES.to_owned(),
        Some(at) => Expiry::from_instant(at).map_or_else(|| at.to_string(), |day| day.to_string()),
    }
}

/// The Unix time of the midnight that begins `day`, UTC.
pub(crate) fn unix_midnight(day: Date) -> i64 {
    day.midnight().as_utc().unix_timestamp()
}

fn add_months(date: Date, months: u8) -> Date {
    let (mut year, mut month, day) = date.to_calendar_date();
    for _ in 0..months {
        if month == Month::December {
            year += 1;
        }
        month = month.next();
    }
    Date::from_calendar_date(year, month, day.min(month.length(year))).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{date, utc_datetime};

    fn last_day(duration: StoreDuration, now: UtcDateTime) -> Date {
        duration
            .expiry(now)
            .expect("an expiring duration")
            .last_day()
    }

    #[test]
    fn durations_are_read_exactly() {
        for duration in StoreDuration::ALL {
            assert_eq!(duration.code().parse(), Ok(duration));
        }
        for wrong in ["", "7d", "7D ", "ltf", "2M", "07D", "7D\0"] {
            assert_eq!(
                wrong.parse::<StoreDuration>(),
                Err(UnknownDuration),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn months_are_clamped_to_their_last_day() {
        use StoreDuration::{Days7, Month1, Months3};
        let cases = [
            (
                Days7,
                utc_datetime!(2025-05-05 23:59:59),
                date!(2025 - 05 - 12),
            ),
            (Days7, utc_datetime!(2024-02-26 0:00), date!(2024 - 03 - 04)),
            (
                Days7,
                utc_datetime!(2026-12-28 12:00),
                date!(2027 - 01 - 04),
            ),
            (
                Month1,
                utc_datetime!(2025-01-31 0:00),
                date!(2025 - 02 - 28),
            ),
            (
                Month1,
                utc_datetime!(2024-01-31 0:00),
                date!(2024 - 02 - 29),
            ),
            (
                Month1,
                utc_datetime!(2025-12-31 0:00),
                date!(2026 - 01 - 31),
            ),
            (
                Month1,
                utc_datetime!(2024-02-29 0:00),
                date!(2024 - 03 - 29),
            ),
            (
                Months3,
                utc_datetime!(2025-11-30 0:00),
                date!(2026 - 02 - 28),
            ),
            (
                Months3,
                utc_datetime!(2027-11-30 0:00),
                date!(2028 - 02 - 29),
            ),
            (
                Months3,
                utc_datetime!(2025-03-31 0:00),
                date!(2025 - 06 - 30),
            ),
        ];
        for (duration, now, expected) in cases {
            assert_eq!(last_day(duration, now), expected, "{duration} after {now}");
        }
        assert_eq!(
            StoreDuration::Lifetime.expiry(utc_datetime!(2025-01-01 0:00)),
            None
        );
    }

    #[test]
    fn an_image_lives_through_the_whole_of_its_last_day() {
        let expiry = StoreDuration::Days7
            .expiry(utc_datetime!(2025-05-05 13:00))
            .expect("expires");
        assert_eq!(expiry.to_string(), "2025-05-12");
        assert_eq!(
            expiry.instant(),
            Timestamp::from(utc_datetime!(2025-05-13 0:00))
        );
        assert_eq!(Expiry::from_instant(expiry.instant()), Some(expiry));
        assert_eq!(Expiry::from_instant(expiry.instant().minus(1)), None);
    }

    #[test]
    fn an_image_that_expires_at_another_instant_than_midnight_is_not_called_a_lifetime_image() {
        let expiry = StoreDuration::Days7
            .expiry(utc_datetime!(2025-05-05 13:00))
            .expect("expires");
        assert_eq!(expires_at(None), "Never (Lifetime)");
        assert_eq!(expires_at(Some(expiry.instant())), "2025-05-12");
        assert_eq!(
            expires_at(Some(expiry.instant().minus(1))),
            "2025-05-12T23:59:59Z"
        );
    }

    #[test]
    fn the_end_of_the_calendar_does_not_panic() {
        for duration in StoreDuration::ALL {
            if let Some(expiry) = duration.expiry(utc_datetime!(9999-12-31 23:59:59)) {
                assert_eq!(expiry.last_day(), Date::MAX);
                assert_eq!(
                    Expiry::from_instant(expiry.instant()),
                    None,
                    "the year 10000 is not a date"
                );
            }
        }
    }
}
