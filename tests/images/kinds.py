"""Families of images as programs and cameras write them beside the specifications, and the verdicts of browsers.

Every family has at least 20 members, made the same way each time. What Chromium 156 shows whole is accepted with the size that it shows;
what it shows in part or not at all is refused. `tests/images/verdicts --kinds DIRECTORY` writes the members to files and asks the Chromium
that is installed again.
"""

import itertools
import struct
import zlib

from PIL import Image

from broken import IEND, SIGNATURE, chunk, ihdr, png_chunks, riff, webp_chunks
from good import picture, saved

TIFF = {"II": ("<", b"II*\0"), "MM": (">", b"MM\0*")}


def tiff(value, order="MM", entries_before=0):
    """Exif metadata with an orientation."""
    endian, head = TIFF[order]
    entries = [struct.pack(endian + "HHIHH", 0x0100 + n, 3, 1, 9, 0) for n in range(entries_before)]
    entries.append(struct.pack(endian + "HHIHH", 0x0112, 3, 1, value, 0))
    return head + struct.pack(endian + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)


def segment(marker, payload):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2) + payload


def insert(image, place, piece):
    return image[:place] + piece + image[place:]


def jpegs():
    """Name, image and size of JPEG files in the codings that are in use."""
    for mode, progressive, options in itertools.product(("L", "RGB", "CMYK"), (False, True), (
        {}, dict(restart_marker_blocks=1), dict(subsampling="4:2:0"), dict(optimize=True, quality=30),
    )):
        if mode != "RGB" and "subsampling" in options:
            continue
        size = (45, 31)
        image = saved(picture(size, mode), format="JPEG", progressive=progressive, **options)
        yield f"{mode}-progressive{progressive}-{'-'.join(options)}", image, size


def jpeg_stray_bytes():
    stray = [b"\0", b"?>", b"\0\0\0\0\0\0\0", b"\xff\0", b"Exif\0\0", segment(0xE1, b"Exif\0\0")[1:], b"\0\xe1\0\x08abcdef", b"\xff\xff\xff",
             b"\xff\x01", b"\xff\xd3", b"\xff\xfe\0\0", b"\xff\xe1\0\1", segment(0xE4, b"short")[:-1] + b"hort", b"<?php ?>"]
    for name, image, size in itertools.islice(jpegs(), 0, None, 3):
        places = {"DQT": image.index(b"\xff\xdb"), "SOF": min(image.find(b"\xff" + bytes([m])) % (1 << 40) for m in (0xC0, 0xC2)),
                  "SOS": image.index(b"\xff\xda"), "EOI": len(image) - 2}
        for (number, piece), (place, at) in itertools.product(enumerate(stray), places.items()):
            yield f"{number}-before-{place}-{name}", insert(image, at, piece), size


def jpeg_without_eoi():
    trailers = [bytes(8), bytes(500), b"\0\0\1\0Image_UTC_Data1600000000000SEFH\0\0\0\0SEFT", IEND, b"ftypmp42" * 20]
    # In a progressive image a decoder looks for further scans to the end of the file.
    markers = [b"\xff\x3f\0\1\2\3\4\5\6\7", b"\xff\xd8\xff\xe0 another image", segment(0xDE, b"") + bytes(9)]
    for name, image, size in jpegs():
        for number, trailer in enumerate(trailers + (markers if "False" in name else [segment(0xE4, b"abc")])):
            yield f"{number}-{name}", image[:-2] + trailer, size


