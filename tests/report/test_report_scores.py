"""Scores per class, against a case worked by hand and against scikit-learn's own macro-F1."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from attrcls.report.scores import count_confusions, index_classes, list_mixups, score_classes
from attrcls.types import MISSING

NAMES = ["wear", "incorrect", "normal"]
# By hand: wear 2 of 3 found, 1 false alarm; incorrect 0 of 1 found, never predicted; normal 1 of 1 found, 1 false alarm.
GIVEN = np.array([0, 0, 0, 1, 2])
PREDICTED = np.array([0, 0, 2, 0, 2])


def test_a_hand_worked_case_gives_its_scores():
    scores = score_classes(GIVEN, PREDICTED, names=NAMES)
    wear, incorrect, normal = scores.classes
    assert (wear.support, wear.predicted) == (3, 3)
    assert (wear.precision, wear.recall, wear.f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (incorrect.precision, incorrect.recall, incorrect.f1) == (None, 0.0, 0.0)
    assert (normal.precision, normal.recall, normal.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert scores.top1 == pytest.approx(3 / 5)
    assert scores.macro_f1 == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert scores.majority_share == pytest.approx(3 / 5)


def test_macro_f1_leaves_out_classes_that_are_neither_given_nor_predicted():
    scores = score_classes(GIVEN, PREDICTED, names=[*NAMES, "visor"])
    assert scores.macro_f1 == pytest.approx(4 / 9)
    assert scores.classes[3].f1 is None


def test_macro_f1_agrees_with_scikit_learn_on_random_answers():
    draw = np.random.default_rng(3)
    given, predicted = draw.integers(0, 12, 60), draw.integers(3, 15, 60)
    scores = score_classes(given, predicted, names=[str(number) for number in range(20)])
    assert scores.macro_f1 == pytest.approx(f1_score(given, predicted, average="macro", zero_division=0.0))
    known = [score.f1 for score in scores.classes if score.f1 is not None]
    assert scores.macro_f1 == pytest.approx(np.mean(known))


def test_confusions_agree_with_scikit_learn_on_random_answers():
    draw = np.random.default_rng(4)
    given, predicted = draw.integers(0, 6, 80), draw.integers(1, 7, 80)
    counts = count_confusions(given, predicted, names=[str(number) for number in range(7)])
    assert np.array_equal(counts, confusion_matrix(given, predicted, labels=range(7)))


def test_rows_without_a_label_count_for_nothing():
    labelled = score_classes(GIVEN, PREDICTED, names=NAMES)
    assert score_classes(np.append(GIVEN, MISSING), np.append(PREDICTED, 1), names=NAMES) == labelled


def test_no_labelled_row_gives_no_scores():
    scores = score_classes(np.array([MISSING]), np.array([1]), names=NAMES)
    assert (scores.rows, scores.top1, scores.macro_f1, scores.majority_share) == (0, None, None, None)
    assert [score.name for score in scores.classes] == NAMES
    assert count_confusions(np.array([MISSING]), np.array([1]), names=NAMES) == ((0, 0, 0),) * 3


def test_one_row_of_one_class_is_scored():
    scores = score_classes(np.array([0]), np.array([0]), names=["only"])
    assert (scores.top1, scores.macro_f1) == (1.0, 1.0)
    assert count_confusions(np.array([0]), np.array([0]), names=["only"]) == ((1,),)


def test_confusions_have_a_row_per_given_class():
    assert count_confusions(GIVEN, PREDICTED, names=NAMES) == ((2, 0, 1), (1, 0, 0), (0, 0, 1))


def test_the_most_frequent_mixup_comes_first_and_ties_go_to_the_larger_share():
    mixups = list_mixups(((2, 0, 1), (1, 0, 0), (0, 5, 1)), names=NAMES)
    assert [(mixup.given, mixup.predicted, mixup.count) for mixup in mixups] == [
        ("normal", "incorrect", 5),
        ("incorrect", "wear", 1),
        ("wear", "normal", 1),
    ]
    assert mixups[2].share == pytest.approx(1 / 3)


def test_an_empty_name_is_a_missing_label_and_a_class_may_be_called_nan():
    assert index_classes(["nan", "", "b"], ["b", "nan"]).tolist() == [1, MISSING, 0]
