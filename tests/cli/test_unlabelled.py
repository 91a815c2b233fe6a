"""Training that also learns from pictures without labels, through the real command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import draw_square, draw_squares, stopped_after

from attrcls.runs import batches
from attrcls.runs.prepare import prepare_data
from attrcls.runs.unlabelled import parted_workers
from attrcls.task import load_plan
from attrcls.tensors import load_tensors

# A trunk that is quick to start.
QUICK = ("--set", "trunk.name=squeezenet1_1", "--workers", 0, "--epochs", 2, "--batch-size", 8)


@pytest.fixture
def blanks(tmp_path: Path) -> Path:
    """Twenty-four pictures: a third of the sizes are blank, and two pictures have no label at all."""
    folder = tmp_path / "squares"
    table = draw_squares(folder, people=8, each=3)
    table.loc[table.index % 3 == 0, "Size"] = ""
    table.loc[[0, 3], "colour"] = ""
    table.to_csv(folder / "labels.csv", index=False)
    return folder


def train(cli, folder: Path, out: Path, *options):
    return cli("train", folder / "squares.task.yaml", "--out", out, *QUICK, *options)


def test_blank_labels_teach_their_own_head_and_the_run_says_how_many_and_how_many_counted(cli, blanks, tmp_path):
    # A confidence of nothing: all pictures count from the first step.
    result = train(cli, blanks, tmp_path / "run", "--set", "unlabelled={method: uda, confidence: 0, ratio: 0.5}")
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv", keep_default_na=False)
    in_train = splits[splits["split"] == "train"]
    lacking = {head: int((in_train[head] == "").sum()) for head in ("colour", "size")}
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["unlabelled_rows"] == {head: count for head, count in lacking.items() if count}
    assert status["train_rows"] == int((in_train[["colour", "size"]] != "").any(axis=1).sum())
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert (metrics["size/unlabelled_used"] == 1).all()
    assert (metrics["size/unlabelled_loss"] > 0).all()
    assert f"uda; rows without a label: colour {lacking['colour']}, size {lacking['size']}; 4 of {lacking['size']} a step" in result.err
    assert "size used" in result.err


def test_train_rows_without_any_label_are_left_out_and_told_of_where_nothing_learns_from_them(cli, blanks, tmp_path):
    result = train(cli, blanks, tmp_path / "run", "--heads", "size")
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv", keep_default_na=False)
    sizes = splits["size"][splits["split"] == "train"]
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert 0 < status["train_rows"] == (sizes != "").sum() < len(sizes)
    told = f"{(sizes == '').sum()} train rows are left out: they have no label of size, and nothing else learns from them; --set unlabelled=uda would"
    assert told in result.err
    both = train(cli, blanks, tmp_path / "both", "--set", "unlabelled=uda")
    assert both.code == 0 and "left out" not in both.err


def test_a_head_that_is_left_out_learns_from_labels_alone(cli, blanks, tmp_path):
    assert train(cli, blanks, tmp_path / "run", "--set", "unlabelled={method: fixmatch, heads: [size]}").code == 0
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert "size/unlabelled_loss" in metrics
    assert "colour/unlabelled_loss" not in metrics


@pytest.mark.parametrize("options", [("unlabelled=freematch",), ("unlabelled={method: uda, tsa: log}", "trunk.freeze=true")], ids=["free", "frozen"])
def test_a_stopped_training_resumes_to_the_same_weights_thresholds_and_metrics(cli, blanks, tmp_path, options):
    options = [part for option in options for part in ("--set", option)]
    assert train(cli, blanks, tmp_path / "whole", *options).code == 0
    with stopped_after(1):
        assert train(cli, blanks, tmp_path / "run", *options).code == 130
    assert train(cli, blanks, tmp_path / "run", "--resume", *options).code == 0
    whole, resumed = (load_tensors(tmp_path / name / "checkpoints" / "last.safetensors")[0] for name in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all((whole[key] == resumed[key]).all() for key in whole)
    assert ("running.size" in whole) == ("unlabelled=freematch" in options)
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "run" / "metrics.csv").read_bytes()


def test_workers_and_a_cache_change_no_bit(cli, blanks, tmp_path):
    options = ("--set", "unlabelled=uda")
    assert train(cli, blanks, tmp_path / "plain", *options).code == 0
    for name, more in (("cached", ("--cache", tmp_path / "pixels")), ("again", ("--cache", tmp_path / "pixels", "--workers", 2))):
        assert train(cli, blanks, tmp_path / name, *options, *more).code == 0
        assert (tmp_path / name / "metrics.csv").read_bytes() == (tmp_path / "plain" / "metrics.csv").read_bytes()


def test_worker_processes_are_parted_by_how_much_each_kind_of_batch_decodes(few_squares):
    task = load_plan(str(few_squares / "squares.task.yaml"), overrides=["unlabelled={ratio: 1.5}"]).task
    assert [parted_workers(task, workers) for workers in (0, 1, 4, 8)] == [(0, 0), (1, 1), (1, 3), (2, 6)]
    assert parted_workers(task.model_copy(update={"unlabelled": None}), 4) == (4, 0)


def test_pictures_kept_on_the_device_need_a_recipe_that_it_knows(cli, blanks, tmp_path):
    refused = train(cli, blanks, tmp_path / "run", "--set", "unlabelled=uda", "--cache", "device")
    assert refused.code == 2
    assert "unlabelled.strong: --cache device cannot do SomeOf, of which the recipe randaugment is made" in refused.err
    assert "use --cache DIR, or another recipe: none, flip, crop" in refused.err
    trained = train(cli, blanks, tmp_path / "run", "--set", "unlabelled={strong: strong}", "--cache", "device", "--overwrite")
    assert trained.code == 0, trained.err
    assert "size/unlabelled_used" in pd.read_csv(tmp_path / "run" / "metrics.csv")


def test_a_card_of_pictures_alone_teaches_every_head_and_is_never_validated_on(cli, tmp_path):
    folder = tmp_path / "squares"
    draw_squares(folder, people=6, each=2)
    for number in range(6):
        draw_square(folder / "more" / f"{number}.jpg", colour="red", large=True, seed=100 + number)
    pd.DataFrame({"file": [f"{number}.jpg" for number in range(6)]}).to_csv(folder / "more.csv", index=False)
    (folder / "more.card.yaml").write_text("root: .\ntables: [more.csv]\nimages: {root: more, column: file}\nattributes: {}\n")
    task = (folder / "squares.task.yaml").read_text().replace("[squares.card.yaml]", "[squares.card.yaml, more.card.yaml]")
    (folder / "squares.task.yaml").write_text(task + "unlabelled: fixmatch\n")
    assert cli("data", folder / "squares.task.yaml", "--no-duplicates").code == 0
    result = train(cli, folder, tmp_path / "run", "--epochs", 1)
    assert result.code == 0, result.err
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["unlabelled_rows"] == {"colour": 6, "size": 6}
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    assert splits.loc[splits["card"] == "more", "split"].tolist() == ["train"] * 6
    assert set(pd.read_csv(tmp_path / "run" / "validation.csv")["card"]) == {"squares"}
    assert cli("report", tmp_path / "run").code == 0


def test_labels_that_cleaning_dropped_are_learned_from_as_unlabelled_pictures(cli, few_squares, tmp_path):
    assert train(cli, few_squares, tmp_path / "first", "--epochs", 1).code == 0
    rows = pd.read_csv(tmp_path / "first" / "splits.csv").query("split == 'train'").head(3)
    decisions = pd.DataFrame(
        {"card": rows["card"], "row_id": rows["row_id"], "head": "colour", "given_label": rows["colour"], "decision": "drop_label"}
    )
    decisions.to_csv(tmp_path / "decisions.csv", index=False)
    result = train(cli, few_squares, tmp_path / "run", "--epochs", 1, "--set", "unlabelled=uda", "--decisions", tmp_path / "decisions.csv")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["unlabelled_rows"] == {"colour": 3}


def test_cleaning_looks_at_labels_alone(cli, blanks, tmp_path):
    for name, options in (("plain", ()), ("asked", ("--set", "unlabelled={method: uda, tsa: exp}"))):
        done = cli("clean-labels", blanks / "squares.task.yaml", "--out", tmp_path / name, "--fast", *QUICK[:4], *options)
        assert done.code == 0, done.err
    assert (tmp_path / "plain" / "aum_values.csv").read_bytes() == (tmp_path / "asked" / "aum_values.csv").read_bytes()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("unlabelled=uda", "unlabelled: every train row has a label of colour, size, so there is nothing to learn from without one"),
        ("unlabelled={heads: [size]}", "every train row has a label of size, so there is nothing to learn from without one; leave it out"),
        ("unlabelled=fixmach", "unlabelled.method: expected one of uda, fixmatch, freematch, found 'fixmach'; did you mean 'fixmatch'"),
        ("unlabelled={heads: [sise]}", "unlabelled.heads: no head 'sise'; did you mean 'size'"),
        ("unlabelled={heads: [size, size]}", "unlabelled.heads: expected each head once"),
        ("unlabelled={strong: randagment}", "unlabelled.strong: expected one of"),
        ("unlabelled={weak: [{name: Blurr}]}", "unlabelled.weak.0"),
        ("unlabelled={method: fixmatch, temperature: 0.4}", "unlabelled.temperature: fixmatch knows none"),
        ("unlabelled={confidence: 1}", "unlabelled.confidence: expected less than 1, found 1"),
        ("unlabelled={tsa: cosine}", "unlabelled.tsa: expected 'linear', 'log' or 'exp', found 'cosine'"),
        ("unlabelled={ratio: 0}", "unlabelled.ratio: expected greater than 0"),
        ("unlabelled={confidnce: 0.5}", "unlabelled.confidnce: unknown key; did you mean 'confidence'"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_before_anything_is_written(cli, few_squares, tmp_path, setting, expected):
    refused = train(cli, few_squares, tmp_path / "run", "--set", setting)
    assert refused.code == 2
    assert expected in refused.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_labels_smoothed_below_what_counts_as_sure_are_told_of(cli, blanks, tmp_path):
    options = ("--epochs", 1, "--freeze", "--set", "unlabelled=fixmatch")
    result = train(cli, blanks, tmp_path / "run", *options)
    assert result.code == 0, result.err
    # Smoothed by 0.1 over three classes: 0.9 + 0.1 / 3. Of two classes 0.95, which is not above 0.95.
    assert "colour: labels smoothed by 0.1 teach it to be 0.933 sure, and fixmatch takes answers that it is 0.95 sure of" in result.err
    assert "size: labels smoothed by 0.1 teach it to be 0.95 sure" in result.err
    sharp = ("--set", "heads.colour.label_smoothing=0", "--set", "heads.size.label_smoothing=0")
    assert "labels smoothed" not in train(cli, blanks, tmp_path / "sharp", *options, *sharp).err


def test_the_loss_that_is_told_under_a_balancer_is_that_of_the_tasks_own_weights(cli, blanks, tmp_path):
    result = train(cli, blanks, tmp_path / "run", "--set", "loss_balance=famo", "--set", "heads.size.weight=2", "--set", "unlabelled=uda")
    assert result.code == 0, result.err
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["train_loss"].to_numpy() == pytest.approx((metrics["colour/train_loss"] + 2 * metrics["size/train_loss"]).to_numpy())


def test_a_finished_run_is_not_taken_for_one_of_other_decisions_and_its_own_inputs_are_not_replaced(cli, blanks, tmp_path):
    out, quick = tmp_path / "run", ("--epochs", 1, "--freeze", "--heads", "colour")
    assert train(cli, blanks, out, *quick).code == 0
    header = "card,row_id,head,given_label,decision\n"
    (tmp_path / "d.csv").write_text(header)
    assert "finished already" in train(cli, blanks, out, *quick, "--resume").err
    other = train(cli, blanks, out, *quick, "--resume", "--decisions", tmp_path / "d.csv")
    assert other.code == 2 and "started with other --decisions" in other.err
    limited = train(cli, blanks, out, *quick, "--resume", "--limit", 5)
    assert limited.code == 2 and "--limit was None and is now 5" in limited.err
    (out / "d.csv").write_text(header)
    inside = train(cli, blanks, out, *quick, "--overwrite", "--decisions", out / "d.csv")
    assert inside.code == 2 and f"--decisions {out / 'd.csv'} lies in --out {out}" in inside.err
    assert (out / "d.csv").exists() and (out / "model" / "weights.safetensors").exists()


def test_features_are_kept_of_no_more_views_than_memory_holds_those_of_others_included(squares, monkeypatch):
    plan = load_plan(str(squares / "squares.task.yaml"), changes={"trunk.freeze": True})
    manifest = prepare_data(plan, [squares]).manifest
    views = plan.task.trunk.frozen_views
    monkeypatch.setattr(batches, "_MOST_VIEWS", len(manifest) * views)
    assert batches.kept_views(plan, manifest) == views
    few = manifest.take(np.arange(1))
    assert batches.kept_views(plan, manifest, few) == 0
    monkeypatch.setattr(batches, "_MOST_VIEWS", len(manifest) * views + 1 + views)
    assert batches.kept_views(plan, manifest, few) == views
