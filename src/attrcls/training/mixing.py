"""Mixup and CutMix of batches whose labels may be missing: pictures are mixed, labels are not, for both sides' are kept.

What is mixed with what depends on (seed, epoch, place of the batch, process) alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from attrcls.sections import MixSpec
from attrcls.types import Batch, Mixed

# A stream of randomness beside those that share the task's seed.
_MIX_STREAM = 5


def mixed_batches(batches: Iterable[Batch], spec: MixSpec | None, *, seed: int, epoch: int, process: int) -> Iterator[Batch]:
    """An epoch's batches in their order, each mixed as the task says."""
    for index, batch in enumerate(batches):
        yield batch if spec is None else mix(batch, spec, key=(seed, _MIX_STREAM, epoch, index, process))


def mix(batch: Batch, spec: MixSpec, *, key: Sequence[int]) -> Batch:
    """The batch with each picture mixed with another one of it, and that one's labels as well.

    Mixup (Zhang et al. 2018) adds pictures, or features; CutMix (Yun et al. 2019) pastes a rectangle, and needs pictures. Where a task
    has both, each batch takes one of them. A batch that is not mixed says so as well, with shares of one and zero: processes then count alike.
    """
    generator = np.random.default_rng(list(key))
    partners = torch.arange(len(batch.rows))
    own = 1.0
    images = batch.images
    if generator.random() < spec.prob:
        cut = spec.cutmix > 0 and (spec.mixup == 0 or generator.random() < 0.5)
        alpha = spec.cutmix if cut else spec.mixup
        own = float(generator.beta(alpha, alpha))
        partners = torch.from_numpy(generator.permutation(len(batch.rows)))
        others = images[partners.to(images.device)]
        images, own = _paste(images, others, own, generator) if cut else (_added(images, others, own), own)
    partners = partners.to(batch.rows.device)
    return replace(
        batch,
        images=images,
        mixed=Mixed(
            own_share=own,
            targets={head: values[partners] for head, values in batch.targets.items()},
            present={head: values[partners] for head, values in batch.present.items()},
            numbers={head: values[partners] for head, values in batch.numbers.items()},
        ),
    )


def _added(images: Tensor, others: Tensor, own: float) -> Tensor:
    added = torch.lerp(others.float(), images.float(), own)
    return added.round().to(images.dtype) if images.dtype == torch.uint8 else added


def _paste(images: Tensor, others: Tensor, own: float, generator: np.random.Generator) -> tuple[Tensor, float]:
    """A rectangle of 1 − `own` of the area around a random point, as much of it as lies inside; and the share that is left."""
    height, width = images.shape[2:]
    half_height, half_width = (round(side * (1 - own) ** 0.5 / 2) for side in (height, width))
    y, x = int(generator.integers(height)), int(generator.integers(width))
    rows = slice(max(0, y - half_height), min(height, y + half_height))
    columns = slice(max(0, x - half_width), min(width, x + half_width))
    # A clone keeps the channels last in memory where they are.
    pasted = images.clone()
    pasted[:, :, rows, columns] = others[:, :, rows, columns]
    return pasted, 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
