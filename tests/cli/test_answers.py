"""How probabilities become answers, through the real command line: temperatures, decoding, quotas, adjustment, abstaining."""

import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linear_sum_assignment

from attrcls.answers.calibration import tempered
from attrcls.prediction.answers import check_rules
from attrcls.prediction.models import load_models
from attrcls.sections import DecodeSpec

CLASSES = {"colour": ["red", "green", "blue"], "size": ["small", "large"]}


def predict(cli, run, source, out, *options):
    result = cli("predict", run, source, "--csv", out, "--probabilities", "--workers", 0, *options)
    return result, pd.read_csv(out, keep_default_na=False) if out.exists() else None


def described(run, folder, **changes):
    """A copy of the model alone, described otherwise."""
    shutil.copytree(run / "model", folder / "model")
    file = folder / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return folder


def probabilities(table, head):
    return table[[f"{head}_p_{name}" for name in CLASSES[head]]].to_numpy(dtype=float)


def codes_of(table):
    return table["colour"].map(CLASSES["colour"].index) * 2 + table["size"].map(CLASSES["size"].index)


@pytest.fixture(scope="module")
def pictures(shared_squares):
    return shared_squares / "images"


def test_training_leaves_temperatures_counts_and_calibrated_confidences(trained_run):
    model = json.loads((trained_run / "model" / "model.json").read_text())
    assert set(model["temperatures"]) == {"colour", "size"}
    assert all(0.1 <= temperature <= 10 for temperature in model["temperatures"].values())
    assert {head: sum(counts) for head, counts in model["class_counts"].items()} == {"colour": 68, "size": 68}
    assert (model["decode"]["asked"], model["decode"]["used"]) == ("argmax", "argmax")
    validation = pd.read_csv(trained_run / "validation.csv")
    assert validation["colour_calibrated"].between(1 / 3 - 1e-3, 1).all()


def test_predict_says_confidences_under_the_models_temperatures_and_the_same_classes(cli, trained_run, pictures, tmp_path):
    plain, raw = predict(cli, described(trained_run, tmp_path / "raw", temperatures={}), pictures, tmp_path / "raw.csv")
    assert plain.code == 0, plain.err
    hot, table = predict(cli, described(trained_run, tmp_path / "hot", temperatures={"colour": 3.0}), pictures, tmp_path / "hot.csv")
    assert hot.code == 0, hot.err
    assert np.allclose(probabilities(table, "colour"), tempered(probabilities(raw, "colour"), 3.0), atol=3e-3)
    assert (probabilities(table, "size") == probabilities(raw, "size")).all()
    assert (table[["colour", "size", "code"]] == raw[["colour", "size", "code"]]).all(axis=None)
    assert (table["colour_confidence"] < raw["colour_confidence"]).all()


def test_several_runs_average_calibrated_probabilities(cli, trained_run, pictures, tmp_path):
    runs = [described(trained_run, tmp_path / f"{index}", temperatures={"colour": temperature}) for index, temperature in enumerate((1.0, 5.0))]
    tables = [predict(cli, run, pictures, tmp_path / f"{run.name}.csv")[1] for run in runs]
    both = tmp_path / "both.csv"
    assert cli("predict", *runs, pictures, "--csv", both, "--probabilities", "--workers", 0).code == 0
    mean = np.mean([probabilities(table, "colour") for table in tables], axis=0)
    assert np.allclose(probabilities(pd.read_csv(both), "colour"), mean, atol=2e-4)


def test_a_run_of_before_calibration_still_predicts_and_evaluates(cli, trained_run, pictures, shared_squares, tmp_path):
    shutil.copytree(trained_run, tmp_path / "old")
    file = tmp_path / "old" / "model" / "model.json"
    model = json.loads(file.read_text())
    for key in ("temperatures", "class_counts", "decode"):
        del model[key]
    file.write_text(json.dumps(model))
    validation = pd.read_csv(tmp_path / "old" / "validation.csv").drop(columns=["colour_calibrated", "size_calibrated"])
    validation.to_csv(tmp_path / "old" / "validation.csv", index=False)
    assert predict(cli, tmp_path / "old", pictures, tmp_path / "p.csv")[0].code == 0
    assert cli("evaluate", tmp_path / "old", shared_squares).code == 0
    assert cli("report", tmp_path / "old").code == 0
    refused, _ = predict(cli, tmp_path / "old", pictures, tmp_path / "q.csv", "--adjust", 1)
    assert refused.code == 2
    assert "no class counts of colour, size" in refused.err


