//! Receives the bytes of an image: they pass the image check on their way into the spool. Only
//! those of an image with a damaged structure are read back, to be decoded.

use std::io::{self, BufRead, Read, Write};
use std::time::Instant;

use crate::app::App;
use crate::error::{Error, Fault, Refusal};
use crate::image::metadata::Layout;
use crate::image::{self, Inspected, Limits, Rejected};
use crate::image_digest::{ImageDigest, RunningDigest};
use crate::store::Spool;

/// Bytes that were received.
#[derive(Debug)]
pub(super) struct Received {
    /// How many, also of those that were dropped.
    pub(super) size: u64,
    /// Their SHA-256, where it was asked for.
    sha256: Option<[u8; 32]>,
    /// The image, or why it cannot be stored; `None` if there were no bytes.
    pub(super) content: Option<Result<Content, Error>>,
}

/// An image in the spool.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) spool: Spool,
    pub(super) inspected: Inspected,
    pub(super) layout: Layout,
    /// The digest of the bytes as they came; `None` if no image is blocked.
    pub(super) digest: Option<ImageDigest>,
}

impl Received {
    /// The SHA-256 of the bytes; zeros where it was not asked for.
    pub(super) fn sha256(&self) -> [u8; 32] {
        self.sha256.unwrap_or_default()
    }
}

/// Reads `reader` to its end and writes at most `limit` bytes to the spool, while the image check reads along. The error is the
/// reader's; every other one is in [`Received::content`], since a form may still be refused for a reason that comes first.
/// `hashes` asks for the SHA-256 of the bytes.
pub(super) fn receive(
    app: &App,
    reader: impl BufRead,
    limit: u64,
    hashes: bool,
) -> io::Result<Received> {
    let blocks = app.block_list.is_used(&*app.ledger, Instant::now());
    let is_hashed = hashes || matches!(blocks, Ok(true));
    let mut tee = Tee {
        app,
        reader,
        limit,
        size: 0,
        buffered: 0,
        digest: is_hashed.then(RunningDigest::default),
        spooling: match &blocks {
            Ok(_) => Spooling::Empty,
            Err(error) => Spooling::Failed(error.clone().into()),
        },
        failure: None,
    };
    let inspection = image::survey(&mut tee, app.config.images);
    if inspection.is_err() {
        tee.spooling.discard();
    }
    // Bytes behind the image's end are stored with it.
    while tee.failure.is_none() {
        match tee.fill_buf() {
            Ok([]) => break,
            Ok(piece) => {
                let length = piece.len();
                tee.consume(length);
            }
            Err(_) => {}
        }
    }
    if let Some(error) = tee.failure {
        return Err(error);
    }
    let digest = tee.digest.map(RunningDigest::finish);
    let content = match (tee.spooling, inspection) {
        (Spooling::Empty, _) => None,
        (Spooling::Failed(fault), _) => Some(Err(fault.into())),
        (_, Err(rejected)) => Some(Err(refusal(rejected, app.config.images))),
        (Spooling::Discarded, Ok(_)) => Some(Err(Refusal::FileTooLarge { max_size: limit }.into())),
        (Spooling::Complete(spool), Ok((inspection, layout))) => Some(
            inspection
                .resolve(|| spool.reader())
                .map_err(|rejected| refusal(rejected, app.config.images))
                .map(|inspected| Content {
                    spool,
                    inspected,
                    layout,
                    digest: digest.filter(|_| matches!(blocks, Ok(true))),
                }),
        ),
    };
    Ok(Received {
        size: tee.size,
        sha256: digest.map(|digest| digest.0),
        content,
    })
}

fn refusal(rejected: Rejected, limits: Limits) -> Error {
    match rejected {
        Rejected::InvalidType(_) => Refusal::InvalidFileType.into(),
        Rejected::TooLarge { .. } | Rejected::AnimationTooLarge { .. } => {
            Refusal::DimensionsTooLarge {
                max_side: limits.max_side,
                max_megapixels: limits.max_megapixels,
            }
            .into()
        }
        Rejected::Read(error) => Fault::SaveImage(error).into(),
    }
}

/// The state of the spool file.
#[derive(Debug)]
enum Spooling {
    /// No bytes have come; the file is not created yet.
    Empty,
    /// All bytes that have come are in the file.
    Complete(Spool),
    /// The bytes are more than the limit, or no image. The file is deleted.
    Discarded,
    /// The file could not be created or written.
    Failed(Fault),
}

impl Spooling {
    fn write(&mut self, app: &App, piece: &[u8]) {
        if matches!(self, Self::Empty) {
            let spool = app
                .check_free_space()
                .and_then(|()| app.store.spool().map_err(Fault::saving));
            *self = spool.map_or_else(Self::Failed, Self::Complete);
        }
        if let Self::Complete(spool) = self
            && let Err(error) = spool.write_all(piece)
        {
            *self = Self::Failed(Fault::saving(error));
        }
    }

    fn discard(&mut self) {
        if matches!(self, Self::Complete(_)) {
            *self = Self::Discarded;
        }
    }
}

/// A reader that writes each piece to the spool before it hands it out.
struct Tee<'a, R> {
    app: &'a App,
    reader: R,
    limit: u64,
    /// Bytes that have come.
    size: u64,
    /// Bytes of the reader's buffer that were written and not yet consumed.
    buffered: usize,
    /// The digest of the bytes that have come, where it is needed.
    digest: Option<RunningDigest>,
    spooling: Spooling,
    /// Why the reader failed.
    failure: Option<io::Error>,
}

impl<R: BufRead> BufRead for Tee<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.buffered == 0 {
            let piece = match self.reader.fill_buf() {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the source failed"));
                }
                piece => piece?,
            };
            self.buffered = piece.len();
            self.size += piece.len() as u64;
            if self.size > self.limit {
                self.spooling.discard();
            }
            if let Some(digest) = &mut self.digest {
                digest.update(piece);
            }
            if !piece.is_empty() {
                self.spooling.write(self.app, piece);
            }
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        self.buffered -= length;
        self.reader.consume(length);
    }
}

impl<R: BufRead> Read for Tee<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(out)?;
        self.consume(length);
        Ok(length)
    }
}
