"""Views of a picture that predictions average: what each shows, and the same through every engine and command."""

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from attrcls.data.augment import Augmenter
from attrcls.engine import start_engine
from attrcls.errors import UserError
from attrcls.prediction.models import load_models
from attrcls.prediction.parts import kept_parts
from attrcls.prediction.views import View, check_views, parse_views, with_views
from attrcls.sections import ImageSpec


def noise(side: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (2, 3, side, side), dtype=np.uint8))


@pytest.mark.parametrize("side", [32, 36, 37, 48])
def test_the_first_view_is_what_prediction_sees_without_any(side):
    images = noise(side)
    first = parse_views("five-crop,flip,scales")[0].of(images, 32)
    plain = Augmenter("none", px=32)
    for image, seen in zip(images, first, strict=True):
        assert np.array_equal(seen.permute(1, 2, 0).numpy(), plain(image.permute(1, 2, 0).numpy(), (0,)))


def test_five_crops_are_the_centre_and_the_corners_and_a_mirror_is_the_crop_turned_round():
    images = noise(36)
    views = parse_views("five-crop")
    crops = [view.of(images, 32) for view in views]
    corners = [images[:, :, top : top + 32, left : left + 32] for top, left in ((2, 2), (0, 0), (0, 4), (4, 0), (4, 4))]
    assert all(torch.equal(crop, corner) for crop, corner in zip(crops, corners, strict=True))
    both = parse_views("five-crop,flip")
    assert len(both) == 10 and sum(view.mirrored for view in both) == 5
    assert torch.equal(View(mirrored=True).of(images, 32), crops[0].flip(3))


@pytest.mark.parametrize("side", [32, 36])
def test_scales_keep_the_size_that_the_trunk_sees_and_zoom_about_the_centre(side):
    disc = np.zeros((side, side, 3), dtype=np.uint8)
    cv2.circle(disc, (side // 2, side // 2), 8, (255, 255, 255), -1)
    images = torch.from_numpy(disc).permute(2, 0, 1)[None]
    areas = {}
    for view in parse_views("scales"):
        seen = view.of(images, 32)
        assert seen.shape == (1, 3, 32, 32) and seen.dtype == torch.uint8
        areas[view.scale] = seen.float().mean().item()
    assert areas[0.9] / areas[1.0] == pytest.approx(0.81, rel=0.1)
    assert areas[1.15] / areas[1.0] == pytest.approx(1.32, rel=0.1)


def test_probabilities_are_the_mean_over_views():
    def forward(images: torch.Tensor):
        return {"head": images.float().mean(dim=(1, 2, 3))[:, None].numpy()}

    images, views = noise(36), parse_views("five-crop")
    average = with_views(forward, views, px=32)(images)["head"]
    assert average == pytest.approx(np.mean([forward(view.of(images, 32))["head"] for view in views], axis=0), rel=1e-5)


@pytest.mark.parametrize(("text", "told"), [("flop", "did you mean"), ("", "expected flip"), ("flip,", "expected flip")])
def test_unknown_views_are_refused(text, told):
    with pytest.raises(UserError, match=told):
        parse_views(text)


def test_five_crops_of_pictures_without_room_are_refused():
    with pytest.raises(UserError, match="its five crops are one"):
        check_views(parse_views("five-crop"), ImageSpec(px=32, margin=0))
    check_views(parse_views("flip,scales"), ImageSpec(px=32, margin=0))


def test_parts_kept_for_other_views_are_not_taken_up(trained_run, tmp_path):
    def folder(text):
        return kept_parts(tmp_path, models, [], None, fabric=fabric, batch_size=8, views=parse_views(text))._folder

    models, fabric = load_models([trained_run]), start_engine(device="cpu")
    assert len({folder(text) for text in (None, "flip", "scales", "flip,scales")}) == 4
    assert folder("flip") == folder("flip")


def predict(cli, run, source, out, *options):
    result = cli("predict", run, source, "--csv", out, "--probabilities", "--workers", 0, "--device", "cpu", *options)
    assert result.code == 0, result.err
    return pd.read_csv(out)


def test_with_flip_a_picture_and_its_mirror_are_predicted_alike_by_every_engine(cli, trained_run, with_graph, shared_squares, tmp_path):
    (tmp_path / "pictures").mkdir()
    picture = cv2.imread(str(shared_squares / "images" / "p00_1.jpg"))
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), picture)
    cv2.imwrite(str(tmp_path / "pictures" / "b.png"), picture[:, ::-1])
    columns = ["colour_p_red", "colour_p_green", "size_p_large"]

    def probabilities(*options):
        return predict(cli, trained_run, tmp_path / "pictures", tmp_path / "out.csv", *options)[columns].to_numpy()

    plain, flipped = probabilities(), probabilities("--tta", "flip")
    assert np.abs(plain[0] - plain[1]).max() > 1e-3
    assert flipped[0] == pytest.approx(flipped[1], abs=2e-4)
    assert flipped[0] == pytest.approx(plain.mean(axis=0), abs=2e-4)
    every = probabilities("--tta", "flip,five-crop,scales")
    for engine in ("onnxruntime", "openvino"):
        assert probabilities("--tta", "flip,five-crop,scales", "--engine", engine, "--precision", "32") == pytest.approx(every, abs=2e-3)


def test_a_worker_elsewhere_sees_the_same_views(trained_run, shared_squares, monkeypatch):
    from attrcls.prediction.images import LocalRunner
    from attrcls.prediction.models import pack_model
    from attrcls.prediction.runtime import start_runtime
    from attrcls.prediction.spread import ClusterRunner, PredictJob

    # A job that starts in this process leaves it its cores and its folder.
    monkeypatch.setattr("attrcls.prediction.spread._take_one_core", lambda folder: None)
    models, views = load_models([trained_run]), parse_views("flip,scales")
    paths, image = sorted((shared_squares / "images").glob("*.jpg"))[:3], models[0].description.image
    runtime = start_runtime(models, engine="torch", device="cpu", precision="32", pictures=3, batch_size=4, cache=shared_squares)
    wanted = np.stack([np.arange(3)] * 2, axis=1)
    local = LocalRunner(runtime.forwards, paths, None, image=image, fabric=runtime.fabric, batch_size=4, workers=0, views=views)
    expected = {int(part.positions[0]): part for part in local.run(wanted)}[0].outputs["colour"]

    class Here:
        workers = 1

        def spread(self, job, blocks):
            work = job.start()
            return [work(block) for block in blocks]

    job = PredictJob([pack_model(models[0])], [], image, "torch", "32", "cpu", 4, ".", views)
    came = np.concatenate([part.outputs["colour"] for part in ClusterRunner(Here(), job, paths, None).run(wanted)])
    assert came == pytest.approx(expected, abs=1e-6)


def test_evaluate_and_predict_refuse_views_that_there_are_not(cli, trained_run, shared_squares):
    for command in (("predict", trained_run, shared_squares / "images"), ("evaluate", trained_run, shared_squares)):
        refused = cli(*command, "--tta", "rotate")
        assert refused.code == 2 and "--tta: expected flip, five-crop, scales" in refused.err
    scored = cli("evaluate", trained_run, shared_squares, "--tta", "flip", "--workers", 0, "--device", "cpu")
    assert scored.code == 0, scored.err
