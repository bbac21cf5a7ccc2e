use crate::image::Rejected;
use crate::image::samples::{
    ifd, jpeg, jpeg_of, jpeg_segment, jpeg_with_restarts, orientation, scan, sof, tables,
};
use crate::image::tests::{assert_good, assert_invalid, assert_size, check};

fn grey_scan() -> Vec<u8> {
    scan(&[1], [0, 63], &[0x3F])
}

#[test]
fn baseline_extended_and_progressive_frames_are_accepted() {
    for marker in 0xC0..=0xCF {
        let image = jpeg(marker, 8, 8, 1, &[]);
        match marker {
            0xC0..=0xC2 => assert_good(&image),
            0xC4 => assert_invalid(&image, "DHT destination"),
            _ => assert_invalid(&image, "unexpected marker"),
        }
    }
}

#[test]
fn a_frame_has_one_three_or_four_components() {
    for components in 0..=4 {
        let frame = sof(0xC0, 8, 8, components);
        let image = jpeg_of(&[tables(), frame, grey_scan()]);
        match components {
            1 | 3 | 4 => assert_good(&image),
            _ => assert_invalid(&image, "number of components"),
        }
    }
    let with = |payload: &[u8]| jpeg_of(&[tables(), jpeg_segment(0xC0, payload), grey_scan()]);
    assert_good(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11, 0]));
    assert_good(&with(&[8, 0, 8, 0, 8, 1, 1, 0x44, 0]));
    assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11]), "SOF length");
    assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x11, 0, 0]), "SOF length");
    for precision in (0..=255).filter(|&precision| precision != 8) {
        assert_invalid(&with(&[precision, 0, 8, 0, 8, 1, 1, 0x11, 0]), "precision");
    }
    assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x01, 0]), "sampling");
    assert_invalid(&with(&[8, 0, 8, 0, 8, 1, 1, 0x15, 0]), "sampling");
    assert_invalid(&with(&[8, 0, 0, 0, 8, 1, 1, 0x11, 0]), "width or height 0");
    assert_invalid(&with(&[8, 0, 8, 0, 0, 1, 1, 0x11, 0]), "width or height 0");
}

#[test]
fn one_frame_then_scans_with_data() {
    let frame = || sof(0xC0, 8, 8, 1);
    assert_good(&jpeg_of(&[
        tables(),
        frame(),
        grey_scan(),
        tables(),
        grey_scan(),
    ]));
    assert_invalid(&jpeg_of(&[]), "no SOF");
    assert_invalid(&jpeg_of(&[tables()]), "no SOF");
    assert_invalid(&jpeg_of(&[frame()]), "no image data");
    assert_invalid(
        &jpeg_of(&[tables(), frame(), scan(&[1], [0, 63], &[])]),
        "no image data",
    );
    assert_invalid(&jpeg_of(&[grey_scan(), frame()]), "SOS before SOF");
    assert_invalid(&jpeg_of(&[frame(), frame(), grey_scan()]), "second SOF");
    assert_invalid(
        &jpeg_of(&[frame(), scan(&[2], [0, 63], &[1])]),
        "unknown or repeated component",
    );
    assert_invalid(&jpeg_of(&[frame(), scan(&[], [0, 63], &[1])]), "SOS length");
    assert_invalid(
        &jpeg_of(&[frame(), scan(&[1; 5], [0, 63], &[1])]),
        "SOS length",
    );
    assert_invalid(
        &jpeg_of(&[frame(), jpeg_segment(0xDA, &[1, 1, 0, 0, 63])]),
        "SOS length",
    );
    // A height that is only given after the first scan.
    let later = [sof(0xC0, 8, 0, 1), grey_scan(), jpeg_segment(0xDC, &[0, 8])];
    assert_invalid(&jpeg_of(&later), "width or height 0");
}

#[test]
fn coded_data_ends_at_a_marker_and_nowhere_else() {
    let with = |coded: &[u8]| {
        let coded = scan(&[1], [0, 63], coded);
        jpeg_of(&[tables(), sof(0xC0, 8, 8, 1), coded])
    };
    assert_good(&with(b"\xFF\x00"));
    assert_good(&with(
        b"a\xFF\x00\xFF\xFF\x00\xFF\xD0b\xFF\xFF\xFF\xD7c\xFF\xFF",
    ));
    assert_good(&with(b"a\xFF\xFE\x00\x04\xFF\xD9"));
    assert_invalid(&with(b"\xFF\xD0"), "no image data");
    for marker in [0x02, 0xBF, 0xC8, 0xD8, 0xDE, 0xDF, 0xF0, 0xFD] {
        // The block is there, so what follows it does not matter; without its end it does.
        assert_good(&with(&[0x3F, 0xFF, marker]));
        assert_invalid(
            &jpeg_of(&[tables(), sof(0xC0, 8, 8, 1), vec![0xFF, marker]]),
            "unexpected",
        );
        assert_invalid(
            &jpeg_of(&[
                tables(),
                sof(0xC0, 16, 8, 1),
                scan(&[1], [0, 63], &[0xBF, 0xFF, marker]),
            ]),
            "unexpected marker",
        );
    }
}

