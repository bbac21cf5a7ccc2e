//! The arguments of `image list` and `usage`: which images and which days.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use time::Date;

use super::day_of;
use crate::config::ByteSize;
use crate::image::ImageType;
use crate::image_path::type_of;
use crate::ledger::instants_of;
use crate::timestamp::Timestamp;

/// Images of one page, unless `--limit` says another number.
const PAGE: u32 = 100;

/// `image list …`
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only this client's
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Only those uploaded since this UTC day or time
    #[arg(long, value_name = "TIME", value_parser = instants)]
    pub since: Option<Instants>,
    /// Only those uploaded up to this UTC day or time, which is included
    #[arg(long, value_name = "TIME", value_parser = instants)]
    pub until: Option<Instants>,
    /// Only those of this size: FROM..TO, FROM.. or ..TO, in bytes, KiB, MiB or GiB
    #[arg(long, value_name = "RANGE", value_parser = sizes)]
    pub size: Option<RangeInclusive<u64>>,
    /// Only those of this width: FROM..TO, FROM.. or ..TO, in pixels
    #[arg(long, value_name = "RANGE", value_parser = pixels)]
    pub width: Option<RangeInclusive<u32>>,
    /// Only those of this height
    #[arg(long, value_name = "RANGE", value_parser = pixels)]
    pub height: Option<RangeInclusive<u32>>,
    /// Only those of this type: jpg, png, gif or webp
    #[arg(long = "type", value_name = "TYPE", value_parser = image_type)]
    pub image_type: Option<ImageType>,
    /// Only those that follow this image in the list: older ones. An image, or PATH@TIME, as printed where there are more
    #[arg(long, value_name = "IMAGE", conflicts_with = "before")]
    pub after: Option<String>,
    /// Only those that come before this image in the list: newer ones
    #[arg(long, value_name = "IMAGE")]
    pub before: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = PAGE)]
    pub limit: u32,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `usage …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  corenexis-cdn usage --since 2026-04-01
  corenexis-cdn usage --by client                 totals, and what each client has stored now
  corenexis-cdn usage --csv > usage.csv")]
pub(crate) struct UsageArguments {
    /// Only this client
    #[arg(long, value_name = "ID")]
    pub client: Option<String>,
    /// Only since this UTC day
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day_of)]
    pub since: Option<Date>,
    /// Add up by day or by client, instead of a line for each day and client
    #[arg(long)]
    pub by: Option<UsageBy>,
    /// Print JSON
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print comma-separated values, with a line of headings
    #[arg(long)]
    pub csv: bool,
}

/// What `usage` adds up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UsageBy {
    /// A line for each UTC day
    Day,
    /// A line for each client
    Client,
}

/// The first and the last second of a day, or a time twice.
pub(crate) type Instants = (i64, i64);

fn instants(text: &str) -> Result<Instants, String> {
    if let Ok(day) = day_of(text) {
        return Ok(instants_of(day));
    }
    match text.parse() {
        Ok(Timestamp(seconds)) => Ok((seconds, seconds)),
        Err(_) => Err(
            "expected a day such as 2026-04-05, or a time such as 2026-04-05T12:00:00Z".to_owned(),
        ),
    }
}

fn sizes(text: &str) -> Result<RangeInclusive<u64>, String> {
    let range: RangeInclusive<ByteSizeOrEnd> = range(text)?;
    Ok(range.start().0..=range.end().0)
}

fn pixels(text: &str) -> Result<RangeInclusive<u32>, String> {
    range(text)
}

/// A size of the command line, whose notation is that of the configuration.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct ByteSizeOrEnd(u64);

impl FromStr for ByteSizeOrEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|ByteSize(bytes)| Self(bytes))
    }
}

/// The least and the greatest value of a range that is open at an end.
trait Ends: FromStr + Copy + PartialOrd {
    const ENDS: (Self, Self);
}

impl Ends for u32 {
    const ENDS: (Self, Self) = (0, Self::MAX);
}

impl Ends for ByteSizeOrEnd {
    const ENDS: (Self, Self) = (Self(0), Self(u64::MAX));
}

fn range<T: Ends>(text: &str) -> Result<RangeInclusive<T>, String>
where
    T::Err: fmt::Display,
{
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| "expected FROM..TO, FROM.. or ..TO".to_owned())?;
    let end = |text: &str, open: T| match text {
        "" => Ok(open),
        text => text.parse().map_err(|error: T::Err| error.to_string()),
    };
    let (least, greatest) = T::ENDS;
    let (from, to) = (end(from, least)?, end(to, greatest)?);
    if from > to {
        return Err("the range ends before it begins".to_owned());
    }
    Ok(from..=to)
}

fn image_type(text: &str) -> Result<ImageType, String> {
    let name = text.to_ascii_lowercase();
    let name = if name == "jpeg" { "jpg" } else { &name };
    type_of(name).ok_or_else(|| "expected jpg, png, gif or webp".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_may_be_open() {
        assert_eq!(pixels("100..200"), Ok(100..=200));
        assert_eq!(pixels("..200"), Ok(0..=200));
        assert_eq!(sizes("1MiB.."), Ok(1 << 20..=u64::MAX));
        assert_eq!(sizes("..1500B"), Ok(0..=1500));
        for wrong in ["", "100", "2..1", "x..", "1MiB..1KiB", "-1..2"] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_day_is_all_of_it() {
        assert_eq!(instants("1970-01-02"), Ok((86_400, 172_799)));
        assert_eq!(instants("1970-01-02T00:00:01Z"), Ok((86_401, 86_401)));
        assert!(instants("yesterday").is_err());
        assert_eq!(image_type("JPEG"), Ok(ImageType::Jpeg));
        assert!(image_type("bmp").is_err());
    }
}
