//! [`Quarantine`]: images that are not served and whose bytes are kept.

use std::io::{self, Read};

use super::{Publication, PublishError, Stored};
use crate::image_path::ImagePath;

/// The part of a store that is not served. Images keep their paths in it.
pub(crate) trait Quarantine {
    /// Moves images out of reach. Bytes, names and their absence among the served images are durable when this returns. `false` for an
    /// image that is not served. A served copy of an image that is already in quarantine is deleted. The results are in the order of
    /// `paths`.
    fn quarantine(&self, paths: &[ImagePath]) -> Vec<io::Result<bool>>;

    /// Publishes an image like [`Store::publish`](super::Store::publish), but into quarantine, so that it is served at no time.
    fn publish_quarantined(&self, upload: Publication<'_>) -> Result<(), PublishError>;

    /// Serves an image again, durably. `false` if it is not in quarantine; an error of kind `AlreadyExists` if an image is served at its
    /// path.
    fn release(&self, path: &ImagePath) -> io::Result<bool>;

    /// The images in quarantine, unsorted.
    fn quarantined(&self) -> io::Result<Vec<ImagePath>>;

    /// An image in quarantine; `None` if there is none. Its `published_at` is the time of the quarantine.
    fn stat_quarantined(&self, path: &ImagePath) -> io::Result<Option<Stored>>;

    /// The bytes of an image in quarantine.
    fn read_quarantined(&self, path: &ImagePath) -> io::Result<Box<dyn Read>>;

    /// Deletes an image in quarantine durably; one that does not exist is no error.
    fn delete_quarantined(&self, path: &ImagePath) -> io::Result<()>;
}