def test_a_cell_that_is_not_certain_enough_is_blank_and_its_row_says_so(cli, trained_run, pictures, tmp_path):
    _, plain = predict(cli, trained_run, pictures, tmp_path / "plain.csv")
    least = float(plain["colour_confidence"].median())
    result, table = predict(cli, trained_run, pictures, tmp_path / "p.csv", "--abstain", least + 1e-6)
    assert result.code == 0, result.err
    doubtful = {head: plain[f"{head}_confidence"] < least for head in CLASSES}
    for head in CLASSES:
        sure = plain[f"{head}_confidence"] > least + 1e-3
        assert (table[head][doubtful[head]] == "").all()
        assert (table[head][sure] == plain[head][sure]).all()
    assert (table["colour"] == "").any() and (table["colour"] != "").any()
    either = (table["colour"] == "") | (table["size"] == "")
    assert ((table["code"].astype(str) == "") == either).all()
    assert (table["status"] == np.where(either, "abstained", "ok")).all()
    assert table["error"][either].str.startswith("less certain than").all()
    assert (table["colour_confidence"] == plain["colour_confidence"]).all()
    everything, table = predict(cli, trained_run, pictures, tmp_path / "all.csv", "--abstain", 0)
    assert everything.code == 0
    assert (table["status"] == "ok").all()


def test_rows_that_could_not_be_read_are_told_from_those_that_abstained(cli, trained_run, pictures, tmp_path):
    names = [str(path) for path in sorted(pictures.iterdir())[:6]]
    pd.DataFrame({"path": [*names, "gone.jpg"]}).to_csv(tmp_path / "in.csv", index=False)
    result, table = predict(cli, trained_run, tmp_path / "in.csv", tmp_path / "p.csv", "--abstain", 1)
    assert result.code == 3
    assert table["status"].tolist() == ["abstained"] * 6 + ["missing"]
    assert "7 rows, 1 without a prediction of their own, 6 with a cell left blank below 1" in result.out
    result, table = predict(cli, trained_run, tmp_path / "in.csv", tmp_path / "q.csv", "--quota", "size=uniform")
    assert result.code == 3
    assert table["size"].value_counts().to_dict() == {"small": 3, "large": 3, "": 1}


