"""Class indices as given and as predicted go in; scores per class, macro-F1, and the confusions come out.

All classes are known beforehand, so a class that never occurs has a row too. A score that has no meaning (the recall
of a class without a row) is None, not 0: the page shows a dash.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from attrcls.combine import IntArray
from attrcls.types import MISSING


@dataclass(frozen=True)
class ClassScore:
    """One class: rows given it (`support`), rows predicted to be it, and its scores in 0–1."""

    name: str
    support: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class Scores:
    """The scores of one head or code over the rows that have a label. `majority_share` is what guessing the commonest class gets."""

    rows: int
    top1: float | None
    macro_f1: float | None
    majority_share: float | None
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True)
class Mixup:
    """One way of being wrong: `count` rows of class `given` were predicted to be `predicted`; `share` is of the rows given `given`."""

    given: str
    predicted: str
    count: int
    share: float


def index_classes(names: Sequence[str], classes: Sequence[str]) -> IntArray:
    """Give each name its place in `classes`, and MISSING to an empty one."""
    index = {name: place for place, name in enumerate(classes)}
    return np.array([index.get(name, MISSING) for name in names], dtype=np.int64)


def score_classes(given: IntArray, predicted: IntArray, *, names: Sequence[str]) -> Scores:
    """Score `predicted` against `given`, both (rows,), over all of `names`.

    Rows where either is MISSING are left out. Macro-F1 is the mean over the classes that occur in `given` or
    `predicted`, as in `sklearn.metrics.f1_score(average="macro")`.
    """
    given, predicted = _labelled(given, predicted)
    if not given.size:
        empty = tuple(ClassScore(name, 0, 0, None, None, None) for name in names)
        return Scores(rows=0, top1=None, macro_f1=None, majority_share=None, classes=empty)
    labels = np.arange(len(names))
    columns = precision_recall_fscore_support(given, predicted, labels=labels, zero_division=np.nan)
    predictions = np.bincount(predicted, minlength=len(names))
    classes = tuple(
        ClassScore(name, int(support), int(count), _defined(precision), _defined(recall), _defined(f1))
        for name, count, precision, recall, f1, support in zip(names, predictions, *columns, strict=True)
    )
    return Scores(
        rows=int(given.size),
        top1=float(np.mean(given == predicted)),
        macro_f1=float(f1_score(given, predicted, average="macro", zero_division=0.0)),
        majority_share=max(score.support for score in classes) / given.size,
        classes=classes,
    )


def count_confusions(given: IntArray, predicted: IntArray, *, names: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Count the rows of each (given, predicted) pair of classes: a square table, one row per given class."""
    given, predicted = _labelled(given, predicted)
    # Not scikit-learn's confusion_matrix: it warns of a single class and fails without rows.
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (given, predicted), 1)
    return tuple(tuple(int(count) for count in row) for row in counts)


def list_mixups(confusions: Sequence[Sequence[int]], *, names: Sequence[str], most: int = 5) -> tuple[Mixup, ...]:
    """Name the `most` frequent wrong pairs, the most frequent first; equal counts by the larger share, then in class order."""
    mixups = [
        Mixup(given=names[row], predicted=names[column], count=count, share=count / sum(counts))
        for row, counts in enumerate(confusions)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return tuple(sorted(mixups, key=lambda mixup: (-mixup.count, -mixup.share))[:most])


def _labelled(given: IntArray, predicted: IntArray) -> tuple[IntArray, IntArray]:
    both = (given != MISSING) & (predicted != MISSING)
    return given[both], predicted[both]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
