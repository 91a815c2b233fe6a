"""Decisions on labels: read from `verdicts.csv` or from what the review page saved, checked against the labels, applied."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attrcls.cleaning.verdicts import DECISIONS, DROP, KEEP, RELABEL
from attrcls.data.manifest import Manifest
from attrcls.data.tables import read_table
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.spec import suggest
from attrcls.types import MISSING

_NEEDED = ("card", "row_id", "head", "given_label", "decision")
_FIX = "Use the file with the labels that it was made from, or clean these labels anew: attrcls clean-labels"


@dataclass(frozen=True)
class Decisions:
    """One row per decided label: `row`, a position in the manifest; `head`; `given` and `new` class indices (`new` is
    `MISSING` unless the decision is `relabel`); `decision`."""

    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    def of_heads(self, heads: Collection[str]) -> "Decisions":
        """Those on labels of these heads."""
        return Decisions(self.table[self.table["head"].isin(heads)].reset_index(drop=True))


def read_decisions(file: Path, manifest: Manifest, *, partial: bool = False) -> Decisions:
    """Read a decision file and find its labels in the manifest. Any of `,`, `;` and tab may separate its columns.

    Its cells are escaped as `data.cells` does it, whoever wrote it.

    A `partial` manifest lacks rows on purpose: decisions on those are passed over.

    Raises:
        UserError: the file is missing, or lacks a column.
        ProblemsError: rows whose label is not there, is another one or of another picture by now, or whose decision or class
            is unknown.
    """
    # Nothing suspect is a finding too: a header alone will do.
    table = read_table(file, empty=True, escaped=True)
    for column in _NEEDED:
        if column not in table.columns:
            raise UserError(
                f"{file}: expected the columns {', '.join(_NEEDED)} of verdicts.csv or decisions.csv, found no {column!r}"
                f"{suggest(column, table.columns)} (columns: {', '.join(map(str, table.columns[:12]))})"
            )
    frame = manifest.frame
    position = {key: row for row, key in enumerate(zip(frame["card"], frame["row_id"], strict=True))}
    targets = {head: manifest.targets(head) for head in manifest.classes}
    blank = [""] * len(table)
    new_labels = table.get("new_label", blank)
    suggested = table.get("suggested_label", blank)
    problems: list[Problem] = []
    rows: list[tuple[int, str, int, int, str]] = []
    seen: dict[tuple[int, str], tuple[str, int]] = {}
    cells = (*(table[column] for column in _NEEDED), table.get("path", blank), new_labels, suggested)
    for number, (card, row_id, head, given, decision, path, new, proposal) in enumerate(zip(*cells, strict=True), start=1):
        if partial and (card.strip(), row_id) not in position:
            continue
        try:
            row = _find(position, card, row_id)
            if path and path != frame["path"].iat[row]:
                raise _FaultError(f"row {row_id!r} was picture {path!r} when this was decided, and is {frame['path'].iat[row]!r} now", "path")
            given_index = _check_given(manifest, targets, row, head, given)
            decision = decision.strip()
            if decision not in DECISIONS:
                raise _FaultError(f"expected {', '.join(DECISIONS)}, found {decision!r}{suggest(decision, DECISIONS)}", "decision")
            new_index = _new_class(manifest, head, new.strip() or proposal.strip(), given_index) if decision == RELABEL else MISSING
            before = seen.setdefault((row, head), (decision, new_index))
            if before != (decision, new_index):
                twice = f"{_told(manifest, head, *before)} and as {_told(manifest, head, decision, new_index)}"
                raise _FaultError(f"{head} of {row_id!r} is decided twice, as {twice}", "decision")
        except _FaultError as fault:
            problems.append(Problem(str(file), str(fault), row=number, column=fault.column))
            continue
        rows.append((row, head, given_index, new_index, decision))
    if problems:
        raise ProblemsError(f"{file}: {len(problems)} of {len(table)} decisions do not fit these labels", problems, fix=_FIX)
    decided = pd.DataFrame(rows, columns=["row", "head", "given", "new", "decision"]).drop_duplicates(["row", "head"])
    return Decisions(decided.reset_index(drop=True))


def apply_decisions(manifest: Manifest, decisions: Decisions, *, splits: Collection[str] | None = None) -> tuple[Manifest, pd.DataFrame]:
    """The manifest with the decisions carried out in these splits (all, where None), and what was done.

    A dropped label becomes `MISSING`; the row stays, as an unlabelled picture. What was done is a table with the columns
    head, class, labels, dropped, relabelled, kept; and `elsewhere`, decisions of other splits, which are left alone.
    """
    table = decisions.table
    here = np.ones(len(table), dtype=bool)
    if splits is not None:
        here = manifest.frame["split"].isin(list(splits)).to_numpy()[table["row"].to_numpy(dtype=np.int64)] if len(table) else here
    columns, done = {}, []
    for head in dict.fromkeys(table["head"]):
        of_head = (table["head"] == head).to_numpy()
        targets = manifest.targets(head)
        before = targets.copy()
        inside = np.ones(len(manifest), dtype=bool) if splits is None else manifest.frame["split"].isin(list(splits)).to_numpy()
        changed = table[of_head & here & (table["decision"] != KEEP).to_numpy()]
        targets[changed["row"].to_numpy(dtype=np.int64)] = changed["new"].to_numpy(dtype=np.int64)
        columns[head] = targets
        for index, name in enumerate(manifest.classes[head]):
            of_class = of_head & (table["given"] == index).to_numpy()
            counts = table[of_class & here]["decision"].value_counts()
            done.append({
                "head": head, "class": name, "labels": int((before[inside] == index).sum()), "dropped": int(counts.get(DROP, 0)),
                "relabelled": int(counts.get(RELABEL, 0)), "kept": int(counts.get(KEEP, 0)), "elsewhere": int((of_class & ~here).sum()),
            })  # fmt: skip
    names = ["head", "class", "labels", "dropped", "relabelled", "kept", "elsewhere"]
    return manifest.with_columns(**columns), pd.DataFrame(done, columns=names)


class _FaultError(Exception):
    def __init__(self, message: str, column: str) -> None:
        super().__init__(message)
        self.column = column


def _find(position: dict[tuple[str, str], int], card: str, row_id: str) -> int:
    row = position.get((card.strip(), row_id))
    if row is None:
        raise _FaultError(f"card {card} has no row {row_id!r}", "row_id")
    return row


def _check_given(manifest: Manifest, targets: dict[str, np.ndarray], row: int, head: str, given: str) -> int:
    if head not in targets:
        raise _FaultError(f"no attribute {head!r}{suggest(head, targets)}", "head")
    index = int(targets[head][row])
    now = "no label" if index == MISSING else manifest.classes[head][index]
    if given != now:
        raise _FaultError(f"the label was {given!r} when this was decided, and is {now!r} now", "given_label")
    return index


def _told(manifest: Manifest, head: str, decision: str, new: int) -> str:
    return f"{decision} to {manifest.classes[head][new]}" if decision == RELABEL else decision


def _new_class(manifest: Manifest, head: str, name: str, given: int) -> int:
    classes = manifest.classes[head]
    if name not in classes:
        raise _FaultError(f"expected the class to relabel to, one of {', '.join(classes)}, found {name!r}{suggest(name, classes)}", "new_label")
    if classes.index(name) == given:
        raise _FaultError(f"relabels {name!r} to itself; decide `keep` instead", "new_label")
    return classes.index(name)
