"""Images that must be refused: cut off, patched and faked."""

import random
import struct
import zlib

CUTS = 4


def needed(name, image):
    """How many bytes from the beginning of an image browsers need to show it whole: not the trailer of a GIF, nor what follows the last
    row of a PNG, unless that is an animation."""
    kind = name.split("/")[0]
    if kind == "gif":
        return len(image) - 1
    if kind != "png":
        return len(image)
    if b"acTL" in image:
        return image.rindex(b"IEND") + 4
    end = 8
    for part in png_chunks(image):
        end += len(part)
        if part[4:8] == b"IDAT":
            # CRC, checksum and the end of the compressed data.
            shown = end - 4 - 4 - 3
    return shown


def cut_off(good):
    """Each good image without its end. Those that more bytes follow can lose some and stay whole, so they are left out."""
    noise = random.Random(1)
    for name, image in good:
        if any(part in name for part in ("behind-the-end", "padded", "mpo", "large/")):
            continue
        whole = needed(name, image)
        lengths = {noise.randrange(whole) for _ in range(CUTS)} | {whole - 1}
        for length in sorted(lengths):
            yield f"cut-{length}-{name}", image[:length]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def ihdr(width=8, height=8, depth=8, colour=2, compression=0, filtering=0, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filtering, interlace))


IDAT = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
IEND = chunk(b"IEND", b"")
PLTE = chunk(b"PLTE", bytes(30))


def png_chunks(image):
    at = 8
    while at < len(image):
        (length,) = struct.unpack(">I", image[at:at + 4])
        yield image[at:at + length + 12]
        at += length + 12


def pngs(good):
    plain = SIGNATURE + ihdr() + IDAT + IEND
    for side in (32_769, 65_535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 0):
        yield f"png-wide-{side}", SIGNATURE + ihdr(width=side) + IDAT + IEND
        yield f"png-high-{side}", SIGNATURE + ihdr(height=side) + IDAT + IEND
    for size in ((32_768, 32_768), (10_000, 6_401), (8_001, 8_000)):
        yield f"png-pixels-{size}", SIGNATURE + ihdr(*size) + IDAT + IEND
    legal = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
    for colour in range(8):
        for depth in (0, 1, 2, 3, 4, 5, 8, 12, 16, 32):
            if depth not in legal.get(colour, ()):
                yield f"png-colour{colour}-depth{depth}", SIGNATURE + ihdr(depth=depth, colour=colour) + PLTE + IDAT + IEND
    yield "png-compression", SIGNATURE + ihdr(compression=1) + IDAT + IEND
    yield "png-filter", SIGNATURE + ihdr(filtering=1) + IDAT + IEND
    yield "png-interlace", SIGNATURE + ihdr(interlace=2) + IDAT + IEND
    yield "png-no-palette", SIGNATURE + ihdr(colour=3) + IDAT + IEND
    yield "png-late-palette", SIGNATURE + ihdr(colour=3) + IDAT + PLTE + IEND
    yield "png-two-palettes", SIGNATURE + ihdr(colour=3) + PLTE + PLTE + IDAT + IEND
    yield "png-palette-length", SIGNATURE + ihdr(colour=3) + chunk(b"PLTE", bytes(31)) + IDAT + IEND
    yield "png-palette-empty", SIGNATURE + ihdr(colour=3) + chunk(b"PLTE", b"") + IDAT + IEND
    yield "png-no-data", SIGNATURE + ihdr() + IEND
    yield "png-empty-data", SIGNATURE + ihdr() + chunk(b"IDAT", b"") + IEND
    yield "png-no-header", SIGNATURE + IDAT + IEND
    yield "png-late-header", SIGNATURE + PLTE + ihdr() + IDAT + IEND
    yield "png-signature-only", SIGNATURE
    yield "png-two-headers", SIGNATURE + ihdr() + ihdr() + IDAT + IEND
    half, rest = IDAT[8:14], IDAT[14:-4]
    yield "png-data-in-two-places", SIGNATURE + ihdr() + chunk(b"IDAT", half) + chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", rest) + IEND
    yield "png-critical-unknown", SIGNATURE + ihdr() + chunk(b"ABCD", b"") + IDAT + IEND
    yield "png-chunk-name", SIGNATURE + ihdr() + chunk(b"te\0t", b"") + IDAT + IEND
    yield "png-chunk-too-long", SIGNATURE + ihdr() + struct.pack(">I", 1 << 31) + b"tEXt" + plain
    yield "png-text-mode-transfer", plain.replace(b"\r\n", b"\n", 1)
    yield "png-header-of-12", SIGNATURE + chunk(b"IHDR", bytes(12)) + IDAT + IEND
    for number, (name, image) in enumerate(good):
        if not name.startswith("png/") or number % 5:
            continue
        parts = list(png_chunks(image)) if "behind" not in name else []
        for position, part in enumerate(parts):
            kind = part[4:8]
            if kind[0] & 0x20:
                continue
            label = f"{kind.decode()}{position}-{name}"
            before, after = b"".join(parts[:position]), b"".join(parts[position + 1:])
            wrong = part[:-1] + bytes([part[-1] ^ 1])
            if kind != b"IEND" and not (kind == b"IDAT" and parts[position + 1][4:8] != b"IDAT"):
                yield f"png-crc-{label}", SIGNATURE + before + wrong + after
            if kind not in (b"IDAT", b"IEND") and not (kind == b"PLTE" and parts[0][17] != 3):
                yield f"png-without-{label}", SIGNATURE + before + after


