"""`--cache device`: the whole decoded set lies on the device; batches are gathered and augmented there."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attrcls.data.augment import Augmenter
from attrcls.data.batch_augment import BatchAugmenter
from attrcls.data.loader import Decoded, DecodedLoader, Draw, PictureDataset, Pictures
from attrcls.data.machine import free_memory
from attrcls.data.pixelfile import keys_of
from attrcls.data.recipes import Recipe, Recipes
from attrcls.errors import UserError

# Left free on the device, for the network and its batches.
RESERVE_BYTES = 2 << 30
_DECODE_BATCH = 64
Progress = Callable[[int], None]


class DeviceCache:
    """Decoded pictures on one device, each set decoded once; it holds nothing from earlier runs."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sets: dict[tuple[int, str, bytes], _PixelSet] = {}

    def holds(self, pictures: Pictures[Path]) -> npt.NDArray[np.bool_]:
        """Of no picture is it known that it can be read: nothing was decoded yet."""
        return np.zeros(len(pictures.paths), dtype=np.bool_)

    def require_room(self, rows: int, px: int) -> None:
        """Raises:
        UserError: so many pictures at `px` do not fit into what the device has free.
        """
        needed, free = rows * px * px * 3, free_memory(self.device)
        if free is not None and needed > free - RESERVE_BYTES:
            raise UserError(
                f"--cache device: {rows:,} pictures at {px} px need {needed / 1e9:,.1f} GB, and {self.device} has {free / 1e9:,.1f} GB free, "
                f"{RESERVE_BYTES / 1e9:,.1f} GB of them for the network; use --cache DIR, which keeps them on a disk, or a smaller --set image.px=…"
            )

    def keep(self, pictures: Pictures[Path], *, workers: int, on_start: Callable[[int], Progress] | None = None) -> "_PixelSet":
        """Decode pictures onto the device, or find those that were. `on_start` is told their number; what it gives, of each batch's.

        Raises:
            UserError: they do not fit.
        """
        which = (pictures.resize_px, pictures.fit, keys_of(pictures).tobytes())
        if which not in self._sets:
            self.require_room(len(pictures.paths), pictures.resize_px)
            self._sets[which] = _decoded(pictures, self.device, workers, on_start(len(pictures.paths)) if on_start else lambda done: None)
        return self._sets[which]

    def told(self) -> str:
        """How much lies where."""
        size = sum(each.pixels.nbytes for each in self._sets.values())
        return (
            f"{self.device}: {size / 1e9:,.1f} GB for {sum(len(each.pixels) for each in self._sets.values()):,} pictures, augmented there in batches"
        )

    def trouble(self) -> str | None:
        """Nothing can go wrong later."""
        return None


class _PixelSet:
    """`pixels` uint8 `(rows, px, px, 3)` on the device; `failures`: status and message of rows that could not be read."""

    def __init__(self, pixels: Tensor) -> None:
        self.pixels = pixels
        self.failures: dict[int, tuple[str, str]] = {}


def _decoded(pictures: Pictures[Path], device: torch.device, workers: int, advance: Progress) -> _PixelSet:
    px, rows = pictures.resize_px, len(pictures.paths)
    dataset = PictureDataset(pictures, Recipes(Augmenter("none", px=px)))
    loader = DecodedLoader(dataset, workers=workers if rows > _DECODE_BATCH else 0, pin_memory=device.type == "cuda")
    kept = _PixelSet(torch.empty((rows, px, px, 3), dtype=torch.uint8, device=device))
    starts = range(0, rows, _DECODE_BATCH)
    draws = [[Draw(row, (0,)) for row in range(start, min(start + _DECODE_BATCH, rows))] for start in starts]
    for start, decoded in zip(starts, loader.batches(draws), strict=True):
        images = decoded.images.permute(0, 2, 3, 1)
        kept.pixels[start : start + len(images)].copy_(images, non_blocking=True)
        kept.failures |= {start + position: (status, message) for position, status, message in decoded.failures}
        advance(len(images))
    return kept


class DevicePictures:
    """A `DrawSource` of pictures that lie on the device, each draw augmented by its own recipe."""

    def __init__(self, kept: _PixelSet, recipes: Recipes[BatchAugmenter]) -> None:
        self._kept, self._recipes = kept, recipes

    def batches(self, draws: Sequence[list[Draw]]) -> Iterator[Decoded]:
        """Augmented batches on the device, one per list of draws; `rows` stay on the CPU, where the labels are."""
        for batch in draws:
            failures = [(at, *self._kept.failures[draw.row]) for at, draw in enumerate(batch) if draw.row in self._kept.failures]
            # Channels last in memory, as the loader gives them.
            yield Decoded(torch.tensor([draw.row for draw in batch]), self._images(batch).permute(0, 3, 1, 2), failures)

    def _images(self, batch: Sequence[Draw]) -> Tensor:
        parts: dict[BatchAugmenter, list[int]] = {}
        for at, draw in enumerate(batch):
            parts.setdefault(self._recipes.choose(draw.row, repeat=draw.repeat), []).append(at)
        augmented = [self._augmented([batch[at] for at in part], augmenter) for augmenter, part in parts.items()]
        if len(augmented) == 1:
            return augmented[0]
        order = np.argsort([at for part in parts.values() for at in part])
        return torch.cat(augmented)[torch.from_numpy(order).to(self._kept.pixels.device)]

    def _augmented(self, batch: Sequence[Draw], augmenter: BatchAugmenter) -> Tensor:
        rows = torch.tensor([draw.row for draw in batch]).to(self._kept.pixels.device, non_blocking=True)
        return augmenter(self._kept.pixels[rows], [draw.key for draw in batch]).contiguous()


def device_pictures(
    pictures: Pictures[Path], cache: DeviceCache, recipes: Recipes[Recipe], *, px: int, workers: int,
    on_start: Callable[[int], Progress] | None = None,
) -> DevicePictures:  # fmt: skip
    """Pictures kept on the cache's device, augmented there, at `px`.

    Raises:
        UserError: a recipe has what cannot be done on the device, or the pictures do not fit there.
    """
    built = recipes.built(lambda recipe: BatchAugmenter(recipe.transforms, px=px, from_px=pictures.resize_px, where=recipe.key))
    return DevicePictures(cache.keep(pictures, workers=workers, on_start=on_start), built)
