"""`attrcls predict --ray`: the same table from a cluster's workers, whatever becomes of one of them."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from web import served

from attrcls.cluster import Cluster
from attrcls.prediction import images, spread
from attrcls.prediction.images import LocalRunner
from attrcls.prediction.parts import KeptParts
from attrcls.runs import predict

OPTIONS = ["--batch-size", 4, "--precision", 32, "--engine", "torch", "--probabilities"]


@pytest.fixture(autouse=True)
def not_nice(monkeypatch):
    """Ray's workers let every other process go first, and tests beside these would have them wait for minutes."""
    monkeypatch.setenv("RAY_worker_niceness", "0")


@pytest.fixture
def asked(shared_squares, tmp_path):
    """`asked.csv` of 203 rows on 201 pictures, one broken, one gone, a blank cell and a repeated row, beside the pictures."""
    folder = tmp_path / "asked"
    folder.mkdir()
    drawn = sorted((shared_squares / "images").glob("*.jpg"))
    for number in range(200):
        shutil.copy(drawn[number % len(drawn)], folder / f"{number:03}.jpg")
    (folder / "007.jpg").write_bytes(b"no picture")
    names = [f"{number:03}.jpg" for number in range(200)]
    pd.DataFrame({"path": [*names, "gone.jpg", "", names[0]], "mine": range(203)}).to_csv(folder / "asked.csv", index=False)
    return folder / "asked.csv"


def workers_of(pid: int) -> list[int]:
    """The processes below this one that do blocks."""
    parents, titles = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            titles[int(folder.name)] = (folder / "cmdline").read_bytes()

    def is_below(each: int) -> bool:
        while each in parents and each != pid:
            each = parents[each]
        return each == pid

    return [each for each, title in titles.items() if title.startswith(b"ray::MapWorker") and is_below(each)]


@pytest.mark.timeout(900)  # two processes import torch, and a third when one was killed
def test_a_killed_worker_loses_and_doubles_nothing_and_the_table_is_that_of_one_process(cli, trained_run, asked, tmp_path):
    here = cli("predict", trained_run, asked, *OPTIONS, "--csv", tmp_path / "here.csv", "--workers", 0)
    assert here.code == 3, here.err
    fetched, killed = [], []

    def kill_in_the_middle(method, path):
        fetched.append(path)
        if len(fetched) == 100:
            killed.extend(workers_of(os.getpid())[:1])
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    # The error column tells the address, so this list is of a folder that is called so in both.
    with served(asked.parent, kill_in_the_middle) as host:
        there = cli(
            "predict", trained_run, asked, *OPTIONS, "--csv", tmp_path / "there.csv", "--image-root", host, "--ray", "local", "--workers", 2
        )  # fmt: skip
    assert there.code == 3, there.err
    assert len(killed) == 1
    assert {f"/{number:03}.jpg" for number in range(200)} <= set(fetched)
    assert there.out.splitlines() == [f"{tmp_path / 'there.csv'}: 203 rows, 3 without a prediction of their own"]
    table = (tmp_path / "there.csv").read_text().replace(f"{host}/", f"{asked.parent}/")
    assert table == (tmp_path / "here.csv").read_text()
    assert not workers_of(os.getpid())


def test_what_a_stopped_command_had_from_a_cluster_is_kept_for_resume(cli, trained_run, asked, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "PART_PICTURES", 16)
    monkeypatch.setattr(images, "PART_SECONDS", -1.0)
    # Workers that do not travel: starting Ray once more would take longer than all else here.
    monkeypatch.setattr(spread, "_take_one_core", lambda folder: None)
    monkeypatch.setattr(Cluster, "spread", lambda self, job, blocks: map(job.start(), blocks))
    monkeypatch.setattr(predict, "joined_cluster", lambda address, **options: contextlib.nullcontext(Cluster(2)))
    assert cli("predict", trained_run, asked, *OPTIONS, "--csv", tmp_path / "here.csv", "--workers", 0).code == 3
    save, saved = KeptParts.save, []

    def save_two(self, size, part):
        save(self, size, part)
        saved.append(len(part.positions))
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(KeptParts, "save", save_two)
    command = ["predict", trained_run, asked, *OPTIONS, "--csv", tmp_path / "there.csv"]
    stopped = cli(*command, "--ray", "127.0.0.1:6379")
    assert stopped.code == 130, stopped.err
    assert not (tmp_path / "there.csv").exists()
    monkeypatch.setattr(KeptParts, "save", save)
    real, run = LocalRunner._forward, []
    monkeypatch.setattr(LocalRunner, "_forward", lambda self, pixels: run.append(len(pixels)) or real(self, pixels))
    resumed = cli(*command, "--workers", 0, "--resume")
    assert resumed.code == 3, resumed.err
    # The broken picture is among those that were kept, and is tried again.
    assert sum(run) == 201 - sum(saved) + 1
    assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ray", "nonsense"], ["--ray nonsense", "HOST:PORT"]),
        (["--ray", "127.0.0.1:9"], ["127.0.0.1:9", "nobody answers there"]),
        (["--ray", "127.0.0.1:99999"], ["127.0.0.1:99999", "nobody answers there"]),
        (["--ray", "ray://127.0.0.1:10001"], ["on a machine of the cluster", "--ray auto"]),
        (["--ray", "local", "--workers", "0"], ["--workers", "1 or more", "found 0"]),
        (["--ray", "auto"], ["--ray auto", "`ray start`"]),
    ],
)
def test_a_cluster_that_is_not_there_is_told(cli, trained_run, asked, tmp_path, monkeypatch, options, says):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    result = cli("predict", trained_run, asked, "--csv", tmp_path / "out.csv", *options)
    assert result.code == 2, result.err
    assert all(part in result.err for part in says), result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "out.csv").exists()


def test_a_cluster_that_died_and_left_its_address_is_told(cli, trained_run, asked, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    result = cli("predict", trained_run, asked, "--ray", "auto")
    assert result.code == 2, result.err
    assert "nobody answers there" in result.err


def test_ray_that_is_not_installed_is_named_with_the_command_that_brings_it(cli, trained_run, asked, without):
    without("ray")
    result = cli("predict", trained_run, asked, "--ray", "local")
    assert result.code == 2
    assert "pip install '.[ray]'" in result.err
