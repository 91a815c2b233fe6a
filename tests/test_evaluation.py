import numpy as np
import pytest

from attrcls.combine import Combiner
from attrcls.evaluation import score_with_intervals
from attrcls.training.metrics import score_all


def test_the_value_is_the_plain_score_and_lies_inside_its_interval():
    generator = np.random.default_rng(0)
    targets = {"a": generator.integers(0, 3, 300), "b": generator.integers(-1, 2, 300)}
    predicted = {"a": np.where(generator.random(300) < 0.7, targets["a"], 0), "b": generator.integers(0, 2, 300)}
    combiner = Combiner("code", ("a", "b"), (3, 2))
    classes = {"a": 3, "b": 2}
    intervals = score_with_intervals(predicted, targets, np.arange(300), classes=classes, combiner=combiner, rounds=300)
    for name, value in score_all(predicted, targets, classes=classes, combiner=combiner).items():
        assert intervals[name].value == pytest.approx(value)
        assert intervals[name].low < value < intervals[name].high


def test_intervals_over_groups_are_wider_than_over_rows_when_groups_agree():
    generator = np.random.default_rng(1)
    right = np.repeat(generator.random(40) < 0.6, 10)
    targets = {"a": np.ones(400, dtype=int)}
    predicted = {"a": right.astype(int)}
    by_row = score_with_intervals(predicted, targets, np.arange(400), classes={"a": 2}, combiner=None)["a/top1"]
    by_group = score_with_intervals(predicted, targets, np.repeat(np.arange(40), 10), classes={"a": 2}, combiner=None)["a/top1"]
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)


def test_ninety_five_percent_of_intervals_hold_the_true_accuracy():
    held = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        predicted = {"a": (generator.random(200) < 0.8).astype(int)}
        interval = score_with_intervals(
            predicted, {"a": np.ones(200, dtype=int)}, np.arange(200), classes={"a": 2}, combiner=None, rounds=200, seed=seed
        )
        held += interval["a/top1"].low <= 0.8 <= interval["a/top1"].high
    assert 0.89 <= held / 200 <= 0.985


def test_one_row_and_no_labels_give_a_point_and_nothing():
    intervals = score_with_intervals(
        {"a": np.array([1]), "b": np.array([0])}, {"a": np.array([1]), "b": np.array([-1])}, ["g"], classes={"a": 2, "b": 2}, combiner=None, rounds=20
    )
    assert (intervals["a/top1"].low, intervals["a/top1"].high) == (1.0, 1.0)
    assert np.isnan(intervals["b/top1"].value)
    assert np.isnan(intervals["b/top1"].low)
