"""What lies elsewhere is read as if it lay here; a server on this machine stands for the web, fsspec's memory for a bucket."""

import shutil

import fsspec
import numpy as np
import pandas as pd
import pytest
from web import served

from attrcls.data import remote
from attrcls.data.images import read_image
from attrcls.data.remote import FetchError, Url, is_url, parse_location, read_bytes
from attrcls.data.tables import read_table
from attrcls.errors import ImageError, UserError


@pytest.fixture
def bucket(monkeypatch):
    """An empty store that is reached as `memory://`."""
    monkeypatch.setitem(remote.SCHEMES, "memory", None)
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    return filesystem


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(remote, "_WAIT_SECONDS", (0, 0))


def test_a_path_stays_a_path_and_a_url_keeps_its_slashes(tmp_path):
    assert parse_location(tmp_path) == tmp_path
    assert parse_location("C:/pictures/a.jpg").name == "a.jpg"
    assert parse_location(f"file://{tmp_path}/a%20b.jpg") == tmp_path / "a b.jpg"
    url = parse_location("http://host/folder/list.CSV")
    assert isinstance(url, Url)
    assert (url.suffix, url.parent, str(url / "a.jpg")) == (".CSV", Url("http://host/folder"), "http://host/folder/list.CSV/a.jpg")
    assert is_url("s3:/bucket/x.csv") and is_url("s3://bucket/x.csv")
    assert not is_url("a/b.csv") and not is_url("c:/b.csv") and not is_url("x:/")


def test_a_name_below_a_url_of_the_web_is_quoted_and_one_in_a_bucket_is_not():
    assert (Url("http://h/a") / "b c#1%.jpg").text == "http://h/a/b%20c%231%25.jpg"
    assert (Url("s3://b/a/") / "b c#1%.jpg").text == "s3://b/a/b c#1%.jpg"
    assert Url("s3://b/a?b#c.tar.gz").suffix == ".gz"
    assert Url("https://h/t.parquet?key=1.csv").suffix == ".parquet"


def test_passwords_and_signatures_are_not_told():
    shown = str(Url("https://me:secret@host/a.jpg?signature=secret"))
    assert shown == "https://…@host/a.jpg?…"


@pytest.mark.parametrize("text", ["ftp://host/a.csv", "zip://a.csv::http://host/x.zip", "S4://b/a.csv"])
def test_an_unknown_scheme_is_told_with_those_that_are_known(text):
    with pytest.raises(UserError, match=r"found (ftp|zip|s4)://") as caught:
        parse_location(text)
    assert "s3://" in str(caught.value)


def test_a_package_that_a_scheme_needs_is_named(without):
    without("s3fs")
    with pytest.raises(UserError, match="pip install fsspec s3fs"):
        parse_location("s3://bucket/a.csv")


def test_a_picture_from_the_web_and_from_a_bucket_is_the_one_on_disk(shared_squares, bucket):
    file = sorted((shared_squares / "images").glob("*.jpg"))[0]
    bucket.pipe_file("/b/a#b.jpg", file.read_bytes())
    with served(file.parent) as host:
        for url in (parse_location(f"{host}/{file.name}"), parse_location("memory://b") / "a#b.jpg"):
            assert np.array_equal(read_image(url), read_image(file))


def test_tables_from_the_web_and_from_a_bucket_are_read_as_those_on_disk(tmp_path, bucket):
    table = pd.DataFrame({"path": ["a.jpg", "007"], "n": ["1", ""]})
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    table.to_parquet(tmp_path / "t.parquet")
    with served(tmp_path) as host:
        for name in ("t.csv", "t.tsv", "t.parquet"):
            bucket.pipe_file(f"/b/{name}", (tmp_path / name).read_bytes())
            for url in (f"{host}/{name}", f"memory://b/{name}"):
                pd.testing.assert_frame_equal(read_table(parse_location(url)), read_table(tmp_path / name))
    with pytest.raises(UserError, match=r"memory://b/none\.csv: no such file"):
        read_table(parse_location("memory://b/none.csv"))


def test_what_cannot_be_had_is_missing_or_unreadable_with_the_reason(tmp_path, bucket):
    bucket.pipe_file("/b/empty.jpg", b"")
    bucket.pipe_file("/b/page.jpg", b"<!doctype html>")
    with served(tmp_path, lambda method, path: 403 if path == "/closed.jpg" else None) as host:
        expected = {
            f"{host}/none.jpg": ("missing", "no such file"),
            f"{host}/closed.jpg": ("unreadable", "403"),
            "memory://b/none.jpg": ("missing", "no such file"),
            "memory://b/empty.jpg": ("unreadable", "zero bytes"),
            "memory://b/page.jpg": ("unreadable", "a web page"),
        }
        for text, (status, reason) in expected.items():
            with pytest.raises(ImageError, match=reason) as caught:
                read_image(parse_location(text))
            assert caught.value.status == status
            assert str(caught.value).startswith(text)


