"""Photographs with positions: in Exif of both byte orders, XMP and IPTC, in every order of segments and at every place of a file."""

import itertools
import struct
import zlib

from good import picture, profile, saved
from PIL import Image

SHORT, LONG, RATIONAL, ASCII, BYTE, UNDEFINED = 3, 4, 5, 2, 1, 7

XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{}</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
NAMESPACES = (
    'rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
)
XMP_FORMS = [
    XMP.format(f'<rdf:Description {NAMESPACES} exif:GPSLatitude="48,3.6N" exif:GPSLongitude="11,40.0E" xmp:Rating="3" photoshop:City="Ottobrunn"/>'),
    XMP.format(
        f"<rdf:Description {NAMESPACES}><exif:GPSLatitude>48,3.6N</exif:GPSLatitude><xmp:CreatorTool>camera</xmp:CreatorTool>"
        "<Iptc4xmpExt:LocationCreated><rdf:Bag><rdf:li><rdf:Description Iptc4xmpExt:City=\"Ottobrunn\"/></rdf:li></rdf:Bag>"
        "</Iptc4xmpExt:LocationCreated></rdf:Description>"
    ),
    # Not well-formed: the packet goes as a whole.
    XMP.format(f"<rdf:Description {NAMESPACES} exif:GPSLatitude='48,3.6N'><xmp:Rating>3</rdf:Description><unclosed>"),
]


class Tiff:
    """A writer of directories."""

    def __init__(self, order):
        self.order, self.data = order, bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))

    def pack(self, form, *values):
        return struct.pack(self.order + form, *values)

    def put(self, data):
        self.data += bytes(len(self.data) % 2)
        at = len(self.data)
        self.data += data
        return at

    def directory(self, entries, next_at=0):
        """Writes a directory of (tag, type, count, value) and gives its offset; a longer value is written before it."""
        table = b""
        for tag, kind, count, value in sorted(entries):
            if len(value) > 4:
                value = self.pack("I", self.put(value))
            table += self.pack("HHI", tag, kind, count) + value.ljust(4, b"\0")
        return self.put(self.pack("H", len(entries)) + table + self.pack("I", next_at))

    def gps(self):
        degrees = [self.pack("6I", 48, 1, 3, 1, 36, 1), self.pack("6I", 11, 1, 40, 1, 0, 1)]
        return self.directory([
            (0, BYTE, 4, bytes([2, 3, 0, 0])), (1, ASCII, 2, b"N\0"), (2, RATIONAL, 3, degrees[0]), (3, ASCII, 2, b"E\0"),
            (4, RATIONAL, 3, degrees[1]), (0x1B, UNDEFINED, 17, b"ASCII\0\0\0Ottobrunn"),
        ])

    def long(self, value):
        return self.pack("I", value)


def exif(order, orientation=6, thumbnail=True, nested=False, gps_in_thumbnail=False):
    tiff = Tiff(order)
    gps = tiff.gps()
    note = b"Nikon\0\2\x10\0\0position 48,3.6N Ottobrunn"
    sub = tiff.directory([
        (0x9000, UNDEFINED, 4, b"0232"), (0x927C, UNDEFINED, len(note), note), (0x829A, RATIONAL, 1, tiff.pack("2I", 1, 125)),
        (0xA434, ASCII, 10, b"a 50mm len"), (0xA002, LONG, 1, tiff.long(64)),
    ] + ([(0x8825, LONG, 1, tiff.long(gps))] if nested else []))
    second = 0
    if thumbnail:
        small = saved(picture((16, 12)), format="JPEG", exif=b"Exif\0\0" + exif(order, thumbnail=False)) if gps_in_thumbnail \
            else saved(picture((16, 12)), format="JPEG")
        at = tiff.put(small)
        second = tiff.directory([
            (0x0103, SHORT, 1, tiff.pack("HH", 6, 0)), (0x0201, LONG, 1, tiff.long(at)), (0x0202, LONG, 1, tiff.long(len(small))),
        ])
    first = [
        (0x010F, ASCII, 7, b"Maker X"), (0x0112, SHORT, 1, tiff.pack("HH", orientation, 0)), (0x8769, LONG, 1, tiff.long(sub)),
        (0x010E, ASCII, 21, b"a lake in the evening"), (0x0213, SHORT, 1, tiff.pack("HH", 1, 0)),
    ]
    if not nested:
        first.append((0x8825, LONG, 1, tiff.long(gps)))
    at = tiff.directory(first, second)
    tiff.data[4:8] = tiff.long(at)
    return bytes(tiff.data)


def damaged(order):
    """The directory of camera data leads back to the first one, or out of the block."""
    tiff = Tiff(order)
    gps = tiff.gps()
    at = tiff.directory([
        (0x0112, SHORT, 1, tiff.pack("HH", 3, 0)), (0x8825, LONG, 1, tiff.long(gps)), (0x8769, LONG, 1, tiff.long(0x7FFF_0000)),
    ], next_at=gps + 1)
    tiff.data[4:8] = tiff.long(at)
    return bytes(tiff.data)


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def iptc():
    datasets = b"".join(
        b"\x1c\x02" + struct.pack(">BH", number, len(text)) + text for number, text in [(5, b"a title"), (90, b"Ottobrunn"), (101, b"Germany")]
    )
    resource = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(datasets)) + datasets + bytes(len(datasets) % 2)
    return b"Photoshop 3.0\0" + resource


