"""CSV as people write it: every encoding, separator, quote and slip."""

import csv
import io

import numpy as np
import pandas as pd
import pytest

from attrcls.data.tables import read_table, write_table
from attrcls.errors import ProblemsError, UserError


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


def test_every_cell_is_the_text_that_stands_there(tmp_path):
    table = read_table(table_file(tmp_path, "z,a,m\n007,NA,1.0\nNone,null,\n nan ,-0,1e5\n"))
    assert list(table.columns) == ["z", "a", "m"]
    assert cells(table) == [["007", "NA", "1.0"], ["None", "null", ""], [" nan ", "-0", "1e5"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"])
def test_the_encoding_is_found(tmp_path, encoding):
    path = table_file(tmp_path, "경로,이름\na.jpg,홍길동\n".encode(encoding))
    table = read_table(path)
    assert list(table.columns) == ["경로", "이름"]
    assert cells(table) == [["a.jpg", "홍길동"]]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le", "shift-jis"])
def test_an_encoding_that_is_named_is_used(tmp_path, encoding):
    text = "path,name\na.jpg,René\n" if encoding != "shift-jis" else "path,name\na.jpg,名前\n"
    path = table_file(tmp_path, text.encode(encoding))
    assert cells(read_table(path, encoding=encoding))[0][1] in ("René", "名前")


def test_a_byte_order_mark_is_believed_against_the_encoding_named(tmp_path):
    path = table_file(tmp_path, "path,label\na,1\n".encode("utf-8-sig"))
    assert list(read_table(path, encoding="cp949").columns) == ["path", "label"]


def test_text_in_no_known_encoding_is_refused_with_the_flag_that_helps(tmp_path):
    message = refusal(table_file(tmp_path, "path,name\na.jpg,x\nb.jpg,Renée\n".encode("latin-1")))
    assert "--encoding" in message
    assert "line 3, byte 0xe9" in message


def test_a_wrong_or_unknown_encoding_is_refused(tmp_path):
    path = table_file(tmp_path, "path,name\na.jpg,\u00e9\n".encode("latin-1"))
    assert "not text in utf-8" in refusal(path, encoding="utf-8")
    for name in ("klingon", "hex"):
        assert f"--encoding {name}" in refusal(path, encoding=name)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv", "labels.txt", "labels", "LABELS.CSV"])
def test_the_separator_and_the_line_ends_are_found(tmp_path, separator, newline, name):
    rows = [["path", "a b", "c"], ["x.jpg", "1", ""], ["y.jpg", "", "3"]]
    table = read_table(table_file(tmp_path, newline.join(separator.join(row) for row in rows), name))
    assert list(table.columns) == rows[0]
    assert cells(table) == rows[1:]


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ('"name, first";age\n"a, b";3\n', ["name, first", "age"], [["a, b", "3"]]),
        ('"a;b;c;d",e\n1,2\n', ["a;b;c;d", "e"], [["1", "2"]]),
        ('a;"x,y,z";b\n1;2;3\n', ["a", "x,y,z", "b"], [["1", "2", "3"]]),
        ('path,note\nx,"1;2;3;4"\ny,a;b;c\n', ["path", "note"], [["x", "1;2;3;4"], ["y", "a;b;c"]]),
        ("id;price, net\n1;5\n", ["id", "price, net"], [["1", "5"]]),
        ("id;price, net, won\n1;5\n2;7\n", ["id", "price, net, won"], [["1", "5"], ["2", "7"]]),
        ('"two\nlines",b\n1,2\n', ["two\nlines", "b"], [["1", "2"]]),
        ('"say ""a;b""",c\n1,2\n', ['say "a;b"', "c"], [["1", "2"]]),
        ("path\na.jpg\nb.jpg\n", ["path"], [["a.jpg"], ["b.jpg"]]),
        ('"a,b"\n1\n', ["a,b"], [["1"]]),
        ('path\n"a,b"\n', ["path"], [["a,b"]]),
    ],
)
def test_a_separator_that_is_not_one_fools_nobody(tmp_path, text, columns, rows):
    table = read_table(table_file(tmp_path, text))
    assert list(table.columns) == columns
    assert cells(table) == rows


def test_a_comma_in_a_name_does_not_spoil_a_tsv(tmp_path):
    table = read_table(table_file(tmp_path, "a,b,c\td\n1\t2\n", "labels.tsv"))
    assert list(table.columns) == ["a,b,c", "d"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_quoted_newlines_and_quotes_stay_in_their_cell(tmp_path, newline):
    text = newline.join(["path,note", f'a,"one{newline}{newline}two ""2"" , x"', 'b,5" wide', ""])
    assert cells(read_table(table_file(tmp_path, text))) == [["a", f'one{newline}{newline}two "2" , x'], ["b", '5" wide']]


def test_blank_lines_are_no_rows_but_rows_of_blank_cells_are(tmp_path):
    assert cells(read_table(table_file(tmp_path, "\n\na,b\n\n1,2\n,\n\n"))) == [["1", "2"], ["", ""]]
    assert cells(read_table(table_file(tmp_path, 'a\n""\n\nx\n'))) == [[""], ["x"]]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path, content):
    assert "found" in refusal(table_file(tmp_path, content))
    assert "expected" in refusal(table_file(tmp_path, content, "labels.jsonl"))


