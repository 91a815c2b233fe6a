from pathlib import Path

import pandas as pd
import pytest

from attrcls.data.manifest import Manifest
from attrcls.data.scarce import find_scarce
from attrcls.sections import ScarceSpec

CLASSES = {"mask": ("wear", "none"), "age": ("<30", ">=60")}
ROWS = [
    # path, mask, age
    ("images/a/mask4.jpg", 0, 1),
    ("images/b/mask4.png", 0, 0),
    ("images/b/MASK4.jpg", 0, -1),
    ("images/c/normal.jpg", 1, 1),
    ("mask4.jpg", -1, 1),
]


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(pd.DataFrame(ROWS, columns=["path", "mask", "age"]), CLASSES, {"faces": Path("faces")})


def inside(manifest, **sought):
    return find_scarce({"few": ScarceSpec(augment="strong", **sought)}, manifest).inside["few"].nonzero()[0].tolist()


@pytest.mark.parametrize(
    ("sought", "rows"),
    [
        ({"where": {"age": ">=60"}}, [0, 3, 4]),
        ({"where": {"age": ">=60", "mask": "wear"}}, [0]),
        ({"files": "*/mask4.*"}, [0, 1]),
        ({"files": ["images/c/*", "mask4.*"]}, [3, 4]),
        ({"files": "*.jpg"}, [0, 2, 3, 4]),
        ({"files": "images/?/mask4.[jp][pn]g"}, [0, 1]),
        ({"files": "*/mask4.*", "where": {"age": "<30"}}, [1]),
        ({"files": "mask4"}, []),
        ({"where": {"mask": "none", "age": "<30"}}, []),
    ],
)
def test_a_row_is_in_a_group_that_has_all_of_its_labels_and_one_of_the_patterns_of_its_whole_path(manifest, sought, rows):
    assert inside(manifest, **sought) == rows


def test_a_row_takes_the_first_group_that_it_is_in_and_one_line_says_whose_rows_went_to_an_earlier_one(manifest):
    bandana, old = ScarceSpec(files="*/mask4.*", augment="strong"), ScarceSpec(where={"age": ">=60"}, augment="zoom")
    rows = find_scarce({"bandana": bandana, "old": old}, manifest)
    assert rows.group_of.tolist() == [0, 0, -1, 1, 1]
    assert rows.told() == "train rows under a recipe of their own: bandana 2, old 3 (1 of them augmented as an earlier group's)"
    assert find_scarce({"old": old, "bandana": bandana}, manifest).group_of.tolist() == [0, 1, -1, 0, 0]


def test_a_manifest_without_rows_has_none_in_any_group(manifest):
    rows = find_scarce({"few": ScarceSpec(files="*", where={"mask": "wear"}, augment="strong")}, manifest.take([]))
    assert rows.group_of.tolist() == []
