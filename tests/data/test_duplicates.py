"""From pairs of pictures to rows: sets, the splits they stand in, and labels that contradict each other."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd

from attrcls.data.duplicates import find_duplicates
from attrcls.data.manifest import Manifest
from attrcls.types import MISSING

CLASSES = {"kind": ("cat", "dog"), "age": ("young", "old")}


def make_manifest(root, rows: list[tuple[str, str, str, int, int]]) -> Manifest:
    """Rows of path, group, split, kind and age."""
    frame = pd.DataFrame(rows, columns=["path", "group", "split", "kind", "age"])
    frame = frame.assign(card="c", row_id=[str(row) for row in range(len(rows))], xmin=np.nan, ymin=np.nan, xmax=np.nan, ymax=np.nan)
    return Manifest(frame, CLASSES, {"c": root})


def copy_squares(shared_squares, tmp_path):
    """Five pictures: b is a copy of a, e of d."""
    for name, source in zip("abcde", (0, 0, 1, 2, 2), strict=True):
        shutil.copy(shared_squares / "images" / f"p00_{source}.jpg", tmp_path / f"{name}.jpg")


def test_sets_tell_their_splits_and_contradictions_and_leaks_come_first(shared_squares, tmp_path):
    copy_squares(shared_squares, tmp_path)
    rows = [("a.jpg", "", "train", 0, 0), ("b.jpg", "", "train", 1, 0), ("c.jpg", "", "val", 0, 0)]
    manifest = make_manifest(tmp_path, [*rows, ("d.jpg", "c:x", "train", 0, MISSING), ("e.jpg", "c:y", "test", 0, 1)])
    found = find_duplicates(manifest)
    assert found.set_of_row.tolist() == [0, 0, -1, 1, 1]
    assert (found.pictures, found.failed, found.plain) == (5, 0, 0)
    table = found.table(manifest)
    assert table["path"].tolist() == ["d.jpg", "e.jpg", "a.jpg", "b.jpg"]
    assert table["duplicate_set"].tolist() == [1, 1, 2, 2]
    assert table["duplicate_kind"].tolist() == ["copy"] * 4
    assert table["duplicate_splits"].tolist() == ["train test"] * 2 + ["train"] * 2
    assert table["duplicate_contradicts"].tolist() == ["", "", "kind", "kind"]
    assert table["age"].tolist() == ["", "old", "young", "young"]


def test_objects_of_one_picture_contradict_nobody(shared_squares, tmp_path):
    copy_squares(shared_squares, tmp_path)
    manifest = make_manifest(tmp_path, [("a.jpg", "", "train", 0, 0), ("a.jpg", "", "train", 1, 0), ("b.jpg", "", "train", 1, 1)])
    manifest = replace(manifest, frame=manifest.frame.assign(xmin=[0.0, 9.0, 0.0], ymin=0.0, xmax=20.0, ymax=20.0))
    found = find_duplicates(manifest)
    assert found.set_of_row.tolist() == [0, 0, 0]
    assert found.table(manifest)["duplicate_contradicts"].tolist() == [""] * 3


def test_where_all_pictures_differ_the_table_is_empty_but_has_its_columns(shared_squares, tmp_path):
    copy_squares(shared_squares, tmp_path)
    manifest = make_manifest(tmp_path, [("a.jpg", "", "train", 0, 0), ("c.jpg", "", "val", 0, 0)])
    table = find_duplicates(manifest).table(manifest)
    assert len(table) == 0
    own = ["duplicate_set", "duplicate_kind", "duplicate_splits", "duplicate_contradicts"]
    assert list(table.columns) == [*own, "card", "row_id", "path", "group", "split", "kind", "age"]