def jpeg_segments(image, marker):
    """Where the segments with a marker begin and end, before the first scan."""
    at = 2
    while image[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(image[at + 2:at + 4], "big")
        if image[at + 1] == marker:
            yield at, end
        at = end


def without(image, segments):
    for start, end in sorted(segments, reverse=True):
        image = image[:start] + image[end:]
    return image


def jpeg_standard_huffman_tables():
    """Frames of Motion JPEG: sequential images whose Huffman tables are the standard ones and left out."""
    for mode, size, subsampling in itertools.product(("L", "RGB", "CMYK"), ((45, 31), (8, 8), (16, 33)), ("4:4:4", "4:2:0")):
        options = dict(subsampling=subsampling) if mode == "RGB" else {}
        image = saved(picture(size, mode), format="JPEG", **options)
        tables = list(jpeg_segments(image, 0xC4))
        name = f"{mode}-{size[0]}-{subsampling.replace(':', '')}"
        yield f"none-{name}", without(image, tables), size
        for number, table in enumerate(tables):
            yield f"without-{number}-{name}", without(image, [table]), size


def jpeg_orientations():
    images = list(itertools.islice(jpegs(), 0, None, 5))
    for value, order, (name, image, (width, height)) in itertools.product(range(10), TIFF, images):
        exif = segment(0xE1, b"Exif\0\0" + tiff(value, order, value))
        shown = (height, width) if 5 <= value <= 8 else (width, height)
        other = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>")
        last = segment(0xE1, b"Exif\0\0" + tiff(9 - value if value else 1))
        for position, extra in (("first", exif), ("after-xmp", other + exif), ("before-another", exif + last)):
            yield f"{value}-{order}-{position}-{name}", insert(image, 2, extra), shown
        # Behind the scans nobody looks.
        yield f"{value}-{order}-late-{name}", insert(image, len(image) - 2, exif), (width, height)


def pngs():
    """Name, image and size of PNG files."""
    for mode, size, options in itertools.product(("1", "L", "P", "RGB", "RGBA", "I;16"), ((1, 1), (45, 31)), ({}, dict(compress_level=0))):
        yield f"{mode}-{size[0]}-{len(options)}", saved(picture(size, mode), format="PNG", **options), size


def png_orientations():
    for value, order, (name, image, (width, height)) in itertools.product(range(10), TIFF, itertools.islice(pngs(), 2, None, 6)):
        shown = (height, width) if 5 <= value <= 8 else (width, height)
        place = 8 + 25
        exif = chunk(b"eXIf", tiff(value, order, value))
        other = chunk(b"eXIf", tiff(9 - value if value else 1))
        damaged = other[:-1] + bytes([other[-1] ^ 1])
        yield f"{value}-{order}-first-{name}", insert(image, place, exif + other), shown
        yield f"{value}-{order}-after-a-damaged-{name}", insert(image, place, damaged + exif), shown
        yield f"{value}-{order}-late-{name}", insert(image, len(image) - 12, exif), (width, height)


def png_ends():
    ends = {
        "none": b"", "crc": IEND[:-1] + b"\0", "no-crc": IEND[:-4], "half-crc": IEND[:-2], "name": IEND[:6], "data": chunk(b"IEND", b"abc"),
        "data-without-crc": struct.pack(">I", 3) + b"IENDabc\0\0\0\0", "zeros": bytes(40), "text": b"<?php this is no chunk",
        "critical": chunk(b"ABCD", b"x") + IEND, "text-cut": chunk(b"tEXt", b"a\0b" * 9)[:20], "name-of-no-chunk": chunk(b"\0\1\2\3", b"") + IEND,
        "text-crc": chunk(b"tEXt", b"a\0b")[:-1] + b"\0" + IEND, "empty-idat": chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", b"") + IEND,
    }
    for (end, piece), (name, image, size) in itertools.product(ends.items(), pngs()):
        yield f"{end}-{name}", image[:-12] + piece, size
    for cut, (name, image, size) in itertools.product((1, 4, 8), pngs()):
        yield f"cut-{cut}-{name}", image[:-12 - cut], size


def png_data_with_wrong_crc():
    for flip, (name, image, size) in itertools.product((1, 0x80), pngs()):
        yield f"{flip}-{name}", image[:-13] + bytes([image[-13] ^ flip]) + IEND, size
        yield f"{flip}-no-end-{name}", image[:-13] + bytes([image[-13] ^ flip]), size


def gifs():
    for mode, size, frames in itertools.product(("1", "L", "P"), ((1, 1), (45, 31)), (1, 3)):
        pictures = [picture(size, mode).rotate(90 * n) for n in range(frames)]
        yield f"{mode}-{size[0]}-{frames}", saved(pictures[0], format="GIF", save_all=True, append_images=pictures[1:]), size


def gif_trailers():
    for trailer, (name, image, size) in itertools.product((b"", b"\0", bytes(64), b"\xff", b"text", b"\r\n", b"\0;", b"<?php ?>"), gifs()):
        yield f"{trailer.hex()[:8]}-{name}", image[:-1] + trailer, size


def gif_screens():
    for (width, height), (name, image, size) in itertools.product(((0, 0), (0, 1), (1, 0), (1, 1)), gifs()):
        yield f"{width}x{height}-{name}", image[:6] + struct.pack("<HH", width, height) + image[10:], size


def gif_pixels():
    tables = [(0, b""), (0x80, bytes(6)), (0xF0, bytes(range(6)))]
    controls = [b"", b"!\xf9\4\1\0\0\0\0", b"!\xf9\4\1\x0a\0\1\0"]
    for version, (flags, table), control, data in itertools.product((b"87a", b"89a"), tables, controls, (b"\0", b"\1\x2c\0", b"\2\x4c\1\0")):
        for trailer in (b";", b""):
            head = b"GIF" + version + b"\1\0\1\0" + bytes([flags, 0xFF if not flags else 0, 0]) + table
            name = f"{version.decode()}-{flags:x}-{len(control)}-{data.hex()}-{len(trailer)}"
            yield name, head + control + b",\0\0\0\0\1\0\1\0\0\2" + data + trailer, (1, 1)


def webps():
    for mode, lossless, size in itertools.product(("RGB", "RGBA"), (False, True), ((45, 31), (7, 9))):
        yield f"{mode}-lossless{lossless}-{size[0]}", saved(picture(size, mode), format="WEBP", lossless=lossless), size


def webp_chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def vp8x(flags, size):
    return webp_chunk(b"VP8X", bytes([flags, 0, 0, 0]) + b"".join(struct.pack("<I", side - 1)[:3] for side in size))


def webp_orientations():
    """No browser heeds the orientation in WebP."""
    for value, order, (name, image, size) in itertools.product(range(10), TIFF, itertools.islice(webps(), 0, None, 2)):
        chunks = [part for part in webp_chunks(image) if part[:4] != b"VP8X"]
        flags = 0x18 if "RGBA" in name else 8
        yield f"{value}-{order}-{name}", riff(vp8x(flags, size) + b"".join(chunks) + webp_chunk(b"EXIF", tiff(value, order))), size


def webps_of_odd_length():
    """Chunks that end with the padding of an odd length."""
    for name, image, size in webps():
        chunks = [part for part in webp_chunks(image) if part[:4] != b"VP8X"]
        last = chunks[-1]
        (length,) = struct.unpack("<I", last[4:8])
        # Decoders do not look at what follows the data of the image in its chunk.
        data = last[8:8 + length] + bytes(1 - length % 2)
        odd = webp_chunk(last[:4], data)
        flags = 0x10 if "RGBA" in name else 0
        before = b"".join(chunks[:-1])
        if not before:
            yield f"simple-{name}", odd, size
        yield f"extended-{name}", vp8x(flags, size) + before + odd, size
        for extra in (1, 3, 101):
            metadata = vp8x(flags | 8, size) + before + odd + webp_chunk(b"EXIF", bytes(extra))
            yield f"exif-{extra}-{name}", metadata, size


def webp_padding():
    for name, chunks, size in webps_of_odd_length():
        yield name, riff(chunks), size
        yield f"not-0-{name}", riff(chunks[:-1] + b"\xff"), size


def webp_without_padding():
    for name, chunks, _ in webps_of_odd_length():
        yield f"none-{name}", riff(chunks[:-1])
        yield f"behind-{name}", riff(chunks[:-1]) + bytes(9)
        yield f"cut-{name}", riff(chunks)[:-1]


def jpegs_that_no_browser_shows():
    for name, image, _ in jpegs():
        sof = image.index(b"\xff\xc2" if "progressiveTrue" in name else b"\xff\xc0")
        for marker in (0xC3, 0xC5, 0xC6, 0xC7, 0xC8, 0xCB, 0xCD, 0xCE, 0xCF):
            yield f"sof-{marker:x}-{name}", image[:sof + 1] + bytes([marker]) + image[sof + 2:]
        for precision in (2, 12, 16):
            yield f"precision-{precision}-{name}", image[:sof + 4] + bytes([precision]) + image[sof + 5:]


def jpegs_with_wrong_tables():
    """Tables that a scan refers to are missing, or cannot be."""
    for name, image, _ in jpegs():
        quantisation, huffman = (list(jpeg_segments(image, marker)) for marker in (0xDB, 0xC4))
        yield f"no-quantisation-{name}", without(image, quantisation)
        if "progressiveTrue" in name:
            yield f"no-huffman-{name}", without(image, huffman)
        scan = image.index(b"\xff\xda")
        for tables in (0x22, 0x33, 0x40, 0x04, 0xFF):
            if tables != 0x04 or "progressiveTrue" not in name:
                yield f"huffman-{tables:x}-{name}", image[:scan + 6] + bytes([tables]) + image[scan + 7:]
        (frame, _), = (found for marker in (0xC0, 0xC2) for found in jpeg_segments(image, marker))
        for table in (2, 3, 4, 255):
            yield f"quantisation-{table}-{name}", image[:frame + 12] + bytes([table]) + image[frame + 13:]
        for marker, (start, end) in (("DQT", quantisation[0]), ("DHT", huffman[0])):
            body = image[start + 4:end]
            for change, payload in (("short", body[:-1]), ("long", body + b"\0"), ("destination", b"\4" + body[1:])):
                yield f"{marker}-{change}-{name}", image[:start] + segment(image[start + 1], payload) + image[end:]
        yield f"DRI-{name}", insert(image, scan, segment(0xDD, bytes(3)))


def jpegs_with_wrong_scans():
    """Components that a scan has twice, more than ten blocks in an MCU, and what no progressive scan codes."""
    for name, image, _ in jpegs():
        (frame, _), = (found for marker in (0xC0, 0xC2) for found in jpeg_segments(image, marker))
        scan = image.index(b"\xff\xda")
        components = image[scan + 4]
        if components > 1:
            yield f"twice-{name}", image[:scan + 7] + image[scan + 5:scan + 6] + image[scan + 8:]
            for sampling in (0x33, 0x44, 0x34):
                yield f"sampling-{sampling:x}-{name}", image[:frame + 11] + bytes([sampling]) + image[frame + 12:]
        if "progressiveTrue" in name:
            at = scan + 5 + 2 * components
            for first, last, approximation in ((0, 63, 0), (0, 64, 0), (1, 63, 0) if components > 1 else (5, 2, 0), (64, 64, 0), (0, 0, 14), (0, 0, 0x20)):
                yield f"{first}-{last}-{approximation:x}-{name}", image[:at] + bytes([first, last, approximation]) + image[at + 3:]


def jpegs_without_blocks():
    """Part of the coded data is missing, and something else is in its place."""
    for name, image, _ in jpegs():
        scan = image.rindex(b"\xff\xda") + 2
        data = scan + int.from_bytes(image[scan:scan + 2], "big")
        if len(image) - 2 - data < 8:
            continue
        for share, trailer in itertools.product((3, 2), (b"", b"\xff\x3f and more", b"\xff\xd8\xff\xe0", segment(0xE4, b"abc"))):
            end = data + (len(image) - 2 - data) // share
            while image[end - 1] == 0xFF:
                end -= 1
            yield f"{share}-{trailer[:2].hex()}-{name}", image[:end] + trailer


def pngs_without_zlib():
    headers = [b"\0\0", b"\x78\0", b"\x78\xbb", b"\x88\x1c", b"\x77\x85", b"PK"]
    for header, (name, image, _) in itertools.product(headers, pngs()):
        parts = list(png_chunks(image))
        changed = [chunk(b"IDAT", header + part[10:-4]) if part[4:8] == b"IDAT" else part for part in parts]
        yield f"{header.hex()}-{name}", SIGNATURE + b"".join(changed)


def pngs_with_damaged_data():
    """A wrong CRC over wrong data, rows that are missing without IEND, and a wrong CRC before further data."""
    for name, image, _ in pngs():
        yield f"wrong-{name}", image[:-17] + bytes([image[-17] ^ 1]) + image[-16:]
        yield f"cut-{name}", image[:-12 - 4 - 4 - 3]
        parts = list(png_chunks(image))
        at = next(number for number, part in enumerate(parts) if part[4:8] == b"IDAT")
        data = parts[at][8:-4]
        first = chunk(b"IDAT", data[:5])
        first = first[:-1] + bytes([first[-1] ^ 1])
        yield f"first-crc-{name}", SIGNATURE + b"".join(parts[:at]) + first + chunk(b"IDAT", data[5:]) + b"".join(parts[at + 1:])


def gifs_with_wrong_controls():
    """Graphic control extensions of another length than four bytes."""
    for name, image, _ in gifs():
        start = image.index(b",", 13 + (3 * (2 << (image[10] & 7)) if image[10] & 0x80 else 0))
        for control in (b"!\xf9\0", b"!\xf9\3\0\0\0\0", b"!\xf9\5\0\0\0\0\0\0"):
            yield f"{control[2]}-{name}", insert(image, start, control)


def webps_in_wrong_order():
    """A reserved flag that libwebp refuses, ALPH behind the image, an unknown chunk before the image of a frame."""
    for name, image, size in webps():
        chunks = b"".join(part for part in webp_chunks(image) if part[:4] != b"VP8X")
        yield f"flag-{name}", riff(vp8x(0x11, size) + chunks)
        alpha = webp_chunk(b"ALPH", bytes(1 + size[0] * size[1]))
        yield f"alpha-{name}", riff(vp8x(0x10, size) + chunks + alpha)
        for unknown in (webp_chunk(b"what", b"ab"), webp_chunk(b"EXIF", b"abc")):
            payload = bytes(6) + b"".join(struct.pack("<I", side - 1)[:3] for side in size) + b"d\0\0\0" + unknown + chunks
            yield f"{unknown[:4].decode()}-{name}", riff(vp8x(0x12, size) + webp_chunk(b"ANIM", bytes(6)) + webp_chunk(b"ANMF", payload))


def pngs_with_frames_outside():
    """The first frame of an animation is larger than the image, or does not lie on it."""
    for name, image, (width, height) in pngs():
        for number, frame in enumerate(((width + 1, height, 0, 0), (width, height + 1, 0, 0), (width, height, 1, 0))):
            control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, *frame, 1, 10, 0, 0))
            yield f"{number}-{name}", insert(image, 8 + 25, chunk(b"acTL", struct.pack(">II", 1, 0)) + control)


