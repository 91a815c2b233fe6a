import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.data.balance import balance_rows
from attrcls.data.draws import Parts, draw_rows, expected_draws, split_evenly


def counts_of(expected, cards, *, seed=0):
    rows, _ = draw_rows(expected, cards, np.random.default_rng(seed))
    return np.bincount(rows, minlength=len(expected))


def test_a_cards_ratio_is_rounded_to_whole_draws():
    cards = np.array(["a"] * 3 + ["b"] * 4)
    assert expected_draws(cards, {"a": 0.5}).tolist() == pytest.approx([2 / 3] * 3 + [1] * 4)
    assert expected_draws(cards, {"b": 0.01}).tolist() == pytest.approx([1] * 3 + [1 / 4] * 4)


def test_a_row_is_drawn_as_often_on_average_as_its_weight_says():
    expected = np.array([0.0, 0.1, 0.4, 0.5, 1.0, 1.7, 2.3, 4.0])
    cards = np.array(["a"] * len(expected))
    drawn = np.mean([counts_of(expected, cards, seed=seed) for seed in range(4_000)], axis=0)
    assert drawn == pytest.approx(expected, abs=0.03)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5)), min_size=1, max_size=60), st.floats(1, 10), st.floats(0.1, 3))
def test_each_draw_count_is_the_expected_one_rounded_up_or_down_and_each_card_keeps_its_total(rows, cap, ratio):
    cards, labels = np.array([card for card, _ in rows]), np.array([label for _, label in rows])
    base = expected_draws(cards, {"a": ratio})
    expected = base * balance_rows({"only": labels}, {"only": 6}, cap=cap, base=base, strata=cards).weights
    counts = counts_of(expected, cards)
    assert (counts >= np.floor(expected)).all()
    assert (counts <= np.ceil(expected)).all()
    for card in set(cards):
        assert counts[cards == card].sum() == round(base[cards == card].sum())


def test_an_epochs_class_counts_hardly_differ_from_the_expected_ones():
    generator = np.random.default_rng(0)
    labels, cards = generator.choice(4, 5_000, p=[0.6, 0.25, 0.1, 0.05]), np.array(["a"] * 5_000)
    weights = balance_rows({"only": labels}, {"only": 4}).weights
    for seed in range(5):
        rows, _ = draw_rows(weights, cards, np.random.default_rng(seed))
        assert np.bincount(labels[rows]) == pytest.approx(1_250, abs=1)


def test_repeats_of_a_row_are_numbered_from_zero():
    rows, repeats = draw_rows(np.array([3.0, 0.0, 2.0]), np.array(["a"] * 3), np.random.default_rng(0))
    assert rows.tolist() == [0, 0, 0, 2, 2]
    assert repeats.tolist() == [0, 1, 2, 0, 1]


def test_parts_are_made_when_they_are_asked_for_and_are_counted_sliced_and_gone_through_like_a_list():
    made = []
    parts = Parts(4, lambda place: (made.append(place), [place, place * 10])[1])
    assert len(parts) == 4
    assert not made
    assert parts[-1] == [3, 30]
    assert made == [3]
    assert list(parts) == [[0, 0], [1, 10], [2, 20], [3, 30]]
    assert list(parts[1:3]) == [[1, 10], [2, 20]]
    assert list(parts[::-2]) == [[3, 30], [1, 10]]
    with pytest.raises(IndexError):
        parts[4]


def test_parts_whose_making_fails_do_not_just_end():
    with pytest.raises(IndexError):
        list(Parts(3, lambda place: [][place]))


@given(st.integers(0, 500), st.integers(1, 70))
def test_things_are_split_into_parts_of_one_size_or_one_less(count, size):
    parts = split_evenly(count, size)
    assert [place for start, stop in parts for place in range(start, stop)] == list(range(count))
    sizes = {stop - start for start, stop in parts}
    assert not sizes or max(sizes) <= size
    assert not sizes or max(sizes) - min(sizes) <= 1
