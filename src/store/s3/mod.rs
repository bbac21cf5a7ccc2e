//! A bucket of an S3-compatible store.
//!
//! ```text
//! <class>/<day>/<name>.<ext>     the images; the key is the image's path
//! .quarantine/<path>             images in quarantine
//! .identity                      the identity that the bucket shares with its ledger
//! ```
//!
//! An upload is written to a spool file on this host, then put into the bucket, which makes it durable and visible at once. The URL of the
//! store is part of the configuration alone and stored nowhere.

mod authorization;
mod client;
mod date;
mod failure;
mod key;
mod object;
mod operations;
pub(crate) mod probe;
mod publication;
mod quarantine;
mod reader;
mod resolver;
pub(crate) mod urls;

use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use time::UtcDateTime;

use self::authorization::Signer;
use self::client::Client;
use self::object::Metadata;
use self::operations::Hash;
use self::reader::ObjectReader;
use super::identity_document;
use super::spool::SpoolDirectory;
use super::{Cleaned, Publication, PublishError, SignedRead, Space, Spool, Store, Stored};
use crate::config::{self, Durability};
use crate::expiry::{Expiry, StoreDuration};
use crate::identity::Identity;
use crate::image_path::{Directory, ImagePath, class_of};
use crate::timestamp::Timestamp;

/// The key of the identity.
const IDENTITY: &str = ".identity";

/// Images in a bucket.
#[derive(Debug)]
pub(crate) struct S3Store {
    client: Arc<Client>,
    spool: SpoolDirectory,
    /// Signs the requests of nginx; `None` if everybody may read the images.
    signer: Option<Signer>,
}

impl S3Store {
    /// The bucket, with the directory of spool files, which is made if it is missing.
    pub(crate) fn open(s3: &config::S3) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(&s3.spool) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let text = format!("[storage] spool {}: {error}", s3.spool.display());
                Err(io::Error::new(error.kind(), text))
            }
            _ => Self::at(s3),
        }
    }

    /// The bucket. No request is sent and no directory made.
    pub(super) fn at(s3: &config::S3) -> io::Result<Self> {
        let client = Client::new(s3)?;
        let is_signed = s3.serve == config::Serve::Signed;
        let credentials = client.credentials.as_ref().filter(|_| is_signed);
        Ok(Self {
            signer: credentials.map(|credentials| Signer::new(s3, credentials.clone())),
            client: Arc::new(client),
            // The bytes are durable when they are in the bucket, and not needed in the spool afterwards.
            spool: SpoolDirectory::new(s3.spool.clone(), Durability::Relaxed),
        })
    }
}

impl Store for S3Store {
    fn place(&self) -> String {
        self.client.place().to_owned()
    }

    fn identity(&self) -> io::Result<Option<Identity>> {
        let reply = match self.client.get(IDENTITY, 0, None, None) {
            Err(failure) if failure.is_missing_object() => return Ok(None),
            reply => reply?,
        };
        let text = reply.document()?;
        let identity = identity_document::parse(&text).map_err(|cause| {
            let text = format!("the object {IDENTITY} is not an identity: {cause}");
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Some(identity))
    }

    fn set_identity(&self, identity: Identity) -> io::Result<()> {
        let text = identity_document::text(identity);
        Ok(self.client.put_document(IDENTITY, &text)?)
    }

    fn check_writable(&self) -> io::Result<()> {
        let key = probe::new_name().map_err(io::Error::other)?;
        self.client
            .put_document(&key, "made to see whether the bucket can be written\n")?;
        Ok(self.client.delete(&[key]).remove(0)?)
    }

    fn check_reachable(&self) -> io::Result<()> {
        Ok(self.client.head_now(IDENTITY)?)
    }

    fn spool(&self) -> io::Result<Spool> {
        self.spool.create()
    }

    fn prepare(&self, _: &mut [(&mut Spool, Option<Expiry>)]) -> io::Result<()> {
        Ok(())
    }

    fn publish(&self, uploads: &mut [Publication<'_>]) -> Vec<Result<(), PublishError>> {
        uploads
            .iter()
            .map(|upload| publication::publish(&self.client, upload))
            .collect()
    }

    fn publish_unsynced(&self, upload: Publication<'_>) -> Result<(), PublishError> {
        publication::publish(&self.client, &upload)
    }

    fn sync(&self, _: &[ImagePath]) -> io::Result<()> {
        Ok(())
    }

    fn delete(&self, paths: &[ImagePath]) -> Vec<io::Result<()>> {
        let keys: Vec<_> = paths.iter().map(ImagePath::to_string).collect();
        let outcomes = self.client.delete(&keys).into_iter();
        outcomes.map(|outcome| Ok(outcome?)).collect()
    }

    /// The days that S3 sees as common prefixes of keys: four requests instead of one for each of 1,240 directories.
    fn directories(&self) -> io::Result<Vec<Directory>> {
        let mut directories = Vec::new();
        for duration in StoreDuration::ALL {
            let class = format!("{}/", class_of(duration));
            self.client.list_prefixes(&class, |prefix| {
                let day = prefix
                    .strip_prefix(&class)
                    .map(|day| day.trim_end_matches('/'));
                directories.extend(day.and_then(|day| Directory::named(duration, day)));
            })?;
        }
        Ok(directories)
    }

    fn list(&self, directory: Directory) -> io::Result<Vec<ImagePath>> {
        let mut paths = Vec::new();
        self.client.list(&directory.prefix(), |key| {
            // Objects with other keys are not of this program, and are left alone.
            paths.extend(key.parse::<ImagePath>());
            true
        })?;
        Ok(paths)
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let object = self.client.head(path.as_str())?;
        Ok(object.map(|object| object.stored))
    }

    fn read(&self, path: &ImagePath) -> io::Result<Box<dyn Read>> {
        let reader = ObjectReader::open(Arc::clone(&self.client), path.to_string())?;
        Ok(Box::new(reader))
    }

    fn sign_read(&self, path: &ImagePath, now: UtcDateTime) -> Option<SignedRead> {
        self.signer.as_ref().map(|signer| signer.sign(path, now))
    }

    fn matches_hash(
        &self,
        path: &ImagePath,
        read: &dyn Fn() -> io::Result<Box<dyn Read>>,
    ) -> io::Result<bool> {
        let Some(object) = self.client.head(path.as_str())? else {
            return Ok(false);
        };
        Ok(Hash::of(&mut *read()?)?.etag == object.etag)
    }

    fn set_expiry(&self, path: &ImagePath, expiry: Expiry) -> io::Result<()> {
        let Some(object) = self.client.head(path.as_str())? else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let metadata = Metadata::new(path, Some(expiry), object.stored.published_at);
        let key = path.as_str();
        Ok(self.client.copy(key, key, &object.etag, Some(&metadata))?)
    }

    /// The space of the spool: S3 has no request for the space of a bucket.
    fn space(&self) -> io::Result<Space> {
        self.spool.space()
    }

    /// A bucket has no directories.
    fn clean(&self, before: Timestamp, _: &[Directory], dry_run: bool) -> io::Result<Cleaned> {
        Ok(Cleaned {
            abandoned: self.spool.clean(before, dry_run)?,
            directories: 0,
        })
    }
}

/// The instant that an image is marked with as published.
fn now() -> Timestamp {
    UtcDateTime::now().into()
}

#[cfg(test)]
mod tests;
