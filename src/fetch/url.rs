//! The rules for the text of an `image_url` and of a `Location` header.
//!
//! Pure. A URL is brought into the normal form of the WHATWG URL Standard first: spaces and characters beyond ASCII are
//! percent-encoded, host names become IDNA A-labels, and every notation of an IPv4 address (`2130706433`, `0x7f.1`, `①②⑦.⓪.⓪.①`)
//! becomes the dotted one. The rules judge that form, and only that form is requested. What the standard reads differently from
//! RFC 3986 (backslashes, control characters, missing slashes) is refused before.

#[cfg(test)]
mod tests;

use std::fmt::{self, Write as _};

use ::url::{Host, ParseError, Url};
use ureq::http::Uri;

/// The longest URL, in bytes, before and after normalization.
pub const MAX_URL: usize = 8 << 10;

/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Why a URL is refused; the text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUrl {
    /// It breaks this rule.
    #[error("URL refused: {0}")]
    Rule(&'static str),
    /// The URL Standard has no reading for it.
    #[error("URL refused: {0}")]
    Syntax(#[from] ParseError),
}

/// A URL that may be requested, as far as its text goes: normalized, `http` or `https`, without user name and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Reads an absolute URL. White space around it is ignored.
    pub fn parse(url: &[u8]) -> Result<Self, RefusedUrl> {
        let text = text_of(url)?;
        let rest = after_scheme(&text).ok_or(RefusedUrl::Rule("no scheme"))?;
        check_authority(rest)?;
        Self::check(Url::parse(&text)?)
    }

    /// The target of a redirect (RFC 9110 section 10.2.2), relative to this URL. From https to http is refused.
    pub fn redirect(&self, location: &[u8]) -> Result<Self, RefusedUrl> {
        let text = text_of(location)?;
        match after_scheme(&text) {
            Some(rest) => check_authority(rest)?,
            None if text.starts_with("//") => check_authority(&text)?,
            None => {}
        }
        let target = Self::check(self.0.join(&text)?)?;
        if self.0.scheme() == "https" && target.0.scheme() == "http" {
            return Err(RefusedUrl::Rule("redirect from https to http"));
        }
        Ok(target)
    }

    /// Applies the rules to a normalized URL.
    fn check(mut url: Url) -> Result<Self, RefusedUrl> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(RefusedUrl::Rule("neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::Rule("user name or password"));
        }
        // The standard allows characters in a name that no DNS name has and that HTTP clients read differently.
        let is_label = |label: &str| {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !label.is_empty() && label.bytes().all(legal)
        };
        if let Some(Host::Domain(name)) = url.host()
            && (name.len() > MAX_HOST
                || !name
                    .strip_suffix('.')
                    .unwrap_or(name)
                    .split('.')
                    .all(is_label))
        {
            return Err(RefusedUrl::Rule("not a host name"));
        }
        url.set_fragment(None);
        if url.as_str().len() > MAX_URL {
            return Err(TOO_LONG);
        }
        let target = Self(url);
        // The HTTP client has rules of its own for the characters of a path.
        target.uri().map(|_| target)
    }

    /// The TCP port to connect to.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(0)
    }

    /// The URL as the HTTP client takes it.
    pub fn uri(&self) -> Result<Uri, RefusedUrl> {
        let uri = self.0.as_str().parse();
        uri.map_err(|_| RefusedUrl::Rule("a character that the HTTP client refuses"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const TOO_LONG: RefusedUrl = RefusedUrl::Rule("longer than 8 KiB");

/// The text of a URL without the white space around it. Bytes that are not UTF-8, such as ISO 8859-1, are percent-encoded as they are.
fn text_of(url: &[u8]) -> Result<String, RefusedUrl> {
    let url = url.trim_ascii();
    if url.len() > MAX_URL {
        return Err(TOO_LONG);
    }
    let mut text = String::with_capacity(url.len());
    for chunk in url.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    let text = text.trim();
    if text.contains(|character: char| character.is_control() || character == '\\') {
        return Err(RefusedUrl::Rule("a backslash or a control character"));
    }
    Ok(text.to_owned())
}

/// What follows the scheme and its colon (RFC 3986 section 3.1): `javascript:x` has a scheme, `/a:b` and `?a:b` have none.
fn after_scheme(reference: &str) -> Option<&str> {
    let (scheme, rest) = reference.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(rest)
}

/// Refuses what the URL Standard repairs: too few or too many slashes before the host, and an empty user name.
fn check_authority(after_scheme: &str) -> Result<(), RefusedUrl> {
    let authority = after_scheme
        .strip_prefix("//")
        .ok_or(RefusedUrl::Rule("no // after the scheme"))?;
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(RefusedUrl::Rule("no host"));
    }
    if authority.contains('@') {
        return Err(RefusedUrl::Rule("user name or password"));
    }
    Ok(())
}
