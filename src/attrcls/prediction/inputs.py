"""What is to be predicted: a folder, a picture or a table becomes rows with a path (and box) each."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.card import BoxSpec
from attrcls.data.cells import as_utf8, unescape_cell
from attrcls.data.locations import Locations
from attrcls.data.remote import AddressError, Location, Url, check_reachable, is_url, parse_location
from attrcls.data.tables import find_column, read_table
from attrcls.errors import UserError

IMAGE_COLUMNS = ("path", "file", "filename", "image", "image_name", "ImageID")
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".parquet"})
# How many pictures are asked for before a folder elsewhere, of which nothing is seen, is refused.
PICTURES_TRIED = 5
# The box of a row whose card has none, among cards that have: what lies outside a picture is cut off it.
WHOLE_PICTURE = (0.0, 0.0, 1e9, 1e9)


@dataclass(frozen=True)
class PredictInput:
    """`table` has the input's own columns, one row per picture asked for; `image_column` is the one that names it.

    `paths` say where each row's picture is looked for, on disk or elsewhere. `boxes` `(rows, 4)` are pixels, NaN where a row's box is not
    four numbers; None where no boxes are used.
    """

    table: pd.DataFrame
    image_column: str
    paths: Sequence[Location]
    boxes: npt.NDArray[np.float64] | None = None


def read_input(
    source: Location, *, image_column: str | None = None, image_root: Location | None = None, encoding: str | None = None,
    box: BoxSpec | None = None,
) -> PredictInput:  # fmt: skip
    """Read a folder (searched below), one picture, or a table of pictures.

    A table's files are looked up under `image_root`, or beside the table and in `images/` beside it; absolute paths and URLs
    are taken as they are. Elsewhere nothing is looked up: pictures lie under `image_root`, or beside the table. `box` names the
    columns to crop by, which a table must then have. What links below a folder lead to is searched once, but not what holds
    that folder.
    Raises:
        UserError: the input is missing, empty or cannot be read, or a column that is needed is not there; nothing of `image_root` can be
            reached; what is said of a table is said of a folder or a picture.
    """
    of_tables = {"--image-column": image_column, "--image-root": image_root, "--encoding": encoding}
    if isinstance(source, Path):
        _check_there(source)
        if os.path.isdir(source):
            refuse_table_options(source, of_tables)
            return _read_folder(source)
    kind = source.suffix.lower()
    if kind in IMAGE_SUFFIXES:
        refuse_table_options(source, of_tables)
        return PredictInput(pd.DataFrame({"path": [as_utf8(str(source))]}), "path", [source])
    if kind not in TABLE_SUFFIXES:
        raise UserError(
            f"{source}: expected a folder{' on disk' if isinstance(source, Url) else ''}, a picture ({', '.join(sorted(IMAGE_SUFFIXES))}) "
            f"or a table ({', '.join(sorted(TABLE_SUFFIXES))})"
        )
    table = read_table(source, encoding=encoding)
    column = _image_column(table, image_column, file=source)
    bases = [image_root] if image_root else [source.parent] if isinstance(source, Url) else [source.parent, source.parent / "images"]
    paths = Locations(_look_up(cell, bases) for cell in table[column])
    if isinstance(image_root, Path) and not os.path.isdir(image_root):
        raise UserError(f"--image-root {image_root}: no such folder; name the folder that the paths in {source} are below")
    if isinstance(image_root, Url):
        below = (path for path in paths if isinstance(path, Url) and path.bare.startswith(image_root.bare))
        check_reachable(image_root, list(itertools.islice(below, PICTURES_TRIED)))
    return PredictInput(table, column, paths, _read_boxes(table, box, file=source) if box else None)


def refuse_table_options(source: Location, options: Mapping[str, object]) -> None:
    """Raises:
    UserError: one of these options, which say how a table is read, is given though `source` is none.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(
            f"{source}: expected a table to go with {' and '.join(given)}, found {_what(source)}; leave {'it' if len(given) == 1 else 'them'} out"
        )


def _what(source: Location) -> str:
    return "a folder" if isinstance(source, Path) and source.is_dir() else "a picture"


def _check_there(source: Path) -> None:
    # os.path, unlike Path, finds a name that is too long simply absent.
    if not os.path.exists(source):
        raise UserError(f"no input {source}: expected a folder, a picture, or a table ({', '.join(sorted(TABLE_SUFFIXES))})")


def _read_folder(folder: Path) -> PredictInput:
    names: list[str] = []
    seen: set[str] = set()
    waiting, own = [str(folder)], Path(os.path.realpath(folder))
    while waiting:
        links: list[str] = []
        for parent, folders, files in os.walk(waiting.pop(0), onerror=_refuse_folder):
            seen.add(os.path.realpath(parent))
            below = sorted(os.path.join(parent, name) for name in folders if not name.startswith("."))
            links += [each for each in below if os.path.islink(each)]
            folders[:] = [os.path.basename(each) for each in below if os.path.realpath(each) not in seen]
            told = Path(parent).relative_to(folder)
            names += [str(told / name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES]
        # Only after what lies here itself: a picture has the name of its own folder. What holds this folder is not gone up to.
        waiting = [each for each in [*waiting, *links] if os.path.realpath(each) not in seen and not own.is_relative_to(os.path.realpath(each))]
    if not names:
        raise UserError(f"{folder}: no picture in this folder or below it (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    names.sort()
    return PredictInput(pd.DataFrame({"path": [as_utf8(name) for name in names]}), "path", Locations(folder / name for name in names))


def _refuse_folder(error: OSError) -> None:
    # A folder passed over would be rows that nobody misses.
    raise UserError(f"{error.filename}: this folder cannot be read ({error.strerror}); make it readable, or list the pictures in a table") from error


def _image_column(table: pd.DataFrame, wanted: str | None, *, file: Location) -> str:
    if wanted is not None:
        return find_column(table, wanted, file=file, what="the pictures (--image-column)")
    by_folded = {str(name).casefold(): str(name) for name in reversed(table.columns)}
    for name in IMAGE_COLUMNS:
        if name in table.columns:
            return name
    for name in IMAGE_COLUMNS:
        if name.casefold() in by_folded:
            return by_folded[name.casefold()]
    columns = ", ".join(map(str, table.columns[:20]))
    raise UserError(f"{file}: no column looks like the pictures' ({', '.join(IMAGE_COLUMNS)}); name it with --image-column (columns: {columns})")


def _look_up(cell: str, bases: Sequence[Location]) -> Location:
    # A blank cell must not become the folder itself: an empty path is told as missing later.
    name = cell.strip()
    if not name or "\0" in name:
        return Path()
    if "://" in name and is_url(name):
        try:
            return parse_location(name)
        except AddressError:  # One row's trouble: no file has such a name.
            return Path(name)
    if isinstance(bases[0], Url):
        return Path(name) if Path(name).is_absolute() else bases[0] / name
    # A table that attrcls wrote, an earlier prediction say, has an apostrophe before names that a spreadsheet would run.
    names = dict.fromkeys((name, unescape_cell(name)))
    folders = [base for base in bases if isinstance(base, Path)]
    candidates = [path for each in names for path in ([Path(each)] if Path(each).is_absolute() else [folder / each for folder in folders])]
    try:
        return next((path for path in candidates if path.exists()), candidates[0])
    except OSError:
        return candidates[0]


def _read_boxes(table: pd.DataFrame, box: BoxSpec, *, file: Location) -> npt.NDArray[np.float64]:
    columns = [find_column(table, name, file=file, what="the boxes that this model crops by") for name in box.columns]
    return np.stack([pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64) for column in columns], axis=1)
