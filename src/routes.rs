//! The calls of the API by URL path: which there are, and the methods of each.

use crate::fastcgi::params::Params;
use crate::image_path::ImagePath;

/// The URL path of the API, without the trailing slash.
pub(crate) const ROOT: &str = "/image/v2";

/// Images on one page of `GET /image/v2/images`, unless the request has a `limit`.
pub(crate) const PAGE: u32 = 100;

/// The largest `limit` of `GET /image/v2/images`.
pub(crate) const MAX_PAGE: u32 = 1_000;

/// The methods of the calls that only read, as the `Allow` header lists them.
pub(crate) const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// The methods of one image, as the `Allow` header lists them.
pub(crate) const IMAGE_METHODS: &str = "GET, HEAD, DELETE, OPTIONS";

/// A call of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// `/image/v2/`: uploads.
    Upload,
    /// `/image/v2/health`.
    Health,
    /// `/image/v2/metrics`.
    Metrics,
    /// `/image/v2/usage`.
    Usage,
    /// `/image/v2/images`.
    Images,
    /// `/image/v2/images/<path>`.
    Image(ImagePath),
}

impl Call {
    /// The call that a request names; `None` for an unknown path.
    ///
    /// nginx passes the decoded URL path as `DOCUMENT_URI`. A CGI host that maps a program to a path of its own passes what follows
    /// that path as `PATH_INFO` (RFC 3875, section 4.1.5).
    pub(crate) fn of(params: &Params) -> Option<Self> {
        match path_below_root(params) {
            b"" | b"/" => Some(Self::Upload),
            b"/health" => Some(Self::Health),
            b"/metrics" => Some(Self::Metrics),
            b"/usage" => Some(Self::Usage),
            b"/images" => Some(Self::Images),
            path => {
                let path = path.strip_prefix(b"/images/")?;
                str::from_utf8(path).ok()?.parse().ok().map(Self::Image)
            }
        }
    }

    /// The methods of the call, as the `Allow` header lists them.
    pub(crate) const fn methods(&self) -> &'static str {
        match self {
            Self::Upload => "POST, OPTIONS",
            Self::Health | Self::Metrics | Self::Usage | Self::Images => READ_METHODS,
            Self::Image(_) => IMAGE_METHODS,
        }
    }
}

fn path_below_root(params: &Params) -> &[u8] {
    ["DOCUMENT_URI", "REQUEST_URI", "SCRIPT_NAME"]
        .into_iter()
        .filter_map(|name| params.get(name))
        .find_map(|uri| {
            let path = uri.split(|&byte| byte == b'?').next().unwrap_or_default();
            let below = path.strip_prefix(ROOT.as_bytes())?;
            (below.is_empty() || below.starts_with(b"/")).then_some(below)
        })
        .or_else(|| params.get("PATH_INFO"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::from_pairs(pairs.iter().copied()).expect("valid")
    }

    #[test]
    fn the_call_is_the_path_below_the_root() {
        type Case = (&'static [(&'static str, &'static str)], &'static [u8]);
        let cases: [Case; 8] = [
            (&[("DOCUMENT_URI", "/image/v2")], b""),
            (&[("DOCUMENT_URI", "/image/v2/")], b"/"),
            (
                &[
                    ("DOCUMENT_URI", "/image/v2/health"),
                    ("REQUEST_URI", "/image/v2/health?x"),
                ],
                b"/health",
            ),
            (&[("REQUEST_URI", "/image/v2/?a=/image/v2/health")], b"/"),
            (
                &[
                    ("REQUEST_URI", "/image/v2/health?x=1"),
                    ("SCRIPT_NAME", "/cgi-bin/cdn"),
                ],
                b"/health",
            ),
            (
                &[
                    ("REQUEST_URI", "/cgi-bin/cdn/health"),
                    ("PATH_INFO", "/health"),
                ],
                b"/health",
            ),
            (
                &[
                    ("REQUEST_URI", "/cgi-bin/cdn"),
                    ("SCRIPT_NAME", "/cgi-bin/cdn"),
                ],
                b"",
            ),
            (
                &[("DOCUMENT_URI", "/image/v22/"), ("PATH_INFO", "/x")],
                b"/x",
            ),
        ];
        for (pairs, expected) in cases {
            assert_eq!(path_below_root(&params(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn images_are_called_by_their_exact_paths() {
        let call = |below: &str| Call::of(&params(&[("DOCUMENT_URI", &format!("{ROOT}{below}"))]));
        assert_eq!(call("/"), Some(Call::Upload));
        assert_eq!(call("/usage"), Some(Call::Usage));
        assert_eq!(call("/images"), Some(Call::Images));
        let path = "mm/ju28/AbCdEf.webp".parse().expect("a path");
        assert_eq!(call("/images/mm/ju28/AbCdEf.webp"), Some(Call::Image(path)));
        for unknown in [
            "/usage/",
            "/images/",
            "/images/../p",
            "/images/d/ap5/AbCdEf.php",
            "/images/d/ap5/AbCdEf.png/",
            "/healthy",
        ] {
            assert_eq!(call(unknown), None, "{unknown:?}");
        }
    }
}
