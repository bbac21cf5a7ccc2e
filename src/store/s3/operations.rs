//! The requests of the store, one function each.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use instant_xml::FromXml;
use md5::{Digest, Md5};
use rusty_s3::S3Action;
use rusty_s3::actions::{
    DeleteObject, DeleteObjects, DeleteObjectsResponse, ErrorObject, GetObject, HeadObject,
    ObjectIdentifier, PutObject,
};

use super::client::{Client, Payload, Reply, retry};
use super::failure::{Failure, is_transient_code};
use super::object::{Metadata, Object, unquoted};

/// How long one request may take, its repetitions included.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

/// How long the store may take to answer the request of a health check.
const NOW: Duration = Duration::from_secs(2);

/// Keys of one DeleteObjects request, the most that S3 takes.
const DELETED_TOGETHER: usize = 1_000;

/// The hash of some bytes, in the notations that S3 has for it.
#[derive(Debug, Clone)]
pub(super) struct Hash {
    /// The value of `Content-MD5`.
    pub(super) base64: String,
    /// The entity tag that most stores give the bytes.
    pub(super) etag: String,
}

impl Hash {
    /// Reads to the end.
    pub(super) fn of(reader: &mut dyn Read) -> io::Result<Self> {
        let mut hash = Md5::new();
        let mut buffer = [0; 16 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => hash.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let hash = hash.finalize();
        Ok(Self {
            base64: STANDARD.encode(hash),
            etag: base16ct::lower::encode_string(&hash),
        })
    }
}

/// The body of a reply to CopyObject, which may be an error although the status is 200.
#[derive(Debug, FromXml)]
#[xml(
    rename = "CopyObjectResult",
    ns("http://s3.amazonaws.com/doc/2006-03-01/")
)]
struct CopyResult {
    #[xml(rename = "ETag")]
    etag: Option<String>,
}

impl Client {
    /// The object with that key; `None` if there is none. Stores that do not let the access key list answer 403 for a missing one: that
    /// counts as missing if the store gives another object, that of the identity.
    pub(super) fn head(&self, key: &str) -> Result<Option<Object>, Failure> {
        self.head_until(key, Instant::now() + DEADLINE)
    }

    /// As [`Self::head`], with another deadline.
    pub(super) fn head_until(
        &self,
        key: &str,
        deadline: Instant,
    ) -> Result<Option<Object>, Failure> {
        match self.head_once(key, deadline) {
            Err(failure) if failure.status() == Some(403) && key != super::IDENTITY => {
                match self.head_once(super::IDENTITY, deadline) {
                    Ok(Some(_)) => Ok(None),
                    _ => Err(failure),
                }
            }
            found => found,
        }
    }

