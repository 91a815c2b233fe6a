"""What balancing did, in figures and words: weights and labels in, class counts before and after out.

The command line and the report both show this; the report works it out anew from the weights that the run wrote.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrcls.data.balance import EQUAL, wanted_shares
from attrcls.types import MISSING

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassDraws:
    """One class: its expected draws per epoch without balancing, with it, and as they were wanted; its heaviest weight."""

    name: str
    before: float
    after: float
    wanted: float
    top_weight: float


@dataclass(frozen=True)
class HeadDraws:
    """One balanced attribute. `classes` without rows are left out of `gap` (draws) and `ratio`, which is 1 or more."""

    name: str
    classes: tuple[ClassDraws, ...]
    unmet: str

    @property
    def gap_before(self) -> float:
        """Largest less smallest class, without balancing."""
        return _gap([each.before for each in self._drawn])

    @property
    def gap_after(self) -> float:
        """Largest less smallest class, with balancing."""
        return _gap([each.after for each in self._drawn])

    @property
    def ratio_before(self) -> float:
        """Largest over smallest class, without balancing."""
        return _ratio([each.before for each in self._drawn])

    @property
    def ratio_after(self) -> float:
        """Largest over smallest class, with balancing."""
        return _ratio([each.after for each in self._drawn])

    @property
    def _drawn(self) -> list[ClassDraws]:
        return [each for each in self.classes if each.before > 0]


@dataclass(frozen=True)
class BalanceFacts:
    """What an epoch holds. `draws`: rows per epoch. `effective`: their effective number. `repeated`: `(row, draws)`
    of the rows that are expected most often, only those expected more than once, the most frequent first."""

    heads: tuple[HeadDraws, ...]
    draws: float
    effective: float
    repeated: tuple[tuple[int, float], ...]

    @property
    def unmet(self) -> list[str]:
        """Why attributes could not be made as equal as was asked, one text each; empty where all could."""
        return [f"{head.name} is not as equal as asked: {head.unmet}" for head in self.heads if head.unmet]


def measure_balance(
    targets: Mapping[str, Ints],
    classes: Mapping[str, Sequence[str]],
    *,
    base: Floats,
    weights: Floats,
    strength: float,
    cap: float,
    most: int = 5,
) -> BalanceFacts:
    """Count an epoch's expected draws with `weights` `(rows,)` and without; see `balance_rows` for the other arguments.

    The effective sample size is (Σ draws)² / Σ draws² (Kish 1965, Survey Sampling, section 11.2): how many rows, each
    drawn once, would tell as much.
    """
    draws = base * weights
    top = np.argsort(-draws, kind="stable")[:most]
    return BalanceFacts(
        heads=tuple(_head_draws(head, targets[head], names, base, weights, strength=strength, cap=cap) for head, names in classes.items()),
        draws=float(draws.sum()),
        effective=float(draws.sum() ** 2 / (draws @ draws)),
        repeated=tuple((int(row), float(draws[row])) for row in top if draws[row] > 1 + EQUAL),
    )


def _head_draws(head: str, labels: Ints, names: Sequence[str], base: Floats, weights: Floats, *, strength: float, cap: float) -> HeadDraws:
    labelled = labels != MISSING
    before, after = (np.bincount(labels[labelled], draws[labelled], minlength=len(names)) for draws in (base, base * weights))
    wanted = wanted_shares(before.astype(np.float64), strength=strength) * after.sum()
    heaviest = [float(weights[labels == index].max(initial=0.0)) for index in range(len(names))]
    classes = tuple(ClassDraws(*values) for values in zip(names, before.tolist(), after.tolist(), wanted.tolist(), heaviest, strict=True))
    return HeadDraws(head, classes, _say_unmet(classes, cap=cap))


def _say_unmet(classes: Sequence[ClassDraws], *, cap: float) -> str:
    total = sum(each.after for each in classes)
    short = [each for each in classes if each.wanted - each.after > EQUAL * total]
    if not any(abs(each.after - each.wanted) > EQUAL * total for each in classes):
        return ""
    # What is scarce says enough; the others have more for it.
    worst = sorted(short or classes, key=lambda each: each.after - each.wanted)[:3]
    told = ", ".join(f"{each.name} gets {each.after:,.0f} of {each.wanted:,.0f} draws" for each in worst)
    capped = any(each.top_weight >= cap * (1 - EQUAL) for each in worst)
    why = f"the cap of {cap:g} holds them back" if capped else "its labels and those of the others do not occur together in that proportion"
    return f"{told}{' and others' if len(short) > len(worst) else ''}; {why}"


def _gap(counts: Sequence[float]) -> float:
    return max(counts) - min(counts) if counts else 0.0


def _ratio(counts: Sequence[float]) -> float:
    return max(counts) / max(min(counts), 1e-9) if counts else 1.0
