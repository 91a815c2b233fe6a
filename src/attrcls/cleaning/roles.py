"""Which labels a cleaning run changes on purpose, to learn from what becomes of them.

Enters: the labels of one head, and what is judged as one unit. Leaves: for each run, disjoint seeded sets of
*threshold samples*, which get an extra class that nothing in the picture speaks for (Pleiss et al. 2020, section 3.2),
and of *planted* wrong labels, which get another class of the head.

Two departures from the paper, both measured on label noise that was planted in clothing and face data (frozen ResNet-18
features, ten epochs of a linear layer):
- The paper gives N / (c + 1) samples the extra class. With few classes that is a third of the data, and what is lost is
  learning: with 3 % wrong labels in 2 classes the average precision of AUM is 0.26 with a third and 0.33 with 5 %. The
  share is therefore capped at 5 %.
- Threshold samples tell how low a label lies that nothing speaks for. A wrong label lies lower, because the picture
  speaks for another one. How low is told by labels that are known to be wrong: the planted ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.types import MISSING

THRESHOLD_SHARE = 0.05
PLANTED_SHARE = 0.05
# With fewer units than this a set of even one would be a large part of the data: nothing is changed, nothing is judged.
FEWEST_UNITS = 20

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Units:
    """What is judged as one: a label, or all equal labels of a group where the attribute is constant in a group.

    `of_row` int64 `(rows,)`: the row's unit, `MISSING` where it has no label. `labels` int64 `(units,)`: class indices.
    """

    of_row: Ints
    labels: Ints

    def mean(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Each unit's mean of row values `(rows,)` or `(rows, columns)`."""
        labelled = self.of_row != MISSING
        sums = np.zeros((len(self.labels), *values.shape[1:]))
        np.add.at(sums, self.of_row[labelled], values[labelled])
        sizes = np.bincount(self.of_row[labelled], minlength=len(self.labels)).reshape(-1, *[1] * (values.ndim - 1))
        return np.asarray(sums / np.maximum(sizes, 1))

    def to_rows(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Each row's unit's value, NaN where the row has no label."""
        return np.where(self.of_row == MISSING, np.nan, values[self.of_row])


@dataclass(frozen=True)
class Roles:
    """One run's changed labels, per unit: `threshold` bool `(units,)`, and `planted` int64 `(units,)`, the wrong class
    that a unit was given, or `MISSING`."""

    threshold: Flags
    planted: Ints

    @property
    def as_given(self) -> Flags:
        """The units that kept their label, bool `(units,)`."""
        return np.asarray(~self.threshold & (self.planted == MISSING))

    def targets(self, units: Units, *, classes: int) -> Ints:
        """What the run trains on, `(rows,)`: class `classes` for threshold samples, `MISSING` where there is no label."""
        labels = np.where(self.threshold, classes, np.where(self.planted != MISSING, self.planted, units.labels))
        return np.where(units.of_row == MISSING, MISSING, labels[units.of_row])


def units_of(targets: Ints, groups: npt.NDArray[np.object_] | None = None) -> Units:
    """The units of a head's `targets` `(rows,)`, `MISSING` where there is no label.

    `groups` `(rows,)` are given for an attribute that is constant in a group; a blank group stands alone. Labels that
    differ within a group are units of their own, so that the odd one out does not speak for the others.
    """
    labelled = np.flatnonzero(targets != MISSING)
    of_row = np.full(len(targets), MISSING, dtype=np.int64)
    if groups is None:
        of_row[labelled] = np.arange(len(labelled))
        return Units(of_row, targets[labelled])
    names = [(str(groups[row]) or f"row {row}", int(targets[row])) for row in labelled]
    codes, uniques = pd.factorize(pd.Series(names, dtype=object))
    of_row[labelled] = codes
    return Units(of_row, np.array([label for _, label in uniques], dtype=np.int64))


def draw_roles(units: Units, *, classes: int, runs: int, seed: int) -> list[Roles]:
    """Each run's roles: slices of one seeded permutation of the units, so that no unit has a role in two runs."""
    count = len(units.labels)
    generator = np.random.default_rng(seed)
    order = generator.permutation(count)
    enough = count >= FEWEST_UNITS and classes > 1
    for_threshold = max(1, int(min(THRESHOLD_SHARE, 1 / (classes + 1)) * count)) if enough else 0
    for_planting = max(1, int(PLANTED_SHARE * count)) if enough else 0
    # Any other class, equally likely.
    wrong = (units.labels + generator.integers(1, max(2, classes), count)) % classes
    drawn, start = [], 0
    for _ in range(runs):
        threshold, planted = np.zeros(count, dtype=bool), np.full(count, MISSING, dtype=np.int64)
        threshold[order[start : start + for_threshold]] = True
        chosen = order[start + for_threshold : start + for_threshold + for_planting]
        planted[chosen] = wrong[chosen]
        drawn.append(Roles(threshold, planted))
        start += for_threshold + for_planting
    return drawn
