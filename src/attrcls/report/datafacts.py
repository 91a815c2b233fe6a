"""The manifest of a run and its cards go in; what the page says of the data comes out: rows, groups, labels, licences."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from attrcls.report.rundir import RunFiles
from attrcls.types import SPLITS


@dataclass(frozen=True)
class CardFacts:
    """One dataset: what its card says, and the rows and groups of each split as (split, rows, groups)."""

    name: str
    title: str
    texts: tuple[tuple[str, str], ...]
    known_faults: tuple[str, ...]
    splits: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class LabelCounts:
    """How many rows of each split carry each class: `counts[class][split]`, and `missing[split]` rows without a label."""

    classes: tuple[str, ...]
    splits: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    missing: tuple[int, ...]


def describe_cards(files: RunFiles) -> tuple[CardFacts, ...]:
    """Describe each card of the run, and any that only the manifest names."""
    names = dict.fromkeys([*(files.config.get("cards") or {}), *files.splits["card"]])
    return tuple(_card_facts(files, name) for name in names)


def count_labels(splits: pd.DataFrame, head: str, *, classes: Sequence[str]) -> LabelCounts:
    """Count the classes of `head`, and its missing labels, in each split of the manifest."""
    names = _splits(splits)
    counts = Counter(zip(splits[head], splits["split"], strict=True))
    return LabelCounts(
        classes=tuple(classes),
        splits=names,
        counts=tuple(tuple(counts[name, split] for split in names) for name in classes),
        missing=tuple(counts["", split] for split in names),
    )


def count_groups(rows: pd.DataFrame) -> int:
    """Count the distinct groups of `rows`; a blank group is none."""
    return int(rows["group"][rows["group"] != ""].nunique())


def row_groups(rows: pd.DataFrame) -> list[str]:
    """What each row is drawn with: its group, or itself where it has none."""
    alone = "row " + rows["card"] + ":" + rows["row_id"]
    return rows["group"].where(rows["group"] != "", alone).tolist()


def _card_facts(files: RunFiles, name: str) -> CardFacts:
    card = (files.config.get("cards") or {}).get(name) or {}
    rows = files.splits[files.splits["card"] == name]
    faults = card.get("known_faults") or []
    return CardFacts(
        name=name,
        title=str(card.get("title") or name),
        texts=tuple((key.replace("_", " "), str(card[key])) for key in ("licence", "provenance", "intended_use") if card.get(key)),
        known_faults=(faults,) if isinstance(faults, str) else tuple(map(str, faults)),
        splits=tuple((split, int(part.sum()), count_groups(rows[part])) for split in _splits(rows) for part in [rows["split"] == split]),
    )


def _splits(table: pd.DataFrame) -> tuple[str, ...]:
    return tuple(split for split in dict.fromkeys([*SPLITS, *table["split"]]) if (table["split"] == split).any())