    /// The object with that key; `None` if the store says that there is none.
    fn head_once(&self, key: &str, deadline: Instant) -> Result<Option<Object>, Failure> {
        let reply = retry(deadline, || {
            let action = HeadObject::new(&self.bucket, self.credentials.as_ref(), key);
            self.send(action, &[], Payload::Nothing, deadline)
        });
        match reply {
            Ok(reply) => object_of(&reply).map(Some),
            Err(failure) if failure.status() == Some(404) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Asks for an object once; whether it is there does not matter.
    pub(super) fn head_now(&self, key: &str) -> Result<(), Failure> {
        let action = HeadObject::new(&self.bucket, self.credentials.as_ref(), key);
        let deadline = Instant::now() + NOW;
        match self.send(action, &[], Payload::Nothing, deadline) {
            Err(failure) if failure.status() != Some(404) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Part of an object, from `offset`: at most `length` bytes, or all that are left. With `etag` only of the object that has it.
    pub(super) fn get(
        &self,
        key: &str,
        offset: u64,
        length: Option<u64>,
        etag: Option<&str>,
    ) -> Result<Reply, Failure> {
        self.get_until(key, (offset, length), etag, Instant::now() + DEADLINE)
    }

    /// As [`Self::get`], with another deadline.
    pub(super) fn get_until(
        &self,
        key: &str,
        (offset, length): (u64, Option<u64>),
        etag: Option<&str>,
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let range = match length {
            Some(length) => format!("bytes={offset}-{}", offset + length.max(1) - 1),
            None => format!("bytes={offset}-"),
        };
        let mut headers = Vec::new();
        if offset > 0 || length.is_some() {
            headers.push(("range", range.as_str()));
        }
        headers.extend(etag.map(|etag| ("if-match", etag)));
        retry(deadline, || {
            let action = GetObject::new(&self.bucket, self.credentials.as_ref(), key);
            self.send(action, &headers, Payload::Nothing, deadline)
        })
    }

    /// Writes an object once, without a repetition; `signed` has its metadata, `headers` has conditions.
    pub(super) fn put_once(
        &self,
        key: &str,
        signed: &[(&'static str, &str)],
        headers: &[(&'static str, &str)],
        (reader, size): (&mut dyn Read, u64),
        deadline: Instant,
    ) -> Result<Reply, Failure> {
        let mut action = PutObject::new(&self.bucket, self.credentials.as_ref(), key);
        for (name, value) in signed {
            action.headers_mut().insert(*name, *value);
        }
        self.send(action, headers, Payload::Bytes(reader, size), deadline)
    }

    /// Writes a small object over an earlier one.
    pub(super) fn put_document(&self, key: &str, text: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + DEADLINE;
        let hash = Hash::of(&mut text.as_bytes())
            .map_err(|error| Failure::Unanswered(error.to_string()))?;
        let signed = [
            ("content-md5", hash.base64.as_str()),
            ("content-type", "text/plain"),
        ];
        let size = text.len() as u64;
        retry(deadline, || {
            let mut body = text.as_bytes();
            self.put_once(key, &signed, &[], (&mut body, size), deadline)?
                .document()
        })?;
        Ok(())
    }

    /// Copies an object whose entity tag is `etag`. `metadata` replaces its metadata; without, it is kept.
    pub(super) fn copy(
        &self,
        from: &str,
        to: &str,
        etag: &str,
        metadata: Option<&Metadata>,
    ) -> Result<(), Failure> {
        let deadline = Instant::now() + DEADLINE;
        // Keys of this store have no character that would have to be encoded.
        let source = format!("/{}/{from}", self.bucket.name());
        let etag = format!("\"{etag}\"");
        let document = retry(deadline, || {
            let mut action = PutObject::new(&self.bucket, self.credentials.as_ref(), to);
            let headers = action.headers_mut();
            headers.insert("x-amz-copy-source", source.as_str());
            headers.insert("x-amz-copy-source-if-match", etag.as_str());
            let directive = if metadata.is_some() {
                "REPLACE"
            } else {
                "COPY"
            };
            headers.insert("x-amz-metadata-directive", directive);
            for (name, value) in metadata.map(Metadata::headers).unwrap_or_default() {
                headers.insert(name, value);
            }
            let empty: &mut dyn Read = &mut io::empty();
            let reply = self.send(action, &[], Payload::Bytes(empty, 0), deadline)?;
            let document = reply.document()?;
            // S3 begins its reply before the copy ends, so a failure may have the status 200.
            if document.contains("<Error") {
                return Err(Failure::refused(
                    500,
                    None,
                    &document,
                    time::UtcDateTime::now(),
                ));
            }
            Ok(document)
        })?;
        let copied = instant_xml::from_str::<CopyResult>(&document).ok();
        match copied.and_then(|result| result.etag) {
            // With encryption of the store's own the tags of a copy differ.
            Some(copy) if unquoted(&copy).is_empty() => {
                Err(Failure::Unanswered("the copy has no entity tag".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// Deletes one object, once.
    pub(super) fn delete_once(&self, key: &str, deadline: Instant) -> Result<(), Failure> {
        let action = DeleteObject::new(&self.bucket, self.credentials.as_ref(), key);
        self.send(action, &[], Payload::Nothing, deadline)?
            .document()?;
        Ok(())
    }

    /// Deletes objects; one that does not exist is no failure. The results are in the order of `keys`.
    pub(super) fn delete(&self, keys: &[String]) -> Vec<Result<(), Failure>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for keys in keys.chunks(DELETED_TOGETHER) {
            outcomes.extend(self.delete_together(keys));
        }
        outcomes
    }

    fn delete_together(&self, keys: &[String]) -> Vec<Result<(), Failure>> {
        let deadline = Instant::now() + DEADLINE;
        let mut outcomes: Vec<Result<(), Failure>> = keys.iter().map(|_| Ok(())).collect();
        // The positions in `keys` of those that are left to be deleted.
        let mut left: Vec<usize> = (0..keys.len()).collect();
        let finished = retry(deadline, || {
            let objects: Vec<_> = left
                .iter()
                .map(|&at| ObjectIdentifier::new(keys[at].clone()))
                .collect();
            let errors = self.delete_objects(&objects, deadline)?;
            let mut again = Vec::new();
            let mut failure = None;
            for error in errors {
                let Some(at) = left.iter().copied().find(|&at| keys[at] == error.key) else {
                    continue;
                };
                if error.code == "NoSuchKey" {
                    continue;
                }
                let refused = Failure::Refused {
                    status: if is_transient_code(&error.code) {
                        503
                    } else {
                        403
                    },
                    code: error.code,
                    message: error.message,
                    clocks: None,
                };
                if refused.is_transient() {
                    again.push(at);
                    failure = Some(refused);
                } else {
                    outcomes[at] = Err(refused);
                }
            }
            left = again;
            failure.map_or(Ok(()), Err)
        });
        if let Err(failure) = finished {
            for at in left {
                outcomes[at] = Err(failure.clone());
            }
        }
        outcomes
    }

    /// One DeleteObjects request; the objects that could not be deleted.
    fn delete_objects(
        &self,
        objects: &[ObjectIdentifier],
        deadline: Instant,
    ) -> Result<Vec<ErrorObject>, Failure> {
        let mut action =
            DeleteObjects::new(&self.bucket, self.credentials.as_ref(), objects.iter());
        action.set_quiet(true);
        let (body, hash) = action.clone().body_with_md5();
        action.headers_mut().insert("content-md5", hash);
        action
            .headers_mut()
            .insert("content-type", "application/xml");
        let mut reader = body.as_bytes();
        let payload = Payload::Bytes(&mut reader, body.len() as u64);
        let document = self.send(action, &[], payload, deadline)?.document()?;
        DeleteObjectsResponse::parse(&document)
            .map(|response| response.errors)
            .map_err(|error| unreadable("DeleteObjects", &error))
    }
}

pub(super) fn object_of(reply: &Reply) -> Result<Object, Failure> {
    Object::of(&reply.headers).ok_or_else(|| {
        Failure::Unanswered("an object without Content-Length or Last-Modified".to_owned())
    })
}

pub(super) fn unreadable(request: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::Unanswered(format!("its reply to {request} cannot be read: {error}"))
}
