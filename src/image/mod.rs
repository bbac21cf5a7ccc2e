//! Type and size of an image, decided from its bytes alone.
//!
//! The yardstick is what browsers show: a file that Chromium and Firefox show whole is accepted, one that they refuse or show in part is
//! not. The structure of a file decides nearly always ([`inspect`], one pass with constant memory); a damaged structure around image data
//! that may still be whole is decided by decoding that data in a second pass ([`Inspection::resolve`]).

mod exif;
mod gif;
mod jpeg;
pub mod metadata;
mod png;
#[cfg(test)]
mod samples;
mod source;
#[cfg(test)]
mod tests;
mod webp;

use std::io::{self, BufRead, BufReader, Read};

use self::metadata::Layout;
use self::source::Source;

/// The length of the longest magic number in bytes: that of WebP.
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
    /// Width × height summed over the frames of an animation, in megapixels.
    pub max_animation_megapixels: u32,
}

impl Limits {
    /// Accepts every size.
    pub const NONE: Self = Self {
        max_side: u32::MAX,
        max_megapixels: u32::MAX,
        max_animation_megapixels: u32::MAX,
    };

    /// Whether an image of this size, in pixels, is too large.
    pub fn refuses(&self, width: u32, height: u32) -> bool {
        width.max(height) > self.max_side || pixels(width, height) > megapixels(self.max_megapixels)
    }
}

impl Default for Limits {
    /// Room for the photographs of a 50-megapixel phone (8160 × 6144) and for its long screenshots.
    fn default() -> Self {
        Self {
            max_side: 32_768,
            max_megapixels: 64,
            max_animation_megapixels: 1_000,
        }
    }
}

/// Type and size of an accepted image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// Its type.
    pub image_type: ImageType,
    /// Its width in pixels as browsers show it, at least 1.
    pub width: u32,
    /// Its height in pixels as browsers show it, at least 1.
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
    /// An animation whose frames have more pixels in all than the limit.
    #[error("an animation of {pixels} pixels in all frames is over the limit")]
    AnimationTooLarge {
        /// Width × height summed over the frames.
        pixels: u64,
    },
    /// The source could not be read.
    #[error("the image could not be read: {0}")]
    Read(#[from] io::Error),
}

/// The result of the first pass.
#[derive(Debug)]
#[must_use]
pub enum Inspection {
    /// The structure is whole.
    Whole(Inspected),
    /// The structure is damaged after the image data began: decoding has to show that the data is whole.
    Damaged(Damaged),
}

/// An image whose structure is damaged, and which is accepted if its data is whole.
#[derive(Debug)]
pub struct Damaged {
    image: Inspected,
    /// The damage, for the log.
    reason: &'static str,
}

impl Inspection {
    /// The verdict. `reread` is called only for a damaged structure, and gives the same bytes again from their beginning.
    pub fn resolve<R: Read>(
        self,
        reread: impl FnOnce() -> io::Result<R>,
    ) -> Result<Inspected, Rejected> {
        let Damaged { image, reason } = match self {
            Self::Whole(image) => return Ok(image),
            Self::Damaged(damaged) => damaged,
        };
        let mut source = Source::new(BufReader::new(reread()?));
        let is_whole = match image.image_type {
            ImageType::Jpeg => jpeg::has_every_block(&mut source),
            ImageType::Png => png::has_every_row(&mut source),
            // Their walks decide by the structure alone.
            ImageType::Gif | ImageType::WebP => Ok(false),
        }?;
        if is_whole { Ok(image) } else { invalid(reason) }
    }
}

/// Reads an image to its end and gives its type and size.
///
/// The magic number names the type, then the whole structure is walked from front to back. A file whose structure breaks off before or
/// within its image data is refused, and a broken image is [`Rejected::InvalidType`] even where it is too large as well. Bytes after the
/// end of the image are neither read nor refused.
pub fn inspect(source: &mut impl BufRead, limits: Limits) -> Result<Inspection, Rejected> {
    survey(source, limits).map(|(inspection, _layout)| inspection)
}

