//! [`ImagePath`]: the name of an image, and everything that follows from it.
//!
//! `d/ap5/AbCdEf.png` is class, day and name. This module alone knows how such names are made and read, which URLs and
//! file-system paths they have, and which content type belongs to which extension.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use time::{Date, Month};

use crate::image::ImageType;
use crate::plan::StoreDuration;
use crate::random::{self, NoRandom};

/// The shortest and the longest random name that is accepted.
pub const NAME_LENGTHS: std::ops::RangeInclusive<usize> = 6..=32;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The first two letters of each English month, lower case: `ma` and `ju` stand for two months each.
const MONTHS: [&str; 12] = [
    "ja", "fe", "ma", "ap", "ma", "ju", "ju", "au", "se", "oc", "no", "de",
];

/// The folder of the docroot that holds the images, and the URL path that serves them.
pub const IMAGE_ROOT: &str = "p";

/// Class, day and name of a stored image: `d/ap5/AbCdEf.png`.
///
/// A value of this type has the exact form that nginx serves, so it can be joined to a folder or a URL without escaping.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImagePath(String);

impl ImagePath {
    /// A new path with a random name of `name_length` characters for an image uploaded on `day`.
    ///
    /// # Panics
    /// When `name_length` is outside [`NAME_LENGTHS`].
    pub fn random(
        duration: StoreDuration,
        day: Date,
        name_length: usize,
        image_type: ImageType,
    ) -> Result<Self, NoRandom> {
        assert!(
            NAME_LENGTHS.contains(&name_length),
            "name length {name_length} is outside {NAME_LENGTHS:?}"
        );
        let mut path = format!("{}/{}/", class_of(duration), DayName::of(day));
        push_random_name(&mut path, name_length)?;
        path.push('.');
        path.push_str(extension_of(image_type));
        Ok(Self(path))
    }

    /// The path as it stands in URLs and in the ledger.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Class and day, `d/ap5`: the directory below the image root.
    pub fn directory(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or("", |(directory, _)| directory)
    }

    /// Name and extension, `AbCdEf.png`.
    pub fn file_name(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or("", |(_, file_name)| file_name)
    }

    /// The duration that the class stands for.
    pub fn duration(&self) -> StoreDuration {
        let class = self.0.split_once('/').map_or("", |(class, _)| class);
        duration_of(class).unwrap_or(StoreDuration::Lifetime)
    }

