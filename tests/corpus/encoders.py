"""Whole pictures in every format that Pillow and OpenCV write here, with the pixels that a reader should get."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 40


@dataclass(frozen=True)
class Whole:
    """A picture that is in order. `pixels` is None where the format is one that attrcls refuses; `slack` is the mean difference
    in levels that the format's losses may make; `frames` says that the file goes on behind the first picture."""

    name: str
    ending: str
    data: bytes
    pixels: np.ndarray | None
    slack: float = 0.0
    frames: bool = False


def drawn(width: int = WIDTH, height: int = HEIGHT, *, seed: int = 0) -> np.ndarray:
    """Smooth, different in every corner, uint8 RGB; the seed picks the colours."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [x * 255 // width, y * 255 // height, 255 - (x + y) * 255 // (width + height)]
    return np.stack(np.roll(np.array(planes), seed, axis=0), axis=-1).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    """The bytes that Pillow writes."""
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def on_white(image: Image.Image) -> np.ndarray:
    """What is left of a picture with alpha on a white page."""
    page = Image.new("RGBA", image.size, "white")
    return np.array(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"))


def ycck(pixels: np.ndarray) -> bytes:
    """A JPEG in YCCK: Pillow writes CMYK, so its planes are turned here and the mark that says so is set."""
    cmyk = Image.fromarray(pixels).convert("CMYK")
    cyan, magenta, yellow, key = cmyk.split()
    turned = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [plane.point([255 - level for level in range(256)]) for plane in turned]
    data = bytearray(encoded(Image.merge("CMYK", (*inverted, key)), "JPEG", quality=97))
    at = data.index(b"Adobe")
    data[at + 11] = 2
    return bytes(data)


def whole_pictures() -> Iterator[Whole]:
    """Each format and mode once."""
    pixels = drawn()
    grey = np.repeat(np.array(Image.fromarray(pixels).convert("L"))[..., None], 3, axis=-1)
    bits = np.repeat(((pixels[..., :1] > 127) * 255).astype(np.uint8), 3, axis=-1)
    yield from _plain(pixels)
    yield from _grey_and_bits(grey, bits)
    yield from _palette_and_alpha(pixels)
    yield from _inks(pixels)
    yield from _deep(pixels)
    yield from _several_frames(pixels)
    yield from _refused(pixels)


def _plain(pixels: np.ndarray) -> Iterator[Whole]:
    yield Whole("jpeg", ".jpg", encoded(pixels, "JPEG", quality=95, subsampling=0), pixels, slack=3)
    yield Whole("jpeg-420", ".jpeg", encoded(pixels, "JPEG", quality=95), pixels, slack=4)
    yield Whole("jpeg-progressive", ".jpg", encoded(pixels, "JPEG", quality=95, progressive=True), pixels, slack=4)
    yield Whole("jpeg-restarts", ".jpg", encoded(pixels, "JPEG", quality=95, restart_marker_blocks=2), pixels, slack=4)
    yield Whole("png", ".png", encoded(pixels, "PNG"), pixels)
    yield Whole("bmp", ".bmp", encoded(pixels, "BMP"), pixels)
    yield Whole("webp", ".webp", encoded(pixels, "WEBP", quality=95), pixels, slack=4)
    yield Whole("webp-lossless", ".webp", encoded(pixels, "WEBP", lossless=True), pixels)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield Whole(f"tiff-{compression}", ".tif", encoded(pixels, "TIFF", compression=compression), pixels)
    yield Whole("tiff-jpeg", ".tiff", encoded(pixels, "TIFF", compression="jpeg", quality=95), pixels, slack=4)
    yield Whole("tiff-big", ".tif", encoded(pixels, "TIFF", big_tiff=True), pixels)
    yield Whole("ppm", ".ppm", encoded(pixels, "PPM"), pixels)
    yield Whole("ppm-text", ".ppm", f"P3\n# text\n{WIDTH} {HEIGHT}\n255\n{' '.join(map(str, pixels.ravel()))}\n".encode(), pixels)
    yield Whole("jp2", ".jp2", encoded(pixels, "JPEG2000"), pixels)
    yield Whole("j2k", ".j2k", encoded(pixels, "JPEG2000", no_jp2=True), pixels)
    yield Whole("avif", ".avif", encoded(pixels, "AVIF", quality=95, subsampling="4:4:4"), pixels, slack=4)
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    for ending, slack in ((".png", 0.0), (".bmp", 0.0), (".tiff", 0.0), (".jpg", 4.0), (".ppm", 0.0), (".webp", 4.0)):
        yield Whole(f"opencv-{ending[1:]}", ending, cv2.imencode(ending, bgr)[1].tobytes(), pixels, slack=slack)


def _grey_and_bits(grey: np.ndarray, bits: np.ndarray) -> Iterator[Whole]:
    level, bit = Image.fromarray(grey).convert("L"), Image.fromarray(bits).convert("1")
    yield Whole("jpeg-grey", ".jpg", encoded(level, "JPEG", quality=97), grey, slack=3)
    for kind, ending in (("PNG", ".png"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("PPM", ".pgm"), ("GIF", ".gif")):
        yield Whole(f"{kind.lower()}-grey", ending, encoded(level, kind), grey)
    for kind, ending in (("PNG", ".png"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("PPM", ".pbm")):
        yield Whole(f"{kind.lower()}-bits", ending, encoded(bit, kind), bits)
    yield Whole("tiff-fax", ".tif", encoded(bit, "TIFF", compression="group4"), bits)


def _palette_and_alpha(pixels: np.ndarray) -> Iterator[Whole]:
    palette = Image.fromarray(pixels).quantize(16)
    flat = np.array(palette.convert("RGB"))
    for kind, ending in (("PNG", ".png"), ("GIF", ".gif"), ("BMP", ".bmp"), ("TIFF", ".tif")):
        yield Whole(f"{kind.lower()}-palette", ending, encoded(palette, kind), flat)
    index = np.array(palette)
    seen = flat.copy()
    seen[index == index[0, 0]] = 255
    for kind, ending in (("PNG", ".png"), ("GIF", ".gif")):
        yield Whole(f"{kind.lower()}-clear-colour", ending, encoded(palette, kind, transparency=int(index[0, 0])), seen)
    alpha = Image.fromarray(np.dstack([pixels, pixels[..., 0]]), "RGBA")
    yield Whole("png-alpha", ".png", encoded(alpha, "PNG"), on_white(alpha), slack=1)
    yield Whole("webp-alpha", ".webp", encoded(alpha, "WEBP", lossless=True, exact=True), on_white(alpha), slack=1)
    yield Whole("tiff-alpha", ".tif", encoded(alpha, "TIFF"), on_white(alpha), slack=1)
    yield Whole("png-grey-alpha", ".png", encoded(alpha.convert("LA"), "PNG"), on_white(alpha.convert("LA")), slack=1)


def _inks(pixels: np.ndarray) -> Iterator[Whole]:
    cmyk = Image.fromarray(pixels).convert("CMYK")
    yield Whole("jpeg-cmyk", ".jpg", encoded(cmyk, "JPEG", quality=97), pixels, slack=4)
    yield Whole("jpeg-ycck", ".jpg", ycck(pixels), pixels, slack=4)
    yield Whole("tiff-cmyk", ".tif", encoded(cmyk, "TIFF"), np.array(cmyk.convert("RGB")))
    yield Whole("tiff-ycbcr", ".tif", encoded(Image.fromarray(pixels).convert("YCbCr"), "TIFF"), pixels, slack=2)
    yield Whole("tiff-lab", ".tif", encoded(Image.fromarray(pixels).convert("RGB").convert("LAB"), "TIFF"), None)


def _deep(pixels: np.ndarray) -> Iterator[Whole]:
    deep = (pixels.astype(np.uint16) << 8) | 91
    yield Whole("png-16", ".png", cv2.imencode(".png", deep[..., ::-1])[1].tobytes(), pixels)
    yield Whole("tiff-16", ".tif", cv2.imencode(".tif", deep[..., ::-1])[1].tobytes(), pixels)
    plane = np.repeat(pixels[..., :1], 3, axis=-1)
    for kind, ending in (("PNG", ".png"), ("TIFF", ".tif"), ("PPM", ".pgm")):
        yield Whole(f"{kind.lower()}-grey-16", ending, encoded(np.ascontiguousarray(deep[..., 0]), kind), plane)
    yield Whole("tiff-float", ".tif", encoded(pixels[..., 0].astype(np.float32), "TIFF"), plane)
    yield Whole("tiff-nan", ".tif", encoded(np.full((HEIGHT, WIDTH), np.nan, np.float32), "TIFF"), np.zeros_like(pixels))


def _several_frames(pixels: np.ndarray) -> Iterator[Whole]:
    frames = [Image.fromarray(drawn(seed=seed)) for seed in range(3)]
    more = {"save_all": True, "append_images": frames[1:]}
    first = np.array(frames[0])
    yield Whole("png-animated", ".png", encoded(frames[0], "PNG", **more), first, frames=True)
    yield Whole("png-animated-apart", ".png", encoded(frames[0], "PNG", default_image=True, **more), first, frames=True)
    yield Whole("webp-animated", ".webp", encoded(frames[0], "WEBP", lossless=True, **more), first, frames=True)
    yield Whole("gif-animated", ".gif", encoded(frames[0], "GIF", **more), first, slack=12, frames=True)
    yield Whole("tiff-pages", ".tif", encoded(frames[0], "TIFF", **more), first, frames=True)
    yield Whole("avif-animated", ".avif", encoded(frames[0], "AVIF", quality=95, subsampling="4:4:4", **more), first, slack=4, frames=True)
    yield Whole("jpeg-two", ".jpg", encoded(frames[0], "MPO", quality=95, subsampling=0, **more), first, slack=4, frames=True)


def _refused(pixels: np.ndarray) -> Iterator[Whole]:
    """Formats that attrcls does not open: their names end like pictures, because only such files are looked at in a folder."""
    palette = Image.fromarray(pixels).quantize(16)
    writers: dict[str, Callable[[], bytes]] = {
        **{kind: lambda kind=kind: encoded(pixels, kind) for kind in ("ICO", "TGA", "PCX", "DDS", "SGI", "QOI", "EPS", "PDF", "ICNS")},
        "XBM": lambda: encoded(palette.convert("1"), "XBM"), "MSP": lambda: encoded(palette.convert("1"), "MSP"),
        "SPIDER": lambda: encoded(Image.fromarray(pixels[..., 0].astype(np.float32)), "SPIDER"),
    }  # fmt: skip
    for kind, write in writers.items():
        yield Whole(f"other-{kind.lower()}", ".png", write(), None)
    for ending, values in ((".hdr", pixels.astype(np.float32) / 255), (".pfm", pixels.astype(np.float32) / 255), (".ras", pixels)):
        yield Whole(f"other-{ending[1:]}", ".jpg", cv2.imencode(ending, values)[1].tobytes(), None)
