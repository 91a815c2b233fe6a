"""A first data card from a label table: what its columns seem to be, for a person to correct."""

import contextlib
import itertools
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import yaml

from attrcls.card import RESERVED_NAMES
from attrcls.data.tables import read_table
from attrcls.errors import UserError
from attrcls.types import SPLITS

MAX_CLASSES = 50
_GROUP_NAMES = re.compile(
    r"^(person|people|subject|user|sender|group|identity|patient|customer|owner|photographer|author|artist|donor|individual|session|video|clip)"
    r"s?([_ ]?(id|name|nr|no|number))?$",
    re.IGNORECASE,
)
# How many rows' pictures, and which folders below the table's, are looked at to find where pictures lie.
ROWS_TRIED, FOLDERS_TRIED, DEPTH_TRIED = 20, 500, 2
_ZERO_PADDED = re.compile(r"0\d+")
# Up to so many of a column's numbers may be something else, such as n/a or a slip of the hand.
STRAY_SHARE, STRAY_CELLS = 0.1, 3
_IMAGE_CELL = re.compile(r"\.(?:jpe?g|png|bmp|gif|webp|tiff?)$", re.IGNORECASE)
# How others call the splits; what lies for evaluation is what a model is tested on.
_SPLIT_NAMES = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test", "eval": "test"}
_BOX_NAMES = {edge: re.compile(rf"^(bbox[_ ]?)?{edge[0]}_?{edge[1:]}$", re.IGNORECASE) for edge in ("xmin", "ymin", "xmax", "ymax")}


def draft_card(path: Path, *, root: str = ".", encoding: str | None = None) -> str:
    """YAML of a data card for a table, with a comment where a guess was made.

    `root` is the table's folder as seen from where the card will lie.

    Raises:
        UserError: the table cannot be read, or no column names pictures or looks like labels.
    """
    table = read_table(path, encoding=encoding)
    image = _image_column(table, path)
    boxes = {edge: str(name) for edge, pattern in _BOX_NAMES.items() for name in table.columns if pattern.match(str(name))}
    boxes = boxes if len(boxes) == len(_BOX_NAMES) else {}
    split = next((str(name) for name in table.columns if _is_split(table[name])), None)
    group, because = _group_column(table, others={image, split, *boxes.values()})
    left = [str(name) for name in table.columns if name not in {image, group, split, *boxes.values()}]
    attributes, passed_over, used = [], [], set[str]()
    for name in left:
        attribute = _attribute_name(name, used)
        lines, why = _draft_attribute(name, attribute, table[name], groups=table[group] if group else None)
        attributes += lines
        used |= {attribute} if lines else set()
        passed_over += [f"#   {_comment(name)}: {why}"] if why else []
    if not attributes:
        raise UserError(f"{path}: no column looks like labels: expected one with 2 to {MAX_CLASSES} different values")
    image_root = _image_root(table[image], path.parent)
    known = ["# No picture was found: say in `root:` which folder, below the table's, the paths are below."] if image_root is None else []
    known += [
        f"group: {_text(group)}  # {because}rows of one {_comment(group)} never straddle splits"
        if group
        else "# group: COLUMN  # what must not straddle splits: a person"
    ]
    known += [_split_line(split, table[split])] if split else []
    known += ["box: {" + ", ".join(f"{edge}: {_text(name)}" for edge, name in boxes.items()) + "}"] if boxes else []
    return "\n".join(
        [
            f"# Drafted from {_comment(path.name)}; check the guesses, then: attrcls train TASK.yaml with `cards: [THIS-FILE]`",
            f"title: {_text(path.stem)}",
            f"root: {_text(root)}  # where the table lies, as seen from this file",
            f"tables: [{{file: {_text(path.name)}, encoding: {encoding}}}]" if encoding else f"tables: [{_text(path.name)}]",
            f"images: {{root: {_text(image_root or '.')}, column: {_text(image)}}}",
            *known,
            "attributes:",
            *attributes,
            *(["# Columns passed over:", *passed_over] if passed_over else []),
            "licence: unknown",
            "",
        ]
    )


def _image_column(table: pd.DataFrame, path: Path) -> str:
    shares = {str(name): table[name].str.contains(_IMAGE_CELL).mean() for name in table.columns}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] < 0.5:
        raise UserError(f"{path}: no column names pictures (cells that end in .jpg, .png and the like); columns: {', '.join(shares)}")
    return best


def _image_root(cells: "pd.Series[str]", folder: Path) -> str | None:
    """The folder, at or below the table's, that most of a few pictures are found in; None where none is."""
    paths = [PurePosixPath(cell.strip().replace("\\", "/")) for cell in cells.iloc[np.linspace(0, len(cells) - 1, ROWS_TRIED).astype(int)]]
    # os.path, unlike Path, finds a name that is too long simply absent.
    found = {root: sum(os.path.isfile(folder / root / path) for path in paths) for root in itertools.islice(_folders(folder), FOLDERS_TRIED)}
    best = max(found, key=lambda root: found[root])
    return best if found[best] else None


def _folders(folder: Path) -> Iterator[str]:
    """The folder itself, and those below it, the nearest first."""
    waiting = [(PurePosixPath("."), 0)]
    while waiting:
        place, depth = waiting.pop(0)
        yield str(place)
        with contextlib.suppress(OSError):
            below = sorted(
                each.name for each in os.scandir(folder / place) if depth < DEPTH_TRIED and each.is_dir() and not each.name.startswith(".")
            )
            waiting += [(place / name, depth + 1) for name in below]


