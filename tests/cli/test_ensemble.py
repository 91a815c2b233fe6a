"""`ensemble` through the real command line, on runs whose validation tables are written by hand; and the selection itself."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from attrcls.runs.ensemble import mean, select

COLUMNS = ["colour_p_red", "colour_p_green", "colour_p_blue", "size_p_small", "size_p_large"]


def accuracy(targets):
    return lambda probabilities: float((probabilities["a"].argmax(axis=1) == targets).mean())


def greater(new, best):
    return best is None or new > best


def member(*right, sure=0.9):
    """Probabilities of the second of two classes, which is right everywhere, as far as it is seen."""
    return {"a": np.array([[1 - sure, sure] if each else [sure, 1 - sure] for each in right], dtype=np.float32)}


def test_selection_takes_what_corrects_the_best_and_leaves_out_what_harms():
    # Two that err in different places, one that is surer where it is wrong.
    first = {"a": np.array([[0.1, 0.9], [0.1, 0.9], [0.6, 0.4]], dtype=np.float32)}
    second = {"a": np.array([[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]], dtype=np.float32)}
    harmful = member(False, False, True)
    targets = np.array([1, 1, 1])
    assert select([first, second, harmful], accuracy(targets), better=greater) == [1, 1, 0]


def test_selection_is_with_replacement():
    # Twice the first outweighs the second where that errs, and once does not.
    first = {"a": np.array([[0.35, 0.65], [0.55, 0.45]], dtype=np.float32)}
    second = {"a": np.array([[0.75, 0.25], [0.15, 0.85]], dtype=np.float32)}
    assert accuracy([1, 1])(mean([first, second], [1, 1])) == 0.5
    assert select([first, second], accuracy([1, 1]), better=greater) == [2, 1]


def test_among_equals_the_first_alone_is_chosen_and_a_loss_is_minimised():
    assert select([member(True), member(True)], accuracy([1]), better=greater) == [1, 0]
    loss = lambda probabilities: float(-np.log(probabilities["a"][:, 1]).mean())  # noqa: E731
    smaller = lambda new, best: best is None or new < best  # noqa: E731
    assert select([member(False), member(True)], loss, better=smaller) == [0, 1]


@pytest.fixture
def runs(trained_run, tmp_path):
    """Three runs with the trained run's model, of which the second alone is right on most validation rows."""
    table = pd.read_csv(trained_run / "validation.csv")
    classes = {"colour": ["red", "green", "blue"], "size": ["small", "large"]}
    folders = []
    for number, share in enumerate((0.3, 0.9, 0.2)):
        folder = tmp_path / f"run{number}"
        shutil.copytree(trained_run, folder)
        generator, tensors = np.random.default_rng(number), {}
        for head, names in classes.items():
            values = np.full((len(table), len(names)), 0.1, dtype=np.float32)
            for row, given in enumerate(table[f"{head}_given"]):
                right = generator.random() < share
                values[row, (names.index(given) + (not right)) % len(names)] = 0.8
            tensors[head] = torch.from_numpy(values / values.sum(axis=1, keepdims=True))
        save_file(tensors, folder / "validation.safetensors")
        folders.append(folder)
    # So that predictions tell which model made them.
    weights = load_file(folders[2] / "model" / "weights.safetensors")
    save_file({name: value * 0.5 if "head" in name else value for name, value in weights.items()}, folders[2] / "model" / "weights.safetensors")
    return folders


def test_the_best_run_is_chosen_and_its_copy_predicts(cli, runs, shared_squares, tmp_path):
    result = cli("ensemble", *runs, "--out", tmp_path / "best", "--monitor", "colour/top1")
    assert result.code == 0, result.err
    told = json.loads((tmp_path / "best" / "ensemble.json").read_text())
    assert "2-run1" in [each["name"] for each in told["members"]]
    scores = json.loads((tmp_path / "best" / "status.json").read_text())["scores"]
    assert scores["ensemble"] > scores["mean_of_all"]
    for folder in runs:
        shutil.rmtree(folder)
    predicted = cli("predict", tmp_path / "best", shared_squares / "images" / "p00_0.jpg", "--csv", tmp_path / "out.csv", "--device", "cpu")
    assert predicted.code == 0, predicted.err
    scored = cli("evaluate", tmp_path / "best", shared_squares, "--device", "cpu", "--workers", 0)
    assert scored.code == 0 and "val split" in scored.out
    assert "an ensemble has no report" in cli("report", tmp_path / "best").err


