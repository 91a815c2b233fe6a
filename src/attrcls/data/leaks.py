"""What must not stand in two splits: a group, and a picture, by whatever path it is reached.

Manifest rows go in; leaks, each with its rows and splits, come out, and a number per row that is equal for rows which stay together.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from attrcls.data.rows import ROW_COLUMN, TABLE_COLUMN
from attrcls.errors import Problem
from attrcls.types import SPLITS

Pairs = npt.NDArray[np.int64]
Cells = npt.NDArray[np.object_]

SHOWN_ROWS = 5
LEAK_FIX = "Give all rows of a group, and of a picture, the same split; or keep only those of the latest one (test before val): --on-error skip"


@dataclass(frozen=True)
class Leak(Problem):
    """A group or a picture with rows in several splits."""


def find_leaks(rows: pd.DataFrame, files: npt.NDArray[np.int64], *, columns: dict[str, str | None]) -> tuple[npt.NDArray[np.bool_], list[Leak]]:
    """Groups and pictures with rows in several given splits, and which rows `(rows,)` to drop to be rid of them.

    `rows` has the columns card, path, group, split, and those that say where a row stands; `files` numbers each row's
    picture; `columns` names each card's group column. Dropped are the rows of the earlier splits: a test set stays whole.
    """
    # A blank split will train or be held back, so it must not share a group with a given one either.
    given = rows["split"].replace("", "train").to_numpy(dtype=object)
    # Plain arrays: pandas takes milliseconds for what is told of one leak, and a bad split of a large table has ten thousand.
    cells = {name: rows[name].to_numpy(dtype=object) for name in ("card", "path", "group", TABLE_COLUMN, ROW_COLUMN)}
    drop = np.zeros(len(rows), dtype=bool)
    leaks = []
    groups = pd.factorize(rows["group"].where(rows["group"] != ""))[0]
    for codes, of_group in ((groups, True), (files, False)):
        # A picture whose group straddles is told of once, with its group.
        for found in _in_several_splits(codes, given, among=(codes >= 0) & ~drop):
            splits = given[found]
            drop[found] = splits != max(splits, key=SPLITS.index)
            part = {name: column[found] for name, column in cells.items()}
            leaks.append(_leak(part, splits, column=columns[part["card"][0]] if of_group else None, of_group=of_group))
    return drop, leaks


def number_files(paths: Iterable[Path]) -> npt.NDArray[np.int64]:
    """A number per path, equal for paths that lead to one file: through links, `..`, or another spelling that the disk accepts."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(_identity(path), len(numbers)) for path in paths], np.int64)


def number_together(pairs: Pairs, *, members: int) -> npt.NDArray[np.int64]:
    """A number per member, equal for those whom pairs `(pairs, 2)` tie to each other, directly or through others."""
    links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(members, members))
    numbers: npt.NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return numbers


def ties(codes: npt.NDArray[np.int64]) -> Pairs:
    """Pairs `(pairs, 2)` that tie each position to the first of the same code; −1 is tied to nobody."""
    known = np.flatnonzero(codes >= 0)
    _, first, inverse = np.unique(codes[known], return_index=True, return_inverse=True)
    return np.stack([known[first[inverse]], known], axis=1)


def _in_several_splits(codes: npt.NDArray[np.int64], splits: Cells, *, among: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """The rows of each code that has several splits, in order."""
    rows = np.flatnonzero(among)
    counts = pd.Series(splits[rows]).groupby(codes[rows]).nunique()
    several = rows[np.isin(codes[rows], counts.index[counts > 1])]
    of_code: dict[int, list[int]] = {}
    for row, code in zip(several.tolist(), codes[several].tolist(), strict=True):
        of_code.setdefault(code, []).append(row)
    return [np.array(found, dtype=np.int64) for found in of_code.values()]


def _leak(part: Mapping[str, Cells], splits: Cells, *, column: str | None, of_group: bool) -> Leak:
    tables = list(dict.fromkeys(part[TABLE_COLUMN]))
    told = [f"{split} ({_rows(part, splits == split, name_tables=len(tables) > 1)})" for split in sorted(set(splits), key=SPLITS.index)]
    where = " and ".join(told)
    if of_group:
        name = part["group"][0].removeprefix(f"{part['card'][0]}:")
        return Leak(", ".join(tables), f"group {name!r} has rows in {where}; a group must stay in one split", column=column)
    paths = list(dict.fromkeys(part["path"]))
    what = f"the picture {paths[0]} stands" if len(paths) == 1 else f"{' and '.join(paths[:SHOWN_ROWS])} are one file, which stands"
    return Leak(", ".join(tables), f"{what} in {where}; a picture must stay in one split")


def _rows(part: Mapping[str, Cells], which: npt.NDArray[np.bool_], *, name_tables: bool) -> str:
    of_table: dict[str, dict[str, None]] = {}
    for table, number in zip(part[TABLE_COLUMN][which], part[ROW_COLUMN][which], strict=True):
        of_table.setdefault(table, {})[str(number)] = None
    told = []
    for table, numbers in of_table.items():
        shown = ", ".join(list(numbers)[:SHOWN_ROWS]) + (f" and {len(numbers) - SHOWN_ROWS:,} more" if len(numbers) > SHOWN_ROWS else "")
        told.append(f"{table} " * name_tables + f"row{'s' * (len(numbers) > 1)} {shown}")
    return ", ".join(told)


def _identity(path: Path) -> object:
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL character in the path
        return os.fspath(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
