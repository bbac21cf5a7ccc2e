//! [`ImagePath`]: class, day and name of an image, `d/ap5/AbCdEf.png`; its URLs and file-system path, and the content types of the
//! extensions.

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use time::{Date, Month};

use crate::expiry::StoreDuration;
use crate::image::ImageType;
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
        let mut path = format!("{}/", Directory::of(duration, day));
        push_random_name(&mut path, name_length)?;
        path.push('.');
        path.push_str(extension_of(image_type));
        Ok(Self(path))
    }

    /// The path in URLs and in the ledger.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory below the image root.
    pub fn directory(&self) -> Directory {
        let day = self.0.split('/').nth(1).and_then(DayName::parse);
        Directory {
            duration: self.duration(),
            // A path has a valid day by its construction.
            day: day.unwrap_or(DayName {
                month: MONTHS[0],
                day: 1,
            }),
        }
    }

    /// Name and extension, `AbCdEf.png`.
    pub fn file_name(&self) -> &str {
        self.0
            .rsplit_once('/')
            .map_or("", |(_, file_name)| file_name)
    }

    /// The duration of the class.
    pub fn duration(&self) -> StoreDuration {
        let class = self.0.split_once('/').map_or("", |(class, _)| class);
        duration_of(class).unwrap_or(StoreDuration::Lifetime)
    }

    /// The type of the extension.
    pub fn image_type(&self) -> ImageType {
        let extension = self
            .0
            .rsplit_once('.')
            .map_or("", |(_, extension)| extension);
        type_of(extension).unwrap_or(ImageType::Jpeg)
    }

    /// The path of the file below `docroot`.
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

    /// Parses the value of a query parameter, in which `/` may be percent-encoded. No other character of a path needs encoding.
    pub fn from_query_value(value: &str) -> Result<Self, InvalidPath> {
        value.replace("%2F", "/").replace("%2f", "/").parse()
    }

    /// Parses a path, or a URL of the site at `public_url`: direct, viewer, or management call.
    ///
    /// The URL may lack its scheme or its host, end with a slash, and have further query parameters.
    pub fn from_reference(reference: &str, public_url: &str) -> Result<Self, InvalidReference> {
        let reference = reference.trim().split('#').next().unwrap_or_default();
        let (host, target) = split_host(reference);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.trim_matches('/');
        let image = if path.is_empty() || path == "view" {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let mut values = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("img"));
            values.next().map_or("", |(_, value)| value)
        } else {
            let management = path.strip_prefix("image/v2/images/");
            management.unwrap_or_else(|| path.strip_prefix("p/").unwrap_or(path))
        };
        let image = Self::from_query_value(image.trim_end_matches('/'))?;
        let (own, _) = split_host(public_url);
        match host {
            Some(host) if Some(without_default_port(host)) != own.map(without_default_port) => {
                Err(InvalidReference::OtherHost {
                    host: host.to_owned(),
                    own: own.unwrap_or_default().to_owned(),
                    path: image,
                })
            }
            _ => Ok(image),
        }
    }
}

/// The host and port of a URL, if it has them, and its path and query. The first segment of a text without scheme is a host unless
/// the site serves it.
fn split_host(url: &str) -> (Option<&str>, &str) {
    let after_scheme = url.split_once("://").map(|(_, rest)| rest);
    let authority = after_scheme.or_else(|| url.strip_prefix("//"));
    let rest = authority.unwrap_or(url);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (first, target) = rest.split_at(end);
    let is_served = ["", IMAGE_ROOT, "view", "image"].contains(&first);
    if authority.is_some() || !(is_served || duration_of(first).is_some()) {
        (Some(first), target)
    } else {
        (None, rest)
    }
}

