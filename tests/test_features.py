"""Frozen features: right views and scales, computed once, found again by content, never stale."""

import numpy as np
import pytest
import torch

from attrcls.data.manifest import build_manifest
from attrcls.engine import place, seed_everything, start_engine
from attrcls.features.batches import FeatureBatches, standardise
from attrcls.features.extract import VIEWS, scales_for, trunk_features
from attrcls.model.network import build_network
from attrcls.runs.prepare import resolve_roots
from attrcls.task import load_plan
from attrcls.types import MISSING


@pytest.fixture
def setting(squares):
    return make_setting(squares)


def make_setting(squares, *, px=64, trunk="resnet18"):
    plan = load_plan(str(squares / "squares.task.yaml"), overrides=[f"image.px={px}", f"trunk.name={trunk}"])
    manifest, _ = build_manifest(plan.cards, resolve_roots(plan, []))
    fabric = start_engine(device="cpu", precision="32")
    seed_everything(0)
    network, _ = build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")
    place(network, fabric)
    return network, manifest.take(range(8)), plan.task.image, fabric


def compute(setting, cache=None):
    network, manifest, image, fabric = setting
    counted = []
    features = trunk_features(
        network, manifest, image, fabric=fabric, workers=0, cache=cache, on_start=lambda images: (counted.append(images), lambda done: None)[1]
    )
    return features, sum(counted)


def test_features_are_the_trunks_of_each_view_at_full_and_half_size(setting):
    network, manifest, _, _ = setting
    features, _ = compute(setting)
    assert features.shape == (VIEWS, 8, 1024)
    from attrcls.data.images import read_image, resize_to

    picture = resize_to(read_image(manifest.image_paths()[3], min_px=64), px=64, fit="stretch")
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
    with torch.inference_mode():
        network.eval()
        torch.testing.assert_close(features[0, 3, :512], network.extract(pixels)[0], rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(features[1, 3, :512], network.extract(pixels.flip(3))[0], rtol=2e-3, atol=2e-3)


def test_a_trunk_of_one_size_only_is_looked_at_in_that_size(squares):
    network, _, image, fabric = make_setting(squares, trunk="vit_b_16")
    assert scales_for(network, image.px, fabric) == (64,)
    network, _, image, fabric = make_setting(squares, px=32)
    assert scales_for(network, image.px, fabric) == (32,)


def test_what_is_kept_is_not_computed_again_and_gives_the_same_numbers(setting, tmp_path):
    first, computed = compute(setting, tmp_path / "cache")
    again, recomputed = compute(setting, tmp_path / "cache")
    assert (computed, recomputed) == (8, 0)
    assert torch.equal(first, again)
    assert torch.equal(first, compute(setting)[0])


def test_a_changed_picture_is_computed_anew_and_only_that_one(setting, squares, tmp_path):
    first, _ = compute(setting, tmp_path / "cache")
    paths = setting[1].image_paths()
    paths[2].write_bytes(paths[7].read_bytes())
    again, recomputed = compute(setting, tmp_path / "cache")
    assert recomputed == 0  # picture 7 is known by its content already
    assert torch.equal(again[:, 2], first[:, 7])
    assert torch.equal(again[:, 3], first[:, 3])


def test_other_weights_or_another_size_never_meet_old_features(setting, squares, tmp_path):
    compute(setting, tmp_path / "cache")
    network, manifest, image, fabric = setting
    with torch.no_grad():
        next(iter(network.trunk.parameters())).mul_(1.01)
    assert compute(setting, tmp_path / "cache")[1] == 8
    assert compute((network, manifest, image.model_copy(update={"px": 72}), fabric), tmp_path / "cache")[1] == 8


@pytest.mark.parametrize("damage", [b"", b"not tensors at all", None])
def test_a_damaged_cache_is_made_anew(setting, tmp_path, damage):
    first, _ = compute(setting, tmp_path / "cache")
    (file,) = (tmp_path / "cache").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:5000] if damage is None else damage)
    again, recomputed = compute(setting, tmp_path / "cache")
    assert recomputed == 8
    assert torch.equal(first, again)


def test_each_epoch_shows_every_row_once_in_views_that_follow_from_the_seed():
    features = torch.arange(2 * 10).float().view(2, 10, 1)
    targets = {"a": np.array([0, 1, MISSING, 0, 1, 0, 1, 0, 1, 0])}
    batches = FeatureBatches(features, targets, batch_size=4, seed=3)
    assert batches.steps_per_epoch == 3
    seen = [(batch.rows, batch.images, batch.present["a"]) for batch in batches.epoch(0)]
    rows = torch.cat([each[0] for each in seen])
    assert sorted(rows.tolist()) == list(range(10))
    assert {len(each[0]) for each in seen} == {4, 2}
    values = torch.cat([each[1] for each in seen]).squeeze(1)
    assert set((values.long() // 10).tolist()) == {0, 1}
    assert torch.equal(values.long() % 10, rows)
    assert (~torch.cat([each[2] for each in seen])).sum() == 1
    again = torch.cat([batch.images for batch in FeatureBatches(features, targets, batch_size=4, seed=3).epoch(0)]).squeeze(1)
    other = torch.cat([batch.images for batch in batches.epoch(1)]).squeeze(1)
    assert torch.equal(values, again)
    assert not torch.equal(values, other)


def test_standardised_columns_have_mean_0_and_the_length_of_512():
    features = torch.randn(2, 500, 64) * 7 + 3
    standard = standardise(features)
    torch.testing.assert_close(standard.mean((0, 1)), torch.zeros(64), atol=1e-4, rtol=0)
    assert standard.square().sum(2).mean().item() == pytest.approx(512, rel=0.01)