def animations_over_the_limit():
    """More than 1,000 megapixels in all frames."""
    for side, frames in ((1_000, 1_001), (2_000, 251), (4_000, 63), (5_001, 40), (7_000, 21), (8_000, 16), (8_000, 100)):
        size = (side, side)
        still = saved(Image.new("P", size), format="GIF")
        start = still.index(b",", 13 + 3 * (2 << (still[10] & 7)))
        yield f"gif-{side}-{frames}", still[:start] + still[start:-1] * frames + b";"
        frame = saved(Image.new("RGB", size), format="WEBP", lossless=True)[12:]
        anmf = webp_chunk(b"ANMF", bytes(6) + struct.pack("<I", side - 1)[:3] * 2 + b"d\0\0\0" + frame)
        yield f"webp-{side}-{frames}", riff(vp8x(2, size) + webp_chunk(b"ANIM", bytes(6)) + anmf * frames)
        data = zlib.compress(bytes((side + 7) // 8 + 1) * side)
        control = lambda number: chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, side, side, 0, 0, 1, 10, 0, 0))  # noqa: E731
        later = (control(2 * n - 1) + chunk(b"fdAT", struct.pack(">I", 2 * n) + data) for n in range(1, frames))
        yield f"png-{side}-{frames}", SIGNATURE + ihdr(side, side, 1, 0) + chunk(b"acTL", struct.pack(">II", frames, 0)) \
            + control(0) + chunk(b"IDAT", data) + b"".join(later) + IEND


