//! The limits of sides, of pixels and of the pixels of all frames.

use super::super::{Limits, Rejected, samples};
use super::{assert_good, assert_invalid, check, check_with};

#[track_caller]
fn assert_too_large(bytes: &[u8], expected: (u32, u32)) {
    match check(bytes) {
        Err(Rejected::TooLarge { width, height }) => assert_eq!((width, height), expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sides_and_pixels_are_limited() {
    let grey = |width, height| {
        samples::png_of(&[
            samples::ihdr(width, height, [1, 0, 0, 0, 0]),
            samples::png_chunk(b"IDAT", b"\x78\x01"),
            samples::png_chunk(b"IEND", &[]),
        ])
    };
    assert_good(&grey(32_768, 1_953));
    assert_good(&grey(1_953, 32_768));
    assert_good(&grey(8_000, 8_000));
    assert_too_large(&grey(32_769, 1), (32_769, 1));
    assert_too_large(&grey(1, 32_769), (1, 32_769));
    assert_too_large(&grey(8_000, 8_001), (8_000, 8_001));
    let most = i32::MAX.unsigned_abs();
    assert_too_large(&grey(most, most), (most, most));
    assert_invalid(&grey(0, 1), "width or height 0");
    assert_invalid(&grey(1, 0), "width or height 0");
    assert_invalid(&grey(most + 1, 1), "PNG: width or height");
    assert!(check_with(&grey(60_000, 60_000), Limits::NONE).is_ok());

    // The largest photographs and screenshots of phones.
    assert_good(&samples::jpeg(0xC0, 8_160, 6_144, 1, &[]));
    assert_good(&samples::jpeg(0xC0, 1_080, 20_000, 1, &[]));
    assert_too_large(&samples::jpeg(0xC0, 32_769, 8, 1, &[]), (32_769, 8));
    let image = samples::gif_image(0, 0, 1, 1);
    assert_too_large(&samples::gif(b"GIF89a", 8, 65_535, &image), (8, 65_535));
    let image = samples::webp_chunk(b"VP8L", &samples::vp8l(16_384, 16_384));
    assert_too_large(&samples::webp(&image), (16_384, 16_384));
}

/// Animations of `frames` frames of `side` × `side` pixels, in the three formats that have them.
fn animations(frames: u32, side: u16) -> [Vec<u8>; 3] {
    let long = u32::from(side);
    let times = |frame: Vec<u8>| frame.repeat(frames as usize);
    let control = [
        &[0; 4][..],
        &long.to_be_bytes(),
        &long.to_be_bytes(),
        &[0; 14],
    ];
    let picture = samples::webp_chunk(b"VP8L", &samples::vp8l(long, long));
    [
        samples::gif(
            b"GIF89a",
            side,
            side,
            &times(samples::gif_image(0, 0, side, side)),
        ),
        samples::png_of(&[
            samples::ihdr(long, long, [1, 0, 0, 0, 0]),
            samples::png_chunk(b"acTL", &[frames.to_be_bytes(), [0; 4]].concat()),
            times(samples::png_chunk(b"fcTL", &control.concat())),
            samples::png_chunk(b"IDAT", b"\x78\x01"),
            samples::png_chunk(b"IEND", &[]),
        ]),
        samples::webp(
            &[
                samples::vp8x(2, long, long),
                samples::webp_chunk(b"ANIM", &[0; 6]),
                times(samples::anmf(0, 0, long, long, &picture)),
            ]
            .concat(),
        ),
    ]
}

#[test]
fn the_pixels_of_all_frames_are_limited() {
    for (frames, side) in [
        (1, 8_000),
        (2, 8_000),
        (15, 8_000),
        (250, 2_000),
        (1_000, 1_000),
    ] {
        for bytes in animations(frames, side) {
            assert_good(&bytes);
        }
    }
    for (frames, side) in [
        (16, 8_000),
        (40, 5_001),
        (251, 2_000),
        (1_001, 1_000),
        (5_000, 500),
    ] {
        for bytes in animations(frames, side) {
            let all = u64::from(frames) * u64::from(side) * u64::from(side);
            let result = check(&bytes);
            assert!(
                matches!(result, Err(Rejected::AnimationTooLarge { pixels }) if pixels == all),
                "{frames} × {side}: {result:?}"
            );
            assert!(check_with(&bytes, Limits::NONE).is_ok());
        }
    }
}

#[test]
fn a_broken_image_is_an_invalid_type_whatever_its_size() {
    let large = [
        samples::png(40_000, 1, 1, 0, 0, &[]),
        samples::jpeg(0xC0, 40_000, 8, 1, &[]),
        samples::gif(b"GIF89a", 40_000, 1, &samples::gif_image(0, 0, 1, 1)),
        samples::webp(
            &[
                samples::vp8x(2, 40_000, 1),
                samples::webp_chunk(b"ANIM", &[0; 6]),
                samples::anmf(
                    0,
                    0,
                    5,
                    1,
                    &samples::webp_chunk(b"VP8L", &samples::vp8l(5, 1)),
                ),
            ]
            .concat(),
        ),
    ];
    for bytes in large {
        assert!(matches!(check(&bytes), Err(Rejected::TooLarge { .. })));
        // A PNG without IEND and a GIF without trailer are whole, so they lose a bit more.
        assert_invalid(&bytes[..bytes.len() - 14], "");
    }
}

#[test]
fn frames_larger_than_the_canvas_are_refused() {
    let gif = |image: &[u8]| samples::gif(b"GIF89a", 1, 1, image);
    assert_too_large(&gif(&samples::gif_image(0, 0, 40_000, 1)), (40_000, 1));
    assert_too_large(
        &gif(&samples::gif_image(0, 0, 9_000, 9_000)),
        (9_000, 9_000),
    );
    assert_too_large(&gif(&samples::gif_image(65_535, 0, 65_535, 1)), (65_535, 1));
    assert_too_large(&gif(&samples::gif_image(32_768, 0, 1, 1)), (32_769, 1));
    assert_invalid(&gif(&samples::gif_image(0, 0, 0, 1)), "width or height 0");
    assert_invalid(&gif(&samples::gif_image(0, 0, 1, 0)), "width or height 0");

    let large = samples::webp_chunk(b"VP8L", &samples::vp8l(16_384, 16_384));
    let still = [samples::vp8x(0, 1, 1), large.clone()].concat();
    assert_invalid(&samples::webp(&still), "differ in size");
    for (width, height, chunks) in [
        (1, 1, large),
        (
            16_384,
            16_384,
            samples::webp_chunk(b"VP8L", &samples::vp8l(1, 1)),
        ),
    ] {
        let frame = samples::anmf(0, 0, width, height, &chunks);
        let animation = [
            samples::vp8x(2, 1, 1),
            samples::webp_chunk(b"ANIM", &[0; 6]),
            frame,
        ];
        assert_invalid(&samples::webp(&animation.concat()), "outside the canvas");
    }
}
