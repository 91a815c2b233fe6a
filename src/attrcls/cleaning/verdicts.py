"""From what a method found to verdicts: one row per suspect label, with a decision that a person may change.

Beside the method's own suspects there are labels that differ inside a group where they must not, and combinations of
labels that are impossible or very rare. A floor keeps scarce classes from being purged.
"""

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import poisson

from attrcls.cleaning.audit import HeadAudit
from attrcls.data.manifest import Manifest
from attrcls.sections import CleanSpec
from attrcls.types import MISSING

KEEP, DROP, RELABEL = "keep", "drop_label", "relabel"
DECISIONS = (KEEP, DROP, RELABEL)
VERDICT_COLUMNS = ("card", "row_id", "path", "head", "given_label", "suggested_label", "suggested_confidence", "label_score", "aum", "threshold",
                   "decision", "reason")  # fmt: skip
# A combination is very rare when chance alone would bring it twenty times as often, and so seldom only once in a million.
_RARE_SHARE, _RARE_CHANCE = 0.05, 1e-6


def verdict_table(manifest: Manifest, audits: Mapping[str, HeadAudit], spec: CleanSpec, *, constant: Collection[str]) -> pd.DataFrame:
    """One row per suspect label, worst first within a head, in the columns of `verdicts.csv`.

    `constant` are the heads whose attribute is constant in a group. The decision is `drop_label`, or `keep` with the
    reason where the floor holds it back.
    """
    odd = _odd_combinations(manifest, audits, spec)
    parts = []
    for head, audit in audits.items():
        reasons = _reasons(manifest, head, audit, odd.get(head, {}), constant=head in constant)
        if reasons:
            parts.append(_head_verdicts(manifest, head, audit, reasons, spec))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(VERDICT_COLUMNS))


def value_table(manifest: Manifest, audits: Mapping[str, HeadAudit]) -> pd.DataFrame:
    """`aum_values.csv`: one row per label; `aum` is exact for the picture, `label_score` 0–1 with a group's evidence."""
    parts = []
    for head, audit in audits.items():
        rows = np.flatnonzero(audit.units.of_row != MISSING)
        table = _key_columns(manifest, head, audit, rows)
        table["aum"] = audit.aum[rows]
        table["label_score"] = audit.rows_of(audit.score)[rows]
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _key_columns(manifest: Manifest, head: str, audit: HeadAudit, rows: np.ndarray) -> pd.DataFrame:
    table = manifest.frame.loc[rows, ["card", "row_id", "path"]].reset_index(drop=True)
    table["head"] = head
    table["given_label"] = [audit.classes[index] for index in audit.targets[rows]]
    return table


def _reasons(manifest: Manifest, head: str, audit: HeadAudit, odd: Mapping[int, str], *, constant: bool) -> dict[int, str]:
    """Why each suspect unit is suspect."""
    sizes = np.bincount(audit.units.of_row[audit.units.of_row != MISSING], minlength=len(audit.units.labels))
    found: dict[int, list[str]] = {}
    for unit in np.flatnonzero(audit.suspect).tolist():
        pictures = f", by {sizes[unit]} pictures of the group" if sizes[unit] > 1 else ""
        found.setdefault(unit, []).append(f"the pictures speak for another class{pictures}")
    if constant:
        for unit, reason in _minorities(manifest, audit, sizes).items():
            found.setdefault(unit, []).append(reason)
    for unit, reason in odd.items():
        found.setdefault(unit, []).append(reason)
    return {unit: "; ".join(reasons) for unit, reasons in found.items()}


def _minorities(manifest: Manifest, audit: HeadAudit, sizes: np.ndarray) -> dict[int, str]:
    """Units whose label is not the one that most of their group carries; of equally many, the better score stands."""
    first = {int(unit): row for row, unit in reversed(list(enumerate(audit.units.of_row))) if unit != MISSING}
    groups = manifest.frame["group"].to_numpy(dtype=object)
    of_group: dict[str, list[int]] = {}
    for unit, row in first.items():
        if groups[row]:
            of_group.setdefault(groups[row], []).append(unit)
    found = {}
    for group, units in of_group.items():
        if len(units) < 2:
            continue
        leader = max(units, key=lambda unit: (sizes[unit], audit.score[unit]))
        for unit in units:
            if unit != leader:
                label = audit.classes[audit.units.labels[leader]]
                found[unit] = f"differs within group {group.partition(':')[2]}: {sizes[leader]} of its pictures say {label}"
    return found


