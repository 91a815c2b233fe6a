"""The bytes of a CSV file become a table of plain text, or an error that says which line to mend.

The encoding and the separator are found, not asked for; no cell is interpreted, and no row is silently shifted, padded or cut.
"""

import codecs
import contextlib
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd

from attrcls.data.remote import Location
from attrcls.errors import Problem, ProblemsError, UserError

SEPARATORS = (",", ";", "\t", "|")
# UTF-32's mark begins with UTF-16's, so it is tried before.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
GUESSES = ("utf-8", "cp949")
NOT_TEXT = {
    rb"PK\x03\x04": "an Excel workbook or a zip file; save the sheet as CSV",
    rb"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as CSV",
    rb"PAR1\x15": "a Parquet file; give its name the ending .parquet",
    rb"\x1f\x8b": "packed with gzip; unpack it first",
    rb"\xff\xd8\xff|\x89PNG|GIF8[79]a|RIFF.{4}WEBP": "an image; name the table that lists the images",
    rb"%PDF-": "a PDF",
    rb"\s*<(!doctype|html)": "a web page; download the table itself",
}
ROWS_AT_A_TIME = 50_000
ROWS_TO_COMPARE = 20


@dataclass(frozen=True)
class TableFormat:
    """How a text table is written: the name of its encoding, for Python, and the character between cells."""

    encoding: str
    separator: str


def find_format(data: bytes, *, file: Location, encoding: str | None = None) -> TableFormat:
    """Find a table's encoding (byte order mark, else `encoding`, else UTF-8, else cp949) and the separator of its header.

    A byte order mark is believed even against `encoding`: read as anything else it would end up in the first column's name.

    Raises:
        UserError: it is not text, not in that encoding, or holds NUL.
    """
    what = next((what for start, what in NOT_TEXT.items() if re.match(start, data[:1024], re.IGNORECASE | re.DOTALL)), None)
    if what:
        raise UserError(f"{file}: expected a text table, found {what}")
    mark = next((name for start, name in MARKS.items() if data.startswith(start)), None)
    name, text = _decode(data, (mark,) if mark else (encoding,) if encoding else GUESSES, file=file)
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        fix = "it is no text table, or it is UTF-16 without a byte order mark: then pass --encoding utf-16-le"
        raise UserError(f"{file}, line {line}: expected text, found a NUL byte; {fix}")
    return TableFormat(name, _find_separator(text, tab_first=file.suffix.lower() == ".tsv"))


def read_delimited(data: bytes, form: TableFormat, *, file: Location, empty: bool = False) -> pd.DataFrame:
    """Read every cell as the text that it is; blank lines are skipped, quoted ones may hold newlines.

    Raises:
        UserError: nothing but a header (unless it may be `empty`), bad column names, or a quote that is never closed.
        ProblemsError: rows with more or fewer cells than the header.
    """
    # Decoded on the way, so that the text of a large file never lies in memory as a whole beside its cells.
    lines = io.TextIOWrapper(io.BytesIO(data), encoding=form.encoding, newline="")
    reader = csv.reader(lines, delimiter=form.separator, strict=True)
    problems: list[Problem] = []
    with _cells_of_any_length(len(data)), _quoting_faults(reader, file):
        header = next(filter(None, reader), [])
        check_names(header, file=file)
        rows = _fitting_rows(reader, cells=len(header), file=file, problems=problems)
        # In parts, because a list of lists of a million rows takes ten times the memory of their frame.
        chunks = iter(lambda: list(islice(rows, ROWS_AT_A_TIME)), [])
        parts = [pd.DataFrame(chunk, columns=range(len(header)), dtype=str) for chunk in chunks]
    if problems:
        fix = "Quote a cell that holds the separator, and write a separator for every blank cell."
        title = f"{file}: rows with more or fewer cells than the header (separator {form.separator!r}, {form.encoding})"
        raise ProblemsError(title, problems, fix=fix)
    if not parts and empty:
        parts = [pd.DataFrame(columns=range(len(header)), dtype=str)]
    if not parts:
        raise UserError(f"{file}: expected rows below the header, found the header only: {', '.join(header)[:200]}")
    table = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
    table.columns = pd.Index(header)
    return table


