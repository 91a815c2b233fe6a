"""More than 500 pictures that are malformed or odd, each with what should become of it; made from seeds, so always the same."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from corpus.encoders import Whole, drawn, encoded, whole_pictures

READABLE = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
CUTS = (0.02, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.93)
FLIPS = 4
# Formats of which every damage is tried; the others only differ from them in small things.
DAMAGED = (
    "jpeg", "jpeg-progressive", "jpeg-cmyk", "jpeg-ycck", "png", "png-palette", "png-animated", "webp", "webp-lossless", "webp-animated", "bmp",
    "gif", "gif-animated", "tiff-raw", "tiff-tiff_lzw", "tiff-tiff_adobe_deflate", "tiff-jpeg", "tiff-16", "ppm", "ppm-text", "jp2", "j2k", "avif",
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A file, and what reading it should give: `ok` (and then these `pixels`, within a mean of `slack` levels, where they are
    known), `refused`, or `either` where nobody can tell without decoding it."""

    name: str
    kind: str
    data: bytes
    expected: Literal["ok", "refused", "either"]
    pixels: np.ndarray | None = None
    slack: float = 0.0


def bad_pictures() -> list[Picture]:
    """All of them; their names differ."""
    wholes = list(whole_pictures())
    damaged = [whole for whole in wholes if whole.name in DAMAGED or whole.name == "gif-palette"]
    makers = (_whole(wholes), _cut(damaged), _flipped(damaged), _spliced(damaged), _padded(damaged), _lying_headers(wholes), _bombs(),
              _wrong_endings(wholes), _turned(), _profiles(), _broken_exif(), _no_pictures(), _sizes())  # fmt: skip
    return [picture for maker in makers for picture in maker]


def _whole(wholes: list[Whole]) -> Iterator[Picture]:
    for whole in wholes:
        # A folder is searched for the usual endings only; the others are asked for under one of those.
        ending = whole.ending if whole.ending in READABLE else f"{whole.ending}.png"
        expected = "refused" if whole.pixels is None else "ok"
        yield Picture(f"whole-{whole.name}{ending}", "whole", whole.data, expected, whole.pixels, whole.slack)


