//! The keys `.quarantine/<path>` of a bucket, which nginx does not serve and a public bucket's policy must not cover.
//!
//! S3 cannot rename: an image is copied, then deleted. A process that ends in between leaves both, and the next quarantine or release
//! finishes.

use std::io::{self, Read};
use std::sync::Arc;

use super::S3Store;
use super::failure::Failure;
use super::publication;
use super::reader::ObjectReader;
use crate::image_path::ImagePath;
use crate::store::{Part, Publication, PublishError, Quarantine, Stored};

/// What the keys of images in quarantine begin with.
pub(super) const PREFIX: &str = ".quarantine/";

fn key_of(path: &ImagePath) -> String {
    format!("{PREFIX}{path}")
}

impl S3Store {
    /// Copies an image into quarantine unless it is there. `false` for one that is not served.
    fn copy_out(&self, path: &ImagePath) -> Result<bool, Failure> {
        let Some(served) = self.client.head(path.as_str())? else {
            return Ok(false);
        };
        let key = key_of(path);
        if self.client.head(&key)?.is_none() {
            self.client.copy(path.as_str(), &key, &served.etag, None)?;
        }
        Ok(true)
    }
}

impl Quarantine for S3Store {
    fn quarantine(&self, paths: &[ImagePath]) -> Vec<io::Result<bool>> {
        let mut outcomes: Vec<_> = paths.iter().map(|path| self.copy_out(path)).collect();
        let copied: Vec<_> = (0..paths.len())
            .filter(|&at| matches!(outcomes[at], Ok(true)))
            .collect();
        let keys: Vec<_> = copied.iter().map(|&at| paths[at].to_string()).collect();
        for (at, deleted) in copied.into_iter().zip(self.client.delete(&keys)) {
            if let Err(failure) = deleted {
                outcomes[at] = Err(failure);
            }
        }
        outcomes.into_iter().map(|outcome| Ok(outcome?)).collect()
    }

    fn publish_quarantined(&self, upload: Publication<'_>) -> Result<(), PublishError> {
        publication::publish_as(&self.client, &key_of(upload.path), &upload)
    }

    fn release(&self, path: &ImagePath) -> io::Result<bool> {
        let key = key_of(path);
        let Some(kept) = self.client.head(&key)? else {
            return Ok(false);
        };
        match self.client.head(path.as_str())? {
            // A release that was cut off made it.
            Some(served) if served.etag == kept.etag && served.stored.size == kept.stored.size => {}
            Some(_) => {
                let text = "another image is served at its path";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            None => self.client.copy(&key, path.as_str(), &kept.etag, None)?,
        }
        self.delete_quarantined(path)?;
        Ok(true)
    }

    fn quarantined(&self) -> io::Result<Vec<ImagePath>> {
        let mut paths = Vec::new();
        for object in self.client.objects(PREFIX.to_owned()) {
            let key = object?.key;
            let path = key.strip_prefix(PREFIX).and_then(|path| path.parse().ok());
            paths.extend(path);
        }
        Ok(paths)
    }

    fn stat_quarantined(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let object = self.client.head(&key_of(path))?;
        Ok(object.map(|object| Stored {
            published_at: object.modified_at,
            ..object.stored
        }))
    }

    fn read_quarantined(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        let client = Arc::clone(&self.client);
        let (_, reader) = ObjectReader::open(client, key_of(path), Part::Whole)?;
        Ok(Box::new(reader))
    }

    fn delete_quarantined(&self, path: &ImagePath) -> io::Result<()> {
        Ok(self.client.delete(&[key_of(path)]).remove(0)?)
    }
}
