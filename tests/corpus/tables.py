"""More than 200 tables that are malformed or odd: CSV, JSON Lines and Parquet, made from one that is in order."""

import datetime
import decimal
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Table:
    """A file, and what reading it should give: `rows`, where all of the good table's rows must be there in order; `refused`; or
    `either`."""

    name: str
    kind: str
    data: bytes
    expected: str = "either"
    ending: str = ".csv"


def mangled(good: pd.DataFrame) -> Iterator[Table]:
    """A table of text in every shape that is right, nearly right and wrong, whatever its columns mean."""
    text = good.to_csv(index=False, lineterminator="\n")
    for maker in (_encodings, _separators, _quotes, _ragged, _nothing, _no_tables, _flipped_text):
        yield from maker(text)
    yield from _large(good)
    yield from _jsonl(good)
    yield from _parquet(good)


def bad_labels(good: pd.DataFrame) -> Iterator[Table]:
    """Mangled label tables, and such whose cells or columns are odd; `file` names the pictures, `colour` holds labels."""
    yield from mangled(good)
    labels = ["2024-02-30", "01/02/2024", "1,000", "1.0", "2.5", "nan", "NaN", "inf", "-1", "1e3", "3", "99999999999999999999", "TRUE", " red ",
              "RED",
              "rot", "re d", "red\n", "ｒｅｄ", "🟥", "=1+1", "null", "None", "0x1", "١", "1_0", "   ", "red;green", "'red'", "\u200bred", "é" * 500,
              "[bold]red[/bold]", "\x1b[31mred", "%s", "{0}"]  # fmt: skip
    for number, label in enumerate(labels):
        yield _csv(f"label-{number}", "label", good.assign(colour=[label, *good["colour"][1:]]), "rows")
        yield _csv(f"labels-{number}", "label", good.assign(colour=label), "rows")
    names = ["", " ", ".", "..", "/", "~", "../images", "..\\x.jpg", "C:\\x.jpg", "/etc/passwd", "http://x/y.jpg", "x" * 300 + ".jpg", "*.jpg",
             "%00.jpg",
             "a\nb.jpg", "images", "file://x.jpg", "-", "--csv", "ﬁle.jpg", "x/" * 2000 + ".jpg"]  # fmt: skip
    for number, name in enumerate(names):
        yield _csv(f"picture-{number}", "picture name", good.assign(file=[*good["file"][:-1], name]))
    yield _csv("pictures-twice", "picture name", pd.concat([good, good], ignore_index=True))
    yield _csv("pictures-spaced", "picture name", good.assign(file=" " + good["file"] + " "))
    yield _csv("pictures-folder", "picture name", good.assign(file="images/" + good["file"]))
    yield from _columns(good)


def _csv(name: str, kind: str, table: pd.DataFrame, expected: str = "either") -> Table:
    return Table(name, kind, table.to_csv(index=False).encode("utf-8", "surrogatepass"), expected)


def _columns(good: pd.DataFrame) -> Iterator[Table]:
    for column in good.columns:
        yield _csv(f"no-column-{column}", "columns", good.drop(columns=column), "rows" if column != "file" else "refused")
        yield _csv(f"twice-{column}", "columns", pd.concat([good, good[[column]]], axis=1), "refused")
        yield _csv(f"shouted-{column}", "columns", good.rename(columns={column: f" {column.upper()} "}))
        yield _csv(f"blank-{column}", "columns", good.rename(columns={column: ""}))
    yield _csv("turned-round", "columns", good[good.columns[::-1]], "rows")
    yield Table("index", "columns", good.to_csv().encode(), "rows")
    yield Table("no-header", "columns", good.to_csv(index=False, header=False).encode(), "refused")
    yield _csv("header-again", "columns", pd.concat([good[:5], pd.DataFrame([list(good.columns)], columns=good.columns), good[5:]]))
    for name in ("status", "error", "code", "colour_confidence", "split", "xmin", "path", "image"):
        yield _csv(f"also-{name}", "columns", good.assign(**{name: "x"}))