def _group_column(table: pd.DataFrame, *, others: Collection[str | None]) -> tuple[str | None, str]:
    """The column of what belongs together, and why it is taken for one where its name does not tell."""
    names = [str(name) for name in table.columns if str(name) not in others]
    for name in names:
        if _GROUP_NAMES.match(name):
            return name, ""
    for name in names:
        rows = table[name].str.strip().loc[lambda cells: cells != ""].value_counts()
        if len(rows) > MAX_CLASSES and (rows.min() > 1 if rows.nunique() == 1 else _is_padded(rows.index) and rows.mean() > 2):
            return name, f"a guess, for its {len(rows):,} values stand in {rows.mean():.3g} rows each: "
    return None, ""


def _is_padded(cells: Iterable[str]) -> bool:
    """Whether these are digits that start with a zero somewhere: names, not numbers."""
    cells = list(cells)
    return all(cell.isdecimal() for cell in cells) and any(map(_ZERO_PADDED.fullmatch, cells))


def _is_split(cells: "pd.Series[str]") -> bool:
    return set(cells.str.strip().str.casefold()) - {""} <= {*SPLITS, *_SPLIT_NAMES} and bool(cells.str.strip().any())


def _split_line(column: str, cells: "pd.Series[str]") -> str:
    others = {cell: name for cell in sorted(set(cells.str.strip())) if (name := _SPLIT_NAMES.get(cell.casefold()))}
    if not others:
        return f"split: {_text(column)}"
    return f"split: {{column: {_text(column)}, values: {{{', '.join(f'{_text(cell)}: {name}' for cell, name in others.items())}}}}}"


def _draft_attribute(name: str, attribute: str, cells: "pd.Series[str]", *, groups: "pd.Series[str] | None") -> tuple[list[str], str | None]:
    """The attribute's YAML lines, or none and why the column was passed over."""
    named = cells.str.strip()
    found = named[named != ""]
    values = sorted(found.unique(), key=lambda cell: (not _is_number(cell), float(cell) if _is_number(cell) else 0.0, cell))
    if len(values) < 2:
        return [], f"{len(values)} different value"
    column = [] if attribute == name else [f"    column: {_text(name)}"]
    numbers = [value for value in values if _is_number(value)]
    strays = values[len(numbers) :]
    if len(numbers) > 12 and len(strays) <= STRAY_CELLS and found.isin(strays).mean() <= STRAY_SHARE:
        found = found[~found.isin(strays)]
        if _is_padded(numbers):
            return [], f"{len(numbers)} different numbers that start with zeros, as names do; if rows of one belong together: group: {_text(name)}"
        cuts = _thirds(found.astype(float))
        if not cuts or len(numbers) > len(found) * 0.9:
            return [], f"{len(numbers)} different numbers; give `cuts:` and `classes:` to make bands of them"
        classes = [f"below {cuts[0]}", f"{cuts[0]} to {cuts[1]}", f"{cuts[1]} and over"]
        missing = [f"    missing: {_flow(['', *strays])}  # no numbers: a guess that they mean: no label"] if strays else []
        return [
            f"  {_text(attribute)}:",
            *column,
            f"    classes: {_flow(classes)}",
            f"    cuts: [{', '.join(cuts)}]  # thirds of the numbers found",
            *missing,
        ], None
    if len(values) > MAX_CLASSES or len(values) > len(found) * 0.5:
        return [], f"{len(values)} different values, too many for classes"
    rows = found.value_counts()
    once = [value for value in values if rows[value] == 1]
    rare = f"  # in one row only, so not to be learned: {_comment(', '.join(once))}" if once else ""
    lines = [f"  {_text(attribute)}:", *column, f"    classes: {_flow(values)}{rare}"]
    if groups is not None and named.groupby(groups).nunique().max() == 1:
        lines.append("    constant_in_group: true")
    return lines, None


def _thirds(numbers: "pd.Series[float]") -> list[str]:
    """Two cut points, as round as they may be with numbers in all three bands; none where there are no such."""
    for digits in range(11):
        low, high = numbers.quantile([1 / 3, 2 / 3]).round(digits)
        if numbers.min() < low < high <= numbers.max():
            return [f"{cut:.15g}" for cut in (low, high)]
    return []


def _attribute_name(column: str, used: set[str]) -> str:
    """The column's name as an attribute may be called, and no other attribute is."""
    name = re.sub(r"\W+", "_", column).strip("_").lower() or "label"
    name = f"a_{name}" if not name.isidentifier() or name in RESERVED_NAMES else name
    number = 2
    while (free := name if name not in used else f"{name}_{number}") in used:
        number += 1
    return free


def _is_number(cell: str) -> bool:
    try:
        return float(cell) == float(cell)
    except ValueError:
        return False


def _flow(values: list[str]) -> str:
    return "[" + ", ".join(map(_text, values)) + "]"


def _text(value: str) -> str:
    # As YAML would write the text inside [ ]: quoted where it would be read as something else.
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000).strip()[1:-1]


def _comment(text: str) -> str:
    # A stranger's column name with a line break in it must not go on as a key of the card.
    return "".join(letter if letter.isprintable() else " " for letter in text)


def draft_task(card: str, *, card_file: str) -> str:
    """YAML of a task that trains every attribute of a drafted card, which lies beside it."""
    heads = list(yaml.safe_load(card)["attributes"])
    crop = "image: {px: 128, crop_boxes: true}" if "\nbox:" in card else "image: {px: 128}"
    return "\n".join(
        [
            f"title: {', '.join(heads)}",
            f"cards: [{_text(card_file)}]",
            f"heads: {_flow(heads)}",
            crop,
            "trunk: {name: resnet18, weights: DEFAULT}  # any torchvision classification model",
            "epochs: 8",
            "# The combined code, most significant attribute first: combine: {name: code, order: " + _flow(heads) + "}",
            "",
        ]
    )
