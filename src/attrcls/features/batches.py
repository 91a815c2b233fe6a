"""Batches of features for `fit`: the loop is the same whether a Batch carries pictures or features."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attrcls.data.loader import Decoded, Draw
from attrcls.types import MISSING, WHOLE, Batch, Share

# Streams of randomness that share a seed; the loader of pictures has the first two.
_ORDER_STREAM, _VIEW_STREAM = 2, 3


class KeptFeatures:
    """Gives kept features `(views, rows, width)` where pictures would be decoded and run through the trunk again.

    A row shows one view after another, epoch by epoch and repeat by repeat; outside of epochs its first, which is not
    augmented.
    """

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def batches(self, draws: Sequence[list[Draw]]) -> Iterator[Decoded]:
        """One batch of float32 features `(batch, width)` per list of draws, in their order."""
        for part in draws:
            rows = torch.tensor([draw.row for draw in part])
            views = torch.tensor([draw.turn % len(self._features) for draw in part])
            yield Decoded(rows, self._features[views, rows].float(), [])


class TwoViewFeatures:
    """The same of features whose first view is the weak one and the others strong: a draw of repeat 0 shows the weak one, one of repeat 1 the
    strong ones in turn."""

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def batches(self, draws: Sequence[list[Draw]]) -> Iterator[Decoded]:
        """One batch of float32 features `(batch, width)` per list of draws, in their order."""
        for part in draws:
            rows = torch.tensor([draw.row for draw in part])
            views = torch.tensor([1 + draw.turn % (len(self._features) - 1) if draw.repeat else 0 for draw in part])
            yield Decoded(rows, self._features[views, rows].float(), [])


class FeatureBatches:
    """Labelled batches of features `(views, rows, width)`: an epoch shows every row once, in a random one of its views.

    Order and views are a pure function of (seed, epoch). `targets[head]` are int64 `(rows,)`, `MISSING` without a label.
    """

    def __init__(self, features: Tensor, targets: Mapping[str, npt.NDArray[np.int64]], *, batch_size: int, seed: int) -> None:
        self._features = features
        self._batch_size = batch_size
        self._seed = seed
        labels = {head: torch.from_numpy(values) for head, values in targets.items()}
        self._present = {head: values != MISSING for head, values in labels.items()}
        self._targets = {head: values.clamp(min=0) for head, values in labels.items()}
        self.steps_per_epoch = -(-features.shape[1] // batch_size)

    def epoch(self, epoch: int, share: Share = WHOLE) -> Iterator[Batch]:
        """The epoch's batches, shuffled; the last one may be smaller. Of each this process's share, which may be empty."""
        rows = self._features.shape[1]
        order = torch.from_numpy(np.random.default_rng([self._seed, _ORDER_STREAM, epoch]).permutation(rows))
        views = torch.from_numpy(np.random.default_rng([self._seed, _VIEW_STREAM, epoch]).integers(0, len(self._features), rows))
        for part in torch.split(order, self._batch_size):
            own = part[share.rank :: share.processes]
            yield self._batch(own, views[own])

    def _batch(self, rows: Tensor, views: Tensor) -> Batch:
        return Batch(
            rows=rows,
            images=self._features[views, rows],
            targets={head: values[rows] for head, values in self._targets.items()},
            present={head: values[rows] for head, values in self._present.items()},
        )


def standardise(features: Tensor) -> Tensor:
    """Each column of `(views, rows, width)` to mean 0 and standard deviation 1, then all to the length that 512 such
    columns have, so that one learning rate suits every trunk and any number of scales."""
    flat = features.flatten(0, 1)
    scale = (512 / features.shape[2]) ** 0.5
    standard: Tensor = (features - flat.mean(0)) / (flat.std(0) + 1e-6) * scale
    return standard
