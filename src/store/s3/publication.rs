//! Publishes an upload: one PUT that never replaces an object.
//!
//! ```text
//! 200                      it is in the bucket
//! 412                      an object has its key: the upload itself if an earlier reply was lost, which size and hash prove
//! 500, 503, no answer      the same PUT again, until the deadline
//! deadline                 the object is deleted if it is there and is the upload; the caller refunds the row
//! ```
//!
//! Names are unique by the ledger's key, so a store that ignores `If-None-Match` replaces nothing either.

use std::io;
use std::time::{Duration, Instant};

use super::client::{Client, Reply, retry};
use super::failure::Failure;
use super::now;
use super::object::Metadata;
use super::operations::Hash;
use crate::store::{Publication, PublishError};

/// How long an upload whose outcome is unknown may take to be withdrawn.
const WITHDRAWAL: Duration = Duration::from_secs(2);

/// What a PUT that did not fail did.
enum Put {
    Stored,
    NameTaken,
}

/// Publishes an upload under its path.
pub(super) fn publish(client: &Client, upload: &Publication<'_>) -> Result<(), PublishError> {
    publish_as(client, upload.path.as_str(), upload)
}

/// Publishes an upload under another key.
pub(super) fn publish_as(
    client: &Client,
    key: &str,
    upload: &Publication<'_>,
) -> Result<(), PublishError> {
    publish_until(client, key, upload, Instant::now() + client.upload_deadline)
}

/// The same, with another deadline.
pub(super) fn publish_until(
    client: &Client,
    key: &str,
    upload: &Publication<'_>,
    deadline: Instant,
) -> Result<(), PublishError> {
    let size = upload.spool.size();
    let hash = Hash::of(&mut upload.spool.reader_at(0)).map_err(PublishError::Image)?;
    let metadata = Metadata::new(upload.path, upload.expiry, now());
    let mut signed = metadata.headers();
    signed.push(("content-md5", &hash.base64));
    let mut is_unknown = false;
    let put = retry(deadline, || {
        let mut reader = upload.spool.reader_at(0);
        let conditions = [("if-none-match", "*")];
        let body = (&mut reader as &mut dyn io::Read, size);
        let reply = client.put_once(key, &signed, &conditions, body, deadline);
        match reply.and_then(Reply::document) {
            Ok(_) => Ok(Put::Stored),
            Err(failure) if failure.status() == Some(412) => {
                let is_ours = holds(client, key, size, &hash, deadline)?;
                Ok(if is_ours { Put::Stored } else { Put::NameTaken })
            }
            Err(failure) => {
                is_unknown |= failure.is_unknown();
                Err(failure)
            }
        }
    });
    match put {
        Ok(Put::Stored) => Ok(()),
        Ok(Put::NameTaken) => Err(PublishError::NameTaken),
        Err(failure) => {
            if is_unknown {
                withdraw(client, key, size, &hash);
            }
            Err(PublishError::Image(failure.into()))
        }
    }
}

/// Whether the object is the upload.
fn holds(
    client: &Client,
    key: &str,
    size: u64,
    hash: &Hash,
    deadline: Instant,
) -> Result<bool, Failure> {
    let object = client.head_until(key, deadline)?;
    let Some(object) = object.filter(|object| object.stored.size == size) else {
        return Ok(false);
    };
    if object.etag == hash.etag {
        return Ok(true);
    }
    // With encryption of the store's own the tag is no hash of the bytes.
    let mut bytes = client.get_until(key, (0, None), None, deadline)?.reader();
    let stored = Hash::of(&mut bytes).map_err(|error| Failure::Unanswered(error.to_string()))?;
    Ok(stored.etag == hash.etag)
}

/// Deletes an upload that is refused although the store may have it. What cannot be deleted now is a file without a row: the sweep or the
/// bucket's rules delete it when it has expired; a lifetime image stays, and `verify` lists it.
fn withdraw(client: &Client, key: &str, size: u64, hash: &Hash) {
    let deadline = Instant::now() + WITHDRAWAL;
    if holds(client, key, size, hash, deadline).is_ok_and(|is_ours| is_ours) {
        let _ = client.delete_once(key, deadline);
    }
}
