"""Pictures to probabilities: each distinct picture is read and run once, however many rows name it."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from attrcls.data.augment import Augmenter
from attrcls.data.draws import Parts
from attrcls.data.loader import DecodedLoader, Draw, PictureDataset, Pictures
from attrcls.data.recipes import Recipes
from attrcls.data.remote import Location, address_of
from attrcls.engine import Engine
from attrcls.errors import AttrclsError
from attrcls.prediction.forward import Forward, torch_forward
from attrcls.prediction.models import TrainedModel, heads_of
from attrcls.prediction.parts import PART_PICTURES, PART_SECONDS, FloatArray, KeptParts, Part, joined, of_readable
from attrcls.prediction.views import View, with_views
from attrcls.sections import ImageSpec

IntArray = npt.NDArray[np.int64]


class Runner(Protocol):
    """What runs the models that look at pictures of one size."""

    def run(self, wanted: IntArray) -> Iterator[Part]:
        """Yield what comes of `(pictures, 2)` positions and rows: each position in one part, in any order."""


@dataclass(frozen=True)
class Predictions:
    """Per row: `probabilities[head]` float32 `(rows, classes)`, zero where `status` is not `ok`; `error` says why."""

    probabilities: dict[str, FloatArray]
    status: list[str]
    error: list[str]


def predict_images(
    models: Sequence[TrainedModel],
    paths: Sequence[Location],
    boxes: npt.NDArray[np.float64] | None,
    *,
    fabric: Engine,
    batch_size: int,
    workers: int,
    advance: Callable[[int], None] = lambda images: None,
    kept: KeptParts | None = None,
    forwards: Sequence[Forward] | None = None,
    elsewhere: Callable[[ImageSpec], Runner] | None = None,
    views: Sequence[View] = (),
) -> Predictions:
    """Run every model over the pictures and average the models that share a head, each by the weight of its vote.

    `forwards` are what runs each of the models, by default torch on the engine's device; `elsewhere` gives what runs those of a
    picture size in other processes, in place of this one. With `views` each model sees every picture in all of these ways.
    `advance` is told how many pictures were just done. A row whose box is not four numbers counts as unreadable. With `kept`
    pictures are put by in parts, and those that are found there are not run again.
    """
    rows, source = _distinct(paths, boxes)
    status, error = _known_faults((paths[row] for row in rows), boxes[rows] if boxes is not None else None)
    sums = {head: np.zeros((len(rows), len(classes)), dtype=np.float32) for head, classes in heads_of(models).items()}

    def take(part: Part) -> None:
        for head, values in part.outputs.items():
            sums[head][part.positions] += values
        for position, what, why in part.failures:
            status[position], error[position] = what, why
        advance(len(part.positions))

    forwards = [torch_forward(model, fabric) for model in models] if forwards is None else forwards
    for size, image in enumerate(dict.fromkeys(model.description.image for model in models)):
        same = [forward for model, forward in zip(models, forwards, strict=True) if model.description.image == image]
        done: set[int] = set()
        for part in map(of_readable, kept.of_size(size)) if kept else ():
            # Two commands that ran at once, and cut their parts elsewhere, kept some pictures twice; outputs are added up.
            if done.isdisjoint(part.positions.tolist()):
                take(part)
                done.update(part.positions.tolist())
        # Pictures that failed once are not tried again under another size.
        readable = np.array([position for position in range(len(rows)) if status[position] == "ok" and position not in done], dtype=np.int64)
        runner: Runner = (
            elsewhere(image)
            if elsewhere
            else LocalRunner(same, paths, boxes, image=image, fabric=fabric, batch_size=batch_size, workers=workers, views=views)
        )
        waiting, written = [], time.monotonic()
        # An array, of which forked workers copy nothing by looking at it, as they would of a list of pairs.
        for part in runner.run(np.stack([readable, rows[readable]], axis=1)):
            take(part)
            waiting.append(part)
            enough = sum(len(each.positions) for each in waiting) >= PART_PICTURES and time.monotonic() - written >= PART_SECONDS
            if enough and kept:
                try:
                    kept.save(size, joined(waiting))
                except AttrclsError:  # A cache that cannot be written only costs the --resume.
                    kept = None
            if enough:
                waiting, written = [], time.monotonic()
    votes = {head: sum(model.weight for model in models if head in model.description.heads) for head in sums}
    failed = np.array([what != "ok" for what in status])
    for head, values in sums.items():
        values /= votes[head]
        values[failed] = 0
    probabilities = {head: values[source] for head, values in sums.items()}
    return Predictions(probabilities, [status[i] for i in source], [error[i] for i in source])


def _distinct(paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None) -> tuple[IntArray, IntArray]:
    """The first row of each distinct picture, ascending, and for every row the position of its picture among those."""
    # By digests: a dictionary of a hundred thousand paths takes tens of megabytes, which a process then keeps.
    digests = np.empty(len(paths), dtype="V16")
    for row, path in enumerate(paths):
        known = os.fsencode(address_of(path)) + (b"" if boxes is None else b"\0" + boxes[row].tobytes())
        digests[row] = np.void(hashlib.blake2b(known, digest_size=16).digest())
    _, first, of_row = np.unique(digests, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return first[order].astype(np.int64), place[of_row]


def _known_faults(paths: Iterable[Location], boxes: npt.NDArray[np.float64] | None) -> tuple[list[str], list[str]]:
    """Status and error of what need not be opened to be refused: rows without a path, or without the box to crop."""
    status, error = [], []
    for position, path in enumerate(paths):
        if path == Path():
            what, why = "missing", "the cell names no picture"
        elif boxes is not None and not np.isfinite(boxes[position]).all():
            what, why = "unreadable", "the row's box is not four numbers"
        else:
            what, why = "ok", ""
        status.append(what)
        error.append(why)
    return status, error


class LocalRunner:
    """What runs the models that look at pictures of one size, and the loader that feeds them."""

    def __init__(
        self, forwards: Sequence[Forward], paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None, *, image: ImageSpec,
        fabric: Engine, batch_size: int, workers: int, views: Sequence[View] = (),
    ) -> None:  # fmt: skip
        self.forwards = [with_views(forward, views, px=image.px) for forward in forwards] if views else forwards
        self.fabric, self.batch_size = fabric, batch_size
        pictures = Pictures(paths, boxes if image.crop_boxes else None, image.resize_px, image.fit)
        # Views are cut out of what is around the crop as well.
        dataset = PictureDataset(pictures, Recipes(Augmenter("none", px=image.resize_px if views else image.px)))
        self.loader = DecodedLoader(dataset, workers=workers, pin_memory=fabric.device.type == "cuda")

    def run(self, wanted: IntArray) -> Iterator[Part]:
        """Yield what comes of `(pictures, 2)` positions and rows, batch by batch."""
        # Not self, in what the loader is given: it would keep what keeps it.
        size, starts = self.batch_size, range(0, len(wanted), self.batch_size)
        parts = Parts(len(starts), lambda place: wanted[starts[place] : starts[place] + size])
        draws = Parts(len(parts), lambda place: [Draw(row, (0,)) for row in parts[place][:, 1].tolist()])
        for part, decoded in zip(parts, self.loader.batches(draws), strict=True):
            positions = part[:, 0]
            outputs = self._forward(decoded.images)
            failures = [(int(positions[index]), what, why) for index, what, why in decoded.failures]
            yield Part(positions, outputs, failures)

    def _forward(self, images: torch.Tensor) -> dict[str, FloatArray]:
        count = len(images)
        # Kernels round differently for different batch sizes; a short batch is filled up, so that a picture gets the
        # same numbers wherever it stands.
        if count < self.batch_size:
            images = torch.cat([images, images[-1:].expand(self.batch_size - count, -1, -1, -1)])
        images = images.to(self.fabric.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        outputs: dict[str, FloatArray] = {}
        for forward in self.forwards:
            for head, probabilities in forward(images).items():
                outputs[head] = outputs[head] + probabilities[:count] if head in outputs else probabilities[:count]
        return outputs
