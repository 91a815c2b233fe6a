from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.combine import Combiner
from attrcls.errors import UserError
from attrcls.prediction.answers import Answers
from attrcls.prediction.images import Predictions
from attrcls.prediction.inputs import PredictInput
from attrcls.prediction.output import check_submission, prediction_table, submission_table

CLASSES = {"a": ["x", "y"], "b": ["p", "q", "r"]}
CODE = Combiner("ans", ("a", "b"), (2, 3))


def make(columns: dict[str, list[str]], status: list[str]) -> tuple[PredictInput, Answers]:
    table = pd.DataFrame(columns)
    rows = len(table)
    probabilities = {
        "a": np.tile(np.array([[0.25, 0.75]], dtype=np.float32), (rows, 1)),
        "b": np.tile(np.array([[0.1, 0.2, 0.7]], dtype=np.float32), (rows, 1)),
    }
    error = ["" if each == "ok" else "gone" for each in status]
    ok = np.array([each == "ok" for each in status])
    chosen = {head: np.where(ok, values.argmax(axis=1), -1) for head, values in probabilities.items()}
    confidence = {head: np.where(ok, values.max(axis=1), np.nan) for head, values in probabilities.items()}
    answers = Answers(Predictions(probabilities, status, error), chosen, confidence)
    return PredictInput(table, "ImageID", [Path(name) for name in table["ImageID"]]), answers


def test_the_columns_stand_in_the_promised_order():
    asked, answers = make({"n": ["1"], "ImageID": ["i.jpg"]}, ["ok"])
    table = prediction_table(asked, answers, classes=CLASSES, combiner=CODE, probabilities=True)
    assert list(table.columns) == [
        "n", "ImageID", "a", "a_confidence", "a_p_x", "a_p_y", "b", "b_confidence", "b_p_p", "b_p_q", "b_p_r", "ans", "status", "error",
    ]  # fmt: skip
    assert table.iloc[0].tolist() == ["1", "i.jpg", "y", 0.75, 0.25, 0.75, "r", 0.7, 0.1, 0.2, 0.7, 5, "ok", ""]


def test_an_input_column_named_like_an_output_column_is_kept_under_another_name():
    asked, answers = make({"ImageID": ["i.jpg"], "ans": ["0"], "status": ["old"], "ans_input": ["7"]}, ["ok"])
    table = prediction_table(asked, answers, classes=CLASSES, combiner=CODE, probabilities=False)
    assert list(table.columns[:4]) == ["ImageID", "ans_input_input", "status_input", "ans_input"]
    assert table["ans_input_input"].tolist() == ["0"]
    assert table["ans"].tolist() == [5]


def test_a_row_that_could_not_be_read_has_no_prediction_and_says_why():
    asked, answers = make({"ImageID": ["i.jpg", "j.jpg"]}, ["unreadable", "ok"])
    table = prediction_table(asked, answers, classes=CLASSES, combiner=CODE, probabilities=True)
    blank = table.iloc[0][["a", "a_confidence", "a_p_x", "b", "b_confidence", "ans"]]
    assert blank.isna().all()
    assert table["status"].tolist() == ["unreadable", "ok"]
    assert table["error"].tolist() == ["gone", ""]
    assert table["a"].tolist()[1] == "y"


def test_a_submission_has_exactly_its_columns_and_the_most_frequent_code_where_nothing_could_be_read():
    asked, answers = make({"n": ["1", "2"], "ImageID": ["i.jpg", "j.jpg"], "ans": ["0", "0"]}, ["ok", "missing"])
    columns = {"ImageID": "image", "ans": "code", "A": "a", "B": "b.id", "N": "n"}
    table = submission_table(asked, answers, columns=columns, classes=CLASSES, combiner=CODE, fallback={"ans": 4, "a": 0, "b": 1})
    assert table.to_dict("list") == {"ImageID": ["i.jpg", "j.jpg"], "ans": [5, 4], "A": ["y", "x"], "B": [2, 1], "N": ["1", "2"]}


@pytest.mark.parametrize(
    ("columns", "combiner", "expected"),
    [({}, CODE, "no `submission:`"), ({"ans": "code"}, None, "do not all have"), ({"x": "nothing"}, CODE, "'nothing' is neither")],
)
def test_a_submission_that_cannot_be_filled_is_refused(columns, combiner, expected):
    asked, _ = make({"ImageID": ["i.jpg"]}, ["ok"])
    with pytest.raises(UserError, match=expected):
        check_submission(asked, columns=columns, heads=CLASSES, combiner=combiner)


@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8), unique=True, max_size=6),
    status=st.lists(st.sampled_from(["ok", "missing", "unreadable"]), min_size=1, max_size=8),
)
def test_any_input_keeps_its_rows_their_order_and_its_cells(names, status):
    columns = {name: [f"{name}{row}" for row in range(len(status))] for name in names if name != "ImageID"}
    asked, answers = make({**columns, "ImageID": [str(row) for row in range(len(status))]}, status)
    table = prediction_table(asked, answers, classes=CLASSES, combiner=CODE, probabilities=False)
    assert len(table) == len(status)
    assert table.columns.is_unique
    assert table.iloc[:, : asked.table.shape[1]].to_numpy().tolist() == asked.table.to_numpy().tolist()
    assert table["status"].tolist() == status


OUTPUTS = ["a", "a_confidence", "a_p_x", "a_p_y", "b", "b_confidence", "b_p_p", "b_p_q", "b_p_r", "ans", "status", "error"]


@settings(max_examples=60)
@given(
    names=st.lists(st.sampled_from(["", " ", "ImageID", "n", *(f"{name}{end}" for name in OUTPUTS for end in ("", "_input", "_input_input"))]),
                   unique=True, min_size=1, max_size=16),
    status=st.lists(st.sampled_from(["ok", "missing"]), min_size=1, max_size=4),
)  # fmt: skip
def test_input_columns_are_kept_though_every_one_is_named_like_an_output(names, status):
    cells = {name: [f"{name}/{row}" for row in range(len(status))] for name in names}
    asked, answers = make({**cells, "ImageID": [str(row) for row in range(len(status))]}, status)
    table = prediction_table(asked, answers, classes=CLASSES, combiner=CODE, probabilities=True)
    assert list(table.columns[-len(OUTPUTS) :]) == OUTPUTS
    assert table.columns.is_unique
    assert table.iloc[:, : -len(OUTPUTS)].to_numpy().tolist() == asked.table.to_numpy().tolist()
    assert [(name, kept) for name, kept in zip(asked.table.columns, table.columns, strict=False) if name not in OUTPUTS and name != kept] == []
    assert table["a"].isna().tolist() == [each != "ok" for each in status]
