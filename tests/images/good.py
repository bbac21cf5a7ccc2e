"""Good images of every kind that Pillow and pypng write, small enough for thousands of uploads."""

import io
import itertools
import random

import PIL
import png
from PIL import Image, ImageDraw, ImageOps, PngImagePlugin, features

SIZES = [(1, 1), (3, 5), (8, 8), (33, 17), (64, 48)]


def picture(size, mode="RGB"):
    """Something between a photograph and a drawing, the same for the same size."""
    noise = random.Random(size[0] * 1000 + size[1])
    image = Image.new("RGBA", size)
    pixels = [
        (x * 255 // size[0], y * 255 // size[1], noise.randrange(256), noise.choice([0, 128, 255, 255]))
        for y, x in itertools.product(range(size[1]), range(size[0]))
    ]
    image.putdata(pixels)
    ImageDraw.Draw(image).ellipse((0, 0, size[0] // 2, size[1] // 2), fill=(200, 30, 30, 255))
    if mode == "P":
        return image.convert("RGB").quantize(64)
    if mode in ("CMYK", "1", "I;16"):
        image = image.convert("RGB")
    return image.convert("L").convert("I;16") if mode == "I;16" else image.convert(mode)


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def exif():
    tags = Image.Exif()
    tags[0x010E] = "a description with an end of image inside: \xff\xd9"
    tags[0x0112] = 6
    return tags.tobytes()


def profile():
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_kinds():
    """Every colour type and depth of the specification, plain and interlaced; pypng writes what Pillow does not."""
    kinds = [dict(greyscale=True, bitdepth=depth) for depth in (1, 2, 4, 8, 16)]
    kinds += [dict(greyscale=True, alpha=True, bitdepth=depth) for depth in (8, 16)]
    kinds += [dict(greyscale=False, alpha=alpha, bitdepth=depth) for alpha in (False, True) for depth in (8, 16)]
    kinds += [dict(palette=True, bitdepth=depth) for depth in (1, 2, 4, 8)]
    for kind, interlaced, (width, height) in itertools.product(kinds, (False, True), SIZES):
        options = dict(kind)
        depth = options["bitdepth"]
        planes = 1
        if options.get("palette"):
            options["palette"] = [(n, 255 - n, n * 7 % 256) for n in range(1 << depth)]
        else:
            planes = (1 if options["greyscale"] else 3) + (1 if options.get("alpha") else 0)
        noise = random.Random(width)
        rows = [[noise.randrange(1 << depth) for _ in range(width * planes)] for _ in range(height)]
        out = io.BytesIO()
        png.Writer(width, height, interlace=interlaced, chunk_limit=200, **options).write(out, rows)
        text = "-".join(f"{key}{value}" for key, value in sorted(kind.items()))
        yield f"png/{text}-interlaced{interlaced}-{width}x{height}.png", out.getvalue()


def png_extras():
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "IEND " * 50)
    text.add_itxt("Title", "\u00e9\u4e2d", zip=True)
    text.add_text("Zipped", "z" * 500, zip=True)
    text.add(b"prVt", b"private", after_idat=True)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        for number, options in enumerate([
            dict(optimize=True), dict(compress_level=0), dict(dpi=(72, 72), icc_profile=profile()),
            dict(pnginfo=text, exif=exif()),
        ]):
            yield f"png/{mode}-extra{number}.png", saved(picture((40, 30), mode), format="PNG", **options)
    frames = [picture((20 + n, 20)).resize((20, 20)) for n in range(3)]
    for default in (False, True):
        animated = saved(frames[0], format="PNG", save_all=True, append_images=frames[1:], duration=50,
                         default_image=default)
        yield f"png/animated{default}.png", animated
    yield "png/transparent-colour.png", saved(picture((9, 9)), format="PNG", transparency=(1, 2, 3))
    yield "png/behind-the-end.png", saved(picture((9, 9)), format="PNG") + b"<?php bytes after the image"


def jpegs():
    extras = [
        {}, dict(exif=exif()), dict(icc_profile=profile()), dict(comment=b"\xff\xd9 in a comment"),
        dict(restart_marker_blocks=1), dict(restart_marker_rows=1),
        dict(exif=exif(), icc_profile=profile(), dpi=(300, 300), restart_marker_blocks=3),
    ]
    for mode, progressive, quality, (number, extra) in itertools.product(
        ("L", "RGB", "CMYK"), (False, True), (5, 80), enumerate(extras)
    ):
        image = saved(picture((65, 43), mode), format="JPEG", progressive=progressive, quality=quality, **extra)
        yield f"jpeg/{mode}-progressive{progressive}-{quality}-extra{number}.jpg", image
    for size, subsampling, progressive in itertools.product(SIZES, ("4:4:4", "4:2:2", "4:2:0"), (False, True)):
        image = saved(picture(size), format="JPEG", subsampling=subsampling, progressive=progressive, optimize=True)
        yield f"jpeg/{size[0]}x{size[1]}-{subsampling.replace(':', '')}-{progressive}.jpg", image
    large_profile = b"x" * 200_000
    yield "jpeg/profile-in-several-segments.jpg", saved(picture((16, 16)), format="JPEG", icc_profile=large_profile)
    yield "jpeg/keep-rgb.jpg", saved(picture((16, 16)), format="JPEG", keep_rgb=True)
    for count in (1, 2):
        more = [picture((30, 20 + n)) for n in range(count)]
        yield f"jpeg/mpo{count}.jpg", saved(picture((64, 48)), format="MPO", save_all=True, append_images=more)
    plain = saved(picture((16, 16)), format="JPEG")
    # Fill bytes before a marker are legal, and cameras pad their files.
    yield "jpeg/fill-bytes.jpg", plain[:2] + b"\xff\xff\xff" + plain[2:]
    yield "jpeg/padded.jpg", plain + bytes(1000)
    thumbnail = b"Exif\0\0" + plain
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    yield "jpeg/thumbnail.jpg", plain[:2] + segment + plain[2:]


def gifs():
    for mode, size, interlace in itertools.product(("1", "L", "P"), SIZES, (0, 1)):
        image = saved(picture(size, mode), format="GIF", interlace=interlace)
        yield f"gif/{mode}-{size[0]}x{size[1]}-interlace{interlace}.gif", image
        # Without an extension the 87a header says the same.
        if image[:6] == b"GIF87a":
            yield f"gif/89a-{mode}-{size[0]}x{size[1]}-{interlace}.gif", b"GIF89a" + image[6:]
    for count, disposal, (number, extra) in itertools.product(
        (2, 5), (0, 1, 2, 3),
        enumerate([{}, dict(loop=0), dict(transparency=0, loop=3), dict(comment=b"; , ! \x00"), dict(optimize=True)]),
    ):
        frames = [ImageOps.mirror(picture((20 + n, 25), "P").resize((20, 25))) for n in range(count)]
        image = saved(frames[0], format="GIF", save_all=True, append_images=frames[1:], duration=80, disposal=disposal,
                      **extra)
        yield f"gif/animated{count}-disposal{disposal}-extra{number}.gif", image
    yield "gif/behind-the-end.gif", saved(picture((9, 9), "P"), format="GIF") + b"more"


def webps():
    for mode, size, lossless, method in itertools.product(("RGB", "RGBA"), SIZES, (False, True), (0, 6)):
        image = saved(picture(size, mode), format="WEBP", lossless=lossless, method=method, quality=70)
        yield f"webp/{mode}-{size[0]}x{size[1]}-lossless{lossless}-{method}.webp", image
    extras = [dict(icc_profile=profile()), dict(exif=exif()), dict(xmp=b"<x:xmpmeta/>"), dict(exact=True),
              dict(icc_profile=profile(), exif=exif(), xmp=b"odd"), dict(alpha_quality=10)]
    for mode, lossless, (number, extra) in itertools.product(("RGB", "RGBA"), (False, True), enumerate(extras)):
        image = saved(picture((31, 23), mode), format="WEBP", lossless=lossless, **extra)
        yield f"webp/{mode}-lossless{lossless}-extra{number}.webp", image
    for count, mode, lossless, (number, extra) in itertools.product(
        (2, 4), ("RGB", "RGBA"), (False, True),
        enumerate([{}, dict(minimize_size=True), dict(allow_mixed=True), dict(icc_profile=profile(), exif=exif())]),
    ):
        frames = [picture((30 + n, 20), mode).resize((30, 20)) for n in range(count)]
        image = saved(frames[0], format="WEBP", save_all=True, append_images=frames[1:], duration=40, lossless=lossless,
                      **extra)
        yield f"webp/animated{count}-{mode}-lossless{lossless}-extra{number}.webp", image
    yield "webp/behind-the-end.webp", saved(picture((9, 9)), format="WEBP") + b"more"


def large():
    """Up to the limits: 32,768 pixels a side, 64 megapixels."""
    for size in ((32_768, 1), (1, 32_768), (10_000, 6_400)):
        image = Image.new("L", size)
        for kind in ("PNG", "JPEG", "GIF"):
            yield f"large/{size[0]}x{size[1]}.{kind.lower()}", saved(image, format=kind)
    yield "large/16383x3.webp", saved(Image.new("RGB", (16_383, 3)), format="WEBP")


def images():
    """Name and bytes of every good image."""
    assert features.check("webp"), f"Pillow {PIL.__version__} without WebP"
    for kind in (png_kinds, png_extras, jpegs, gifs, webps, large):
        yield from kind()
