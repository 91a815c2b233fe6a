"""Raking, against tables worked by hand and independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from attrcls.data.balance import EQUAL, balance_rows, wanted_shares
from attrcls.errors import UserError


def shares(labels, weights, classes):
    labelled = labels >= 0
    counts = np.bincount(labels[labelled], weights[labelled], minlength=classes)
    return counts / counts.sum()


def rake_one_by_one(targets, classes, *, rounds=2_000):
    """Deming & Stephan's procedure as it stands in the textbook: row by row, attribute after attribute, without a cap."""
    weights = np.ones(len(next(iter(targets.values()))))
    for _ in range(rounds):
        for head, labels in targets.items():
            total = sum(weight for weight, label in zip(weights, labels, strict=True) if label >= 0)
            present = [each for each in range(classes[head]) if (labels == each).any()]
            for each in present:
                weights[labels == each] *= total / len(present) / weights[labels == each].sum()
    return weights * len(weights) / weights.sum()


def lopsided_faces(rows=18_900, *, seed=0):
    """Mask 5:1:1, men to women 3:7, few over-60s, drawn together as in the mask competition."""
    generator = np.random.default_rng(seed)
    gender = generator.choice(2, rows, p=[0.3, 0.7])
    age = np.where(gender == 0, generator.choice(3, rows, p=[0.40, 0.48, 0.12]), generator.choice(3, rows, p=[0.46, 0.47, 0.07]))
    return {"mask": generator.choice(3, rows, p=[5 / 7, 1 / 7, 1 / 7]), "gender": gender, "age": age}, {"mask": 3, "gender": 2, "age": 3}


def test_a_two_by_two_table_balances_to_the_one_worked_by_hand():
    # Rows a, b by columns x, y: 40, 30; 20, 10. Raking keeps the odds ratio, 40·10 / (30·20) = 2/3, so that with equal
    # margins n_ax = n_by = n and n² / (50 − n)² = 2/3: n = 50·(√6 − 2).
    first, second = np.repeat([0, 0, 1, 1], [40, 30, 20, 10]), np.repeat([0, 1, 0, 1], [40, 30, 20, 10])
    balance = balance_rows({"first": first, "second": second}, {"first": 2, "second": 2})
    table = np.bincount(first * 2 + second, balance.weights).reshape(2, 2)
    diagonal = 50 * (math.sqrt(6) - 2)
    assert table == pytest.approx(np.array([[diagonal, 50 - diagonal], [50 - diagonal, diagonal]]), abs=1e-6)
    assert balance.converged


@pytest.mark.parametrize("seed", range(5))
def test_weights_are_those_of_the_textbook_procedure(seed):
    generator = np.random.default_rng(seed)
    targets = {"a": generator.choice(3, 80, p=[0.5, 0.3, 0.2]), "b": generator.choice(2, 80, p=[0.7, 0.3]), "c": generator.choice(4, 80)}
    classes = {"a": 3, "b": 2, "c": 4}
    found = balance_rows(targets, classes, cap=1e9)
    assert found.converged
    assert found.weights == pytest.approx(rake_one_by_one(targets, classes), abs=1e-5)


def test_a_row_without_a_label_takes_no_part_in_that_attribute():
    labels = np.array([0] * 90 + [1] * 10 + [-1] * 50)
    balance = balance_rows({"only": labels}, {"only": 2})
    assert balance.weights[labels == -1] == pytest.approx(1.0)
    assert balance.weights[labels == 0] == pytest.approx(50 / 90)
    assert balance.weights[labels == 1] == pytest.approx(5.0)


def test_a_row_without_a_label_moves_with_its_other_labels():
    a, b = np.array([0, 0, 0, 1, 0, 1]), np.array([-1, 0, 1, 1, 1, 0])
    balance = balance_rows({"a": a, "b": b}, {"a": 2, "b": 2})
    assert balance.weights[0] < 1
    assert shares(a, balance.weights, 2) == pytest.approx([0.5, 0.5])
    assert shares(b, balance.weights, 2) == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("labels", [[0] * 7, [-1] * 7, [2] * 6 + [-1]])
def test_one_class_or_none_leaves_every_weight_at_one(labels):
    balance = balance_rows({"only": np.array(labels)}, {"only": 3})
    assert balance.weights.tolist() == [1.0] * 7
    assert balance.converged


def test_a_class_without_rows_is_left_out():
    labels = np.array([0] * 30 + [2] * 10)
    balance = balance_rows({"only": labels}, {"only": 4})
    assert shares(labels, balance.weights, 4) == pytest.approx([0.5, 0, 0.5, 0])
    assert balance.off["only"] == pytest.approx(0)


