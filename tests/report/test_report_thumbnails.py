"""Thumbnails: small, few, and only of pictures that lie below the card's folder."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from attrcls.report.numbers import Mistake
from attrcls.report.thumbnails import make_thumbnails


def mistake(path, *, row_id="r1", card="toy", box=None):
    return Mistake(card=card, row_id=row_id, path=path, box=box, given="a", predicted="b", confidence=0.9)


@pytest.fixture
def folder(tmp_path):
    pixels = np.zeros((300, 200, 3), dtype=np.uint8)
    pixels[:150] = (250, 0, 0)
    (tmp_path / "images").mkdir()
    Image.fromarray(pixels).save(tmp_path / "images/a.png")
    Image.fromarray(pixels).save(tmp_path / "outside.png")
    return tmp_path / "images"


def opened(uri):
    assert uri.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_a_picture_becomes_a_small_jpeg(folder):
    made = make_thumbnails([mistake("a.png")], roots={"toy": folder})
    assert opened(made.uris["toy", "r1"]).size == (64, 96)
    assert (made.missing, made.left_out) == (0, 0)


def test_a_box_is_cut_out(folder):
    made = make_thumbnails([mistake("a.png", box=(0.0, 0.0, 100.0, 150.0))], roots={"toy": folder})
    red, green, _ = opened(made.uris["toy", "r1"]).getpixel((30, 90))
    assert red > 200
    assert green < 60


def test_pictures_that_are_gone_or_broken_are_counted(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    wrong = [mistake("gone.png", row_id="1"), mistake("broken.png", row_id="2"), mistake("a.png", row_id="3", card="other")]
    made = make_thumbnails(wrong, roots={"toy": folder})
    assert (made.uris, made.missing) == ({}, 3)


def test_nothing_outside_the_folder_enters_the_page(folder):
    wrong = [mistake("../outside.png", row_id="1"), mistake(str(folder / "a.png"), row_id="2"), mistake("x/../../outside.png", row_id="3")]
    assert make_thumbnails(wrong, roots={"toy": folder}).missing == 3


def test_a_row_that_is_wrong_twice_is_made_once(folder):
    made = make_thumbnails([mistake("a.png"), mistake("a.png")], roots={"toy": folder})
    assert len(made.uris) == 1


def test_what_would_make_the_page_too_large_is_left_out(folder):
    wrong = [mistake("a.png", row_id=str(number)) for number in range(5)]
    made = make_thumbnails(wrong, roots={"toy": folder}, most_bytes=1)
    assert (len(made.uris), made.left_out) == (1, 4)
