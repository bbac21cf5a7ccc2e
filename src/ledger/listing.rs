//! Listings of images, newest first, in pages.
//!
//! A page is asked for by the [`Position`] where another one ended, not by a number: images that are uploaded or deleted meanwhile make no
//! image come twice and none be left out.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::{ImageRow, Owner};
use crate::image::ImageType;
use crate::image_path::ImagePath;
use crate::timestamp::Timestamp;

/// The place of an image in a listing, which is ordered by the time of the upload, then by path. Written `PATH@TIME`, for example
/// `d/ap5/AbCdEf.png@2026-04-05T12:00:00Z`. The image need not exist any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// When the image was uploaded.
    pub uploaded_at: Timestamp,
    /// Its path.
    pub path: ImagePath,
}

impl Position {
    /// The position of an image in the list.
    pub(crate) fn of(row: &ImageRow) -> Self {
        Self {
            uploaded_at: row.uploaded_at,
            path: row.path.clone(),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.path, self.uploaded_at)
    }
}

/// A text that is no [`Position`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a position: expected PATH@TIME, for example d/ap5/AbCdEf.png@2026-04-05T12:00:00Z")]
pub(crate) struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, time) = text.split_once('@').ok_or(InvalidPosition)?;
        Ok(Self {
            uploaded_at: time.parse().map_err(|_| InvalidPosition)?,
            path: path.parse().map_err(|_| InvalidPosition)?,
        })
    }
}

/// Which page of a listing is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// The newest images.
    First,
    /// The images that follow a position: the next older ones.
    After(Position),
    /// The images that come before a position: the next newer ones, also newest first.
    Before(Position),
}

/// Which images are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Whose; everybody's if `None`.
    pub owner: Option<Owner>,
    /// When they were uploaded, in Unix seconds.
    pub uploaded: RangeInclusive<i64>,
    /// Bytes.
    pub size: RangeInclusive<u64>,
    /// Pixels.
    pub width: RangeInclusive<u32>,
    /// Pixels.
    pub height: RangeInclusive<u32>,
    /// Their type; any if `None`.
    pub image_type: Option<ImageType>,
    /// Only images in quarantine, or only others; both if `None`.
    pub in_quarantine: Option<bool>,
    /// Which of them.
    pub page: Page,
    /// At most so many.
    pub limit: u32,
}

impl Listing {
    /// The newest `limit` images of all.
    pub(crate) fn newest(limit: u32) -> Self {
        Self {
            owner: None,
            uploaded: i64::MIN..=i64::MAX,
            size: 0..=u64::MAX,
            width: 0..=u32::MAX,
            height: 0..=u32::MAX,
            image_type: None,
            in_quarantine: None,
            page: Page::First,
            limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        let text = "d/ap5/AbCdEf.png@2026-04-05T12:00:00Z";
        let position: Position = text.parse().expect("a position");
        assert_eq!(position.uploaded_at, Timestamp(1_775_390_400));
        assert_eq!(position.to_string(), text);
        for wrong in [
            "",
            "d/ap5/AbCdEf.png",
            "d/ap5/AbCdEf.png@",
            "d/ap5/AbCdEf.png@2026-04-05",
            "d/ap5/AbCdEf.php@2026-04-05T12:00:00Z",
            "@2026-04-05T12:00:00Z",
            "d/ap5/AbCdEf.png@2026-04-05T12:00:00Z@",
        ] {
            assert_eq!(wrong.parse::<Position>(), Err(InvalidPosition), "{wrong}");
        }
    }
}
