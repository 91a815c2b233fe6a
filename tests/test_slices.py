import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attrcls.slices import score_slices, share_interval, slice_table

CLASSES = {"gender": ("male", "female"), "age": ("young", "old"), "mask": ("on", "off")}


def by_name(slices):
    return {(each.head, each.name): each for each in slices}


def test_a_hand_worked_table_gives_each_slice_its_share_and_the_rest_theirs():
    targets = {"gender": np.array([0, 0, 1, 1, 0, -1]), "age": np.array([0, 0, 0, 1, 1, 1]), "mask": np.array([0, 1, 0, -1, 1, 1])}
    slices = by_name(score_slices({"gender": np.array([0, 0, 0, 0, 0, 0])}, targets, list("abcdef"), classes=CLASSES))
    young = slices["gender", "age young"]
    assert (young.rows, young.groups, young.wrong) == (3, 3, 1)
    assert young.top1.value == pytest.approx(2 / 3)
    # The row without a gender label is in no slice: it was not measured.
    assert young.rest == pytest.approx(1 / 2)
    assert slices["gender", "age young, mask on"].top1.value == pytest.approx(1 / 2)
    assert slices["gender", "age old, mask off"].rows == 1
    assert ("gender", "age old, mask on") not in slices


def test_a_head_is_not_cut_by_its_own_labels():
    targets = {"gender": np.array([0, 1]), "age": np.array([0, 1])}
    slices = score_slices({"gender": np.array([0, 1])}, targets, ["a", "b"], classes=CLASSES)
    assert {attribute for each in slices for attribute, _ in each.conditions} == {"age"}


def test_rows_are_cut_by_all_labels_that_are_known_also_where_those_heads_did_not_answer():
    labels = {"gender": np.array([0, 0, 1, 1]), "age": np.array([0, 0, 1, 1])}
    answered = {**labels, "age": np.array([0, -1, -1, 1])}
    predicted = {head: np.zeros(4, dtype=int) for head in labels}
    slices = by_name(score_slices(predicted, answered, list("abcd"), classes=CLASSES, labels=labels))
    assert slices["gender", "age old"].rows == 2
    assert slices["age", "gender male"].rows == 1


def test_intervals_of_lone_rows_are_those_of_clopper_and_pearson():
    generator = np.random.default_rng(0)
    targets = {"gender": np.zeros(40, dtype=int), "age": np.array([0] * 25 + [1] * 15)}
    predicted = {"gender": (generator.random(40) < 0.3).astype(int)}
    for each in score_slices(predicted, targets, np.arange(40), classes=CLASSES):
        right = each.rows - each.wrong
        exact = stats.binomtest(right, each.rows).proportion_ci(0.95, method="exact")
        # Korn and Graubard's n* of a sample without groups is n - 1 here, for the variance is estimated.
        assert each.top1.low == pytest.approx(exact.low, abs=0.03)
        assert each.top1.high == pytest.approx(exact.high, abs=0.03)


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (0, 7), (3, 7), (7, 7), (499, 500)])
def test_the_interval_of_a_share_agrees_with_scipy(right, count):
    low, high = share_interval(right / count, count)
    exact = stats.binomtest(right, count).proportion_ci(0.95, method="exact")
    assert (float(low), float(high)) == pytest.approx((exact.low, exact.high))


def test_rows_that_agree_within_their_groups_count_for_no_more_than_the_groups():
    right = np.repeat(np.arange(20) % 4 > 0, 10)
    targets = {"gender": np.zeros(200, dtype=int), "age": np.zeros(200, dtype=int)}
    predicted = {"gender": np.where(right, 0, 1)}
    grouped = by_name(score_slices(predicted, targets, np.repeat(np.arange(20), 10), classes=CLASSES))["gender", "age young"].top1
    alone = by_name(score_slices(predicted, targets, np.arange(200), classes=CLASSES))["gender", "age young"].top1
    assert grouped.value == alone.value == 0.75
    assert grouped.high - grouped.low > 2.5 * (alone.high - alone.low)


def test_ninety_five_percent_of_intervals_hold_the_true_share_though_rows_of_a_group_are_alike():
    held = 0
    for seed in range(400):
        generator = np.random.default_rng(seed)
        # 40 people of 5 pictures; a person's pictures are right with a probability of their own, 0.8 in the mean.
        right = generator.random((40, 5)) < generator.beta(4, 1, 40)[:, None]
        targets = {"gender": np.zeros(200, dtype=int), "age": np.zeros(200, dtype=int)}
        slices = score_slices({"gender": np.where(right.ravel(), 0, 1)}, targets, np.repeat(np.arange(40), 5), classes=CLASSES)
        top1 = by_name(slices)["gender", "age young"].top1
        held += top1.low <= 0.8 <= top1.high
    assert 0.93 <= held / 400 <= 0.995


