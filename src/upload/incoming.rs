//! The file of a form on its way into the spool. The image check looks at the bytes as they pass, so they are never read back.

use std::io::{self, BufRead, Read, Write};
use std::ops::Range;

use super::submission::Image;
use super::{rejection, too_large};
use crate::app::App;
use crate::error::{Error, Fault, Refusal};
use crate::form::{Form, FormError};
use crate::image;
use crate::store::Spool;

/// Writes the file of the form to the spool, at most `limit` bytes of it, and inspects it; reads it to its end in any case. What goes
/// wrong is kept until it is its turn in the order of refusals. `named` is whether it has a file name.
pub(super) fn receive<R: Read>(
    app: &App,
    form: &mut Form<R>,
    named: bool,
    limit: u64,
) -> Result<Image, Error> {
    let mut incoming = Incoming {
        app,
        form,
        limit,
        piece: 0..0,
        size: 0,
        kept: Kept::Nothing,
        broken: None,
    };
    let verdict = image::inspect(&mut incoming, app.config.images);
    if verdict.is_err() {
        // Nothing of it will be stored, so the rest needs no place.
        incoming.let_go();
    }
    // What follows an image's end is kept with it. An error stays in `broken`.
    while let Ok(true) = incoming.advance() {}
    let Incoming {
        size, kept, broken, ..
    } = incoming;
    if let Some(error) = broken {
        return Err(error.into());
    }
    let content = match (kept, verdict) {
        (Kept::Nothing, _) if !named => return Ok(Image::Absent),
        (Kept::Nothing, _) => Err(Refusal::InvalidFileType.into()),
        (Kept::Failed(fault), _) => Err(fault.into()),
        (_, Err(rejected)) => Err(rejection(rejected, app.config.images)),
        (Kept::Spooled(spool), Ok(inspected)) => Ok((spool, inspected)),
        (Kept::Dropped, Ok(_)) => Err(too_large(limit).into()),
    };
    Ok(Image::Received { size, content })
}

/// What became of the bytes that have come.
#[derive(Debug)]
enum Kept {
    /// None have.
    Nothing,
    /// They are all in the spool.
    Spooled(Spool),
    /// They were let go: more than the limit, or no image.
    Dropped,
    /// They could not be written.
    Failed(Fault),
}

/// The value of the form's present field as a reader. Every byte that is read from it has been written to the spool.
struct Incoming<'a, R> {
    app: &'a App,
    form: &'a mut Form<R>,
    limit: u64,
    /// What the reader has not taken yet of the piece that came last.
    piece: Range<usize>,
    /// Bytes that have come.
    size: u64,
    kept: Kept,
    /// Why the form could not be read to its end.
    broken: Option<FormError>,
}

impl<R: Read> Incoming<'_, R> {
    /// Takes the next piece; `false` at the end of the value.
    fn advance(&mut self) -> io::Result<bool> {
        self.piece = 0..0;
        match self.form.next_range() {
            Ok(Some(piece)) => {
                self.keep(piece.clone());
                self.piece = piece;
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                self.broken = Some(error);
                Err(io::Error::other("the form is broken"))
            }
        }
    }

    fn keep(&mut self, piece: Range<usize>) {
        self.size += piece.len() as u64;
        if matches!(self.kept, Kept::Nothing) {
            let spool = self
                .app
                .check_free_space()
                .and_then(|()| self.app.store.spool().map_err(Fault::saving));
            self.kept = spool.map_or_else(Kept::Failed, Kept::Spooled);
        }
        if self.size > self.limit {
            self.let_go();
        } else if let Kept::Spooled(spool) = &mut self.kept
            && let Err(error) = spool.write_all(self.form.lend(piece))
        {
            self.kept = Kept::Failed(Fault::saving(error));
        }
    }

    /// Deletes what was spooled, and keeps nothing more.
    fn let_go(&mut self) {
        if matches!(self.kept, Kept::Spooled(_)) {
            self.kept = Kept::Dropped;
        }
    }
}

impl<R: Read> BufRead for Incoming<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() {
            self.advance()?;
        }
        Ok(self.form.lend(self.piece.clone()))
    }

    fn consume(&mut self, bytes: usize) {
        self.piece.start += bytes;
    }
}

impl<R: Read> Read for Incoming<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}
