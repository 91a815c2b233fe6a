"""Text cells that a spreadsheet would run, written so that it shows them instead, and read back exactly.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@` (or their wide forms), a tab or a line break for a formula, also
in a CSV file, and a formula can call programs and send data away (https://owasp.org/www-community/attacks/CSV_Injection). Such
text gets an apostrophe in front. So does text that already begins with apostrophes before one of these, because only then every
text comes back as it was: exactly one apostrophe is taken off, and only where this module would have put one.
"""

import re
from collections.abc import Callable
from typing import Any

import pandas as pd

# The same two patterns stand in report/review_decisions.js.
_RUNS = re.compile(r" *[\t\r\n=+\-@＝＋－＠]")
_ESCAPED = re.compile(r"'+" + _RUNS.pattern)
_NUMBER = re.compile(r" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")
_SUSPECT_STARTS = frozenset("'\t\r\n =+-@＝＋－＠")


def as_utf8(text: str) -> str:
    """The text with what UTF-8 cannot hold written out, such as `\\udcbf`: names from an archive that was packed in cp949, say."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_cell(text: str) -> str:
    """`text` with an apostrophe in front where a spreadsheet would run it; a plain number such as `-1.5` stays one."""
    if text[:1] not in _SUSPECT_STARTS:
        return text
    runs = _ESCAPED.match(text) or (_RUNS.match(text) and not _NUMBER.fullmatch(text))
    return f"'{text}" if runs else text


def unescape_cell(text: str) -> str:
    """What `escape_cell` was given, for every text."""
    return text[1:] if _ESCAPED.match(text) else text


def escape_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `escape_cell` applied to its text cells and column names; numbers, dates and blanks are left alone."""
    return _each_text(table, escape_cell)


def unescape_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table that `escape_table` was given, of one that holds text alone."""
    return _each_text(table, unescape_cell)


def _each_text(table: pd.DataFrame, change: Callable[[str], str]) -> pd.DataFrame:
    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    columns = []
    for place in range(table.shape[1]):
        column = table.iloc[:, place]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype(object)
        if pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype):
            column = pd.Series([changed(value) for value in column], index=column.index, dtype=column.dtype)
        columns.append(column)
    result = pd.concat(columns, axis=1) if columns else table.copy()
    result.columns = pd.Index([changed(name) for name in table.columns])
    return result
