"""What a method says of every label of one head: the common shape of AUM's and confident learning's findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from attrcls.cleaning.aum import MarginSums
from attrcls.cleaning.noise import NoiseEstimate, RunSeen, estimate_noise
from attrcls.cleaning.roles import Flags, Ints, Roles, Units, draw_roles, units_of
from attrcls.data.manifest import Manifest

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeadAudit:
    """One head's labels, judged per unit (`roles.py`).

    `classes` are its class names. `targets` int64 `(rows,)`. `aum` `(rows,)`: exact for the picture, NaN without a label
    or where the method has none. Per unit: `score` 0–1, low where the label is bad; `suspect`; `suggested`, a class
    index; `confidence` 0–1 in it. `threshold` is in units of `aum`, NaN where the method has none. `facts` are numbers to
    show: the estimated share of wrong labels, how well planted ones were found, what the paper's rule flags.
    """

    classes: tuple[str, ...]
    targets: Ints
    units: Units
    aum: Floats
    score: Floats
    suspect: Flags
    suggested: Ints
    confidence: Floats
    threshold: float = float("nan")
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def suspect_rows(self) -> Flags:
        """Bool `(rows,)`."""
        return np.asarray(self.rows_of(self.suspect.astype(np.float64)) == 1)

    def rows_of(self, values: Floats) -> Floats:
        """Unit values as row values, NaN where there is no label."""
        return self.units.to_rows(values)


def head_units(manifest: Manifest, head: str, *, constant: bool) -> Units:
    """The head's units: labels, or groups' equal labels where the attribute is constant in a group."""
    return units_of(manifest.targets(head), manifest.frame["group"].to_numpy(dtype=object) if constant else None)


def draw_all_roles(units: Mapping[str, Units], classes: Mapping[str, int], *, runs: int, seed: int) -> dict[str, list[Roles]]:
    """Each head's roles in each run; heads draw independently of each other."""
    return {head: draw_roles(each, classes=classes[head], runs=runs, seed=seed + 7_919 * index) for index, (head, each) in enumerate(units.items())}


def run_targets(units: Mapping[str, Units], roles: Mapping[str, Sequence[Roles]], classes: Mapping[str, int], *, run: int) -> dict[str, Ints]:
    """What each head trains on in a run, `(rows,)`; class `classes[head]` is the threshold samples'."""
    return {head: roles[head][run].targets(each, classes=classes[head]) for head, each in units.items()}


def judge(
    manifest: Manifest, head: str, units: Units, roles: Sequence[Roles], sums: Sequence[MarginSums], *, seed: int
) -> tuple[HeadAudit, NoiseEstimate | None]:
    """What the runs' margins say of a head's labels; no estimate where it has none."""
    targets, classes = manifest.targets(head), manifest.classes[head]
    aums = [each.aum().numpy() for each in sums]
    as_given = np.stack([each.as_given for each in roles]) if len(units.labels) else np.zeros((len(roles), 0), dtype=bool)
    if not len(units.labels):
        nothing = np.zeros(0)
        return HeadAudit(classes, targets, units, np.full(len(targets), np.nan), nothing, as_given[0], as_given[0].astype(np.int64), nothing), None
    seen = [
        RunSeen(of_run, units.mean(aum), units.mean(each.mean_logits().double().numpy())) for of_run, aum, each in zip(roles, aums, sums, strict=True)
    ]
    estimate = estimate_noise(units.labels, seen, classes=len(classes), seed=seed)
    # A picture's AUM counts where its label was its own: in a run it may have been a threshold sample or planted.
    counted = np.stack([units.to_rows(flags.astype(np.float64)) for flags in as_given]) == 1
    total = np.where(counted, np.stack(aums), 0.0).sum(axis=0)
    aum = total / np.where(counted.any(axis=0), counted.sum(axis=0), np.nan)
    facts = {
        "labels": float((units.of_row >= 0).sum()),
        "estimated_wrong_share": float(min(1.0, estimate.counts.sum() / len(units.labels))),
        "planted_auroc": estimate.planted_auroc,
        "paper_threshold": max(estimate.paper_thresholds, default=float("nan")),
        "paper_suspects": float(estimate.paper_suspect[units.of_row[units.of_row >= 0]].sum()),
    }
    return (
        HeadAudit(
            classes, targets, units, aum, 1 - estimate.wrong_probability, estimate.suspect, estimate.suggested, estimate.confidence,
            estimate.threshold if np.isfinite(estimate.threshold) else float("nan"), facts,
        ),
        estimate,
    )  # fmt: skip


def join(aum: HeadAudit, confident: HeadAudit) -> HeadAudit:
    """Both methods' ranks joined: the score is their mean rank (0–1, low = bad), and as many labels are suspect as the
    methods find on average."""
    count = len(aum.units.labels)
    if not count:
        return aum
    ranks = (_ranks(aum.score) + _ranks(confident.score)) / 2
    wanted = round((int(aum.suspect.sum()) + int(confident.suspect.sum())) / 2)
    suspect = np.zeros(count, dtype=bool)
    suspect[np.argsort(ranks, kind="stable")[:wanted]] = True
    return replace(aum, score=ranks, suspect=suspect, threshold=float("nan"), facts={**aum.facts, **confident.facts})


def _ranks(values: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    return ranks / max(1, len(values) - 1)