def _odd_combinations(manifest: Manifest, audits: Mapping[str, HeadAudit], spec: CleanSpec) -> dict[str, dict[int, str]]:
    """Per head the units to blame for a combination that is impossible or very rare: the label with the worse score."""
    found: dict[str, dict[int, str]] = {head: {} for head in audits}
    if not spec.combinations:
        return found
    suspects: list[tuple[np.ndarray, tuple[str, ...], str]] = []
    for ruled_out in spec.impossible:
        involved = tuple(head for head in ruled_out if head in audits)
        if len(involved) == len(ruled_out):
            rows = np.logical_and.reduce([audits[head].targets == audits[head].classes.index(ruled_out[head]) for head in involved])
            shown = ", ".join(f"{head} {ruled_out[head]}" for head in involved)
            suspects.append((np.flatnonzero(rows), involved, f"impossible together: {shown}"))
    for pair in combinations(audits, 2):
        suspects += _rare_pairs(audits, *pair)
    for rows, involved, reason in suspects:
        for row in rows:
            scores = {head: audits[head].score[audits[head].units.of_row[row]] for head in involved}
            blamed = min(scores, key=lambda head: scores[head])
            found[blamed][int(audits[blamed].units.of_row[row])] = reason
    return found


def _rare_pairs(audits: Mapping[str, HeadAudit], one: str, other: str) -> list[tuple[np.ndarray, tuple[str, ...], str]]:
    a, b = audits[one], audits[other]
    both = (a.targets != MISSING) & (b.targets != MISSING)
    counts = np.zeros((len(a.classes), len(b.classes)))
    np.add.at(counts, (a.targets[both], b.targets[both]), 1)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / max(1, both.sum())
    rare = (counts > 0) & (counts <= _RARE_SHARE * expected) & (poisson.cdf(counts, expected) < _RARE_CHANCE)
    found: list[tuple[np.ndarray, tuple[str, ...], str]] = []
    for i, j in np.argwhere(rare):
        reason = f"very rare together: {one} {a.classes[i]}, {other} {b.classes[j]} ({counts[i, j]:.0f} times, {expected[i, j]:.0f} by chance)"
        found.append((np.flatnonzero((a.targets == i) & (b.targets == j)), (one, other), reason))
    return found


def _head_verdicts(manifest: Manifest, head: str, audit: HeadAudit, reasons: Mapping[int, str], spec: CleanSpec) -> pd.DataFrame:
    units = np.array(sorted(reasons, key=lambda unit: (audit.score[unit], unit)))
    held_back = _held_back(audit, units, spec)
    place = np.full(len(audit.units.labels), -1)
    place[units] = np.arange(len(units))
    labelled = np.flatnonzero(audit.units.of_row != MISSING)
    rows = labelled[place[audit.units.of_row[labelled]] >= 0]
    # Worst unit first; a group's pictures stay together, in the manifest's order.
    rows = rows[np.argsort(place[audit.units.of_row[rows]], kind="stable")]
    of_row = audit.units.of_row[rows]
    table = _key_columns(manifest, head, audit, rows)
    table["suggested_label"] = [audit.classes[index] for index in audit.suggested[of_row]]
    table["suggested_confidence"] = audit.confidence[of_row].round(4)
    table["label_score"] = audit.score[of_row]
    table["aum"] = audit.aum[rows]
    table["threshold"] = audit.threshold
    table["decision"] = [KEEP if unit in held_back else DROP for unit in of_row]
    table["reason"] = [reasons[unit] + (f"; {held_back[unit]}" if unit in held_back else "") for unit in of_row]
    return table[list(VERDICT_COLUMNS)]


def _held_back(audit: HeadAudit, worst_first: np.ndarray, spec: CleanSpec) -> dict[int, str]:
    """The units that the floor keeps, with the reason: no class loses more rows than its share, or falls below a number."""
    rows = audit.units.of_row[audit.units.of_row != MISSING]
    sizes = np.bincount(rows, minlength=len(audit.units.labels))
    totals = np.bincount(audit.units.labels[rows], minlength=len(audit.classes))
    allowed = np.minimum((totals * spec.floor_share).astype(int), np.maximum(0, totals - spec.floor_rows))
    held: dict[int, str] = {}
    for unit in worst_first:
        label = audit.units.labels[unit]
        if sizes[unit] <= allowed[label]:
            allowed[label] -= sizes[unit]
        else:
            held[int(unit)] = f"kept by the floor: {audit.classes[label]} has {totals[label]} labels"
    return held
