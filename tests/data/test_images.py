"""Reading by path, cutting boxes, shrinking while decoding, and resizing."""

import io
import os
import struct
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import ExifTags, Image

from attrcls.data import images
from attrcls.data.images import PAD_GREY, image_size, read_image, resize_to
from attrcls.errors import ImageError


def drawing(width: int, height: int) -> np.ndarray:
    """Smooth shading with a few anti-aliased shapes: what photographs are like, without their noise."""
    y, x = np.mgrid[0:height, 0:width]
    shade = [127 + 120 * np.sin(x / 90), 127 + 120 * np.cos(y / 70), (x + y) * 255 / (width + height)]
    canvas = np.stack(shade, axis=-1).astype(np.uint8)
    cv2.circle(canvas, (width // 2, height // 2), min(width, height) // 3, (30, 200, 90), -1, cv2.LINE_AA)
    cv2.rectangle(canvas, (width // 8, height // 8), (width // 4, height // 2), (200, 20, 40), -1)
    return canvas


def saved(folder: Path, pixels: np.ndarray, name: str = "picture.png") -> Path:
    path = folder / name
    if path.suffix == ".jpg":
        path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=92))
    else:
        cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(folder: Path, data: bytes) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


def refused(path: Path, **options: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        read_image(path, **options)
    assert str(path) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", ["absent.jpg", "absent/picture.jpg", "nul\0.jpg"])
def test_a_file_that_is_not_there_is_missing(tmp_path, name):
    assert refused(tmp_path / name).status == "missing"
    with pytest.raises(ImageError) as caught:
        image_size(tmp_path / name)
    assert caught.value.status == "missing"


def test_a_path_through_a_file_and_a_dangling_link_are_missing(tmp_path):
    path = saved(tmp_path, drawing(8, 8))
    assert refused(path / "below.png").status == "missing"
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "gone.png")
    assert refused(link).status == "missing"


def test_a_folder_a_pipe_and_a_device_are_refused_without_hanging(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "pipe.jpg", "a pipe or a device"), (Path("/dev/zero"), "a pipe or a device")):
        error = refused(path)
        assert error.status == "unreadable"
        assert said in str(error)
        with pytest.raises(ImageError, match=said):
            image_size(path)


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(tmp_path, monkeypatch):
    path, look = saved(tmp_path, drawing(8, 8)), os.stat

    def look_too_early(looked_at, **options):
        found = look(looked_at, **options)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(images, "os", SimpleNamespace(**{**vars(os), "stat": look_too_early}))
    assert "a pipe or a device" in str(refused(path))


def test_a_file_without_permission_is_unreadable_and_says_so(tmp_path, monkeypatch):
    path = saved(tmp_path, drawing(8, 8))

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images, "open", forbidden, raising=False)  # root may read everything, so chmod would not do
    error = refused(path)
    assert error.status == "unreadable"
    assert str(error).endswith("permission denied")


def test_a_file_too_large_for_a_picture_is_not_read(tmp_path):
    path = tmp_path / "film.jpg"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse: takes no room on the disk
    assert "3.2 GB" in str(refused(path))


@pytest.mark.parametrize("name", ["dot.png", "dot.jpg"])
def test_a_single_pixel_is_a_picture(tmp_path, name):
    path = saved(tmp_path, np.full((1, 1, 3), 128, np.uint8), name)
    assert read_image(path, min_px=224).shape == (1, 1, 3)
    assert image_size(path) == (1, 1)
    assert resize_to(read_image(path), px=7, fit="crop").shape == (7, 7, 3)


def test_the_size_comes_from_the_header_of_a_file_whose_pixels_are_cut_off(tmp_path):
    path = saved(tmp_path, drawing(300, 200), "cut.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    assert image_size(path) == (300, 200)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 20, 30, 50), np.s_[20:50, 10:30]),
        ((0, 0, 200, 300), np.s_[:, :]),
        ((-50, -1, 20, 9999), np.s_[:, :20]),
        ((10.2, 20.9, 30.1, 50.0), np.s_[20:50, 10:31]),
        ((199.5, 299.5, 400, 400), np.s_[299:, 199:]),
        ((5.2, 5.2, 5.4, 5.4), np.s_[5:6, 5:6]),
        ((float("-inf"), 0, float("inf"), 10), np.s_[:10, :]),
        (tuple(np.array([1.0, 2.0, 3.0, 4.0])), np.s_[2:4, 1:3]),
    ],
)
def test_a_box_is_cut_out_clipped_and_widened_to_whole_pixels(tmp_path, box, expected):
    pixels = drawing(200, 300)
    image = read_image(saved(tmp_path, pixels), box=box)
    assert image.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(image, pixels[expected])


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((200, 0, 250, 10), "box (200, 0, 250, 10) lies outside the 200x300 picture"),
        ((-20, 0, 0, 10), "lies outside the 200x300 picture"),
        ((0, 300, 10, 310), "lies outside"),
        ((0, -10, 10, -5), "lies outside"),
        ((10, 10, 10, 20), "box (10, 10, 10, 20) is empty"),
        ((10, 20, 30, 5), "is empty"),
        ((float("nan"), 0, 10, 10), "is empty"),
    ],
)
def test_a_box_with_nothing_in_it_is_refused(tmp_path, box, said):
    error = refused(saved(tmp_path, drawing(200, 300)), box=box)
    assert said in str(error)
    assert error.status == "unreadable"


