"""What a run tells of the machine that made it: no folder, user, host or environment variable, in its files or to W&B."""

import json
import shutil
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

SECRET = "s3cret-of-the-environment"


def leaks(folder, *places, skip=()):
    """Files of a run that name a folder of this machine, its host, or what stands in its environment."""
    words = [*map(str, places), str(Path.home()) + "/", socket.getfqdn() + ".", SECRET]
    found = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and not any(part in skip for part in path.parts)):
        text = file.read_bytes().decode("utf-8", "replace")
        found += [f"{file.relative_to(folder)}: {word}" for word in words if word in text]
    return found


@pytest.fixture
def secret(monkeypatch):
    monkeypatch.setenv("MY_API_KEY", SECRET)


def test_no_file_of_a_run_names_a_folder_of_this_machine(cli, squares, tmp_path, secret):
    from safetensors.torch import save_file

    from attrcls.model.trunk import build_trunk

    home = tmp_path / "home folder"
    home.mkdir()
    save_file(build_trunk("resnet18", px=32).module.state_dict(), home / "mine.safetensors")
    (squares / "images" / "broken.jpg").write_text("no picture")
    with (squares / "labels.csv").open("a") as table:
        table.write("broken.jpg,red,small,p1\ngone.jpg,red,small,p1\n")
    out = tmp_path / "run"
    common = ("--data", squares, "--workers", 0, "--weights", home / "mine.safetensors", "--on-error", "skip")
    result = cli("train", squares / "squares.task.yaml", "--out", out, *common, "--epochs", 1)
    assert result.code == 0, result.err
    assert "broken.jpg" in (out / "skipped.txt").read_text()
    assert cli("report", out).code == 0
    assert "data:image/jpeg" in (out / "report.html").read_text() or "There are none." in (out / "report.html").read_text()
    cleaned = cli(
        "clean-labels", squares / "squares.task.yaml", "--out", tmp_path / "clean", *common, "--fast", "--set", "image.px=64", "--limit", 20
    )
    assert cleaned.code == 0, cleaned.err
    for folder in (out, tmp_path / "clean"):
        assert leaks(folder, tmp_path) == []
    assert "mine.safetensors: 120 of 120 tensors loaded" in (out / "config.yaml").read_text()


def test_a_run_remembers_where_its_pictures_lie_in_the_cache_alone(cli, squares, tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert cli("train", squares / "squares.task.yaml", "--out", out, "--workers", 0, "--epochs", 1, "--set", "optimiser.lr=1e-9").code == 0
    assert cli("report", out).code == 0
    assert "data:image/jpeg" in (out / "report.html").read_text()
    monkeypatch.setenv("ATTRCLS_CACHE", str(tmp_path / "another machine"))
    assert cli("report", out).code == 0
    assert "data:image/jpeg" not in (out / "report.html").read_text()
    assert cli("report", out, "--data", squares).code == 0
    assert "data:image/jpeg" in (out / "report.html").read_text()


def test_a_run_that_failed_says_why_without_its_folders(cli, squares, tmp_path, monkeypatch):
    import attrcls.runs.epochs as epochs

    def fails(*_):
        raise OSError(28, "No space left on device", str(tmp_path / "run" / "x.safetensors"))

    monkeypatch.setattr(epochs, "save_checkpoint", fails)
    assert cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, "--epochs", 1).code == 1
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "failed"
    assert "No space left" in status["message"] and "…/x.safetensors" in status["message"]
    assert leaks(tmp_path / "run", tmp_path) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/photos/of/me/a.jpg: zero bytes", "…/a.jpg: zero bytes"),
        ("could not write D:\\photos\\me\\run\\x: full", "could not write …/x: full"),
        ("no file images/a.jpg, and/or https://example.org/a/b.html", "no file images/a.jpg, and/or https://example.org/a/b.html"),
        ("in /the folder/with blanks/x.jpg", "in …/x.jpg"),
    ],
)
def test_folders_are_taken_out_of_a_message(text, told):
    from attrcls.runs.places import without_places

    assert without_places(text, known=[Path("/the folder/with blanks")]) == told


def recorded(folder, *, until):
    """What the client wrote of the tracked run; it writes in a process of its own, a moment after we are done."""
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    for _ in range(300):
        if until in record.read_bytes():
            return record.read_bytes()
        time.sleep(0.1)
    raise AssertionError(f"{record} never held {until!r}")


def test_weights_and_biases_is_told_of_the_run_and_not_of_the_machine(cli, squares, tmp_path, monkeypatch, secret):
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("WANDB_DATA_DIR", tmp_path / "staging")):
        monkeypatch.setenv(name, str(value))
    out = tmp_path / "run"
    result = cli("train", squares / "squares.task.yaml", "--out", out, "--workers", 0, "--epochs", 1, "--wandb")
    assert result.code == 0, result.err
    record = recorded(out, until=b"model.json")
    for word in (b"mean/f1", b"colour", b"train_loss"):
        assert word in record
    # Where the client itself stages the model until it is uploaded is its own affair, and never sent.
    told = record.replace(str(tmp_path / "staging").encode(), b"")
    machine = [str(tmp_path), str(Path.home()) + "/", socket.gethostname() + '"', SECRET, sys.executable, "requirements.txt", "squares.task.yaml"]
    assert [word for word in machine if word.encode() in told] == []
    assert leaks(out, tmp_path, skip=[path.name for path in out.rglob("*.wandb")]) == []
    unasked = {"requirements.txt", "wandb-metadata.json", "output.log", "debug.log", "debug-internal.log", "diff.patch"}
    assert unasked & {path.name for path in out.rglob("*")} == set()
    assert not list(out.glob("wandb/**/code/*"))


def test_weights_and_biases_is_told_of_the_machine_when_asked(tmp_path, monkeypatch):
    from attrcls.training.tracking import Tracker

    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("WANDB_DATA_DIR", tmp_path / "staging")):
        monkeypatch.setenv(name, str(value))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")
    tracker = Tracker(project="p", name="n", config={}, folder=tmp_path, run_id=None, system=True)
    tracker.finish(tmp_path / "model")
    assert list(tmp_path.rglob("requirements.txt"))
    assert list(tmp_path.rglob("debug.log"))


def test_a_strangers_run_puts_no_picture_of_ours_into_its_report(cli, trained_run, tmp_path):
    """Neither by a folder that its config names, nor by a path in its tables, nor by a link."""
    run = shutil.copytree(trained_run, tmp_path / "run")
    secret = tmp_path / "private" / "me.png"
    secret.parent.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(secret)
    validation = pd.read_csv(run / "validation.csv", dtype=str, keep_default_na=False)
    validation["colour"] = [{"red": "blue", "blue": "green", "green": "red"}[given] for given in validation["colour_given"]]
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["run"] |= {"image_roots": {"squares": str(secret.parent)}, "data": {"squares": str(secret.parent)}, "manifest": "../../private"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "link.png").symlink_to(secret)
    (data / "linked").symlink_to(secret.parent)
    paths = ["me.png", str(secret), "../private/me.png", "images/../../private/me.png", "images/link.png", "linked/me.png", "~/x.png"]
    assert len(validation) >= len(paths)
    validation["path"] = [paths[row % len(paths)] for row in range(len(validation))]
    validation.to_csv(run / "validation.csv", index=False)
    for options in ((), ("--data", data)):
        assert cli("report", run, *options).code == 0
        page = (run / "report.html").read_text()
        assert page.count("no picture") >= len(paths)
        assert "data:image" not in page
