"""What a run directory must hold, and what is said where it does not."""

import json

import pandas as pd
import pytest

from attrcls.errors import ProblemsError, UserError
from attrcls.report.rundir import read_run
from attrcls.runs.report import run_report


def test_a_whole_run_is_read(make_run):
    files = read_run(make_run())
    assert files.heads == {"mask": ("wear", "incorrect", "normal"), "gender": ("male", "female")}
    assert files.code is not None
    assert files.code.radices == (3, 2)
    assert len(files.validation) == 5


def test_classes_may_stand_under_the_heads_of_the_model_too(make_run):
    run = make_run()
    model = {"format_version": 1, "heads": {"mask": {"classes": ["wear", "incorrect", "normal"]}, "gender": {"classes": ["male", "female"]}}}
    (run / "model/model.json").write_text(json.dumps(model))
    assert read_run(run).heads["gender"] == ("male", "female")


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        read_run(tmp_path / "nowhere")


def test_a_folder_without_status_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"not a run directory: status\.json is missing; give the folder"):
        read_run(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", "splits.csv", "metrics.csv", "validation.csv", "model/model.json"])
def test_a_missing_file_is_named_with_the_state_of_the_run(make_run, name):
    run = make_run(status={"state": "interrupted"})
    (run / name).unlink()
    with pytest.raises(UserError, match=rf"{name} missing \(the run's state is “interrupted”\).*let the training go on"):
        read_run(run)


@pytest.mark.parametrize("name", ["status.json", "model/model.json"])
def test_an_unknown_format_version_says_what_was_expected_and_found(make_run, name):
    run = make_run()
    (run / name).write_text(json.dumps({**json.loads((run / name).read_text()), "format_version": 7}))
    with pytest.raises(UserError, match=rf"{name}: expected format_version 1, found 7; read the run with the attrcls that wrote it"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("status.json", '{"state"', "cannot be read as JSON"),
        ("status.json", "[]", "expected keys and values, found list"),
        ("status.json", '{"format_version": 1, "state": "running"}', "started, seconds, epochs_done is missing"),
        ("config.yaml", "a: [", "line 1: not valid YAML"),
        ("config.yaml", "", "expected a mapping of keys to values, found nothing"),
        ("metrics.csv", "", "cannot be read as a CSV table"),
        ("model/model.json", '{"format_version": 1, "heads": {}}', "expected at least one head"),
        ("model/model.json", '{"format_version": 1, "heads": {"mask": {}}}', "expected the classes of each head"),
    ],
)
def test_a_broken_file_is_named(make_run, name, text, told):
    run = make_run()
    (run / name).write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        read_run(run)
    assert name in str(caught.value)


def test_every_missing_column_is_told_at_once(make_run):
    run = make_run()
    pd.read_csv(run / "validation.csv").drop(columns=["mask_given", "ans"]).to_csv(run / "validation.csv", index=False)
    pd.read_csv(run / "metrics.csv").drop(columns="train_loss").to_csv(run / "metrics.csv", index=False)
    with pytest.raises(ProblemsError) as caught:
        read_run(run)
    assert [(problem.file, problem.column) for problem in caught.value.problems] == [
        ("metrics.csv", "train_loss"),
        ("validation.csv", "mask_given"),
        ("validation.csv", "ans"),
    ]


def test_classes_and_codes_that_the_model_does_not_know_are_told(make_run):
    run = make_run()
    table = pd.read_csv(run / "validation.csv", dtype=str)
    table.loc[0, ["gender", "ans"]] = ["robot", "6"]
    table.to_csv(run / "validation.csv", index=False)
    with pytest.raises(ProblemsError, match="“robot” is no class of this head; expected male, female") as caught:
        read_run(run)
    assert "“6” is no code; expected 0 to 5" in str(caught.value)


def test_a_code_that_does_not_fit_the_heads_is_refused(make_run):
    with pytest.raises(UserError, match=r"the code ans expects \(3, 3\) classes for mask, gender, the heads have \(3, 2\)"):
        read_run(make_run(model_combine={"name": "ans", "order": ["mask", "gender"], "radices": [3, 3]}))


def test_a_code_over_heads_that_were_not_trained_is_left_out(make_run):
    combine = {"name": "ans", "order": ["mask", "gender", "age"], "radices": [3, 2, 3]}
    assert read_run(make_run(combine=None, model_combine=combine)).code is None


def test_a_run_without_validation_rows_needs_no_validation_table(make_run):
    run = make_run(rows=[], status={"val_rows": 0})
    (run / "validation.csv").unlink()
    files = read_run(run)
    assert len(files.validation) == 0
    assert "mask_given" in files.validation.columns


def test_a_class_called_na_is_a_class(make_run):
    heads = {"mask": ["NA", "None"]}
    rows = [{"mask": ("NA", "None", 0.5)}]
    files = read_run(make_run(heads=heads, rows=rows, combine=None))
    assert files.validation["mask_given"].tolist() == ["NA"]


def test_a_damaged_code_or_kind_is_told(make_run):
    with pytest.raises(UserError, match=r"model\.json"):
        read_run(make_run(model_combine=["x"]))


def test_a_kind_that_is_no_text_is_no_traceback(make_run):
    assert run_report(make_run(status={"kind": ["x"]})).is_file()