def with_segments(jpeg, segments, at=2):
    return jpeg[:at] + b"".join(segments) + jpeg[at:]


def jpegs():
    forms = {"plain": saved(picture((64, 48)), format="JPEG", icc_profile=profile()),
             "progressive": saved(picture((48, 64), "L"), format="JPEG", progressive=True),
             "cmyk": saved(picture((33, 17), "CMYK"), format="JPEG")}
    parts = {"exif": None, "xmp": None, "iptc": segment(0xED, iptc()), "comment": segment(0xFE, b"a comment")}
    for (form, jpeg), order in itertools.product(forms.items(), "<>"):
        for number, names in enumerate(itertools.permutations(parts)):
            block = exif(order, 1 + number % 8, number % 2 == 0, number % 3 == 0, number % 4 == 0)
            parts["exif"] = segment(0xE1, b"Exif\0\0" + block)
            parts["xmp"] = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP_FORMS[number % 3].encode())
            yield f"jpeg/{form}-{order}-{'-'.join(names)}.jpg", with_segments(jpeg, [parts[name] for name in names])
    base = forms["plain"]
    for order in "<>":
        block = segment(0xE1, b"Exif\0\0" + exif(order))
        yield f"jpeg/damaged{order}.jpg", with_segments(base, [segment(0xE1, b"Exif\0\0" + damaged(order))])
        # Behind the frame header, and a second Exif block.
        frame = base.index(b"\xff\xc0")
        yield f"jpeg/late{order}.jpg", with_segments(base, [block], frame)
        yield f"jpeg/twice{order}.jpg", with_segments(base, [block, segment(0xE1, b"Exif\0\0" + exif(order, 1, nested=True))])
        # A second picture, as cameras append previews and gain maps, and a video.
        preview = with_segments(saved(picture((32, 24)), format="JPEG"), [block])
        yield f"jpeg/two{order}.jpg", with_segments(base, [block]) + preview
        yield f"jpeg/two-padded{order}.jpg", with_segments(base, [block]) + bytes(7) + preview
        video = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + struct.pack(">I", 30) + b"udta" + b"+48.06+011.66/ Ottobrunn"
        yield f"jpeg/motion{order}.jpg", with_segments(base, [block]) + video
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", len(XMP_FORMS[0].encode()), 0) + XMP_FORMS[0].encode()
    yield "jpeg/extended.jpg", with_segments(base, [segment(0xE1, b"Exif\0\0" + exif(">")), segment(0xE1, extension)])
    yield "jpeg/app6.jpg", with_segments(base, [segment(0xE1, b"Exif\0\0" + exif("<")), segment(0xE6, b"GoPro\0Ottobrunn")])


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pngs():
    for mode, order, number in itertools.product(("RGB", "P", "L"), "<>", range(4)):
        image = saved(picture((40, 30), mode), format="PNG", icc_profile=profile())
        end = image.rindex(b"IEND") - 4
        block = exif(order, 1 + number * 2, True, number % 2 == 0)
        xmp = XMP_FORMS[number % 3].encode()
        blocks = [
            chunk(b"eXIf", block),
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
            chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)),
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile("exif", b"Exif\0\0" + block))),
            chunk(b"tEXt", b"Raw profile type APP1\0" + raw_profile("APP1", b"Exif\0\0" + block)),
            chunk(b"tEXt", b"Software\0a program"),
        ]
        blocks = blocks[number:] + blocks[:number]
        head, tail = image[:33], image[33:]
        yield f"png/{mode}{order}{number}-head.png", head + b"".join(blocks) + tail
        yield f"png/{mode}{order}{number}-tail.png", image[:end] + b"".join(blocks[1:] + blocks[:1]) + image[end:]


def raw_profile(name, data):
    lines = data.hex()
    return f"\n{name}\n{len(data):8}\n".encode() + b"\n".join(lines[at:at + 72].encode() for at in range(0, len(lines), 72)) + b"\n"


def webps():
    for order, lossless, prefix, number in itertools.product("<>", (False, True), (b"", b"Exif\0\0"), range(3)):
        options = dict(format="WEBP", lossless=lossless, icc_profile=profile(), exif=prefix + exif(order), xmp=XMP_FORMS[number].encode())
        yield f"webp/{order}{lossless}{len(prefix)}{number}.webp", saved(picture((40, 30)), **options)
        frames = [picture((20, 20)).rotate(angle) for angle in (0, 90)]
        yield f"webp/animated{order}{lossless}{len(prefix)}{number}.webp", saved(
            frames[0], save_all=True, append_images=frames[1:], duration=100, **options
        )


def gifs():
    trailer = bytes([1]) + bytes(range(255, -1, -1)) + bytes(1)
    for number, comment in itertools.product(range(3), (b"", b"a comment", b"c" * 900)):
        image = picture((20, 20)).quantize(32)
        frames = [image.rotate(90)] if number % 2 else []
        data = saved(image, format="GIF", comment=comment, **(dict(save_all=True, append_images=frames, loop=0) if frames else {}))
        block = b"!\xff\x0bXMP DataXMP" + XMP_FORMS[number].encode() + trailer
        at = 13 + 3 * (2 << (data[10] & 7))
        yield f"gif/{number}-{len(comment)}-head.gif", data[:at] + block + data[at:]
        yield f"gif/{number}-{len(comment)}-tail.gif", data[:-1] + block + data[-1:]


def images():
    Image.init()
    for kind in (jpegs, pngs, webps, gifs):
        yield from kind()
