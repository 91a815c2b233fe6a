"""A picture in strips is the picture as a whole, in every mode."""

import numpy as np
import pytest
from PIL import Image

from attrcls.data import levels
from attrcls.data.levels import to_rgb


def picture(mode: str) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 23, 4), dtype=np.uint8)
    match mode:
        case "P+":
            image = Image.fromarray(pixels[..., :3]).quantize(8)
            image.info["transparency"] = 3
            return image
        case "I;16" | "I":
            return Image.fromarray(pixels[..., 0].astype(np.uint16 if mode == "I;16" else np.int32) * 257)
        case "F":
            return Image.fromarray(np.where(pixels[..., 0] > 200, np.nan, pixels[..., 0] - 100.0).astype(np.float32))
        case "RGBA" | "LA" | "La":
            return Image.fromarray(pixels, "RGBA").convert("LA").convert(mode) if mode != "RGBA" else Image.fromarray(pixels, "RGBA")
    return Image.fromarray(pixels[..., :3]).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "P", "P+", "RGB", "RGBA", "LA", "La", "CMYK", "YCbCr", "HSV", "I;16", "I", "F"])
@pytest.mark.parametrize("strip", [1, 24, 100, 23 * 36])
def test_a_picture_in_strips_is_the_same_as_a_whole_one(mode, strip, monkeypatch):
    whole = to_rgb(picture(mode))
    monkeypatch.setattr(levels, "STRIP_PIXELS", strip)
    stripped = to_rgb(picture(mode))
    assert stripped.flags["WRITEABLE"]
    np.testing.assert_array_equal(stripped, whole)
    assert len(np.unique(whole)) > 1


def test_wide_integers_up_to_one_more_than_sixteen_bits_hold_are_scaled_by_their_own_range():
    values = to_rgb(Image.fromarray(np.array([[0, 32768, 65536]], np.int32)))
    np.testing.assert_array_equal(values[0, :, 0], [0, 128, 255])
