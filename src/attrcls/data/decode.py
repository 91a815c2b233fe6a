"""The bytes of one picture become upright uint8 RGB pixels, or a DecodeError with the reason in one line.

JPEG goes through libjpeg-turbo directly, which is fast and notices missing data; everything else, and every odd JPEG, goes
through Pillow. What real folders hold ends here: half-downloaded files, inks and palettes, sideways phones, web pages named `.jpg`.
"""

import contextlib
import functools
import io
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import cv2
import numpy as np
import simplejpeg
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from attrcls.data.levels import Pixels, to_rgb

MAX_PIXELS = 178_956_970  # half a gigabyte of RGB; the size at which Pillow, too, refuses
# What JPEG can hold. Pillow keeps eight bytes a row: a picture one pixel wide would take gigabytes.
MAX_SIDE = 65_535
LARGE_PIXELS = 1 << 24
_ONE_LARGE = threading.Lock()
# What people have in image folders. Named, because Pillow would otherwise also try formats that start other programs (EPS)
# or that have no signature and so take any file for a picture (TGA).
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")
SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"RIFF": "WebP",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
LOOKALIKES = {
    rb"\s*<(!doctype\s+html|html)": "a web page, not an image; download it again",
    rb"\s*(<\?xml[^>]*>\s*)?<svg": "an SVG drawing, not a pixel image; convert it to PNG",
    rb"version https://git-lfs": "a Git LFS pointer, not the image; run `git lfs pull`",
    rb".{4}ftyp(heic|heix|mif1|msf1|hevc)": "a HEIC image, which cannot be read; convert it to JPEG",
    rb"%PDF": "a PDF, not an image",
}


class DecodeError(Exception):
    """Why a picture cannot be used; whoever knows its path puts that before it."""


def decode(data: bytes, *, min_px: int = 0) -> Pixels:
    """Decode a picture to (height, width, 3), upright, writable; the first frame where there are several.

    `min_px` is the side of a later resize: a large JPEG then comes back at 1/2, 1/4 or 1/8 of its size, with both sides still
    at least twice `min_px`. 0 asks for full size.

    Raises:
        DecodeError: it is not a picture, or not a whole one.
    """
    image = _decode_jpeg(data, min_px=min_px) if data.startswith(b"\xff\xd8\xff") else None
    return _decode_with_pillow(data) if image is None else image


def size_in_header(file: BinaryIO) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, without decoding the pixels, which may still be broken.

    Raises:
        DecodeError: there is no readable header.
    """
    with _opened_by_pillow(file) as image:
        width, height = image.size
        turned = _may_be_turned(image, file) and _orientation(image) >= 5
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # its size is turned already, or not, by the version of Pillow
            width, height = image.tag_v2[ExifTags.Base.ImageWidth], image.tag_v2[ExifTags.Base.ImageLength]
            turned = image.tag_v2.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


def _decode_jpeg(data: bytes, *, min_px: int) -> Pixels | None:
    """Decode an ordinary JPEG fast; None leaves the odd ones to Pillow."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        _check_pixels(width, height)
        if colours in ("CMYK", "YCCK"):
            # Pillow knows which way round Adobe's inks are, but would pass a hole in the data in silence; this would not.
            with _in_turn(width, height):
                simplejpeg.decode_jpeg(data, colorspace="CMYK")
            return None
        shrink = _shrink_factor(min(width, height), min_px=min_px)
        height, width = math.ceil(height / shrink), math.ceil(width / shrink)
        with _in_turn(width, height):
            image: Pixels = simplejpeg.decode_jpeg(data, min_height=height, min_width=width)
    except ValueError as error:
        reason = str(error)
        # The decoder invents grey for data that is not there and merely warns, and Pillow does not hear the warning.
        # Stray bytes between blocks are harmless; with those, and with all other complaints, Pillow decides.
        if "remature end of JPEG file" in reason:
            raise DecodeError("truncated JPEG") from None
        if "Corrupt JPEG data" in reason and "extraneous bytes" not in reason:
            raise DecodeError("damaged JPEG: part of the picture is missing") from None
        return None
    if _has_app1(data):
        with _opened_by_pillow(io.BytesIO(data)) as opened:
            return _upright(image, _orientation(opened))
    return image


