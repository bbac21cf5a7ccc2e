//! Uploads that are repeated after a lost reply: the header `Idempotency-Key`
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).
//!
//! A key belongs to the client that sends it. The ledger remembers it with the image that was stored; nothing is remembered of a refused
//! upload.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::expiry::{DAY_SECONDS, StoreDuration};

/// How long a key is remembered, in seconds.
pub(crate) const REMEMBERED: i64 = DAY_SECONDS;

/// The longest key, in bytes.
pub(crate) const MAX_KEY: usize = 255;

/// The first 16 bytes of a SHA-256. A client could only find two of its own that are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update(part);
        }
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hasher.finalize()[..16]);
        Self(fingerprint)
    }

    /// That of an `Idempotency-Key`: 1 to [`MAX_KEY`] visible ASCII characters, with or without the quotation marks of a structured field
    /// (RFC 8941). `None` for any other value.
    pub(crate) fn of_key(header: &[u8]) -> Option<Self> {
        let key = header
            .strip_prefix(b"\"")
            .and_then(|rest| rest.strip_suffix(b"\""))
            .filter(|inner| !inner.is_empty())
            .unwrap_or(header);
        let is_legal = (1..=MAX_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
        is_legal.then(|| Self::of(&[key]))
    }

    /// That of an upload: how long the image is kept, and the SHA-256 of its bytes.
    pub(crate) fn of_file(duration: StoreDuration, sha256: &[u8; 32]) -> Self {
        Self::of(&[duration.code().as_bytes(), b" file ", sha256])
    }

    /// That of an upload by URL: how long the image is kept, and `image_url`.
    pub(crate) fn of_url(duration: StoreDuration, url: &[u8]) -> Self {
        Self::of(&[duration.code().as_bytes(), b" url ", url])
    }
}

/// What an upload with an `Idempotency-Key` is recognized by when it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UploadKey {
    /// That of the key.
    pub key: Fingerprint,
    /// That of what is uploaded, which is the same in a repetition.
    pub request: Fingerprint,
}

/// A client's key, by the number of the client.
type Key = (i64, Fingerprint);

/// The uploads of this process whose keys are in use now: of two at the same time, one is refused.
#[derive(Debug, Default)]
pub(crate) struct InProgress(Mutex<HashSet<Key>>);

impl InProgress {
    /// Takes a key until the guard is dropped; `None` while another upload has it.
    pub(crate) fn begin(&self, client: i64, key: Fingerprint) -> Option<Begun<'_>> {
        let key = (client, key);
        // Lazily: an eager `Begun` of a key that is in use would be dropped at once, and free it.
        let is_free = self.lock().insert(key);
        is_free.then(|| Begun { uploads: self, key })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An upload with a key that has begun.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    uploads: &'a InProgress,
    key: Key,
}

impl Begun<'_> {
    /// That of its key.
    pub(crate) const fn key(&self) -> Fingerprint {
        self.key.1
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.uploads.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_with_and_without_quotation_marks() {
        let plain = Fingerprint::of_key(b"8e03978e-40d5-43dd-bc93-6894a57f9324");
        assert!(plain.is_some());
        let quoted = Fingerprint::of_key(b"\"8e03978e-40d5-43dd-bc93-6894a57f9324\"");
        assert_eq!(quoted, plain);
        assert_ne!(Fingerprint::of_key(b"8e03978e"), plain);
        assert!(Fingerprint::of_key(&[b'x'; MAX_KEY]).is_some());
        for wrong in [&b""[..], b"a b", b"a\n", b"\xC3\xA4", &[b'x'; MAX_KEY + 1]] {
            assert_eq!(Fingerprint::of_key(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn uploads_differ_by_duration_kind_and_content() {
        use StoreDuration::{Days7, Month1};
        let all = [
            Fingerprint::of_file(Days7, &[1; 32]),
            Fingerprint::of_file(Days7, &[2; 32]),
            Fingerprint::of_file(Month1, &[1; 32]),
            Fingerprint::of_url(Days7, &[1; 32]),
        ];
        for (number, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(number));
        }
    }

    #[test]
    fn a_key_is_in_use_until_its_upload_has_ended() {
        let uploads = InProgress::default();
        let key = Fingerprint([7; 16]);
        let begun = uploads.begin(1, key).expect("free");
        assert!(uploads.begin(1, key).is_none());
        assert!(uploads.begin(2, key).is_some(), "another client's");
        drop(begun);
        assert!(uploads.begin(1, key).is_some());
    }
}
