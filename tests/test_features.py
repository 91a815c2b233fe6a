"""Frozen features: right views and scales, computed once, found again by content, never stale."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from attrcls.data.augment import Augmenter
from attrcls.data.images import read_image, resize_to
from attrcls.data.loader import Draw, LabelledBatches
from attrcls.data.manifest import build_manifest
from attrcls.engine import has_native_bf16, place, seed_everything, start_engine
from attrcls.features import passes
from attrcls.features.batches import FeatureBatches, KeptFeatures, standardise
from attrcls.features.extract import VIEWS, scales_for, trunk_features, view_features
from attrcls.graph.build import GraphError, build_trunk_graph
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


def test_a_kill_loses_only_what_was_not_written_yet_and_the_rest_comes_out_the_same(setting, tmp_path, monkeypatch):
    from attrcls.features import cache, extract

    whole, _ = compute_views(setting, batch_size=6)
    monkeypatch.setattr(cache, "_SECONDS_BETWEEN_WRITES", -1.0)
    real = extract._pixels

    def killed(*arguments, **options):
        for number, pixels in enumerate(real(*arguments, **options)):
            if number == 2:
                raise KeyboardInterrupt
            yield pixels

    monkeypatch.setattr(extract, "_pixels", killed)
    with pytest.raises(KeyboardInterrupt):
        compute_views(setting, cache=tmp_path, batch_size=6)
    monkeypatch.setattr(extract, "_pixels", real)
    again, computed = compute_views(setting, cache=tmp_path, batch_size=6)
    assert computed == 24 - 2 * 6
    assert torch.equal(again, whole)


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


@pytest.fixture
def openvino_pays(monkeypatch):
    """As if eight pictures were enough for OpenVINO."""
    pytest.importorskip("openvino")
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 1)


@pytest.mark.parametrize(("precision", "tolerance"), [("32", 2e-3), ("bf16", 5e-2)])
def test_openvino_gives_the_features_of_torch_in_every_view_and_size_and_short_batches_too(setting, openvino_pays, monkeypatch, precision, tolerance):
    network, manifest, image, _ = setting
    if precision == "bf16" and not has_native_bf16(torch.device("cpu")):
        pytest.skip("this CPU has no bf16")
    fabric, warned, opened, real = start_engine(device="cpu", precision=precision), [], [], passes.open_openvino
    monkeypatch.setattr(passes, "open_openvino", lambda *args, shape, **options: (opened.append(shape), real(*args, shape=shape, **options))[1])
    found = trunk_features(network, manifest, image, fabric=fabric, workers=0, batch_size=3, warn=warned.append)
    assert opened == [(3, 3, 64, 64), (3, 3, 32, 32)]
    assert not warned, "torch ran it"
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 1_000_000)
    assert passes.trunk_engine(fabric, pictures=16) == "torch"
    expected = trunk_features(network, manifest, image, fabric=fabric, workers=0, batch_size=3)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    alone = trunk_features(network, manifest, image, fabric=fabric, workers=0, batch_size=1)
    torch.testing.assert_close(alone, expected, rtol=tolerance, atol=tolerance)


def test_the_features_of_two_engines_are_kept_apart(setting, openvino_pays, tmp_path, monkeypatch):
    assert compute(setting, tmp_path)[1] == 8
    assert compute(setting, tmp_path)[1] == 0
    assert compute_views(setting, cache=tmp_path)[1] == 24
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 1_000_000)
    assert compute(setting, tmp_path)[1] == 8
    assert compute_views(setting, cache=tmp_path)[1] == 24


def unwritable(network, px):
    raise GraphError("an operator that ONNX does not have")


def twice_as_large(network, px):
    """A graph that means something else, if in the same direction."""
    other = copy.deepcopy(network)
    other.trunk.layer4[1].bn2.weight.data *= 2
    return build_trunk_graph(other, px=px)


def no_numbers(network, px):
    other = copy.deepcopy(network)
    other.trunk.conv1.weight.data[0] = float("nan")
    return build_trunk_graph(other, px=px)


@pytest.mark.parametrize("build", [unwritable, twice_as_large, no_numbers])
def test_a_trunk_that_openvino_runs_not_or_to_other_features_is_run_by_torch_and_that_is_told(setting, openvino_pays, tmp_path, monkeypatch, build):
    network, manifest, image, fabric = setting
    warned, built = [], []
    monkeypatch.setattr(passes, "build_trunk_graph", lambda network, px: (built.append(px), build(network, px))[1])
    found = trunk_features(network, manifest, image, fabric=fabric, workers=0, cache=tmp_path, warn=warned.append)
    assert built == [64]
    assert len(warned) == 1
    assert "torch ran it" in warned[0]
    monkeypatch.setattr(passes, "WORTH_A_GRAPH", 1_000_000)
    again, computed = compute(setting, tmp_path)
    assert computed == 0, "torch's features are not among torch's"
    assert torch.equal(found, again)


def test_openvino_runs_no_trunk_that_is_not_on_the_cpu_nor_bf16_that_the_cpu_lacks(openvino_pays, monkeypatch):
    assert passes.trunk_engine(start_engine(device="cpu", precision="32"), pictures=8) == "openvino"
    monkeypatch.setattr(passes, "has_native_bf16", lambda device: False)
    assert passes.trunk_engine(start_engine(device="cpu", precision="bf16"), pictures=8) == "torch"
    assert passes.trunk_engine(SimpleNamespace(device=torch.device("cuda")), pictures=8) == "torch"


def test_standardised_columns_have_mean_0_and_the_length_of_512():
    features = torch.randn(2, 500, 64) * 7 + 3
    standard = standardise(features)
    torch.testing.assert_close(standard.mean((0, 1)), torch.zeros(64), atol=1e-4, rtol=0)
    assert standard.square().sum(2).mean().item() == pytest.approx(512, rel=0.01)


def compute_views(setting, *, views=3, cache=None, rows=range(8), **options):
    network, manifest, image, fabric = setting
    counted = []
    features = view_features(
        network, manifest.take(rows), image, "crop", views=views, fabric=fabric, workers=0, cache=cache,
        on_start=lambda images: (counted.append(images), lambda done: None)[1], **options,
    )  # fmt: skip
    return features, sum(counted)


def test_the_first_view_is_the_picture_as_predicted_and_the_others_follow_from_recipe_and_content(setting):
    network, manifest, image, _ = setting
    features, computed = compute_views(setting)
    assert features.shape == (3, 8, 512)
    assert computed == 24
    picture = resize_to(read_image(manifest.image_paths()[5], min_px=image.resize_px), px=image.resize_px, fit="stretch")
    pixels = torch.from_numpy(Augmenter("none", px=64)(picture, (0,))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        torch.testing.assert_close(features[0, 5].float(), network.eval().extract(pixels)[0], rtol=2e-3, atol=2e-3)
    assert not torch.equal(features[0, 5], features[1, 5])
    assert not torch.equal(features[1, 5], features[2, 5])
    # Row 5 alone, in another place and another batch: the same views of the same picture.
    alone, _ = compute_views(setting, rows=[5], batch_size=2)
    torch.testing.assert_close(alone[:, 0].float(), features[:, 5].float(), rtol=2e-3, atol=2e-3)


def test_views_are_kept_apart_from_those_of_another_number_or_size(setting, tmp_path):
    first, computed = compute_views(setting, cache=tmp_path)
    again, recomputed = compute_views(setting, cache=tmp_path)
    assert (computed, recomputed) == (24, 0)
    assert torch.equal(first, again)
    assert compute_views(setting, views=1, cache=tmp_path)[1] == 8
    network, manifest, image, fabric = setting
    assert compute_views((network, manifest, image.model_copy(update={"margin": 0.5}), fabric), cache=tmp_path)[1] == 24
    assert compute(setting, tmp_path)[1] == 8


def test_kept_features_show_each_row_one_view_after_another_and_the_first_outside_of_epochs(setting):
    _, manifest, _, _ = setting
    features = torch.arange(3 * 8).half().view(3, 8, 1)
    batches = LabelledBatches(manifest, KeptFeatures(features), heads=["colour"], batch_size=3, seed=0)
    seen = np.zeros((3, 8), dtype=int)
    for epoch in range(3):
        for batch in batches.epoch(epoch):
            assert batch.images.dtype == torch.float32
            values = batch.images[:, 0].long()
            assert torch.equal(values % 8, batch.rows)
            assert torch.equal(batch.targets["colour"], torch.from_numpy(manifest.targets("colour"))[batch.rows])
            seen[values // 8, batch.rows] += 1
    assert (seen == 1).all()
    assert torch.cat([batch.images[:, 0] for batch in batches.in_order()]).tolist() == list(range(8))
    (repeat,) = KeptFeatures(features).batches([[Draw(2, (0,), repeat=1, turn=4)]])
    assert repeat.images.item() == 8 + 2
