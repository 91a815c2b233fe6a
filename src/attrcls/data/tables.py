"""Tables as people bring them and as they get them back: CSV, JSON Lines or Parquet in, plain text cells out, and back to a file.

A cell is read as the text that stands there: `007`, `NA`, `1.0` and `null` stay what they are, and only what a file calls
missing becomes blank. What a cell means is for the data card to say.
"""

import csv
import difflib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attrcls.data.cells import escape_table, unescape_table
from attrcls.data.delimited import SEPARATORS, TableFormat, check_names, find_format, read_delimited
from attrcls.data.remote import FetchError, Location, Url, read_bytes
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.files import write_with

__all__ = ["TableFormat", "check_table_name", "find_column", "read_table", "write_table"]

SHOWN_COLUMNS = 30


def read_table(path: Location, *, encoding: str | None = None, empty: bool = False, escaped: bool = False) -> pd.DataFrame:
    """Read a table, here or elsewhere, with every cell a str, exactly as written, and blank ("") where there is none.

    Columns keep their order and names (one blank name may stand first: pandas' index), rows are numbered from 0. The ending
    decides: .jsonl, .parquet, and anything else is CSV, with its separator (`,` `;` tab `|`) and encoding found. JSON's true,
    false and nested values stay JSON text; Parquet's values are written as Python writes them. A CSV that attrcls itself wrote is
    `escaped`: the apostrophes that keep a spreadsheet from running its cells are taken off.

    Raises:
        UserError: no such file, not a table, an unknown encoding, bad column names, or no rows (unless it may be `empty`).
        ProblemsError: rows that do not fit the header, each with its number.
    """
    data = _read_file(path) if isinstance(path, Path) else _fetch(path)
    if not data.strip():
        raise UserError(f"{path}: expected a table, found {'zero bytes' if not data else 'blank lines only'}")
    ending = path.suffix.lower()
    if ending == ".parquet":
        table = _read_parquet(data, file=path)
    elif ending == ".json":
        raise UserError(f"{path}: expected one object a line in a file named .jsonl, found .json; save it as JSON Lines or as CSV")
    else:
        form = find_format(data, file=path, encoding=encoding)
        table = _read_jsonl(data, form, file=path) if ending == ".jsonl" else read_delimited(data, form, file=path, empty=empty)
        if escaped and ending != ".jsonl":
            table = unescape_table(table)
    if table.empty and not empty:
        raise UserError(f"{path}: expected rows, found none")
    return table


def find_column(table: pd.DataFrame, name: str, *, file: Location, what: str) -> str:
    """Give `name` back when the table has exactly that column; `what` says what it would hold ("the image paths").

    Raises:
        UserError: it has not; the message names the nearest column and lists all.
    """
    columns = [str(column) for column in table.columns]
    if name in columns:
        return name
    hint = _nearest(name, columns)
    shown = ", ".join(columns[:SHOWN_COLUMNS]) + (f", … and {len(columns) - SHOWN_COLUMNS} more" if len(columns) > SHOWN_COLUMNS else "")
    raise UserError(f"{file}: expected a column {name!r} for {what}{f', did you mean {hint!r}' if hint else ''}; found: {shown}")


def check_table_name(path: Path) -> None:
    """Refuse a name that `write_table` would, before the work is done whose result it is for.

    Raises:
        UserError: the ending is none that can be written, a folder has that name, or a file that of its folder.
    """
    if path.is_dir():
        raise UserError(f"{path}: expected a file, found a folder; name a file in it")
    if found := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
        raise UserError(f"{path}: {found} is a file, so nothing can be written below it")
    if path.suffix.lower() not in WRITERS:
        raise UserError(f"{path}: expected a name that ends in {', '.join(WRITERS)}; found {path.suffix or 'no ending'}")


def write_table(table: pd.DataFrame, path: Path, *, raw: bool = False) -> None:
    """Write a table, whole or not at all, as the ending says; the index is left out.

    .csv is UTF-8 with plain newlines and blank for missing, .jsonl has null for missing, .parquet keeps the types. Text in a
    .csv that a spreadsheet would run gets an apostrophe in front (`data.cells`), unless it is to be `raw`.

    Raises:
        UserError: another ending.
        AttrclsError: the disk does not let it be written; an old file is then intact.
    """
    check_table_name(path)
    ending = path.suffix.lower()
    table = escape_table(table) if ending == ".csv" and not raw else table
    write = WRITERS[ending]
    write_with(path, lambda temporary: write(table, temporary))


def _fetch(url: Url) -> bytes:
    try:
        return read_bytes(url)
    except FetchError as error:
        raise UserError(f"{url}: {error}") from None


