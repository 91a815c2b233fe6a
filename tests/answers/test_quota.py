import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.special import log_softmax

from attrcls.answers.quota import share_out, whole_counts


def best_sum(scores: np.ndarray, counts: np.ndarray) -> float:
    """The oracle: each class as often among the columns as it is to be given."""
    expanded = scores[:, np.repeat(np.arange(len(counts)), counts)]
    rows, columns = linear_sum_assignment(expanded, maximize=True)
    return float(expanded[rows, columns].sum())


def check(scores: np.ndarray, counts: np.ndarray) -> None:
    given_classes = share_out(scores, counts)
    assert np.bincount(given_classes, minlength=len(counts)).tolist() == counts.tolist()
    assert scores[np.arange(len(scores)), given_classes].sum() == pytest.approx(best_sum(scores, counts), abs=1e-6)


def test_shares_become_counts_by_largest_remainder():
    assert whole_counts([0.5, 0.3, 0.2], 10).tolist() == [5, 3, 2]
    assert whole_counts([1 / 3] * 3, 10).tolist() == [4, 3, 3]
    assert whole_counts([0.46, 0.44, 0.1], 7).tolist() == [3, 3, 1]
    assert whole_counts([0.0, 1.0], 3).tolist() == [0, 3]
    assert whole_counts([0.7, 0.3], 0).tolist() == [0, 0]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9).filter(any), st.integers(0, 500))
def test_counts_always_sum_to_the_rows_and_lie_within_one_of_the_share(weights, rows):
    shares = np.array(weights) / sum(weights)
    counts = whole_counts(shares, rows)
    assert counts.sum() == rows
    assert (np.abs(counts - shares * rows) < 1 + 1e-6).all()
    assert (counts[shares == 0] == 0).all()


def test_a_hand_worked_case():
    # Both rows want class 0; giving it to the first costs 0.5 less than to the second.
    scores = np.log(np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert share_out(scores, np.array([1, 1])).tolist() == [0, 1]
    assert share_out(scores, np.array([2, 0])).tolist() == [0, 0]
    assert share_out(scores, np.array([0, 2])).tolist() == [1, 1]


@settings(max_examples=60)
@given(st.data())
def test_the_sum_is_the_largest_possible_with_ties_and_empty_classes(data):
    rows, classes = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 5))
    # Few values, so that ties abound; very small probabilities among them.
    scores = np.array(data.draw(st.lists(st.sampled_from([0.0, -1.0, -2.0, -2.5, -80.0]), min_size=rows * classes, max_size=rows * classes)))
    places = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    check(scores.reshape(rows, classes), np.bincount(places, minlength=classes))


@pytest.mark.parametrize(("rows", "classes", "seed"), [(300, 2, 0), (300, 7, 1), (400, 18, 2)])
def test_many_rows_get_the_best_assignment_too(rows, classes, seed):
    generator = np.random.default_rng(seed)
    scores = log_softmax(generator.normal(0, 4, (rows, classes)), axis=1)
    check(scores, generator.multinomial(rows, generator.dirichlet(np.full(classes, 0.5))))
    check(scores, whole_counts(np.full(classes, 1 / classes), rows))


def test_the_order_of_rows_does_not_change_the_sum_and_equal_rows_are_shared_out():
    scores = np.tile(np.log([[0.7, 0.2, 0.1]]), (9, 1))
    assert np.bincount(share_out(scores, np.array([3, 3, 3]))).tolist() == [3, 3, 3]


def test_no_rows_are_shared_out_as_none():
    assert share_out(np.zeros((0, 3)), np.zeros(3, dtype=np.int64)).tolist() == []
