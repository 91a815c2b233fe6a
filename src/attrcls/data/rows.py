"""One card's tables and files to manifest rows, with every bad cell found in one pass."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.card import AttributeSpec, Card, TableSpec
from attrcls.data.cells import unescape_cell
from attrcls.data.tables import find_column, read_table
from attrcls.errors import Problem, UserError
from attrcls.inside import Inside, path_fault
from attrcls.spec import suggest
from attrcls.types import MISSING, SPLITS

BOX_COLUMNS = ("xmin", "ymin", "xmax", "ymax")


def number_column(attribute: str) -> str:
    """The manifest's column of the numbers that an attribute's classes were cut from; no attribute is called so."""
    return f"{attribute}:number"


# Where a row stands, as no attribute is called.
TABLE_COLUMN, ROW_COLUMN = ":table", ":row"
# What pandas makes of whole numbers in a column with a gap, and they themselves.
_WHOLE = re.compile(r"(-?\d+)(?:\.0+)?")


@dataclass
class _Reading:
    """A table being turned into rows; `bad` marks the rows that cannot be used, `problems` say why."""

    file: str
    numbers: npt.NDArray[np.int64]
    bad: npt.NDArray[np.bool_]
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, position: int, message: str, *, column: str | None) -> None:
        self.bad[position] = True
        self.problems.append(Problem(self.file, message, row=int(self.numbers[position]), column=column))


def read_rows(card: Card, root: Path) -> tuple[pd.DataFrame, npt.NDArray[np.bool_], list[Problem]]:
    """All rows of a card's tables as a manifest frame, which of them are bad `(rows,)`, and why.

    `group` carries the card's name (`card:person`); it is blank where the cell is. Two columns more, `TABLE_COLUMN` and `ROW_COLUMN`, say
    where a row stands. Raises:
        UserError: the data folder, a table or a column is missing.
    """
    if not os.path.isdir(root):
        raise UserError(f"card {card.name}: no data folder {root}; name the folder that holds {card.tables[0].file}: --data DIR")
    frames, readings = [], []
    for table in card.tables:
        if table.optional and not os.path.exists(root / table.file):
            continue
        frame, reading = _read_table_rows(card, table, root)
        frames.append(frame)
        readings.append(reading)
    if not frames:
        raise UserError(
            f"card {card.name}: none of {', '.join(table.file for table in card.tables)} lies in {root}; name the folder that holds them: --data DIR"
        )
    rows = pd.concat(frames, ignore_index=True)
    bad = np.concatenate([reading.bad for reading in readings])
    problems = [problem for reading in readings for problem in reading.problems]
    repeated = rows["row_id"].duplicated().to_numpy() & ~bad
    rows[ROW_COLUMN] = np.concatenate([reading.numbers for reading in readings])
    rows[TABLE_COLUMN] = np.repeat([reading.file for reading in readings], [len(reading.bad) for reading in readings])
    for position in np.flatnonzero(repeated):
        row = rows.iloc[position]
        message = f"{row['row_id']!r} stands here a second time; each row needs a key of its own"
        problems.append(Problem(row[TABLE_COLUMN], message, row=int(row[ROW_COLUMN]), column=card.key or card.images.column))
    return rows, bad | repeated, problems


def _read_table_rows(card: Card, table: TableSpec, root: Path) -> tuple[pd.DataFrame, _Reading]:
    file = root / table.file
    cells = read_table(file, encoding=table.encoding, escaped=table.escaped)

    def column(name: str, what: str) -> Any:
        return cells[find_column(cells, name, file=file, what=what)].to_numpy(dtype=object)

    image_cells = column(card.images.column, "the image paths")
    positions = np.arange(len(cells))
    folders = card.images.folders
    if folders:
        positions = np.repeat(positions, len(folders.files))
    reading = _Reading(table.file, positions + 1, np.zeros(len(positions), dtype=bool))
    image_root = PurePosixPath(table.images if table.images is not None else card.images.root)
    paths = _folder_paths(card, image_cells, image_root, root, reading) if folders else _file_paths(card, image_cells, image_root, root, reading)
    boxes = _read_boxes(card, [column(name, "boxes") for name in card.box.columns], reading) if card.box else None
    # With its root, so that 1.jpg of train/ and 1.jpg of test/ are two rows.
    located = [str(image_root / path) for path in paths]
    keys = column(card.key, "the rows' keys")[positions] if card.key else None
    columns: dict[str, object] = {"card": card.name, "row_id": _row_ids(keys, located, boxes, several=folders is not None)}
    columns["path"] = located
    for index, name in enumerate(BOX_COLUMNS):
        columns[name] = np.nan if boxes is None else boxes[:, index]
    groups = column(card.group, "the groups")[positions] if card.group else np.full(len(positions), "", dtype=object)
    columns["group"] = [f"{card.name}:{group}" if group else "" for group in _group_names(groups)]
    columns["split"] = table.split or (_read_splits(card, column(card.split.column, "the splits")[positions], reading) if card.split else "")
    for name, spec in card.attributes.items():
        source = card.column_of(name)
        if source is None and folders:
            columns[name] = np.tile([spec.classes.index(label) for label in folders.files.values()], len(cells))
        elif source is not None:
            cells_of = column(source, f"the labels of {name}")[positions]
            columns[name] = _read_targets(spec, cells_of, source, reading)
            if spec.cuts:
                number_of = {cell: spec.number_of(cell) for cell in dict.fromkeys(cells_of)}
                columns[number_column(name)] = np.fromiter((number_of[cell] for cell in cells_of), dtype=np.float64, count=len(cells_of))
    return pd.DataFrame(columns, index=range(len(positions))), reading


def _group_names(cells: Iterable[str]) -> list[str]:
    """The cells without blanks around them; a column of whole numbers as such, so that 7 in one table and 7.0 in another are one group."""
    names = [cell.strip() for cell in cells]
    found = {name: _WHOLE.fullmatch(name) for name in dict.fromkeys(names) if name}
    whole = {"": "", **{name: match[1] for name, match in found.items() if match}}
    return [whole[name] for name in names] if all(found.values()) else names


def _row_ids(keys: Sequence[str] | None, paths: Sequence[str], boxes: npt.NDArray[np.float64] | None, *, several: bool) -> list[str]:
    """The key column's cells (with the file's stem, where a key has `several` pictures), else path, and box if any."""
    if keys is not None:
        return [f"{key}/{PurePosixPath(path).stem}" if several else key for key, path in zip(keys, paths, strict=True)]
    if boxes is not None:
        return [f"{path}@{','.join(f'{edge:g}' for edge in box)}" for path, box in zip(paths, boxes, strict=True)]
    return list(paths)


def _file_paths(card: Card, cells: Sequence[str], image_root: PurePosixPath, root: Path, reading: _Reading) -> list[str]:
    names: list[str] = []
    folder = root / image_root
    inside = Inside(folder)
    nowhere = _nowhere(cells, folder)
    for position, cell in enumerate(cells):
        name = cell.strip().replace("\\", "/")
        names.append(name)
        fault = path_fault(name)
        if fault is None and (nowhere or not os.path.isfile(folder / name)):
            fault = nowhere or f"no file {image_root / name} in {root}{_escaped_hint(name, folder)}"
        if fault is None and not card.images.follow_links and not inside.holds(folder / name):
            fault = _link_fault(image_root / name)
        if fault:
            reading.refuse(position, fault, column=card.images.column)
    return names


def _nowhere(cells: Sequence[str], folder: Path) -> str | None:
    """What is to be said of every row, where not one picture lies in the folder: that it is another folder."""
    names = [name for cell in cells if path_fault(name := cell.strip().replace("\\", "/")) is None]
    if not names or (len(names) == 1 and os.path.isdir(folder)):
        return None
    if any(os.path.isfile(folder / name) or _escaped_hint(name, folder) for name in names):
        return None
    found = f"none of these {len(names):,} pictures is in" if os.path.isdir(folder) else "no image folder"
    return (
        f"{found} {folder}, where {names[0]} is looked for; say in the card which folder, below the data folder, they lie in: "
        "images: {root: FOLDER}; or name another data folder: --data DIR"
    )


def _folder_paths(card: Card, cells: Sequence[str], image_root: PurePosixPath, root: Path, reading: _Reading) -> list[str]:
    """Each cell's folder holds one picture per expected stem, with any of the extensions; stray `._*` files do not count."""
    folders = card.images.folders
    assert folders is not None
    names: list[str] = []
    inside = Inside(root / image_root)
    for index, cell in enumerate(cells):
        folder = cell.strip().replace("\\", "/")
        fault = path_fault(folder)
        try:
            entries = [] if fault else [name for name in os.listdir(root / image_root / folder) if not name.startswith("._")]
        except OSError:
            entries, fault = [], f"no folder {image_root / folder} in {root}"
        for offset, stem in enumerate(folders.files):
            position = index * len(folders.files) + offset
            matches = sorted(
                name for name in entries if PurePosixPath(name).stem == stem and PurePosixPath(name).suffix.lower() in folders.extensions
            )
            names.append(f"{folder}/{matches[0] if matches else stem}")
            if not fault and len(matches) == 1 and not card.images.follow_links and not inside.holds(root / image_root / names[-1]):
                fault = _link_fault(image_root / names[-1])
            if fault or len(matches) != 1:
                expected = f"expected one of {stem}{{{','.join(folders.extensions)}}} in {image_root / folder}"
                reading.refuse(position, fault or f"{expected}, found {', '.join(matches) or 'none'}", column=card.images.column)
    return names