def test_a_broken_picture_whose_name_is_not_utf8_costs_its_own_row_alone(cli, trained_run, pictures, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(pictures / "p00_0.jpg", folder)
    name = os.fsencode(folder) + b"/\xbf\xca.jpg"
    with open(name, "wb") as file:
        file.write(b"no picture")
    result, table = predict(cli, trained_run, folder, tmp_path / "p.csv")
    assert result.code == 3, result.err
    assert table["status"].tolist() == ["ok", "unreadable"]
    assert "\\udcbf\\udcca.jpg" in table["error"][1]
    alone, table = predict(cli, trained_run, os.fsdecode(name), tmp_path / "q.csv")
    assert alone.code == 3 and len(table) == 1


def test_a_uniform_quota_gives_every_code_its_count_at_the_best_total(cli, trained_run, pictures, tmp_path):
    # Warm, so that no probability is rounded to nothing in the table.
    run = described(trained_run, tmp_path / "run", temperatures={"colour": 9.0, "size": 9.0})
    _, plain = predict(cli, run, pictures, tmp_path / "plain.csv")
    result, table = predict(cli, run, pictures, tmp_path / "p.csv", "--quota", "uniform")
    assert result.code == 0, result.err
    # 80 rows over 6 codes: the first two get one more.
    assert table["code"].value_counts().sort_index().tolist() == [14, 14, 13, 13, 13, 13]
    assert (table["code"] == codes_of(table)).all()
    colour, size = (np.log(probabilities(plain, head)) for head in CLASSES)
    scores = (colour[:, :, None] + size[:, None, :]).reshape(80, 6)
    expanded = scores[:, np.repeat(np.arange(6), [14, 14, 13, 13, 13, 13])]
    best = expanded[linear_sum_assignment(expanded, maximize=True)].sum()
    # The table's probabilities are rounded to four decimals.
    assert scores[np.arange(80), table["code"]].sum() == pytest.approx(best, abs=0.05)
    picked = [probabilities(table, "size")[row, CLASSES["size"].index(name)] for row, name in enumerate(table["size"])]
    assert np.allclose(table["size_confidence"], picked)


@pytest.mark.parametrize(("measure", "values"), [("share", (0.25, 0.75, 0.0)), ("count", (20, 60, 0))])
def test_a_quota_of_a_file_is_met_on_its_head_and_leaves_the_other_alone(cli, trained_run, pictures, tmp_path, measure, values):
    lines = [f"colour,{name},{value}" for name, value in zip(CLASSES["colour"], values, strict=True)]
    (tmp_path / "quota.csv").write_text("\n".join([f"head,class,{measure}", *lines]))
    _, plain = predict(cli, trained_run, pictures, tmp_path / "plain.csv")
    result, table = predict(cli, trained_run, pictures, tmp_path / "p.csv", "--quota", tmp_path / "quota.csv")
    assert result.code == 0, result.err
    assert table["colour"].value_counts().to_dict() == {"red": 20, "green": 60}
    assert (table["size"] == plain["size"]).all()
    assert (table["code"] == codes_of(table)).all()


def test_a_quota_of_counts_is_scaled_down_when_rows_could_not_be_read(cli, trained_run, pictures, tmp_path):
    names = [str(path) for path in sorted(pictures.iterdir())[:4]]
    pd.DataFrame({"path": [*names, "gone.jpg", "away.jpg"]}).to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "quota.csv").write_text("head,class,count\nsize,small,3\nsize,large,3\n")
    result, table = predict(cli, trained_run, tmp_path / "in.csv", tmp_path / "p.csv", "--quota", tmp_path / "quota.csv")
    assert result.code == 3
    assert "scaled down to the 4 others" in result.err
    assert table["size"].value_counts().to_dict() == {"small": 2, "large": 2, "": 2}


def test_a_submission_meets_the_quota_too(cli, trained_run, pictures, tmp_path):
    out = tmp_path / "s.csv"
    assert cli("predict", trained_run, pictures, "--csv", out, "--submission", "--quota", "uniform", "--workers", 0).code == 0
    assert pd.read_csv(out)["ans"].value_counts().max() == 14


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("head,class,share\nsize,small,0.5\nsize,large,0.6\n", ("rows 1 to 2", "the shares of size sum to 1.1", "expected 1")),
        ("head,class,count\nsize,small,5\nsize,large,6\n", ("the input's 80 rows", "found 11")),
        ("head,class,count\nsize,small,0\nsize,large,0\n", ("sum to 0",)),
        ("head,class,share\nsize,smal,0.5\nsize,large,0.5\n", ("row 1, column class", "'smal' is no class of size", "did you mean 'small'")),
        ("head,class,share\nsiz,small,0.5\nsize,large,0.5\n", ("row 1, column head", "no head 'siz'", "did you mean 'size'")),
        ("head,class,share\nsize,small,1\n", ("row 1", "size has no row for large", "share 0")),
        ("head,class,share\nsize,small,1.5\nsize,large,-0.5\n", ("row 2, column share", "'-0.5'")),
        ("head,class,share\nsize,small,x\nsize,large,1\n", ("row 1, column share", "'x'")),
        ("head,class,count\nsize,small,1.5\nsize,large,1\n", ("row 1, column count", "whole number", "'1.5'")),
        ("head,class,share\nsize,small,0.5\nsize,small,0.5\n", ("row 2, column class", "second time")),
        ("head,class\nsize,small\n", ("share or count", "head, class")),
        ("class,share\nsmall,1\n", ("'head'",)),
        ("head,class,share\ncode,0,1\ncode,6,0\n", ("row 2, column class", "'6' is no class of code")),
    ],
)  # fmt: skip
def test_a_quota_file_that_cannot_be_met_is_refused_before_anything_is_predicted(cli, trained_run, pictures, tmp_path, content, says):
    (tmp_path / "quota.csv").write_text(content)
    result, table = predict(cli, trained_run, pictures, tmp_path / "p.csv", "--quota", tmp_path / "quota.csv")
    assert result.code == 2
    assert table is None
    assert all(part in result.err for part in says), result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--quota", "color=uniform"), ("no head 'color'", "did you mean 'colour'")),
        (("--quota", "nothere.csv"), ("nothere.csv", "no such file")),
        (("--quota", "size=uniform", "--quota", "size=uniform"), ("size has a quota already",)),
        (("--quota", "uniform", "--quota", "size=uniform"), ("code decides its heads", "leave one of them out")),
        (("--quota", "uniform", "--abstain", "0.5"), ("--abstain and --quota",)),
        (("--abstain", "1.5"), ("--abstain", "from 0 to 1", "1.5")),
        (("--abstain", "nan"), ("--abstain", "from 0 to 1")),
        (("--abstain", "0.5", "--submission"), ("--submission and --abstain",)),
        (("--adjust", "nan"), ("--adjust",)),
        (("--decode", "beam"), ("--decode", "argmax, joint, offsets", "'beam'")),
        (("--decode", "joint"), ("not trained with `decode: joint`",)),
    ],
)
def test_a_rule_that_cannot_be_followed_is_told_with_its_fix(cli, trained_run, pictures, tmp_path, options, says):
    result, table = predict(cli, trained_run, pictures, tmp_path / "p.csv", *options)
    assert result.code == 2
    assert table is None
    assert all(part in result.err for part in says), result.err


