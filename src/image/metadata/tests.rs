use proptest::prelude::*;

use super::*;
use crate::image::samples::{self, gif, gif_image};
use crate::image::{Inspection, Limits, survey};

/// Applies a policy as an upload does, in memory.
fn stripped(image: &[u8], policy: Policy) -> Vec<u8> {
    let (_, layout) = survey(&mut &*image, Limits::NONE).expect("an image");
    super::stripped(image, &layout.blocks, policy).expect("whole blocks")
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(bytes, text).is_some()
}

fn number(is_big_endian: bool, value: u32, length: usize) -> Vec<u8> {
    if is_big_endian {
        value.to_be_bytes()[4 - length..].to_vec()
    } else {
        value.to_le_bytes()[..length].to_vec()
    }
}

/// Exif with an orientation, a description, and a GPS directory whose only value is a text.
fn exif_with_position(is_big_endian: bool, orientation: u32) -> Vec<u8> {
    let n = |value, length| number(is_big_endian, value, length);
    let entry =
        |tag, kind, count, value: Vec<u8>| [n(tag, 2), n(kind, 2), n(count, 4), value].concat();
    let mut tiff = if is_big_endian { b"MM\0*" } else { b"II*\0" }.to_vec();
    tiff.extend(n(8, 4));
    tiff.extend(n(3, 2));
    tiff.extend(entry(0x010E, 2, 8, n(68, 4)));
    tiff.extend(entry(0x0112, 3, 1, [n(orientation, 2), n(0, 2)].concat()));
    tiff.extend(entry(0x8825, 4, 1, n(50, 4)));
    tiff.extend(n(0, 4));
    assert_eq!(tiff.len(), 50);
    tiff.extend(n(1, 2));
    tiff.extend(entry(0x001B, 2, 9, n(76, 4)));
    tiff.extend(n(0, 4));
    assert_eq!(tiff.len(), 68);
    tiff.extend(b"evening\0Ottobrunn");
    tiff
}

#[test]
fn the_gps_directory_is_removed_and_the_rest_stays() {
    for is_big_endian in [true, false] {
        for orientation in 1..=8 {
            let mut tiff = exif_with_position(is_big_endian, orientation);
            let length = tiff.len();
            assert!(exif::scrub(&mut tiff, Policy::StripLocation));
            assert_eq!(tiff.len(), length);
            assert!(contains(&tiff, b"evening\0") && !contains(&tiff, b"Ottobrunn"));
            assert_eq!(tiff[8..10], number(is_big_endian, 2, 2), "entries");
            assert!(tiff[50..68].iter().all(|&byte| byte == 0));
            let found = crate::image::exif::orientation_of(&tiff);
            assert_eq!(found.map(u32::from), Some(orientation));
            assert!(!exif::scrub(&mut tiff, Policy::StripLocation), "again");
            assert!(exif::scrub(&mut tiff, Policy::Strip));
            assert!(!contains(&tiff, b"evening"));
            let found = crate::image::exif::orientation_of(&tiff);
            assert_eq!(found.map(u32::from), Some(orientation));
        }
    }
}

#[test]
fn exif_without_a_position_is_unchanged() {
    let tiff = samples::ifd(true, &[samples::orientation(6), (0x0213, 3, 1, 1)]);
    let mut copy = tiff.clone();
    assert!(!exif::scrub(&mut copy, Policy::StripLocation));
    assert_eq!(copy, tiff);
}

/// Found by fuzzing: a directory that overlaps others or their values becomes different entries when entries are removed.
#[test]
fn regression_exif_with_directories_that_overlap_keeps_the_orientation_alone() {
    let tiff = include_bytes!("../../../tests/fuzz/seeds/metadata/exif_overlap");
    let mut block = tiff.to_vec();
    assert!(exif::scrub(&mut block, Policy::StripLocation));
    let once = block.clone();
    assert!(!exif::scrub(&mut block, Policy::StripLocation));
    assert_eq!(block, once);
}

#[test]
fn properties_for_places_are_removed_from_xmp() {
    let cases: [(&str, Option<&str>); 10] = [
        ("<a b=\"1\"/>", Some("<a b=\"1\"/>")),
        (
            "<a exif:GPSLatitude=\"48,3N\" b='1'/>",
            Some("<a                            b='1'/>"),
        ),
        (
            "<a><exif:GPSLatitude>48,3N</exif:GPSLatitude><b/></a>",
            Some("<a>                                          <b/></a>"),
        ),
        (
            "<a><x:City/><x:State >B</x:State ></a>",
            Some("<a>                              </a>"),
        ),
        (
            "<a><LocationShown><LocationShown/>x</LocationShown>y</a>",
            Some("<a>                                             y</a>"),
        ),
        // Not well-formed, or a position in another form.
        ("<a exif:GPSLatitude=48/>", None),
        ("<a><b></a>", None),
        ("<a>latitude 48</a>", None),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", None),
        ("<a", None),
    ];
    for (packet, expected) in cases {
        let mut bytes = packet.as_bytes().to_vec();
        let found = xmp::remove_location(&mut bytes);
        let after = found.map(|_| str::from_utf8(&bytes).expect("UTF-8"));
        let expected_trimmed = expected.map(|text| text.replace(' ', ""));
        assert_eq!(
            after.map(|text| text.replace(' ', "")),
            expected_trimmed,
            "{packet}"
        );
        assert_eq!(bytes.len(), packet.len());
        if let Some(changed) = found {
            assert_eq!(changed, bytes != packet.as_bytes());
        }
    }
}

