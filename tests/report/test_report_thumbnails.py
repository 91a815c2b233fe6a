"""Thumbnails: small, few, and only of pictures that lie below the card's folder."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from attrcls.report.numbers import Mistake
from attrcls.report.thumbnails import PictureFolders, make_thumbnails, picture_folders


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
    made = make_thumbnails([mistake("a.png")], folders={"toy": PictureFolders(folder, [folder])})
    assert opened(made.uris["toy", "r1"]).size == (64, 96)
    assert (made.missing, made.left_out) == (0, 0)


def test_a_box_is_cut_out(folder):
    made = make_thumbnails([mistake("a.png", box=(0.0, 0.0, 100.0, 150.0))], folders={"toy": PictureFolders(folder, [folder])})
    red, green, _ = opened(made.uris["toy", "r1"]).getpixel((30, 90))
    assert red > 200
    assert green < 60


def test_pictures_that_are_gone_or_broken_are_counted(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    wrong = [mistake("gone.png", row_id="1"), mistake("broken.png", row_id="2"), mistake("a.png", row_id="3", card="other")]
    made = make_thumbnails(wrong, folders={"toy": PictureFolders(folder, [folder])})
    assert (made.uris, made.missing) == ({}, 3)


def test_nothing_outside_the_folder_enters_the_page(folder):
    wrong = [mistake("../outside.png", row_id="1"), mistake(str(folder / "a.png"), row_id="2"), mistake("x/../../outside.png", row_id="3")]
    assert make_thumbnails(wrong, folders={"toy": PictureFolders(folder, [folder])}).missing == 3


def test_a_link_that_leads_out_is_shown_only_where_the_card_says_so(folder):
    (folder / "link.png").symlink_to(folder.parent / "outside.png")
    (folder / "inner.png").symlink_to("a.png")
    wrong = [mistake("link.png", row_id="1"), mistake("inner.png", row_id="2")]
    assert list(make_thumbnails(wrong, folders={"toy": picture_folders({}, folder)}).uris) == [("toy", "2")]
    assert len(make_thumbnails(wrong, folders={"toy": picture_folders({"images": {"follow_links": True}}, folder)}).uris) == 2


@pytest.mark.parametrize("root", ["..", "/", "../.."])
def test_a_card_that_a_stranger_wrote_names_no_folder_outside(folder, root):
    card = {"images": {"root": root}, "tables": [{"images": root}]}
    assert make_thumbnails([mistake("a.png")], folders={"toy": picture_folders(card, folder)}).missing == 1


def test_the_image_folder_itself_may_be_a_link(folder, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/images").symlink_to(folder)
    made = make_thumbnails([mistake("images/a.png")], folders={"toy": picture_folders({"images": {"root": "images"}}, tmp_path / "data")})
    assert len(made.uris) == 1


def test_a_row_that_is_wrong_twice_is_made_once(folder):
    made = make_thumbnails([mistake("a.png"), mistake("a.png")], folders={"toy": PictureFolders(folder, [folder])})
    assert len(made.uris) == 1


def test_what_would_make_the_page_too_large_is_left_out(folder):
    wrong = [mistake("a.png", row_id=str(number)) for number in range(5)]
    made = make_thumbnails(wrong, folders={"toy": PictureFolders(folder, [folder])}, most_bytes=1)
    assert (len(made.uris), made.left_out) == (1, 4)
