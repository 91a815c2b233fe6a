"""Which pictures of a manifest can be read: every one is decoded once, before anything is trained on it."""

import numpy as np
import numpy.typing as npt

from attrcls.data.images import image_size, read_image
from attrcls.data.manifest import Manifest
from attrcls.data.threads import in_threads
from attrcls.errors import ImageError, Problem


def find_unreadable(manifest: Manifest, *, min_px: int, crop: bool, known: npt.NDArray[np.bool_] | None = None) -> dict[int, Problem]:
    """The rows whose picture (or box in it, where they `crop`) cannot be read, by position, and why.

    `known` rows were read before, and are not read again.
    """
    paths = manifest.image_paths()
    boxes = manifest.boxes()

    def fault(row: int) -> str | None:
        if known is not None and known[row]:
            return None
        box = boxes[row]
        try:
            read_image(paths[row], box=tuple(box) if crop and (box == box).all() else None, min_px=min_px)
        except ImageError as error:
            return str(error).removeprefix(f"{paths[row]}: ")
        return None

    faults = in_threads(fault, len(manifest))
    frame = manifest.frame
    return {
        row: Problem(f"{frame['card'].iloc[row]}: {frame['path'].iloc[row]}", message) for row, message in enumerate(faults) if message is not None
    }


def image_sizes(manifest: Manifest) -> list[tuple[int, int] | None]:
    """Each row's picture's upright (width, height) in pixels from its header, None where it cannot be read."""

    paths = manifest.image_paths()

    def size(row: int) -> tuple[int, int] | None:
        try:
            return image_size(paths[row])
        except ImageError:
            return None

    return in_threads(size, len(manifest))
