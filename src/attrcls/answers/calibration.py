"""How far a model's confidence can be believed, and one number per head that mends it: the temperature.

Enters: probabilities `(rows, classes)` and labels. Leaves: temperatures, reliability bins, the expected calibration error, and how
accuracy rises as the less certain rows are left unanswered. After Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.model_selection import GroupKFold

from attrcls.combine import IntArray
from attrcls.types import MISSING

FloatArray = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]
# The bounds of a temperature: a few rows that are all right would ask for 0, labels that are noise for infinity.
COLDEST, HOTTEST = 0.1, 10.0
FOLDS = 5
BINS = 15
# Probabilities are float32: below this there is nothing but rounding.
_SMALLEST = float(np.finfo(np.float32).tiny)


def log_of(probabilities: Probabilities) -> FloatArray:
    """Logarithms in float64, finite also where a probability is 0."""
    return np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))


def tempered(probabilities: Probabilities, temperature: float) -> Probabilities:
    """p^(1/T), each row summing to 1 again: what softmax gives of logits over T. Neither type nor order of the classes changes.

    At a temperature of 1 the very array is given back, so that nothing is rounded.
    """
    if temperature == 1:
        return probabilities
    with np.errstate(divide="ignore"):
        scaled = np.log(probabilities.astype(np.float64)) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    result: Probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)
    return result


def fit_temperature(probabilities: Probabilities, targets: IntArray) -> float:
    """The temperature, within `COLDEST` and `HOTTEST`, under which the labels are likeliest; 1 where no row has a label.

    `targets` `(rows,)` are class indices, `MISSING` without a label. The log-likelihood is concave in 1/T, so that a bounded
    search in one dimension finds its peak.
    """
    labelled = targets != MISSING
    if not labelled.any():
        return 1.0
    logs, places = log_of(probabilities[labelled]), targets[labelled]
    best = logs.max(axis=1)
    given = logs[np.arange(len(logs)), places] - best
    logs = logs - best[:, None]

    def loss(inverse: float) -> float:
        return float(np.mean(np.log(np.exp(logs * inverse).sum(axis=1)) - given * inverse))

    found = minimize_scalar(loss, bounds=(1 / HOTTEST, 1 / COLDEST), method="bounded", options={"xatol": 1e-6})
    return float(1 / found.x)


def group_folds(groups: npt.ArrayLike, *, most: int = FOLDS) -> IntArray | None:
    """A fold `(rows,)` for each row, no group in two of them, up to `most`; None where there are fewer than two groups."""
    names = np.unique(np.asarray(groups).astype(str), return_inverse=True)[1]
    count = int(names.max()) + 1 if len(names) else 0
    if count < 2:
        return None
    folds = np.empty(len(names), dtype=np.int64)
    for fold, (_, held) in enumerate(GroupKFold(n_splits=min(most, count)).split(names, groups=names)):
        folds[held] = fold
    return folds


def cross_tempered(probabilities: Probabilities, targets: IntArray, folds: IntArray) -> Probabilities:
    """Each fold's rows under the temperature that the other folds ask for: what calibration does to rows that it was not fitted on."""
    result = probabilities.copy()
    for fold in np.unique(folds):
        held = folds == fold
        result[held] = tempered(probabilities[held], fit_temperature(probabilities[~held], targets[~held]))
    return result


@dataclass(frozen=True)
class Bin:
    """The rows whose confidence lies above `low` and up to `high`: how many, how confident and how often right on average."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Coverage:
    """The rows whose confidence is `threshold` or more: their `share` of all, and how many of them are right (0–1)."""

    share: float
    threshold: float
    accuracy: float

    @property
    def risk(self) -> float:
        """The share of the answered rows that are wrong."""
        return 1 - self.accuracy


@dataclass(frozen=True)
class Certainty:
    """What the confidences of `rows` labelled rows are worth. `error` is the expected calibration error (0–1)."""

    rows: int
    bins: tuple[Bin, ...]
    error: float
    curve: tuple[Coverage, ...]

    def at(self, share: float) -> Coverage:
        """The strictest threshold that leaves at least such a share of the rows answered."""
        return next(each for each in self.curve if each.share >= share - 1e-9)


def measure_certainty(confidence: Probabilities, right: npt.NDArray[np.bool_]) -> Certainty | None:
    """Bins, error and curve of confidences `(rows,)` in 0–1 and whether each row was right; None without rows.

    The error is Σ rows/all · |accuracy − confidence| over fifteen bins of equal width (Guo et al., equation 3). Rows of one confidence
    are answered together, or not at all.
    """
    if not len(confidence):
        return None
    sure, hits = confidence.astype(np.float64), right.astype(np.float64)
    places = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    rows, sums, correct = (np.bincount(places, weights=weights, minlength=BINS) for weights in (None, sure, hits))
    bins = tuple(
        Bin(place / BINS, (place + 1) / BINS, int(rows[place]), float(sums[place] / rows[place]), float(correct[place] / rows[place]))
        for place in np.flatnonzero(rows)
    )
    error = float(np.abs(correct - sums).sum() / len(sure))
    order = np.argsort(-sure, kind="stable")
    last = np.flatnonzero(np.append(np.diff(sure[order]) < 0, True))
    answered, rightly = last + 1, np.cumsum(hits[order])[last]
    curve = tuple(
        Coverage(float(count / len(sure)), float(threshold), float(good / count))
        for count, threshold, good in zip(answered, sure[order][last], rightly, strict=True)
    )
    return Certainty(len(sure), bins, error, curve)
