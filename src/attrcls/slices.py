"""For whom a model fails: each head's top-1 by every other attribute, by their pairs and by group, the worst first.

Enters: predictions and labels per row. Leaves: `Slice`s with 95 % intervals. Rows of one group resemble each other, so that
a slice counts for no more rows than its groups are worth: the interval is Clopper and Pearson's on the effective sample size
(Korn and Graubard, "Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey
Data", Survey Methodology 24, 1998). It stays honest where a bootstrap says nothing: three rows, all wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from attrcls.evaluation import IntArray, Interval
from attrcls.types import MISSING

FloatArray = npt.NDArray[np.float64]
Kind = Literal["attribute", "pair", "group"]
_LEVEL = 0.95
# So many rows at the head's own top-1 are added to a slice before slices are compared: what three rows say is mostly luck.
_PRIOR_ROWS = 5


@dataclass(frozen=True)
class Slice:
    """The rows on which a head was measured that have all of `conditions`, `(attribute, class)` or `(group, name)`.

    `top1` is its share of right rows (0–1) with a 95 % interval, `rest` that of the head's other rows, NaN where there are
    none. `expected` is `top1` drawn towards the head's, the more the fewer rows there are: the posterior mean under a beta
    prior worth five rows (Gelman et al., "Bayesian Data Analysis", section 2.4). `fails`: worse than the head is on all
    rows, and not by chance even though so many slices were looked at.
    """

    head: str
    kind: Kind
    conditions: tuple[tuple[str, str], ...]
    rows: int
    groups: int
    top1: Interval
    rest: float
    expected: float
    fails: bool

    @property
    def wrong(self) -> int:
        """How many of its rows are predicted wrongly."""
        return round(self.rows * (1 - self.top1.value))

    @property
    def worse(self) -> bool:
        """Whether fewer of its rows are right than of the head's other rows."""
        return self.top1.value < self.rest

    @property
    def name(self) -> str:
        """Such as `age >=60, mask wear`."""
        return ", ".join(f"{attribute} {value}" for attribute, value in self.conditions)


@dataclass(frozen=True)
class _Cut:
    """One way to cut the rows: `code` `(rows,)` numbers the slices, -1 where a row is in none."""

    kind: Kind
    code: IntArray
    conditions: Sequence[tuple[tuple[str, str], ...]]


def score_slices(
    predicted: Mapping[str, IntArray],
    targets: Mapping[str, IntArray],
    groups: npt.ArrayLike,
    *,
    classes: Mapping[str, Sequence[str]],
    labels: Mapping[str, IntArray] | None = None,
) -> list[Slice]:
    """Every slice of every head that has a row, the worst first.

    `predicted` holds class indices `(rows,)` per head; `targets` those of the labels, `MISSING` where there is none, of the
    heads and of any other attribute to cut by; `classes` the names of both. `groups` `(rows,)` name what belongs together; they
    are slices of their own where one of them has two rows. `labels` are those to cut by, where `targets` lack some that are known: of rows
    that a head did not answer. The order is that of `expected`.
    """
    cluster = pd.factorize(np.asarray(groups, dtype=object))[0]
    names = [str(name) for name in pd.unique(np.asarray(groups, dtype=object))]
    found: list[Slice] = []
    for head in predicted:
        measured = targets.get(head, np.zeros(0, dtype=np.int64)) != MISSING
        if not measured.any():
            continue
        right = (predicted[head] == targets[head])[measured].astype(np.float64)
        others = {attribute: values[measured] for attribute, values in (labels or targets).items() if attribute != head}
        cuts = [*_cuts_by_attribute(others, classes), *_cuts_by_group(cluster[measured], names)]
        # Bonferroni: among many slices one is far off by chance alone.
        looked_at = sum(len(np.unique(cut.code[cut.code >= 0])) for cut in cuts if cut.kind != "group")
        for cut in cuts:
            found += _score_cut(head, cut, right, cluster[measured], looked_at=max(1, looked_at))
    return sorted(found, key=lambda each: (each.expected, each.top1.value, -each.rows))


def slice_table(slices: Sequence[Slice]) -> pd.DataFrame:
    """One row per slice: `head, kind, slice, rows, groups, top1, low, high, rest, expected, fails`."""
    columns = ("head", "kind", "slice", "rows", "groups", "top1", "low", "high", "rest", "expected", "fails")
    rows = [(each.head, each.kind, each.name, each.rows, each.groups, each.top1.value, each.top1.low, each.top1.high, each.rest, each.expected,
             "yes" if each.fails else "no") for each in slices]  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns)).round(4)