def test_logit_adjustment_favours_the_classes_that_training_saw_less_of(cli, trained_run, pictures, tmp_path):
    run = described(trained_run, tmp_path / "run", class_counts={"colour": [80, 15, 5], "size": [50, 50]}, balanced=["size"])
    _, plain = predict(cli, run, pictures, tmp_path / "plain.csv")
    result, table = predict(cli, run, pictures, tmp_path / "p.csv", "--adjust", 1)
    assert result.code == 0, result.err
    assert "classes of size equally often already" in result.err
    expected = probabilities(plain, "colour") / [0.8, 0.15, 0.05]
    assert np.allclose(probabilities(table, "colour"), expected / expected.sum(axis=1, keepdims=True), atol=5e-3)
    assert (probabilities(table, "size") == probabilities(plain, "size")).all()
    assert (table["colour"] == "blue").sum() >= (plain["colour"] == "blue").sum()


def test_the_decoding_that_a_run_fitted_is_followed_and_overridden(cli, trained_run, pictures, tmp_path):
    _, plain = predict(cli, trained_run, pictures, tmp_path / "plain.csv")
    shift = {"asked": "offsets", "used": "offsets", "offsets": {"colour": [0.0, 0.0, 90.0], "size": [0.0, 0.0]}}
    run = described(trained_run, tmp_path / "offsets", decode=shift)
    _, table = predict(cli, run, pictures, tmp_path / "p.csv")
    assert (table["colour"] == "blue").all()
    assert (table["code"] == codes_of(table)).all()
    assert np.allclose(table["colour_confidence"], table["colour_p_blue"])
    _, argmax = predict(cli, run, pictures, tmp_path / "argmax.csv", "--decode", "argmax")
    assert argmax.equals(plain)
    # Not used by itself, but at hand.
    run = described(trained_run, tmp_path / "unused", decode={**shift, "used": "argmax", "reason": "argmax kept: worse"})
    assert predict(cli, run, pictures, tmp_path / "q.csv")[1].equals(plain)
    assert (predict(cli, run, pictures, tmp_path / "r.csv", "--decode", "offsets")[1]["colour"] == "blue").all()