def _encodings(text: str) -> Iterator[Table]:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        yield Table(f"encoding-{encoding}", "encoding", text.encode(encoding), "rows")
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        data = text.encode(encoding)
        yield Table(f"encoding-{encoding}-marked", "encoding", mark + data, "rows")
        yield Table(f"encoding-{encoding}", "encoding", data, "refused")
        yield Table(f"encoding-{encoding}-odd", "encoding", mark + data[:-1], "refused")
        yield Table(f"encoding-{encoding}-wrong-mark", "encoding", b"\xff\xfe\xfe\xff"[: len(mark)] + b"\xd8\xd8" + data, "refused")
    noted = text.replace("\n", ",note\n", 1).replace("\n", ",옷\n")[: -len(",옷\n")] + ",é\n"
    for encoding in ("cp949", "latin-1", "cp1252", "shift_jis", "utf-7", "cp037"):
        yield Table(f"encoding-{encoding}-noted", "encoding", noted.encode(encoding, "replace"))
    for place in (0, 3, len(text) // 3, len(text) - 2):
        for byte in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80\x80", b"\xf5"):
            yield Table(f"invalid-{place}-{byte.hex()}", "invalid bytes", text[:place].encode() + byte + text[place:].encode())
        yield Table(f"nul-{place}", "NUL", (text[:place] + "\0" + text[place:]).encode(), "refused")
    yield Table("nul-behind", "NUL", text.encode() + bytes(512), "refused")
    yield Table("mark-twice", "encoding", b"\xef\xbb\xbf\xef\xbb\xbf" + text.encode())


def _separators(text: str) -> Iterator[Table]:
    for name, separator in {"semicolon": ";", "tab": "\t", "bar": "|"}.items():
        for newline in ("\n", "\r\n", "\r"):
            data = text.replace(",", separator).replace("\n", newline).encode()
            yield Table(f"separator-{name}-{newline!r}", "separator", data, "rows", ".tsv" if name == "tab" else ".txt")
        yield Table(f"separator-{name}-header-only", "separator", text.replace(",", separator, text[: text.index("\n")].count(",")).encode())
    yield Table("separator-space", "separator", text.replace(",", " ").encode())
    yield Table("separator-colon", "separator", text.replace(",", ":").encode())
    yield Table("separator-twice", "separator", text.replace(",", ",,").encode())
    yield Table("separator-spaced", "separator", text.replace(",", ", ").encode())
    yield Table("separator-says", "separator", b"sep=,\n" + text.encode())
    yield Table("separator-behind", "separator", text.replace("\n", ",\n").encode(), "refused")
    yield Table("newlines-mixed", "separator", text.replace("\n", "\r\n", 5).encode())
    yield Table("newlines-blank", "separator", text.replace("\n", "\n\n").encode(), "rows")
    yield Table("newlines-none-behind", "separator", text.rstrip("\n").encode(), "rows")


def _quotes(text: str) -> Iterator[Table]:
    lines = text.splitlines()
    for number in (0, 1, len(lines) // 2, len(lines) - 1):
        for name, change in {
            "open": lambda line: '"' + line, "behind": lambda line: '"' + line.replace(",", '"x,', 1),
            "lone": lambda line: line.replace(",", ',"', 1),
            "inside": lambda line: line[:2] + '"' + line[2:], "only": lambda line: '"' * len(line), "whole": lambda line: f'"{line}"',
        }.items():  # fmt: skip
            yield Table(f"quote-{name}-{number}", "quotes", "\n".join([*lines[:number], change(lines[number]), *lines[number + 1 :]]).encode())
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in lines)
    yield Table("quoted-all", "quotes", quoted.encode(), "rows")
    yield Table("quoted-single", "quotes", quoted.replace('"', "'").encode())
    yield Table("quoted-curly", "quotes", quoted.replace('"', "”").encode())


def _ragged(text: str) -> Iterator[Table]:
    lines = text.splitlines()
    for number in (1, len(lines) // 2, len(lines) - 1):
        for name, line in {
            "longer": lines[number] + ",x",
            "shorter": lines[number].rpartition(",")[0],
            "comment": "# by hand",
            "total": "sum,,,,,,,,,,",
        }.items():
            yield Table(f"ragged-{name}-{number}", "ragged", "\n".join([*lines[:number], line, *lines[number + 1 :]]).encode(), "refused")
    yield Table("ragged-all", "ragged", "\n".join(line + "," * number for number, line in enumerate(lines)).encode(), "refused")
    yield Table("cut-in-a-row", "ragged", text[: len(text) // 2].rpartition(",")[0].encode(), "refused")


def _nothing(text: str) -> Iterator[Table]:
    header = text[: text.index("\n")]
    for name, data in {"zero-bytes": b"", "newlines": b"\n\n\r\n", "spaces": b"   \n  ", "mark": b"\xef\xbb\xbf", "nuls": bytes(64),
                       "commas": b",,,\n,,,\n",
                       "quotes": b'""\n""\n', "mark-16": b"\xff\xfe", "one-cell": b"x"}.items():  # fmt: skip
        yield Table(f"nothing-{name}", "empty", data, "refused")
    yield Table("header-only", "empty", header.encode())
    yield Table("header-and-newline", "empty", header.encode() + b"\n\n")
    yield Table("blank-rows", "empty", (header + "\n" + ("," * header.count(",") + "\n") * 5).encode())


def _no_tables(text: str) -> Iterator[Table]:
    for name, data in {
        "zip": b"PK\x03\x04" + bytes(100), "xls": b"\xd0\xcf\x11\xe0" + bytes(600), "gzip": zlib.compress(text.encode(), wbits=31),
        "pdf": b"%PDF-1.7",
        "html": b"<!DOCTYPE html><table><tr><td>1</td></tr></table>", "jpeg": b"\xff\xd8\xff\xe0" + bytes(99),
        "sqlite": b"SQLite format 3\0" + bytes(99),
        "pickle": b"\x80\x04\x95" + bytes(30), "yaml": b"a: 1\nb: [2]\n", "json": b'[{"a": 1}]', "rubbish": np.random.default_rng(3).bytes(2000),
    }.items():  # fmt: skip
        yield Table(f"other-{name}", "no table", data, "refused" if name not in ("yaml", "json") else "either")


def _flipped_text(text: str) -> Iterator[Table]:
    yield from (Table(f"flipped-{seed}", "flipped", _flipped(text.encode(), seed)) for seed in range(20))


def _flipped(data: bytes, seed: int) -> bytes:
    generator = np.random.default_rng(seed)
    changed = np.frombuffer(data, np.uint8).copy()
    places = generator.integers(0, len(changed), 1 + seed % 4)
    changed[places] ^= generator.integers(1, 256, len(places), dtype=np.uint8)
    return changed.tobytes()


def _large(good: pd.DataFrame) -> Iterator[Table]:
    long = "x" * 100_000
    for column in good.columns:
        yield _csv(f"long-{column}", "large", good.assign(**{column: [*good[column][:-1], long]}))
        yield _csv(f"long-all-{column}", "large", good.assign(**{column: long}))
        yield _csv(f"long-name-{column}", "large", good.rename(columns={column: long}))
    yield _csv("long-note", "large", good.assign(note=long), "rows")
    wide = pd.DataFrame(0, index=good.index, columns=[f"c{number}" for number in range(10_000)])
    yield _csv("wide", "large", pd.concat([good, wide], axis=1), "rows")
    yield _csv("wide-alone", "large", wide, "refused")
    yield _csv("wide-twice", "large", pd.concat([good, wide.rename(columns=lambda name: "c")], axis=1), "refused")
    yield Table("long-lines", "large", b"a" * 1_000_000, "refused")
    yield Table("many-quotes", "large", b'"' * 200_001, "refused")


def _jsonl(good: pd.DataFrame) -> Iterator[Table]:
    records = good.to_dict("records")
    lines = [json.dumps(record) for record in records]
    first = records[0]
    name, value = next(iter(first.items()))
    odd = {
        "cut": lines[0][:-3], "list": json.dumps(list(first)), "text": json.dumps(value), "number": "7", "null": "null", "nothing": "{}",
        "twice": lines[0][:-1] + f', "{name}": 1}}', "nested": json.dumps({**first, name: {"a": [1, {"b": None}]}}),
        "true": json.dumps({**first, name: True}),
        "huge": lines[0].replace(f'"{value}"', "9" * 5000), "exponent": lines[0].replace(f'"{value}"', "1e999"),
        "nan": lines[0].replace(f'"{value}"', "NaN"),
        "surrogate": lines[0].replace(str(value), "\\ud800"), "escape": lines[0].replace(str(value), "\\x"),
        "nul": lines[0].replace(str(value), "\\u0000"),
        "deep": "[" * 50_000, "deep-object": '{"a":' * 50_000, "comment": "// no JSON", "single": str(first), "comma": lines[0] + ",",
        "two": lines[0] * 2,
        "blank-key": json.dumps({**first, "": 1}), "long": json.dumps({**first, name: "x" * 100_000}), "tabs": lines[0].replace(str(value), "\t"),
        "more": json.dumps({**first, **{f"c{number}": number for number in range(10_000)}}), "less": json.dumps({name: value}),
    }  # fmt: skip
    for kind, line in odd.items():
        yield Table(f"jsonl-{kind}", "JSON Lines", "\n".join([*lines, line]).encode(), ending=".jsonl")
    yield Table("jsonl-good", "JSON Lines", "\n".join(lines).encode(), "rows", ".jsonl")
    yield Table("jsonl-marked", "JSON Lines", "\n".join(lines).encode("utf-8-sig"), "rows", ".jsonl")
    yield Table("jsonl-16", "JSON Lines", "\n".join(lines).encode("utf-16"), "rows", ".jsonl")
    yield Table("jsonl-is-json", "JSON Lines", json.dumps(records, indent=1).encode(), "refused", ".jsonl")
    yield Table("jsonl-is-csv", "JSON Lines", good.to_csv().encode(), "refused", ".jsonl")
    yield Table("jsonl-invalid", "JSON Lines", "\n".join(lines).encode() + b'\n{"a": "\xff"}', ending=".jsonl")
    yield from (Table(f"jsonl-flipped-{seed}", "JSON Lines", _flipped("\n".join(lines).encode(), seed), ending=".jsonl") for seed in range(8))


def _parquet(good: pd.DataFrame) -> Iterator[Table]:
    whole = _parquet_bytes(pa.Table.from_pandas(good, preserve_index=False))
    yield Table("parquet-good", "Parquet", whole, "rows", ".parquet")
    for cut in (0.0, 0.1, 0.5, 0.9, 0.99):
        yield Table(f"parquet-cut-{cut}", "Parquet", whole[: max(4, int(len(whole) * cut))], "refused", ".parquet")
    for seed in range(12):
        yield Table(f"parquet-flipped-{seed}", "Parquet", _flipped(whole, seed), ending=".parquet")
    for place in (8, len(whole) - 8, len(whole) - 6, len(whole) - 40):
        yield Table(f"parquet-holed-{place}", "Parquet", whole[:place] + b"\xff\xff\xff\x7f" + whole[place + 4 :], ending=".parquet")
    yield Table("parquet-is-csv", "Parquet", good.to_csv().encode(), "refused", ".parquet")
    name = good.columns[0]
    count = len(good)
    columns: dict[str, Callable[[], pa.Array]] = {
        "bytes": lambda: pa.array([b"\xff"] * count), "dates": lambda: pa.array([datetime.date(2024, 1, 2)] * count),
        "times": lambda: pa.array([datetime.datetime(2024, 1, 2, 3, 4, tzinfo=datetime.UTC)] * count),
        "floats": lambda: pa.array([float("nan")] * count),
        "decimals": lambda: pa.array([decimal.Decimal("1.50")] * count), "lists": lambda: pa.array([[1, None]] * count),
        "structs": lambda: pa.array([{"a": 1}] * count), "maps": lambda: pa.array([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
        "nulls": lambda: pa.nulls(count), "categories": lambda: pa.array(["x"] * count).dictionary_encode(),
        "half": lambda: pa.array(np.ones(count, np.float16)),
        "flags": lambda: pa.array([True] * count), "large": lambda: pa.array(["x" * 100_000] * count, pa.large_string()),
        "durations": lambda: pa.array([datetime.timedelta(days=10**5)] * count), "far": lambda: pa.array([2**62] * count, pa.timestamp("us")),
        "null-categories": lambda: pa.array([None] * count, pa.dictionary(pa.int8(), pa.string())),
    }  # fmt: skip
    table = pa.Table.from_pandas(good, preserve_index=False)
    for kind, make in columns.items():
        yield Table(f"parquet-{kind}", "Parquet", _parquet_bytes(table.set_column(0, name, make())), ending=".parquet")
        yield Table(f"parquet-note-{kind}", "Parquet", _parquet_bytes(table.append_column("note", make())), ending=".parquet")
    yield Table("parquet-no-rows", "Parquet", _parquet_bytes(table.slice(0, 0)), ending=".parquet")
    yield Table("parquet-no-columns", "Parquet", _parquet_bytes(table.select([])), "refused", ".parquet")
    yield Table("parquet-twice", "Parquet", _parquet_bytes(table.append_column(name, table.column(0))), "refused", ".parquet")


def _parquet_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def expected_pictures(table: Table, good: Sequence[str]) -> list[str] | None:
    """The names that a prediction's rows must have, where that is known."""
    return list(good) if table.expected == "rows" else None
