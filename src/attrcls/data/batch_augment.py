"""Augmentation recipes for a whole batch on a device, for pictures that are kept there.

The same recipes as `augment` has, read from its transforms: the same operations in the same order with parameters from the
same distributions, but other numbers, so the same key gives another picture than there. Warps round a little otherwise, by a
few levels where pictures have sharp edges. What a draw gives is a function of its picture and key alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from attrcls.data import batch_ops as ops
from attrcls.data.augment import RECIPES, build_transforms
from attrcls.data.batch_ops import Floats, Ints
from attrcls.errors import UserError

Size = tuple[int, int]
# cv2's numbers, which albumentations takes.
_LINEAR, _REFLECT_101 = 1, 4
_CROP_TRIES = 10


@dataclass(frozen=True)
class Operation:
    """`apply(images, chances)` on uint8 `(batch, height, width, 3)`; `chances` `(batch, uniforms)` are each picture's random numbers
    from 0 to 1. `size` is the height and width that come out."""

    uniforms: int
    apply: Callable[[Tensor, Floats], Tensor]
    size: Size


class BatchAugmenter:
    """A recipe on a device: pictures of `from_px` come out at `px`. `where` names the recipe in messages."""

    def __init__(self, recipe: str | Sequence[Mapping[str, Any]], *, px: int, from_px: int, where: str = "augment") -> None:
        """Raises:
        UserError: it has a transform, or an argument of one, that is not known here.
        """
        self.px = px
        self._operations: list[Operation] = []
        size = (from_px, from_px)
        for transform in build_transforms(recipe, px=px, where=where):
            name = type(transform).__name__
            try:
                operation = _translated(name, transform, size)
            except _UnknownError as error:
                raise UserError(f"{where}: --cache device cannot do {name}{error}{_way_out(recipe, px=px)}") from None
            self._operations.append(operation)
            size = operation.size
        if min(size) < px:
            raise UserError(f"{where}: --cache device: the transforms end with {size[1]} × {size[0]} px, and {px} px are wanted; use --cache DIR")

    def __call__(self, images: Tensor, keys: Sequence[Sequence[int]]) -> Tensor:
        """uint8 `(batch, from_px, from_px, 3)` to `(batch, px, px, 3)`; `keys` as `Augmenter` takes them, one per picture."""
        width = sum(operation.uniforms for operation in self._operations)
        chances = np.stack([np.random.default_rng(list(key)).random(width) for key in keys]) if width else np.empty((len(keys), 0))
        at = 0
        for operation in self._operations:
            images = operation.apply(images, chances[:, at : at + operation.uniforms])
            at += operation.uniforms
        return _centre(images, (self.px, self.px))


def _way_out(recipe: str | Sequence[Mapping[str, Any]], *, px: int) -> str:
    """What to do about a recipe that cannot be done here."""
    if not isinstance(recipe, str):
        return f"; use --cache DIR, or a recipe of {', '.join(sorted(KNOWN))}"
    others = [name for name in RECIPES if all(type(each).__name__ in KNOWN for each in build_transforms(name, px=px))]
    return f", of which the recipe {recipe} is made; use --cache DIR, or another recipe: {', '.join(others)}"


class _UnknownError(Exception):
    """What of a transform is not known here; its text goes on after the transform's name."""


def _translated(name: str, transform: Any, size: Size) -> Operation:
    if name not in KNOWN:
        raise _UnknownError("")
    return KNOWN[name](transform.get_transform_init_args(), size)


def _flip(arguments: Mapping[str, Any], size: Size) -> Operation:
    return Operation(1, lambda images, chances: ops.mirror(images, chances[:, 0] < arguments["p"]), size)


def _centre_crop(arguments: Mapping[str, Any], size: Size) -> Operation:
    out = _cut_size(arguments, size)
    return Operation(0, lambda images, chances: _centre(images, out), out)


