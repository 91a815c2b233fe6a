"""Cells that a spreadsheet would run: which are escaped, and that every text comes back."""

import string

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attrcls.data.cells import escape_cell, unescape_cell
from attrcls.data.tables import read_table, write_table

RUN_BY_SPREADSHEETS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "-2+3+cmd|' /C calc'!D2",
    "@SUM(1+1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "＝1+1",
    "＠x",
    "-",
    "=cmd.jpg",
    "-1.jpg",
    "@x.jpg",
    "+1.jpg",
    "1e5\n" + "=x",
]
# Nearly all drawn texts would begin with a harmless letter.
TEXTS = st.text() | st.text(alphabet="'=+-@\t\r\n 1.eE＝", max_size=8)


@pytest.mark.parametrize("text", RUN_BY_SPREADSHEETS[:-1])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text):
    assert escape_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["", "red", "a=b", "1-2", "'", "'quoted'", " ", "-1.5", "+3e5", "-.5", "+7.", " -1.5 ", "-0", "1e-5", RUN_BY_SPREADSHEETS[-1]]
)
def test_plain_text_and_plain_numbers_stay_as_they_are(text):
    assert escape_cell(text) == text


def test_text_that_looks_escaped_is_escaped_once_more():
    assert escape_cell("'=q.jpg") == "''=q.jpg"
    assert escape_cell("'-1.5") == "''-1.5"


@given(TEXTS)
@example("'=")
@example("''-1.5")
def test_every_text_comes_back_exactly(text):
    assert unescape_cell(escape_cell(text)) == text


@given(TEXTS)
def test_no_escaped_text_begins_as_a_formula_unless_it_is_a_number(text):
    written = escape_cell(text).lstrip(" ")
    if written[:1] in set("=+-@\t\r\n＝＋－＠") - {""}:
        assert set(written) <= set(string.digits + "+-.eE ")
        float(written)


@given(st.lists(st.tuples(TEXTS, TEXTS).map(lambda cells: tuple(cell.replace("\0", "") for cell in cells)), min_size=1, max_size=5))
def test_a_table_of_any_texts_is_read_as_it_was_written(tmp_path_factory, rows):
    file = tmp_path_factory.mktemp("cells") / "t.csv"
    table = pd.DataFrame(rows, columns=["=a", "'+b"], dtype=str).map(lambda cell: cell.encode("utf-8", "replace").decode())
    write_table(table, file)
    pd.testing.assert_frame_equal(read_table(file, escaped=True), table)


def test_numbers_are_never_escaped_and_raw_writes_what_stands_there(tmp_path):
    table = pd.DataFrame({"=x": ["=1", "-1.5", None], "number": [-1.5, -2e-9, float("nan")], "code": pd.array([-1, 2, None], dtype="Int64")})
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "'=x,number,code\n'=1,-1.5,-1\n-1.5,-2e-09,2\n,,\n"
    write_table(table, tmp_path / "raw.csv", raw=True)
    assert (tmp_path / "raw.csv").read_text() == "=x,number,code\n=1,-1.5,-1\n-1.5,-2e-09,2\n,,\n"


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_other_formats_hold_the_text_itself(tmp_path, ending):
    table = pd.DataFrame({"=x": ["=1", "'=1"]}, dtype=str)
    write_table(table, tmp_path / f"t{ending}")
    for escaped in (False, True):
        pd.testing.assert_frame_equal(read_table(tmp_path / f"t{ending}", escaped=escaped), table)


def test_a_table_of_the_users_own_is_read_as_it_stands(tmp_path):
    (tmp_path / "own.csv").write_text("path\n'=x.jpg\n=y.jpg\n")
    assert read_table(tmp_path / "own.csv")["path"].tolist() == ["'=x.jpg", "=y.jpg"]


def test_kinds_of_columns_survive_the_escaping(tmp_path):
    table = pd.DataFrame({"kind": pd.Categorical(["=a", None]), "flag": [True, False], "seen": pd.to_datetime(["2024-01-02", None])})
    write_table(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "kind,flag,seen\n'=a,True,2024-01-02\n,False,\n"
    assert table["kind"].tolist()[0] == "=a"
