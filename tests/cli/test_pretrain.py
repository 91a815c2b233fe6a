"""A trunk pretrained through the real command line, and a training that begins with it."""

import json

import numpy as np
import pandas as pd
import pytest

from attrcls.data.augment import Augmenter
from attrcls.data.loader import Draw, PictureDataset, Pictures
from attrcls.data.manifest import build_manifest
from attrcls.data.recipes import Recipes
from attrcls.data.rotation import turned_four_ways
from attrcls.runs.pretrain import pretext_plan
from attrcls.task import load_plan
from attrcls.tensors import load_tensors

QUICK = ("--set", "trunk.name=squeezenet1_1", "--workers", 0, "--epochs", 1, "--batch-size", 8)


def pretrain(cli, source, out, *options):
    return cli("pretrain", source, "--out", out, *QUICK, *options)


def test_a_trunk_pretrained_on_another_attribute_begins_a_training(cli, squares, tmp_path):
    task = squares / "squares.task.yaml"
    table = pd.read_csv(squares / "labels.csv")
    table.loc[table.index >= 30, "Size"] = ""
    table.to_csv(squares / "labels.csv", index=False)
    result = pretrain(cli, task, tmp_path / "size", "--on", "size", "--limit", 25)
    assert result.code == 0, result.err
    assert f"attrcls train TASK --weights {tmp_path / 'size'}" in result.out
    model = json.loads((tmp_path / "size" / "model" / "model.json").read_text())
    assert list(model["heads"]) == ["size"]
    splits = pd.read_csv(tmp_path / "size" / "splits.csv", keep_default_na=False)
    labelled = ((splits["split"] == "train") & (splits["size"] != "")).sum()
    assert json.loads((tmp_path / "size" / "status.json").read_text())["train_rows"] == labelled < 25
    assert splits.groupby("group")["split"].nunique().max() == 1
    trained = cli("train", task, "--out", tmp_path / "run", "--heads", "colour", "--weights", tmp_path / "size", *QUICK, "--limit", 10)
    assert trained.code == 0, trained.err
    assert "tensors loaded" in trained.err


def test_rotation_needs_no_label_and_a_card_of_pictures_alone_is_enough(cli, squares, tmp_path):
    (squares / "bare.card.yaml").write_text("root: .\ntables: [labels.csv]\nimages: {root: images, column: file}\ngroup: person\nattributes: {}\n")
    options = ("--set", "image.px=32", "--weights", "none", "--on", "rotation")
    result = pretrain(cli, squares / "bare.card.yaml", tmp_path / "turned", *options)
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "turned" / "splits.csv")
    assert len(splits) == 4 * 80
    assert (splits["split"] == "val").sum() == 4 * 12
    assert splits.groupby("path")["split"].nunique().max() == 1
    assert splits["rotation"].value_counts().tolist() == [80] * 4
    assert "rotation/top1" in pd.read_csv(tmp_path / "turned" / "metrics.csv")
    tensors, _ = load_tensors(tmp_path / "turned" / "model" / "weights.safetensors")
    assert any(key.startswith("trunk.") for key in tensors)
    again = pretrain(cli, squares / "bare.card.yaml", tmp_path / "turned", *options, "--resume")
    assert again.code == 0
    assert "finished already" in again.err


def test_a_picture_is_turned_after_its_augmentation_by_what_its_label_says(few_squares):
    plan = pretext_plan(load_plan(str(few_squares / "squares.task.yaml")), "rotation")
    manifest = turned_four_ways(build_manifest(plan.cards, {"squares": few_squares})[0])
    turns = manifest.targets("rotation")
    assert turns[:8].tolist() == [0, 1, 2, 3] * 2
    assert manifest.frame["row_id"].is_unique
    pictures = Pictures(manifest.image_paths(), None, 36, "stretch")
    plain, turned = (PictureDataset(pictures, Recipes(Augmenter("crop", px=32)), turns=each) for each in (None, turns))
    for row in range(4):
        # The same key: mirrored and cut alike, and only then turned, to the left.
        assert np.array_equal(turned[Draw(row, (7,))][1], np.rot90(plain[Draw(row, (7,))][1], row))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--on", "sise"), "--on: no card has an attribute 'sise'; did you mean 'size'? (one of colour, size, rotation)"),
        ((), "--on"),
        (("--on", "size", "--set", "trunk.freeze=true"), "pretrain trains the trunk, and trunk.freeze keeps it as it is"),
        (("--on", "rotation", "--cache", "device"), "--cache device does not turn pictures; use --cache DIR"),
    ],
)
def test_a_pretraining_that_cannot_be_meant_is_refused(cli, few_squares, tmp_path, options, expected):
    refused = pretrain(cli, few_squares / "squares.task.yaml", tmp_path / "run", *options)
    assert refused.code == 2
    assert expected in refused.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_an_attribute_that_is_called_rotation_is_not_mistaken_for_turning(cli, squares, tmp_path):
    card = (squares / "squares.card.yaml").read_text().replace("  size:", "  rotation:")
    (squares / "squares.card.yaml").write_text(card)
    (squares / "squares.task.yaml").write_text("cards: [squares.card.yaml]\nheads: [colour]\n")
    refused = pretrain(cli, squares / "squares.task.yaml", tmp_path / "run", "--on", "rotation")
    assert refused.code == 2
    assert "a card has an attribute of that name" in refused.err
