//! `[site] contact` in pages and documents.

use crate::config::Config;
use crate::template::percent_encoded;

/// The kind of `[site] contact`. Mail addresses and http URLs become links; other schemes, such as `javascript:`, do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact<'a> {
    /// A mail address.
    Mail(&'a str),
    /// An http or https URL.
    Url(&'a str),
    /// Any other text.
    Text,
    /// No contact.
    None,
}

impl<'a> Contact<'a> {
    pub(crate) fn of(config: &'a Config) -> Self {
        let contact = config.site.contact.trim();
        let one_word = !contact.contains(char::is_whitespace);
        if contact.is_empty() {
            Self::None
        } else if one_word && (contact.starts_with("https://") || contact.starts_with("http://")) {
            Self::Url(contact)
        } else if one_word && contact.contains('@') && !contact.contains(':') {
            Self::Mail(contact)
        } else {
            Self::Text
        }
    }

    /// The target of the link, not escaped; `None` where the contact cannot be a link.
    pub(crate) fn href(self) -> Option<String> {
        match self {
            Self::Mail(address) => Some(format!("mailto:{}", percent_encoded(address, b"@+"))),
            Self::Url(url) => Some(url.to_owned()),
            Self::Text | Self::None => None,
        }
    }
}
