"""What to try next: each warning appears with its cause, and is silent without."""

from attrcls.report.advice import advise
from attrcls.report.numbers import read_numbers

BOTH = {"x": ["a", "b"]}


def told(run):
    return " | ".join(advice.seen for advice in advise(read_numbers(run)))


def answers(*cells):
    return [{"x": (given, predicted, 0.5)} for given, predicted, count in cells for _ in range(count)]


def test_a_healthy_run_gets_no_advice(make_run):
    rows = answers(("a", "a", 30), ("b", "b", 30))
    run = make_run(heads=BOTH, rows=rows, combine=None, val_loss=(1.0, 0.9, 0.85, 0.86), train_loss=(1.2, 1.0, 0.9, 0.8))
    assert told(run) == ""


def test_a_scarce_class_is_named_with_its_rows(make_run):
    assert "x: fewer than 5 validation rows for b (4)." in told(make_run(heads=BOTH, rows=answers(("a", "a", 9), ("b", "b", 4)), combine=None))


def test_a_class_that_is_never_predicted_is_named(make_run):
    assert "x: b never predicted" in told(make_run(heads=BOTH, rows=answers(("a", "a", 9), ("b", "a", 9)), combine=None))


def test_a_score_below_the_majority_share_is_told_with_both_figures(make_run):
    run = make_run(heads=BOTH, rows=answers(("a", "b", 8), ("a", "a", 2)), combine=None)
    assert "x: top-1 is 0.200; always guessing its commonest class would get 1.000." in told(run)


def test_a_rising_validation_loss_tells_since_which_epoch(make_run):
    run = make_run(val_loss=(1.0, 0.8, 0.9, 1.1), train_loss=(1.0, 0.8, 0.5, 0.3))
    assert "has risen since epoch 2, from 0.800 to 1.100" in told(run)
    assert "0.300 on train and 1.100 on validation" in told(run)


def test_a_loss_that_still_falls_asks_for_more_epochs(make_run):
    assert "still falling in epoch 3" in told(make_run())


def test_a_loss_that_is_no_number_is_told(make_run):
    assert "no number in some epoch" in told(make_run(val_loss=(1.0, "nan", 0.9)))


def test_an_unfinished_run_says_so_with_its_message(make_run):
    run = make_run(status={"state": "interrupted", "epochs_done": 1, "message": "stopped by a key"})
    assert "its state is “interrupted” after 1 epoch (stopped by a key)." in told(run)


def test_skipped_rows_and_few_groups_are_told(make_run):
    text = told(make_run(status={"problems_skipped": 3}))
    assert "3 rows of the table could not be used" in text
    assert "Validation has 3 groups only" in text


def test_without_validation_rows_only_that_is_told(make_run):
    assert (
        told(make_run(rows=[]))
        == "There are no validation rows, so nothing was measured. | The validation loss was still falling in epoch 3, the last one."
    )


def test_a_head_without_labels_is_told_and_its_lack_of_loss_is_not_blamed_on_the_rate(make_run):
    run = make_run(heads=BOTH, rows=[{"x": ("", "a", 0.5)}] * 9, combine=None, val_loss=("nan", "nan", "nan"))
    assert "x: no validation row has a label." in told(run)
    assert "no number" not in told(run)


def test_codes_without_a_row_are_counted(make_run):
    assert "ans: 3 of 6 codes have no validation row." in told(make_run())
