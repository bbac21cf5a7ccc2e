use crate::image::samples::{ifd, ihdr, orientation, palette, png, png_chunk, png_of};
use crate::image::tests::{assert_good, assert_invalid, assert_size, check};

/// A PNG of `chunks` between IHDR with `rest` and IEND.
fn with(rest: [u8; 5], chunks: &[Vec<u8>]) -> Vec<u8> {
    png_of(&[ihdr(1, 1, rest), chunks.concat(), png_chunk(b"IEND", &[])])
}

fn data() -> Vec<u8> {
    png_chunk(b"IDAT", b"\x78\x01data")
}

#[test]
fn fifteen_combinations_of_colour_type_and_depth_are_legal() {
    let mut legal = Vec::new();
    for colour_type in 0..=255 {
        for depth in 0..=255 {
            let image = with([depth, colour_type, 0, 0, 0], &[palette(1), data()]);
            match check(&image) {
                Ok(_) => legal.push((colour_type, depth)),
                Err(_) => assert_invalid(&image, "colour type and bit depth"),
            }
        }
    }
    let expected = [
        (0, 1),
        (0, 2),
        (0, 4),
        (0, 8),
        (0, 16),
        (2, 8),
        (2, 16),
        (3, 1),
        (3, 2),
        (3, 4),
        (3, 8),
        (4, 8),
        (4, 16),
        (6, 8),
        (6, 16),
    ];
    assert_eq!(legal, expected);
}

#[test]
fn every_changed_bit_of_header_and_image_data_is_noticed() {
    // A zlib stream of one stored block: filter type and pixel.
    let stored = b"\x78\x01\x01\x02\0\xFD\xFF\0\0\0\x02\0\x01";
    let good = with([8, 0, 0, 0, 0], &[png_chunk(b"IDAT", stored)]);
    assert_good(&good);
    // Behind the name of IEND nothing matters.
    for bit in 0..(good.len() - 12) * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Length and CRC of the last IDAT chunk are not needed to show complete data, nor is the padding after a block's type.
        let length = 33..37;
        let crc = good.len() - 16..good.len() - 12;
        let padding = 43 * 8 + 3..44 * 8;
        match check(&bytes) {
            Ok(_) => assert!(
                length.contains(&(bit / 8)) || crc.contains(&(bit / 8)) || padding.contains(&bit),
                "bit {bit}"
            ),
            Err(_) => assert_invalid(&bytes, ""),
        }
    }
}

#[test]
fn header_comes_first_and_is_legal() {
    let grey = [8, 0, 0, 0, 0];
    assert_good(&with(grey, &[data()]));
    assert_good(&with([8, 0, 0, 0, 1], &[data()]));
    assert_invalid(&with([8, 0, 1, 0, 0], &[data()]), "method");
    assert_invalid(&with([8, 0, 0, 1, 0], &[data()]), "method");
    assert_invalid(&with([8, 0, 0, 0, 2], &[data()]), "method");
    assert_invalid(&png_of(&[data(), png_chunk(b"IEND", &[])]), "no IHDR");
    let late = [
        png_chunk(b"tEXt", b"a"),
        ihdr(1, 1, grey),
        data(),
        png_chunk(b"IEND", &[]),
    ];
    assert_invalid(&png_of(&late), "no IHDR");
    assert_invalid(&png_of(&[png_chunk(b"IHDR", &[0; 12]), data()]), "no IHDR");
    assert_invalid(
        &with(grey, &[ihdr(1, 1, grey), data()]),
        "unknown critical chunk",
    );
}

#[test]
fn a_palette_comes_once_and_before_the_image_data() {
    let paletted = [8, 3, 0, 0, 0];
    assert_good(&with(paletted, &[palette(1), data()]));
    assert_good(&with(paletted, &[palette(256), data()]));
    assert_invalid(&with(paletted, &[data()]), "no PLTE");
    assert_invalid(&with(paletted, &[data(), palette(1)]), "no PLTE");
    assert_invalid(
        &with(paletted, &[palette(1), palette(1), data()]),
        "second PLTE",
    );
    assert_invalid(
        &with([8, 2, 0, 0, 0], &[data(), palette(1)]),
        "PLTE after IDAT",
    );
    assert_invalid(&with(paletted, &[palette(0), data()]), "PLTE length");
    assert_invalid(&with(paletted, &[palette(257), data()]), "PLTE length");
    assert_invalid(
        &with(paletted, &[png_chunk(b"PLTE", &[0; 4]), data()]),
        "PLTE length",
    );
}

#[test]
fn image_data_is_there_and_in_one_run() {
    let grey = [8, 0, 0, 0, 0];
    let text = png_chunk(b"tEXt", b"a");
    let empty = png_chunk(b"IDAT", &[]);
    assert_good(&with(
        grey,
        &[text.clone(), empty.clone(), data(), data(), text.clone()],
    ));
    assert_invalid(&with(grey, &[]), "no image data");
    assert_invalid(&with(grey, &[empty]), "no image data");
    assert_invalid(&with(grey, &[data(), text, data()]), "not consecutive");
    for wrong in [
        &b"\x78\x00"[..],
        b"\x78",
        b"\x88\x1C",
        b"\x78\xBB",
        b"\x77\x85",
        b"data",
        b"\0\0",
    ] {
        assert_invalid(&with(grey, &[png_chunk(b"IDAT", wrong)]), "PNG: ");
    }
    let split = [png_chunk(b"IDAT", b"\x78"), png_chunk(b"IDAT", b"\x01")];
    assert_good(&with(grey, &split));
}

