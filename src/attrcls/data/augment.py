"""Augmentation recipes: uint8 pictures in, uint8 pictures of the trunk's size out, repeatable to the bit.

The one module that knows albumentations (2.0.x, MIT, no longer maintained), so that replacing it touches nothing else.
"""

import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from attrcls.errors import UserError
from attrcls.spec import suggest

# Without this albumentations asks the network for a newer version while it is imported.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
import albumentations as A

Image = npt.NDArray[np.uint8]
Transforms = list[A.BasicTransform | A.BaseCompose]
# What moves into view at the border is a mirror image: black wedges are a cue that no real picture has.
_BORDER = 4  # cv2.BORDER_REFLECT_101


def _none(px: int) -> Transforms:
    return [A.CenterCrop(px, px)]


def _flip(px: int) -> Transforms:
    return [A.HorizontalFlip(p=0.5), A.CenterCrop(px, px)]


def _crop(px: int) -> Transforms:
    return [A.HorizontalFlip(p=0.5), A.RandomCrop(px, px)]


def _geometric(px: int) -> Transforms:
    """Rotate, translate, scale, in that order: three warps, because one affine matrix would fix another order."""
    return [
        A.Affine(rotate=(-10, 10), border_mode=_BORDER, p=1.0),
        A.Affine(translate_percent=(-0.06, 0.06), border_mode=_BORDER, p=1.0),
        A.Affine(scale=(0.9, 1.1), border_mode=_BORDER, p=1.0),
        A.CenterCrop(px, px),
    ]


def _strong(px: int) -> Transforms:
    """Mirrored `geometric`, mild brightness and random erasing; no colour noise, which hurt where colour is a cue."""
    brightness = A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.0, p=0.5)
    return [A.HorizontalFlip(p=0.5), *_geometric(px), brightness, A.Erasing(scale=(0.02, 0.15), p=0.25)]


def _zoom(px: int) -> Transforms:
    """Mirrored, a little rotated, cut out at half to all of its area, mild brightness and random erasing: for few subjects
    who are soon known by heart."""
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-10, 10), border_mode=_BORDER, p=1.0),
        A.RandomResizedCrop((px, px), scale=(0.5, 1.0), ratio=(0.85, 1.18)),
        A.RandomBrightnessContrast(brightness_limit=0.15, contrast_limit=0.0, p=0.5),
        A.Erasing(scale=(0.02, 0.15), p=0.25),
    ]


def _randaugment(px: int) -> Transforms:
    """`crop`, then two operations at random (RandAugment, Cubuk et al. 2020, with magnitudes at random as in FixMatch), then cutout
    (DeVries & Taylor 2017) of up to half the side: the strong view of consistency losses."""
    operations: list[Any] = [
        A.AutoContrast(p=1.0),
        A.Equalize(p=1.0),
        A.Solarize(threshold_range=(0.5, 1.0), p=1.0),
        A.Posterize(num_bits=(4, 8), p=1.0),
        A.Sharpen(alpha=(0.05, 0.95), p=1.0),
        A.ColorJitter(brightness=0, contrast=0, saturation=(0.05, 0.95), hue=0, p=1.0),
        A.RandomBrightnessContrast(brightness_limit=0.4, contrast_limit=0.0, p=1.0),
        A.RandomBrightnessContrast(brightness_limit=0.0, contrast_limit=0.4, p=1.0),
        A.Affine(rotate=(-30, 30), border_mode=_BORDER, p=1.0),
        A.Affine(translate_percent=(-0.3, 0.3), border_mode=_BORDER, p=1.0),
        A.Affine(shear=(-17, 17), border_mode=_BORDER, p=1.0),
    ]
    cutout = A.CoarseDropout(num_holes_range=(1, 1), hole_height_range=(0.1, 0.5), hole_width_range=(0.1, 0.5), fill=127, p=1.0)
    return [*_crop(px), A.SomeOf(operations, n=2, replace=True, p=1.0), cutout]


RECIPES: dict[str, Callable[[int], Transforms]] = {
    "none": _none,
    "flip": _flip,
    "crop": _crop,
    "geometric": _geometric,
    "strong": _strong,
    "zoom": _zoom,
    "randaugment": _randaugment,
}


class Augmenter:
    """Applies a recipe; the outcome is a pure function of the picture and the key. `where` names the recipe in messages.

    It is tried on a grey picture of `from_px` (by default a quarter more than `px`), every transform of it. Raises:
        UserError: no such recipe or transform, or it cannot be done on such a picture.
    """

    def __init__(self, recipe: str | Sequence[Mapping[str, Any]], *, px: int, from_px: int | None = None, where: str = "augment") -> None:
        self.px = px
        self._compose = A.Compose(build_transforms(recipe, px=px, where=where))
        side = from_px or px + px // 4
        surely = build_transforms(recipe, px=px, where=where)
        for transform in surely:
            transform.p = 1.0
        try:
            out = A.Compose(surely)(image=np.full((side, side, 3), 128, dtype=np.uint8))["image"]
        except Exception as error:  # each transform has exceptions of its own
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise UserError(f"{where}: the transforms cannot be done on a picture of {side}x{side}, as image.px {px} gives: {reason}") from error
        if not isinstance(out, np.ndarray) or out.dtype != np.uint8 or out.shape[2:] != (3,):
            raise UserError(f"{where}: the transforms must give uint8 pictures of 3 channels; leave out Normalize, ToFloat and ToTensorV2")

    def __call__(self, image: Image, key: Sequence[int]) -> Image:
        """`image` uint8 `(height, width, 3)`; `key` such as (seed, epoch, row, repeat, view), each 0 or more.

        Returns uint8 `(px, px, 3)`.
        """
        generator = np.random.default_rng(list(key))
        # Python's generator takes one integer: its seed comes from the same key through numpy's mixing.
        self._compose.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        out: Image = self._compose(image=image)["image"]
        if out.shape[:2] != (self.px, self.px):
            fitted = A.CenterCrop(self.px, self.px, pad_if_needed=True)(image=out)
            out = fitted["image"]
        return np.ascontiguousarray(out)


def build_transforms(recipe: str | Sequence[Mapping[str, Any]], *, px: int, where: str = "augment") -> Transforms:
    """A recipe's transforms by name, or an explicit list such as `[{name: HorizontalFlip, p: 0.5}, …]`.

    Raises:
        UserError: no such recipe or transform, or arguments that it does not take.
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise UserError(f"{where}: no recipe {recipe!r}{suggest(recipe, RECIPES)} (recipes: {', '.join(RECIPES)})")
        return RECIPES[recipe](px)
    return [_build_transform(options, where=f"{where}.{index}") for index, options in enumerate(recipe)]


def _build_transform(options: Mapping[str, Any], *, where: str) -> A.BasicTransform:
    arguments = dict(options)
    name = arguments.pop("name", None)
    known = [key for key, value in vars(A).items() if isinstance(value, type) and issubclass(value, A.BasicTransform)]
    if name not in known:
        raise UserError(f"{where}: expected `name:` to be a transform of albumentations, found {name!r}{suggest(str(name), known)}")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        with warnings.catch_warnings():
            # albumentations only warns of an argument that it does not know, and goes on without it.
            warnings.simplefilter("error")
            transform: A.BasicTransform = getattr(A, name)(**arguments)
    except (UserWarning, ValueError, TypeError) as error:
        raise UserError(f"{where}: {name} does not take these arguments: {str(error).splitlines()[0]}") from error
    return transform