def test_a_class_of_one_row_gets_its_share_or_the_cap():
    labels = np.array([0] * 99 + [1])
    assert balance_rows({"only": labels}, {"only": 2}, cap=50).weights[-1] == pytest.approx(50)
    capped = balance_rows({"only": labels}, {"only": 2}, cap=10)
    assert capped.weights[-1] == 10
    assert not capped.converged
    assert capped.off["only"] == pytest.approx([0.4, -0.4])


def test_strength_zero_leaves_every_weight_at_one():
    targets, classes = lopsided_faces(500)
    balance = balance_rows(targets, classes, strength=0)
    assert balance.weights == pytest.approx(1, abs=1e-12)
    assert balance.converged


def test_the_gap_between_classes_shrinks_in_proportion_to_strength():
    targets, classes = lopsided_faces(2_000)
    as_is = np.ptp(shares(targets["mask"], np.ones(2_000), 3))
    for strength in (0.25, 0.5, 0.9):
        weights = balance_rows(targets, classes, strength=strength).weights
        assert np.ptp(shares(targets["mask"], weights, 3)) == pytest.approx((1 - strength) * as_is)


def test_labels_that_exclude_each_other_end_at_the_nearest_shares_and_say_so():
    # Class 1 of a is always class 2 of b. Let its share be x: a wants 1/2 and b wants 1/3. With the other classes of b
    # sharing 1 − x, the sum of both divergences is least where 2·log(x / (1 − x)) + log 2 = 0: x = √2 − 1.
    a = np.repeat([0, 0, 0, 1], [30, 25, 25, 20])
    b = np.repeat([0, 1, 2, 2], [30, 25, 25, 20])
    balance = balance_rows({"a": a, "b": b}, {"a": 2, "b": 3})
    assert not balance.converged
    assert balance.off["a"][1] == pytest.approx(math.sqrt(2) - 1 - 1 / 2, abs=1e-5)
    assert balance.off["b"][2] == pytest.approx(math.sqrt(2) - 1 - 1 / 3, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_where_the_cap_binds_a_general_optimiser_finds_no_nearer_shares(seed):
    generator = np.random.default_rng(seed)
    targets = {"a": generator.choice(3, 60, p=[0.7, 0.25, 0.05]), "b": generator.choice(2, 60, p=[0.85, 0.15])}
    classes = {"a": 3, "b": 2}
    found = balance_rows(targets, classes, cap=2)
    cells, counts = np.unique(np.column_stack(list(targets.values())), axis=0, return_counts=True)

    def divergence(weights):
        reached = [shares(cells[:, place], weights * counts, classes[head]) for place, head in enumerate(targets)]
        return sum(float(each @ np.log(np.maximum(each, 1e-300) * len(each))) for each in reached)

    mean = {"type": "eq", "fun": lambda weights: weights @ counts - 60}
    best = minimize(divergence, np.ones(len(cells)), bounds=[(1e-9, 2)] * len(cells), constraints=[mean], method="SLSQP", tol=1e-12)
    first_row = [int(np.flatnonzero((np.column_stack(list(targets.values())) == cell).all(axis=1))[0]) for cell in cells]
    assert best.success
    assert divergence(found.weights[first_row]) <= best.fun + 1e-6
    assert not found.converged


def test_each_stratum_keeps_its_draws():
    cards = np.array(["a"] * 60 + ["b"] * 40)
    base = np.where(cards == "a", 1.0, 2.5)
    labels = np.array([0] * 50 + [1] * 10 + [0] * 10 + [1] * 30)
    balance = balance_rows({"only": labels}, {"only": 2}, base=base, strata=cards)
    for card in ("a", "b"):
        assert balance.weights[cards == card].mean() == pytest.approx(1)
    assert shares(labels, balance.weights * base, 2) == pytest.approx([0.5, 0.5])


def test_the_figure_to_beat_a_gap_of_2500_brought_to_570():
    daily, gender = [3_000, 2_400, 1_900, 1_300, 1_000, 800, 500], [3_000, 2_600, 2_100, 1_700, 1_000, 500]
    generator = np.random.default_rng(0)
    targets = {head: generator.permutation(np.repeat(np.arange(len(rows)), rows)) for head, rows in (("daily", daily), ("gender", gender))}
    balance = balance_rows(targets, {"daily": 7, "gender": 6})
    for labels in targets.values():
        assert np.ptp(np.bincount(labels)) == 2_500
        assert np.ptp(np.bincount(labels, balance.weights)) < 1
    assert balance.weights.max() <= 10


@pytest.mark.parametrize(("option", "value"), [("strength", -0.1), ("strength", 1.1), ("strength", math.nan), ("cap", 0.5), ("cap", math.inf)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(UserError, match=f"balance.{option}: expected"):
        balance_rows({"only": np.array([0, 1])}, {"only": 2}, **{option: value})


def test_options_out_of_range_say_what_was_found_and_the_ends_of_the_range_are_in_it():
    labels, classes = {"only": np.array([0, 0, 0, 1])}, {"only": 2}
    with pytest.raises(UserError, match=r"^balance\.strength: expected 0 to 1, found 1\.5$"):
        balance_rows(labels, classes, strength=1.5)
    with pytest.raises(UserError, match=r"^balance\.cap: expected a number of 1 or more, found 0\.5$"):
        balance_rows(labels, classes, cap=0.5)
    assert balance_rows(labels, classes, cap=1).weights == pytest.approx([1.0] * 4)
    assert balance_rows(labels, classes, strength=1, cap=1.5).weights.tolist() == pytest.approx([5 / 6] * 3 + [1.5])


@pytest.mark.parametrize("seed", range(10))
def test_a_cap_of_one_leaves_every_weight_at_one_however_the_sums_are_rounded(seed):
    generator = np.random.default_rng(seed)
    targets = {head: generator.integers(0, 3, 12) for head in ("a", "b")}
    weights = balance_rows(targets, {"a": 3, "b": 3}, cap=1, base=generator.uniform(0.5, 2, 12)).weights
    assert weights.max() <= 1
    assert weights == pytest.approx(1)


def test_by_default_classes_become_equal_and_no_row_is_drawn_more_than_ten_times():
    assert balance_rows({"only": np.array([0] * 15 + [1])}, {"only": 2}).weights == pytest.approx([8 / 15] * 15 + [8])
    assert balance_rows({"only": np.array([0] * 99 + [1])}, {"only": 2}).weights == pytest.approx([90 / 99] * 99 + [10])


def test_a_table_without_rows_has_no_weights_and_nothing_is_off():
    none = np.array([], dtype=np.int64)
    balance = balance_rows({"a": none, "b": none}, {"a": 2, "b": 3})
    assert balance.weights.shape == (0,) and balance.converged
    assert {head: off.tolist() for head, off in balance.off.items()} == {"a": [0, 0], "b": [0, 0, 0]}
    assert balance.off["a"].dtype == np.float64


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_unit_of_the_draws_does_not_matter(scale):
    targets, classes = lopsided_faces(300)
    base = np.random.default_rng(0).uniform(0.5, 2, 300)
    for cap in (1.5, 10):
        expected = balance_rows(targets, classes, base=base, cap=cap)
        scaled = balance_rows(targets, classes, base=base * scale, cap=cap)
        assert scaled.weights == pytest.approx(expected.weights, abs=1e-6)
        assert scaled.converged == expected.converged


def test_where_no_row_has_two_labels_that_can_move_one_round_is_enough():
    few = np.array([0, 0, 0, 1] * 5)
    assert balance_rows({"a": np.array([0, 1] * 10)}, {"a": 2}).rounds == 0
    assert balance_rows({"a": few}, {"a": 2}).rounds == 1
    assert balance_rows({"a": few, "same everywhere": np.ones(20, dtype=np.int64)}, {"a": 2, "same everywhere": 2}).rounds == 1
    nobody = np.full(20, -1)
    apart = balance_rows({"a": np.concatenate([few, nobody]), "b": np.concatenate([nobody, few])}, {"a": 2, "b": 2})
    assert apart.rounds == 1 and apart.converged


def test_rounds_end_as_soon_as_no_share_moves_any_more():
    # The first brings the one row to the cap, and the second finds that no more can be done.
    balance = balance_rows({"only": np.array([0] * 99 + [1])}, {"only": 2}, cap=10)
    assert (balance.rounds, balance.converged) == (2, False)


@pytest.mark.parametrize(("most", "fewest", "work", "rounds"), [(5, 2, 1_000, 5), (50, 2, 43, 10), (50, 7, 4, 7)])
def test_rounds_end_when_there_were_enough_of_them_for_so_many_cells(most, fewest, work, rounds, monkeypatch):
    # Four kinds of rows whose shares are out of reach.
    for name, value in (("_MAX_ROUNDS", most), ("_MIN_ROUNDS", fewest), ("_MAX_WORK", work)):
        monkeypatch.setattr(f"attrcls.data.balance.{name}", value)
    a, b = np.repeat([0, 0, 0, 1], [30, 25, 25, 20]), np.repeat([0, 1, 2, 2], [30, 25, 25, 20])
    assert balance_rows({"a": a, "b": b}, {"a": 2, "b": 3}).rounds == rounds


@pytest.mark.parametrize(
    ("counts", "strength", "expected"),
    [
        ([6, 3, 1], 0, [0.6, 0.3, 0.1]),
        ([6, 3, 1], 1, [1 / 3, 1 / 3, 1 / 3]),
        ([6, 2, 0], 0.5, [0.625, 0.375, 0]),
        ([0.6, 0.2, 0], 0.5, [0.625, 0.375, 0]),
        ([0, 0, 0], 0.5, [0, 0, 0]),
    ],
)
def test_wanted_shares_lie_between_those_that_are_and_equal_ones(counts, strength, expected):
    assert wanted_shares(np.array(counts, dtype=np.float64), strength=strength) == pytest.approx(expected)


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 40))
    classes = {f"h{place}": draw(st.integers(1, 4)) for place in range(draw(st.integers(1, 3)))}
    labels = {head: np.array(draw(st.lists(st.integers(-1, size - 1), min_size=rows, max_size=rows))) for head, size in classes.items()}
    return labels, classes, np.array(draw(st.lists(st.sampled_from(["a", "b"]), min_size=rows, max_size=rows)))


@settings(max_examples=150, deadline=None)
@given(tables(), st.floats(1, 12), st.floats(0, 1))
def test_whatever_the_labels_the_cap_holds_exactly_and_the_mean_is_one(table, cap, strength):
    targets, classes, cards = table
    balance = balance_rows(targets, classes, cap=cap, strength=strength, strata=cards)
    assert np.isfinite(balance.weights).all()
    assert balance.weights.min() >= 0
    assert balance.weights.max() <= cap
    for card in set(cards):
        assert balance.weights[cards == card].mean() == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(tables(), st.floats(1, 12))
def test_balancing_never_moves_the_shares_further_off(table, cap):
    targets, classes, cards = table
    weights = balance_rows(targets, classes, cap=cap, strata=cards).weights

    def divergence(weights):
        total = 0.0
        for head, labels in targets.items():
            counts = np.bincount(labels[labels >= 0], weights[labels >= 0], minlength=classes[head])
            present = np.bincount(labels[labels >= 0], minlength=classes[head]) > 0
            if counts.sum() and present.sum() > 1:
                share = np.maximum(counts[present] / counts.sum(), 1e-300)
                total += counts.sum() * float(share @ np.log(share * present.sum()))
        return total

    assert divergence(weights) <= divergence(np.ones(len(cards))) + 1e-9


@settings(max_examples=60)
@given(tables(), st.floats(1, 12), st.floats(0, 1))
def test_it_says_that_the_shares_are_reached_just_where_they_are(table, cap, strength):
    targets, classes, _ = table
    balance = balance_rows(targets, classes, cap=cap, strength=strength)
    reached = True
    for head, labels in targets.items():
        if not (labels >= 0).any():
            continue
        counts = np.bincount(labels[labels >= 0], minlength=classes[head])
        found = shares(labels, balance.weights, classes[head])
        assert balance.off[head] == pytest.approx(found - wanted_shares(counts.astype(float), strength=strength), abs=1e-9)
        reached &= bool(np.abs(balance.off[head]).max() <= EQUAL)
    assert balance.converged == reached


@settings(max_examples=40)
@given(st.lists(st.integers(2, 3), min_size=1, max_size=3), st.lists(st.integers(0, 26), max_size=60))
def test_where_every_combination_occurs_all_attributes_are_made_equal_at_once(sizes, more):
    combinations = np.stack([axis.ravel() for axis in np.indices(sizes)])
    rows = np.concatenate([np.arange(combinations.shape[1]), np.array(more, dtype=np.int64) % combinations.shape[1]])
    targets = {f"h{place}": labels[rows] for place, labels in enumerate(combinations)}
    balance = balance_rows(targets, {head: sizes[place] for place, head in enumerate(targets)}, cap=1e6)
    assert balance.converged
    for place, labels in enumerate(targets.values()):
        assert shares(labels, balance.weights, sizes[place]) == pytest.approx(1 / sizes[place], abs=EQUAL)


@settings(max_examples=40)
@given(tables(), st.floats(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter_and_equal_rows_weigh_the_same(table, cap, chance):
    targets, classes, cards = table
    weights = balance_rows(targets, classes, cap=cap, strata=cards).weights
    order = np.array(chance.sample(range(len(cards)), len(cards)))
    shuffled = balance_rows({head: labels[order] for head, labels in targets.items()}, classes, cap=cap, strata=cards[order]).weights
    assert shuffled == pytest.approx(weights[order], abs=1e-9)
    for cell in set(zip(*targets.values(), cards, strict=True)):
        same = np.logical_and.reduce([labels == label for labels, label in zip((*targets.values(), cards), cell, strict=True)])
        assert np.ptp(weights[same]) == 0
