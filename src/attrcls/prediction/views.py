"""Test-time augmentation: each picture is seen in several ways, and the probabilities of all are averaged.

Enters: pictures at the size that training resizes to, before its crop. Leaves: views of the size that the trunk sees, the same for every
view, so that a graph built for one size runs them too. A mirror changes what some labels mean (left and right): whoever asks for it knows.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attrcls.errors import UserError
from attrcls.prediction.forward import Forward
from attrcls.prediction.parts import FloatArray
from attrcls.sections import ImageSpec
from attrcls.spec import suggest

SCALES = (1.0, 0.9, 1.15)
CENTRE = (0.5, 0.5)
CROPS = (CENTRE, (0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
# What each name adds to the picture as it is; names together give every combination.
NAMES = ("flip", "five-crop", "scales")


@dataclass(frozen=True)
class View:
    """One way of seeing a picture: resized by `scale`, cropped at `place`, which are the shares of the room above and to the left, mirrored."""

    scale: float = 1.0
    place: tuple[float, float] = CENTRE
    mirrored: bool = False

    def of(self, images: Tensor, px: int) -> Tensor:
        """uint8 `(batch, 3, side, side)` to `(batch, 3, px, px)`; a picture that is too small gets a mirrored border."""
        if self.scale != 1:
            images = _resized(images, round(images.shape[2] * self.scale), px)
        room = images.shape[2] - px
        top, left = (int(room * share) for share in self.place)
        images = images[:, :, top : top + px, left : left + px]
        return images.flip(3) if self.mirrored else images


def parse_views(text: str | None) -> tuple[View, ...]:
    """The views that `--tta flip,scales` asks for, the picture as it is first; none where nothing is asked for.

    Raises:
        UserError: a name is unknown.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in NAMES:
            raise UserError(f"--tta: expected {', '.join(NAMES)}, or several such as flip,scales, found {name!r}{suggest(name, NAMES)}")
    scales = SCALES if "scales" in names else (1.0,)
    places = CROPS if "five-crop" in names else (CENTRE,)
    mirrors = (False, True) if "flip" in names else (False,)
    return tuple(View(*each) for each in itertools.product(scales, places, mirrors))


def check_views(views: Sequence[View], image: ImageSpec) -> None:
    """Raises:
    UserError: crops are asked for of pictures that have no room around the crop that the trunk sees.
    """
    if any(view.place != CENTRE for view in views) and image.resize_px == image.px:
        raise UserError(
            f"--tta five-crop: this model sees all of a picture of {image.px} px (image.margin is {image.margin:g}), so its five crops are one; "
            "use flip or scales"
        )


def with_views(forward: Forward, views: Sequence[View], *, px: int) -> Forward:
    """A forward of pictures before their crop, which averages what `forward` says of each view."""

    def average(images: Tensor) -> dict[str, FloatArray]:
        sums: dict[str, FloatArray] = {}
        for view in views:
            for head, probabilities in forward(view.of(images, px).contiguous(memory_format=torch.channels_last)).items():
                sums[head] = sums[head] + probabilities if head in sums else probabilities
        return {head: values / np.float32(len(views)) for head, values in sums.items()}

    return average


def _resized(images: Tensor, side: int, px: int) -> Tensor:
    resized = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    if side < px:
        before = (px - side) // 2
        after = px - side - before
        resized = F.pad(resized, (before, after, before, after), mode="reflect")
    return resized.round().clamp(0, 255).to(torch.uint8)