#[test]
fn stray_bytes_between_segments_are_skipped() {
    for stray in [
        &b"\xFF\xFE\x00\x02\xFF\xFF\xFF\xE1\x00\x03a"[..],
        b"\x00",
        b"<?php",
        b"\x00\xE1\x00\x08Exif\0\0",
        b"\xFF\x00",
        b"a\xFF\xFF\x00b",
        // Markers without parameters.
        b"\xFF\x01",
        b"\xFF\xD0",
        b"\xFF\xD7",
        // Lengths that cannot be.
        b"\xFF\xFE\x00\x00",
        b"\xFF\xE1\x00\x01",
        b"\xFF\xE0\x00\x03ab",
    ] {
        let parts = [tables(), sof(0xC0, 8, 8, 1), grey_scan()];
        for place in 1..=parts.len() {
            let mut parts = parts.to_vec();
            parts.insert(place, stray.to_vec());
            assert_good(&jpeg_of(&parts));
        }
        // The magic number is SOI and the first byte of a marker.
        if stray[0] == 0xFF {
            assert_good(&jpeg(0xC0, 8, 8, 1, &[stray.to_vec()]));
        }
    }
    let with = |start: &[u8]| jpeg(0xC0, 8, 8, 1, &[start.to_vec()]);
    assert_invalid(&with(b"\xFF\xD8"), "unexpected marker");
    assert_invalid(&with(b"\xFF\xDB\x00\x01"), "segment length");
    assert_invalid(&with(b"\xFF\xC4\x00\x00"), "segment length");
}

/// Images of every coding, without EOI, and how many bytes of coded data the last scan has.
fn without_eoi() -> Vec<Vec<u8>> {
    let images = [
        jpeg(0xC0, 8, 8, 1, &[]),
        jpeg(0xC0, 8, 8, 3, &[]),
        jpeg(0xC1, 7, 8, 4, &[]),
        jpeg(0xC2, 8, 8, 1, &[]),
        jpeg(0xC2, 8, 8, 3, &[]),
        jpeg_with_restarts(),
        jpeg_of(&[
            tables(),
            sof(0xC0, 8, 8, 3),
            scan(&[1], [0, 63], &[0x3F]),
            scan(&[2], [0, 63], &[0x3F]),
            scan(&[3], [0, 63], &[0x3F]),
        ]),
    ];
    images.map(|image| image[..image.len() - 2].to_vec()).into()
}

#[test]
fn a_missing_eoi_is_accepted_where_every_block_is_there() {
    for image in without_eoi() {
        for trailer in [
            &[0; 8][..],
            &[0; 300],
            b"SEFH and more",
            b"\xFF\xE4\0\x08abcd",
        ] {
            assert_good(&[&image[..], trailer].concat());
        }
        // Browsers leave the last row out where the file ends right after it.
        for trailer in [&b""[..], b"\xFF", b"\0", b"\0\0\0\0"] {
            assert_invalid(&[&image[..], trailer].concat(), "truncated");
        }
    }
}

#[test]
fn a_missing_block_is_noticed() {
    for image in without_eoi() {
        // A marker instead of the last byte of coded data, or of the scan.
        let last_scan = image.windows(2).rposition(|pair| pair == [0xFF, 0xDA]);
        let last_scan = last_scan.expect("a scan");
        for end in [&image[..last_scan], &image[..image.len() - 1]] {
            if end.last() != Some(&0xFF) {
                let result = check(&[end, b"\xFF\xBF and more bytes"].concat());
                assert!(
                    matches!(result, Err(Rejected::InvalidType(_))),
                    "{result:?}"
                );
            }
        }
    }
}