def test_weights_of_an_ensemble_weigh_its_predictions(cli, runs, shared_squares, tmp_path):
    def predict(run):
        result = cli("predict", run, shared_squares / "images" / "p00_0.jpg", "--csv", tmp_path / "out.csv", "--probabilities", "--device", "cpu")
        assert result.code == 0, result.err
        return pd.read_csv(tmp_path / "out.csv")[COLUMNS].to_numpy()

    both = tmp_path / "both"
    both.mkdir()
    for name, run in (("a", runs[0]), ("b", runs[2])):
        shutil.copytree(run, both / name)
    told = {"format_version": 1, "members": [{"name": "a", "weight": 3}, {"name": "b", "weight": 1}]}
    (both / "ensemble.json").write_text(json.dumps(told))
    first, second = predict(runs[0]), predict(runs[2])
    assert np.abs(first - second).max() > 0.01
    assert predict(both) == pytest.approx(0.75 * first + 0.25 * second, abs=2e-4)


def test_runs_that_cannot_be_compared_are_refused(cli, runs, tmp_path):
    def refused(*options):
        result = cli("ensemble", *options)
        assert result.code == 2, result.out
        assert not (tmp_path / "e").exists()
        return result.err

    out = ("--out", tmp_path / "e")
    assert "two runs or more" in refused(runs[0], *out)
    assert "did you mean" in refused(*runs, *out, "--monitor", "colour/topl")
    assert "lies in it" in refused(*runs, "--out", tmp_path)
    assert "no such file" in refused(runs[0], tmp_path / "nothere", *out)
    (runs[2] / "validation.safetensors").unlink()
    assert "validation.safetensors is missing" in refused(*runs, *out)
    table = pd.read_csv(runs[1] / "validation.csv")
    other = table.assign(colour_given="red")
    other.to_csv(runs[1] / "validation.csv", index=False)
    assert "other labels for the same validation rows" in refused(*runs[:2], *out)
    table.assign(row_id=[f"x{row}" if row else table["row_id"][0] for row in range(len(table))]).to_csv(runs[1] / "validation.csv", index=False)
    assert "1 of them the same" in refused(*runs[:2], *out)
    table.iloc[1:].to_csv(runs[1] / "validation.csv", index=False)
    assert "does not fit its model" in refused(*runs[:2], *out)


@pytest.mark.parametrize("monitor", ["size/f1", "size/val_loss", "code/f1"])
def test_a_score_that_no_validation_row_has_labels_for_chooses_nothing(cli, runs, tmp_path, monitor):
    for run in runs:
        table = pd.read_csv(run / "validation.csv", dtype=str, keep_default_na=False)
        table.assign(size_given="").to_csv(run / "validation.csv", index=False)
    result = cli("ensemble", *runs, "--out", tmp_path / "e", "--monitor", monitor)
    assert result.code == 2
    assert f"{monitor}: no validation row has the labels for it" in result.err and "colour/f1" in result.err
    assert not (tmp_path / "e" / "status.json").exists()
    assert cli("ensemble", *runs, "--out", tmp_path / "e", "--monitor", "val_loss").code == 0


def test_an_ensemble_is_not_replaced_unless_asked(cli, runs, tmp_path):
    assert cli("ensemble", *runs, "--out", tmp_path / "e").code == 0
    assert "--overwrite" in cli("ensemble", *runs, "--out", tmp_path / "e").err
    assert cli("ensemble", *runs, "--out", tmp_path / "e", "--overwrite", "--monitor", "val_loss").code == 0
    assert json.loads((tmp_path / "e" / "status.json").read_text())["monitor"] == "val_loss"


def test_runs_that_watch_an_ordinal_heads_distance_are_chosen_by_it(cli, runs, tmp_path):
    for run in runs:
        model, config = run / "model" / "model.json", run / "config.yaml"
        told = json.loads(model.read_text())
        told["heads"]["colour"] |= {"kind": "ordinal", "ordinal": "soft"}
        model.write_text(json.dumps(told))
        task = yaml.safe_load(config.read_text())
        task["task"]["monitor"] = "colour/mae"
        config.write_text(yaml.safe_dump(task))
    result = cli("ensemble", *runs, "--out", tmp_path / "best")
    assert result.code == 0, result.err
    scores = json.loads((tmp_path / "best" / "status.json").read_text())["scores"]
    assert scores["ensemble"] <= scores["mean_of_all"]