def test_several_runs_are_decoded_by_the_mean_of_what_they_fitted_where_most_use_it(cli, trained_run, pictures, tmp_path):
    def run(name, blue, used="offsets"):
        offsets = {"colour": [0.0, 0.0, blue], "size": [0.0, 0.0]}
        return described(trained_run, tmp_path / name, decode={"asked": "offsets", "used": used, "offsets": offsets})

    def predicted(*runs):
        result = cli("predict", *runs, pictures, "--csv", tmp_path / "p.csv", "--workers", 0)
        return result, pd.read_csv(tmp_path / "p.csv")["colour"] if result.code == 0 else None

    up, down, unused = run("up", 90.0), run("down", -30.0), run("unused", 90.0, used="argmax")
    assert (predicted(up, down)[1] == "blue").all()
    assert not (predicted(up, down, run("further", -90.0))[1] == "blue").any()
    assert predicted(up, unused)[1].equals(predicted(trained_run)[1])
    # Another never fitted anything.
    result, table = predicted(up, run("down again", -30.0), trained_run)
    assert "not all of these 3 runs were trained with `decode: offsets`" in result.err
    assert table.equals(predicted(trained_run)[1])
    refused = cli("predict", up, trained_run, pictures, "--csv", tmp_path / "s.csv", "--workers", 0, "--decode", "offsets")
    assert refused.code == 2
    assert "a run of these was not trained with `decode: offsets`" in refused.err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"class_counts": {"colour": [1, 2]}}, "class_counts.colour: expected a number for each of 3 classes, found 2"),
        ({"decode": {"offsets": {"shape": [1.0]}}}, "decode.offsets.shape"),
        ({"decode": {"asked": "joint", "used": "joint", "code_counts": [1, 2, 3]}}, "decode.code_counts: expected 6 numbers or none, found 3"),
        ({"temperatures": {"colour": 0}}, "temperatures.colour"),
        ({"decode": {"used": "luck"}}, "decode.used"),
        ({"decode": {"asked": "joint", "used": "joint"}}, "had nothing to fit it on"),
    ],
)
def test_a_model_file_whose_numbers_do_not_fit_its_classes_is_refused(cli, trained_run, pictures, tmp_path, changes, says):
    result = cli("predict", described(trained_run, tmp_path / "run", **changes), pictures, "--csv", tmp_path / "p.csv")
    assert result.code == 2
    assert says in result.err
    assert "model.json" in result.err or "--decode" in result.err


def test_a_joint_decoder_never_says_a_combination_that_training_never_saw(cli, trained_run, pictures, tmp_path):
    # Red and green are always small, blue always large.
    joint = {"asked": "joint", "used": "joint", "strength": 40.0, "code_counts": [900, 0, 900, 0, 0, 900]}
    run = described(trained_run, tmp_path / "joint", decode=joint)
    result, table = predict(cli, run, pictures, tmp_path / "p.csv")
    assert result.code == 0, result.err
    assert set(table["code"]) <= {0, 2, 5}
    assert (table["code"] == codes_of(table)).all()
    _, fixed = predict(cli, run, pictures, tmp_path / "q.csv", "--quota", "size=uniform")
    assert fixed["size"].value_counts().tolist() == [40, 40]
    assert set(fixed["code"]) <= {0, 2, 5}


@pytest.mark.parametrize("kind", ["joint", "offsets"])
def test_a_task_names_its_decoding_and_the_run_keeps_what_came_of_it(cli, squares, tmp_path, kind):
    trained = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, "--freeze", "--set", f"decode={kind}")
    assert trained.code == 0, trained.err
    decode = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["decode"]
    assert decode["asked"] == kind
    assert "macro-F1 of code" in decode["reason"]
    assert (decode["used"] == kind) == (decode["fitted_f1"] >= decode["argmax_f1"])
    assert ("argmax kept" in trained.err) == (decode["used"] == "argmax")
    assert predict(cli, tmp_path / "run", squares / "images", tmp_path / "p.csv", "--decode", kind)[0].code == 0


def test_a_joint_decoding_without_a_code_is_refused(cli, squares, tmp_path):
    task = (squares / "squares.task.yaml").read_text()
    (squares / "squares.task.yaml").write_text("\n".join(line for line in task.splitlines() if not line.startswith(("combine", "submission"))))
    result = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--set", "decode=joint")
    assert result.code == 2
    assert "needs the task to have a `combine:`" in result.err


