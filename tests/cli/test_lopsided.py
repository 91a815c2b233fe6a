"""Losses for lopsided classes and ordinal heads through the real command line: trained, predicted, and not used for cleaning."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import cut_sizes
from safetensors.torch import load_file

from attrcls.data.tables import read_table

SMALL = ("--set", "trunk.name=shufflenet_v2_x0_5", "--workers", 0)


def train(cli, folder, out, *options):
    return cli("train", folder / "squares.task.yaml", "--out", out, *SMALL, *options)


def settings(*assignments: str) -> list[str]:
    return [part for assignment in assignments for part in ("--set", assignment)]


def test_a_model_under_margins_is_trained_and_predicts(cli, few_squares, tmp_path):
    run = tmp_path / "run"
    trained = train(
        cli, few_squares, run, "--freeze", "--epochs", 2,
        *settings("heads.colour.loss=ldam", "heads.colour.loss_options.deferred=0.5", "heads.size.loss=asymmetric"),
        *settings("ema=0.9", "loss_balance=uncertainty"),
    )  # fmt: skip
    assert trained.code == 0, trained.err
    head = json.loads((run / "model" / "model.json").read_text())["heads"]["colour"]
    assert (head["loss"], head["loss_options"]) == ("ldam", {"deferred": 0.5})
    predicted = cli("predict", run, few_squares / "labels.csv", "--image-root", few_squares / "images", "--csv", tmp_path / "out.csv", "--workers", 0)
    assert predicted.code == 0, predicted.err
    table = pd.read_csv(tmp_path / "out.csv")
    assert len(table) == 12
    assert table["colour_confidence"].between(1 / 3, 1).all()


def test_classes_are_counted_after_cleaning(cli, few_squares, tmp_path, monkeypatch):
    import attrcls.runs.train as home

    counted = []
    real = home.build_network
    monkeypatch.setattr(home, "build_network", lambda task, counts, **rest: counted.append(counts) or real(task, counts, **rest))
    assert train(cli, few_squares, tmp_path / "all", "--epochs", 1, "--freeze").code == 0
    splits = read_table(tmp_path / "all" / "splits.csv")
    red = splits[(splits["split"] == "train") & (splits["colour"] == "red")].iloc[0]
    decisions = tmp_path / "decisions.csv"
    pd.DataFrame([{**red[["card", "row_id"]], "head": "colour", "given_label": "red", "decision": "drop_label"}]).to_csv(decisions, index=False)
    result = train(cli, few_squares, tmp_path / "some", "--epochs", 1, "--freeze", "--decisions", decisions)
    assert result.code == 0, result.err
    assert np.subtract(counted[0]["colour"], counted[1]["colour"]).tolist() == [1, 0, 0]


def test_a_class_counts_as_often_as_its_cards_rows_are_drawn(cli, few_squares, tmp_path):
    drawn = settings("cards=[{card: squares.card.yaml, ratio: 3.0}]", "heads.colour.loss=balanced_softmax")
    result = train(cli, few_squares, tmp_path / "run", "--freeze", "--epochs", 1, *drawn)
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    rows = splits[splits["split"] == "train"]["colour"].value_counts()
    counts = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["class_counts"]["colour"]
    assert counts == [3 * int(rows[name]) for name in ("red", "green", "blue")]


def test_cleaning_watches_plain_cross_entropy_whatever_the_task_trains_with(cli, few_squares, tmp_path):
    margins = []
    other = settings("heads.colour.loss=ldam", "heads.size.kind=ordinal", "loss_balance=famo", "mix={mixup: 1, cutmix: 1}")
    other += settings("scarce={small: {where: {size: small}, augment: strong}}")
    for name, options in (("plain", []), ("lopsided", other)):
        out = tmp_path / name
        result = cli("clean-labels", few_squares / "squares.task.yaml", "--out", out, "--fast", *SMALL, *options)
        assert result.code == 0, result.err
        margins.append((out / "aum_values.csv").read_bytes())
    assert margins[0] == margins[1]


def test_ordinal_heads_are_trained_judged_by_their_distance_and_predict(cli, few_squares, tmp_path):
    run = tmp_path / "run"
    heads = settings("mix={mixup: 0.4}", "heads.colour.kind=ordinal", "heads.size.kind=ordinal", "heads.size.ordinal=coral", "monitor=colour/mae")
    trained = train(cli, few_squares, run, "--freeze", "--epochs", 3, *heads)
    assert trained.code == 0, trained.err
    metrics = pd.read_csv(run / "metrics.csv")
    assert {"colour/mae", "size/mae", "colour/top1"} <= set(metrics.columns)
    assert json.loads((run / "status.json").read_text())["best_epoch"] == metrics["epoch"][metrics["colour/mae"].idxmin()]
    asked = ("--image-root", few_squares / "images", "--workers", 0)
    predicted = cli("predict", run, few_squares / "labels.csv", *asked, "--csv", tmp_path / "out.csv")
    assert predicted.code == 0, predicted.err
    table = pd.read_csv(few_squares / "labels.csv").rename(columns={"colour": "given", "Size": "given_size"})
    table = table.merge(pd.read_csv(tmp_path / "out.csv").drop(columns="Size"), on="file")
    evaluated = cli("evaluate", run, few_squares / "labels.csv", *asked, "--json", tmp_path / "scores.json")
    assert evaluated.code == 0, evaluated.err
    order = ["red", "green", "blue"]
    by_hand = (table["given"].map(order.index) - table["colour"].map(order.index)).abs().mean()
    assert json.loads((tmp_path / "scores.json").read_text())["scores"]["colour/mae"][0] == pytest.approx(by_hand)
    assert "classes off on average" in evaluated.out


@pytest.mark.parametrize("options", [("--freeze", "--sweep-lr", "0.003,0.03"), ("image.px=32", "mix={mixup: 0.4}")])
def test_a_head_is_taught_by_numbers_near_their_cut_points_and_predicts_classes(cli, few_squares, tmp_path, options):
    folder = shutil.copytree(few_squares, tmp_path / "numbers")
    cut_sizes(folder)
    by_number = settings("heads.size.kind=ordinal", "heads.size.ordinal=soft", "heads.size.loss_options.temperature=0.01")
    flags = [*options] if options[0].startswith("--") else settings(*options)
    first_losses = []
    for name, sigma in (("hard", ()), ("soft", ("heads.size.loss_options.sigma=2",))):
        trained = train(cli, folder, tmp_path / name, "--epochs", 2, *by_number, *settings(*sigma), *flags)
        assert trained.code == 0, trained.err
        assert ("have the number behind their class: size 10 of 10" in trained.err) == bool(sigma)
        first_losses.append(pd.read_csv(tmp_path / name / "metrics.csv")["size/val_loss"][0])
    assert first_losses[0] != first_losses[1]
    predicted = cli("predict", tmp_path / "soft", folder / "images", "--csv", tmp_path / "out.csv", "--workers", 0)
    assert predicted.code == 0, predicted.err
    assert set(pd.read_csv(tmp_path / "out.csv")["size"]) <= {"small", "large"}


def test_samples_of_rare_classes_are_made_in_training_and_leave_no_trace_in_the_model(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv", dtype=str)
    table.loc[table.index[table["colour"] == "blue"][6:], "colour"] = ""
    table.to_csv(squares / "labels.csv", index=False)
    run = tmp_path / "run"
    options = settings("rsg.head=colour", "rsg.deferred=0.5", "heads.colour.loss=ldam", "batch_size=24", "image.px=48")
    trained = cli("train", squares / "squares.task.yaml", "--out", run, "--workers", 0, "--epochs", 2, *options)
    assert trained.code == 0, trained.err
    kept, left = (load_file(run / place) for place in ("checkpoints/last.safetensors", "model/weights.safetensors"))
    moved = kept["network.rare_samples.centres"].abs().amax(dim=(1, 2))
    assert (moved > 0).all()
    assert not [key for key in left if "rare" in key]
    predicted = cli("predict", run, squares / "images", "--csv", tmp_path / "out.csv", "--workers", 0)
    assert predicted.code == 0, predicted.err
