"""Which pictures of a manifest can be read: every one is decoded once, before anything is trained on it."""

import os
from concurrent.futures import ThreadPoolExecutor

from attrcls.data.images import image_size, read_image
from attrcls.data.manifest import Manifest
from attrcls.errors import ImageError, Problem


def find_unreadable(manifest: Manifest, *, min_px: int, threads: int | None = None) -> dict[int, Problem]:
    """The rows whose picture cannot be read, by position, and why. Rows that share a picture are read once each box."""
    paths = manifest.image_paths()
    boxes = manifest.boxes()

    def fault(row: int) -> str | None:
        box = boxes[row]
        try:
            read_image(paths[row], box=None if (box != box).any() else tuple(box), min_px=min_px)
        except ImageError as error:
            return str(error)
        return None

    # Threads, not processes: the decoders release the interpreter's lock, and nothing has to travel.
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        faults = list(pool.map(fault, range(len(manifest)), chunksize=64))
    frame = manifest.frame
    return {
        row: Problem(f"{frame['card'].iloc[row]}: {frame['path'].iloc[row]}", message) for row, message in enumerate(faults) if message is not None
    }


def image_sizes(manifest: Manifest) -> list[tuple[int, int] | None]:
    """Each row's picture's upright (width, height) in pixels from its header, None where it cannot be read."""

    def size(path: object) -> tuple[int, int] | None:
        try:
            return image_size(path)  # type: ignore[arg-type]
        except ImageError:
            return None

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(size, manifest.image_paths(), chunksize=64))