#[test]
fn the_first_exif_before_the_scans_turns_the_image() {
    let exif = |value| {
        let tiff = ifd(false, &[orientation(value)]);
        jpeg_segment(0xE1, &[&b"Exif\0\0"[..], &tiff].concat())
    };
    let xmp = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>");
    let damaged = jpeg_segment(0xE1, b"Exif\0\0damaged");
    let empty = jpeg_segment(0xE1, b"Exif\0\0");
    let sized = |segments: &[Vec<u8>]| jpeg(0xC0, 8, 5, 1, segments);
    for value in 0..12 {
        let turned = (5..=8).contains(&value);
        assert_size(&sized(&[exif(value)]), if turned { (5, 8) } else { (8, 5) });
    }
    assert_size(&sized(&[xmp, exif(6)]), (5, 8));
    assert_size(&sized(&[exif(6), exif(1)]), (5, 8));
    assert_size(&sized(&[empty, exif(6)]), (5, 8));
    assert_size(&sized(&[exif(1), exif(6)]), (8, 5));
    assert_size(&sized(&[damaged, exif(6)]), (8, 5));
    // A segment that has lost its marker is none.
    let lost = [&[0][..], &exif(1)[1..]].concat();
    let parts = [tables(), lost, exif(6), sof(0xC0, 8, 5, 1), grey_scan()];
    assert_size(&jpeg_of(&parts), (5, 8));
    let late = [tables(), sof(0xC0, 8, 5, 1), grey_scan(), exif(6)];
    assert_size(&jpeg_of(&late), (8, 5));
}

/// The quantisation table at `destination`.
fn quantisation(destination: u8) -> Vec<u8> {
    jpeg_segment(0xDB, &[&[destination][..], &[1; 64]].concat())
}

/// A Huffman table with one code of one bit.
fn huffman(class_and_destination: u8) -> Vec<u8> {
    jpeg_segment(
        0xC4,
        &[&[class_and_destination, 1][..], &[0; 15], &[0]].concat(),
    )
}

/// A scan of the first component with these destinations of Huffman tables.
fn scan_with(huffman_tables: u8, spectrum: [u8; 2], approximation: u8) -> Vec<u8> {
    let [first, last] = spectrum;
    let header = [1, 1, huffman_tables, first, last, approximation];
    [jpeg_segment(0xDA, &header), vec![0x3F]].concat()
}

#[test]
fn regression_a_jpeg_without_its_quantisation_table_is_refused() {
    let image = |destination| {
        let frame = jpeg_segment(0xC0, &[8, 0, 8, 0, 8, 1, 1, 0x11, destination]);
        jpeg_of(&[quantisation(1), frame, grey_scan()])
    };
    assert_good(&image(1));
    for destination in [0, 2, 3, 4, 255] {
        assert_invalid(&image(destination), "missing quantisation table");
    }
    let late = [sof(0xC0, 8, 8, 1), grey_scan(), quantisation(0)];
    assert_invalid(&jpeg_of(&late), "missing quantisation table");
}

#[test]
fn a_scan_has_its_huffman_tables() {
    let image = |marker, tables: &[Vec<u8>], scan| {
        jpeg_of(&[quantisation(0), tables.concat(), sof(marker, 8, 8, 1), scan])
    };
    // A sequential scan falls back on the standard tables, which have the destinations 0 and 1.
    for own in [&[][..], &[huffman(0x00)], &[huffman(0x11)]] {
        for destination in 0..16 {
            let scans = [destination, destination << 4].map(|tables| scan_with(tables, [0, 63], 0));
            for scan in scans {
                match destination {
                    0 | 1 => assert_good(&image(0xC0, own, scan)),
                    _ => assert_invalid(&image(0xC0, own, scan), "missing Huffman table"),
                }
            }
        }
    }
    let (dc, ac) = ([0, 0], [1, 63]);
    let missing = "missing Huffman table";
    assert_good(&image(0xC2, &[huffman(0)], scan_with(0, dc, 0)));
    assert_invalid(&image(0xC2, &[], scan_with(0, dc, 0)), missing);
    assert_invalid(&image(0xC2, &[huffman(0x10)], scan_with(0, dc, 0)), missing);
    // A refining scan of DC coefficients has bits only.
    assert_good(&image(0xC2, &[], scan_with(0, dc, 0x10)));
    assert_good(&image(0xC2, &[huffman(0x12)], scan_with(0x32, ac, 0)));
    assert_good(&image(0xC2, &[huffman(0x12)], scan_with(0x32, ac, 0x10)));
    assert_invalid(&image(0xC2, &[huffman(2)], scan_with(2, ac, 0x10)), missing);
}