def test_a_fault_of_the_network_is_tried_again_and_one_that_stays_is_told(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"whole")
    answers = [500, 503, None, 500, 500, 500]
    with served(tmp_path, lambda method, path: answers.pop(0)) as host:
        assert read_bytes(Url(f"{host}/a.txt")) == b"whole"
        with pytest.raises(FetchError, match="500"):
            read_bytes(Url(f"{host}/a.txt"))
    assert not answers
    with pytest.raises(FetchError, match="could not be fetched"):
        read_bytes(Url(f"{host}/a.txt"))


def test_a_server_that_refuses_is_asked_once_and_its_signature_is_not_told(tmp_path):
    asked = []
    with served(tmp_path, lambda method, path: asked.append(path) or 403) as host:
        with pytest.raises(FetchError, match="403") as caught:
            read_bytes(Url(f"{host}/a.jpg?X-Signature=SECRET&more=SECRET"))
        with pytest.raises(UserError, match="403") as of_table:
            read_table(parse_location(f"{host}/list.csv?X-Signature=SECRET"))
    assert len(asked) == 2
    assert "SECRET" not in f"{caught.value} {of_table.value}"


def test_a_picture_below_a_signed_folder_keeps_the_signature_behind_its_name():
    folder = Url("https://host/a?sig=x&sv=1")
    assert (folder / "b c.jpg").text == "https://host/a/b%20c.jpg?sig=x&sv=1"
    assert (folder / "b.jpg").suffix == ".jpg"
    assert (folder / "b.jpg").parent == Url("https://host/a")


@pytest.mark.parametrize("text", ["file://[1].jpg", "file://images/a.jpg"])
def test_a_file_url_of_another_machine_or_none_is_refused_and_costs_a_table_one_row(cli, trained_run, shared_squares, tmp_path, text):
    with pytest.raises(UserError, match="three slashes"):
        parse_location(text)
    (tmp_path / "asked.csv").write_text(f"path\n{text}\nimages/{sorted((shared_squares / 'images').glob('*.jpg'))[0].name}\n")
    found = cli("predict", trained_run, tmp_path / "asked.csv", "--image-root", shared_squares, "--csv", tmp_path / "out.csv")
    assert found.code == 3, found.err
    assert pd.read_csv(tmp_path / "out.csv")["status"].tolist() == ["missing", "ok"]


def test_bytes_are_counted_as_they_come(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "MAX_BYTES", 3 << 20)
    monkeypatch.setattr(remote, "_CHUNK_BYTES", 1 << 16)
    (tmp_path / "long.jpg").write_bytes(bytes(16 << 20))
    with served(tmp_path) as host, pytest.raises(FetchError, match="a file of more than"):
        read_bytes(Url(f"{host}/long.jpg"))


def test_predictions_of_pictures_elsewhere_are_those_of_the_same_pictures_here(cli, trained_run, shared_squares, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(shared_squares / "images", folder)
    names = [path.name for path in sorted(folder.glob("*.jpg"))[:9]]
    table = pd.DataFrame({"path": [*names, "gone.jpg", names[0], ""], "mine": range(12)})
    table.to_csv(folder / "asked.csv", index=False)
    table.to_csv(tmp_path / "asked.csv", index=False)
    options = ["--batch-size", 4, "--probabilities", "--csv"]
    asked = []
    with served(folder, lambda method, path: asked.append(path)) as host:
        wanted = cli("predict", trained_run, tmp_path / "asked.csv", "--image-root", folder, *options, tmp_path / "here.csv")
        assert wanted.code == 3, wanted.err
        assert not asked
        for arguments in ([f"{host}/asked.csv"], [tmp_path / "asked.csv", "--image-root", host]):
            found = cli("predict", trained_run, *arguments, *options, tmp_path / "there.csv", "--workers", 2)
            assert found.code == 3, found.err
            here, there = pd.read_csv(tmp_path / "here.csv"), pd.read_csv(tmp_path / "there.csv")
            pd.testing.assert_frame_equal(there.drop(columns="error"), here.drop(columns="error"))
            assert there["error"][9] == f"{host}/gone.jpg: no such file"
        one = cli("predict", trained_run, f"{host}/{names[0]}", "--csv", tmp_path / "one.csv")
        assert one.code == 0, one.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["HOST/asked.csv", "--image-root", "HOST/nowhere"], ["/nowhere", "nothing is there"]),
        (["HOST/none.csv"], ["/none.csv", "no such file"]),
        (["HOST/"], ["a picture", "a table"]),
        (["http://[bad/a.csv"], ["http://[bad/a.csv", "could not be fetched"]),
        (["http://127.0.0.1:9/asked.csv"], ["127.0.0.1:9", "could not be fetched"]),
        (["ftp://host/asked.csv"], ["ftp://", "s3://"]),
        (["HOST/asked.csv", "--image-root", "ftp://host/a"], ["ftp://", "s3://"]),
        (["HOST/asked.csv", "--csv", "s3://bucket/out.csv"], ["--csv", "on this machine"]),
    ],
)
def test_an_address_that_leads_nowhere_is_told(cli, trained_run, tmp_path, arguments, says):
    (tmp_path / "asked.csv").write_text("path\na.jpg\n")
    with served(tmp_path) as host:
        result = cli("predict", trained_run, *(argument.replace("HOST", host) for argument in arguments))
    assert result.code == 2, result.err
    assert all(part in result.err for part in says), result.err
    assert "Traceback" not in result.err