def check_names(names: list[str], *, file: Location) -> None:
    """Refuse names that stand twice, and blank ones.

    One blank name is let through, in first place beside others: so pandas writes its index. It stays blank in the table, which
    keeps a table that is read and written the same.
    """
    if not names:
        raise UserError(f"{file}: expected column names, found none")
    positions: dict[str, list[str]] = {}
    for position, name in enumerate(names, start=1):
        positions.setdefault(name, []).append(str(position))
    repeated = [f"{name!r} at positions {' and '.join(found)}" for name, found in positions.items() if len(found) > 1 and name.strip()]
    if repeated:
        raise UserError(f"{file}: column names must differ, found {'; '.join(repeated)}; rename all but one of each")
    blank = [position for position, name in enumerate(names, start=1) if not name.strip() and (position > 1 or len(names) == 1)]
    if blank:
        fix = "name it, or delete the separator at the end of the header and of every row"
        raise UserError(f"{file}: column {blank[0]} of {len(names)} has no name in the header; {fix}")


def _fitting_rows(reader: Any, *, cells: int, file: Location, problems: list[Problem]) -> Iterator[list[str]]:
    """Pass on the rows that are as long as the header, and note the others; blank lines are no rows."""
    for number, row in enumerate(filter(None, reader), start=1):
        if len(row) == cells:
            yield row
        else:
            found = f"{len(row)} {'cell' if len(row) == 1 else 'cells'}, the header has {cells} (line {reader.line_num})"
            problems.append(Problem(str(file), found, row=number))


def _decode(data: bytes, encodings: tuple[str, ...], *, file: Location) -> tuple[str, str]:
    fault = ""
    for name in encodings:
        try:
            return name, data.decode(name)
        except LookupError:
            raise UserError(f"--encoding {name}: Python knows no text encoding of that name; try utf-8, cp949 or latin-1") from None
        except UnicodeError as error:
            if isinstance(error, UnicodeDecodeError) and not fault:
                line = data.count(b"\n", 0, error.start) + 1
                fault = f" (line {line}, byte 0x{data[error.start]:02x})"
    fix = "name its encoding: --encoding latin-1, say, or `encoding: latin-1` beside `file:` in a data card"
    raise UserError(f"{file}: this is not text in {' or '.join(encodings)}{fault}; {fix}")


def _find_separator(text: str, *, tab_first: bool) -> str:
    """The separator that stands outside quotes in the header and splits the first rows as it splits the header; a comma if none does."""
    lines = io.StringIO(text[: 1 << 24], newline="")
    header, quotes = "", 0
    parts = []
    for line in lines:
        parts.append(line)
        quotes += line.count('"')
        if quotes % 2 == 0 and line.strip():  # an odd number: a quoted name goes on in the next line
            break
    header = re.sub('"[^"]*"', "", "".join(parts))
    counts = {separator: header.count(separator) for separator in SEPARATORS if separator in header}
    if tab_first and "\t" in counts:
        return "\t"
    rows = list(islice(lines, ROWS_TO_COMPARE))
    return max(counts, key=lambda separator: (_agreement(rows, separator, counts[separator] + 1), counts[separator]), default=",")


def _agreement(lines: list[str], separator: str, cells: int) -> int:
    try:
        return sum(len(row) == cells for row in csv.reader(lines, delimiter=separator))
    except csv.Error:
        return 0


@contextlib.contextmanager
def _cells_of_any_length(limit: int) -> Iterator[None]:
    """The csv module refuses cells beyond 128 kB unless told otherwise, for the whole process."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, min(limit, 2**31 - 1)))
    try:
        yield
    finally:
        csv.field_size_limit(before)


@contextlib.contextmanager
def _quoting_faults(reader: Any, file: Location) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            found = 'a quoted cell that is never closed; look for a lone " further up'
        else:
            found = 'text behind a closing quote; inside a quoted cell a quote is written twice: ""'
        raise UserError(f"{file}, line {reader.line_num}: {found}") from None
