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
mod listing;
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
use std::time::Duration;

use rusty_s3::actions::list_objects_v2::ListObjectsContent;
use time::UtcDateTime;

use self::authorization::Signer;
use self::client::Client;
use self::object::{Metadata, unquoted};
use self::operations::Hash;
use self::reader::ObjectReader;
use super::identity_document;
use super::spool::SpoolDirectory;
use super::{
    Cleaned, ImageList, Listed, ListedObject, Part, Publication, PublishError, SignedRead, Space,
    Spool, Store, Stored,
};
use crate::config::{self, Durability};
use crate::expiry::{Expiry, StoreDuration};
use crate::identity::Identity;
use crate::image_path::{Directory, ImagePath, class_of};
use crate::timestamp::Timestamp;

/// How long the PUT of an upload may take, its repetitions included: nginx waits 15 s longer for the reply than a download may take.
const UPLOAD_DEADLINE: Duration = Duration::from_secs(12);

/// How long the PUT of a copied image may take. Several share the network.
const COPY_DEADLINE: Duration = Duration::from_mins(5);

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

    /// The bucket as [`Self::open`] gives it, with minutes for each upload, where the network may be slow and nobody waits.
    pub(super) fn open_target(s3: &config::S3) -> io::Result<Self> {
        Self::open(s3)?;
        Self::with(s3, COPY_DEADLINE)
    }

    /// The bucket. No request is sent and no directory made.
    pub(super) fn at(s3: &config::S3) -> io::Result<Self> {
        Self::with(s3, UPLOAD_DEADLINE)
    }

    fn with(s3: &config::S3, upload_deadline: Duration) -> io::Result<Self> {
        let client = Client::new(s3, upload_deadline)?;
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
            for prefix in self.client.prefixes(&class)? {
                let day = prefix
                    .strip_prefix(&class)
                    .map(|day| day.trim_end_matches('/'));
                directories.extend(day.and_then(|day| Directory::named(duration, day)));
            }
        }
        Ok(directories)
    }

    fn list(&self, directory: Directory) -> io::Result<Vec<ImagePath>> {
        let listed = self.listing(directory);
        listed.map(|listed| Ok(listed?.path)).collect()
    }

    fn listing(&self, directory: Directory) -> ImageList<'_> {
        let objects = self.client.objects(directory.prefix());
        Box::new(objects.filter_map(|object| match object {
            Ok(object) => listed(object).map(Ok),
            Err(failure) => Some(Err(failure.into())),
        }))
    }

    fn stat(&self, path: &ImagePath) -> io::Result<Option<Stored>> {
        let object = self.client.head(path.as_str())?;
        Ok(object.map(|object| object.stored))
    }

    fn open(&self, path: &ImagePath, part: Part) -> io::Result<Option<(Stored, Box<dyn Read>)>> {
        match ObjectReader::open(Arc::clone(&self.client), path.to_string(), part) {
            Ok((object, reader)) => Ok(Some((object.stored, Box::new(reader)))),
            Err(failure) if failure.is_missing_object() => Ok(None),
            // HEAD knows what a missing object is where the access key may not list.
            Err(failure) if failure.status() == Some(403) => {
                match self.client.head(path.as_str()) {
                    Ok(None) => Ok(None),
                    _ => Err(failure.into()),
                }
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn sign_read(&self, path: &ImagePath, now: UtcDateTime) -> Option<SignedRead> {
        self.signer.as_ref().map(|signer| signer.sign(path, now))
    }

    fn matches_hash(&self, etag: &str, reader: &mut dyn Read) -> io::Result<bool> {
        Ok(Hash::of(reader)?.etag == etag)
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

/// An object of a list; `None` for one that is not of this program, and is left alone.
fn listed(object: ListObjectsContent) -> Option<Listed> {
    let path = object.key.parse().ok()?;
    let modified_at = object.last_modified.and_then(|time| time.parse().ok());
    let object = object.size.zip(object.etag).zip(modified_at);
    Some(Listed {
        path,
        object: object.map(|((size, etag), modified_at)| ListedObject {
            size,
            etag: unquoted(&etag).to_owned(),
            modified_at,
        }),
    })
}

/// The instant that an image is marked with as published.
fn now() -> Timestamp {
    UtcDateTime::now().into()
}

#[cfg(test)]
mod tests;