@pytest.mark.parametrize("text", ["path,label\n", "path,label", "\n\npath,label\r\n\r\n"])
def test_a_header_without_rows_is_refused(tmp_path, text):
    assert "header only: path, label" in refusal(table_file(tmp_path, text))


def test_names_that_stand_twice_are_refused_with_their_positions(tmp_path):
    message = refusal(table_file(tmp_path, "path,a,path,b,a,path\n1,2,3,4,5,6\n"))
    assert "'path' at positions 1 and 3 and 6; 'a' at positions 2 and 5" in message


def test_the_blank_name_of_a_pandas_index_is_kept_and_written_back(tmp_path):
    path = tmp_path / "labels.csv"
    pd.DataFrame({"path": ["a", "b"], "x": [1, 2]}).to_csv(path)
    table = read_table(path)
    assert list(table.columns) == ["", "path", "x"]
    write_table(table, tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a,,b\n1,2,3\n", "column 2 of 3"),
        ("a,b,\n1,2,\n", "column 3 of 3"),
        (",\n1,2\n", "column 2 of 2"),
    ],
)
def test_any_other_blank_name_is_refused(tmp_path, text, found):
    assert found in refusal(table_file(tmp_path, text))


def test_rows_of_another_length_are_all_told_and_none_is_shifted(tmp_path):
    text = 'a,b,c\n1,2,3\n1,2\n\n"x\ny",2,3\n1,2,3,4\n1,2,3\n5\n'
    with pytest.raises(ProblemsError) as caught:
        read_table(table_file(tmp_path, text))
    assert [problem.row for problem in caught.value.problems] == [2, 4, 6]
    assert [problem.message for problem in caught.value.problems] == [
        "2 cells, the header has 3 (line 3)",
        "4 cells, the header has 3 (line 7)",
        "1 cell, the header has 3 (line 9)",
    ]
    assert "separator ','" in str(caught.value)


def test_a_quote_that_is_never_closed_is_refused(tmp_path):
    assert "never closed" in refusal(table_file(tmp_path, 'a,b\n1,"2\n3,4\n5,6\n'))


def test_text_behind_a_closing_quote_is_refused_with_its_line(tmp_path):
    message = refusal(table_file(tmp_path, 'a,b\n1,2\n3,"say "hi""\n'))
    assert "line 3" in message
    assert "written twice" in message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a,b\n1,2\n3,\0\n", "line 3: expected text, found a NUL byte"),
        ("a,b\n1,2\n".encode("utf-16-le"), "--encoding utf-16-le"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF\0", "an image"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "an image"),
        (b"PK\x03\x04\x14\0\x06\0", "save the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "save the sheet as CSV"),
        (b"\x1f\x8b\x08\0", "unpack it first"),
        (b"PAR1\x15\x04", ".parquet"),
        (b"%PDF-1.4", "a PDF"),
        (b"<!DOCTYPE html>\n<html>", "a web page"),
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "labels.xlsx", "labels.jsonl"])
def test_a_file_that_is_no_text_table_is_refused_by_what_it_is(tmp_path, content, found, name):
    assert found in refusal(table_file(tmp_path, content, name))


def test_long_cells_and_many_columns_are_read(tmp_path):
    limit = csv.field_size_limit()
    long = "x" * 300_000
    assert cells(read_table(table_file(tmp_path, f"a,b\n{long},1\n")))[0][0] == long
    names = [f"column {index}" for index in range(10_000)]
    table = read_table(table_file(tmp_path, ",".join(names) + "\n" + ",".join(["1"] * 10_000) + "\n"))
    assert list(table.columns) == names
    assert csv.field_size_limit() == limit


def test_a_table_longer_than_one_part_keeps_its_rows_in_order(tmp_path):
    text = "a,b\n" + "".join(f"{number},x\n" for number in range(120_001))
    table = read_table(table_file(tmp_path, text))
    assert isinstance(table.index, pd.RangeIndex)
    assert table["a"].tolist() == [str(number) for number in range(120_001)]


def test_a_table_reads_the_same_as_the_csv_module_reads_it(tmp_path):
    generator = np.random.default_rng(0)
    alphabet = list('ab ,;"\n|\t\r한')
    rows = [["".join(generator.choice(alphabet, size=generator.integers(0, 6))) for _ in range(3)] for _ in range(500)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    assert cells(read_table(table_file(tmp_path, buffer.getvalue()))) == rows
