"""A picture as Pillow decoded it, in whatever mode, becomes uint8 RGB: inks, palettes, alpha, 16 bits and floats.

It goes strip by strip, so that a large picture is never held a third time: what a mode needs on the way is as large as a strip.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]

STRIP_PIXELS = 1 << 20


def to_rgb(image: Image.Image) -> Pixels:
    """(height, width, 3), writable; alpha is laid on white, and deep grey is brought to 8 bits.

    Colour profiles are not applied: training and prediction see the same numbers, and so did the pretrained trunks. Pillow has
    no RGB for LAB: the caller refuses that.
    """
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    grey = _grey_reader(image) if image.mode[0] in "IF" else None
    for top, strip in _strips(image):
        rows = pixels[top : top + strip.height]
        rows[:] = np.asarray(_flat(strip)) if grey is None else grey(strip)[..., np.newaxis]
    return pixels


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, STRIP_PIXELS // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _flat(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        # On white, as product photographs are shown. Dropping alpha alone would lay bare whatever the editor left underneath.
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey_reader(image: Image.Image) -> Callable[[Image.Image], Pixels]:
    """What brings strips of 16-bit, 32-bit and float grey to 8 bits; Pillow's own conversion clips at 255, which turns them white."""
    # PNG and PPM hold at most 16 bits, which some versions of Pillow widen to mode I.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return lambda strip: (np.asarray(strip) >> 8).astype(np.uint8)
    # Nothing says which value is white here: take the smallest usual range that holds all values, else their own.
    ranges = [(float(values.min()), float(values.max())) for values in (_finite(strip) for _, strip in _strips(image))]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low >= 0 and high <= 65535:
        low, high = 0.0, next(white for white in (1.0, 255.0, 65535.0) if high <= white)
    return lambda strip: np.rint((_finite(strip) - low) * (255 / max(high - low, 1e-9))).clip(0, 255).astype(np.uint8)


def _finite(image: Image.Image) -> NDArray[np.float64]:
    return np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0.0, neginf=0.0)
