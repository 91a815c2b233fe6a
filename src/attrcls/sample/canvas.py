"""A canvas for flat cartoon drawing: outlines in the drawing's own units go in, an RGB photograph with its flaws comes out."""

from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Colour: TypeAlias = tuple[int, int, int]
Outline: TypeAlias = NDArray[np.float64]
Picture: TypeAlias = NDArray[np.uint8]

SUPERSAMPLE = 2
# cv2 takes points as integers with this many binary places, which keeps small shapes from snapping to pixels.
SUBPIXEL_BITS = 4


class Canvas:
    """A picture in the making; `place` says where the drawing's origin lies, how large its unit is and how it is tilted."""

    def __init__(self, *, width_px: int, height_px: int, colour: Colour) -> None:
        self.width_px = width_px
        self.height_px = height_px
        self.pixels: Picture = np.full((height_px * SUPERSAMPLE, width_px * SUPERSAMPLE, 3), colour, dtype=np.uint8)
        self.place(x_px=0.0, y_px=0.0, unit_px=1.0)

    def place(self, *, x_px: float, y_px: float, unit_px: float, tilt_degrees: float = 0.0) -> None:
        """Draw from here on with the origin at (x_px, y_px), one unit unit_px long, turned clockwise by the tilt."""
        turn = np.deg2rad(tilt_degrees)
        self._unit = unit_px * SUPERSAMPLE
        self._turn = self._unit * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        self._origin = np.array([x_px, y_px]) * SUPERSAMPLE

    def box(self, points: Outline) -> tuple[int, int, int, int]:
        """The pixel box (xmin, ymin, xmax, ymax) around points in the drawing's units, clipped to the picture."""
        corners = (points @ self._turn + self._origin) / SUPERSAMPLE
        (left, top), (right, bottom) = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0))
        return max(int(left), 0), max(int(top), 0), min(int(right), self.width_px), min(int(bottom), self.height_px)

    def fill(self, outline: ArrayLike, colour: Colour, *, alpha: float = 1.0) -> None:
        """Fill a closed outline, an array (points, 2)."""
        self._draw(np.asarray(outline), colour, alpha=alpha, width=None)

    def stroke(self, path: ArrayLike, colour: Colour, *, width: float, alpha: float = 1.0) -> None:
        """Draw an open line of the given width, in the drawing's units."""
        self._draw(np.asarray(path), colour, alpha=alpha, width=width)

    def _draw(self, points: Outline, colour: Colour, *, alpha: float, width: float | None) -> None:
        pixels = points @ self._turn + self._origin
        thickness = 0 if width is None else max(1, round(width * self._unit))
        margin = thickness + 2
        height, breadth = self.pixels.shape[:2]
        left, top = np.maximum(pixels.min(axis=0).astype(int) - margin, 0)
        right, bottom = np.minimum(pixels.max(axis=0).astype(int) + margin + 1, (breadth, height))
        if left >= right or top >= bottom or alpha <= 0.0:
            return
        patch = self.pixels[top:bottom, left:right]
        opaque = alpha >= 1.0
        layer = self.pixels if opaque else patch.copy()
        fixed = np.round((pixels if opaque else pixels - (left, top)) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        if width is None:
            cv2.fillPoly(layer, [fixed], colour, cv2.LINE_AA, SUBPIXEL_BITS)
        else:
            cv2.polylines(layer, [fixed], False, colour, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
        if not opaque:
            patch[...] = cv2.addWeighted(layer, alpha, patch, 1.0 - alpha, 0.0)


def photograph(canvas: Canvas, rng: np.random.Generator, *, roughness: float = 1.0) -> Picture:
    """Shrink the canvas to its picture size and add light, colour cast, blur and noise; `roughness` scales the flaws."""
    size = (canvas.width_px, canvas.height_px)
    picture = cv2.resize(canvas.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    across, down = np.linspace(-1, 1, size[0], dtype=np.float32), np.linspace(-1, 1, size[1], dtype=np.float32)
    slope = rng.uniform(-0.16, 0.16, 2).astype(np.float32) * roughness
    light = 1 + slope[0] * across[None, :] + slope[1] * down[:, None] + rng.normal(0, 0.09) * roughness
    cast = 1 + rng.normal(0, 0.03 * roughness, 3)
    picture *= light[..., None].astype(np.float32) * cast.astype(np.float32)
    sigma = abs(rng.normal(0, 0.55)) * roughness
    if sigma > 0.3:
        cv2.GaussianBlur(picture, (0, 0), sigma, dst=picture)
    grain = rng.uniform(1.0, 6.0) * roughness
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(grain)
    return np.clip(picture, 0, 255).astype(np.uint8)


def oval(x: float, y: float, half_width: float, half_height: float, *, start: float = 0.0, stop: float = 360.0) -> Outline:
    """The points of an ellipse, or of its arc from `start` to `stop` degrees (0 is right, 90 is down)."""
    return _arc(start, stop) * (half_width, half_height) + (x, y)


def smooth(points: ArrayLike, *, closed: bool = True, steps: int = 6) -> Outline:
    """A Catmull-Rom curve through the points; closed, it is an outline, open, a line."""
    knots = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([knots[-1:], knots, knots[:2]] if closed else [knots[:1], knots, knots[-1:]])
    quads = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    curve = (_spline(steps) @ quads).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def mirrored(half: ArrayLike) -> Outline:
    """A closed outline from its right half, listed from top to bottom."""
    right = np.asarray(half, dtype=np.float64)
    return np.concatenate([right, right[::-1] * (-1.0, 1.0)])


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`first` with a `share` (0 to 1) of `second` in it."""
    kept = 1.0 - share
    return (
        round(first[0] * kept + second[0] * share),
        round(first[1] * kept + second[1] * share),
        round(first[2] * kept + second[2] * share),
    )


@lru_cache(maxsize=64)
def _arc(start: float, stop: float) -> Outline:
    angles = np.deg2rad(np.linspace(start, stop, max(6, round(abs(stop - start) / 12))))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


@lru_cache(maxsize=8)
def _spline(steps: int) -> Outline:
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    return np.asarray(np.concatenate([t**0, t, t**2, t**3], axis=1) @ basis)
