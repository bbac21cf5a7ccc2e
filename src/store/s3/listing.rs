//! Lists of objects, in pages of at most 1,000.

use std::time::Instant;
use std::vec;

use rusty_s3::actions::list_objects_v2::ListObjectsContent;
use rusty_s3::actions::{ListObjectsV2, ListObjectsV2Response};

use super::client::{Client, Payload, retry};
use super::failure::Failure;
use super::operations::{DEADLINE, unreadable};

/// The objects whose keys begin with a prefix, in the order that the store gives them; one page at a time is held.
pub(super) struct Objects<'a> {
    client: &'a Client,
    prefix: String,
    page: vec::IntoIter<ListObjectsContent>,
    next: Next,
}

/// The page that is read next.
enum Next {
    First,
    /// The one that the store gives for this token.
    Continued(String),
    None,
}

impl Client {
    /// The objects whose keys begin with `prefix`.
    pub(super) fn objects(&self, prefix: String) -> Objects<'_> {
        Objects {
            client: self,
            prefix,
            page: Vec::new().into_iter(),
            next: Next::First,
        }
    }

    /// What the keys that begin with `prefix` begin with, up to the next slash.
    pub(super) fn prefixes(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        let mut prefixes = Vec::new();
        let mut next = Next::First;
        while let Some(page) = self.page(prefix, Some("/"), &mut next)? {
            prefixes.extend(page.common_prefixes.into_iter().map(|common| common.prefix));
        }
        Ok(prefixes)
    }

    /// The next page of a list; `None` at its end.
    fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        next: &mut Next,
    ) -> Result<Option<ListObjectsV2Response>, Failure> {
        let token = match &*next {
            Next::None => return Ok(None),
            Next::First => None,
            Next::Continued(token) => Some(token),
        };
        let deadline = Instant::now() + DEADLINE;
        let document = retry(deadline, || {
            let mut action = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
            action.with_prefix(prefix);
            if let Some(delimiter) = delimiter {
                action.with_delimiter(delimiter);
            }
            if let Some(token) = token {
                action.with_continuation_token(token.as_str());
            }
            self.send(action, &[], Payload::Nothing, deadline)?
                .document()
        })?;
        let page = ListObjectsV2::parse_response(&document)
            .map_err(|error| unreadable("ListObjectsV2", &error))?;
        *next = match &page.next_continuation_token {
            // A store that gives the same page again would be asked for ever.
            Some(next) if token == Some(next) => {
                return Err(Failure::Unanswered(
                    "the same page of a list twice".to_owned(),
                ));
            }
            Some(next) => Next::Continued(next.clone()),
            None => Next::None,
        };
        Ok(Some(page))
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<ListObjectsContent, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(object) = self.page.next() {
                return Some(Ok(object));
            }
            match self.client.page(&self.prefix, None, &mut self.next) {
                Ok(page) => self.page = page?.contents.into_iter(),
                // The same page is asked for again, if anything is.
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}