def phones():
    """Photographs of 50 megapixels and long screenshots."""
    for size in ((8_160, 6_144), (6_144, 8_160), (8_192, 6_144), (8_064, 6_048), (8_000, 6_000), (1_080, 20_000), (720, 30_000), (1_440, 32_768),
                 (32_768, 1_953), (8_000, 8_000)):
        image = Image.new("L", size, 200)
        for kind in ("PNG", "JPEG"):
            yield f"{size[0]}x{size[1]}.{kind.lower()}", saved(image, format=kind), size


ACCEPTED = (jpeg_stray_bytes, jpeg_without_eoi, jpeg_standard_huffman_tables, jpeg_orientations, png_orientations, png_ends,
            png_data_with_wrong_crc, gif_trailers, gif_screens, gif_pixels, webp_orientations, webp_padding, phones)
REFUSED = (webp_without_padding, jpegs_that_no_browser_shows, jpegs_with_wrong_tables, jpegs_with_wrong_scans, jpegs_without_blocks,
           gifs_with_wrong_controls, webps_in_wrong_order, pngs_with_frames_outside, pngs_without_zlib, pngs_with_damaged_data,
           animations_over_the_limit)


def accepted():
    """Name, bytes and size as shown of every image that is accepted."""
    for family in ACCEPTED:
        members = list(family())
        assert len(members) >= 20, (family, len(members))
        for name, image, size in members:
            yield f"{family.__name__}/{name}", image, size


def refused():
    """Name and bytes of every image that is refused."""
    for family in REFUSED:
        members = list(family())
        assert len(members) >= 20, (family, len(members))
        for name, image in members:
            yield f"{family.__name__}/{name}", image
