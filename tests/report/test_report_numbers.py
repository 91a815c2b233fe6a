"""The figures of a run, against the five validation rows of conftest worked by hand."""

import math

import pytest

from attrcls.report.numbers import read_numbers


def test_headline_figures_are_the_means_over_the_heads(make_run):
    numbers = read_numbers(make_run())
    # mask: 3 of 5, F1 (2/3, 0, 2/3). gender, 4 labelled: 3 of 4, F1 male 4/5, female 2/3.
    assert numbers.mean_top1 == pytest.approx((3 / 5 + 3 / 4) / 2)
    assert numbers.mean_f1 == pytest.approx((4 / 9 + (4 / 5 + 2 / 3) / 2) / 2)
    assert numbers.mean_majority == pytest.approx((3 / 5 + 1 / 2) / 2)
    assert (numbers.validation_rows, numbers.validation_groups) == (5, 3)


def test_the_code_is_scored_on_rows_with_every_label(make_run):
    code = read_numbers(make_run()).code
    # given 0, 1, 1, 4 and predicted 0, 0, 5, 4: F1 of 0 is 2/3, of 1 is 0, of 4 is 1, of 5 is 0.
    assert code.scores.rows == 4
    assert code.scores.top1 == pytest.approx(2 / 4)
    assert code.scores.macro_f1 == pytest.approx((2 / 3 + 0 + 1 + 0) / 4)
    assert [row.classes for row in code.rows] == [(mask, gender) for mask in ("wear", "incorrect", "normal") for gender in ("male", "female")]
    assert [row.score.name for row in code.unseen] == ["2", "3", "5"]


def test_a_code_of_very_many_values_lists_those_that_occur(make_run):
    heads = {"a": [f"a{number}" for number in range(10)], "b": [f"b{number}" for number in range(10)]}
    rows = [{"a": ("a1", "a2", 0.5), "b": ("b3", "b3", 0.5)}]
    code = read_numbers(make_run(heads=heads, rows=rows, combine={"name": "c", "order": ["a", "b"], "radices": [10, 10]})).code
    assert [row.score.name for row in code.rows] == ["13", "23"]
    assert len(code.unseen) == 99


def test_labels_are_counted_per_class_and_split_with_the_missing_ones(make_run):
    mask, gender = read_numbers(make_run()).heads
    assert mask.labels.splits == ("train", "val")
    assert mask.labels.counts == ((3, 3), (3, 1), (2, 1))
    assert gender.labels.counts == ((4, 2), (4, 2))
    assert (mask.labels.missing, gender.labels.missing) == ((0, 0), (0, 1))


def test_cards_tell_their_rows_and_groups(make_run):
    (card,) = read_numbers(make_run()).cards
    assert card.title == "Toy faces"
    assert dict(card.texts)["licence"] == "CC0"
    assert card.known_faults == ("drawn, not seen",)
    assert card.splits == (("train", 8, 4), ("val", 5, 3))


def test_mistakes_are_the_most_confident_first_and_bounded(make_run):
    mask = read_numbers(make_run()).heads[0]
    assert [(mistake.given, mistake.predicted, mistake.confidence) for mistake in mask.mistakes] == [
        ("wear", "normal", 0.95),
        ("incorrect", "wear", 0.6),
    ]
    assert mask.mistakes[0].path == "10.png"
    assert mask.mistakes[0].box is None


def test_worst_bounds_the_mistakes_of_each_head(make_run):
    mask, gender = read_numbers(make_run(), worst=1).heads
    assert (len(mask.mistakes), len(gender.mistakes)) == (1, 1)


def test_a_mistake_without_confidence_comes_last(make_run):
    rows = [{"mask": ("wear", "normal", math.nan)}, {"mask": ("normal", "wear", 0.1)}]
    numbers = read_numbers(make_run(heads={"mask": ["wear", "normal"]}, rows=rows, combine=None))
    first, last = numbers.heads[0].mistakes
    assert first.confidence == 0.1
    assert math.isnan(last.confidence)


def test_boxes_are_read_where_a_row_has_one(make_run):
    boxes = {side: ["", "", value, "", ""] for side, value in {"xmin": "1", "ymin": "2.5", "xmax": "30", "ymax": "40"}.items()}
    first, second = read_numbers(make_run(columns=boxes)).heads[0].mistakes
    assert first.box == (1.0, 2.5, 30.0, 40.0)
    assert second.box is None


def test_a_head_without_a_validation_label_is_left_out_of_the_means(make_run):
    rows = [{"mask": ("wear", "wear", 0.9), "gender": ("", "male", 0.5)}]
    numbers = read_numbers(make_run(rows=rows))
    assert numbers.heads[1].scores.top1 is None
    assert numbers.mean_top1 == 1.0
    assert numbers.code.scores.top1 is None


def test_metrics_that_are_no_numbers_become_nan(make_run):
    curves = read_numbers(make_run(val_loss=["nan", "inf", ""])).curves
    assert curves.epochs == (1, 2, 3)
    assert math.isnan(curves.columns["val_loss"][0])
    assert math.isnan(curves.columns["val_loss"][2])


def test_no_validation_rows_give_no_figures(make_run):
    numbers = read_numbers(make_run(rows=[]))
    assert (numbers.validation_rows, numbers.mean_top1, numbers.mean_f1) == (0, None, None)
