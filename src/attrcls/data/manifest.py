"""The manifest: the table that every stage reads, one row per object.

Enters: cards and the folders where their data lie. Leaves: a `Manifest` and the problems that were found, all at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.card import Card
from attrcls.data.rows import BOX_COLUMNS, read_rows
from attrcls.errors import Problem, ProblemsError
from attrcls.types import MISSING, SPLITS

OnError = Literal["stop", "skip"]
SKIP_ADVICE = "Mend these rows, or go on without them: --on-error skip"


@dataclass(frozen=True)
class Manifest:
    """One row per object, known by `(card, row_id)`.

    `frame` has the columns card, row_id, path (below the card's folder in `roots`), xmin, ymin, xmax, ymax (pixels,
    NaN where there is no box), group (blank where a row stands alone), split (train, val, test, or blank until it is
    split), and for each attribute an int64 column of class indices, `MISSING` where there is no label. `classes` are
    each attribute's class names in order.
    """

    frame: pd.DataFrame
    classes: Mapping[str, tuple[str, ...]]
    roots: Mapping[str, Path]

    def __len__(self) -> int:
        return len(self.frame)

    def targets(self, attribute: str) -> npt.NDArray[np.int64]:
        """Class indices `(rows,)`, `MISSING` where there is no label."""
        # A copy: pandas hands out read-only views, and torch wants memory of its own.
        return self.frame[attribute].to_numpy(dtype=np.int64, copy=True)

    def of_split(self, split: str) -> "Manifest":
        """The rows of one split, in order."""
        return self.take(np.flatnonzero(self.frame["split"].to_numpy() == split))

    def take(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> "Manifest":
        """The rows at these positions, in this order."""
        return replace(self, frame=self.frame.iloc[np.asarray(positions, dtype=np.int64)].reset_index(drop=True))

    def with_columns(self, **columns: Any) -> "Manifest":
        """The same rows with columns replaced."""
        return replace(self, frame=self.frame.assign(**columns))

    def image_paths(self) -> list[Path]:
        """Each row's picture, as a path that can be opened."""
        return [self.roots[card] / path for card, path in zip(self.frame["card"], self.frame["path"], strict=True)]

    def boxes(self) -> npt.NDArray[np.float64]:
        """`(rows, 4)`: xmin, ymin, xmax, ymax in pixels, NaN where a row has none."""
        return self.frame[list(BOX_COLUMNS)].to_numpy(dtype=np.float64)

    def class_counts(self, attribute: str) -> npt.NDArray[np.int64]:
        """Labelled rows per class, `(classes,)`."""
        targets = self.targets(attribute)
        return np.bincount(targets[targets != MISSING], minlength=len(self.classes[attribute]))


def build_manifest(cards: Mapping[str, Card], roots: Mapping[str, Path], *, on_error: OnError = "stop") -> tuple[Manifest, list[Problem]]:
    """Read every card's tables and join them by attribute name.

    A row that lacks an attribute misses it. Returns the manifest and, with `on_error="skip"`, the problems whose rows
    were left out. Raises:
        ProblemsError: rows are bad and `on_error` is "stop", or none is left; all of them are listed, with file, row and column.
        UserError: a table or column is missing.
    """
    classes = {name: tuple(spec.classes) for card in cards.values() for name, spec in card.attributes.items()}
    parts, problems = [], []
    for name, card in cards.items():
        rows, bad_rows, found = read_rows(card, roots[name])
        rows = rows[~bad_rows]
        straddling, straddled = _straddling_groups(rows, card)
        problems += found + straddled
        parts.append(rows[~straddling])
    if problems and on_error == "stop":
        count = "1 row is" if len(problems) == 1 else f"{len(problems)} rows or groups are"
        raise ProblemsError(f"{count} not usable", problems, fix=SKIP_ADVICE)
    frame = pd.concat(parts, ignore_index=True)
    for attribute in classes:
        frame[attribute] = frame[attribute].fillna(MISSING).astype(np.int64) if attribute in frame else MISSING
    if frame.empty:
        raise ProblemsError(f"no usable row in {', '.join(str(root) for root in roots.values())}", problems)
    return Manifest(frame, classes, dict(roots)), problems


def _straddling_groups(rows: pd.DataFrame, card: Card) -> tuple[npt.NDArray[np.bool_], list[Problem]]:
    """Groups with rows in several given splits: a leak. Skipping drops their rows from the earlier splits."""
    # A blank split will train or be held back, so it must not share a group with a given one either.
    given = rows["split"].replace("", "train")
    splits = given[rows["group"] != ""].groupby(rows["group"], sort=False).unique()
    straddling = {group: found for group, found in splits.items() if len(found) > 1}
    drop = np.zeros(len(rows), dtype=bool)
    problems = []
    for group, found in straddling.items():
        kept = max(found, key=SPLITS.index)
        drop |= ((rows["group"] == group) & (given != kept)).to_numpy()
        tables = ", ".join(table.file for table in card.tables)
        where = " and ".join(sorted(found, key=SPLITS.index))
        name = str(group).removeprefix(f"{card.name}:")
        problems.append(Problem(tables, f"group {name!r} has rows in {where}; a group must stay in one split", column=card.group))
    return drop, problems
