"""Finding files and columns, JSON Lines and Parquet, and what is written."""

import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.data.tables import find_column, read_table, write_table
from attrcls.errors import AttrclsError, ProblemsError, UserError


def table_file(folder, content, name="labels.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def cells(table):
    assert isinstance(table.index, pd.RangeIndex)
    assert all(type(cell) is str for cell in table.to_numpy(dtype=object).ravel())
    return table.to_numpy(dtype=object).tolist()


def refusal(path, **options):
    with pytest.raises(UserError) as caught:
        read_table(path, **options)
    assert str(path) in str(caught.value) or "--encoding" in str(caught.value)
    return str(caught.value)


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path):
    table_file(tmp_path, "a,b\n1,2\n", "Train.csv")
    assert "did you mean Train.csv?" in refusal(tmp_path / "train.csv")
    assert "did you mean Train.csv?" in refusal(tmp_path / "tran.csv")
    assert "the tables there are Train.csv" in refusal(tmp_path / "zzzzzzzz.dat")
    assert f"no folder {tmp_path / 'absent'}" in refusal(tmp_path / "absent" / "train.csv")
    assert "no such file" in refusal(tmp_path / "Train.csv" / "below.csv")


def test_a_folder_is_refused_with_what_lies_in_it(tmp_path):
    table_file(tmp_path, "a,b\n1,2\n", "train.csv")
    message = refusal(tmp_path)
    assert "found a folder" in message
    assert "train.csv" in message


def test_a_pipe_and_a_device_are_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "labels.csv")
    (tmp_path / "zeros.csv").symlink_to("/dev/zero")
    for name in ("labels.csv", "zeros.csv"):
        assert "found a pipe or a device" in refusal(tmp_path / name)


