//! The log: one logfmt line an event, to standard error.
//!
//! Values that came from outside are quoted and escaped, so that no request can forge a line.

use std::fmt::{self, Write as _};
use std::io::Write as _;

use time::UtcDateTime;
use time::macros::format_description;

/// A line that is being put together.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// Begins a line at `now`; `event` says what happened.
    pub fn new(now: UtcDateTime, event: &str) -> Self {
        let mut line = Self(String::with_capacity(256));
        let time = now.format(format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
        ));
        let _ = write!(line.0, "time={} event={event}", time.unwrap_or_default());
        line
    }

    /// Adds a field, quoted where it needs to be.
    #[must_use]
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let plain = !value.is_empty()
            && value
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='));
        let _ = if plain {
            write!(self.0, " {key}={value}")
        } else {
            write!(self.0, " {key}={value:?}")
        };
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn optional(self, key: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.field(key, value),
            None => self,
        }
    }

    /// Writes the line in one piece. A log that cannot be written stops nothing.
    pub fn write(mut self) {
        self.0.push('\n');
        let _ = std::io::stderr().lock().write_all(self.0.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::utc_datetime;

    #[test]
    fn values_from_outside_cannot_forge_a_line() {
        let line = Line::new(utc_datetime!(2026-04-05 12:00:00.120456), "request")
            .field("status", 200)
            .field("cause", "a \"b\"\nevent=forged")
            .field("empty", "")
            .optional("path", None::<&str>);
        assert_eq!(
            line.0,
            "time=2026-04-05T12:00:00.120Z event=request status=200 cause=\"a \\\"b\\\"\\nevent=forged\" empty=\"\""
        );
    }
}
