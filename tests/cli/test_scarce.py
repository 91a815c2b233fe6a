"""Scarce groups, from the batches that a training draws to the real command line."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import stopped_after

from attrcls.data.augment import Augmenter
from attrcls.data.cache import open_cache
from attrcls.data.device_cache import DeviceCache
from attrcls.data.loader import pictures_of
from attrcls.data.manifest import build_manifest
from attrcls.runs.balance import balance_train
from attrcls.runs.batches import labelled_batches
from attrcls.task import load_plan
from attrcls.types import Share

FILES = ("metrics.csv", "splits.csv", "validation.csv", "model/weights.safetensors")
SMALL = ("--set", "trunk.name=squeezenet1_1", "--workers", 0, "--device", "cpu")
MIRROR = [{"name": "HorizontalFlip", "p": 1.0}]
DARK, BRIGHT = ([{"name": "RandomBrightnessContrast", "brightness_limit": [by, by], "contrast_limit": [0, 0], "p": 1.0}] for by in (-0.2, 0.2))
LOOKS = {"plain": "none", "mirrored": MIRROR, "dark": DARK, "bright": BRIGHT}
# Of the twelve pictures, the first two are of person 0; the second and the eighth are green and small.
GROUPS = {"first": {"files": "*/p00_*", "augment": MIRROR}, "green": {"where": {"colour": "green", "size": "small"}, "augment": DARK}}
CHANGES = {
    "augment": "none", "batch_size": 5, "cards": [{"card": "squares.card.yaml", "ratio": 3.0}], "scarce": GROUPS,
    "balance": {"heads": ["colour"], "strength": 0.0, "repeat_augment": BRIGHT},
}  # fmt: skip


def load(squares, **changes):
    plan = load_plan(str(squares / "squares.task.yaml"), changes=CHANGES | changes)
    return plan, build_manifest(plan.cards, {"squares": squares})[0].with_columns(split="train")


def make_batches(squares, *, workers=0, cache=None, **changes):
    plan, manifest = load(squares, **changes)
    return labelled_batches(manifest, plan, plan.task, balance=balance_train(plan, manifest), workers=workers, cache=cache)


def looks_of(squares, batches):
    """How the pictures of each row looked in an epoch."""
    plan, manifest = load(squares)
    pictures, seen = pictures_of(manifest, plan.task.image), {row: Counter() for row in range(len(manifest))}
    for batch in batches.epoch(0):
        for row, image in zip(batch.rows.tolist(), batch.images.permute(0, 2, 3, 1).numpy().astype(int), strict=True):
            off = {look: np.abs(image - Augmenter(recipe, px=32)(pictures.read(row), (0,))).max() for look, recipe in LOOKS.items()}
            (look,) = (look for look, most in off.items() if most <= 2)
            seen[row][look] += 1
    return seen


@pytest.mark.parametrize("source", ["alone", "two workers", "folder", "device"])
def test_all_draws_of_a_scarce_row_take_its_first_groups_recipe_and_other_rows_are_as_before(few_squares, tmp_path, source):
    cache = {"folder": open_cache(tmp_path / "kept", "1GB"), "device": DeviceCache(torch.device("cpu"))}.get(source)
    seen = looks_of(few_squares, make_batches(few_squares, workers=2 if source == "two workers" else 0, cache=cache))
    assert seen[0] == seen[1] == {"mirrored": 3}
    assert seen[7] == {"dark": 3}
    assert all(seen[row] == {"plain": 1, "bright": 2} for row in range(12) if row not in (0, 1, 7))


@pytest.mark.parametrize("on_device", [False, True])
def test_random_numbers_stay_those_of_a_task_without_scarce_groups_whatever_the_process(few_squares, on_device):
    recipes = {"augment": "strong", "balance": {"heads": ["colour"], "repeat_augment": "zoom"}}
    cache = DeviceCache(torch.device("cpu")) if on_device else None
    plain = make_batches(few_squares, cache=cache, **recipes, scarce=None)
    groups = {"few": {"files": "*", "where": {"size": "small"}, "augment": "none"}}
    scarce = make_batches(few_squares, cache=cache, **recipes, scarce=groups)
    small = [0, 1, 2, 6, 7, 8]
    shares = [list(scarce.epoch(1, Share(rank, 2))) for rank in range(2)]
    for index, (before, now) in enumerate(zip(plain.epoch(1), scarce.epoch(1), strict=True)):
        assert torch.equal(before.rows, now.rows)
        alike = (before.images == now.images).flatten(1).all(dim=1)
        assert alike.tolist() == [row not in small for row in now.rows.tolist()]
        for rank in range(2):
            assert torch.equal(shares[rank][index].images, now.images[rank::2])


def test_rows_under_another_recipe_than_the_tasks_as_for_validation_are_in_no_group(few_squares):
    plan, manifest = load(few_squares)
    validation = labelled_batches(manifest, plan, plan.task, recipe="none", workers=0)
    pictures, plain = pictures_of(manifest, plan.task.image), Augmenter("none", px=32)
    images = torch.cat([batch.images for batch in validation.in_order()]).permute(0, 2, 3, 1).numpy()
    assert all(np.array_equal(image, plain(pictures.read(row), (0,))) for row, image in enumerate(images))


def train(cli, squares, out, *options):
    return cli("train", squares / "squares.task.yaml", "--out", out, *SMALL, *options)


def test_a_run_tells_each_groups_rows_and_is_the_same_with_any_number_of_workers_and_resumed(cli, few_squares, tmp_path):
    options = ("--set", "scarce={first: {files: '*_0.jpg', augment: strong}, small: {where: {size: small}, augment: randaugment}}")
    alone = train(cli, few_squares, tmp_path / "alone", *options)
    assert alone.code == 0, alone.err
    splits = pd.read_csv(tmp_path / "alone" / "splits.csv")
    rows = splits[splits["split"] == "train"]
    first, small = rows["path"].str.endswith("_0.jpg"), rows["size"] == "small"
    told = f"first {first.sum()}, small {small.sum()} ({(first & small).sum()} of them augmented as an earlier group's)"
    assert f" scarce  train rows under a recipe of their own: {told}\n" in alone.err
    assert yaml.safe_load((tmp_path / "alone" / "config.yaml").read_text())["task"]["scarce"]["first"]["files"] == ["*_0.jpg"]
    card = (tmp_path / "alone" / "model" / "README.md").read_text()
    assert "- scarce: first files \\*\\_0.jpg, augment strong, small where size small, augment randaugment\n" in card
    with stopped_after(1):
        assert train(cli, few_squares, tmp_path / "helped", *options, "--workers", 2).code == 130
    other = train(cli, few_squares, tmp_path / "helped", "--set", "scarce={first: {files: '*_1.jpg', augment: strong}}", "--resume")
    assert other.code == 2
    assert "--resume: the run in" in other.err and "scarce.first.files" in other.err
    # The first group that a row is in gives its recipe.
    turned = ("--set", "scarce={small: {where: {size: small}, augment: randaugment}, first: {files: '*_0.jpg', augment: strong}}")
    other = train(cli, few_squares, tmp_path / "helped", *turned, "--resume")
    assert other.code == 2 and "the order of scarce was first, small and is now small, first" in other.err
    assert train(cli, few_squares, tmp_path / "helped", *options, "--resume").code == 0
    assert train(cli, few_squares, tmp_path / "plain").code == 0
    contents = [[(tmp_path / run / name).read_bytes() for name in FILES] for run in ("alone", "helped", "plain")]
    assert contents[0] == contents[1] != contents[2]


def test_groups_are_made_of_labels_after_cleaning(cli, few_squares, tmp_path):
    options = ("--epochs", 1, "--set", "scarce={red: {where: {colour: red}, augment: strong}}")
    assert train(cli, few_squares, tmp_path / "all", *options).code == 0
    splits = pd.read_csv(tmp_path / "all" / "splits.csv")
    red = splits[(splits["split"] == "train") & (splits["colour"] == "red")]
    dropped = red[["card", "row_id"]].assign(head="colour", given_label="red", decision="drop_label")
    dropped.iloc[:1].to_csv(tmp_path / "one.csv", index=False)
    told = train(cli, few_squares, tmp_path / "some", *options, "--decisions", tmp_path / "one.csv")
    assert f"recipe of their own: red {len(red) - 1}\n" in told.err
    dropped.to_csv(tmp_path / "all.csv", index=False)
    none = train(cli, few_squares, tmp_path / "none", *options, "--decisions", tmp_path / "all.csv")
    assert none.code == 2
    assert "scarce.red: expected train rows with colour red, found none among 10\n" in none.err
    assert not (tmp_path / "none" / "config.yaml").exists()


def test_a_trunk_is_pretrained_with_the_groups_of_other_attributes_also_where_pictures_are_turned(cli, few_squares, tmp_path):
    options = ("--epochs", 1, "--set", "scarce={small: {where: {size: small}, augment: strong}}", "--on", "rotation")
    told = cli("pretrain", few_squares / "squares.task.yaml", "--out", tmp_path / "run", *SMALL, *options)
    assert told.code == 0, told.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    small = (splits["split"] == "train") & splits["path"].str.contains("p0[03]_|p0[14]_0")
    assert small.sum() % 4 == 0
    assert f"recipe of their own: small {small.sum()}\n" in told.err


def test_folds_take_groups_and_one_that_a_fold_lacks_is_refused_before_the_first_is_trained(cli, few_squares, tmp_path):
    person = ("--folds", 2, "--epochs", 1, "--set", "scarce={first: {files: '*/p00_*', augment: strong}}")
    refused = train(cli, few_squares, tmp_path / "refused", *person)
    assert refused.code == 2
    assert "--folds 2: without fold " in refused.err and "a path like */p00_*, found none among 6" in refused.err
    assert not list((tmp_path / "refused").glob("fold-*"))
    both = train(cli, few_squares, tmp_path / "both", "--folds", 2, "--epochs", 1, "--set", "scarce={first: {files: '*_0.jpg', augment: strong}}")
    assert both.code == 0, both.err
    assert both.err.count("recipe of their own: first 3\n") == 2
