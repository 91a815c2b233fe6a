"""Manifest rows to batches: decode, resize, augment in worker processes; everything random keyed, nothing shared.

Which rows an epoch holds, and how each is augmented, depend on (seed, epoch, row, repeat, view) alone, so that any
number of workers gives the same batches.
"""

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from attrcls.data.augment import Augmenter
from attrcls.data.draws import Parts, draw_rows, expected_draws, split_evenly
from attrcls.data.images import Box, read_image, resize_to
from attrcls.data.machine import PREFETCH, cores, shared_memory, workers_for
from attrcls.data.manifest import Manifest
from attrcls.data.recipes import Recipes
from attrcls.data.remote import Location
from attrcls.errors import ImageError, UserError
from attrcls.launcher import find_launch
from attrcls.sections import ImageSpec
from attrcls.types import MISSING, WHOLE, Batch, Share

# Streams of randomness that share the task's seed.
_ORDER_STREAM, _AUGMENT_STREAM = 0, 1
LocationT = TypeVar("LocationT", bound=Location)


@dataclass(frozen=True)
class Pictures(Generic[LocationT]):
    """Where pictures lie, as paths or URLs, and how they are made square: what a worker process needs, and nothing more."""

    paths: Sequence[LocationT]
    boxes: npt.NDArray[np.float64] | None
    resize_px: int
    fit: Literal["stretch", "crop", "pad"]

    def read(self, row: int) -> npt.NDArray[np.uint8]:
        """uint8 `(resize_px, resize_px, 3)`, RGB.

        Raises:
            ImageError: the picture is missing or cannot be read.
        """
        image = read_image(self.paths[row], box=self.box(row), min_px=self.resize_px)
        return resize_to(image, px=self.resize_px, fit=self.fit)

    def box(self, row: int) -> Box | None:
        """What is cut out of a row's picture, in its pixels; None leaves it whole."""
        if self.boxes is None or not np.isfinite(self.boxes[row]).all():
            return None
        xmin, ymin, xmax, ymax = self.boxes[row]
        return float(xmin), float(ymin), float(xmax), float(ymax)


def pictures_of(manifest: Manifest, image: ImageSpec) -> Pictures[Path]:
    """A manifest's pictures at the size that a task trains on."""
    return Pictures(manifest.image_paths(), manifest.boxes() if image.crop_boxes else None, image.resize_px, image.fit)


class PictureReader(Protocol):
    """What reads a row's picture: `Pictures`, or a cache before them."""

    @property
    def paths(self) -> Sequence[Location]:
        """Each row's file, or its URL."""

    def read(self, row: int) -> npt.NDArray[np.uint8]:
        """uint8 `(px, px, 3)`, RGB."""


class Draw(NamedTuple):
    """One use of a row: its position, the key of its randomness, which use of the row in this epoch it is, from 0, and
    where a few views of each row are kept, whose turn it is (modulo their number)."""

    row: int
    key: tuple[int, ...]
    repeat: int = 0
    turn: int = 0


class Decoded(NamedTuple):
    """A batch as workers hand it over: `rows` int64 `(batch,)`, `images` uint8 `(batch, 3, px, px)` (or features, float
    `(batch, width)`), and for the rows that could not be read, `(position in the batch, status, message)`; their pixels are
    zero."""

    rows: Tensor
    images: Tensor
    failures: list[tuple[int, str, str]]


class PictureDataset(Dataset[Any]):
    """Reads one picture per `Draw`, and augments it by the recipe of that draw.

    `turns` `(rows,)`: quarter turns to the left, made last: a picture on its side that is mirrored then would seem turned the other way.
    """

    def __init__(self, pictures: PictureReader, recipes: Recipes[Augmenter], *, turns: npt.NDArray[np.int64] | None = None) -> None:
        self.pictures = pictures
        self.recipes = recipes
        self.turns = turns

    def __len__(self) -> int:
        return len(self.pictures.paths)

    def __getitem__(self, draw: Draw) -> tuple[int, npt.NDArray[np.uint8] | ImageError]:
        augmenter = self.recipes.choose(draw.row, repeat=draw.repeat)
        try:
            image = augmenter(self.pictures.read(draw.row), draw.key)
            return draw.row, image if self.turns is None else np.rot90(image, self.turns[draw.row])
        except ImageError as error:
            return draw.row, error

    def collate(self, items: Sequence[tuple[int, npt.NDArray[np.uint8] | ImageError]]) -> Decoded:
        """Stack a batch, images `(batch, px, px, 3)`; what could not be read stays black and is listed."""
        px = self.recipes.usual.px
        images = np.zeros((len(items), px, px, 3), dtype=np.uint8)
        failures = []
        for position, (_, image) in enumerate(items):
            if isinstance(image, ImageError):
                failures.append((position, image.status, str(image)))
            else:
                images[position] = image
        return Decoded(torch.tensor([row for row, _ in items]), torch.from_numpy(images), failures)


