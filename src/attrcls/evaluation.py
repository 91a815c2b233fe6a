"""Scores of a labelled set with 95 % intervals, bootstrapped over groups: people, not their pictures, are the sample."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

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
    classes: Mapping[str, int],
    combiner: Combiner | None,
    ordinal: Collection[str] = (),
    rounds: int = ROUNDS,
    seed: int = 0,
) -> dict[str, Interval]:
    """`head/metric`, `mean/metric` and `code/metric` as in `score_all`, each with an interval.

    `predicted` and `targets` hold class indices `(rows,)` per head, `MISSING` where there is no label; `groups`
    `(rows,)` are drawn with replacement, whole (Efron & Tibshirani 1993, chapter 13; the cluster bootstrap).
    """
    scores = score_all(predicted, targets, classes=classes, combiner=combiner, ordinal=ordinal)
    columns = {head: (predicted[head], targets[head], classes[head]) for head in predicted}
    if combiner and all(attribute in predicted for attribute in combiner.order):
        columns[combiner.name] = (combiner.encode(predicted), combiner.encode(targets), combiner.size)
    codes = pd.factorize(np.asarray(groups))[0]
    generator = np.random.default_rng(seed)
    count = int(codes.max()) + 1 if len(codes) else 0
    # Counted once: a round then costs as much as there are groups, however many rows they have.
    counted = {name: _count_by_group(*column, codes, groups=count) for name, column in columns.items()}
    draws: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(rounds if count else 0):
        weights = np.bincount(generator.integers(count, size=count), minlength=count)
        drawn = {name: _scores_of(weights @ counts) for name, counts in counted.items()}
        for name, values in draws.items():
            head, _, metric = name.rpartition("/")
            of_heads = [drawn[each][metric] for each in predicted] if head == "mean" else [drawn[head][metric]]
            known = [value for value in of_heads if value == value]
            values.append(float(np.mean(known)) if known else float("nan"))
    return {name: Interval(value, *_percentiles(draws[name])) for name, value in scores.items()}


def _count_by_group(predicted: IntArray, targets: IntArray, classes: int, codes: IntArray, *, groups: int) -> csr_array:
    """Each group's confusion matrix as a row, `(groups, classes * classes)`: rows that have a label, by target, then prediction."""
    labelled = targets != MISSING
    cells = targets[labelled] * classes + predicted[labelled]
    return csr_array((np.ones(len(cells)), (codes[labelled], cells)), shape=(groups, classes * classes))


def _scores_of(cells: npt.NDArray[np.float64]) -> dict[str, float]:
    if not cells.any():
        return dict.fromkeys(("top1", "precision", "recall", "f1", "mae"), float("nan"))
    classes = math.isqrt(len(cells))
    matrix = cells.reshape(classes, classes)
    right, given, said = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    occurs = given + said > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = {"precision": right / said, "recall": right / given, "f1": 2 * right / (given + said)}
    macro = {name: float(np.nan_to_num(values[occurs]).mean()) for name, values in ratios.items()}
    return {"top1": float(right.sum() / matrix.sum()), **macro, "mae": float(cells @ _distances(classes) / matrix.sum())}


@cache
def _distances(classes: int) -> npt.NDArray[np.int64]:
    """By how many classes each cell of a confusion matrix is wrong, `(classes * classes,)`: asked for in every round."""
    return np.abs(np.subtract.outer(np.arange(classes), np.arange(classes))).ravel()


def _percentiles(values: list[float]) -> tuple[float, float]:
    known = [value for value in values if value == value]
    if not known:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
