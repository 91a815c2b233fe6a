"""`average` through the real command line, on the trained run and copies of it whose weights were changed."""

import json
import shutil

import pandas as pd
import pytest
import torch
import yaml
from conftest import cut_sizes
from safetensors.torch import load_file, save_file

from attrcls.prediction.models import load_models
from attrcls.runs.average import mean_weights
from attrcls.runs.batches import labelled_batches
from attrcls.runs.prepare import prepare_data
from attrcls.task import load_plan

WEIGHTS = "model/weights.safetensors"


@pytest.fixture
def copies(trained_run, tmp_path):
    """Two runs: the trained one, and one whose weights all were changed a little, its BatchNorm statistics a lot."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        shutil.copytree(trained_run, folder)
    weights, generator = load_file(second / WEIGHTS), torch.Generator().manual_seed(0)
    changed = {
        key: value * 3 if "running" in key else value + 0.002 * torch.randn(value.shape, generator=generator) if value.is_floating_point() else value
        for key, value in weights.items()
    }
    save_file(changed, second / WEIGHTS)
    return first, second


def average(cli, *options, data, code=0):
    result = cli("average", *options, "--data", data, "--workers", 0, "--device", "cpu")
    assert result.code == code, result.err
    return result


@pytest.mark.parametrize("frozen", [False, True])
def test_the_average_is_a_run_with_mean_weights_and_statistics_of_its_own(cli, copies, shared_squares, tmp_path, frozen):
    config = yaml.safe_load((copies[0] / "config.yaml").read_text())
    config["task"]["trunk"]["freeze_bn"] = frozen
    (copies[0] / "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "soup"
    result = average(cli, *copies, "--out", out, "--precision", "32", data=shared_squares)
    first, second, made = (load_file(folder / WEIGHTS) for folder in (*copies, out))
    for key, value in made.items():
        if value.is_floating_point() and "running" not in key:
            assert torch.allclose(value, (first[key] + second[key]) / 2, atol=1e-6), key
    means, variances = first_statistics(out, shared_squares)
    assert torch.allclose(made["trunk.bn1.running_mean"], means, atol=1e-4)
    assert torch.allclose(made["trunk.bn1.running_var"], variances, rtol=1e-3)
    assert "average (2)" in result.out
    table = pd.read_csv(out / "validation.csv")
    assert len(table) == 12
    right = (table["colour"] == table["colour_given"]).mean()
    assert json.loads((out / "model" / "model.json").read_text())["scores"]["colour/top1"] == pytest.approx(right)
    assert json.loads((out / "status.json").read_text())["averaged"] == ["first", "second"]
    assert cli("report", out).code == 0
    assert cli("predict", out, shared_squares / "images" / "p00_0.jpg", "--csv", tmp_path / "out.csv", "--device", "cpu").code == 0
    assert "--overwrite" in average(cli, *copies, "--out", out, data=shared_squares, code=2).err


def first_statistics(run, squares, *, without=()):
    """Mean and variance of what comes into a run's first BatchNorm from the train rows, by hand: each batch's, and their mean."""
    plan = load_plan(str(squares / "squares.task.yaml"))
    rows = prepare_data(plan, [squares]).manifest.of_split("train")
    rows = rows.take([place for place, name in enumerate(rows.frame["row_id"]) if name not in without])
    train = labelled_batches(rows, plan, plan.task, workers=0)
    network = load_models([run])[0].network
    with torch.no_grad():
        seen = [network.trunk.conv1(network.normalised(batch.images)) for batch in train.epoch(0)]
    return torch.stack([each.mean((0, 2, 3)) for each in seen]).mean(0), torch.stack([each.var((0, 2, 3)) for each in seen]).mean(0)


def test_the_average_of_a_run_with_itself_predicts_what_it_does(cli, trained_run, shared_squares, tmp_path):
    average(cli, trained_run, trained_run, "--out", tmp_path / "soup", data=shared_squares)
    # Statistics that do not differ stay.
    before, after = load_file(trained_run / WEIGHTS), load_file(tmp_path / "soup" / WEIGHTS)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert pd.read_csv(tmp_path / "soup" / "validation.csv").equals(pd.read_csv(trained_run / "validation.csv"))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_an_average_is_judged_by_the_very_losses_that_its_runs_learned_by(cli, few_squares, tmp_path, keep):
    folder = shutil.copytree(few_squares, tmp_path / "numbers")
    cut_sizes(folder)
    options = ["trunk.name=squeezenet1_1", "heads.size.kind=ordinal", "heads.size.ordinal=soft", "heads.size.loss_options={sigma: 2, beta: 0.9}"]
    # Weights of scarce classes from the second epoch on, which is the kept one or not: it is no better where nothing is learned.
    options += ["heads.colour.loss=ldam", "heads.colour.loss_options={deferred: 0.5, beta: 0.9}", "heads.colour.label_smoothing=0", f"keep={keep}"]
    options += ["monitor=mean/top1", "optimiser.lr=1e-12"]
    settings = [part for option in options for part in ("--set", option)]
    run = tmp_path / "run"
    trained = cli("train", folder / "squares.task.yaml", "--out", run, "--workers", 0, "--freeze", "--epochs", 2, "--device", "cpu", *settings)
    assert trained.code == 0, trained.err
    average(cli, run, run, "--out", tmp_path / "soup", data=folder)
    kept_epoch = json.loads((run / "status.json").read_text())["kept_epoch"]
    assert kept_epoch == (1 if keep == "best" else 2)
    kept = pd.read_csv(run / "metrics.csv").iloc[kept_epoch - 1]
    soup = pd.read_csv(tmp_path / "soup" / "metrics.csv").iloc[0]
    for loss in ("val_loss", "size/val_loss", "colour/val_loss"):
        assert soup[loss] == pytest.approx(kept[loss], rel=1e-3), loss
    other = tmp_path / "other"
    with_bias = [part for option in options if "colour" not in option for part in ("--set", option)]
    assert cli("train", folder / "squares.task.yaml", "--out", other, "--workers", 0, "--freeze", "--epochs", 1, *with_bias).code == 0
    refused = average(cli, run, other, "--out", tmp_path / "both", data=folder, code=2)
    assert "has other weights than" in refused.err and "head_colour" in refused.err


def test_labels_are_those_that_the_runs_had_and_rows_that_they_left_out_give_no_statistics(cli, copies, shared_squares, tmp_path):
    dropped: list[str] = []
    for run in copies:
        table = pd.read_csv(run / "splits.csv", dtype=str)
        rows = table.index[table["split"] == "train"][:30]
        table.loc[rows, ["colour", "size"]] = ""
        table.to_csv(run / "splits.csv", index=False)
        dropped = table["row_id"][rows].tolist()
    average(cli, *copies, "--out", tmp_path / "soup", "--precision", "32", data=shared_squares)
    made = load_file(tmp_path / "soup" / WEIGHTS)
    means, _ = first_statistics(tmp_path / "soup", shared_squares, without=dropped)
    assert torch.allclose(made["trunk.bn1.running_mean"], means, atol=1e-4)
    left = pd.read_csv(tmp_path / "soup" / "splits.csv", keep_default_na=False)
    assert set(left["row_id"][left["colour"] == ""]) == set(dropped)
    (copies[0] / "splits.csv").write_text((copies[0] / "splits.csv").read_text().replace("red", "rad"))
    told = average(cli, *copies, "--out", tmp_path / "other", data=shared_squares, code=2)
    assert "splits.csv: column colour: expected one of red, green, blue, found 'rad'" in told.err


def test_the_average_tells_how_its_runs_labels_were_cleaned_and_balanced(cli, copies, shared_squares, tmp_path):
    done = {"head": "colour", "class": "red", "labels": 23, "dropped": 2, "relabelled": 0, "kept": 0, "elsewhere": 0}
    for folder in copies:
        config, status = yaml.safe_load((folder / "config.yaml").read_text()), json.loads((folder / "status.json").read_text())
        config["run"]["decisions"] = {"file": "verdicts.csv", "digest": "0", "done": [done]}
        config["task"]["balance"] = {"heads": ["size"]}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "status.json").write_text(json.dumps({**status, "decisions": "colour: 2 dropped of 68"}))
    average(cli, *copies, "--out", tmp_path / "soup", data=shared_squares)
    card = (tmp_path / "soup" / "model" / "README.md").read_text()
    assert "| colour | red | 23 | 2 | 0 |" in card
    assert "used as given" not in card and "not balanced" not in card
    assert json.loads((tmp_path / "soup" / "status.json").read_text())["decisions"] == "colour: 2 dropped of 68"


def test_runs_of_other_labels_are_told_of(cli, copies, shared_squares, tmp_path):
    splits = pd.read_csv(copies[1] / "splits.csv", keep_default_na=False)
    splits.loc[splits.index[splits["split"] == "train"][0], "colour"] = ""
    splits.to_csv(copies[1] / "splits.csv", index=False)
    assert "second was trained on other labels than" in average(cli, *copies, "--out", tmp_path / "soup", data=shared_squares).err
    splits.drop(columns="colour").to_csv(copies[1] / "splits.csv", index=False)
    assert "second was trained on other labels than" in average(cli, *copies, "--out", tmp_path / "other", data=shared_squares).err


def test_greedy_leaves_out_a_run_that_spoils_the_soup(cli, copies, shared_squares, tmp_path):
    first, bad = copies
    weights = load_file(bad / WEIGHTS)
    generator = torch.Generator().manual_seed(1)
    spoiled = {key: torch.randn(value.shape, generator=generator) * 5 if "head" in key else value for key, value in weights.items()}
    save_file(spoiled, bad / WEIGHTS)
    for run, score in ((first, 0.9), (bad, 0.1)):
        model = json.loads((run / "model" / "model.json").read_text())
        (run / "model" / "model.json").write_text(json.dumps({**model, "scores": {**model["scores"], "mean/f1": score}}))
    everything = average(cli, first, bad, "--out", tmp_path / "all", data=shared_squares)
    assert "the average is worse than the best run alone" in everything.err
    greedy = average(cli, first, bad, "--out", tmp_path / "greedy", "--greedy", data=shared_squares)
    assert "average (1)" in greedy.out and "left out" in greedy.out


def test_runs_that_have_no_common_average_are_refused(cli, copies, shared_squares, tmp_path):
    first, second = copies
    out = ("--out", tmp_path / "soup")
    assert "two runs or more" in average(cli, first, *out, data=shared_squares, code=2).err
    assert "lies in it" in average(cli, first, second, "--out", first, "--overwrite", data=shared_squares, code=2).err
    assert (first / WEIGHTS).exists()
    assert "rows of" in average(cli, first, second, *out, data=empty_table(shared_squares, tmp_path), code=2).err
    table = pd.read_csv(second / "splits.csv")
    table.assign(split=table["split"].map({"train": "val", "val": "train"})).to_csv(second / "splits.csv", index=False)
    assert "other splits" in average(cli, first, second, *out, data=shared_squares, code=2).err
    model = json.loads((second / "model" / "model.json").read_text())
    (second / "model" / "model.json").write_text(json.dumps({**model, "image": {**model["image"], "px": 64}}))
    assert "another image" in average(cli, first, second, *out, data=shared_squares, code=2).err
    assert not (tmp_path / "soup").exists()


def test_statistics_are_estimated_under_the_recipes_of_scarce_groups_and_a_group_that_was_damaged_is_refused(cli, copies, shared_squares, tmp_path):
    file = copies[0] / "config.yaml"
    config, means = yaml.safe_load(file.read_text()), []
    for name, label in (("soup", None), ("scarce", "small"), ("damaged", "smal")):
        scarce = {"few": {"where": {"size": label}, "augment": "strong"}} if label else None
        file.write_text(yaml.safe_dump({**config, "task": {**config["task"], "scarce": scarce}}))
        told = average(cli, *copies, "--out", tmp_path / name, "--precision", "32", data=shared_squares, code=2 if label == "smal" else 0)
        means += [load_file(tmp_path / name / WEIGHTS)["trunk.bn1.running_mean"]] if told.code == 0 else []
    assert "config.yaml: scarce.few.where.size: expected one of small, large, found 'smal'; did you mean 'small'?" in told.err
    assert not torch.equal(*means)


def empty_table(squares, folder):
    """The data folder with half of its rows."""
    shutil.copytree(squares, folder / "half")
    pd.read_csv(squares / "labels.csv").iloc[:40].to_csv(folder / "half" / "labels.csv", index=False)
    return folder / "half"


def test_counters_are_not_averaged():
    states = [{"weight": torch.tensor([1.0, 2.0]), "batches": torch.tensor(3)}, {"weight": torch.tensor([3.0, 5.0]), "batches": torch.tensor(8)}]
    mixed = mean_weights(states)
    assert mixed["weight"].tolist() == [2.0, 3.5] and mixed["batches"].item() == 3
