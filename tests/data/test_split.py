import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.data.manifest import Manifest
from attrcls.data.split import PARTS, _without_empty, fold_rows, number_folds, split_manifest
from attrcls.errors import UserError


def make_manifest(
    rows: int,
    *,
    groups: list[str] | None = None,
    kinds: list[int] | None = None,
    splits: list[str] | None = None,
    cards: list[str] | None = None,
) -> Manifest:
    cards = cards or ["c"] * rows
    frame = pd.DataFrame(
        {
            "card": cards,
            "row_id": [str(row) for row in range(rows)],
            "path": [f"{row}.jpg" for row in range(rows)],
            "xmin": np.nan, "ymin": np.nan, "xmax": np.nan, "ymax": np.nan,
            "group": groups or [""] * rows,
            "split": splits or [""] * rows,
            "kind": kinds or [row % 2 for row in range(rows)],
        }
    )  # fmt: skip
    return Manifest(frame, {"kind": ("a", "b", "c")}, dict.fromkeys(cards, Path()))


def held_back(manifest: Manifest, *, share: float, seed: int = 0, tied: list[tuple[int, int]] | None = None) -> np.ndarray:
    pairs = None if tied is None else np.array(tied, dtype=np.int64).reshape(-1, 2)
    return (split_manifest(manifest, share=share, seed=seed, tied=pairs).frame["split"] == "val").to_numpy()


