"""The user's own table with decisions carried out and an audit column, for use elsewhere."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from attrcls.card import AttributeSpec, Card
from attrcls.cleaning.decisions import Decisions
from attrcls.cleaning.verdicts import KEEP, RELABEL
from attrcls.data.manifest import Manifest
from attrcls.data.rows import read_rows
from attrcls.data.tables import find_column, read_table
from attrcls.types import MISSING

AUDIT_COLUMN = "audit"


def mended_table(manifest: Manifest, card: Card, root: Path, decisions: Decisions) -> pd.DataFrame:
    """One card's table with its labels as decided; a dropped label's cell becomes what the card calls missing.

    Where a label is no cell of that table (a file's name tells it), where its cell says something else as well (a code of several
    attributes, say), or where several tables have different columns, the result has one row per object instead: path, group, split,
    attributes, audit.
    """
    notes = _notes(manifest, decisions)
    of_card = manifest.frame["card"] == card.name
    by_row_id = {row_id: row for row, row_id in zip(np.flatnonzero(of_card).tolist(), manifest.frame.loc[of_card, "row_id"], strict=True)}
    tables = [] if card.images.folders else _own_tables(card, root)
    changed_heads = decisions.table.loc[decisions.table["decision"] != KEEP, "head"].unique()
    several = any(_says_more(card, str(head)) for head in changed_heads)
    if not tables or several or any(list(table.columns) != list(tables[0].columns) for table in tables):
        return _object_table(manifest.take(np.flatnonzero(of_card)), decisions, [notes.get(row, "") for row in by_row_id.values()], by_row_id)
    mended = pd.concat(tables, ignore_index=True)
    rows, bad, _ = read_rows(card, root)
    # Of a key that stands twice only the first row is in the manifest; the others are bad, and no decision is about them.
    row_ids = rows["row_id"].where(~bad)
    at = {by_row_id[row_id]: position for position, row_id in enumerate(row_ids) if row_id in by_row_id}
    for head, changed in decisions.table[decisions.table["decision"] != KEEP].groupby("head", sort=False):
        spec = card.attributes.get(str(head))
        name = card.column_of(str(head)) if spec else None
        if spec is None or name is None:
            continue
        column = find_column(mended, name, file=root / card.tables[0].file, what=f"the labels of {head}")
        cells = mended[column].to_numpy(dtype=object, copy=True)
        spelling = _spelling(spec, cells)
        for row, new in zip(changed["row"], changed["new"], strict=True):
            if row in at:
                cells[at[row]] = spelling[int(new)]
        mended[column] = cells
    audit = [""] * len(mended)
    for row, text in notes.items():
        if row in at:
            audit[at[row]] = text
    mended[_free_name(mended)] = audit
    return mended


def _says_more(card: Card, head: str) -> bool:
    """Whether the column of a head's labels is read for something else as well."""
    column = card.column_of(head) if head in card.attributes else None
    others = [card.column_of(name) for name in card.attributes if name != head]
    others += [card.key, card.group, card.split.column if card.split else None, card.images.column, *(card.box.columns if card.box else ())]
    return column is not None and column.casefold() in {other.casefold() for other in others if other is not None}


def _own_tables(card: Card, root: Path) -> list[pd.DataFrame]:
    there = [table for table in card.tables if not table.optional or (root / table.file).exists()]
    return [read_table(root / table.file, encoding=table.encoding, escaped=table.escaped) for table in there]


def _object_table(manifest: Manifest, decisions: Decisions, audit: list[str], by_row_id: Mapping[str, int]) -> pd.DataFrame:
    place = {row: position for position, row in enumerate(by_row_id.values())}
    frame = manifest.frame
    table = frame[["path", *(["xmin", "ymin", "xmax", "ymax"] if frame["xmin"].notna().any() else []), "group", "split"]].copy()
    table["group"] = [group.partition(":")[2] for group in table["group"]]
    for head, classes in manifest.classes.items():
        targets = manifest.targets(head)
        changed = decisions.table[(decisions.table["head"] == head) & (decisions.table["decision"] != KEEP)]
        for row, new in zip(changed["row"], changed["new"], strict=True):
            if row in place:
                targets[place[row]] = new
        table[head] = [classes[index] if index != MISSING else "" for index in targets]
    table[AUDIT_COLUMN] = audit
    return table


def _notes(manifest: Manifest, decisions: Decisions) -> dict[int, str]:
    notes: dict[int, list[str]] = {}
    for row, head, given, new, decision in decisions.table[["row", "head", "given", "new", "decision"]].itertuples(index=False):
        classes = manifest.classes[head]
        was = classes[given] if given != MISSING else "no label"
        what = f"{head}: {decision} ({was} → {classes[new]})" if decision == RELABEL else f"{head}: {decision} ({was})"
        notes.setdefault(int(row), []).append(what)
    return {row: "; ".join(texts) for row, texts in notes.items()}


def _spelling(spec: AttributeSpec, cells: np.ndarray) -> dict[int, str]:
    """How the table itself writes each class: its most frequent cell (not a number that is cut), else the class's name."""
    spelling = dict(enumerate(spec.classes))
    spelling[MISSING] = "" if "" in spec.missing or not spec.missing else spec.missing[0]
    if spec.cuts:
        return spelling
    seen: set[int] = set()
    for cell in pd.Series(cells).value_counts().index:
        try:
            index = spec.index_of(str(cell))
        except ValueError:
            continue
        if index not in seen:
            seen.add(index)
            spelling[index] = str(cell)
    return spelling


def _free_name(table: pd.DataFrame) -> str:
    name = AUDIT_COLUMN
    while name in table.columns:
        name = f"attrcls_{name}"
    return name