def _random_crop(arguments: Mapping[str, Any], size: Size) -> Operation:
    out = _cut_size(arguments, size)

    def apply(images: Tensor, chances: Floats) -> Tensor:
        top, left = (_whole(chances[:, axis], size[axis] - out[axis]) for axis in (0, 1))
        return ops.cut(images, top, left, height=out[0], width=out[1])

    return Operation(2, apply, out)


def _random_resized_crop(arguments: Mapping[str, Any], size: Size) -> Operation:
    _expect(arguments, p=1, interpolation=_LINEAR, area_for_downscale=None)
    out = tuple(arguments["size"])

    def apply(images: Tensor, chances: Floats) -> Tensor:
        windows = crop_windows(chances, size, scale=arguments["scale"], ratio=arguments["ratio"])
        return ops.resize_cut(images, *windows, height=out[0], width=out[1])

    return Operation(2 + 2 * _CROP_TRIES, apply, (out[0], out[1]))


def crop_windows(chances: Floats, size: Size, *, scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[Ints, Ints, Ints, Ints]:
    """Top, left, heights and widths of windows: the first try that fits inside `size`, or in the middle the largest of a fitting ratio.

    `chances` `(batch, 2 + 2 × tries)`: where it lies, and of each try its area and its ratio.
    """
    area = _between(chances[:, 2::2], scale[0] * size[0] * size[1], scale[1] * size[0] * size[1])
    shape = np.exp(_between(chances[:, 3::2], math.log(ratio[0]), math.log(ratio[1])))
    tried = np.stack([np.rint(np.sqrt(area / shape)), np.rint(np.sqrt(area * shape))]).astype(np.int64)
    fits = (tried > 0).all(axis=0) & (tried[0] <= size[0]) & (tried[1] <= size[1])
    picked = tried[:, np.arange(len(fits)), fits.argmax(axis=1)]
    own = size[1] / size[0]
    fallback = (
        round(size[1] / ratio[0]) if own < ratio[0] else size[0],
        round(size[0] * ratio[1]) if own > ratio[1] else size[1],
    )
    found = fits.any(axis=1)
    heights, widths = (np.where(found, picked[axis], fallback[axis]) for axis in (0, 1))
    top, left = (
        np.where(found, _whole(chances[:, axis], size[axis] - length), (size[axis] - length) // 2) for axis, length in enumerate((heights, widths))
    )
    return top, left, heights, widths


def _affine(arguments: Mapping[str, Any], size: Size) -> Operation:
    still = {"x": (0.0, 0.0), "y": (0.0, 0.0)}
    _expect(arguments, border_mode=_REFLECT_101, interpolation=_LINEAR, shear=still, fit_output=False, balanced_scale=False)
    return Operation(
        6, lambda images, chances: ops.warp(images, affine_matrices(chances[:, 1:], arguments, size), chances[:, 0] < arguments["p"]), size
    )


def affine_matrices(chances: Floats, arguments: Mapping[str, Any], size: Size) -> Floats:
    """`(batch, 2, 3)`: scale, then rotate about the centre, then shift by whole pixels. `chances` `(batch, 5)`."""
    percent, pixels = arguments["translate_percent"], arguments["translate_px"]
    if percent is not None:
        shift = [np.trunc(_between(chances[:, axis], *percent[name]) * size[1 - axis]) for axis, name in enumerate("xy")]
    else:
        shift = [int(pixels[name][0]) + _whole(chances[:, axis], int(pixels[name][1]) - int(pixels[name][0])) for axis, name in enumerate("xy")]
    across = _between(chances[:, 2], *arguments["scale"]["x"])
    down = across if arguments["keep_ratio"] else _between(chances[:, 3], *arguments["scale"]["y"])
    angle = np.deg2rad(_between(chances[:, 4], *arguments["rotate"]))
    turn = np.stack([np.stack([np.cos(angle) * across, np.sin(angle) * down], -1), np.stack([-np.sin(angle) * across, np.cos(angle) * down], -1)], 1)
    centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    move = np.stack(shift, axis=-1) + centre - turn @ centre
    return np.concatenate([turn, move[:, :, None]], axis=2)


def _brightness_contrast(arguments: Mapping[str, Any], size: Size) -> Operation:
    _expect(arguments, brightness_by_max=True, ensure_safe_range=False)

    def apply(images: Tensor, chances: Floats) -> Tensor:
        factor = 1 + _between(chances[:, 1], *arguments["contrast_limit"])
        plus = 255 * _between(chances[:, 2], *arguments["brightness_limit"])
        return ops.brighten(images, factor, plus, chances[:, 0] < arguments["p"])

    return Operation(3, apply, size)


def _erasing(arguments: Mapping[str, Any], size: Size) -> Operation:
    fill = arguments["fill"]
    if not isinstance(fill, int | float):
        raise _UnknownError(f" with fill={fill!r}")

    def apply(images: Tensor, chances: Floats) -> Tensor:
        heights, widths = hole_sizes(chances[:, 1:3], size, scale=arguments["scale"], ratio=arguments["ratio"])
        top, left = _whole(chances[:, 3], size[0] - heights), _whole(chances[:, 4], size[1] - widths)
        return ops.erase(images, top, left, np.where(chances[:, 0] < arguments["p"], heights, 0), widths, fill=fill)

    return Operation(5, apply, size)


def hole_sizes(chances: Floats, size: Size, *, scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[Ints, Ints]:
    """Heights and widths of what is erased, 0 where no such window fits. `chances` `(batch, 2)`: of its area and its ratio."""
    height, width = size
    least, most = scale[0] * height * width, min(scale[1] * height * width, ratio[0] * height**2, width**2 / ratio[1])
    if most < least or most <= 0:
        return np.zeros(len(chances), dtype=np.int64), np.zeros(len(chances), dtype=np.int64)
    area = np.maximum(_between(chances[:, 0], least, most), 1e-9)
    lowest, highest = np.maximum(ratio[0], area / height**2), np.minimum(ratio[1], width**2 / area)
    shape = lowest + chances[:, 1] * (highest - lowest)
    there = lowest <= highest
    return tuple(np.where(there, np.rint(np.sqrt(side)), 0).astype(np.int64) for side in (area / shape, area * shape))  # type: ignore[return-value]


KNOWN: dict[str, Callable[[Mapping[str, Any], Size], Operation]] = {
    "HorizontalFlip": _flip,
    "CenterCrop": _centre_crop,
    "RandomCrop": _random_crop,
    "RandomResizedCrop": _random_resized_crop,
    "Affine": _affine,
    "RandomBrightnessContrast": _brightness_contrast,
    "Erasing": _erasing,
}


def _expect(arguments: Mapping[str, Any], **expected: Any) -> None:
    for name, value in expected.items():
        if arguments[name] != value:
            raise _UnknownError(f" with {name}={arguments[name]!r}, {value!r} alone")


def _cut_size(arguments: Mapping[str, Any], size: Size) -> Size:
    _expect(arguments, p=1, pad_if_needed=False)
    out = (int(arguments["height"]), int(arguments["width"]))
    if out[0] > size[0] or out[1] > size[1]:
        raise _UnknownError(f" of {out[1]} × {out[0]} px out of pictures of {size[1]} × {size[0]}")
    return out


def _centre(images: Tensor, out: Size) -> Tensor:
    top, left = (images.shape[1] - out[0]) // 2, (images.shape[2] - out[1]) // 2
    return images[:, top : top + out[0], left : left + out[1]]


def _between(chances: Floats, low: float, high: float) -> Floats:
    return low + chances * (high - low)


def _whole(chances: Floats, most: Ints | int) -> Ints:
    """A whole number from 0 to `most`, both with the same chance as all between."""
    found: Ints = np.floor(chances * (np.asarray(most) + 1)).astype(np.int64)
    return found
