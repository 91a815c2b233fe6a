from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.data.manifest import Manifest
from attrcls.data.split import PARTS, fold_rows, split_manifest
from attrcls.errors import UserError


def make_manifest(rows: int, *, groups: list[str] | None = None, kinds: list[int] | None = None, splits: list[str] | None = None) -> Manifest:
    frame = pd.DataFrame(
        {
            "card": "c",
            "row_id": [str(row) for row in range(rows)],
            "path": [f"{row}.jpg" for row in range(rows)],
            "xmin": np.nan, "ymin": np.nan, "xmax": np.nan, "ymax": np.nan,
            "group": groups or [""] * rows,
            "split": splits or [""] * rows,
            "kind": kinds or [row % 2 for row in range(rows)],
        }
    )  # fmt: skip
    return Manifest(frame, {"kind": ("a", "b", "c")}, {"c": Path()})


def test_fifteen_percent_of_the_groups_are_held_back_exactly():
    manifest = make_manifest(1400, groups=[f"c:{row // 7}" for row in range(1400)], kinds=[row // 7 % 3 for row in range(1400)])
    frame = split_manifest(manifest, share=0.15, seed=0).frame
    held = frame[frame["split"] == "val"]
    assert held["group"].nunique() == 30
    assert not set(held["group"]) & set(frame[frame["split"] == "train"]["group"])


def test_the_held_back_rows_have_the_classes_of_the_whole():
    manifest = make_manifest(1000, kinds=[0] * 900 + [1] * 80 + [2] * 20)
    frame = split_manifest(manifest, share=0.15, seed=0).frame
    held = frame[frame["split"] == "val"]["kind"].value_counts()
    assert [held[0], held[1], held[2]] == [135, 12, 3]


def test_a_card_with_validation_rows_keeps_its_own_split():
    splits = ["train"] * 6 + ["val"] * 2 + ["test", ""]
    assert split_manifest(make_manifest(10, splits=splits), share=0.5, seed=0).frame["split"].tolist() == ["train"] * 6 + ["val"] * 2 + [
        "test",
        "train",
    ]


def test_test_rows_are_never_held_back():
    splits = ["train"] * 40 + ["test"] * 40
    frame = split_manifest(make_manifest(80, splits=splits), share=0.25, seed=0).frame
    assert (frame["split"][40:] == "test").all()
    assert (frame["split"] == "val").sum() == 10


def test_the_same_seed_holds_back_the_same_rows_and_another_seed_others():
    manifest = make_manifest(200)
    first, again, other = (split_manifest(manifest, share=0.15, seed=seed).frame["split"].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_rows_of_one_picture_stay_together():
    manifest = make_manifest(200)
    manifest = manifest.with_columns(path=[f"{row // 2}.jpg" for row in range(200)])
    frame = split_manifest(manifest, share=0.2, seed=0).frame
    assert frame.groupby("path")["split"].nunique().max() == 1


def test_a_single_group_cannot_be_held_back_and_says_so():
    with pytest.raises(UserError, match="expected at least 2 train groups"):
        split_manifest(make_manifest(5, groups=["c:only"] * 5), share=0.15, seed=0)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=2, max_size=60), share=st.floats(0.05, 0.6), seed=st.integers(0, 5))
def test_no_group_ever_straddles_and_both_sides_have_rows(sizes, share, seed):
    groups = [f"c:{index}" for index, size in enumerate(sizes) for _ in range(size)]
    frame = split_manifest(make_manifest(len(groups), groups=groups), share=share, seed=seed).frame
    assert frame.groupby("group")["split"].nunique().max() == 1
    assert {"train", "val"} == set(frame["split"])


@settings(max_examples=40)
@given(
    rows=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["", "train", "test"]), st.integers(-1, 2)), min_size=2, max_size=80),
    share=st.floats(0.05, 0.6),
    seed=st.integers(0, 5),
)
def test_every_row_gets_just_one_split_given_ones_stay_and_the_same_seed_gives_the_same(rows, share, seed):
    given_splits = {group: split for group, split, _ in rows}
    manifest = make_manifest(
        len(rows), groups=[f"c:{group}" for group, *_ in rows], splits=[given_splits[group] for group, *_ in rows], kinds=[kind for *_, kind in rows]
    )
    before = manifest.frame.copy()
    if len({group for group, split in given_splits.items() if split != "test"}) == 1:
        with pytest.raises(UserError, match="expected at least 2 train groups"):
            split_manifest(manifest, share=share, seed=seed)
        return
    frame = split_manifest(manifest, share=share, seed=seed).frame
    pd.testing.assert_frame_equal(manifest.frame, before)
    pd.testing.assert_frame_equal(frame.drop(columns="split"), before.drop(columns="split"))
    assert set(frame["split"]) <= {"train", "val", "test"}
    assert ((frame["split"] == "test") == (before["split"] == "test")).all()
    assert frame.groupby("group")["split"].nunique().max() == 1
    assert frame["split"].tolist() == split_manifest(manifest, share=share, seed=seed).frame["split"].tolist()


@settings(max_examples=40)
@given(kinds=st.lists(st.integers(-1, 2), min_size=2, max_size=150), share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_the_held_back_share_is_met_to_within_a_twentieth_of_the_rows(kinds, share, seed):
    held = (split_manifest(make_manifest(len(kinds), kinds=kinds), share=share, seed=seed).frame["split"] == "val").sum()
    if len(kinds) < PARTS:
        assert held == min(len(kinds) - 1, max(1, round(share * len(kinds))))
    else:
        parts = min(PARTS - 1, max(1, round(share * PARTS)))
        assert parts * (len(kinds) // PARTS) <= held <= parts * -(-len(kinds) // PARTS)


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 2)), min_size=1, max_size=60), folds=st.integers(2, 6), seed=st.integers(0, 5))
def test_folds_part_all_rows_and_no_group(rows, folds, seed):
    manifest = make_manifest(len(rows), groups=[f"c:{group}" for group, _ in rows], kinds=[kind for _, kind in rows])
    of_row = fold_rows(manifest, folds=folds, seed=seed)
    groups = manifest.frame["group"]
    assert of_row.shape == (len(rows),)
    assert set(of_row.tolist()) <= set(range(min(folds, groups.nunique())))
    assert pd.Series(of_row).groupby(groups).nunique().max() == 1
    assert of_row.tolist() == fold_rows(manifest, folds=folds, seed=seed).tolist()
