//! Uploads with an `Idempotency-Key`: one that is repeated gets the reply of the first, and is stored and counted once.
//!
//! ```text
//! same key, same upload        the image that was stored, whatever the quota is now
//! same key, another upload     422
//! while the first one runs     409; the client repeats it
//! after a refused upload       a new upload: nothing was remembered
//! ```

use std::io;

use time::UtcDateTime;

use super::submission::Source;
use crate::app::App;
use crate::commit::CUT_OFF_AFTER;
use crate::error::{Error, Fault, Refusal};
use crate::expiry::StoreDuration;
use crate::fastcgi::params::Params;
use crate::idempotency::{Begun, Fingerprint, REMEMBERED, UploadKey};
use crate::ledger::{ClientKey, ImageRow, KeyedUpload};
use crate::timestamp::Timestamp;

/// The key of a request; `None` if it has none.
pub(super) fn key_of(params: &Params) -> Result<Option<Fingerprint>, Refusal> {
    match params.get("HTTP_IDEMPOTENCY_KEY").unwrap_or_default() {
        b"" => Ok(None),
        header => Fingerprint::of_key(header)
            .map(Some)
            .ok_or(Refusal::InvalidKey),
    }
}

/// An upload with a key, which no other upload of this process has at the same time.
pub(super) struct Keyed<'a> {
    begun: Begun<'a>,
    /// The upload that was stored with the key.
    earlier: Option<KeyedUpload>,
}

impl<'a> Keyed<'a> {
    /// Takes the key, and looks up what was stored with it.
    pub(super) fn begin(
        app: &'a App,
        client: ClientKey,
        key: Fingerprint,
        now: UtcDateTime,
    ) -> Result<Self, Error> {
        let begun = app.keyed_uploads.begin(client.0, key);
        let begun = begun.ok_or(Refusal::UploadInProgress)?;
        let since = Timestamp::from(now).minus(REMEMBERED);
        let earlier = app.ledger.keyed_upload(client, key, since);
        Ok(Self {
            begun,
            earlier: earlier.map_err(Fault::from)?,
        })
    }

    /// Whether something was stored with the key.
    pub(super) const fn is_known(&self) -> bool {
        self.earlier.is_some()
    }

    /// What the ledger keeps of an upload of `source` for `duration`.
    pub(super) fn upload_key(&self, source: &Source, duration: StoreDuration) -> UploadKey {
        UploadKey {
            key: self.begun.key(),
            request: match source {
                Source::File(file) => Fingerprint::of_file(duration, &file.sha256()),
                Source::Url(url) => Fingerprint::of_url(duration, url),
            },
        }
    }

    /// The image that was stored with the key; `None` if the upload is the first one. Refuses another upload with the same key.
    pub(super) fn image(
        &self,
        app: &App,
        request: Fingerprint,
        now: UtcDateTime,
    ) -> Result<Option<ImageRow>, Error> {
        let Some(earlier) = &self.earlier else {
            return Ok(None);
        };
        if earlier.request != request {
            return Err(Refusal::KeyReused.into());
        }
        let image = &earlier.image;
        // The file of an image in quarantine is elsewhere, before its row is marked. Looked at twice, since one that is released meanwhile
        // has come back when the quarantine is looked at.
        let is_there = || -> io::Result<bool> {
            Ok(app.store.stat(&image.path)?.is_some()
                || app.store.stat_quarantined(&image.path)?.is_some())
        };
        if is_there().map_err(Fault::saving)? || is_there().map_err(Fault::saving)? {
            return Ok(Some(image.clone()));
        }
        if image.uploaded_at >= Timestamp::from(now).minus(CUT_OFF_AFTER) {
            // Another process may be about to publish it.
            return Err(Refusal::UploadInProgress.into());
        }
        // What the sweep does with a row without a file.
        app.ledger
            .refund(std::slice::from_ref(&image.path))
            .map_err(Fault::from)?;
        Ok(None)
    }
}
