"""One picture, on disk or elsewhere, becomes one upright uint8 RGB array of the wanted size, or an ImageError that a person understands.

A path goes in, with a box to cut out where the row has one; pixels come out. This file knows the disk and the geometry,
`decode` knows the formats.
"""

import math
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np

from attrcls.data.decode import DecodeError, decode, size_in_header
from attrcls.data.levels import Pixels
from attrcls.data.remote import MAX_BYTES, FetchError, Location, Url, read_bytes
from attrcls.errors import ImageError

Box = tuple[float, float, float, float]

# Letterbox bars: close to the ImageNet mean, so that they are near zero once normalised.
PAD_GREY = 114


def read_image(path: Location, *, box: Box | None = None, min_px: int = 0) -> Pixels:
    """Read a picture, here or elsewhere, as uint8 RGB of shape (height, width, 3), upright, contiguous and writable.

    Args:
        path: the file or its URL; the first frame counts when it is animated.
        box: xmin, ymin, xmax, ymax in pixels of the upright picture; clipped to it, and widened to whole pixels.
        min_px: the side that the caller will resize to. A large JPEG may then come back at 1/2, 1/4 or 1/8 of its size, with
            both sides still at least twice `min_px`. 0 asks for full size, and a box always gets it.

    Raises:
        ImageError: status `missing` when there is no such file, else `unreadable`; the message gives the reason in one line.
    """
    data = _read_file(path) if isinstance(path, Path) else _fetch(path)
    try:
        image = decode(data, min_px=min_px if box is None else 0)
        return np.ascontiguousarray(image if box is None else _cut(image, box))
    except DecodeError as fault:
        raise ImageError(f"{path}: {fault}") from None


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, from its header; the pixels are not decoded, so may still be broken.

    Raises:
        ImageError: as `read_image`, for a file that is missing or has no readable header.
    """
    with _open_file(path) as file:
        try:
            return size_in_header(file)
        except DecodeError as fault:
            raise ImageError(f"{path}: {fault}") from None


def resize_to(image: Pixels, *, px: int, fit: Literal["stretch", "crop", "pad"]) -> Pixels:
    """Bring an image of any size to (px, px, 3); one that has that size already is returned as it is, not copied.

    `stretch` ignores the aspect ratio, `crop` keeps the central square, `pad` keeps all of it between grey bars.
    """
    height, width = image.shape[:2]
    if fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        # Cut first: the same pixels as shrinking first, without the work on what is thrown away.
        return _resize(image[top : top + side, left : left + side], width=px, height=px)
    if fit == "pad":
        scale = px / max(height, width)
        inner = _resize(image, width=max(1, round(width * scale)), height=max(1, round(height * scale)))
        top, left = (px - inner.shape[0]) // 2, (px - inner.shape[1]) // 2
        canvas = np.full((px, px, 3), PAD_GREY, np.uint8)
        canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
        return canvas
    return _resize(image, width=px, height=px)


def _resize(image: Any, *, width: int, height: int) -> Pixels:
    """Shrink by area, then grow by cubes: INTER_AREA asked to do both at once falls back to interpolation, which aliases."""
    smaller = (min(width, image.shape[1]), min(height, image.shape[0]))
    if smaller != (image.shape[1], image.shape[0]):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(image)


def _read_file(path: Path) -> bytes:
    with _open_file(path, buffering=0) as file:
        try:
            return file.read()
        except OSError as error:
            raise ImageError(f"{path}: {_system_reason(error)}") from error


def _fetch(url: Url) -> bytes:
    try:
        return read_bytes(url)
    except FetchError as error:
        raise ImageError(f"{url}: {error}", status="missing" if error.missing else "unreadable") from None


def _open_file(path: Path, *, buffering: int = -1) -> BinaryIO:
    file = _opened(path, buffering=buffering)
    try:
        # Once more: another may have taken the path between the look and the opening.
        _check_file(path, os.fstat(file.fileno()))
    except ImageError:
        file.close()
        raise
    return file


def _opened(path: Path, *, buffering: int) -> BinaryIO:
    try:
        # Looked at before: opening a device may do something, and opening a named pipe waits for its writer.
        _check_file(path, os.stat(path))
        return open(path, "rb", buffering=buffering, opener=_open_without_waiting)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL character in the path
        raise ImageError(f"{path}: no such file", status="missing") from None
    except OSError as error:
        raise ImageError(f"{path}: {_system_reason(error)}") from error


def _check_file(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{path}: {'is a folder' if stat.S_ISDIR(found.st_mode) else 'a pipe or a device, not a file'}")
    if found.st_size == 0:
        raise ImageError(f"{path}: zero bytes")
    if found.st_size > MAX_BYTES:
        raise ImageError(f"{path}: a file of {found.st_size / 1e9:.1f} GB, the limit is {MAX_BYTES / 1e9:.1f} GB")


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _system_reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _cut(image: Pixels, box: Box) -> Pixels:
    xmin, ymin, xmax, ymax = box
    height, width = image.shape[:2]
    shown = "box ({:g}, {:g}, {:g}, {:g})".format(*box)
    if not (xmin < xmax and ymin < ymax):  # so put that NaN lands here too
        raise DecodeError(f"{shown} is empty: expected xmin < xmax and ymin < ymax")
    if xmin >= width or ymin >= height or xmax <= 0 or ymax <= 0:
        raise DecodeError(f"{shown} lies outside the {width}x{height} picture")
    left, top = math.floor(max(xmin, 0)), math.floor(max(ymin, 0))
    return image[top : math.ceil(min(ymax, height)), left : math.ceil(min(xmax, width))]
