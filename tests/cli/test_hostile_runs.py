"""A run folder or a weights file from a stranger: nothing in it is executed, and nothing outside of it is read or written."""

import json
import os
import pickle
import shutil

import pandas as pd
import pytest
import torch
import yaml

from attrcls.errors import UserError
from attrcls.tensors import save_tensors


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


@pytest.fixture
def canary(tmp_path):
    """Where a payload would leave its mark; no test may end with it there."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "a stranger's code ran"


@pytest.fixture
def run(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    return tmp_path / "run"


def test_the_payload_works_where_it_is_loaded_as_a_pickle(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def pickles(canary, folder):
    torch.save({"fc.weight": Payload(canary)}, folder / "zip.pth")
    torch.save({"fc.weight": Payload(canary)}, folder / "old.pt", _use_new_zipfile_serialization=False)
    (folder / "plain.pth").write_bytes(pickle.dumps(Payload(canary)))
    (folder / "named.safetensors").write_bytes(pickle.dumps(Payload(canary)))
    torch.save(torch.nn.Linear(2, 2), folder / "module.pth")
    return sorted(path for path in folder.iterdir() if path.suffix in {".pth", ".pt", ".safetensors"})


def test_a_weights_file_with_code_in_it_is_refused_by_name(cli, shared_squares, tmp_path, canary):
    from attrcls.model.trunk import build_trunk

    files = pickles(canary, tmp_path)
    assert len(files) == 5
    for file in files:
        with pytest.raises(UserError) as caught:
            build_trunk("resnet18", px=32, weights=str(file))
        assert f"--weights {file}" in str(caught.value)
        assert ("could run its maker's code" in str(caught.value)) == (file.suffix != ".safetensors")
    for command in ("train", "clean-labels"):
        result = cli(command, shared_squares / "squares.task.yaml", "--out", tmp_path / "out", "--workers", 0, "--weights", tmp_path / "zip.pth")
        assert result.code == 2
        assert "could run its maker's code" in result.err


def test_pickles_in_a_runs_model_and_checkpoints_are_damage(cli, run, shared_squares, tmp_path, canary):
    task = shared_squares / "squares.task.yaml"
    for name in ("model/weights.safetensors", "checkpoints/last.safetensors"):
        (run / name).write_bytes(pickle.dumps(Payload(canary)))
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    table = shared_squares / "labels.csv"
    for command in (
        ("predict", run, table, "--image-root", shared_squares / "images", "--workers", 0),
        ("evaluate", run, shared_squares, "--workers", 0),
        ("train", task, "--out", tmp_path / "new", "--workers", 0, "--weights", run),
        ("train", task, "--out", run, "--workers", 0, "--resume"),
    ):
        result = cli(*command)
        assert result.code == 2, (command[0], result.err)
        assert ".safetensors: " in result.err and ("damaged" in result.err or "cannot be read as one" in result.err)


@pytest.mark.parametrize("state", ["7", "[]", "{", '{"version": 1}', '{"version": 1, "epoch": 1, "history": []}'])
def test_a_checkpoint_with_other_numbers_is_damage(cli, run, shared_squares, state):
    from safetensors.torch import load_file

    file = run / "checkpoints" / "last.safetensors"
    save_tensors(load_file(file), file, metadata={"attrcls_state": state})
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    result = cli("train", shared_squares / "squares.task.yaml", "--out", run, "--workers", 0, "--resume")
    assert result.code == 2
    assert "last.safetensors: " in result.err and "--overwrite" in result.err


TAGS = [
    "!!python/object/apply:os.mkdir [CANARY]",
    "!!python/object/new:os.mkdir [CANARY]",
    "a: !!python/name:os.system",
    "a: !!python/module:os",
    "task: &a [x]\ncards: *a",
]


@pytest.mark.parametrize("text", TAGS)
def test_tags_and_anchors_in_a_runs_config_are_refused(cli, run, shared_squares, canary, text):
    (run / "config.yaml").write_text(text.replace("CANARY", str(canary)))
    for command in (("report", run), ("evaluate", run, shared_squares), ("train", shared_squares / "squares.task.yaml", "--out", run, "--resume")):
        result = cli(*command)
        assert result.code == 2, command[0]
        assert "config.yaml" in result.err and "not valid YAML" in result.err


@pytest.mark.parametrize("text", TAGS[:4])
def test_tags_in_a_task_card_or_override_are_refused(cli, tmp_path, shared_squares, canary, text):
    (tmp_path / "evil.yaml").write_text(text.replace("CANARY", str(canary)))
    assert cli("train", tmp_path / "evil.yaml").code == 2
    value = text.removeprefix("a: ").replace("CANARY", str(canary))
    assert cli("data", shared_squares / "squares.task.yaml", "--set", f"title={value}").code == 2


def test_pickles_in_the_cache_are_damage_that_is_made_anew(cli, run, shared_squares, tmp_path, canary, monkeypatch):
    from attrcls.prediction import parts

    table = tmp_path / "asked.csv"
    names = sorted(path.name for path in (shared_squares / "images").iterdir())[:4]
    table.write_text("path\n" + "".join(f"{name}\n" for name in names))
    command = ("predict", run, table, "--image-root", shared_squares / "images", "--workers", 0, "--resume", "--csv", tmp_path / "p.csv")
    real = parts.KeptParts.of_size

    def with_a_strangers_part(self, size):
        self._folder.mkdir(parents=True)
        (self._folder / f"{size}-0000000000.safetensors").write_bytes(pickle.dumps(Payload(canary)))
        return real(self, size)

    monkeypatch.setattr(parts.KeptParts, "of_size", with_a_strangers_part)
    assert cli(*command).code == 0
    assert pd.read_csv(tmp_path / "p.csv")["status"].tolist() == ["ok"] * 4


def test_decisions_from_a_stranger_are_text(cli, shared_squares, tmp_path, canary):
    (tmp_path / "decisions.csv").write_bytes(pickle.dumps(Payload(canary)))
    result = cli("train", shared_squares / "squares.task.yaml", "--out", tmp_path / "out", "--decisions", tmp_path / "decisions.csv")
    assert result.code == 2
    assert "decisions.csv" in result.err


def test_a_stopped_cleaning_from_a_stranger_is_read_as_tensors_only(cli, shared_squares, tmp_path, canary, monkeypatch):
    from attrcls.cleaning import observe

    real = observe.save_checkpoint

    def interrupt(*arguments, **options):
        real(*arguments, **options)
        raise KeyboardInterrupt

    command = ("clean-labels", shared_squares / "squares.task.yaml", "--out", tmp_path / "clean", "--full", "--workers", 0, "--limit", 20)
    monkeypatch.setattr(observe, "save_checkpoint", interrupt)
    assert cli(*command).code == 130
    file = tmp_path / "clean" / "checkpoints" / "run0.safetensors"
    good = file.read_bytes()
    file.write_bytes(pickle.dumps(Payload(canary)))
    refused = cli(*command, "--resume")
    assert refused.code == 2
    assert "run0.safetensors: damaged" in refused.err
    file.write_bytes(good)
    from attrcls.tensors import load_tensors

    tensors, metadata = load_tensors(file)
    save_tensors({key: value for key, value in tensors.items() if not key.startswith("watched.size")}, file, metadata=metadata)
    lacking = cli(*command, "--resume")
    assert lacking.code == 2
    assert "expected the margins of 20 rows" in lacking.err


LINKS = ["model", "model/model.json", "model/weights.safetensors", "checkpoints", "splits.csv", "config.yaml", "status.json", ".lock", "wandb"]


@pytest.mark.parametrize("name", LINKS)
def test_a_run_in_which_a_link_leads_out_is_refused_and_the_target_untouched(cli, run, shared_squares, tmp_path, name):
    outside = tmp_path / "outside"
    place = run / name
    if place.exists():
        shutil.move(place, outside)
    else:
        outside.write_text("mine")
    before = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    place.symlink_to(outside)
    for command in (
        ("predict", run, shared_squares / "images"),
        ("report", run),
        ("train", shared_squares / "squares.task.yaml", "--out", run, "--resume"),
        ("train", shared_squares / "squares.task.yaml", "--out", run, "--overwrite"),
    ):
        result = cli(*command)
        assert result.code == 2, command
        assert f"{place}: a link that leads out of the run, to {outside}" in result.err
    assert {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()} == before


def test_a_runs_card_cannot_send_evaluate_out_of_the_data_folder(cli, run, shared_squares, tmp_path):
    config = yaml.safe_load((run / "config.yaml").read_text())
    card = config["cards"]["squares"]
    for change in (
        {"tables": [{"file": "../secret.csv"}]},
        {"images": {"root": "/", "column": "file"}},
        {"images": {"root": "a/../..", "column": "file"}},
    ):
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "cards": {"squares": {**card, **change}}}))
        (tmp_path / "data").mkdir(exist_ok=True)
        result = cli("evaluate", run, shared_squares)
        assert result.code == 2
        assert "leads out of the data folder" in result.err


@pytest.mark.parametrize("cards", ["[]", "x", "{squares: [1]}", "{squares: {images: [], tables: {a: 1}}}"])
def test_a_config_of_other_shapes_ends_with_a_message_or_a_report(cli, run, cards):
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "cards": yaml.safe_load(cards)}))
    result = cli("report", run)
    assert result.code in {0, 2}
    assert "Traceback" not in result.err