def test_without_validation_rows_nothing_is_calibrated_and_argmax_is_kept(squares):
    from attrcls.runs.fitting import fit_answers
    from attrcls.runs.prepare import check_labels, prepare_data
    from attrcls.task import load_plan

    plan = load_plan(str(squares / "squares.task.yaml"), overrides=["decode=offsets"])
    train = prepare_data(plan, []).manifest.of_split("train")
    fitted = fit_answers(None, train, plan)
    assert fitted.temperatures == {"colour": 1.0, "size": 1.0}
    assert (fitted.decode.used, fitted.decode.reason) == ("argmax", "argmax kept: no validation row to fit offsets on")
    assert "confidences are not calibrated" in "".join(check_labels(train, heads=["colour", "size"]))


def test_evaluate_tells_calibration_and_risk_and_counts_what_abstained_as_unanswered(cli, trained_run, shared_squares, tmp_path):
    def evaluate(name, *options):
        result = cli("evaluate", trained_run, shared_squares / "labels.csv", "--json", tmp_path / name, "--workers", 0, *options)
        assert result.code == 0, result.err
        return result, json.loads((tmp_path / name).read_text())

    plain, every = evaluate("all.json")
    assert "risk: how often" in plain.out and "answered:" not in plain.out
    colour = every["certainty"]["colour"]
    assert colour["answered"] == 1
    assert colour["risks"][0] == {
        "answered": 1.0,
        "threshold": pytest.approx(colour["risks"][0]["threshold"]),
        "risk": pytest.approx(1 - every["scores"]["colour/top1"][0]),
    }
    least = colour["risks"][-1]["threshold"]
    told, some = evaluate("some.json", "--abstain", least)
    assert "answered: colour" in told.out
    answered = some["certainty"]["colour"]["answered"]
    assert answered == pytest.approx(colour["risks"][-1]["answered"])
    assert 0 < answered < 1
    # The accuracy of the rest, and certainty still of all rows.
    assert some["scores"]["colour/top1"][0] == pytest.approx(1 - colour["risks"][-1]["risk"], abs=1e-6)
    assert some["certainty"]["colour"]["calibration_error"] == colour["calibration_error"]
    table = cli("predict", trained_run, shared_squares / "labels.csv", "--csv", tmp_path / "p.csv", "--abstain", least, "--workers", 0)
    assert table.code == 0
    frame = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert (frame["colour"] != "").mean() == pytest.approx(answered)
    kept = frame[frame["code"] != ""]
    right = (kept["colour"] == kept["colour_input"]) & (kept["size"] == kept["Size"])
    assert some["scores"]["code/top1"][0] == pytest.approx(right.mean(), abs=1e-6)


def test_evaluate_tells_what_was_fitted_on_the_rows_it_scores_and_which_heads_answered_nothing(cli, trained_run, shared_squares, tmp_path):
    shift = {"asked": "offsets", "used": "offsets", "offsets": {"colour": [0.0, 0.0, 0.0], "size": [0.0, 0.0]}, "reason": "offsets 0.402, argmax 0.3"}
    run = described(trained_run, tmp_path / "offsets", decode=shift)
    for name in ("config.yaml", "splits.csv", "status.json"):
        shutil.copyfile(trained_run / name, run / name)
    result = cli("evaluate", run, shared_squares, "--workers", 0)
    assert result.code == 0, result.err
    assert "decode: offsets was fitted on these rows, so that scores flatter (offsets 0.402, argmax 0.3)" in " ".join(result.err.split())
    _, table = predict(cli, trained_run, shared_squares, tmp_path / "all.csv")
    most = table[["colour_confidence", "size_confidence"]].max()
    second = most.idxmax().removesuffix("_confidence")
    result = cli("evaluate", trained_run, shared_squares / "labels.csv", "--workers", 0, "--abstain", most.min() + 1e-4)
    assert result.code == 0, result.err
    assert "unanswered" in result.out and "no labels" not in result.out
    assert re.search(rf"mean of .*\b{second}\b", " ".join(result.out.split())) and "mean of heads" not in result.out


def test_evaluate_refuses_the_same_rules_as_predict(cli, trained_run, shared_squares):
    refused = cli("evaluate", trained_run, shared_squares / "labels.csv", "--abstain", 2)
    assert refused.code == 2
    assert "--abstain: expected a confidence from 0 to 1" in refused.err