def test_three_rows_of_one_group_all_wrong_do_not_make_a_sure_failure_nor_a_narrow_interval():
    targets = {"gender": np.zeros(103, dtype=int), "age": np.array([1] * 3 + [0] * 100)}
    predicted = {"gender": np.array([1] * 3 + [0] * 100)}
    groups = ["unlucky"] * 3 + [f"p{index}" for index in range(100)]
    old = by_name(score_slices(predicted, targets, groups, classes=CLASSES))["gender", "age old"]
    assert (old.top1.value, old.top1.low, old.fails) == (0.0, 0.0, False)
    assert old.top1.high > 0.9


def test_a_kind_of_people_on_whom_the_head_fails_is_the_first_slice_and_marked():
    generator = np.random.default_rng(0)
    people = 300
    age = np.repeat(generator.integers(0, 2, people), 4)
    mask = np.tile([0, 0, 1, 1], people)
    gender = np.repeat(generator.integers(0, 2, people), 4)
    right = generator.random(len(age)) < np.where((age == 1) & (mask == 0), 0.5, 0.95)
    slices = score_slices(
        {"gender": np.where(right, gender, 1 - gender)},
        {"gender": gender, "age": age, "mask": mask},
        np.repeat(np.arange(people), 4),
        classes=CLASSES,
    )
    worst = next(each for each in slices if each.kind != "group")
    assert (worst.name, worst.fails) == ("age old, mask on", True)
    assert worst.top1.high < worst.rest


def test_chance_alone_marks_nothing_in_nineteen_of_twenty_sets():
    marked = 0
    for seed in range(100):
        generator = np.random.default_rng(seed)
        targets = {"gender": np.zeros(300, dtype=int), **{f"a{index}": generator.integers(0, 4, 300) for index in range(4)}}
        classes = {"gender": ("m", "f"), **{f"a{index}": tuple("wxyz") for index in range(4)}}
        slices = score_slices({"gender": (generator.random(300) < 0.2).astype(int)}, targets, np.arange(300), classes=classes)
        marked += any(each.fails for each in slices)
    assert marked <= 5


def test_groups_are_slices_of_their_own_only_where_one_has_two_rows():
    targets = {"gender": np.array([0, 0, 1])}
    predicted = {"gender": np.array([0, 1, 1])}
    assert score_slices(predicted, targets, ["a", "b", "c"], classes=CLASSES) == []
    grouped = score_slices(predicted, targets, ["a", "a", "c"], classes=CLASSES)
    assert [(each.kind, each.name, each.rows, each.wrong) for each in grouped] == [("group", "group a", 2, 1)]


def test_no_rows_and_no_labels_give_no_slices():
    nothing = np.zeros(0, dtype=int)
    assert score_slices({"gender": nothing}, {"gender": nothing, "age": nothing}, [], classes=CLASSES) == []
    unlabelled = {"gender": np.array([-1]), "age": np.array([0])}
    assert score_slices({"gender": np.array([0])}, unlabelled, ["a"], classes=CLASSES) == []


def test_the_table_has_a_row_for_each_slice_in_their_order():
    targets = {"gender": np.array([0, 0, 1, 1]), "age": np.array([0, 0, 1, 1])}
    slices = score_slices({"gender": np.array([0, 0, 0, 1])}, targets, list("abcd"), classes=CLASSES)
    table = slice_table(slices)
    assert list(table["slice"]) == ["age old", "age young"] == [each.name for each in slices]
    assert list(table["top1"]) == [0.5, 1.0]
    assert list(table.columns) == ["head", "kind", "slice", "rows", "groups", "top1", "low", "high", "rest", "expected", "fails"]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.data())
def test_slices_of_one_attribute_cover_each_measured_row_once(data):
    rows = data.draw(st.integers(1, 40))
    column = st.lists(st.integers(-1, 1), min_size=rows, max_size=rows)
    targets = {name: np.array(data.draw(column)) for name in CLASSES}
    predicted = {"gender": np.abs(np.array(data.draw(column)))}
    groups = data.draw(st.lists(st.integers(0, 5), min_size=rows, max_size=rows))
    slices = score_slices(predicted, targets, groups, classes=CLASSES)
    measured = targets["gender"] != -1
    assert (
        sum(each.rows for each in slices if each.kind == "attribute" and each.conditions[0][0] == "age") == (measured & (targets["age"] != -1)).sum()
    )
    for each in slices:
        assert 0 <= each.top1.low <= each.top1.value + 1e-9
        assert each.top1.value <= each.top1.high + 1e-9 <= 1 + 2e-9
        assert 1 <= each.groups <= each.rows
        inside = measured.copy()
        for attribute, name in each.conditions:
            inside &= np.array(groups).astype(str) == name if attribute == "group" else targets[attribute] == CLASSES[attribute].index(name)
        right = predicted["gender"] == targets["gender"]
        assert each.top1.value == pytest.approx(right[inside].mean())
        remaining = measured & ~inside
        assert math.isnan(each.rest) if not remaining.any() else each.rest == pytest.approx(right[remaining].mean())
