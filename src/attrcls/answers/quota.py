"""Classes shared out so that each gets exactly its count: where the shares of a set are known beforehand.

Enters: log-probabilities `(rows, classes)` and how many rows each class gets. Leaves: class indices whose log-probabilities have the
largest sum of all assignments that meet the counts.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from attrcls.answers.calibration import FloatArray
from attrcls.combine import IntArray

# How softly classes' prices are found, from coarse to fine, in units of log p, and how often each is tried.
_SOFTNESS = (1.0, 0.3, 0.1, 0.03)
_TRIES = 30
# What rounding makes of sums of log-probabilities; a path must be shorter by more to count as shorter.
_ROUNDING = 1e-9


def whole_counts(shares: Sequence[float] | FloatArray, rows: int) -> IntArray:
    """Shares that sum to 1 as counts that sum to `rows`, by largest remainder; of equal remainders the first class's counts more."""
    exact = np.asarray(shares, dtype=np.float64) * rows
    counts = np.floor(exact + _ROUNDING).astype(np.int64)
    order = np.argsort(-np.round(exact - counts, 9), kind="stable")
    counts[order[: rows - int(counts.sum())]] += 1
    return counts


def share_out(scores: FloatArray, counts: IntArray) -> IntArray:
    """The class `(rows,)` of each row, such that class k is given `counts[k]` times and the sum of scores is the largest possible.

    `scores` `(rows, classes)` are finite; `counts` sum to the rows. A transportation problem: whatever prices the classes have, giving each
    row its best class after the price is best for the counts that come of it. Prices are found that come near the counts, and what is
    left over moves along the cheapest paths from class to class, each of which keeps the assignment the best for its counts
    (successive shortest paths: Ahuja, Magnanti and Orlin, "Network Flows", 1993, section 9.7).
    """
    assert int(counts.sum()) == len(scores)
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    given = np.asarray((scores - _prices(scores, counts)).argmax(axis=1), dtype=np.int64)
    costs, movers = np.full((len(counts), len(counts)), np.inf), np.zeros((len(counts), len(counts)), dtype=np.int64)
    surplus = np.bincount(given, minlength=len(counts)) - counts
    _refresh(range(len(counts)), scores, given, costs, movers)
    while surplus.any():
        path = _cheapest_path(costs, surplus)
        rows = [movers[start, end] for start, end in pairwise(path)]
        given[rows] = path[1:]
        surplus[path[0]] -= 1
        surplus[path[-1]] += 1
        _refresh(path, scores, given, costs, movers)
    return given


def _prices(scores: FloatArray, counts: IntArray) -> FloatArray:
    """A price per class at which about its count of rows wants it; infinite where nobody may have it.

    Sinkhorn's iterations for entropic transport (Cuturi 2013), softened less and less.
    """
    prices = np.where(counts > 0, 0.0, np.inf)
    some = counts > 0
    for softness in _SOFTNESS:
        for _ in range(_TRIES):
            wishes = (scores[:, some] - prices[some]) / softness
            wishes = np.exp(wishes - wishes.max(axis=1, keepdims=True))
            asked = (wishes / wishes.sum(axis=1, keepdims=True)).sum(axis=0)
            prices[some] += softness * np.log(np.maximum(asked, 1e-12) / counts[some])
    return prices


def _refresh(classes: Sequence[int] | range, scores: FloatArray, given: IntArray, costs: FloatArray, movers: IntArray) -> None:
    """For each of `classes`, what it costs to move its cheapest row to each other class, and which row that is."""
    for start in set(classes):
        rows = np.flatnonzero(given == start)
        if not len(rows):
            costs[start] = np.inf
            continue
        losses = scores[rows, start][:, None] - scores[rows]
        cheapest = losses.argmin(axis=0)
        costs[start], movers[start] = losses[cheapest, np.arange(len(costs))], rows[cheapest]
        costs[start, start] = np.inf


def _cheapest_path(costs: FloatArray, surplus: IntArray) -> list[int]:
    """The classes from one with a surplus to one that lacks rows, by the moves that cost least (Bellman and Ford)."""
    distance = np.where(surplus > 0, 0.0, np.inf)
    before = np.full(len(surplus), -1, dtype=np.int64)
    for _ in range(len(surplus)):
        through = distance[:, None] + costs
        best = through.argmin(axis=0)
        shorter = through[best, np.arange(len(surplus))] < distance - _ROUNDING
        if not shorter.any():
            break
        before[shorter], distance[shorter] = best[shorter], through[best, np.arange(len(surplus))][shorter]
    lacking = np.flatnonzero(surplus < 0)
    path = [int(lacking[distance[lacking].argmin()])]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
        assert len(path) <= len(surplus)
    return path[::-1]