#[test]
fn datasets_for_places_are_removed_from_iptc() {
    let dataset = |number: u8, text: &str| {
        let length = u8::try_from(text.len()).expect("short");
        [&[0x1C, 2, number, 0, length], text.as_bytes()].concat()
    };
    let resource = |number: u16, data: &[u8]| {
        let length = u32::try_from(data.len()).expect("short").to_be_bytes();
        let padding = vec![0; data.len() % 2];
        [
            b"8BIM",
            &number.to_be_bytes()[..],
            b"\0\0",
            &length,
            data,
            &padding,
        ]
        .concat()
    };
    let data = [
        dataset(5, "a title"),
        dataset(90, "Ottobrunn"),
        dataset(80, "me"),
    ]
    .concat();
    let before = [resource(0x03ED, b"resolution"), resource(0x0404, &data)].concat();
    let mut after = before.clone();
    assert_eq!(iptc::remove_location(&mut after), Some(true));
    let kept = [dataset(5, "a title"), dataset(80, "me")].concat();
    let mut expected = [resource(0x03ED, b"resolution"), resource(0x0404, &kept)].concat();
    expected.resize(before.len(), 0);
    assert_eq!(after, expected);
    assert_eq!(iptc::remove_location(&mut after), Some(false), "again");
    for cut in 1..before.len() - 2 {
        // What is not understood is dropped as a whole.
        let mut part = before[..cut].to_vec();
        if iptc::remove_location(&mut part).is_some() {
            assert_eq!(cut, resource(0x03ED, b"resolution").len());
        }
    }
}

#[test]
fn padding_takes_the_place_of_a_block() {
    for length in 14..3_000 {
        for kind in [
            Kind::Jpeg(0xE1),
            Kind::Png(*b"eXIf"),
            Kind::WebP(*b"EXIF"),
            Kind::Gif(0xFE),
        ] {
            let mut out = Vec::new();
            padding(kind, length, &mut out).expect("a vector takes it");
            assert_eq!(out.len() as u64, length, "{kind:?}");
        }
    }
    for length in (2..20).chain(250..600).filter(|&length| length != 3) {
        let mut extension = Vec::new();
        padding(Kind::Gif(0xFE), length, &mut extension).expect("a vector takes it");
        assert_eq!(extension.len() as u64, length);
        let blocks = [b"!", &extension[..], &gif_image(0, 0, 1, 1)].concat();
        let image = gif(b"GIF89a", 1, 1, &blocks);
        let (inspection, layout) = survey(&mut &*image, Limits::NONE).expect("a GIF");
        assert!(matches!(inspection, Inspection::Whole(_)));
        assert_eq!(layout.end, image.len() as u64, "{length}");
        assert_eq!(layout.blocks[0].length, length);
    }
}

#[test]
fn a_damaged_chunk_does_not_become_a_good_one() {
    let mut chunk = [
        &90_u32.to_be_bytes()[..],
        b"eXIf",
        &exif_with_position(true, 6),
    ]
    .concat();
    chunk[3] = u8::try_from(chunk.len() - 8).expect("short");
    chunk.extend([0; 4]);
    let metadata = Metadata::Exif(8);
    assert_eq!(
        scrub(Kind::Png(*b"eXIf"), metadata, &mut chunk, Policy::Strip),
        None
    );
}

proptest! {
    /// Whatever is in the block, the image keeps its size as shown, and a second run changes nothing.
    #[test]
    fn any_exif_is_scrubbed_without_turning_the_image(
        is_big_endian: bool,
        changes in prop::collection::vec((0_usize..85, any::<u8>()), 0..12),
        length in 0_usize..86,
    ) {
        let mut tiff = exif_with_position(is_big_endian, 6);
        for (at, byte) in changes {
            tiff[at] = byte;
        }
        tiff.truncate(length);
        for policy in [Policy::StripLocation, Policy::Strip] {
            let payload = [b"Exif\0\0", &tiff[..]].concat();
            let segment = samples::jpeg_segment(0xE1, &payload);
            let image = samples::jpeg(0xC0, 3, 2, 1, &[segment]);
            let after = stripped(&image, policy);
            let size = |bytes: &[u8]| crate::image::size_of(&mut &*bytes);
            prop_assert_eq!(size(&image), size(&after));
            prop_assert_eq!(stripped(&after, policy), after.clone());
        }
    }
}