#[test]
fn regression_tables_that_libjpeg_refuses_are_refused() {
    let with = |marker, payload: &[u8]| {
        let parts = [tables(), jpeg_segment(marker, payload)];
        jpeg_of(&[&parts[..], &[sof(0xC0, 8, 8, 1), grey_scan()]].concat())
    };
    assert_good(&with(0xDB, &[&[3][..], &[1; 64]].concat()));
    assert_good(&with(0xDB, &[&[0x10][..], &[1; 128]].concat()));
    assert_good(&with(0xDB, &[]));
    assert_invalid(&with(0xDB, &[&[4][..], &[1; 64]].concat()), "DQT dest");
    assert_invalid(&with(0xDB, &[&[0][..], &[1; 63]].concat()), "DQT length");
    assert_invalid(&with(0xDB, &[&[0][..], &[1; 65]].concat()), "DQT length");
    assert_invalid(&with(0xDB, &[&[0x10][..], &[1; 64]].concat()), "DQT length");
    assert_invalid(&with(0xDD, &[0]), "DRI length");
    assert_invalid(&with(0xDD, &[0, 0, 0]), "DRI length");
    let table = |destination: u8, counts: &[u8], values: usize| {
        let mut payload = vec![destination];
        payload.extend(counts);
        payload.resize(17, 0);
        payload.resize(17 + values, 0);
        payload
    };
    assert_good(&with(0xC4, &table(3, &[1], 1)));
    for destination in [4, 0x14, 0x20, 0x80] {
        assert_invalid(&with(0xC4, &table(destination, &[1], 1)), "DHT dest");
    }
    assert_invalid(&with(0xC4, &table(0, &[1], 0)), "DHT length");
    assert_invalid(&with(0xC4, &table(0, &[1], 2)), "DHT length");
    assert_invalid(&with(0xC4, &table(3, &[255, 2], 257)), "DHT length");
    // Wrong codes and values are refused where a scan uses them.
    assert_good(&with(0xC4, &table(3, &[2], 2)));
    assert_invalid(&with(0xC4, &table(0, &[2], 2)), "code lengths");
    assert_invalid(&with(0xC4, &table(0, &[1, 1, 2], 4)), "code lengths");
    assert_good(&with(0xC4, &table(0, &[1, 1, 1], 3)));
    let value = |destination: u8| [&table(destination, &[1], 0)[..], &[16]].concat();
    assert_invalid(&with(0xC4, &value(0)), "Huffman value");
    assert_good(&with(0xC4, &value(0x10)));
}

#[test]
fn regression_scans_that_libjpeg_refuses_are_refused() {
    let image = |sampling: [u8; 3], ids: &[u8]| {
        let mut frame = vec![8, 0, 8, 0, 8, 3];
        for (id, sampling) in (1..).zip(sampling) {
            frame.extend([id, sampling, 0]);
        }
        let scan = scan(ids, [0, 63], &[0x3F; 9]);
        jpeg_of(&[tables(), jpeg_segment(0xC0, &frame), scan])
    };
    let plain = [0x11; 3];
    for order in [&[1, 2, 3][..], &[2, 3], &[3], &[1, 3]] {
        assert_good(&image(plain, order));
    }
    for order in [&[1, 1, 2][..], &[1, 1], &[2, 1], &[3, 1, 2]] {
        assert_invalid(&image(plain, order), "repeated component");
    }
    // An MCU has at most ten blocks; a scan of one component has MCUs of one block.
    assert_good(&image([0x24, 0x11, 0x11], &[1, 2, 3]));
    assert_invalid(&image([0x33, 0x11, 0x11], &[1, 2, 3]), "blocks of an MCU");
    assert_good(&image([0x44, 0x44, 0x11], &[1]));

    let progressive = |spectrum, approximation| {
        let scan = scan_with(0, spectrum, approximation);
        jpeg_of(&[tables(), sof(0xC2, 8, 8, 1), scan])
    };
    for spectrum in [[0, 0], [1, 63], [5, 5]] {
        for approximation in [0, 1, 0x0D, 0x10, 0x21, 0xED] {
            assert_good(&progressive(spectrum, approximation));
        }
        for approximation in [0x0E, 0x11, 0x20, 0x12, 0xFE] {
            let why = "successive approximation";
            assert_invalid(&progressive(spectrum, approximation), why);
        }
    }
    for spectrum in [[0, 63], [0, 5], [5, 2], [1, 64], [64, 64]] {
        assert_invalid(&progressive(spectrum, 0), "spectral selection");
    }
    let several = scan(&[1, 2, 3], [1, 63], &[0x3F]);
    let several = jpeg_of(&[tables(), sof(0xC2, 8, 8, 3), several]);
    assert_invalid(&several, "several components");
}
