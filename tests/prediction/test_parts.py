"""A prediction that was stopped goes on with the parts that it kept, and ends with the same numbers."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attrcls.data import loader
from attrcls.data.images import ImageError
from attrcls.engine import start_engine
from attrcls.prediction import images
from attrcls.prediction.images import predict_images
from attrcls.prediction.models import load_models
from attrcls.prediction.parts import KeptParts, Part, kept_parts


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(images, "PART_PICTURES", 16)
    monkeypatch.setattr(images, "PART_SECONDS", -1.0)


@pytest.fixture(scope="module")
def models(trained_run):
    return load_models([trained_run])


@pytest.fixture
def paths(shared_squares, tmp_path):
    shutil.copytree(shared_squares / "images", tmp_path / "images")
    found = sorted((tmp_path / "images").glob("*.jpg"))[:44]
    found[20].write_bytes(b"no picture")
    return found


def predict(models, paths, cache, *, stop_after=None):
    """Returns the predictions and how many pictures went through the trunk in this call."""
    fabric = start_engine(device="cpu")
    kept = kept_parts(cache, models, paths, None, fabric=fabric, batch_size=8)
    before = sum(len(part.positions) for part in kept.of_size(0))
    done = 0

    def advance(count):
        nonlocal done
        done += count
        if stop_after is not None and done > stop_after:
            raise KeyboardInterrupt

    return predict_images(models, paths, None, fabric=fabric, batch_size=8, workers=0, advance=advance, kept=kept), done - before


def test_what_was_kept_is_not_run_again_and_no_row_is_lost_or_doubled(models, paths, tmp_path):
    whole, _ = predict(models, paths, tmp_path / "none")
    with pytest.raises(KeyboardInterrupt):
        predict(models, paths, tmp_path / "cache", stop_after=40)
    resumed, run = predict(models, paths, tmp_path / "cache")
    assert run == 44 - 32
    assert resumed.status == whole.status
    assert resumed.error == whole.error
    assert resumed.status[20] == "unreadable"
    for head, values in whole.probabilities.items():
        assert np.array_equal(values, resumed.probabilities[head])


def test_pictures_that_failed_are_tried_again(models, paths, tmp_path, monkeypatch):
    # A disk, or a network, that is down for a while: neither size nor time of the file changes.
    down = {paths[5], paths[6]}
    read = loader.read_image

    def failing(path, **options):
        if path in down:
            raise ImageError(f"{path}: input/output error")
        return read(path, **options)

    monkeypatch.setattr(loader, "read_image", failing)
    with pytest.raises(KeyboardInterrupt):
        predict(models, paths, tmp_path / "cache", stop_after=40)
    down.clear()
    resumed, _ = predict(models, paths, tmp_path / "cache")
    whole, _ = predict(models, paths, tmp_path / "none")
    assert resumed.status == whole.status
    assert [resumed.status[place] for place in (5, 6, 20)] == ["ok", "ok", "unreadable"]
    for head, values in whole.probabilities.items():
        assert np.array_equal(values, resumed.probabilities[head])


def test_another_picture_model_or_batch_size_finds_no_parts(models, paths, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict(models, paths, tmp_path / "cache", stop_after=40)
    assert predict(models[:1] * 2, paths, tmp_path / "cache")[1] == 44
    paths[0].write_bytes(paths[1].read_bytes() + b" ")
    changed, run = predict(models, paths, tmp_path / "cache")
    assert run == 44
    assert np.array_equal(changed.probabilities["colour"][0], changed.probabilities["colour"][1])


def test_parts_are_kept_under_the_engine_that_ran_though_another_was_chosen(models, paths, tmp_path):
    ran = ["openvino"]
    kept = kept_parts(tmp_path / "cache", models, paths, None, fabric=start_engine(device="cpu"), batch_size=8, engine=lambda: ran[0])
    chosen = kept._folder
    ran[0] = "torch"
    assert kept._folder != chosen
    assert kept._folder == kept_parts(tmp_path / "cache", models, paths, None, fabric=start_engine(device="cpu"), batch_size=8)._folder


def test_a_blank_row_does_not_stand_for_the_current_folder(models, paths, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fabric = start_engine(device="cpu")
    before = kept_parts(tmp_path / "cache", models, [*paths, Path()], None, fabric=fabric, batch_size=8)
    os.utime(tmp_path, (1, 1))
    after = kept_parts(tmp_path / "cache", models, [*paths, Path()], None, fabric=fabric, batch_size=8)
    assert before._folder == after._folder


def test_a_damaged_part_is_predicted_again_and_a_cache_that_cannot_be_written_costs_only_the_resume(models, paths, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        predict(models, paths, tmp_path / "cache", stop_after=40)
    part = sorted((tmp_path / "cache").rglob("*.safetensors"))[0]
    part.write_bytes(part.read_bytes()[:50])
    assert predict(models, paths, tmp_path / "cache")[1] == 44 - 16
    (tmp_path / "file").write_text("in the way")
    whole, run = predict(models, paths, tmp_path / "file")
    assert run == 44
    assert len(whole.status) == 44


def test_pictures_that_two_commands_kept_at_once_are_counted_once(models, paths, tmp_path):
    whole, _ = predict(models, paths, tmp_path / "none")
    with pytest.raises(KeyboardInterrupt):
        predict(models, paths, tmp_path / "cache", stop_after=40)
    kept = kept_parts(tmp_path / "cache", models, paths, None, fabric=start_engine(device="cpu"), batch_size=8)
    first = next(kept.of_size(0))
    # Another command that ended its parts elsewhere: its second begins within this one's first.
    kept.save(0, images.Part(first.positions[8:], {head: values[8:] for head, values in first.outputs.items()}, []))
    resumed, _ = predict(models, paths, tmp_path / "cache")
    for head, values in whole.probabilities.items():
        assert np.array_equal(values, resumed.probabilities[head])


def test_the_command_goes_on_with_resume_starts_over_without_and_leaves_nothing(cli, trained_run, paths, tmp_path, monkeypatch):
    pd.DataFrame({"path": [str(path) for path in paths] * 2}).to_csv(tmp_path / "asked.csv", index=False)
    command = ["predict", trained_run, tmp_path / "asked.csv", "--workers", 0, "--batch-size", 8, "--csv"]
    assert cli(*command, tmp_path / "whole.csv").code == 3
    real, batches = images.LocalRunner._forward, []

    def counting(self, pixels):
        batches.append(len(pixels))
        if limit and len(batches) > limit:
            raise KeyboardInterrupt
        return real(self, pixels)

    monkeypatch.setattr(images.LocalRunner, "_forward", counting)
    for options, expected in ((["--resume"], 2), ([], 6)):
        limit = 5
        batches.clear()
        stopped = cli(*command, tmp_path / "out.csv")
        assert stopped.code == 130
        assert "--resume" in stopped.err
        assert not (tmp_path / "out.csv").exists()
        limit = 0
        batches.clear()
        assert cli(*command, tmp_path / "out.csv", *options).code == 3
        assert len(batches) == expected
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert not list((tmp_path / "cache" / "predictions").rglob("*.safetensors"))
        (tmp_path / "out.csv").unlink()


def test_a_head_may_be_called_as_what_is_kept_beside_it(tmp_path):
    kept = KeptParts(tmp_path, b"", lambda: "torch")
    kept.save(0, Part(np.array([4, 7]), {"positions": np.array([[0.5, 0.5], [1, 0]], dtype=np.float32)}, []))
    (part,) = kept.of_size(0)
    assert part.positions.tolist() == [4, 7]
    assert part.outputs["positions"].tolist() == [[0.5, 0.5], [1, 0]]