def _read_file(path: Path) -> bytes:
    try:
        kind = path.stat().st_mode
        # A named pipe would be waited for, and a device such as /dev/zero never ends.
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise UserError(f"{path}: expected a table, found a pipe or a device; write its content to a file first")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: no such file{_nearby(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{path}: expected a table, found a folder; name the file in it{_nearby(path / 'table.csv')}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error


def _nearby(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    names = [name for name in os.listdir(path.parent) if not name.startswith(".")]
    hint = _nearest(path.name, names)
    tables = sorted(name for name in names if Path(name).suffix.lower() in (".csv", ".tsv", ".jsonl", ".parquet"))
    return f"; did you mean {hint}?" if hint else f"; the tables there are {', '.join(tables[:10])}" if tables else ""


def _nearest(name: str, names: list[str]) -> str | None:
    """The likeliest slip: case and spaces first, then spelling."""
    plain = {known.strip().casefold(): known for known in reversed(names)}
    wanted = name.strip().casefold()
    # An ending that two names share makes them no more alike.
    alike = [known for known in plain if difflib.get_close_matches(Path(wanted).stem, [Path(known).stem])]
    close = difflib.get_close_matches(wanted, alike, n=1)
    return plain[close[0]] if close else None


def _read_jsonl(data: bytes, form: TableFormat, *, file: Location) -> pd.DataFrame:
    records: list[dict[str, str]] = []
    problems: list[Problem] = []
    text = data.decode(form.encoding)
    # Not splitlines(), which would also split at the exotic line ends that JSON allows inside text.
    for number, line in enumerate(filter(str.strip, text.split("\n")), start=1):
        try:
            records.append(_json_cells(line))
        except (ValueError, RecursionError) as error:
            problems.append(Problem(str(file), f"expected one JSON object, {error}", row=number))
    if problems:
        raise ProblemsError(f"{file}: lines that are no JSON objects", problems, fix="Write one object a line: JSON Lines, not JSON.")
    names = list(dict.fromkeys(name for record in records for name in record))
    check_names(names, file=file)
    return _text_table({name: [record.get(name, "") for record in records] for name in names})


def _json_cells(line: str) -> dict[str, str]:
    record = JSON_AS_TEXT.decode(line)
    if not isinstance(record, dict):
        raise ValueError(f"found {line.strip()[:40]}")
    cells = {}
    for name, value in record.items():
        if isinstance(value, bool | list | dict):
            cells[name] = json.dumps(json.loads(line)[name], ensure_ascii=False)
        else:
            cells[name] = "" if value is None else value
    if "\\u" in line:
        "".join((*cells, *cells.values())).encode()  # half a surrogate pair is valid JSON, but no table can hold it
    return cells


def _json_constant(name: str) -> str:
    return "" if name == "NaN" else name


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError(f"found a name twice among {', '.join(repr(name) for name, _ in pairs)}")
    return record


def _read_parquet(data: bytes, *, file: Location) -> pd.DataFrame:
    try:
        # Not read_table(), which would add columns for folders named like `split=train`.
        with pq.ParquetFile(pa.BufferReader(data)) as parquet:
            table = parquet.read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: expected a Parquet file, found one that cannot be read: {str(error).splitlines()[0]}") from error
    check_names(table.column_names, file=file)
    columns = {}
    for name in table.column_names:
        try:
            columns[name] = _parquet_cells(table.column(name), name, file)
        except (pa.ArrowException, ValueError, OverflowError) as error:  # a year beyond 9999, text that is not UTF-8
            raise UserError(f"{file}, column {name}: expected values that can be written as text, found one that cannot: {error}") from error
    return _text_table(columns)


def _parquet_cells(column: Any, name: str, file: Location) -> list[str]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        raise UserError(f"{file}, column {name}: expected text or numbers, found bytes; leave that column out")
    if pa.types.is_floating(kind):
        # By way of numpy, which writes a float32 0.1 as 0.1; Python would widen it to 0.10000000149011612.
        return ["" if np.isnan(value) else str(value) for value in column.to_numpy()]
    values = column.to_pylist()
    if pa.types.is_nested(kind):
        return ["" if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
    return ["" if value is None else str(value) for value in values]


def _text_table(columns: dict[str, list[str]]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(cells, dtype=str) for name, cells in columns.items()})


# Made once: `json.loads` with these arguments would make a decoder a line, which takes longer than the decoding.
JSON_AS_TEXT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_json_constant, object_pairs_hook=_unrepeated)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    # The csv module does not quote a lone carriage return, and no reader, ours included, would keep that cell in one piece;
    # and an unquoted name such as `a;b` would be taken for two.
    if b"\r" in path.read_bytes() or not _is_plain_header(table, path):
        table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n", quoting=csv.QUOTE_ALL)


def _is_plain_header(table: pd.DataFrame, path: Path) -> bool:
    """Whether the unquoted names are taken for what they are: comma-separated text, not another separator's or another kind of file."""
    header = table.head(0).to_csv(index=False)
    if any(separator in header for separator in SEPARATORS[1:]):
        return False
    try:
        return find_format(header.encode(), file=path).encoding == "utf-8"
    except UserError:
        return False


def _write_jsonl(table: pd.DataFrame, path: Path) -> None:
    # Not to_json(), which rounds floats to ten digits and writes a/b as a\/b.
    columns = [table.iloc[:, index] for index in range(table.shape[1])]
    cells = [column.astype(object).where(column.notna(), None).tolist() for column in columns]
    names = [str(name) for name in table.columns]
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in zip(*cells, strict=True):
            file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False, engine="pyarrow")


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