def default_workers(batch_bytes: int = 0) -> int:
    """As many worker processes as this process may use cores, within reason, and as batches of so many bytes have room; processes
    that a launcher started share both.
    """
    launch = find_launch()
    sharing = launch.per_machine if launch else 1
    return workers_for(max(1, cores() // sharing), batch_bytes=batch_bytes * sharing, shared=shared_memory())


class DecodedLoader:
    """Iterates over batches of draws in order; worker processes stay alive between uses."""

    def __init__(self, dataset: PictureDataset, *, workers: int, pin_memory: bool = False) -> None:
        # No reference leads back here: in a cycle, the collector closes the queues before the loader has told its workers
        # to end, and then waits five seconds for each of them.
        self._wanted = _Batches()
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_sampler=self._wanted,
            collate_fn=dataset.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=pin_memory,
            worker_init_fn=_start_worker,
            # Its own generator: by default a loader draws from torch's, and dropout would depend on when it did.
            generator=torch.Generator(),
        )

    def batches(self, draws: Sequence[list[Draw]]) -> Iterator[Decoded]:
        """Decoded batches, one per list of draws, in their order."""
        self._wanted.draws = draws
        for decoded in self._loader:
            # Channels last in memory, as the pictures came: convolutions are faster so.
            yield decoded._replace(images=decoded.images.permute(0, 3, 1, 2))


class _Batches:
    """The loader's batch sampler: whatever draws are wanted at the moment."""

    def __init__(self) -> None:
        self.draws: Sequence[list[Draw]] = []

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.draws)

    def __len__(self) -> int:
        return len(self.draws)


class DrawSource(Protocol):
    """What gives the pictures, or the kept features, that draws ask for."""

    def batches(self, draws: Sequence[list[Draw]]) -> Iterator[Decoded]:
        """One batch per list of draws, in their order."""


class LabelledBatches:
    """Labelled batches of a manifest: `epoch(k)` gives the k-th epoch's, `in_order()` each row once, not augmented."""

    def __init__(
        self,
        manifest: Manifest,
        source: DrawSource,
        *,
        heads: Sequence[str],
        batch_size: int,
        seed: int,
        ratios: Mapping[str, float] | None = None,
        weights: npt.NDArray[np.float64] | None = None,
        cuts: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """`ratios`: a card's draws per epoch over its rows, by default 1. `weights`: `(rows,)`, how many times as often as its
        card's other rows each is drawn; their mean over each card is 1. `cuts`: of the heads that learn from the numbers that their
        classes were cut from.
        """
        self._source = source
        self._batch_size = batch_size
        self._seed = seed
        self._paths = manifest.image_paths()
        targets = {head: torch.from_numpy(manifest.targets(head)) for head in heads}
        self._present = {head: values != MISSING for head, values in targets.items()}
        self._targets = {head: values.clamp(min=0) for head, values in targets.items()}
        self._numbers = {head: torch.from_numpy(manifest.numbers(head, at)) for head, at in (cuts or {}).items()}
        self._cards = manifest.frame["card"].to_numpy()
        self._expected = expected_draws(self._cards, ratios or {}) * (1.0 if weights is None else weights)
        self.steps_per_epoch = len(self._draws(0))

    def epoch(self, epoch: int, share: Share = WHOLE) -> Iterator[Batch]:
        """The epoch's batches, shuffled; their sizes differ by one at most, so that no last one is tiny.

        Of each batch this process's share. Where there is none, a sample without labels: every process takes part in every step.
        """
        draws = self._draws(epoch)
        batches = self._batches(Parts(len(draws), lambda place: list(share.of(draws[place]) or draws[place][:1])))
        for part, batch in zip(draws, batches, strict=True):
            yield batch if share.of(part) else replace(batch, present={head: torch.zeros_like(each) for head, each in batch.present.items()})

    def in_order(self, share: Share = WHOLE) -> Iterator[Batch]:
        """Every row once, in the manifest's order; this process's share of each batch."""
        parts = [share.of(range(*edges)) for edges in split_evenly(len(self._paths), self._batch_size)]
        parts = [part for part in parts if part]
        return self._batches(Parts(len(parts), lambda place: [Draw(row, (0,)) for row in parts[place]]))

    def _draws(self, epoch: int) -> Sequence[list[Draw]]:
        generator = np.random.default_rng([self._seed, _ORDER_STREAM, epoch])
        rows, repeats = draw_rows(self._expected, self._cards, generator)
        order = generator.permutation(len(rows))
        rows, repeats = rows[order], repeats[order]
        # Not self: the loader would keep what keeps it.
        parts, seed = split_evenly(len(rows), self._batch_size), self._seed

        def drawn(place: int) -> list[Draw]:
            part = slice(*parts[place])
            return [
                Draw(row, (seed, _AUGMENT_STREAM, epoch, row, repeat, 0), repeat, turn=row + epoch + repeat)
                for row, repeat in zip(rows[part].tolist(), repeats[part].tolist(), strict=True)
            ]

        return Parts(len(parts), drawn)

    def _batches(self, draws: Sequence[list[Draw]]) -> Iterator[Batch]:
        for decoded in self._source.batches(draws):
            refuse_failures(decoded, self._paths)
            yield Batch(
                rows=decoded.rows,
                images=decoded.images,
                targets={head: values[decoded.rows] for head, values in self._targets.items()},
                present={head: values[decoded.rows] for head, values in self._present.items()},
                numbers={head: values[decoded.rows] for head, values in self._numbers.items()},
            )


def refuse_failures(decoded: Decoded, paths: Sequence[Path]) -> None:
    """Raises:
    UserError: a row's picture could not be read.
    """
    if decoded.failures:
        position, _, message = decoded.failures[0]
        path = paths[int(decoded.rows[position])]
        raise UserError(f"{path}: {message}; it was readable before, or was not checked: `attrcls data` lists such files")


def _start_worker(_: int) -> None:
    # A worker decodes on one core; threads of its own would only fight the trunk for the others.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # What was there before this worker is left alone by the collector, whose marks would make a copy of every page of it.
    gc.freeze()
