//! Values of the configuration that have a notation of their own.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A number of bytes: `1048576`, `"512KiB"`, `"2MiB"`, `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!(
                "{text:?} is not a size: expected bytes, or a number followed by KiB, MiB or GiB"
            )
        };
        let digits = text
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "expected a size: bytes, or a string such as \"2MiB\""
        )]
        enum Notation {
            Bytes(u64),
            Text(String),
        }
        match Notation::deserialize(deserializer)? {
            Notation::Bytes(bytes) => Ok(Self(bytes)),
            Notation::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that divides the number: `2MiB`, `1500B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// A length of time in the configuration, `"20s"` or `"2m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seconds(pub(super) Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration_of(&text).map(Self).map_err(de::Error::custom)
    }
}

/// In the largest unit of which it is a whole number.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
        let unit = units
            .into_iter()
            .find(|(unit, _)| seconds.is_multiple_of(*unit));
        let (length, unit) = unit.unwrap_or((1, 's'));
        write!(f, "{}{unit}", seconds / length)
    }
}

/// Reads a length of time: a whole number followed by `s`, `m`, `h` or `d`; at least one second.
pub(crate) fn duration_of(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "{text:?} is not a length of time: expected a number from 1 followed by s, m, h or d"
        )
    };
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        // A thousand years keep every sum with a date far from overflow.
        Some(total @ 1..=31_536_000_000) => Ok(Duration::from_secs(total)),
        _ => Err(wrong()),
    }
}

/// Scheme and host of the site, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicUrl(pub(super) String);

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        host_url(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format!(
                "{text:?} is not a public URL: expected https://HOST or http://HOST, without a path"
            ))
        })
    }
}

/// A URL of scheme and host without a slash at the end; `None` if `text` is none. It is written into nginx files and HTML pages, so only
/// what a host and a port are made of is let through.
pub(super) fn host_url(text: &str) -> Option<String> {
    let url = text.trim_end_matches('/');
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!host.is_empty() && host.bytes().all(legal)).then(|| url.to_owned())
}

/// Where the responder listens: `unix:/run/corenexis-cdn.sock` or `tcp:127.0.0.1:9000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A Unix socket, by its path.
    Unix(PathBuf),
    /// A TCP address and port.
    Tcp(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || {
            format!("{text:?} is no address to listen on: expected unix:/PATH or tcp:ADDRESS:PORT")
        };
        match text.split_once(':') {
            // nginx reads the path up to white space, a colon or a semicolon.
            Some(("unix", path))
                if path.starts_with('/')
                    && !path.contains([' ', '\t', '\n', ':', ';', '"', '\'', '$', '{', '}']) =>
            {
                Ok(Self::Unix(path.into()))
            }
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl Listen {
    /// The directory of a Unix socket.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => path.parent(),
            Self::Tcp(_) => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}
