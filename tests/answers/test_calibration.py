import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from attrcls.answers.calibration import (
    COLDEST,
    HOTTEST,
    cross_tempered,
    fit_temperature,
    group_folds,
    measure_certainty,
    tempered,
)


def draw(rows: int, classes: int, *, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, the softmax of `temperature` times them, and labels drawn from the softmax of the logits themselves."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 2, (rows, classes))
    labels = (softmax(logits, axis=1).cumsum(axis=1) > generator.random((rows, 1))).argmax(axis=1)
    return logits, softmax(logits * temperature, axis=1).astype(np.float32), labels


def test_a_temperature_does_to_probabilities_what_it_does_to_logits():
    logits, probabilities, _ = draw(50, 4, temperature=1, seed=0)
    for temperature in (0.3, 1.7, 8.0):
        assert np.allclose(tempered(probabilities, temperature), softmax(logits / temperature, axis=1), atol=1e-5)
    by_hand = tempered(np.array([[0.8, 0.2]]), 2.0)
    assert by_hand == pytest.approx(np.array([[2 / 3, 1 / 3]]))  # √0.8 : √0.2 = 2 : 1


def test_a_temperature_of_one_changes_no_bit_and_none_changes_the_order():
    probabilities = draw(40, 5, temperature=1, seed=1)[1]
    assert tempered(probabilities, 1.0) is probabilities
    assert (tempered(probabilities, 3.0).argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert tempered(probabilities, 3.0).dtype == np.float32


def test_a_class_of_probability_0_stays_at_0():
    assert tempered(np.array([[1.0, 0.0]], dtype=np.float32), 0.5).tolist() == [[1.0, 0.0]]
    assert tempered(np.array([[1.0, 0.0]], dtype=np.float32), 4.0).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("overconfidence", [0.5, 1.0, 2.5])
def test_the_fitted_temperature_is_that_of_lbfgs_on_logits_and_finds_what_was_planted(overconfidence):
    logits, probabilities, labels = draw(4000, 3, temperature=overconfidence, seed=2)
    found = fit_temperature(probabilities, labels)

    def loss(parameter: np.ndarray) -> float:
        return -log_softmax(logits * overconfidence / parameter[0], axis=1)[np.arange(len(labels)), labels].mean()

    oracle = minimize(loss, x0=[1.0], bounds=[(COLDEST, HOTTEST)], method="L-BFGS-B", options={"ftol": 1e-14}).x[0]
    assert found == pytest.approx(oracle, rel=1e-3)
    assert found == pytest.approx(overconfidence, rel=0.1)


def test_rows_without_labels_do_not_count_and_without_any_the_temperature_is_one():
    _, probabilities, labels = draw(200, 3, temperature=2, seed=3)
    some = np.where(np.arange(200) < 120, labels, -1)
    assert fit_temperature(probabilities, some) == fit_temperature(probabilities[:120], labels[:120])
    assert fit_temperature(probabilities, np.full(200, -1)) == 1.0
    assert fit_temperature(np.zeros((0, 3), dtype=np.float32), np.zeros(0, dtype=np.int64)) == 1.0


def test_rows_that_are_all_right_or_all_wrong_stop_at_the_bounds():
    probabilities = np.array([[0.7, 0.3]] * 5)
    assert fit_temperature(probabilities, np.zeros(5, dtype=int)) == pytest.approx(COLDEST, rel=1e-3)
    assert fit_temperature(probabilities, np.ones(5, dtype=int)) == pytest.approx(HOTTEST, rel=1e-3)


@settings(max_examples=30)
@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40))
def test_no_group_lies_in_two_folds(groups):
    folds = group_folds(groups)
    if len(set(groups)) < 2:
        assert folds is None
        return
    assert len(set(folds.tolist())) == min(5, len(set(groups)))
    assert len({(group, fold) for group, fold in zip(groups, folds.tolist(), strict=True)}) == len(set(groups))


def test_each_fold_is_calibrated_by_the_others_alone():
    _, probabilities, labels = draw(60, 3, temperature=3, seed=4)
    folds = np.arange(60) % 3
    crossed = cross_tempered(probabilities, labels, folds)
    for fold in range(3):
        temperature = fit_temperature(probabilities[folds != fold], labels[folds != fold])
        assert (crossed[folds == fold] == tempered(probabilities[folds == fold], temperature)).all()
    # A fold's own labels decide nothing of it.
    other = cross_tempered(probabilities, np.where(folds == 0, (labels + 1) % 3, labels), folds)
    assert (other[folds == 0] == crossed[folds == 0]).all()


def test_calibration_lowers_the_error_of_an_overconfident_model_on_rows_it_was_not_fitted_on():
    _, probabilities, labels = draw(3000, 4, temperature=3, seed=5)
    crossed = cross_tempered(probabilities, labels, np.arange(3000) % 5)
    before, after = (measure_certainty(values.max(axis=1), values.argmax(axis=1) == labels).error for values in (probabilities, crossed))
    assert before > 0.1
    assert after < 0.03


def test_the_calibration_error_of_a_hand_worked_case():
    # Two bins: 0.6 and 0.62 lie in (0.6, 0.667] and (0.533, 0.6]; 0.95 twice in (0.933, 1].
    certainty = measure_certainty(np.array([0.6, 0.62, 0.95, 0.95]), np.array([True, False, True, False]))
    assert [(each.rows, each.confidence, each.accuracy) for each in certainty.bins] == [
        (1, pytest.approx(0.6), 1.0), (1, pytest.approx(0.62), 0.0), (2, pytest.approx(0.95), 0.5)
    ]  # fmt: skip
    assert certainty.error == pytest.approx((0.4 + 0.62 + 2 * 0.45) / 4)


@settings(max_examples=50)
@given(
    rows=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
)
def test_error_and_curve_agree_with_a_plain_count(rows):
    confidence, right = (np.array(column) for column in zip(*rows, strict=True))
    certainty = measure_certainty(confidence, right)
    expected = 0.0
    for place in range(15):
        inside = [(sure, hit) for sure, hit in rows if (math.ceil(sure * 15) - 1 if sure else 0) == place]
        expected += abs(sum(hit for _, hit in inside) - sum(sure for sure, _ in inside)) / len(rows)
    assert certainty.error == pytest.approx(expected, abs=1e-9)
    assert sum(each.rows for each in certainty.bins) == len(rows)
    for point in certainty.curve:
        answered = confidence >= point.threshold
        assert point.share == pytest.approx(answered.mean())
        assert point.accuracy == pytest.approx(right[answered].mean())
        assert point.risk == pytest.approx(1 - point.accuracy)
    assert certainty.curve[-1].share == 1
    assert [point.share for point in certainty.curve] == sorted(point.share for point in certainty.curve)


def test_the_rows_of_one_confidence_are_answered_together():
    certainty = measure_certainty(np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, False, True, True]))
    assert [(each.share, each.threshold, each.accuracy) for each in certainty.curve] == [(0.5, 0.9, 0.5), (1.0, 0.5, 0.75)]
    assert certainty.at(0.4).share == certainty.at(0.5).share == 0.5
    assert certainty.at(0.51).share == certainty.at(1).share == 1


def test_nothing_is_measured_without_rows():
    assert measure_certainty(np.zeros(0), np.zeros(0, dtype=bool)) is None
