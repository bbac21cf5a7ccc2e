//! Encodes and decodes name-value pairs, the parameters of a request (FastCGI Specification 1.0, section 3.4).

use std::net::IpAddr;
use std::ops::Range;

/// The most bytes that the parameters of one request may take, names, values and lengths together.
pub const MAX_BYTES: usize = 64 * 1024;

/// The most pairs of one request.
pub const MAX_PAIRS: usize = 256;

/// The parameters of a request. Values are bytes, as HTTP header fields are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    bytes: Vec<u8>,
    pairs: Vec<(Range<usize>, Range<usize>)>,
}

/// Why a block of name-value pairs cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// A length points past the end.
    #[error("a name or value is longer than the block that holds it")]
    Truncated,
    /// More than [`MAX_PAIRS`].
    #[error("more than {MAX_PAIRS} parameters")]
    TooMany,
    /// More than [`MAX_BYTES`].
    #[error("the parameters are longer than {MAX_BYTES} bytes")]
    TooLong,
}

impl Params {
    /// Reads the whole content of a `PARAMS` stream or a `GET_VALUES` record.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, InvalidParams> {
        if bytes.len() > MAX_BYTES {
            return Err(InvalidParams::TooLong);
        }
        let mut pairs = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if pairs.len() == MAX_PAIRS {
                return Err(InvalidParams::TooMany);
            }
            let name_length = take_length(&bytes, &mut at)?;
            let value_length = take_length(&bytes, &mut at)?;
            let name = take_range(&bytes, &mut at, name_length)?;
            let value = take_range(&bytes, &mut at, value_length)?;
            pairs.push((name, value));
        }
        Ok(Self { bytes, pairs })
    }

    /// Parameters from another source, such as the environment of a CGI program.
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidParams> {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            push_pair(&mut bytes, name.as_ref(), value.as_ref());
        }
        Self::parse(bytes)
    }

    /// The value of the first pair with this name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(candidate, _)| *candidate == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// The pairs in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs
            .iter()
            .map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// The client's address (`REMOTE_ADDR`, RFC 3875, section 4.1.8); `None` if the web server passes none.
    pub fn remote_addr(&self) -> Option<IpAddr> {
        str::from_utf8(self.get("REMOTE_ADDR")?).ok()?.parse().ok()
    }

    /// The addresses in `X-Forwarded-For`, nearest last: each proxy appends the one it was connected from. Texts that are no address are
    /// left out.
    pub fn forwarded_for(&self) -> impl DoubleEndedIterator<Item = IpAddr> {
        let list = self.get("HTTP_X_FORWARDED_FOR").unwrap_or_default();
        let entries = list.split(|&byte| byte == b',');
        entries.filter_map(|entry| str::from_utf8(entry).ok()?.trim().parse().ok())
    }

    /// Whether a proxy passed the request on: it has `X-Forwarded-For`, `Forwarded` (RFC 7239) or `Via` (RFC 9110, section 7.6.3).
    pub fn is_forwarded(&self) -> bool {
        ["HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA"]
            .into_iter()
            .any(|name| self.get(name).is_some_and(|value| !value.is_empty()))
    }

    /// The announced length of the body, in bytes: `CONTENT_LENGTH`, 0 if it is absent or empty; `None` if it is not a number.
    pub fn content_length(&self) -> Option<u64> {
        let text = self.get("CONTENT_LENGTH").unwrap_or_default();
        if text.is_empty() {
            return Some(0);
        }
        // `parse` would take a leading plus sign.
        let digits = text.iter().all(u8::is_ascii_digit);
        str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
    }
}

/// Appends a pair in the encoding of the specification.
pub fn push_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_length(out, name.len());
    push_length(out, value.len());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000;
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

/// A length of less than 128 takes one byte, a longer one four with the highest bit set.
fn take_length(bytes: &[u8], at: &mut usize) -> Result<usize, InvalidParams> {
    let rest = bytes.get(*at..).unwrap_or_default();
    let (length, taken) = match *rest {
        [short, ..] if short < 0x80 => (u32::from(short), 1),
        [a, b, c, d, ..] => (u32::from_be_bytes([a & 0x7f, b, c, d]), 4),
        _ => return Err(InvalidParams::Truncated),
    };
    *at += taken;
    usize::try_from(length).map_err(|_| InvalidParams::Truncated)
}

fn take_range(bytes: &[u8], at: &mut usize, length: usize) -> Result<Range<usize>, InvalidParams> {
    let end = at
        .checked_add(length)
        .filter(|&end| end <= bytes.len())
        .ok_or(InvalidParams::Truncated)?;
    let range = *at..end;
    *at = end;
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_values_are_bytes() {
        let params = Params::from_pairs([
            (&b"REMOTE_ADDR"[..], &b"127.0.0.1"[..]),
            (b"QUERY_STRING", b"a=\xFF\xFE"),
            (b"", b""),
            (b"LAST", b"still here"),
        ])
        .expect("valid");
        assert_eq!(params.get("QUERY_STRING"), Some(&b"a=\xFF\xFE"[..]));
        assert_eq!(params.get("LAST"), Some(&b"still here"[..]));
        assert_eq!(params.get("last"), None);
    }

    #[test]
    fn lengths_take_one_byte_or_four() {
        for length in [0, 127, 128, 255, 256, 60_000] {
            let value = vec![b'v'; length];
            let params = Params::from_pairs([(b"N", &value)]).expect("valid");
            assert_eq!(params.get("N"), Some(&value[..]), "{length}");
        }
    }

    #[test]
    fn limits_are_kept() {
        let pairs = vec![(b"n", b"v"); MAX_PAIRS];
        assert!(Params::from_pairs(pairs).is_ok());
        let pairs = vec![(b"n", b"v"); MAX_PAIRS + 1];
        assert_eq!(Params::from_pairs(pairs), Err(InvalidParams::TooMany));
        let long = vec![b'v'; MAX_BYTES];
        assert_eq!(
            Params::from_pairs([(b"n", &long)]),
            Err(InvalidParams::TooLong)
        );
    }

    #[test]
    fn lengths_past_the_end_are_refused() {
        for bytes in [
            &b"\x01"[..],
            b"\x01\x05nab",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x80\x00",
            b"\x7f\x00a",
        ] {
            assert_eq!(
                Params::parse(bytes.to_vec()),
                Err(InvalidParams::Truncated),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn a_content_length_is_digits_or_nothing() {
        let length = |value: &str| {
            Params::from_pairs([("CONTENT_LENGTH", value)])
                .expect("valid")
                .content_length()
        };
        assert_eq!(Params::default().content_length(), Some(0));
        assert_eq!(length(""), Some(0));
        assert_eq!(length("1048576"), Some(1_048_576));
        for wrong in ["+1", "-1", "1 ", "1e3", "0x10", "99999999999999999999999"] {
            assert_eq!(length(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn pairs_read_back(pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 0..100)) {
            let params = Params::from_pairs(pairs.clone()).expect("valid");
            let read: Vec<_> = params.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(params) = Params::parse(bytes.clone()) {
                let held: usize = params.iter().map(|(name, value)| name.len() + value.len()).sum();
                prop_assert!(held <= bytes.len());
            }
        }
    }
}