#[test]
fn unknown_chunks_are_passed_over_unless_they_are_critical() {
    let grey = [8, 0, 0, 0, 0];
    assert_good(&with(grey, &[png_chunk(b"prVt", &[1; 300]), data()]));
    assert_invalid(
        &with(grey, &[png_chunk(b"CgBI", &[1]), data()]),
        "unknown critical chunk",
    );
    assert_invalid(
        &with(grey, &[png_chunk(b"t<xt", &[1]), data()]),
        "chunk name",
    );
}

/// An image of every layout without IEND, its last chunk with the image data.
fn without_iend() -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    for (depth, colour_type) in [
        (1, 0),
        (8, 0),
        (16, 0),
        (8, 2),
        (16, 2),
        (4, 3),
        (8, 4),
        (8, 6),
    ] {
        for interlace in [0, 1] {
            for (width, height) in [(1, 1), (9, 7), (3, 20)] {
                let image = png(width, height, depth, colour_type, interlace, &[palette(2)]);
                images.push(image[..image.len() - 12].to_vec());
            }
        }
    }
    images
}

#[test]
fn complete_rows_need_no_proper_end() {
    for image in without_iend() {
        for end in [
            &b""[..],
            b"\0\0\0\0IEND",
            b"\0\0\0\0IEND\0\0\0\0",
            b"\0\0\0\x03IENDabc\0\0\0\0",
            b"no chunk at all",
            &[0; 40],
            &png_chunk(b"ABCD", b"critical"),
            &png_chunk(b"IDAT", b""),
            b"\0\0\0\x0AtEXtcut",
        ] {
            assert_good(&[&image[..], end].concat());
        }
        // Without the CRC, and without the checksum of the zlib stream.
        assert_good(&image[..image.len() - 4]);
        assert_good(&image[..image.len() - 8]);
        // Without the last byte of the last row.
        assert_invalid(&image[..image.len() - 9], "truncated");
    }
}

#[test]
fn a_wrong_crc_over_right_data_is_accepted_in_the_last_idat() {
    for image in without_iend() {
        let crc = image.len() - 1;
        let mut wrong = image.clone();
        wrong[crc] ^= 1;
        assert_good(&[&wrong[..], b"\0\0\0\0IEND\xAE\x42\x60\x82"].concat());
        assert_good(&wrong);
        // Over wrong data: a pixel, the checksum, and data that is cut off.
        for place in [crc - 4, crc - 8] {
            let mut damaged = wrong.clone();
            damaged[place] ^= 1;
            assert_invalid(&damaged, "CRC of IDAT");
        }
        assert_good(&[&wrong[..], &png_chunk(b"IDAT", b"more")].concat());
        // In a chunk before the last: Chromium shows nothing of the image.
        let first = image
            .windows(4)
            .position(|name| name == b"IDAT")
            .expect("image data");
        let mut wrong = image.clone();
        wrong[first + 4 + 4] ^= 1;
        assert_invalid(&wrong, "CRC of IDAT");
    }
}

#[test]
fn an_animation_reaches_iend() {
    let frame = [&[0; 4][..], &[0, 0, 0, 1, 0, 0, 0, 1], &[0; 14]].concat();
    let chunks = [
        png_chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]),
        png_chunk(b"fcTL", &frame),
    ];
    let image = png(1, 1, 8, 0, 0, &chunks);
    assert_good(&image);
    assert_good(&image[..image.len() - 4]);
    assert_invalid(&image[..image.len() - 5], "truncated");
    assert_invalid(&image[..image.len() - 12], "truncated");
}

#[test]
fn regression_a_frame_outside_the_canvas_is_refused() {
    let image = |size: [u32; 2], offset: [u32; 2]| {
        let numbers = [[0], [size[0]], [size[1]], [offset[0]], [offset[1]]].concat();
        let numbers: Vec<u8> = numbers.into_iter().flat_map(u32::to_be_bytes).collect();
        let frame = png_chunk(b"fcTL", &[&numbers[..], &[0; 6]].concat());
        png(3, 2, 8, 0, 0, &[png_chunk(b"acTL", &[0; 8]), frame])
    };
    assert_good(&image([3, 2], [0, 0]));
    assert_good(&image([1, 1], [2, 1]));
    for (size, offset) in [
        ([4, 2], [0, 0]),
        ([3, 3], [0, 0]),
        ([1, 1], [3, 0]),
        ([1, 1], [0, 2]),
        ([1, 1], [u32::MAX, 0]),
        ([0, 1], [0, 0]),
        ([1, 0], [0, 0]),
    ] {
        assert_invalid(&image(size, offset), "outside the canvas");
    }
}

#[test]
fn the_first_undamaged_exif_before_the_image_data_turns_the_image() {
    let exif = |value| png_chunk(b"eXIf", &ifd(true, &[orientation(value)]));
    let sized = |chunks: &[Vec<u8>]| png(3, 2, 8, 0, 0, chunks);
    for value in 0..12 {
        let turned = (5..=8).contains(&value);
        assert_size(&sized(&[exif(value)]), if turned { (2, 3) } else { (3, 2) });
    }
    let mut damaged = exif(1);
    *damaged.last_mut().expect("a CRC") ^= 1;
    assert_size(&sized(&[damaged, exif(6)]), (2, 3));
    assert_size(&sized(&[exif(6), exif(1)]), (2, 3));
    assert_size(&sized(&[exif(1), exif(6)]), (3, 2));
    let with_header = [&b"Exif\0\0"[..], &ifd(true, &[orientation(6)])].concat();
    assert_size(&sized(&[png_chunk(b"eXIf", &with_header)]), (3, 2));
    let image = sized(&[]);
    let (before, end) = image.split_at(image.len() - 12);
    assert_size(&[before, &exif(6), end].concat(), (3, 2));
}
