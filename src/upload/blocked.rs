//! Refuses images that are on the block list.

use crate::app::App;
use crate::error::{Error, Fault, Refusal};
use crate::image_digest::ImageDigest;
use crate::store::Spool;
use crate::trace::Trace;

/// Fails if the image is blocked: by the digest of the bytes as they came, or by that of the `changed` ones that are to be stored. Metadata
/// may have been removed from them, and `image block` blocks what is stored. Without a digest no image is blocked.
pub(super) fn refuse_blocked(
    app: &App,
    digest: Option<ImageDigest>,
    changed: Option<&Spool>,
    trace: &mut Trace,
) -> Result<(), Error> {
    let Some(digest) = digest else {
        return Ok(());
    };
    let mut digests = vec![digest];
    if let Some(spool) = changed {
        let stored = spool.reader().and_then(ImageDigest::of);
        digests.push(stored.map_err(Fault::SaveImage)?);
    }
    if app.ledger.is_blocked(&digests).map_err(Fault::from)? {
        let digests: Vec<_> = digests.iter().map(ImageDigest::to_string).collect();
        trace.cause = Some(format!("blocked: sha256 {}", digests.join(", ")));
        return Err(Refusal::ImageNotAllowed.into());
    }
    Ok(())
}
