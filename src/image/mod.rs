//! Is this an image, of which type and size? Decided from its bytes alone.

use std::io::{self, BufRead};

/// The image types that are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// JPEG (ITU-T T.81).
    Jpeg,
    /// PNG (W3C Portable Network Graphics).
    Png,
    /// GIF 87a and 89a.
    Gif,
    /// WebP (RFC 9649).
    WebP,
}

impl ImageType {
    /// Every type, in the order the API lists them.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Gif, Self::WebP];
}

/// The largest image that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest side, in pixels.
    pub max_side: u32,
    /// Width × height, in megapixels (1,000,000 pixels).
    pub max_megapixels: u32,
}

/// What an image says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// Its type.
    pub image_type: ImageType,
    /// Its width in pixels, at least 1.
    pub width: u32,
    /// Its height in pixels, at least 1.
    pub height: u32,
}

/// Why an image is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Rejected {
    /// Not an image of an accepted type, or a broken one; the text says where, for the log.
    #[error("not an accepted image: {0}")]
    InvalidType(&'static str),
    /// Larger than the limits.
    #[error("{width} × {height} pixels are over the limit")]
    TooLarge {
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
    },
    /// The source could not be read.
    #[error("the image could not be read: {0}")]
    Read(#[from] io::Error),
}

/// Reads an image to its end and says what it is.
pub fn inspect(_source: &mut impl BufRead, _limits: Limits) -> Result<Inspected, Rejected> {
    Err(Rejected::InvalidType("not written yet"))
}