/// The host in lower case and its port, if that is not the default of http or https.
fn without_default_port(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let default = [":80", ":443"]
        .iter()
        .find_map(|port| host.strip_suffix(port));
    default.map_or(host.clone(), str::to_owned)
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

/// A text that names no image of this site.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// It has no image path.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// It is a URL of another host.
    #[error(
        "a link of {host}, and this site is {own}: give the path, {path}, for the image of that name here"
    )]
    OtherHost {
        /// Host and port of the URL.
        host: String,
        /// Host and port of this site.
        own: String,
        /// The path in the URL.
        path: ImagePath,
    },
}

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
            && DayName::parse(day).is_some()
            && type_of(extension).is_some()
        {
            Ok(Self(path.to_owned()))
        } else {
            Err(InvalidPath)
        }
    }
}

/// The directory of the images of one class and one day of the year: `d/ap5`. It has no year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Directory {
    duration: StoreDuration,
    day: DayName,
}

impl Directory {
    /// How many directories there are: four classes, ten pairs of month letters, 31 days.
    pub const COUNT: u64 = 4 * 10 * 31;

    /// The directory of an image that is uploaded on `date` for `duration`.
    pub fn of(duration: StoreDuration, date: Date) -> Self {
        Self {
            duration,
            day: DayName::of(date),
        }
    }

    /// The directory of a class with the day that `name` says; `None` if that is not the name of a day directory.
    pub fn named(duration: StoreDuration, name: &str) -> Option<Self> {
        let day = DayName::parse(name)?;
        Some(Self { duration, day })
    }

    /// The directories of an upload day, in the order of their paths.
    pub fn all_of(date: Date) -> [Self; 4] {
        let mut directories = StoreDuration::ALL.map(|duration| Self::of(duration, date));
        directories.sort_by_key(Self::prefix);
        directories
    }

    /// Every directory that an image can lie in, in the order of their paths.
    pub fn all() -> Vec<Self> {
        let mut directories = Vec::new();
        for month in months() {
            for day in 1..=31 {
                let day = DayName { month, day };
                directories.extend(StoreDuration::ALL.map(|duration| Self { duration, day }));
            }
        }
        directories.sort_by_key(Self::prefix);
        directories
    }

    /// What the paths of its images begin with: `d/ap5/`.
    pub fn prefix(&self) -> String {
        format!("{self}/")
    }

    /// Where it lies below `docroot`.
    pub fn below(&self, docroot: &Path) -> PathBuf {
        let class = docroot.join(IMAGE_ROOT).join(class_of(self.duration));
        class.join(self.day.to_string())
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", class_of(self.duration), self.day)
    }
}

/// The name of a day directory: two letters of the month and the day of the month, `ap5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct DayName {
    month: &'static str,
    day: u8,
}

impl DayName {
    fn of(date: Date) -> Self {
        Self {
            month: month_letters(date.month()),
            day: date.day(),
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (month, day) = name.split_at_checked(2)?;
        let month = MONTHS.into_iter().find(|&letters| letters == month)?;
        let is_unpadded = !day.starts_with('0') && day.bytes().all(|byte| byte.is_ascii_digit());
        let day = day
            .parse()
            .ok()
            .filter(|day| is_unpadded && (1..=31).contains(day))?;
        Some(Self { month, day })
    }
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

/// The usual name of a type.
pub(crate) const fn format_name(image_type: ImageType) -> &'static str {
    match image_type {
        ImageType::Jpeg => "JPEG",
        ImageType::Png => "PNG",
        ImageType::Gif => "GIF",
        ImageType::WebP => "WebP",
    }
}

fn duration_of(class: &str) -> Option<StoreDuration> {
    StoreDuration::ALL
        .into_iter()
        .find(|&duration| class_of(duration) == class)
}

/// The type of an extension, `jpg`, `png`, `gif` or `webp`.
pub(crate) fn type_of(extension: &str) -> Option<ImageType> {
    ImageType::ALL
        .into_iter()
        .find(|&image_type| extension_of(image_type) == extension)
}

/// The distinct pairs of month letters.
pub(crate) fn months() -> impl Iterator<Item = &'static str> {
    let months = MONTHS.into_iter().enumerate();
    months
        .filter(|&(number, month)| !MONTHS[..number].contains(&month))
        .map(|(_, month)| month)
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