def share_interval(right: npt.ArrayLike, worth: npt.ArrayLike, *, level: float = _LEVEL) -> tuple[FloatArray, FloatArray]:
    """Clopper and Pearson's interval of shares `right` (0–1) that stand on `worth` rows each, a number that may be broken."""
    share, count = np.asarray(right, dtype=np.float64), np.asarray(worth, dtype=np.float64)
    tail, hits = (1 - level) / 2, share * count
    # The beta distribution has no meaning at the ends, where the interval begins or ends.
    low = np.where(hits > 0, stats.beta.ppf(tail, np.maximum(hits, 1e-12), count - hits + 1), 0.0)
    high = np.where(hits < count, stats.beta.ppf(1 - tail, hits + 1, np.maximum(count - hits, 1e-12)), 1.0)
    return low, high


def _cuts_by_attribute(targets: Mapping[str, IntArray], classes: Mapping[str, Sequence[str]]) -> Iterator[_Cut]:
    for attribute, values in targets.items():
        yield _Cut("attribute", np.where(values == MISSING, -1, values), [((attribute, name),) for name in classes[attribute]])
    for one, other in combinations(targets, 2):
        both = (targets[one] != MISSING) & (targets[other] != MISSING)
        code = np.where(both, targets[one] * len(classes[other]) + targets[other], -1)
        yield _Cut("pair", code, [((one, first), (other, second)) for first in classes[one] for second in classes[other]])


def _cuts_by_group(cluster: IntArray, names: Sequence[str]) -> Iterator[_Cut]:
    several = np.bincount(cluster, minlength=len(names)) > 1
    if several.any():
        yield _Cut("group", np.where(several[cluster], cluster, -1), [(("group", name),) for name in names])


def _score_cut(head: str, cut: _Cut, right: FloatArray, cluster: IntArray, *, looked_at: int) -> Iterator[Slice]:
    inside = cut.code >= 0
    code, size = cut.code[inside], len(cut.conditions)
    rows = np.bincount(code, minlength=size)
    hits = np.bincount(code, weights=right[inside], minlength=size).astype(np.float64)
    groups, worth = _effective_rows(code, right[inside], cluster[inside], rows=rows, hits=hits)
    if cut.kind == "group":
        # Within one group its rows are the sample.
        worth = rows.astype(np.float64)
    occurs = np.flatnonzero(rows)
    share = hits[occurs] / rows[occurs]
    low, high = share_interval(share, worth[occurs])
    _, surely = share_interval(share, worth[occurs], level=1 - (1 - _LEVEL) / looked_at)
    overall, total = right.mean(), len(right)
    for place, index in enumerate(occurs.tolist()):
        remaining = total - rows[index]
        yield Slice(
            head, cut.kind, cut.conditions[index], int(rows[index]), int(groups[index]),
            Interval(float(share[place]), float(low[place]), float(high[place])),
            float((right.sum() - hits[index]) / remaining) if remaining else float("nan"),
            float((share[place] * worth[index] + overall * _PRIOR_ROWS) / (worth[index] + _PRIOR_ROWS)),
            bool(cut.kind != "group" and surely[place] < overall),
        )  # fmt: skip


def _effective_rows(code: IntArray, right: FloatArray, cluster: IntArray, *, rows: IntArray, hits: FloatArray) -> tuple[IntArray, FloatArray]:
    """Each slice's number of groups, and how many independent rows it is worth: Korn and Graubard's n*, at most its rows."""
    size = len(rows)
    pair = code * (int(cluster.max(initial=0)) + 1) + cluster
    parts, at = np.unique(pair, return_inverse=True)
    of_part = parts // (int(cluster.max(initial=0)) + 1)
    groups = np.bincount(of_part, minlength=size)
    share = hits / np.maximum(rows, 1)
    residuals = np.bincount(at, weights=right - share[code], minlength=len(parts))
    # The variance of a share under sampling of whole groups (Cochran, "Sampling Techniques", section 11.8).
    variance = np.bincount(of_part, weights=residuals**2, minlength=size) * groups / np.maximum(groups - 1, 1) / np.maximum(rows, 1) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = share * (1 - share) / variance
        # The variance itself is known the worse the fewer the groups.
        worth *= (stats.t.ppf(0.975, np.maximum(rows - 1, 1)) / stats.t.ppf(0.975, np.maximum(groups - 1, 1))) ** 2
    # All right or all wrong tells nothing of how alike a group's rows are: they count as one.
    worth = np.where((variance > 0) & (groups > 1), worth, groups)
    return groups, np.clip(worth, np.minimum(1, rows), np.maximum(rows, 1)).astype(np.float64)
