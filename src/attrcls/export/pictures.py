"""Real pictures as a graph takes them in: what an export is checked on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, Draw, PictureDataset, Pictures
from attrcls.data.recipes import Recipes
from attrcls.data.remote import Location
from attrcls.sections import ImageSpec


def read_pictures(paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None, image: ImageSpec) -> Tensor:
    """uint8 `(pictures, 3, px, px)`, as prediction sees them; what cannot be read is left out, so there may be fewer than paths."""
    pictures = Pictures(paths, boxes if image.crop_boxes else None, image.resize_px, image.fit)
    dataset = PictureDataset(pictures, Recipes(Augmenter("none", px=image.px)))
    read = []
    for decoded in DecodedLoader(dataset, workers=0).batches([[Draw(row, (0,))] for row in range(len(paths))]):
        if not decoded.failures:
            read.append(decoded.images)
    return torch.cat(read) if read else torch.zeros(0, 3, image.px, image.px, dtype=torch.uint8)
