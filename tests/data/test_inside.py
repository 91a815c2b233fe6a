"""Paths in a card's table stay in the image folder: as they are written, and once links are followed."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from attrcls.card import Card
from attrcls.data.manifest import build_manifest
from attrcls.inside import Inside, leads_out, path_fault

OUTSIDE = [
    "/etc/passwd",
    "../secret.jpg",
    "..",
    "a/../../secret.jpg",
    "..\\secret.jpg",
    "a\\..\\..\\secret.jpg",
    "C:\\Windows\\x.jpg",
    "c:secret.jpg",
    "C:/x.jpg",
    "\\\\server\\share\\x.jpg",
    "//server/share/x.jpg",
    "\\x.jpg",
]
INSIDE = ["x.jpg", "a/x.jpg", "a/../x.jpg", "..x.jpg", "a..b/x.jpg", "%2e%2e/secret.jpg", "..%2fsecret.jpg", "~/x.jpg", "~root/x.jpg", "$HOME/x.jpg"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_path_that_climbs_out_is_told(name):
    assert leads_out(name)
    assert "leads out of the image folder" in path_fault(name.replace("\\", "/"))


@pytest.mark.parametrize("name", INSIDE)
def test_a_path_that_only_looks_odd_is_one_below_the_folder(name):
    assert not leads_out(name)
    assert path_fault(name) is None


def test_a_nul_byte_and_a_blank_cell_are_told():
    assert "NUL" in path_fault("a\0.jpg")
    assert "blank" in path_fault("")


def make_card(**images):
    raw = {
        "name": "toy",
        "tables": ["t.csv"],
        "images": {"root": "images", "column": "file", **images},
        "attributes": {"kind": {"classes": ["a", "b"]}},
    }
    return Card.model_validate(raw)


@pytest.fixture
def data(shared_squares, tmp_path):
    """A data folder with one picture, and a picture outside of it."""
    picture = next((shared_squares / "images").iterdir())
    for place in ("data/images/sub/x.jpg", "secret/x.jpg"):
        (tmp_path / place).parent.mkdir(parents=True)
        shutil.copy(picture, tmp_path / place)
    return tmp_path / "data"


def faults(data, names, **images):
    pd.DataFrame({"file": names, "kind": "a"}).to_json(data / "t.jsonl", orient="records", lines=True)
    card = make_card(**images).model_copy(update={"tables": [make_card().tables[0].model_copy(update={"file": "t.jsonl"})]})
    return build_manifest({"toy": card}, {"toy": data}, on_error="skip")[1]


def test_no_path_of_a_table_reads_outside_and_each_is_told_with_its_row(data):
    (data / "images" / "link.jpg").symlink_to(data.parent / "secret" / "x.jpg")
    (data / "images" / "linked").symlink_to(data.parent / "secret")
    (data / "images" / "loop.jpg").symlink_to("loop.jpg")
    hostile = [*OUTSIDE, *INSIDE[5:], "a\0.jpg", "link.jpg", "linked/x.jpg", "linked/../secret/x.jpg", "sub/../linked/x.jpg", "loop.jpg"]
    found = faults(data, ["sub/x.jpg", *hostile])
    assert [problem.row for problem in found] == list(range(2, len(hostile) + 2))
    assert {problem.column for problem in found} == {"file"}
    assert ["follow_links: true" in problem.message for problem in found].count(True) == 4


def test_links_inside_the_folder_and_the_folder_itself_as_a_link_are_fine(data):
    (data / "images" / "again.jpg").symlink_to("sub/x.jpg")
    os.rename(data / "images", data.parent / "elsewhere")
    (data / "images").symlink_to(data.parent / "elsewhere")
    assert faults(data, ["sub/x.jpg", "again.jpg"]) == []
    (data.parent / "link").symlink_to(data)
    assert faults(data.parent / "link", ["sub/x.jpg", "again.jpg"]) == []


def test_a_card_may_let_links_lead_out(data):
    (data / "images" / "link.jpg").symlink_to(data.parent / "secret" / "x.jpg")
    assert faults(data, ["sub/x.jpg", "link.jpg"], follow_links=True) == []
    assert len(faults(data, ["sub/x.jpg", "../../secret/x.jpg"], follow_links=True)) == 1


def test_a_persons_folder_that_is_a_link_out_is_told_for_each_picture(data):
    for name in ("p1", "p2"):
        (data.parent / "secret" / name).mkdir()
        shutil.copy(data.parent / "secret" / "x.jpg", data.parent / "secret" / name / "front.jpg")
    shutil.copytree(data.parent / "secret" / "p1", data / "images" / "p1")
    (data / "images" / "p2").symlink_to(data.parent / "secret" / "p2")
    folders = {"attribute": "kind", "files": {"front": "a"}}
    found = faults(data, ["p1", "p2"], folders=folders)
    assert [(problem.row, "leads out of the image folder" in problem.message) for problem in found] == [(2, True)]


@pytest.mark.parametrize(
    "place",
    [{"images": {"root": ".."}}, {"images": {"root": "/"}}, {"tables": [{"file": "../t.csv"}]}, {"tables": [{"file": "t", "images": "C:\\x"}]}],
)
def test_a_card_names_folders_and_tables_below_its_data_folder_only(place):
    with pytest.raises(ValueError, match="leads out of the data folder"):
        Card.model_validate({"name": "toy", "tables": ["t.csv"], "attributes": {"kind": {"classes": ["a", "b"]}}, **place})


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path):
    (tmp_path / "images").mkdir()
    inside = Inside(tmp_path / "images")
    assert inside.holds(tmp_path / "images" / "new.jpg")
    assert not inside.holds(tmp_path / "images2" / "x.jpg")
    assert not inside.holds(tmp_path / "images" / "..")
    assert Inside(Path(tmp_path.anchor)).holds(tmp_path)
