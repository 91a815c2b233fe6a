"""Row weights that make the classes of several attributes equal at once: raking, under a cap on repeats.

Enters: class indices per attribute. Leaves: one weight per row, how many times as often as without balancing a row is
to be drawn. The arithmetic is numpy alone and draws nothing at random.

Raking (iterative proportional fitting; Deming & Stephan 1940, Ann. Math. Statist. 11) multiplies the rows of each class
by the share that the class should have over the share that it has, attribute after attribute, until all agree. It is
done here for all attributes at once, with the exponent 1/H for H attributes (generalised iterative scaling; Darroch &
Ratcliff 1972, Ann. Math. Statist. 43). Where every row has every label, both end at the same weights, those nearest to 1
in Kullback-Leibler divergence; but where no weights satisfy all attributes, the one by one form circles for ever, and
this one still ends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrcls.errors import UserError
from attrcls.types import MISSING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Shares that differ by less are equal: one row in ten thousand.
EQUAL = 1e-4
# Rounds end when every share is right to this, or none moves by more than that, or when they took long enough: where
# the shares are out of reach, the last of the way is long and changes next to nothing.
_RIGHT, _STILL = 1e-10, 1e-9
_MIN_ROUNDS, _MAX_ROUNDS, _MAX_WORK = 200, 5_000, 1_000_000


@dataclass(frozen=True)
class Balance:
    """What raking found.

    `weights`: float64 `(rows,)`, 0 to the cap; their mean over each stratum is 1, so that an epoch keeps its size.
    `off[head]`: float64 `(classes,)`, share reached less share wanted, among the rows with a label, -1 to 1; 0 for
    classes without rows. `converged`: whether every share is as wanted, to within `EQUAL`. `rounds` were needed.
    """

    weights: Floats
    off: Mapping[str, Floats]
    converged: bool
    rounds: int


@dataclass(frozen=True)
class _Margin:
    """One attribute over the cells: `classes` int64 `(labelled cells,)`, of the cells at `cells`; `wanted` shares."""

    cells: Ints
    classes: Ints
    wanted: Floats

    def shares(self, totals: Floats) -> Floats:
        counts = np.bincount(self.classes, totals[self.cells], minlength=len(self.wanted))
        shares: Floats = counts / counts.sum()
        return shares


def balance_rows(
    targets: Mapping[str, Ints],
    classes: Mapping[str, int],
    *,
    strength: float = 1.0,
    cap: float = 10.0,
    base: Floats | None = None,
    strata: npt.NDArray[np.generic] | None = None,
) -> Balance:
    """Weigh rows so that each attribute's classes have the wanted shares of the expected draws, all attributes at once.

    `targets[head]`: `(rows,)`, 0 to `classes[head]` - 1, `MISSING` where there is no label: such a row takes no part in
    that attribute, and moves only with its other labels. A class without rows takes none either.

    `strength`: 0 leaves the shares as they are, 1 makes them equal; between, they lie on the straight line. So the gap
    between classes shrinks by just that part, and every strength can be reached where 1 can: the weights' own line
    lies under the same cap. (In geometric interpolation neither holds.) `cap`: no weight is larger, 1 or more; it holds exactly.
    `base`: `(rows,)`, expected draws of a row as it is, more than 0; by default 1. `strata`: `(rows,)`, such as cards: the draws of
    each stay what they are.

    Where the cap, or labels that never occur together, keep the shares from being reached, the weights make the sum
    over attributes of labelled draws × KL(shares reached ‖ shares wanted) as small as it can be: relatively smooth
    dual averaging with the entropy as its distance (Lu, Freund & Nesterov 2018, SIAM J. Optim. 28), of which the
    scaling above is the unbounded case.

    Raises:
        UserError: `strength` or `cap` is out of range.
    """
    if not 0 <= strength <= 1:
        raise UserError(f"balance.strength: expected 0 to 1, found {strength}")
    if not 1 <= cap < np.inf:
        raise UserError(f"balance.cap: expected a number of 1 or more, found {cap}")
    rows = len(next(iter(targets.values())))
    _, stratum = np.unique(np.zeros(rows) if strata is None else strata, return_inverse=True)
    # Rows with the same labels weigh the same, so that thousands of rows become a few dozen cells.
    cells, cell_of_row = np.unique(np.column_stack([*targets.values(), stratum]), axis=0, return_inverse=True)
    cell_of_row = cell_of_row.reshape(-1)
    # Without a base, bincount counts the rows.
    mass = np.bincount(cell_of_row, base, minlength=len(cells)).astype(np.float64)
    margins = {head: _margin(cells[:, place], mass, classes=classes[head], strength=strength) for place, head in enumerate(targets)}
    weights, rounds = _rake(mass, cells[:, -1], [margin for margin in margins.values() if (margin.wanted > 0).sum() > 1], cap=cap)
    off = {head: _off(margin, mass * weights) for head, margin in margins.items()}
    converged = all(np.abs(values).max(initial=0) <= EQUAL for values in off.values())
    return Balance(weights[cell_of_row], off, converged, rounds)


def wanted_shares(counts: Floats, *, strength: float) -> Floats:
    """The shares `(classes,)` that classes of these counts should have: their own, drawn towards equal ones by `strength` 0–1."""
    occurs = counts > 0
    if not occurs.any():
        return np.zeros_like(counts)
    wanted: Floats = (1 - strength) * counts / counts.sum() + strength * occurs / occurs.sum()
    return wanted


def _margin(labels: Ints, mass: Floats, *, classes: int, strength: float) -> _Margin:
    cells = np.flatnonzero(labels != MISSING)
    counts = np.bincount(labels[cells], mass[cells], minlength=classes)
    return _Margin(cells, labels[cells], wanted_shares(counts.astype(np.float64), strength=strength))


def _off(margin: _Margin, totals: Floats) -> Floats:
    return margin.shares(totals) - margin.wanted if len(margin.cells) else np.zeros_like(margin.wanted)


def _rake(mass: Floats, stratum: Ints, margins: Sequence[_Margin], *, cap: float) -> tuple[Floats, int]:
    """Cell weights `(cells,)`, and the number of rounds."""
    log_weights = np.zeros(len(mass))
    weights = np.ones(len(mass))
    labels_per_cell = sum((np.bincount(margin.cells, minlength=len(mass)) for margin in margins), np.zeros(len(mass)))
    exponent = 1 / labels_per_cell.max(initial=1)
    parts = [np.flatnonzero(stratum == part) for part in np.unique(stratum)]
    before = [np.zeros_like(margin.wanted) for margin in margins]
    rounds = min(_MAX_ROUNDS, max(_MIN_ROUNDS, _MAX_WORK // max(1, len(mass))))
    for done in range(rounds):
        shares = [margin.shares(mass * weights) for margin in margins]
        if all(np.abs(share - margin.wanted).max() < _RIGHT for share, margin in zip(shares, margins, strict=True)):
            return weights, done
        if all(np.abs(share - was).max() < _STILL for share, was in zip(shares, before, strict=True)):
            return weights, done
        for margin, share in zip(margins, shares, strict=True):
            with np.errstate(divide="ignore", invalid="ignore"):
                factors = np.log(margin.wanted / share)
            log_weights[margin.cells] += exponent * factors[margin.classes]
        for part in parts:
            weights[part] = _fill(log_weights[part], mass[part], cap=cap)
        before = shares
    return weights, rounds


def _fill(log_weights: Floats, mass: Floats, *, cap: float) -> Floats:
    """The weights min(cap, f × exp(log_weights)) with the one f that makes their mean 1."""
    order = np.argsort(-log_weights, kind="stable")
    logs, masses = log_weights[order], mass[order]
    # For every number of cells at the cap, the heaviest first: the draws left for the others, and their sum as it is.
    left = mass.sum() - cap * (np.cumsum(masses) - masses)
    sums = np.logaddexp.accumulate((logs + np.log(masses))[::-1])[::-1]
    with np.errstate(divide="ignore"):
        scaled = logs + np.log(np.maximum(left, 0.0)) - sums
    at_cap = int(np.argmax(scaled <= np.log(cap))) if (scaled <= np.log(cap)).any() else len(mass)
    weights = np.full(len(mass), float(cap))
    if at_cap < len(mass):
        factor = np.log(left[at_cap]) - sums[at_cap]
        # The floor spares the processor numbers that are almost too small to be written.
        weights[order[at_cap:]] = np.minimum(cap, np.exp(np.maximum(logs[at_cap:] + factor, -600.0)))
    return weights
