"""What the page says of confidences, on the tiny run."""

import json

import pytest

from attrcls.errors import UserError
from attrcls.report import write_report
from attrcls.report.numbers import read_numbers

# Of mask's five rows three are right; calibrated, the two wrong ones are the least certain.
CALIBRATED = {"mask_calibrated": ["0.9", "0.8", "0.5", "0.4", "0.7"], "gender_calibrated": ["0.8", "0.7", "0.6", "0.9", "0.5"]}


def describe(run, **changes):
    file = run / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return run


def test_errors_before_and_after_and_risks_are_counted_from_the_validation_table(make_run):
    run = describe(make_run(columns=CALIBRATED), temperatures={"mask": 1.5})
    mask, gender = read_numbers(run).certainty.heads
    # Each row is alone in its bin: |right − confidence| on average.
    assert mask.before.error == pytest.approx((0.1 + 0.2 + 0.95 + 0.6 + 0.3) / 5)
    assert mask.after.error == pytest.approx((0.1 + 0.2 + 0.5 + 0.4 + 0.3) / 5)
    assert (mask.temperature, gender.temperature) == (1.5, 1.0)
    assert gender.before.rows == gender.after.rows == 4  # one has no label
    half = dict(mask.risks)[0.5]
    assert (half.share, half.threshold, half.risk) == (pytest.approx(0.6), 0.7, 0.0)


def test_a_run_without_calibrated_confidences_shows_what_the_network_says(make_run):
    run = make_run()
    assert all(head.after is None for head in read_numbers(run).certainty.heads)
    assert "This run has no calibrated confidences" in write_report(run).read_text()


def test_the_page_says_how_classes_are_chosen(make_run):
    reason = "argmax kept: macro-F1 of ans on validation, cross-fitted over groups: joint 0.401, argmax 0.412"
    run = describe(make_run(columns=CALIBRATED), decode={"asked": "joint", "used": "argmax", "reason": reason})
    page = write_report(run).read_text()
    assert f"Classes are chosen by argmax ({reason})" in page
    assert page.count('aria-label="Accuracy over confidence of') == 2


def test_a_run_without_validation_labels_has_no_such_chapter(make_run):
    page = write_report(make_run(rows=[])).read_text()
    assert 'id="certainty"' not in page


@pytest.mark.parametrize(
    "changes", [{"temperatures": {"mask": "hot"}}, {"temperatures": {"mask": -1}}, {"temperatures": [1]}, {"decode": {"used": "luck"}}]
)
def test_a_model_file_with_a_damaged_calibration_is_refused(make_run, changes):
    with pytest.raises(UserError, match=r"model\.json"):
        read_numbers(describe(make_run(), **changes))