def test_a_file_that_may_not_be_read_says_so(tmp_path, monkeypatch):
    path = table_file(tmp_path, "a,b\n1,2\n")

    def forbidden(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", forbidden)
    assert "cannot be read: permission denied" in refusal(path)


def test_jsonl_cells_are_the_text_that_stands_there(tmp_path):
    lines = [
        '{"path": "a\u2028b.jpg", "n": 1.0, "big": 12345678901234567890123, "flag": true}',
        "",
        '{"n": 1e5, "path": null, "list": [1, {"é": 2.50}], "flag": NaN}\r',
    ]
    table = read_table(table_file(tmp_path, "\n".join(lines), "labels.jsonl"))
    assert list(table.columns) == ["path", "n", "big", "flag", "list"]
    assert cells(table) == [
        ["a\u2028b.jpg", "1.0", "12345678901234567890123", "true", ""],
        ["", "1e5", "", "", '[1, {"é": 2.5}]'],
    ]


def test_jsonl_lines_that_are_no_objects_are_all_told(tmp_path):
    lines = ['{"a": 1}', "[1, 2]", '{"a": 1', '"text"', '{"a": 1, "a": 2}', r'{"a": "\ud800"}', "[" * 100_000]
    with pytest.raises(ProblemsError) as caught:
        read_table(table_file(tmp_path, "\n".join(lines), "labels.jsonl"))
    assert [problem.row for problem in caught.value.problems] == [2, 3, 4, 5, 6, 7]
    assert "a name twice" in caught.value.problems[3].message


def test_a_json_file_is_refused_with_the_ending_that_works(tmp_path):
    assert ".jsonl" in refusal(table_file(tmp_path, "[]", "labels.json"))


def test_parquet_cells_are_written_as_python_writes_them(tmp_path):
    columns = {
        "text": pa.array(["007", None, "NA"]),
        "whole": pa.array([1, None, 3]),
        "single": pa.array([0.1, None, float("nan")], pa.float32()),
        "double": pa.array([0.1, 2.0, None]),
        "flag": pa.array([True, False, None]),
        "kind": pa.array(["a", "b", None]).dictionary_encode(),
        "list": pa.array([[1, 2], None, []]),
        "nothing": pa.array([None, None, None], pa.null()),
    }
    folder = tmp_path / "split=train"
    folder.mkdir()
    pq.write_table(pa.table(columns), folder / "labels.parquet")
    table = read_table(folder / "labels.parquet")
    assert list(table.columns) == list(columns)
    assert cells(table) == [
        ["007", "1", "0.1", "0.1", "True", "a", "[1, 2]", ""],
        ["", "", "", "2.0", "False", "b", "", ""],
        ["NA", "3", "", "", "", "", "[]", ""],
    ]


def test_a_parquet_file_that_cannot_be_used_is_refused(tmp_path):
    assert "cannot be read" in refusal(table_file(tmp_path, "a,b\n1,2\n", "labels.parquet"))
    pq.write_table(pa.table({"image": pa.array([b"\xff\xd8"])}), tmp_path / "bytes.parquet")
    assert "column image" in refusal(tmp_path / "bytes.parquet")
    pq.write_table(pa.table({"seen": pa.array([2**62], pa.timestamp("us"))}), tmp_path / "far.parquet")
    assert "column seen: expected values that can be written as text" in refusal(tmp_path / "far.parquet")
    pq.write_table(pa.table({"path": pa.array([], pa.string())}), tmp_path / "empty.parquet")
    assert "found none" in refusal(tmp_path / "empty.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array(["1"]), pa.array(["2"])], names=["a", "a"]), tmp_path / "twice.parquet")
    assert "positions 1 and 2" in refusal(tmp_path / "twice.parquet")


def test_a_column_is_found_by_its_exact_name(tmp_path):
    table = read_table(table_file(tmp_path, "path,Label, age\n1,2,3\n"))
    assert find_column(table, "path", file=tmp_path, what="the image paths") == "path"
    for name, nearest in (("Path", "'path'"), ("label", "'Label'"), ("age", "' age'"), ("lable", "'Label'")):
        with pytest.raises(UserError, match=f"did you mean {nearest}") as caught:
            find_column(table, name, file=tmp_path / "t.csv", what="the labels of mask")
        assert f"column {name!r} for the labels of mask" in str(caught.value)
        assert "found: path, Label,  age" in str(caught.value)
    with pytest.raises(UserError) as caught:
        find_column(table, "zzz", file=tmp_path / "t.csv", what="boxes")
    assert "did you mean" not in str(caught.value)


def test_a_wide_table_is_not_listed_whole(tmp_path):
    table = pd.DataFrame([[0] * 500], columns=[f"c{index}" for index in range(500)])
    with pytest.raises(UserError, match="and 470 more"):
        find_column(table, "path", file=tmp_path, what="the image paths")


TRICKY = [
    "007",
    "NA",
    "",
    "a,b;c|d",
    'say "hi"',
    "two\nlines",
    "lone\rreturn",
    "cr\r\nlf",
    " spaced ",
    "\t",
    "é한글",
    "nan",
    "\u2028",
    "-0",
    "'",
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".CSV"])
@pytest.mark.parametrize("columns", [["", "x"], ["a;b", "c|d"], ["경로", 'q"x']])
def test_what_was_read_is_written_and_read_again_unchanged(tmp_path, ending, columns):
    table = pd.DataFrame({columns[0]: TRICKY, columns[1]: TRICKY[::-1]}, dtype=str)
    write_table(table, tmp_path / f"table{ending}")
    again = read_table(tmp_path / f"table{ending}", escaped=True)
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_a_single_column_with_blanks_keeps_its_rows(tmp_path, ending):
    write_table(pd.DataFrame({"a": ["", "x", ""]}), tmp_path / f"table{ending}")
    assert cells(read_table(tmp_path / f"table{ending}")) == [[""], ["x"], [""]]


def typed_table():
    return pd.DataFrame(
        {
            "path": pd.Series(["a/b.jpg", None], dtype=object),
            "whole": pd.array([1, None], dtype="Int64"),
            "score": np.array([0.1 + 0.2, np.nan]),
            "flag": [True, False],
            "kind": pd.Categorical(["x", None]),
            "seen": pd.to_datetime(["2024-01-02", None]),
        }
    ).set_index(pd.Index([7, 3]))


def test_csv_has_plain_newlines_and_blanks_for_missing(tmp_path):
    write_table(typed_table(), tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_bytes().split(b"\n")
    assert lines == [b"path,whole,score,flag,kind,seen", b"a/b.jpg,1,0.30000000000000004,True,x,2024-01-02", b",,,False,,", b""]


def test_jsonl_has_null_for_missing_and_every_digit(tmp_path):
    write_table(typed_table(), tmp_path / "t.jsonl")
    first, second = (json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines())
    assert first == {"path": "a/b.jpg", "whole": 1, "score": 0.1 + 0.2, "flag": True, "kind": "x", "seen": "2024-01-02 00:00:00"}
    assert second == {"path": None, "whole": None, "score": None, "flag": False, "kind": None, "seen": None}
    assert "a/b.jpg" in (tmp_path / "t.jsonl").read_text()


def test_parquet_keeps_the_types(tmp_path):
    write_table(typed_table(), tmp_path / "t.parquet")
    again = pd.read_parquet(tmp_path / "t.parquet")
    assert list(again.columns) == list(typed_table().columns)
    for name in ("whole", "score", "flag", "kind"):
        assert again[name].dtype == typed_table()[name].dtype


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz"])
def test_another_ending_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"\.csv, \.jsonl, \.parquet"):
        write_table(typed_table(), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_failed_write_leaves_the_old_file(tmp_path, ending, monkeypatch):
    path = table_file(tmp_path, "old", f"t{ending}")

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(AttrclsError, match="No space left"):
        write_table(typed_table(), path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


# Any text a cell can hold: no half surrogates, which no file can. A text table cannot hold NUL either, and says so when read.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(TRICKY)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6).filter(str.strip)
names |= st.sampled_from(["a;b", "c|d;e", "f\tg", "\ufeffh", "GIF89a", "%PDF-", "<html", 'q"x', "i,j"])


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=60)
@given(columns=st.lists(names, unique=True, min_size=1, max_size=4), rows=st.integers(1, 5), data=st.data())
def test_every_text_cell_comes_back_as_it_was_written(scratch, ending, columns, rows, data):
    table = pd.DataFrame({name: data.draw(st.lists(texts, min_size=rows, max_size=rows)) for name in columns}, dtype=str)
    file = scratch / f"table{ending}"
    write_table(table, file)
    again = read_table(file, escaped=True)
    assert list(again.columns) == columns
    assert cells(again) == table.to_numpy(dtype=object).tolist()
