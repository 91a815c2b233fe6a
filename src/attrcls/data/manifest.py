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
from attrcls.data.leaks import LEAK_FIX, find_leaks, number_files
from attrcls.data.locations import Locations
from attrcls.data.rows import BOX_COLUMNS, ROW_COLUMN, TABLE_COLUMN, number_column, read_rows
from attrcls.errors import Problem, ProblemsError
from attrcls.types import MISSING

OnError = Literal["stop", "skip"]
SKIP_ADVICE = "Mend these rows, or go on without them: --on-error skip"


@dataclass(frozen=True)
class Manifest:
    """One row per object, known by `(card, row_id)`.

    `frame` has the columns card, row_id, path (below the card's folder in `roots`), xmin, ymin, xmax, ymax (pixels,
    NaN where there is no box), group (blank where a row stands alone), split (train, val, test, or blank until it is
    split), and for each attribute an int64 column of class indices, `MISSING` where there is no label; where a card cuts
    a number into these classes, a column of it as well. `classes` are each attribute's class names in order.
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

    def numbers(self, attribute: str, cuts: Sequence[float]) -> npt.NDArray[np.float32]:
        """The numbers `(rows,)` behind an attribute's classes; NaN where there is none, or where the label is not the class that `cuts` put
        it in, as when cleaning changed it."""
        column = number_column(attribute)
        if column not in self.frame:
            return np.full(len(self), np.nan, dtype=np.float32)
        numbers = self.frame[column].to_numpy(dtype=np.float64)
        classes = np.searchsorted(np.asarray(cuts, dtype=np.float64), numbers, side="right")
        return np.where(classes == self.targets(attribute), numbers, np.nan).astype(np.float32)

    def of_split(self, split: str) -> "Manifest":
        """The rows of one split, in order."""
        return self.take(np.flatnonzero(self.frame["split"].to_numpy() == split))

    def take(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> "Manifest":
        """The rows at these positions, in this order."""
        return replace(self, frame=self.frame.iloc[np.asarray(positions, dtype=np.int64)].reset_index(drop=True))

    def with_columns(self, **columns: Any) -> "Manifest":
        """The same rows with columns replaced."""
        return replace(self, frame=self.frame.assign(**columns))

    def image_paths(self) -> Sequence[Path]:
        """Each row's picture, as a path that can be opened."""
        return Locations(self.roots[card] / path for card, path in zip(self.frame["card"], self.frame["path"], strict=True))

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
        problems += found
        parts.append(rows[~bad_rows])
    frame = pd.concat(parts, ignore_index=True)
    files = number_files(roots[card] / path for card, path in zip(frame["card"], frame["path"], strict=True))
    leaking, leaks = find_leaks(frame, files, columns={name: card.group for name, card in cards.items()})
    problems += leaks
    if problems and on_error == "stop":
        advice = LEAK_FIX if len(leaks) == len(problems) else SKIP_ADVICE
        raise ProblemsError(_title(problems, leaks), problems, fix=advice if len(frame) else None)
    frame = frame[~leaking].drop(columns=[TABLE_COLUMN, ROW_COLUMN]).reset_index(drop=True)
    for attribute in classes:
        frame[attribute] = frame[attribute].fillna(MISSING).astype(np.int64) if attribute in frame else MISSING
    if frame.empty:
        raise ProblemsError(f"no usable row in {', '.join(str(root) for root in roots.values())}", problems)
    return Manifest(frame, classes, dict(roots)), problems


def _title(problems: Sequence[Problem], leaks: Sequence[Problem]) -> str:
    """What the error is called: leaks by their name, so that nobody takes them for a broken file."""
    if len(leaks) == len(problems):
        return f"{len(leaks)} {'group or picture stands' if len(leaks) == 1 else 'groups or pictures stand'} in several splits"
    count = "1 row is" if len(problems) == 1 else f"{len(problems)} rows{' or groups' if leaks else ''} are"
    return f"{count} not usable"
