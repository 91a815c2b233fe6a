"""Batches that teach without labels: rows that lack some head's label, each in a weak and a strong view."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from attrcls.data.draws import Parts
from attrcls.data.loader import Draw, DrawSource, refuse_failures
from attrcls.data.manifest import Manifest
from attrcls.types import MISSING, WHOLE, Batch, Share

# Streams of randomness that share the task's seed; loaders of pictures and of features have those before.
_ORDER_STREAM, _AUGMENT_STREAM = 4, 5


class UnlabelledBatches:
    """Draws a manifest's rows pass after pass, each pass in an order of its own, so that all are seen equally often, however few.

    Which rows a batch holds, and how both views are augmented, depends on (seed, epoch, place in the epoch) alone.
    """

    def __init__(self, manifest: Manifest, source: DrawSource, *, heads: Sequence[str], batch_size: int, seed: int) -> None:
        """`source` shows a row's weak view for a draw of repeat 0, its strong one for repeat 1."""
        self._source, self._batch_size, self._seed = source, batch_size, seed
        self._paths = manifest.image_paths()
        self._present = {head: torch.from_numpy(manifest.targets(head) != MISSING) for head in heads}

    def epoch(self, epoch: int, share: Share = WHOLE, *, steps: int) -> Iterator[Batch]:
        """`steps` batches of one size; of each this process's share. `present` says which labels a row has, and so what it does not teach.

        Where a share is empty, one sample that teaches nothing: every process takes part in every step.
        """
        first, seed = epoch * steps * self._batch_size, self._seed
        parts = [range(first + step * self._batch_size, first + (step + 1) * self._batch_size) for step in range(steps)]
        orders = _Orders(len(self._paths), seed)
        # Not self: the source would keep what keeps it.
        draws = Parts(steps, lambda step: _two_views([orders.at(place) for place in share.of(parts[step]) or parts[step][:1]], seed))
        for part, decoded in zip(parts, self._source.batches(draws), strict=True):
            refuse_failures(decoded, self._paths)
            half = len(decoded.rows) // 2
            rows = decoded.rows[:half]
            batch = Batch(
                rows=rows,
                images=decoded.images[:half],
                targets={},
                present={head: values[rows] for head, values in self._present.items()},
                strong=decoded.images[half:],
            )
            yield batch if share.of(part) else replace(batch, present={head: torch.ones_like(each) for head, each in batch.present.items()})


class _Orders:
    """The order of each pass over the rows; that of the last one asked for is kept, because places are asked for in order."""

    def __init__(self, rows: int, seed: int) -> None:
        self._rows, self._seed, self._turn = rows, seed, -1
        self._order = np.empty(0, dtype=np.int64)

    def at(self, place: int) -> tuple[int, int]:
        turn, position = divmod(place, self._rows)
        if turn != self._turn:
            self._turn, self._order = turn, np.random.default_rng([self._seed, _ORDER_STREAM, turn]).permutation(self._rows)
        return int(self._order[position]), turn


def _two_views(uses: Sequence[tuple[int, int]], seed: int) -> list[Draw]:
    """All weak views, then all strong ones, of `uses`: a row and its pass each."""
    return [Draw(row, (seed, _AUGMENT_STREAM, turn, row, 0, strong), repeat=strong, turn=row + turn) for strong in (0, 1) for row, turn in uses]
