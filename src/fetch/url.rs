//! Which URLs may be downloaded by their text alone, and where a redirect leads.
//!
//! Pure. The rules are narrower than RFC 3986, so that no two readers can understand one text in two ways: what was checked is
//! put together again from its parts, and only that is given to the HTTP client.

use std::fmt;
use std::net::Ipv6Addr;

use ureq::http::Uri;

/// The longest URL that is taken, in bytes; also after a relative redirect was resolved.
pub const MAX_URL: usize = 2048;

/// The longest host name, in bytes (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 253;

/// Why a URL is refused; the text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("URL refused: {0}")]
pub struct RefusedUrl(&'static str);

/// A URL that may be asked for, as far as its text goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    https: bool,
    host: String,
    port: u16,
    /// Starts with a slash; includes the query.
    path: String,
}

impl Target {
    /// Reads an absolute `http` or `https` URL. A fragment is dropped.
    pub fn parse(url: &[u8]) -> Result<Self, RefusedUrl> {
        let url = printable(url)?;
        let (scheme, rest) = url
            .split_once("://")
            .ok_or(RefusedUrl("no scheme and host"))?;
        let https = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return Err(RefusedUrl("neither http nor https")),
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (host, port) = host_and_port(authority)?;
        let path = without_fragment(rest);
        let slash = if path.starts_with('/') { "" } else { "/" };
        let target = Self {
            https,
            host,
            port: port.unwrap_or(default_port(https)),
            path: format!("{slash}{path}"),
        };
        // The client has its own idea of the characters of a path.
        target.uri().map(|_| target)
    }

    /// Where a `Location` header of this URL's reply leads (RFC 9110 section 10.2.2, RFC 3986 section 5.2.2).
    /// From https there is no way back to http.
    pub fn redirect(&self, location: &[u8]) -> Result<Self, RefusedUrl> {
        let reference = without_fragment(printable(location)?);
        let scheme = if self.https { "https" } else { "http" };
        let own_path = self.path.split('?').next().unwrap_or_default();
        let absolute = if has_scheme(reference) {
            reference.to_owned()
        } else if reference.starts_with("//") {
            format!("{scheme}:{reference}")
        } else {
            let path = match reference.bytes().next() {
                None => self.path.clone(),
                Some(b'?') => format!("{own_path}{reference}"),
                Some(b'/') => without_dot_segments(reference),
                Some(_) => {
                    let directory = own_path.rfind('/').map_or("/", |end| &own_path[..=end]);
                    without_dot_segments(&format!("{directory}{reference}"))
                }
            };
            format!("{scheme}://{}{path}", self.authority())
        };
        let target = Self::parse(absolute.as_bytes())?;
        if self.https && !target.https {
            return Err(RefusedUrl("redirect from https to http"));
        }
        Ok(target)
    }

    /// The TCP port that is connected to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL as the HTTP client takes it.
    pub fn uri(&self) -> Result<Uri, RefusedUrl> {
        self.to_string()
            .parse()
            .map_err(|_| RefusedUrl("a character that no URL has"))
    }

    fn authority(&self) -> String {
        if self.port == default_port(self.https) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Text of a permitted length without spaces, control characters and backslash, which browsers read as a slash.
fn printable(url: &[u8]) -> Result<&str, RefusedUrl> {
    if url.len() > MAX_URL {
        return Err(RefusedUrl("longer than 2048 bytes"));
    }
    if !url
        .iter()
        .all(|&byte| byte.is_ascii_graphic() && byte != b'\\')
    {
        return Err(RefusedUrl(
            "a space, a backslash, a control character or a character beyond ASCII",
        ));
    }
    str::from_utf8(url).map_err(|_| RefusedUrl("not ASCII"))
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), RefusedUrl> {
    if authority.contains('@') {
        return Err(RefusedUrl("user name or password"));
    }
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (literal, port) = rest.split_once(']').ok_or(RefusedUrl("a [ without ]"))?;
        let address: Ipv6Addr = literal
            .parse()
            .map_err(|_| RefusedUrl("not an IPv6 address, or one with a zone"))?;
        (format!("[{address}]"), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || host.len() > MAX_HOST || !host.bytes().all(of_a_name) {
            return Err(RefusedUrl("not a host name"));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| RefusedUrl("not a port"))?)
        }
        _ => return Err(RefusedUrl("not a port")),
    };
    Ok((host, port))
}