def _link_fault(path: PurePosixPath) -> str:
    return (
        f"{path} is or lies behind a link that leads out of the image folder; put the file itself there, or say images.follow_links: true in the card"
    )


def _escaped_hint(name: str, folder: Path) -> str:
    plain = unescape_cell(name)
    found = plain != name and os.path.isfile(folder / plain)
    return f", but {plain!r} is: for a table that attrcls wrote, say escaped: true beside file: in the card" if found else ""


def _read_boxes(card: Card, columns: Sequence[Sequence[str]], reading: _Reading) -> npt.NDArray[np.float64]:
    assert card.box is not None
    boxes = np.stack([pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(dtype=np.float64) for column in columns], axis=1)
    for position in np.flatnonzero(~np.isfinite(boxes).all(axis=1)):
        bad = int(np.flatnonzero(~np.isfinite(boxes[position]))[0])
        reading.refuse(int(position), f"expected a number of pixels, found {columns[bad][int(position)]!r}", column=card.box.columns[bad])
    with np.errstate(invalid="ignore"):
        empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    for position in np.flatnonzero(empty):
        box = ", ".join(f"{edge:g}" for edge in boxes[position])
        reading.refuse(int(position), f"expected xmin < xmax and ymin < ymax, found {box}", column=card.box.xmin)
    return boxes


def _read_splits(card: Card, cells: Sequence[str], reading: _Reading) -> list[str]:
    assert card.split is not None
    known = {**{name: name for name in SPLITS}, "": "", **card.split.values}
    splits = []
    for position, cell in enumerate(cells):
        split = known.get(cell.strip(), known.get(cell.strip().casefold()))
        if split is None:
            expected = ", ".join(name for name in known if name)
            reading.refuse(position, f"expected one of {expected}, found {cell!r}{suggest(cell, known)}", column=card.split.column)
        splits.append(split or "")
    return splits


def _read_targets(spec: AttributeSpec, cells: Sequence[str], column: str, reading: _Reading) -> npt.NDArray[np.int64]:
    index_of: dict[str, int] = {}
    faults: dict[str, str] = {}
    for cell in dict.fromkeys(cells):
        try:
            index_of[cell] = spec.index_of(cell)
        except ValueError as error:
            index_of[cell], faults[cell] = MISSING, str(error)
    if faults:
        for position, cell in enumerate(cells):
            if cell in faults:
                reading.refuse(position, faults[cell], column=column)
    return np.fromiter((index_of[cell] for cell in cells), dtype=np.int64, count=len(cells))
