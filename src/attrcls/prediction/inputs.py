"""What is to be predicted: a folder, a picture or a table becomes rows with a path (and box) each."""

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from attrcls.model.description import TableImages

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
    four numbers; None where no boxes are used. `nowhere` says what is wrong where not one picture lies where a table's names are looked up.
    """

    table: pd.DataFrame
    image_column: str
    paths: Sequence[Location]
    boxes: npt.NDArray[np.float64] | None = None
    nowhere: str | None = None

    def refuse_nowhere(self) -> None:
        """Raises:
        UserError: not one picture is found: the folder is wrong, not the rows.
        """
        if self.nowhere:
            raise UserError(self.nowhere)


def read_input(
    source: Location, *, image_column: str | None = None, image_root: Location | None = None, encoding: str | None = None,
    box: BoxSpec | None = None, known: Sequence[TableImages] = (),
) -> PredictInput:  # fmt: skip
    """Read a folder (searched below), one picture, or a table of pictures.

    A table's files are looked up under `image_root`, or beside the table, in `images/` beside it, and where `known` tables have theirs: the
    one of the same name, or else all of them; absolute paths and URLs are taken as they are. Elsewhere nothing is looked up: pictures lie
    under `image_root`, or beside the table. `box` names the columns to crop by, which a table must then have. What links below a folder lead
    to is searched once, but not what holds that folder.
    Raises:
        UserError: the input is missing, empty or cannot be read, or a column that is needed is not there; one name is found in the folders
            of two known tables; nothing of `image_root` can be reached; what is said of a table is said of a folder or a picture.
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
    if isinstance(image_root, Path) and not os.path.isdir(image_root):
        raise UserError(f"--image-root {image_root}: no such folder; name the folder that the paths in {source} are below")
    known = [each for each in known if isinstance(source, Path) and each.file == source.name] or known
    column = _image_column(table, image_column, file=source, known=known)
    base, nowhere = image_root or source.parent, None
    if isinstance(base, Url):
        paths = Locations(_address(cell) or base / cell.strip() for cell in table[column])
    else:
        folders = _Folders(source, [base] if image_root else [base, base / "images"], [] if image_root else [base / each.root for each in known])
        paths = Locations(folders.look_up(cell) for cell in table[column])
        nowhere = folders.nowhere()
    if isinstance(image_root, Url):
        below = (path for path in paths if isinstance(path, Url) and path.bare.startswith(image_root.bare))
        check_reachable(image_root, list(itertools.islice(below, PICTURES_TRIED)))
    return PredictInput(table, column, paths, _read_boxes(table, box, file=source) if box else None, nowhere)


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


def _image_column(table: pd.DataFrame, wanted: str | None, *, file: Location, known: Sequence[TableImages]) -> str:
    if wanted is not None:
        return find_column(table, wanted, file=file, what="the pictures (--image-column)")
    by_folded = {str(name).casefold(): str(name) for name in reversed(table.columns)}
    likely = [*dict.fromkeys(each.column for each in known), *IMAGE_COLUMNS]
    for name in likely:
        if name in table.columns:
            return name
    for name in likely:
        if name.casefold() in by_folded:
            return by_folded[name.casefold()]
    columns = ", ".join(map(str, table.columns[:20]))
    raise UserError(f"{file}: no column looks like the pictures' ({', '.join(likely)}); name it with --image-column (columns: {columns})")


def _address(cell: str) -> Location | None:
    """The location of a cell that says by itself where its picture is, or that it has none."""
    # A blank cell must not become the folder itself: an empty path is told as missing later.
    name = cell.strip()
    if not name or "\0" in name:
        return Path()
    if "://" in name and is_url(name):
        try:
            return parse_location(name)
        except AddressError:  # One row's trouble: no file has such a name.
            return Path(name)
    return Path(name) if Path(name).is_absolute() else None


class _Folders:
    """The folders that a table's names are looked up in: its own ones in order, then those that are only likely."""

    def __init__(self, table: Location, own: Sequence[Path], likely: Sequence[Path]) -> None:
        self.table, self.own = table, own
        self.likely = [each for each in dict.fromkeys(Path(os.path.normpath(each)) for each in likely) if each not in own]
        self.names = self.found = self.others = 0
        self.first = ""

    def look_up(self, cell: str) -> Location:
        """Where the picture of a cell lies, or would; remembers whether anything was found.

        Raises:
            UserError: the name is found in two of the folders that are only likely.
        """
        location = _address(cell)
        if location is not None:
            self.others += location != Path()
            return location
        name = cell.strip()
        # A table that attrcls wrote, an earlier prediction say, has an apostrophe before names that a spreadsheet would run.
        names = dict.fromkeys((name, unescape_cell(name)))
        self.names, self.first = self.names + 1, self.first or name
        found = next(_lying(names, self.own), None)
        if found is None:
            lying = list(_lying(names, self.likely))
            if len(lying) > 1:
                raise UserError(
                    f"{self.table}: {name!r} is found in {' and in '.join(str(path.parent) for path in lying)}; "
                    "say which folder is meant: --image-root DIR"
                )
            found = lying[0] if lying else None
        self.found += found is not None
        return found or self.own[0] / name

    def nowhere(self) -> str | None:
        """What is to be said where not one of the names led to a picture; None where one did, or where others say by themselves where theirs is."""
        if not self.names or self.found or self.others:
            return None
        where = ", ".join(str(each) for each in [*self.own, *self.likely])
        return (
            f"{self.table}: none of its {self.names:,} pictures is found, such as {self.first!r} (looked in {where}); "
            "name the folder that the paths are below: --image-root DIR"
        )


def _lying(names: Iterable[str], folders: Sequence[Path]) -> Iterator[Path]:
    """The files of these names that are there."""
    for path in (folder / name for name in names for folder in folders):
        with contextlib.suppress(OSError):  # A name that is too long is simply not there.
            if path.exists():
                yield path


def _read_boxes(table: pd.DataFrame, box: BoxSpec, *, file: Location) -> npt.NDArray[np.float64]:
    columns = [find_column(table, name, file=file, what="the boxes that this model crops by") for name in box.columns]
    return np.stack([pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64) for column in columns], axis=1)
