//! The image object: an image as every reply of the API describes it, with the same keys in the same order.

use serde_json::{Value, json};

use crate::app::App;
use crate::expiry::expires_at;
use crate::image_path::{ImagePath, content_type_of};
use crate::ledger::ImageRow;
use crate::plan::{Plan, UrlKind};
use crate::timestamp::Timestamp;

/// A stored image.
#[derive(Debug, Clone)]
pub(crate) struct StoredImage {
    /// Its path.
    pub path: ImagePath,
    /// Bytes.
    pub size: u64,
    /// Pixels, as shown: a JPEG's EXIF orientation is heeded.
    pub width: u32,
    /// Pixels, as shown.
    pub height: u32,
    /// When it was uploaded.
    pub uploaded_at: Timestamp,
    /// When it expires; `None` for a lifetime image.
    pub expires_at: Option<Timestamp>,
}

impl From<ImageRow> for StoredImage {
    fn from(row: ImageRow) -> Self {
        Self {
            path: row.path,
            size: row.size,
            width: row.width,
            height: row.height,
            uploaded_at: row.uploaded_at,
            expires_at: row.expires_at,
        }
    }
}

impl StoredImage {
    /// The object. Its first two keys are those that the documented reply to an upload has: `url` is the image or its viewer page,
    /// whichever the plan gives.
    pub(crate) fn to_json(&self, app: &App, plan: &Plan) -> Value {
        let public_url = app.config.site.public_url();
        let direct = self.path.direct_url(public_url);
        let viewer = self.path.viewer_url(public_url);
        let url = match plan.url {
            UrlKind::Viewer => &viewer,
            UrlKind::Direct => &direct,
        };
        json!({
            "url": url,
            "expires_at": expires_at(self.expires_at),
            "path": self.path.as_str(),
            "direct": direct,
            "viewer": viewer,
            "bytes": self.size,
            "type": content_type_of(self.path.image_type()),
            "width": self.width,
            "height": self.height,
            "uploaded_at": self.uploaded_at.to_string(),
            "delete_url": app.delete_keys.url(&self.path, public_url),
        })
    }
}