def test_fifteen_percent_of_the_groups_are_held_back_exactly():
    manifest = make_manifest(1400, groups=[f"c:{row // 7}" for row in range(1400)], kinds=[row // 7 % 3 for row in range(1400)])
    frame = split_manifest(manifest, share=0.15, seed=0).frame
    held = frame[frame["split"] == "val"]
    assert held["group"].nunique() == 30
    assert not set(held["group"]) & set(frame[frame["split"] == "train"]["group"])


@pytest.mark.parametrize("sizes", [[300] + [10] * 60, [200] * 3 + [10] * 40, [100] * 5 + [10] * 25, [60, 60] + [10] * 12])
@pytest.mark.parametrize("seed", range(5))
def test_large_groups_do_not_make_the_held_back_share_another(sizes, seed):
    groups = [f"c:{group}" for group, size in enumerate(sizes) for _ in range(size)]
    rows = held_back(make_manifest(len(groups), groups=groups), share=0.15, seed=seed).mean()
    assert 0.08 <= rows <= 0.22


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


@pytest.mark.parametrize(("rows", "share", "held"), [(2, 0.5, 1), (2, 0.95, 1), (10, 0.01, 1), (10, 0.99, 9), (100, 0.01, 5), (100, 0.99, 95)])
def test_at_least_one_part_is_held_back_and_at_least_one_trains(rows, share, held):
    assert held_back(make_manifest(rows), share=share).sum() == held


@pytest.mark.parametrize("seed", range(5))
def test_a_stratum_of_just_as_many_rows_as_parts_has_one_in_each(seed):
    kinds = [0] * PARTS + [1] * PARTS
    assert np.array(kinds)[held_back(make_manifest(2 * PARTS, kinds=kinds), share=2 / PARTS, seed=seed)].tolist() == [0, 0, 1, 1]
    folds = fold_rows(make_manifest(8, kinds=[0] * 4 + [1] * 4), folds=4, seed=seed)
    assert sorted(folds[:4]) == sorted(folds[4:]) == [0, 1, 2, 3]


def test_splits_are_stratified_jointly_over_all_attributes():
    # Each attribute by itself is spread evenly also where all that is held back comes from two of the four strata.
    kinds, sizes = np.divmod(np.arange(240) % 4, 2)
    manifest = make_manifest(240, kinds=kinds.tolist())
    manifest = Manifest(manifest.frame.assign(size=sizes), {"kind": ("a", "b"), "size": ("a", "b")}, manifest.roots)
    assert np.bincount((2 * kinds + sizes)[held_back(manifest, share=0.4)]).tolist() == [24] * 4
    folds = fold_rows(manifest, folds=5, seed=0)
    assert [np.bincount((2 * kinds + sizes)[folds == fold]).tolist() for fold in range(5)] == [[12] * 4] * 5


@pytest.mark.parametrize("folds", [2, 5])
@pytest.mark.parametrize("groups", [None, [f"c:{row // 2}" for row in range(120)]])
def test_folds_are_alike_in_size_and_classes(folds, groups):
    kinds = np.array([0] * 60 + [1] * 40 + [2] * 20)
    of_row = fold_rows(make_manifest(120, groups=groups, kinds=kinds.tolist()), folds=folds, seed=0)
    assert [np.bincount(kinds[of_row == fold]).tolist() for fold in range(folds)] == [[60 // folds, 40 // folds, 20 // folds]] * folds
    assert of_row.dtype == np.int64


def test_fewer_groups_than_folds_make_a_fold_each_and_one_group_makes_one():
    two = fold_rows(make_manifest(6, groups=["c:x", "c:y", "c:x", "c:x", "c:y", "c:x"]), folds=5, seed=0).tolist()
    assert two in ([0, 1, 0, 0, 1, 0], [1, 0, 1, 1, 0, 1])
    one = fold_rows(make_manifest(6, groups=["c:x"] * 6), folds=5, seed=0)
    assert one.tolist() == [0] * 6 and one.dtype == np.int64
    # Where all classes are rarer than the folds are many, there is nothing to stratify by.
    assert sorted(fold_rows(make_manifest(3, kinds=[0, 1, 2]), folds=3, seed=0)) == [0, 1, 2]


def test_another_seed_makes_other_folds():
    first, again, other = (fold_rows(make_manifest(100), folds=5, seed=seed).tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_scarce_class_is_no_reason_for_a_warning():
    manifest = make_manifest(100, kinds=[0] * 99 + [1])
    grouped = make_manifest(100, kinds=[0] * 99 + [1], groups=[f"c:{row // 2}" for row in range(100)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for each in (manifest, grouped):
            fold_rows(each, folds=5, seed=0)
            held_back(each, share=0.1)


def test_a_card_with_one_train_row_or_group_is_refused_by_name():
    expected = r"^card c: expected at least 2 train {}s to hold some back for validation, found 1$"
    with pytest.raises(UserError, match=expected.format("row")):
        split_manifest(make_manifest(3, splits=["", "test", "test"]), share=0.5, seed=0)
    with pytest.raises(UserError, match=expected.format("group")):
        split_manifest(make_manifest(3, groups=["c:x"] * 3), share=0.5, seed=0)
    # One row of a group and one without: each may be held back.
    assert held_back(make_manifest(2, groups=["c:x", ""]), share=0.5).sum() == 1


def test_each_card_holds_back_its_own_share_and_one_with_validation_rows_nothing():
    cards = ["a"] * 40 + ["b"] * 60 + ["given"] * 4 + ["tests"] * 3
    manifest = make_manifest(107, cards=cards, splits=[""] * 100 + ["", "train", "val", "test"] + ["test"] * 3)
    splits = split_manifest(manifest, share=0.25, seed=0).frame["split"]
    assert [(splits[np.array(cards) == card] == "val").sum() for card in ("a", "b")] == [10, 15]
    assert (splits[:100] == "train").sum() == 75
    assert splits[100:].tolist() == ["train", "train", "val", "test", "test", "test", "test"]


def test_pictures_of_one_name_in_two_cards_are_two():
    manifest = make_manifest(4, cards=["a", "a", "b", "b"]).with_columns(path=["x.jpg", "y.jpg", "y.jpg", "x.jpg"])
    for seed in range(8):
        held = held_back(manifest, share=0.5, seed=seed)
        assert held[:2].sum() == held[2:].sum() == 1


@pytest.mark.parametrize("seed", range(5))
def test_tied_rows_stay_together_with_their_groups(seed):
    # Row 0 is tied to row 2, whose group is rows 2 and 3, and row 3 to row 9: five sets of rows are left, and half of the rows are held back.
    manifest = make_manifest(10, groups=["", "", "c:x", "c:x", "c:y", "c:y", "", "", "c:z", "c:z"])
    held = held_back(manifest, share=0.5, seed=seed, tied=[(0, 2), (3, 9)])
    assert len(set(held[[0, 2, 3, 8, 9]])) == len(set(held[4:6])) == 1
    assert 4 <= held.sum() <= 6
    # Nothing tied is as if nothing had been said.
    assert (held_back(manifest, share=0.5, seed=seed, tied=[]) == held_back(manifest, share=0.5, seed=seed)).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_another_card_is_held_back_with_the_first_that_it_is_tied_to(seed):
    manifest = make_manifest(120, cards=["a"] * 40 + ["b"] * 40 + ["b"] * 40)
    held = held_back(manifest, share=0.1, seed=seed, tied=[(row, 40 + row) for row in range(40)])
    assert (held[:40] == held[40:80]).all()
    # Four rows of a, and theirs of b, go first; then a tenth of b's other 76: 20 parts of three or four rows, two of them.
    assert 6 <= held[40:].sum() - 4 <= 8


@pytest.mark.parametrize("seed", range(5))
def test_nothing_moves_that_is_tied_to_a_card_with_validation_rows_or_to_a_test_row(seed):
    cards = ["a"] * 50 + ["given"] * 4
    manifest = make_manifest(54, cards=cards, splits=[""] * 50 + ["", "train", "val", "val"])
    held = held_back(manifest, share=0.5, seed=seed, tied=[(row, 50 + row % 4) for row in range(10)])
    assert held.tolist()[:10] == [False] * 10
    assert held[10:50].sum() == 20
    assert held.tolist()[50:] == [False, False, True, True]
    splits = ["test"] * 10 + [""] * 10
    mixed = split_manifest(make_manifest(20, splits=splits), share=0.5, seed=seed, tied=np.array([(0, 10)])).frame["split"]
    assert mixed[:10].tolist() == ["test"] * 10
    assert (mixed[10:] == "val").sum() == 5


NO_TIES = np.zeros((0, 2), dtype=np.int64)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=2, max_size=40), st.integers(2, 5), st.integers(0, 3),
)  # fmt: skip
def test_every_fold_has_rows_and_no_group_or_tie_is_cut(rows, folds, seed):
    groups, kinds = [f"c:{group}" for group, _ in rows], [kind for _, kind in rows]
    manifest = make_manifest(len(rows), groups=groups, kinds=kinds, splits=["train"] * len(rows))
    tied = np.array([[0, len(rows) - 1]])
    count = len(set(groups)) - (groups[0] != groups[-1])
    if count < folds:
        with pytest.raises(UserError, match=f"found {count}"):
            number_folds(manifest, folds=folds, seed=seed, tied=tied)
        return
    numbers = number_folds(manifest, folds=folds, seed=seed, tied=tied)
    assert set(numbers) == set(range(folds))
    assert numbers[0] == numbers[-1]
    assert pd.Series(numbers).groupby(groups).nunique().max() == 1


def test_folds_have_the_classes_of_the_whole_and_leave_test_rows_out():
    splits = ["test"] * 20 + ["train"] * 200
    numbers = number_folds(make_manifest(220, kinds=[0] * 20 + [0] * 150 + [1] * 50, splits=splits), folds=5, seed=0, tied=NO_TIES)
    assert (numbers[:20] == -1).all()
    assert np.bincount(numbers[20:170]).tolist() == [30] * 5
    assert np.bincount(numbers[170:]).tolist() == [10] * 5


def test_a_fold_left_empty_gets_the_smallest_group_of_the_fullest():
    groups = np.array([0, 0, 0, 1, 2, 2])
    parts = _without_empty([np.arange(6), np.array([], dtype=np.int64)], groups)
    assert [part.tolist() for part in parts] == [[0, 1, 2, 4, 5], [3]]
