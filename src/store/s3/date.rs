//! Dates of HTTP headers (RFC 9110, section 5.6.7).

use time::format_description::StaticFormatDescription;
use time::macros::format_description;
use time::{PrimitiveDateTime, UtcDateTime};

use crate::timestamp::Timestamp;

const FORMAT: StaticFormatDescription = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`; `None` for another form.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let date = PrimitiveDateTime::parse(text.trim(), FORMAT).ok()?;
    Some(Timestamp(date.assume_utc().unix_timestamp()))
}

/// Writes an instant as [`parse`] reads it; `None` outside the years 1 to 9999.
pub(super) fn format(instant: Timestamp) -> Option<String> {
    let date = UtcDateTime::from_unix_timestamp(instant.0).ok()?;
    date.format(FORMAT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        let text = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(parse(text), Some(Timestamp(784_111_777)));
        assert_eq!(format(Timestamp(784_111_777)).as_deref(), Some(text));
        for wrong in ["", "now", "Sunday, 06-Nov-94 08:49:37 GMT"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