/// Reads an image like [`inspect`], and says where its metadata are.
pub fn survey(source: &mut impl BufRead, limits: Limits) -> Result<(Inspection, Layout), Rejected> {
    let mut head = Vec::with_capacity(HEAD_LENGTH);
    source
        .by_ref()
        .take(HEAD_LENGTH as u64)
        .read_to_end(&mut head)?;
    let Some(image_type) = type_of(&head) else {
        return invalid("no image of an accepted type");
    };

    let mut source = Source::new(head.as_slice().chain(source));
    let mut sizes = Sizes::new(limits);
    let Walked {
        width,
        height,
        damage,
    } = match image_type {
        ImageType::Jpeg => jpeg::walk(&mut source, &mut sizes),
        ImageType::Png => png::walk(&mut source, &mut sizes),
        ImageType::Gif => gif::walk(&mut source, &mut sizes),
        ImageType::WebP => webp::walk(&mut source, &mut sizes),
    }?;
    let image = Inspected {
        image_type,
        width,
        height,
    };
    let inspection = match (damage, sizes.check()) {
        (None, verdict) => verdict.map(|()| Inspection::Whole(image)),
        (Some(reason), Ok(())) => Ok(Inspection::Damaged(Damaged { image, reason })),
        // Nothing over the limits is decoded.
        (Some(reason), Err(_)) => invalid(reason),
    }?;
    Ok((inspection, source.into_layout()))
}

/// Width and height as shown, in pixels, by the beginning of an image; `None` if the image data begins behind it, or it is no image.
pub fn size_of(head: &mut impl BufRead) -> Option<(u32, u32)> {
    match inspect(head, Limits::NONE).ok()? {
        Inspection::Whole(image) | Inspection::Damaged(Damaged { image, .. }) => {
            Some((image.width, image.height))
        }
    }
}

/// The type that the magic number at the head of a file names.
fn type_of(head: &[u8]) -> Option<ImageType> {
    match infer::get(head)?.mime_type() {
        "image/jpeg" => Some(ImageType::Jpeg),
        "image/png" => Some(ImageType::Png),
        "image/gif" => Some(ImageType::Gif),
        "image/webp" => Some(ImageType::WebP),
        _ => None,
    }
}

/// The result of walking a structure that has image data.
struct Walked {
    /// As shown, in pixels.
    width: u32,
    /// As shown, in pixels.
    height: u32,
    /// What is broken after the image data began, where decoding can show that the data is whole.
    damage: Option<&'static str>,
}

impl Walked {
    fn whole((width, height): (u32, u32)) -> Self {
        Self {
            width,
            height,
            damage: None,
        }
    }
}

/// Compares every size that a file declares, for the whole and for its frames, with the limits.
///
/// The verdict waits for the end of the walk, because a broken file is refused as broken whatever its size.
struct Sizes {
    limits: Limits,
    /// The first size over the limits.
    over: Option<(u32, u32)>,
    frames: u32,
    frame_pixels: u64,
}

impl Sizes {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            over: None,
            frames: 0,
            frame_pixels: 0,
        }
    }

    fn note(&mut self, width: u32, height: u32) -> Result<(), Rejected> {
        if width == 0 || height == 0 {
            return invalid("width or height 0");
        }
        if self.limits.refuses(width, height) {
            self.over.get_or_insert((width, height));
        }
        Ok(())
    }

    /// Adds a frame, which is an animation's from the second on.
    fn note_frame(&mut self, width: u32, height: u32) {
        self.frames = self.frames.saturating_add(1);
        self.frame_pixels = self.frame_pixels.saturating_add(pixels(width, height));
    }

    fn check(&self) -> Result<(), Rejected> {
        if let Some((width, height)) = self.over {
            return Err(Rejected::TooLarge { width, height });
        }
        if self.frames > 1 && self.frame_pixels > megapixels(self.limits.max_animation_megapixels) {
            return Err(Rejected::AnimationTooLarge {
                pixels: self.frame_pixels,
            });
        }
        Ok(())
    }
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

fn megapixels(count: u32) -> u64 {
    u64::from(count) * 1_000_000
}

fn invalid<T>(why: &'static str) -> Result<T, Rejected> {
    Err(Rejected::InvalidType(why))
}