fn without_fragment(reference: &str) -> &str {
    reference.split('#').next().unwrap_or_default()
}

/// Whether a colon ends the first component, RFC 3986 section 3.1: `javascript:x` has a scheme, `/a:b` and `?a:b` have none.
fn has_scheme(reference: &str) -> bool {
    reference.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// Resolves `.` and `..` in a path that starts with a slash, RFC 3986 section 5.2.4; a query stays as it is.
fn without_dot_segments(path_and_query: &str) -> String {
    let (path, query) =
        path_and_query.split_at(path_and_query.find('?').unwrap_or(path_and_query.len()));
    let mut kept = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        // What a dot segment at the end leaves is a directory.
        if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(url: &str) -> String {
        Target::parse(url.as_bytes()).expect(url).to_string()
    }

    #[test]
    fn good_urls_are_read() {
        for (url, read) in [
            ("http://example.com", "http://example.com/"),
            ("HTTPS://Example.COM/A.png", "https://example.com/A.png"),
            (
                "http://example.com:80/a?b=c&d=%20#e",
                "http://example.com/a?b=c&d=%20",
            ),
            ("https://example.com:0443/", "https://example.com/"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("http://example.com?x", "http://example.com/?x"),
            ("http://example.com#x", "http://example.com/"),
            (
                "http://my_host-1.example.com./~a/(b)/c;d,e@f:g",
                "http://my_host-1.example.com./~a/(b)/c;d,e@f:g",
            ),
            (
                "http://example.com/a//b/../c",
                "http://example.com/a//b/../c",
            ),
            (
                "http://example.com/?u=http://x@y/",
                "http://example.com/?u=http://x@y/",
            ),
            ("http://[2606:4700::1111]:80/", "http://[2606:4700::1111]/"),
            (
                "http://[2606:4700:0:0::1.1.1.1]:8080/",
                "http://[2606:4700::101:101]:8080/",
            ),
            // The resolver judges what these mean.
            ("http://2130706433/", "http://2130706433/"),
            ("http://0x7f.1/", "http://0x7f.1/"),
        ] {
            assert_eq!(parsed(url), read, "{url}");
        }
        assert_eq!(
            Target::parse(b"https://e.com").map(|url| url.port()),
            Ok(443)
        );
        assert_eq!(
            Target::parse(b"http://e.com:81").map(|url| url.port()),
            Ok(81)
        );
    }

    #[test]
    fn everything_else_is_refused() {
        for url in [
            "",
            "example.com/a.png",
            "//example.com/a.png",
            "http:/example.com/",
            "http:example.com",
            "http://",
            "http:///a.png",
            "http://?x",
            "http://:80/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "socks5://example.com/",
            "data:image/png;base64,AAAA",
            "javascript://example.com/%0aalert(1)",
            " http://example.com/",
            "http://example.com/ ",
            "http://example.com/a b",
            "http://example.com/a\tb",
            "http://example.com/\r\nHost: x",
            "http://example.com/\0",
            "http://example.com/\u{7f}",
            "http://example.com/é",
            "http://exämple.com/",
            "http://example.com\\@127.0.0.1/",
            "http://example.com/a\\b",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://@example.com/",
            "http://example.com:80@127.0.0.1/",
            "http://example.com:/",
            "http://example.com:+80/",
            "http://example.com:80a/",
            "http://example.com:65536/",
            "http://example.com:80:80/",
            "http://example.com:18446744073709551696/",
            "http://exa%6dple.com/",
            "http://127.0.0.1%2f@example.com/",
            "http://[::1/",
            "http://[::1]x/",
            "http://[::1]80/",
            "http://[fe80::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[127.0.0.1]/",
            "http://[example.com]/",
            "http://[]/",
            "http://::1/",
            "http://a,b/",
            "http://a*b/",
        ] {
            assert!(Target::parse(url.as_bytes()).is_err(), "{url:?}");
        }
        assert!(Target::parse(b"http://example.com/\xff\xfe").is_err());
    }

    #[test]
    fn length_is_limited_to_the_byte() {
        let url = |length: usize| format!("http://e.com/{:a<1$}", "", length - 13);
        assert!(Target::parse(url(MAX_URL).as_bytes()).is_ok());
        assert!(Target::parse(url(MAX_URL + 1).as_bytes()).is_err());
        let host = |length: usize| format!("http://{:a<length$}/", "");
        assert!(Target::parse(host(MAX_HOST).as_bytes()).is_ok());
        assert!(Target::parse(host(MAX_HOST + 1).as_bytes()).is_err());
        // Two texts that are short enough may still make one that is not.
        let base = Target::parse(format!("http://e.com/{:a<1200}/", "").as_bytes()).expect("short");
        assert!(base.redirect(format!("{:b<1200}", "").as_bytes()).is_err());
    }

    #[test]
    fn references_resolve_as_in_rfc_3986_section_5_4() {
        let base = Target::parse(b"http://a/b/c/d;p?q").expect("the base of section 5.4");
        for (reference, resolved) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("https://h/i", "https://h/i"),
            ("/x:y", "http://a/x:y"),
        ] {
            assert_eq!(
                base.redirect(reference.as_bytes())
                    .expect(reference)
                    .to_string(),
                resolved,
                "{reference}"
            );
        }
    }

    #[test]
    fn a_redirect_obeys_the_same_rules() {
        let base = Target::parse(b"https://example.com:444/a").expect("a URL");
        assert_eq!(
            base.redirect(b"/b").map(|url| url.to_string()),
            Ok("https://example.com:444/b".to_owned())
        );
        assert_eq!(
            base.redirect(b"//other/b").map(|url| url.to_string()),
            Ok("https://other/b".to_owned())
        );
        for location in [
            "http://example.com/a",
            "HTTP://example.com:444/a",
            "ftp://example.com/a",
            "http:g",
            "javascript:alert(1)",
            "data:image/png,x",
            "//user@example.com/",
            "//",
            "///x",
            "/a b",
            "/\\example.com",
            "/é",
        ] {
            assert!(base.redirect(location.as_bytes()).is_err(), "{location}");
        }
        let plain = Target::parse(b"http://example.com/").expect("a URL");
        assert!(plain.redirect(b"https://example.com/").is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_reads_back(
            url in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                "(http|https|HTTP|ftp)://[a-z0-9.:@\\[\\]%-]{0,12}[!-~]{0,40}".prop_map(String::into_bytes),
            ],
            location in "[!-~]{0,40}",
        ) {
            if let Ok(target) = Target::parse(&url) {
                let uri = target.uri().expect("checked");
                prop_assert_eq!(uri.scheme_str(), Some(if target.https { "https" } else { "http" }));
                prop_assert_eq!(uri.host(), Some(target.host.as_str()));
                prop_assert_eq!(uri.port_u16().unwrap_or(default_port(target.https)), target.port);
                prop_assert_eq!(uri.path_and_query().map(ToString::to_string), Some(target.path.clone()));
                prop_assert!(uri.authority().is_some_and(|authority| !authority.as_str().contains('@')));
                prop_assert_eq!(Target::parse(target.to_string().as_bytes()), Ok(target.clone()));
                if let Ok(next) = target.redirect(location.as_bytes()) {
                    prop_assert!(next.https || !target.https);
                }
            }
        }
    }
}