def _cut(wholes: list[Whole]) -> Iterator[Picture]:
    for whole in wholes:
        for cut in CUTS:
            data = whole.data[: max(1, int(len(whole.data) * cut))]
            # Of several frames the first may be there; a palette or a text of pixels may end early in silence for no reader of ours.
            yield Picture(f"cut-{whole.name}-{cut}.jpg", "cut", data, "either" if whole.frames else "refused")
        if whole.data.startswith(b"\xff\xd8"):
            yield Picture(f"cut-{whole.name}-with-end.jpg", "cut", whole.data[: len(whole.data) // 2] + b"\xff\xd9", "refused")


def _flipped(wholes: list[Whole]) -> Iterator[Picture]:
    for number, whole in enumerate(wholes):
        for turn in range(FLIPS):
            generator = np.random.default_rng([number, turn])
            data = np.frombuffer(whole.data, np.uint8).copy()
            # The first turns hit the header, where the most is decided.
            reach = min(len(data), 64 if turn < 2 else len(data))
            places = generator.integers(0, reach, 1 + turn * 3)
            data[places] ^= generator.integers(1, 256, len(places), dtype=np.uint8)
            yield Picture(f"flipped-{whole.name}-{turn}.png", "flipped", data.tobytes(), "either")


def _spliced(wholes: list[Whole]) -> Iterator[Picture]:
    for number, whole in enumerate(wholes):
        for step, share in ((1, 0.5), (5, 0.2), (9, 0.9)):
            other = wholes[(number + step) % len(wholes)]
            data = whole.data[: int(len(whole.data) * share)] + other.data[int(len(other.data) * share) :]
            yield Picture(f"spliced-{whole.name}-{other.name}.jpg", "spliced", data, "either")


def _padded(wholes: list[Whole]) -> Iterator[Picture]:
    for whole in wholes:
        middle = len(whole.data) // 2
        yield Picture(f"behind-{whole.name}.png", "padded", whole.data + b"\0rubbish" * 50, "ok" if _ends_by_itself(whole) else "either")
        yield Picture(f"before-{whole.name}.png", "padded", b"\n" + whole.data, "either")
        yield Picture(f"zeroed-{whole.name}.png", "padded", whole.data[:middle] + bytes(len(whole.data) - middle), "either")


def _ends_by_itself(whole: Whole) -> bool:
    return whole.name in ("jpeg", "jpeg-progressive", "png", "bmp", "tiff-raw", "ppm", "webp")


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG with any claim about itself: `data` is what its pixels unpack to."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", zlib.compress(data, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _lying_headers(wholes: list[Whole]) -> Iterator[Picture]:
    """Claims of 20,000 by 20,000 pixels and other sizes that the file does not have."""
    of = {whole.name: whole.data for whole in wholes}
    for side in (20_000, 65_535):
        for name, data in _claims(of, side):
            yield Picture(f"claims-{side}-{name}.png", "header", data, "refused")
    for width, height in ((0, 0), (0, 40), (48, 0), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (2**32 - 1, 2**32 - 1), (1, 178_000_000)):
        yield Picture(f"claims-png-{width}x{height}.png", "header", png(width, height), "refused")
        text = f"P6\n{width} {height}\n255\n".encode()
        yield Picture(f"claims-ppm-{width}x{height}.png", "header", text + bytes(64), "refused")
    for width, height in ((0, 40), (-48, 40), (48, -(2**31)), (2**31 - 1, 1)):
        yield Picture(f"claims-bmp-{width}x{height}.bmp", "header", _bmp_sized(of["bmp"], width, height), "refused")
    for depth, colour in ((3, 2), (16, 3), (1, 6), (8, 5), (64, 0)):
        yield Picture(f"claims-png-depth-{depth}-{colour}.png", "header", png(8, 8, depth=depth, colour=colour, data=bytes(600)), "refused")
    for count in (0, 1, 2**16, 2**31 - 1):
        yield Picture(f"claims-tiff-strip-{count}.tif", "header", _tiff_entry(of["tiff-raw"], 279, count), "either")
        yield Picture(f"claims-tiff-offset-{count}.tif", "header", _tiff_entry(of["tiff-raw"], 273, count), "either")
        yield Picture(f"claims-tiff-rows-{count}.tif", "header", _tiff_entry(of["tiff-raw"], 278, count), "either")
    for samples in (0, 2, 7, 65_535):
        yield Picture(f"claims-tiff-samples-{samples}.tif", "header", _tiff_entry(of["tiff-raw"], 277, samples), "either")
        yield Picture(f"claims-tiff-bits-{samples}.tif", "header", _tiff_entry(of["tiff-bits"], 258, samples), "either")


def _claims(of: dict[str, bytes], side: int) -> Iterator[tuple[str, bytes]]:
    yield "png", png(side, side)
    yield "png-bits", png(side, side, depth=1, colour=0, data=bytes(1000))
    yield "ppm", f"P6\n{side} {side}\n255\n".encode() + bytes(1000)
    yield "pgm", f"P5\n{side} {side}\n65535\n".encode() + bytes(1000)
    yield "bmp", _bmp_sized(of["bmp"], side, side)
    for name in ("jpeg", "jpeg-progressive", "jpeg-cmyk", "jpeg-ycck", "jpeg-grey"):
        data = bytearray(of[name])
        at = data.index(b"\xff\xc2" if name == "jpeg-progressive" else b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", side, side)
        yield name, bytes(data)
    for name in ("gif-palette", "gif-animated"):
        yield name, of[name][:6] + struct.pack("<HH", side, side) + of[name][10:]
    for name in ("tiff-raw", "tiff-tiff_lzw", "tiff-jpeg"):
        yield name, _tiff_entry(_tiff_entry(of[name], 256, side), 257, side)
    for name, box in (("jp2", b"ihdr"), ("avif", b"ispe")):
        data = bytearray(of[name])
        at = data.index(box) + (4 if name == "jp2" else 8)
        data[at : at + 8] = struct.pack(">II", side, side)
        if name == "jp2":  # and in the codestream, which is what counts
            at = data.index(b"\xff\x51") + 6
            data[at : at + 8] = struct.pack(">II", side, side)
        yield name, bytes(data)
    canvas = struct.pack("<I", side - 1)[:3]
    data = bytearray(of["webp-animated"])
    at = data.index(b"VP8X") + 12
    data[at : at + 6] = canvas + canvas
    yield "webp-animated", bytes(data)


def _bmp_sized(data: bytes, width: int, height: int) -> bytes:
    return data[:18] + struct.pack("<ii", width, height) + data[26:]


def _tiff_entry(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian TIFF with one number in its directory changed."""
    changed = bytearray(data)
    (directory,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, directory)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        found, kind, _ = struct.unpack_from("<HHI", data, at)
        if found == tag:
            struct.pack_into("<HHII", changed, at, tag, kind if value < 65_536 else 4, 1, value)
    return bytes(changed)


def _bombs() -> Iterator[Picture]:
    """Small files that unpack to much."""
    yield Picture("bomb-bits-20000.png", "bomb", png(20_000, 20_000, depth=1, colour=0, data=bytes(20_000 * 2501)), "refused")
    long = 20_000_000
    yield Picture("bomb-too-much-data.png", "bomb", png(8, 8, data=bytes(long)), "either")
    text = b"Comment\0\0" + zlib.compress(bytes(long), 9)
    yield Picture("bomb-text.png", "bomb", png(8, 8, data=bytes(8 * 25), extra=_chunk(b"zTXt", text)), "either")
    profile = b"icc\0\0" + zlib.compress(bytes(long), 9)
    yield Picture("bomb-profile.png", "bomb", png(8, 8, data=bytes(8 * 25), extra=_chunk(b"iCCP", profile)), "either")
    frames = [Image.new("RGB", (64, 64), (index % 256, index // 256, 0)) for index in range(150)]
    for kind, ending in (("GIF", ".gif"), ("WEBP", ".webp"), ("PNG", ".png")):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Picture(f"bomb-frames{ending}", "bomb", data, "ok", np.zeros((64, 64, 3), np.uint8))
    # Below the limit, and so a picture: 16 million pixels in a few kilobytes.
    side = 4000
    bits = png(side, side, depth=1, colour=0, data=bytes(side * (side // 8 + 1)))
    yield Picture("bomb-large-but-allowed.png", "bomb", bits, "ok", np.zeros((side, side, 3), np.uint8))
    flat = encoded(Image.new("F", (3000, 3000)), "TIFF", compression="tiff_adobe_deflate")
    yield Picture("bomb-large-float.tif", "bomb", flat, "ok", np.zeros((3000, 3000, 3), np.uint8))


def _wrong_endings(wholes: list[Whole]) -> Iterator[Picture]:
    names = ("png", "bmp", "gif-palette", "webp-lossless", "tiff-tiff_lzw", "jpeg", "ppm", "jp2", "avif")
    for whole in (whole for whole in wholes if whole.name in names):
        for ending in (".jpg", ".png", ".gif"):
            yield Picture(f"named-{whole.name}{ending}", "wrong ending", whole.data, "ok", whole.pixels, whole.slack)
    texts = {
        "html": b"<!DOCTYPE html><html><body>404</body></html>", "json": b'{"error": "not found"}', "csv": b"path,label\na.jpg,1\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9"/>', "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "zip": b"PK\x03\x04" + bytes(100), "pdf": b"%PDF-1.7\n" + bytes(100), "elf": b"\x7fELF" + bytes(99),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(99),
        "heic": b"\0\0\0\x18ftypheic" + bytes(99), "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "psd": b"8BPS\0\1" + bytes(99),
        "appledouble": b"\0\x05\x16\x07" + bytes(99),
        "thumbs": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "gzip": zlib.compress(bytes(99), wbits=31),
    }  # fmt: skip
    for name, data in texts.items():
        yield Picture(f"named-{name}.jpg", "wrong ending", data, "refused")


STORED = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def _turned() -> Iterator[Picture]:
    """Orientations 1 to 8, whose upright pixels are known; and numbers that are none, which turn nothing."""
    upright = drawn(48, 32)
    for orientation in (*STORED, 0, 9, 65_535):
        turn = STORED.get(orientation)
        stored = Image.fromarray(upright) if turn is None else Image.fromarray(upright).transpose(turn)
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        writers = {"jpeg": ("JPEG", {"quality": 100, "subsampling": 0}), "png": ("PNG", {}), "webp": ("WEBP", {"lossless": True}),
                   "tif": ("TIFF", {})}  # fmt: skip
        for ending, (kind, options) in writers.items():
            data = encoded(stored, kind, exif=exif, **options)
            yield Picture(f"turned-{orientation}.{ending}", "orientation", data, "ok", upright, 2.0 if kind == "JPEG" else 0.0)
        if orientation == 65_535:  # of a number in XMP Pillow reads the first digit
            continue
        xmp = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><tiff:Orientation>{orientation}</tiff:Orientation></x:xmpmeta>'.encode()
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        yield Picture(f"turned-{orientation}-xmp.png", "orientation", encoded(stored, "PNG", pnginfo=info), "ok", upright)


def _profiles() -> Iterator[Picture]:
    """Colour profiles change no pixel, whole or broken."""
    pixels = drawn()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profiles = {"srgb": srgb, "lab": ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "cut": srgb[:60], "rubbish": b"\xff" * 300,
                "large": srgb + bytes(200_000)}  # fmt: skip
    for name, profile in profiles.items():
        for kind, options in (("JPEG", {"quality": 95, "subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
            data = encoded(pixels, kind, icc_profile=profile, **options)
            yield Picture(f"profile-{name}-{kind.lower()}.jpg", "profile", data, "ok", pixels, 3.0 if kind == "JPEG" else 0.0)


def _broken_exif() -> Iterator[Picture]:
    pixels = drawn()
    plain = encoded(pixels, "JPEG", quality=95, subsampling=0)
    blocks = {
        "cut": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", "loop": b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0", "blank": b"Exif\0\0", "short": b"Exif",
        "far": b"Exif\0\0MM\0*\xff\xff\xff\xff", "text": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x02six\0\0\0\0\0",
        "rational": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\0\0\0\0\0",
        "many": b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\0\x03\0\0\0\x01\0\x01\0\0" * 5000, "rubbish": b"Exif\0\0" + b"\xa5" * 5000,
    }  # fmt: skip
    for name, block in blocks.items():
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
        yield Picture(f"exif-{name}.jpg", "exif", data, "ok", pixels, 3.0)
        yield Picture(f"exif-{name}.png", "exif", _with_chunk(encoded(pixels, "PNG"), b"eXIf", block.removeprefix(b"Exif\0\0")), "ok", pixels)


def _with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    return data[:33] + _chunk(name, body) + data[33:]


def _no_pictures() -> Iterator[Picture]:
    for name, data in {"empty": b"", "one-byte": b"\xff", "nul": bytes(5000), "blank": b" \n" * 50, "ones": b"\xff" * 5000}.items():
        yield Picture(f"nothing-{name}.jpg", "nothing", data, "refused")
    rubbish = np.random.default_rng(7).bytes(3000)
    starts = {"none": b"", "jpeg": b"\xff\xd8\xff\xe0", "png": b"\x89PNG\r\n\x1a\n", "gif": b"GIF89a", "webp": b"RIFF\0\0\1\0WEBPVP8 ", "bmp": b"BM",
              "tiff": b"II*\0\x08\0\0\0", "big-tiff": b"MM\0+\0\x08\0\0", "ppm": b"P6\n", "jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
              "j2k": b"\xff\x4f\xff\x51",              "avif": b"\0\0\0\x1cftypavif"}  # fmt: skip
    for name, start in starts.items():
        yield Picture(f"rubbish-{name}.png", "nothing", start + rubbish, "refused")


def _sizes() -> Iterator[Picture]:
    """Pictures of one pixel, one row and one column."""
    for width, height in ((1, 1), (1, 300), (300, 1), (2, 2), (20_000, 2), (2, 20_000)):
        pixels = drawn(width, height)
        yield Picture(f"size-{width}x{height}.png", "size", encoded(pixels, "PNG"), "ok", pixels)
        yield Picture(f"size-{width}x{height}.jpg", "size", encoded(pixels, "JPEG", quality=100, subsampling=0), "ok", pixels, 3.0)
