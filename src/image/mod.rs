//! Is this an image, of which type and size? Decided from its bytes alone.

mod gif;
mod jpeg;
mod png;
#[cfg(test)]
mod samples;
mod source;
#[cfg(test)]
mod tests;
mod webp;

use std::io::{self, BufRead, Read};

use self::source::Source;

/// How much of a file's head names its type: the longest magic number, WebP's, ends here.
const HEAD_LENGTH: usize = 12;

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
///
/// The bytes alone decide. Their head names a type, then the whole structure is walked, from front to back and with constant
/// memory, so that a file that is cut off anywhere is refused. A broken image is [`Rejected::InvalidType`] even where it is
/// too large as well. Bytes after the image's end are neither read nor refused.
pub fn inspect(source: &mut impl BufRead, limits: Limits) -> Result<Inspected, Rejected> {
    let mut head = Vec::with_capacity(HEAD_LENGTH);
    source
        .by_ref()
        .take(HEAD_LENGTH as u64)
        .read_to_end(&mut head)?;
    let Some(image_type) = type_of(&head) else {
        return invalid("no image of an accepted type");
    };

    let mut source = Source::new(head.as_slice().chain(source));
    let mut sizes = Sizes { limits, over: None };
    let (width, height) = match image_type {
        ImageType::Jpeg => jpeg::walk(&mut source, &mut sizes),
        ImageType::Png => png::walk(&mut source, &mut sizes),
        ImageType::Gif => gif::walk(&mut source, &mut sizes),
        ImageType::WebP => webp::walk(&mut source, &mut sizes),
    }?;
    if let Some((width, height)) = sizes.over {
        return Err(Rejected::TooLarge { width, height });
    }
    Ok(Inspected {
        image_type,
        width,
        height,
    })
}

/// What the magic numbers at the head of a file name.
fn type_of(head: &[u8]) -> Option<ImageType> {
    match infer::get(head)?.mime_type() {
        "image/jpeg" => Some(ImageType::Jpeg),
        "image/png" => Some(ImageType::Png),
        "image/gif" => Some(ImageType::Gif),
        "image/webp" => Some(ImageType::WebP),
        _ => None,
    }
}

/// Every width and height that a file declares, for the whole and for its parts, is held against the limits here.
struct Sizes {
    limits: Limits,
    /// The first that is over them. It waits for the end of the walk, because a broken file is a broken file first.
    over: Option<(u32, u32)>,
}

impl Sizes {
    fn note(&mut self, width: u32, height: u32) -> Result<(), Rejected> {
        if width == 0 || height == 0 {
            return invalid("width or height 0");
        }
        let most_pixels = u64::from(self.limits.max_megapixels) * 1_000_000;
        if width.max(height) > self.limits.max_side
            || u64::from(width) * u64::from(height) > most_pixels
        {
            self.over.get_or_insert((width, height));
        }
        Ok(())
    }
}

fn invalid<T>(why: &'static str) -> Result<T, Rejected> {
    Err(Rejected::InvalidType(why))
}
