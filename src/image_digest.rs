//! The SHA-256 of an image's bytes, by which images are blocked.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Bytes that are read at once.
const BUFFER: usize = 64 * 1024;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ImageDigest(pub [u8; 32]);

impl ImageDigest {
    /// The digest of all that `reader` gives.
    pub(crate) fn of(mut reader: impl Read) -> io::Result<Self> {
        let mut running = RunningDigest::default();
        let mut buffer = vec![0; BUFFER];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(running.finish()),
                Ok(length) => running.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The digest of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningDigest(Sha256);

impl RunningDigest {
    /// Adds a piece.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of all pieces.
    pub(crate) fn finish(self) -> ImageDigest {
        ImageDigest(self.0.finalize().into())
    }
}

impl fmt::Display for ImageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base16ct::lower::encode_string(&self.0))
    }
}

/// Not a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256: expected 64 hexadecimal digits, as sha256sum prints them; name a file with --file"
)]
pub(crate) struct InvalidDigest;

impl FromStr for ImageDigest {
    type Err = InvalidDigest;

    /// Reads 64 hexadecimal digits in either case, also behind `sha256:`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let digits = text
            .strip_prefix("sha256:")
            .unwrap_or(text)
            .to_ascii_lowercase();
        let mut bytes = [0; 32];
        match base16ct::lower::decode(digits.as_bytes(), &mut bytes) {
            Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
            _ => Err(InvalidDigest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_digest_is_that_of_sha256sum() {
        assert_eq!(ImageDigest::of(&b"abc"[..]).expect("read").to_string(), ABC);
        let mut pieces = RunningDigest::default();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish().to_string(), ABC);
    }

    #[test]
    fn a_digest_is_read_as_programs_print_it() {
        let digest: ImageDigest = ABC.parse().expect("a digest");
        for text in [
            ABC.to_uppercase(),
            format!("sha256:{ABC}"),
            format!(" {ABC}\n"),
        ] {
            assert_eq!(text.parse(), Ok(digest), "{text:?}");
        }
        for wrong in ["", "abc", &ABC[1..], &format!("{ABC}00"), &"g".repeat(64)] {
            assert_eq!(
                wrong.parse::<ImageDigest>(),
                Err(InvalidDigest),
                "{wrong:?}"
            );
        }
    }
}
