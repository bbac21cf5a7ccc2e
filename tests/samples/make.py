"""Draws the sample images of this directory; every pixel comes from this file.

Run it with Python 3, Pillow and NumPy: `python make.py`. The images are kept in the tree, so that neither the demo nor the
tests need these libraries; a newer Pillow may encode the same pixels to other bytes.
"""

import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = pathlib.Path(__file__).resolve().parent
RANDOM = np.random.default_rng(20250405)


def blend(low, high, amount):
    """The colour that lies `amount` (0 to 1) of the way from `low` to `high`."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    return low + (high - low) * np.asarray(amount, float)[..., None]


def ridge(width, base, height, octaves, roughness):
    """A mountain line: the sum of waves whose height falls as their number grows."""
    x = np.arange(width) / width
    line = np.full(width, float(base))
    for octave in range(octaves):
        waves = 1.4 * 2**octave
        line -= height * roughness**octave * np.sin(2 * math.pi * (waves * x + RANDOM.random()))
    return line


def landscape(width, height):
    """Dusk over a lake: sky, sun, five ridges in haze, and their reflection in moving water."""
    horizon = int(height * 0.66)
    y, x = np.mgrid[0:horizon, 0:width]
    depth = y / horizon
    sky = np.where(
        (depth < 0.55)[..., None],
        blend((28, 38, 84), (205, 110, 120), depth / 0.55),
        blend((205, 110, 120), (255, 205, 130), (depth - 0.55) / 0.45),
    )
    distance = np.hypot(x - width * 0.64, y - horizon * 0.62)
    sky = sky + np.exp(-distance / 130)[..., None] * np.array((95, 70, 30))
    sun = np.clip(46 - distance, 0, 1)[..., None]
    sky = sky * (1 - sun) + np.array((255, 238, 200)) * sun
    stars = Image.new("L", (width, horizon))
    draw = ImageDraw.Draw(stars)
    for _ in range(110):
        at = (int(RANDOM.random() * width), int(RANDOM.random() ** 2 * horizon * 0.45))
        draw.point(at, int(80 + RANDOM.random() * 150))
    sky = sky + np.asarray(stars, float)[..., None] * (1 - depth)[..., None] ** 2
    clouds = np.asarray(
        Image.fromarray((RANDOM.random((9, 20)) * 255).astype("uint8")).resize((width, horizon), Image.BICUBIC),
        float,
    )
    clouds = np.clip(clouds / 255 - 0.55, 0, 1) * np.exp(-(((depth - 0.5) / 0.2) ** 2))
    sky = sky + clouds[..., None] * np.array((150, 95, 70))
    for layer in range(5):
        near = layer / 4
        line = ridge(width, horizon * (0.70 + 0.065 * layer), horizon * (0.10 - 0.012 * layer), 8, 0.50)
        cover = np.clip(y - line[None, :], 0, 1)[..., None]
        haze = np.clip((y - line[None, :]) / (horizon * 0.25), 0, 1)
        body = blend(blend((150, 96, 122), (18, 24, 44), near), blend((190, 125, 120), (30, 36, 58), near), haze)
        sky = sky * (1 - cover) + body * cover
    water_height = height - horizon
    rows = np.arange(water_height)
    ripple = (3 + rows * 0.12) * np.sin(rows * 0.55 + 22 * np.sqrt(rows + 1.0))
    source = np.clip(horizon - 1 - rows * horizon / water_height * 0.62, 0, horizon - 1).astype(int)
    water = np.empty((water_height, width, 3))
    for row in rows:
        water[row] = np.roll(sky[source[row]], int(ripple[row]), axis=0)
    water = water * (0.80 - 0.30 * (rows / water_height))[:, None, None] + np.array((4, 12, 30))
    picture = np.vstack((sky, water)) + RANDOM.normal(0, 1.6, (height, width, 1))
    return Image.fromarray(np.clip(picture, 0, 255).astype("uint8")).filter(ImageFilter.GaussianBlur(0.45))


def badge(size):
    """Three overlapping translucent discs on a transparent ground."""
    picture = Image.new("RGBA", (size * 4, size * 4))
    for turn, colour in enumerate(((239, 83, 80, 190), (66, 165, 245, 190), (102, 187, 106, 190))):
        disc = Image.new("RGBA", picture.size)
        angle = 2 * math.pi * turn / 3 - math.pi / 2
        at = [size * 2 + size * 0.75 * math.cos(angle), size * 2 + size * 0.75 * math.sin(angle)]
        radius = size * 1.05
        ImageDraw.Draw(disc).ellipse(
            (at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius), fill=colour
        )
        picture = Image.alpha_composite(picture, disc)
    return picture.resize((size, size), Image.LANCZOS)


def spinner(size, frames):
    """A dot that goes round a ring, a frame for each place."""
    pictures = []
    for frame in range(frames):
        picture = Image.new("P", (size, size), 0)
        picture.putpalette([255, 255, 255, 200, 210, 225, 40, 90, 200])
        draw = ImageDraw.Draw(picture)
        draw.ellipse((6, 6, size - 7, size - 7), outline=1, width=5)
        angle = 2 * math.pi * frame / frames
        reach = size / 2 - 9
        x, y = size / 2 + reach * math.cos(angle), size / 2 + reach * math.sin(angle)
        draw.ellipse((x - 6, y - 6, x + 6, y + 6), fill=2)
        pictures.append(picture)
    return pictures


def main():
    scene = landscape(1200, 675)
    scene.save(HERE / "lake.jpg", quality=79, progressive=True, optimize=True)
    scene.resize((320, 180), Image.LANCZOS).save(HERE / "lake-small.jpg", quality=80)
    scene.resize((480, 270), Image.LANCZOS).save(HERE / "lake.webp", quality=78, method=6)
    badge(160).save(HERE / "badge.png", optimize=True)
    first, *rest = spinner(64, 12)
    first.save(HERE / "spinner.gif", save_all=True, append_images=rest, duration=80, loop=0, optimize=True)


if __name__ == "__main__":
    main()