def jpeg_segments(image):
    """Position and length of each segment up to the first scan."""
    at = 2
    while image[at + 1] != 0xDA:
        length = struct.unpack(">H", image[at + 2:at + 4])[0] + 2
        yield at, length
        at += length
    yield at, struct.unpack(">H", image[at + 2:at + 4])[0] + 2


def jpegs(good):
    for number, (name, image) in enumerate(good):
        if not name.startswith("jpeg/") or number % 4 or any(p in name for p in ("fill", "padded", "mpo", "thumb")):
            continue
        yield f"jpeg-no-soi-{name}", image[2:]
        yield f"jpeg-no-eoi-{name}", image[:-2]
        for at, length in jpeg_segments(image):
            marker = image[at + 1]
            without = image[:at] + image[at + length:]
            too_long = image[:at + 2] + b"\xff\xff" + image[at + 4:]
            if len(image) - at < 0xFFFF:
                yield f"jpeg-length-{marker:x}-{at}-{name}", too_long
            # Decoders pass over the impossible length of an application's segment or a comment.
            if not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                yield f"jpeg-length-1-{marker:x}-{at}-{name}", image[:at + 2] + b"\0\1" + image[at + 4:]
            if marker in (0xC0, 0xC2):
                yield f"jpeg-no-sof-{name}", without
                yield f"jpeg-two-sof-{name}", image[:at + length] + image[at:]
                for label, offset, patch in (
                    ("zero-height", 5, b"\0\0"), ("zero-width", 7, b"\0\0"), ("absurd", 5, b"\xff\xff\xff\xff"),
                    ("too-wide", 7, b"\x80\x01"), ("pixels", 5, b"\x27\x10\x27\x10"), ("precision", 4, b"\7"),
                    ("no-components", 9, b"\0"), ("two-components", 9, b"\2"), ("five-components", 9, b"\5"),
                    ("sampling", 11, b"\0"),
                ):
                    place = at + offset
                    yield f"jpeg-{label}-{name}", image[:place] + patch + image[place + len(patch):]
            if marker == 0xDA:
                yield f"jpeg-no-scan-{name}", image[:at] + b"\xff\xd9"
                yield f"jpeg-empty-scan-{name}", image[:at + length] + b"\xff\xd9"
                yield f"jpeg-scan-of-nothing-{name}", image[:at + 4] + b"\0" + image[at + 5:]


def gifs(good):
    for number, (name, image) in enumerate(good):
        if not name.startswith("gif/") or number % 5 or "behind" in name:
            continue
        table = 3 * (2 << (image[10] & 7)) if image[10] & 0x80 else 0
        blocks = 13 + table
        yield f"gif-version-{name}", b"GIF88a" + image[6:]
        yield f"gif-no-image-{name}", image[:blocks] + b";"
        yield f"gif-unknown-block-{name}", image[:blocks] + b"\x7f" + image[blocks:]
        yield f"gif-absurd-{name}", image[:6] + b"\xff\xff\xff\xff" + image[10:]
        yield f"gif-wide-{name}", image[:6] + b"\x01\x80" + image[8:]
        yield f"gif-endless-comment-{name}", image[:blocks] + b"!\xfe\xff" + image[blocks:blocks + 20]
        at = blocks
        while image[at:at + 1] == b"!":
            at += 2
            while image[at]:
                at += image[at] + 1
            at += 1
        assert image[at:at + 1] == b",", name
        yield f"gif-frame-absurd-{name}", image[:at + 5] + b"\xff\xff\xff\xff" + image[at + 9:]
        yield f"gif-frame-zero-{name}", image[:at + 5] + b"\0\0" + image[at + 7:]
        yield f"gif-frame-outside-{name}", image[:at + 1] + b"\xff\xff" + image[at + 3:]