def test_a_box_is_always_cut_from_the_full_size(tmp_path):
    path = saved(tmp_path, drawing(1600, 1200), "large.jpg")
    np.testing.assert_array_equal(read_image(path, box=(100, 200, 900, 1000), min_px=32), read_image(path)[200:1000, 100:900])


@pytest.mark.parametrize(
    ("width", "height", "min_px", "expected"),
    [
        (1600, 1200, 64, (150, 200)),
        (1600, 1200, 144, (300, 400)),
        (1600, 1200, 224, (600, 800)),
        (1600, 1200, 301, (1200, 1600)),
        (1600, 1200, 0, (1200, 1600)),
        (333, 1001, 80, (501, 167)),
        (100, 3000, 64, (3000, 100)),
    ],
)
def test_a_large_jpeg_is_shrunk_while_decoding_as_far_as_both_sides_allow(tmp_path, width, height, min_px, expected):
    image = read_image(saved(tmp_path, drawing(width, height), "large.jpg"), min_px=min_px)
    assert image.shape[:2] == expected
    assert min(expected) >= min(2 * min_px, width, height)


# Where the top left pixel block of the upright picture is stored, by orientation: Pillow's own names undo each.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_exif_orientation_is_undone_and_the_size_says_so(tmp_path, kind, orientation):
    upright = Image.fromarray(np.kron(np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)))
    stored = upright if STORED[orientation] is None else upright.transpose(STORED[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    path = picture(tmp_path, encoded(stored, kind, exif=exif, **options))
    image = read_image(path)
    assert image.shape == (64, 96, 3)
    assert image.flags["C_CONTIGUOUS"]
    assert image_size(path) == (96, 64)
    np.testing.assert_allclose(image.astype(int), np.array(upright), atol=6 if kind == "JPEG" else 0)


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    data = encoded(Image.fromarray(drawing(96, 64)), "PNG")
    body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    late = data[:-12] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[-12:]
    path = picture(tmp_path, late)
    assert read_image(path).shape == (96, 64, 3)
    assert image_size(path) == (64, 96)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_a_nonsense_orientation_is_ignored(tmp_path, value):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = value
    path = picture(tmp_path, encoded(Image.fromarray(drawing(96, 64)), "JPEG", exif=exif))
    assert read_image(path).shape == (64, 96, 3)
    assert image_size(path) == (96, 64)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("px", [64, 96, 144, 224, 256, 300])
def test_shrinking_while_decoding_differs_from_full_decoding_by_less_than_a_level(tmp_path, px, fit):
    path = saved(tmp_path, drawing(1600, 1200), "large.jpg")
    fast = resize_to(read_image(path, min_px=px), px=px, fit=fit).astype(int)
    full = resize_to(read_image(path), px=px, fit=fit)
    assert np.abs(fast - full).mean() <= 1.0


def test_shrinking_while_decoding_and_orientation_go_together(tmp_path):
    plain = simplejpeg.encode_jpeg(drawing(1600, 1200), quality=92)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path = tmp_path / "phone.jpg"
    path.write_bytes(plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:])
    assert image_size(path) == (1200, 1600)
    assert read_image(path, min_px=224).shape == (800, 600, 3)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("width", "height"), [(50, 50), (30, 90), (90, 30), (300, 200), (64, 300), (1, 1), (1, 500)])
def test_every_fit_gives_a_square_of_the_size_asked_for(width, height, fit):
    resized = resize_to(drawing(max(width, 8), max(height, 8))[:height, :width], px=64, fit=fit)
    assert resized.shape == (64, 64, 3)
    assert resized.dtype == np.uint8
    assert resized.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
def test_a_picture_of_the_right_size_is_not_changed(fit):
    pixels = drawing(64, 64)
    np.testing.assert_array_equal(resize_to(pixels, px=64, fit=fit), pixels)


def test_stretch_shrinks_by_averaging_areas():
    pixels = np.random.default_rng(0).integers(0, 256, (80, 40, 3), dtype=np.uint8)
    averages = pixels.reshape(20, 4, 20, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_to(pixels, px=20, fit="stretch"), averages, atol=0.51)


def test_a_side_that_shrinks_is_averaged_even_while_the_other_grows():
    stripes = np.zeros((10, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    resized = resize_to(stripes, px=100, fit="stretch")
    assert np.abs(resized.astype(int) - 127.5).max() <= 1


def test_crop_keeps_the_middle():
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, 30:70] = 200
    np.testing.assert_array_equal(resize_to(pixels, px=20, fit="crop"), np.full((20, 20, 3), 200))
    np.testing.assert_array_equal(resize_to(pixels.transpose(1, 0, 2), px=40, fit="crop"), np.full((40, 40, 3), 200))


def test_pad_keeps_the_whole_picture_between_grey_bars():
    resized = resize_to(np.full((50, 100, 3), 200, np.uint8), px=40, fit="pad")
    np.testing.assert_array_equal(resized[10:30], np.full((20, 40, 3), 200))
    np.testing.assert_array_equal(resized[:10], np.full((10, 40, 3), PAD_GREY))
    np.testing.assert_array_equal(resized[30:], np.full((10, 40, 3), PAD_GREY))