def test_the_report_shows_reliability_before_and_after_and_the_risk_at_a_few_coverages(cli, trained_run, tmp_path):
    out = tmp_path / "report.html"
    assert cli("report", trained_run, "--out", out).code == 0
    page = out.read_text()
    assert 'id="certainty"' in page
    assert "cross-fitted" in page and "ECE after" in page
    assert page.count('aria-label="Accuracy over confidence of') == page.count('aria-label="Accuracy over the share of rows') == 2
    assert "the task asks for argmax" in page


def test_adjusting_what_the_loss_corrected_already_is_told_of(cli, trained_run, pictures, tmp_path):
    heads = json.loads((trained_run / "model" / "model.json").read_text())["heads"]
    run = described(trained_run, tmp_path / "run", heads={**heads, "colour": {**heads["colour"], "loss": "balanced_softmax"}})
    result, _ = predict(cli, run, pictures, tmp_path / "p.csv", "--adjust", 1)
    assert result.code == 0
    assert "the loss of colour has learned to answer for even classes already" in result.err


def test_runs_of_different_heads_are_each_decoded_as_they_were_fitted(trained_run):
    whole = load_models([trained_run])[0]

    def of(head, **decode):
        parts = {"heads": {head: whole.description.heads[head]}, "decode": DecodeSpec.model_validate(decode), "combine": None}
        return replace(whole, description=whole.description.model_copy(update=parts))

    shift = {"asked": "offsets", "used": "offsets", "offsets": {"colour": [0.0, 0.0, 90.0]}}
    rules = check_rules([of("colour", **shift), of("size"), of("size", asked="offsets", reason="worse")], rows=1)
    assert (rules.decoder.kind, rules.decoder.offsets.keys(), rules.warnings) == ("offsets", {"colour"}, [])
    assert check_rules([of("colour"), of("size")], rows=1).decoder.kind == "argmax"
    joint = check_rules([of("colour", asked="joint", used="joint", code_counts=[1] * 6), of("size")], rows=1)
    assert joint.decoder.kind == "argmax" and "one is decoded jointly" in joint.warnings[0]


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_quota_on_the_code_of_rows_none_of_which_can_be_read_tells_the_rows(cli, trained_run, shared_squares, tmp_path, command):
    options = ("--csv", tmp_path / "p.csv") if command == "predict" else ()
    (tmp_path / "else").mkdir()
    for file in pd.read_csv(shared_squares / "labels.csv")["file"]:
        (tmp_path / "else" / file).touch()
    result = cli(command, trained_run, shared_squares / "labels.csv", *options, "--image-root", tmp_path / "else", "--quota", "uniform")
    if command == "evaluate":
        assert result.code == 2, result.err
        assert "no picture of its 80 rows can be read" in result.err
    else:
        assert result.code == 3, result.err
        assert set(pd.read_csv(tmp_path / "p.csv")["status"]) == {"unreadable"}


def test_slices_are_cut_by_labels_that_another_head_did_not_answer(cli, trained_run, shared_squares, tmp_path):
    # Nobody is sure of a size, and everybody of a colour.
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    file = run / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "temperatures": {"colour": 0.01, "size": 1000.0}}))
    result = cli("evaluate", run, shared_squares, "--abstain", 0.6, "--slices", tmp_path / "s.csv", "--workers", 0)
    assert result.code == 0, result.err
    table = pd.read_csv(tmp_path / "s.csv")
    assert set(table["head"]) == {"colour"}
    assert {"size small", "size large"} <= set(table["slice"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--submission",), "the task has no `submission:`"),
        (("--csv", "folder.csv"), "expected a file, found a folder"),
        (("--csv", "file/p.csv"), "is a file, so nothing can be written below it"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_before_a_picture_is_read(cli, trained_run, pictures, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("attrcls.runs.predict.predict_rows", lambda *args, **kwargs: pytest.fail("pictures were read"))
    result = cli("predict", described(trained_run, tmp_path / "run", submission={}), pictures, *options)
    assert result.code == 2
    assert says in result.err