def riff(chunks):
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WEBP" + chunks


def webp_chunks(image):
    at = 12
    while at < len(image):
        (length,) = struct.unpack("<I", image[at + 4:at + 8])
        end = at + 8 + length + length % 2
        yield image[at:end]
        at = end


def webps(good):
    yield "webp-empty", riff(b"")
    yield "webp-first-chunk", riff(b"ABCD\4\0\0\0abcd")
    yield "webp-script", b"XXXXXXXXWEBP<script>alert(1)</script>"
    yield "webp-wave", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(24)
    for number, (name, image) in enumerate(good):
        if not name.startswith("webp/") or number % 3 or "behind" in name:
            continue
        parts = list(webp_chunks(image))
        yield f"webp-size-{name}", image[:4] + struct.pack("<I", len(image)) + image[8:]
        yield f"webp-small-size-{name}", image[:4] + struct.pack("<I", 12) + image[8:]
        yield f"webp-chunk-size-{name}", image[:16] + b"\xff\xff\xff\x7f" + image[20:]
        yield f"webp-riff-{name}", b"RIFX" + image[4:]
        for position, part in enumerate(parts):
            others = b"".join(parts[:position] + parts[position + 1:])
            before, after = b"".join(parts[:position]), b"".join(parts[position + 1:])
            kind = part[:4]
            if kind in (b"VP8 ", b"VP8L"):
                yield f"webp-no-image-{position}-{name}", riff(others)
                yield f"webp-two-images-{position}-{name}", riff(b"".join(parts[:position + 1]) + part) if parts[0][:4] == b"VP8X" else riff(b"")
                wrong = part[:8] + bytes([part[8] ^ 0xFF]) + part[9:]
                yield f"webp-image-head-{position}-{name}", riff(before + wrong + after)
            if kind == b"VP8X":
                yield f"webp-canvas-{name}", riff(part[:12] + b"\xff" * 6 + others)
                yield f"webp-canvas-differs-{name}", riff(part[:12] + b"\x01\0\0\x01\0\0" + others)
                yield f"webp-two-canvases-{name}", riff(part + part + others)
            if kind == b"ANMF" and position == len(parts) - 1 or kind == b"ANIM":
                yield f"webp-frame-outside-{position}-{name}", riff(before + part[:8] + b"\xff\xff\xff" + part[11:] + after) \
                    if kind == b"ANMF" else riff(others)


def fakes(good):
    first = {}
    for name, image in good:
        first.setdefault(name.split("/")[0], image)
    scripts = (b"<?php system($_GET[0]);", b"<script>alert(1)</script>", b"<html><body>x</body></html>", b"", b"\0" * 100,
               b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", b"%PDF-1.7\n", b"#!/bin/sh\nid\n")
    heads = (b"GIF", b"GIF87a", b"GIF89a", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0\x10JFIF\0", SIGNATURE, SIGNATURE[:4],
             b"RIFF\xff\xff\xff\xffWEBP", b"RIFF\4\0\0\0WEBP", b"XXXXXXXXWEBP", b"BM", b"II*\0", b"MM\0*", b"", b"\0\0\1\0",
             b"\0\0\0\x1cftypavif", b"\0\0\0\x0cjP  \r\n\x87\n", b"PK\3\4", b"\x7fELF", b"8BPS", b"%PDF-1.4\n", b"\xef\xbb\xbf")
    for number, head in enumerate(heads):
        for other, script in enumerate(scripts):
            yield f"fake-{number}-{other}", head + script
    # A good image that something else comes before is something else.
    for kind, image in first.items():
        for number, head in enumerate((b" ", b"\n", b"\0", b"<?php ?>", b"\xef\xbb\xbf", b"PK\3\4" + bytes(26), b"%PDF-1.4\n", b"GIF89a",
                                       SIGNATURE, b"\xff\xd8\xff", b"RIFF\xff\0\0\0WEBP", b"BM")):
            yield f"polyglot-{number}-{kind}", head + image
    noise = random.Random(2)
    for number in range(60):
        yield f"noise-{number}", heads[number % len(heads)] + noise.randbytes(noise.randrange(400))


def images(good):
    """Name and bytes of every broken image."""
    for kind in (cut_off, pngs, jpegs, gifs, webps, fakes):
        yield from kind(good)