def _has_app1(data: bytes) -> bool:
    """Whether the JPEG has a block in which an orientation may stand (Exif, XMP); ordinary files pay two microseconds, not a parse."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # 0xDA: the pixels begin
        if data[at + 1] == 0xE1:
            return True
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # 0xFF may pad
    return False


def _shrink_factor(short_side: int, *, min_px: int) -> int:
    """How far the decoder may shrink while the result stays near a full decode and an area resize.

    Both sides stay at least twice `min_px`: on sharp photographs the mean difference was 0.3-0.9 levels of 255 then, and up to 2.1
    (4.1 at 1/4) when they went down to `min_px` itself. Below the sizes that tasks use it can pass 1: at 24 px and 1/4 it was 1.1 to 1.6
    on two sets of small photographs (`benchmarks/decode_speed.py`). Factors such as 5/8 are left out: they decode slower than full size.
    """
    fitting = [factor for factor in (8, 4, 2) if min_px > 0 and short_side >= factor * 2 * min_px]
    return fitting[0] if fitting else 1


def _decode_with_pillow(data: bytes) -> Pixels:
    with _opened_by_pillow(io.BytesIO(data)) as image:
        if image.mode == "LAB":
            raise DecodeError("the colour space LAB cannot be read; save it as RGB")
        with _in_turn(*image.size):
            image.load()
            return _upright(to_rgb(image), _orientation(image))


@contextlib.contextmanager
def _opened_by_pillow(source: BinaryIO) -> Iterator[Image.Image]:
    """Give the opened picture; a fault met here or in the body becomes a reason, and no warning gets out."""
    with _QUIET:
        try:
            with Image.open(source, formats=_known_formats()) as image:
                _check_pixels(*image.size)
                yield image
        except DecodeError:
            raise
        except Image.DecompressionBombError as error:
            raise DecodeError(_too_many_pixels(_declared_size(source) or re.sub(r"\D*(\d+).*", r"\1", str(error)))) from None
        except Exception as error:  # decoders raise whatever a broken file made them stumble on: KeyError, struct.error, ...
            raise DecodeError(_decoder_reason(error, source)) from None


@functools.cache
def _known_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError(_too_many_pixels(f"{width}x{height}"))
    if max(width, height) > MAX_SIDE:
        raise DecodeError(f"a side is too long: {width}x{height}, the limit is {MAX_SIDE:,}")


def _in_turn(width: int, height: int) -> contextlib.AbstractContextManager[object]:
    """Large pictures are decoded one at a time, however many threads decode: a dozen at once would fill the memory."""
    return _ONE_LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext()


def _too_many_pixels(found: str) -> str:
    return f"too many pixels: {found}, the limit is {MAX_PIXELS:,}"


def _declared_size(source: BinaryIO) -> str | None:
    """Pillow's refusal gives the number of pixels alone; its readers give the sides, which say more."""
    head = _head(source)
    for name in _known_formats():
        reader, accepts = Image.OPEN[name]
        if accepts is None or accepts(head[:16]) is True:
            with contextlib.suppress(Exception):
                source.seek(0)
                width, height = reader(source, "").size
                return f"{width}x{height}"
    return None


def _decoder_reason(error: Exception, source: BinaryIO) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    head = _head(source)
    name = next((name for signature, name in SIGNATURES.items() if head.startswith(signature)), None)
    if isinstance(error, UnidentifiedImageError) and name is None:
        lookalikes = (what for pattern, what in LOOKALIKES.items() if re.match(pattern, head, re.IGNORECASE | re.DOTALL))
        return next(lookalikes, "not an image")
    return f"{'truncated' if 'truncated' in str(error).lower() else 'truncated or damaged'} {name or 'image'}"


def _head(source: BinaryIO) -> bytes:
    source.seek(0)
    return source.read(1024)


def _may_be_turned(image: Image.Image, file: BinaryIO) -> bool:
    """False spares a PNG the full decode that Pillow makes in search of an orientation that may stand after the pixels."""
    if image.format != "PNG" or {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"} & image.info.keys():
        return True
    here = file.tell()
    file.seek(max(0, file.seek(0, os.SEEK_END) - 65536))
    tail = file.read()
    file.seek(here)
    return any(mark in tail for mark in (b"eXIf", b"Raw profile type exif", b"tiff:Orientation"))


def _orientation(image: Image.Image) -> int:
    """The Exif orientation, 1 to 8; 1 where there is none, where it is nonsense, and for TIFF, which Pillow turns by itself."""
    if image.format == "TIFF":
        return 1
    with contextlib.suppress(Exception):  # a broken Exif block does not make a picture unreadable
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return 1


def _upright(image: Pixels, orientation: int) -> Pixels:
    match orientation:
        case 2 | 4:
            turned = cv2.flip(image, 1 if orientation == 2 else 0)
        case 3:
            turned = cv2.rotate(image, cv2.ROTATE_180)
        case 5:
            turned = cv2.transpose(image)
        case 6 | 8:
            turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE if orientation == 6 else cv2.ROTATE_90_COUNTERCLOCKWISE)
        case 7:
            turned = cv2.rotate(cv2.transpose(image), cv2.ROTATE_180)
        case _:
            return image
    return turned.astype(np.uint8, copy=False)


class _Quiet:
    """Ignores Python warnings while any thread is inside.

    `warnings.catch_warnings` alone would leave them ignored for good when two threads overlap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = warnings.catch_warnings()
                self._saved.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._saved.__exit__(None, None, None)


_QUIET = _Quiet()
