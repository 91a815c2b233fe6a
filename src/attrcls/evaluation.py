"""Scores of a labelled set with 95 % intervals, bootstrapped over groups: people, not their pictures, are the sample."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import csr_array

from attrcls.combine import Combiner
from attrcls.training.metrics import score_all
from attrcls.types import MISSING

IntArray = npt.NDArray[np.int64]
ROUNDS = 1000


@dataclass(frozen=True)
class Interval:
    """A score (0–1) and its 95 % percentile interval; all NaN where no row has a label."""

    value: float
    low: float
    high: float


def score_with_intervals(
    predicted: Mapping[str, IntArray],
    targets: Mapping[str, IntArray],
    groups: npt.ArrayLike,
    *,
    combiner: Combiner | None,
    ordinal: Collection[str] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, Interval]:
    """`head/metric`, `mean/metric` and `code/metric` as in `score_all`, each with an interval.

    `predicted` and `targets` hold class indices `(rows,)` per head, `MISSING` where there is no label; `groups`
    `(rows,)` are drawn with replacement, whole (Efron & Tibshirani 1993, chapter 13; the cluster bootstrap).
    """
    scores = score_all(predicted, targets, combiner=combiner, ordinal=ordinal)
    columns = {head: (predicted[head], targets[head]) for head in predicted}
    if combiner and all(attribute in predicted for attribute in combiner.order):
        columns[combiner.name] = (combiner.encode(predicted), combiner.encode(targets))
    codes = pd.factorize(np.asarray(groups))[0]
    generator = np.random.default_rng(seed)
    count = int(codes.max()) + 1 if len(codes) else 0
    # Counted once: a round then costs as much as there are groups, however many rows they have.
    counted = {name: _Counted.by_group(*column, codes, groups=count) for name, column in columns.items()}
    draws: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(rounds if count else 0):
        weights = np.bincount(generator.integers(count, size=count), minlength=count)
        drawn = {name: each.scores(weights) for name, each in counted.items()}
        for name, values in draws.items():
            head, _, metric = name.rpartition("/")
            of_heads = [drawn[each][metric] for each in predicted] if head == "mean" else [drawn[head][metric]]
            known = [value for value in of_heads if value == value]
            values.append(float(np.mean(known)) if known else float("nan"))
    return {name: Interval(value, *_percentiles(draws[name])) for name, value in scores.items()}


@dataclass(frozen=True)
class _Counted:
    """How many labelled rows of each group `(groups, pairs)` are which pair of a given class and an answer, of the pairs that occur.

    `given` and `said` `(pairs,)` number the classes that occur, so that a code of many classes takes no more than its rows do; `apart`
    `(pairs,)` is by how many classes an answer is wrong.
    """

    counts: csr_array
    given: IntArray
    said: IntArray
    apart: IntArray
    classes: int

    @classmethod
    def by_group(cls, predicted: IntArray, targets: IntArray, codes: IntArray, *, groups: int) -> "_Counted":
        labelled = targets != MISSING
        rows = np.stack([targets[labelled], predicted[labelled]], axis=1)
        pairs, places = np.unique(rows, axis=0, return_inverse=True)
        counts = csr_array((np.ones(len(rows)), (codes[labelled], places.reshape(-1))), shape=(groups, len(pairs)))
        occurring, compact = np.unique(pairs, return_inverse=True)
        given, said = compact.reshape(pairs.shape).T
        return cls(counts, given, said, np.abs(pairs[:, 0] - pairs[:, 1]), len(occurring))

    def scores(self, weights: npt.NDArray[np.int64]) -> dict[str, float]:
        """The scores of a draw in which each group counts `weights` `(groups,)` times; NaN where none of its rows has a label."""
        cells = weights @ self.counts
        total = cells.sum()
        if not total:
            return dict.fromkeys(("top1", "precision", "recall", "f1", "mae"), float("nan"))
        hit = self.given == self.said
        right = np.bincount(self.given[hit], cells[hit], minlength=self.classes)
        given = np.bincount(self.given, cells, minlength=self.classes)
        said = np.bincount(self.said, cells, minlength=self.classes)
        occurs = given + said > 0
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios = {"precision": right / said, "recall": right / given, "f1": 2 * right / (given + said)}
        macro = {name: float(np.nan_to_num(values[occurs]).mean()) for name, values in ratios.items()}
        return {"top1": float(right.sum() / total), **macro, "mae": float(cells @ self.apart / total)}


def _percentiles(values: list[float]) -> tuple[float, float]:
    known = [value for value in values if value == value]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
