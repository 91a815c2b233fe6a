"""Which files become pixels, which pixels they become, and what is said of the others."""

import io
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from attrcls.data import decode
from attrcls.data.decode import LOOKALIKES, MAX_PIXELS
from attrcls.data.images import image_size, read_image
from attrcls.errors import ImageError


def drawing(width: int = 96, height: int = 64) -> np.ndarray:
    """Smooth, and different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)], axis=-1).astype(np.uint8)


def noise(width: int = 96, height: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(folder: Path, data: bytes, name: str = "picture.jpg") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def reason(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert caught.value.status == "unreadable"
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


LOSSLESS = [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True}), ("PPM", {})]
LOSSY = [
    ("JPEG", {"quality": 95, "subsampling": 0}),
    ("JPEG", {"quality": 95, "progressive": True, "subsampling": 0}),
    ("WEBP", {"quality": 95}),
    ("JPEG2000", {}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_a_lossless_picture_is_read_exactly_whatever_its_extension(tmp_path, kind, options):
    pixels = noise()
    image = read_image(written(tmp_path, encoded(pixels, kind, **options)))
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    assert image.flags["WRITEABLE"]
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(("kind", "options"), LOSSY)
def test_a_lossy_picture_is_read_closely(tmp_path, kind, options):
    image = read_image(written(tmp_path, encoded(drawing(), kind, **options)))
    assert image.flags["C_CONTIGUOUS"]
    assert image.flags["WRITEABLE"]
    assert np.abs(image.astype(int) - drawing()).mean() < 3


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(("kind", "options"), [*LOSSLESS, *LOSSY, ("GIF", {}), ("TIFF", {"compression": "tiff_adobe_deflate"})])
def test_a_truncated_picture_is_refused_and_nothing_reaches_stderr(tmp_path, capfd, kind, options, cut):
    data = encoded(noise(200, 150), kind, **options)
    assert reason(written(tmp_path, data[: int(len(data) * cut)])).startswith("truncated")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_cut_jpeg_that_was_given_an_end_marker_is_refused_too(tmp_path, capfd, mode, progressive, cut):
    data = encoded(Image.fromarray(noise(200, 150)).convert(mode), "JPEG", progressive=progressive)
    assert reason(written(tmp_path, data[: int(len(data) * cut)] + b"\xff\xd9")) == "damaged JPEG: part of the picture is missing"
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_with_rubbish_after_its_end_is_read(tmp_path):
    data = encoded(drawing(), "JPEG")
    whole = read_image(written(tmp_path, data))
    np.testing.assert_array_equal(read_image(written(tmp_path, data + b"rubbish")), whole)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "zero bytes"),
        (b"\0" * 5000, "not an image"),
        (b"path,label\na.jpg,1\n", "not an image"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged PNG"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b'<?xml version="1.0"?>\n<svg width="1"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_a_file_that_is_no_picture_is_refused_by_what_it_is(tmp_path, data, expected):
    assert expected in reason(written(tmp_path, data))
    assert len(LOOKALIKES) == 5


def test_random_bytes_behind_any_signature_are_refused_in_one_line(tmp_path, capfd):
    rubbish = np.random.default_rng(1).bytes(3000)
    for start in (b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\1\0WEBP", b"BM", b"II*\0\x08\0\0\0", b"P6\n"):
        assert "object at 0x" not in reason(written(tmp_path, start + rubbish))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sides", [(20000, 20000), (14000, 14000)])
def test_a_decompression_bomb_is_refused_from_its_header(tmp_path, sides):
    bomb = png_header(*sides) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")
    path = written(tmp_path, bomb, "bomb.png")
    limit = Image.MAX_IMAGE_PIXELS
    assert reason(path) == f"too many pixels: {sides[0]}x{sides[1]}, the limit is 178,956,970"
    with pytest.raises(ImageError, match="too many pixels"):
        image_size(path)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_jpeg_bomb_is_refused_from_its_header(tmp_path):
    data = bytearray(encoded(drawing(), "JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    assert reason(written(tmp_path, bytes(data))).startswith("too many pixels: 60000x60000")


@pytest.mark.parametrize("sides", [(1, 178_000_000), (65_536, 1)])
def test_a_side_that_no_camera_makes_is_refused_from_the_header(tmp_path, sides):
    path = written(tmp_path, png_header(*sides) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    assert reason(path) == f"a side is too long: {sides[0]}x{sides[1]}, the limit is 65,535"


def test_large_pictures_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(decode, "LARGE_PIXELS", 100)
    at_once, most, load = [0], [0], decode.to_rgb

    def counted(image):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        pixels = load(image)
        time.sleep(0.01)
        at_once[0] -= 1
        return pixels

    monkeypatch.setattr(decode, "to_rgb", counted)
    path = written(tmp_path, encoded(noise(), "PNG"))
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(read_image, [path] * 4):
            np.testing.assert_array_equal(image, noise())
    assert most == [1]


def test_a_large_picture_below_the_limit_warns_of_nothing(tmp_path):
    assert MAX_PIXELS > 10000 * 10000
    path = written(tmp_path, png_header(10000, 10000) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    assert image_size(path) == (10000, 10000)


def test_a_corrupt_exif_block_neither_warns_nor_spoils_the_picture(tmp_path):
    data = encoded(drawing(), "JPEG")
    broken = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken + data[2:]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert read_image(written(tmp_path, data)).shape == (64, 96, 3)
        assert image_size(tmp_path / "picture.jpg") == (96, 64)
    assert not caught


def test_warnings_are_on_again_after_pictures_were_read_in_overlapping_threads(tmp_path):
    path = written(tmp_path, encoded(noise(300, 300), "PNG"))
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [read_image(path) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


@pytest.mark.parametrize("shade", [(220, 30, 40), (10, 200, 60), (255, 255, 255), (0, 0, 0)])
def test_a_cmyk_jpeg_has_its_colours_the_right_way_round(tmp_path, shade):
    flat = Image.new("RGB", (32, 32), shade).convert("CMYK")
    image = read_image(written(tmp_path, encoded(flat, "JPEG", quality=95)))
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), shade, atol=4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_to_eight_bits(tmp_path, kind):
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    image = read_image(written(tmp_path, encoded(values, kind)))
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], values >> 8)


def test_a_dark_sixteen_bit_png_stays_dark(tmp_path):
    dark = np.full((8, 8), 200, dtype=np.uint16)
    assert read_image(written(tmp_path, encoded(dark, "PNG"))).max() == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5], [0.25, 1]], np.float32), [[0, 128], [64, 255]]),
        (np.array([[0, 100], [200, 255]], np.float32), [[0, 100], [200, 255]]),
        (np.array([[-1, 0], [1, np.nan]], np.float32), [[0, 128], [255, 128]]),
        (np.array([[0, 257], [25700, 65535]], np.int32), [[0, 1], [100, 255]]),
        (np.array([[0, 1 << 20], [0, 1 << 21]], np.int32), [[0, 128], [0, 255]]),
        (np.zeros((2, 2), np.float32), [[0, 0], [0, 0]]),
    ],
)
def test_float_and_wide_integer_grey_is_scaled_by_the_range_that_holds_it(tmp_path, values, expected):
    image = read_image(written(tmp_path, encoded(values, "TIFF")))
    np.testing.assert_array_equal(image[..., 0], expected)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_sixteen_bit_colour_keeps_its_high_byte(tmp_path):
    values = (noise().astype(np.uint16) << 8) | 37
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), values[..., ::-1])
    np.testing.assert_array_equal(read_image(path), noise())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_grey_becomes_three_equal_channels(tmp_path, kind):
    image = read_image(written(tmp_path, encoded(Image.fromarray(drawing()).convert("L"), kind)))
    np.testing.assert_array_equal(image[..., 0], image[..., 1])
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_pictures_become_black_and_white(tmp_path, kind):
    bits = drawing()[..., 0] > 127
    image = read_image(written(tmp_path, encoded(Image.fromarray(bits), kind)))
    np.testing.assert_array_equal(image[..., 1], bits * 255)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG"), ("LA", "TIFF")])
def test_alpha_is_laid_on_white(tmp_path, mode, kind):
    colour = (100, 100, 100) if mode == "LA" else (200, 100, 0)
    image = Image.new("RGBA", (3, 1), (*colour, 255))
    image.putpixel((1, 0), (*colour, 0))
    image.putpixel((2, 0), (*colour, 128))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    image = image.convert(mode)
    pixels = read_image(written(tmp_path, encoded(image, kind, **options)))[0].astype(int)
    np.testing.assert_array_equal(pixels[0], colour)
    np.testing.assert_array_equal(pixels[1], [255, 255, 255])
    np.testing.assert_allclose(pixels[2], 255 - (255 - np.array(colour)) * 128 / 255, atol=2)


def test_premultiplied_alpha_is_divided_out_before_it_is_laid_on_white(tmp_path):
    image = Image.new("LA", (2, 1), (100, 255))
    image.putpixel((1, 0), (50, 128))
    data = encoded(image, "TIFF")
    extra_samples = struct.pack("<HHIHH", 338, 3, 1, 2, 0)
    assert extra_samples in data
    pixels = read_image(written(tmp_path, data.replace(extra_samples, struct.pack("<HHIHH", 338, 3, 1, 1, 0))))[0].astype(int)
    np.testing.assert_array_equal(pixels[0], [100] * 3)
    np.testing.assert_allclose(pixels[1], 50 + 127, atol=2)


@pytest.mark.parametrize("transparency", [1, b"\xff\x00\x80"])
def test_a_transparent_palette_colour_becomes_white(tmp_path, transparency):
    image = Image.new("P", (3, 1))
    image.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200])
    image.putdata([0, 1, 2])
    pixels = read_image(written(tmp_path, encoded(image, "PNG", transparency=transparency)))[0]
    np.testing.assert_array_equal(pixels[:2], [[200, 0, 0], [255, 255, 255]])


def test_a_plain_palette_keeps_its_colours(tmp_path):
    image = Image.fromarray(drawing()).quantize(16)
    for kind in ("PNG", "GIF", "BMP"):
        np.testing.assert_array_equal(read_image(written(tmp_path, encoded(image, kind))), np.array(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_several_is_read(tmp_path, kind):
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "green", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    image = read_image(written(tmp_path, encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)))
    np.testing.assert_array_equal(image, np.full((16, 16, 3), (255, 0, 0)))