    /// The type that the extension stands for.
    pub fn image_type(&self) -> ImageType {
        let extension = self
            .0
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension);
        type_of(extension).unwrap_or(ImageType::Jpeg)
    }

    /// Where the image lies below `docroot`.
    pub fn below(&self, docroot: &Path) -> PathBuf {
        docroot.join(IMAGE_ROOT).join(&self.0)
    }

    /// The URL of the image itself; `public_url` without a slash at its end.
    pub fn direct_url(&self, public_url: &str) -> String {
        format!("{public_url}/{IMAGE_ROOT}/{}", self.0)
    }

    /// The URL of the viewer page; `public_url` without a slash at its end.
    pub fn viewer_url(&self, public_url: &str) -> String {
        format!("{public_url}/view/?img={}", self.0)
    }

    /// Reads what a person has at hand: the path itself, with or without the leading `/p/`, a direct URL or a viewer URL of
    /// any host.
    pub fn from_reference(reference: &str) -> Result<Self, InvalidPath> {
        let without_fragment = reference.split('#').next().unwrap_or_default();
        if let Some((_, query)) = without_fragment.split_once("/view/?") {
            return query
                .split('&')
                .find_map(|pair| pair.strip_prefix("img="))
                .ok_or(InvalidPath)
                .and_then(str::parse);
        }
        let path = match without_fragment.split_once("://") {
            Some((_, after_scheme)) => after_scheme.split_once('/').map_or("", |(_, path)| path),
            None => without_fragment.trim_start_matches('/'),
        };
        let path = path.split('?').next().unwrap_or_default();
        path.strip_prefix("p/").unwrap_or(path).parse()
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Not of the form `<class>/<day>/<name>.<ext>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an image path: expected <class>/<day>/<name>.<ext>, for example d/ap5/AbCdEf.png")]
pub struct InvalidPath;

impl FromStr for ImagePath {
    type Err = InvalidPath;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        let (class, rest) = path.split_once('/').ok_or(InvalidPath)?;
        let (day, file_name) = rest.split_once('/').ok_or(InvalidPath)?;
        let (name, extension) = file_name.split_once('.').ok_or(InvalidPath)?;
        let named = NAME_LENGTHS.contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if named
            && duration_of(class).is_some()
            && DayName::is_valid(day)
            && type_of(extension).is_some()
        {
            Ok(Self(path.to_owned()))
        } else {
            Err(InvalidPath)
        }
    }
}

/// The name of a day directory: two letters of the month and the day of the month, `ap5`. It has no year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayName {
    month: &'static str,
    day: u8,
}

impl DayName {
    /// The name of the directory for images uploaded on `date`.
    pub fn of(date: Date) -> Self {
        Self {
            month: month_letters(date.month()),
            day: date.day(),
        }
    }

    /// Whether `name` is the name of a day directory.
    pub fn is_valid(name: &str) -> bool {
        let Some((month, day)) = name.split_at_checked(2) else {
            return false;
        };
        let unpadded = !day.starts_with('0') && day.bytes().all(|byte| byte.is_ascii_digit());
        MONTHS.contains(&month) && unpadded && matches!(day.parse::<u8>(), Ok(1..=31))
    }
}

/// How many [`directories`] there are: four classes, ten pairs of letters, 31 days.
pub const DIRECTORIES: u64 = 4 * 10 * 31;

/// Every directory that an image can lie in, class by class: `d/ja1`, `d/ja2` and so on.
pub fn directories() -> impl Iterator<Item = String> {
    let months = MONTHS
        .into_iter()
        .enumerate()
        .filter(|&(number, month)| !MONTHS[..number].contains(&month));
    let days: Vec<_> = months
        .flat_map(|(_, month)| (1..=31).map(move |day| DayName { month, day }))
        .collect();
    StoreDuration::ALL.into_iter().flat_map(move |duration| {
        let below = |day| format!("{}/{day}", class_of(duration));
        days.iter().map(below).collect::<Vec<_>>()
    })
}

impl fmt::Display for DayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.month, self.day)
    }
}

/// The directory of a duration below the image root.
pub const fn class_of(duration: StoreDuration) -> &'static str {
    match duration {
        StoreDuration::Days7 => "d",
        StoreDuration::Month1 => "m",
        StoreDuration::Months3 => "mm",
        StoreDuration::Lifetime => "l",
    }
}

/// The file name extension of a type, without the dot.
pub const fn extension_of(image_type: ImageType) -> &'static str {
    match image_type {
        ImageType::Jpeg => "jpg",
        ImageType::Png => "png",
        ImageType::Gif => "gif",
        ImageType::WebP => "webp",
    }
}

/// The media type that nginx sends for a type.
pub const fn content_type_of(image_type: ImageType) -> &'static str {
    match image_type {
        ImageType::Jpeg => "image/jpeg",
        ImageType::Png => "image/png",
        ImageType::Gif => "image/gif",
        ImageType::WebP => "image/webp",
    }
}

fn duration_of(class: &str) -> Option<StoreDuration> {
    StoreDuration::ALL
        .into_iter()
        .find(|&duration| class_of(duration) == class)
}

fn type_of(extension: &str) -> Option<ImageType> {
    ImageType::ALL
        .into_iter()
        .find(|&image_type| extension_of(image_type) == extension)
}

const fn month_letters(month: Month) -> &'static str {
    MONTHS[month as usize - 1]
}

/// Appends `length` characters, each of the 62 equally likely: bytes of 248 (4 × 62) and above are drawn again.
fn push_random_name(path: &mut String, length: usize) -> Result<(), NoRandom> {
    let mut drawn = [0u8; 48];
    let mut wanted = length;
    while wanted > 0 {
        random::fill(&mut drawn)?;
        let characters = drawn
            .iter()
            .filter(|&&byte| byte < 248)
            .map(|&byte| char::from(ALPHABET[usize::from(byte % 62)]));
        let before = path.len();
        path.extend(characters.take(wanted));
        wanted -= path.len() - before;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use time::macros::date;

    #[test]
    fn the_documented_paths_are_read() {
        for path in [
            "d/ap5/AbCdEf.png",
            "l/ju28/0123456789.jpg",
            "mm/de31/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef.webp",
        ] {
            assert_eq!(path.parse::<ImagePath>().expect(path).as_str(), path);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for path in [
            "",
            "/d/ap5/AbCdEf.png",
            "x/ap5/AbCdEf.png",
            "d/xx5/AbCdEf.png",
            "d/ap05/AbCdEf.png",
            "d/ap0/AbCdEf.png",
            "d/ap32/AbCdEf.png",
            "d/ap+5/AbCdEf.png",
            "d/ap/AbCdEf.png",
            "d/ap5/AbCdE.png",
            "d/ap5/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg.png",
            "d/ap5/AbCdEf.svg",
            "d/ap5/AbCdEf.PNG",
            "d/ap5/AbCdEf",
            "d/ap5/AbCdEf.png.php",
            "d/ap5/AbCdEf.png/x.php",
            "d/ap5/../../x/AbCdEf.png",
            "d/ap5/Ab%2Fdef.png",
            "d/ap5/AbCdé.png",
            "d/äp5/AbCdEf.png",
            "d/ap5/AbCdEf.png\n",
            "d/ap5/AbCdEf.png\0",
        ] {
            assert_eq!(path.parse::<ImagePath>(), Err(InvalidPath), "{path:?}");
        }
    }

    #[test]
    fn random_paths_read_back_and_differ() {
        let mut seen = HashSet::new();
        for name_length in NAME_LENGTHS {
            for duration in StoreDuration::ALL {
                for image_type in ImageType::ALL {
                    let path =
                        ImagePath::random(duration, date!(2026 - 04 - 05), name_length, image_type)
                            .expect("random");
                    assert_eq!(path.as_str().parse(), Ok(path.clone()));
                    assert_eq!((path.duration(), path.image_type()), (duration, image_type));
                    assert_eq!(path.directory(), format!("{}/ap5", class_of(duration)));
                    assert_eq!(
                        path.file_name().len(),
                        name_length + 1 + extension_of(image_type).len()
                    );
                    assert!(seen.insert(path));
                }
            }
        }
    }

    #[test]
    fn every_directory_is_named_once() {
        let all: Vec<_> = directories().collect();
        assert_eq!(all.len() as u64, DIRECTORIES);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        let mut day = date!(2028 - 01 - 01);
        while day.year() == 2028 {
            for class in StoreDuration::ALL.map(class_of) {
                assert!(all.contains(&format!("{class}/{}", DayName::of(day))));
            }
            day = day.next_day().expect("a day");
        }
        for directory in all {
            let path = format!("{directory}/AbCdEf.png");
            assert!(path.parse::<ImagePath>().is_ok(), "{path}");
        }
    }

    #[test]
    fn every_character_of_the_alphabet_is_drawn_alike() {
        let mut name = String::new();
        push_random_name(&mut name, 62_000).expect("random");
        for &letter in ALPHABET {
            let count = name.bytes().filter(|&byte| byte == letter).count();
            // A thousand expected; seven standard deviations are about 220.
            assert!(
                (780..1220).contains(&count),
                "{} was drawn {count} times of 62,000",
                char::from(letter)
            );
        }
    }

    #[test]
    fn a_person_may_give_any_of_the_urls() {
        let path: ImagePath = "d/ap5/AbCdEf.png".parse().expect("a path");
        let direct = path.direct_url("https://cdn.example.com");
        let viewer = path.viewer_url("https://cdn.example.com");
        assert_eq!(direct, "https://cdn.example.com/p/d/ap5/AbCdEf.png");
        assert_eq!(viewer, "https://cdn.example.com/view/?img=d/ap5/AbCdEf.png");
        for reference in [
            direct.as_str(),
            viewer.as_str(),
            "d/ap5/AbCdEf.png",
            "p/d/ap5/AbCdEf.png",
            "/p/d/ap5/AbCdEf.png",
            "/view/?img=d/ap5/AbCdEf.png",
            "http://other/p/d/ap5/AbCdEf.png?download=1#top",
            "https://cdn.example.com/view/?lang=en&img=d/ap5/AbCdEf.png&x=1",
        ] {
            assert_eq!(
                ImagePath::from_reference(reference),
                Ok(path.clone()),
                "{reference}"
            );
        }
        for wrong in [
            "https://cdn.example.com/",
            "/view/?image=d/ap5/AbCdEf.png",
            "https://cdn.example.com/p/",
            "x",
        ] {
            assert_eq!(
                ImagePath::from_reference(wrong),
                Err(InvalidPath),
                "{wrong}"
            );
        }
    }
}
