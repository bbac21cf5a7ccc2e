//! The orientation tag of Exif metadata (CIPA DC-008, section 4.6.2), read as Chromium reads it.

/// The tag in IFD0.
const ORIENTATION: u16 = 0x0112;
/// The field type of the tag.
const SHORT: u16 = 3;

/// Whether the orientation swaps width and height: values 5 to 8, which turn by 90° or 270°.
///
/// `tiff` begins with the byte order. The first entry of IFD0 that is a legal orientation decides; a damaged or missing one is 1, upright.
pub(super) fn swaps_sides(tiff: &[u8]) -> bool {
    orientation_of(tiff).is_some_and(|orientation| orientation >= 5)
}

/// The orientation, 1 to 8; `None` if it is missing or damaged.
pub(super) fn orientation_of(tiff: &[u8]) -> Option<u16> {
    let is_big_endian = match tiff.first_chunk()? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let u16_at = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if is_big_endian {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let u32_at = |bytes: &[u8], at: usize| {
        let bytes = *bytes.get(at..)?.first_chunk()?;
        Some(if is_big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let directory = tiff.get(usize::try_from(u32_at(tiff, 4)?).ok()?..)?;
    let count = usize::from(u16_at(directory, 0)?);
    directory[2..]
        .chunks(12)
        .take(count)
        .map_while(|entry| {
            let kind = (u16_at(entry, 0)?, u16_at(entry, 2)?, u32_at(entry, 4)?);
            Some((kind, u16_at(entry, 8)?))
        })
        .find(|(kind, value)| *kind == (ORIENTATION, SHORT, 1) && (1..=8).contains(value))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::swaps_sides;
    use crate::image::samples::{ifd, orientation};

    #[test]
    fn orientations_5_to_8_swap_the_sides() {
        for value in 0..=300 {
            for is_big_endian in [true, false] {
                let tiff = ifd(is_big_endian, &[orientation(value)]);
                assert_eq!(swaps_sides(&tiff), (5..=8).contains(&value), "{value}");
            }
        }
    }

    #[test]
    fn the_first_legal_entry_decides() {
        let other = (0x010E, 3, 1, 6);
        for (entries, expected) in [
            (vec![other, orientation(6)], true),
            (vec![orientation(6), orientation(1)], true),
            (vec![orientation(1), orientation(6)], false),
            (vec![orientation(9), orientation(6)], true),
            // Another field type or count is no orientation.
            (vec![(0x0112, 4, 1, 6)], false),
            (vec![(0x0112, 3, 2, 6)], false),
            (vec![], false),
        ] {
            assert_eq!(swaps_sides(&ifd(true, &entries)), expected, "{entries:?}");
        }
    }

    #[test]
    fn damaged_metadata_is_upright() {
        let tiff = ifd(true, &[orientation(6)]);
        let end_of_entry = 8 + 2 + 12;
        for length in 0..tiff.len() {
            // The two bytes behind the value belong to the entry and say nothing.
            assert_eq!(swaps_sides(&tiff[..length]), length >= end_of_entry - 2);
        }
        let far = [&b"MM\0*\xFF\xFF\xFF\xFF"[..], &tiff[8..]].concat();
        assert!(!swaps_sides(&far));
        assert!(!swaps_sides(
            b"XX\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
        ));
    }
}
