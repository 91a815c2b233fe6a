"""Many paths, held small."""

import os
import sys
from pathlib import Path

import pytest

from attrcls.data.locations import Locations
from attrcls.data.remote import Url

GIVEN = [Path("a/b.jpg"), Url("https://host/ü.png?x=1"), Path(), Path("/p/한글.jpg"), Path(os.fsdecode(b"caf\xe9.jpg"))]


def test_what_comes_out_is_what_went_in_whatever_a_name_is_made_of():
    assert list(Locations(GIVEN)) == GIVEN
    assert [type(each) for each in Locations(GIVEN)] == [type(each) for each in GIVEN]


def test_it_is_asked_as_a_list_is():
    locations = Locations(iter(GIVEN))
    assert len(locations) == 5
    assert locations[-1] == GIVEN[-1]
    assert locations[1:4:2] == GIVEN[1:4:2]
    assert len(Locations([])) == 0
    for outside in (5, -6):
        with pytest.raises(IndexError, match="below 5"):
            locations[outside]


def test_a_path_takes_little_more_than_its_text():
    paths = [Path(f"/data/pictures/people/{number:06}/front.jpg") for number in range(2000)]
    text = sum(len(str(path)) for path in paths)
    held = sum(sys.getsizeof(part) for part in vars(Locations(paths)).values())
    assert held < text + 2000 * 16
