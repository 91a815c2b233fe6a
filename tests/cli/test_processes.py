"""Training and cleaning in two processes that torchrun starts: the same results as in one, and an end that says why.

Two starts of torchrun serve all tests, for most of the time goes into starting.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from conftest import draw_squares

from attrcls.runs.clean import run_clean
from attrcls.runs.train import run_train
from attrcls.tensors import load_tensors

# A trunk that is quick to start, with BatchNorm; 15 rows in batches of 4, so that the last is smaller and splits unevenly.
TASK = {
    "trunk.name": "shufflenet_v2_x0_5", "trunk.freeze_bn": True, "trunk.freeze_epochs": 1, "batch_size": 4, "epochs": 2,
    "optimiser.clip_norm": 5.0, "optimiser.accumulate": 3, "loss_balance": "famo",
    "scarce": {"small": {"where": {"size": "small"}, "augment": "flip"}},
}  # fmt: skip
SETTINGS = [part for key, value in TASK.items() for part in ("--set", f"{key}={str(value).lower()}")]
SETTINGS += ["--workers", "0", "--precision", "32", "--device", "cpu"]
# Runs several commands in the same processes, and tells of each its process and exit code, and of each epoch a digest of the process's weights
# and statistics. The process that is to be killed dies before the last epoch is written.
PROGRAM = """\
import hashlib, json, os, signal, sys
from attrcls.cli.app import main
import attrcls.runs.epochs as epochs
from attrcls.tensors import digest_tensors
rank, victim = os.environ["RANK"], sys.argv[1]
end_epoch = epochs._end_epoch
def watched(run, *args, **kwargs):
    if rank == victim and run.state.epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    end_epoch(run, *args, **kwargs)
    digest = hashlib.blake2b(digest_size=8)
    for network in (run.state.network, run.state.scored_network):
        digest_tensors(digest, network.state_dict())
    print(f"process {rank}: {run.folder.path.name} {run.state.epoch} {digest.hexdigest()}", flush=True)
epochs._end_epoch = watched
for arguments in json.loads(sys.argv[2]):
    sys.argv = ["attrcls", *arguments]
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    print(f"process {rank}: {arguments[0]} gave {code}", flush=True)
sys.exit(code)
"""


@dataclass(frozen=True)
class Done:
    """What torchrun gave: its exit code, and all that was printed."""

    code: int
    text: str


def start_two(folder: Path, commands: list[list[str]], *, killed: str = "none") -> Done:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--rdzv-backend", "c10d"]
    command = [*launcher, "--rdzv-endpoint", "localhost:0", str(program), killed, json.dumps(commands)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ATTRCLS_CACHE": str(folder / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False, timeout=280)
    return Done(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen pictures, half of them without a size: many a process has none in its share of a batch."""
    folder = tmp_path_factory.mktemp("processes") / "squares"
    table = draw_squares(folder, people=6, each=3)
    table.loc[table.index % 2 == 0, "Size"] = ""
    table.to_csv(folder / "labels.csv", index=False)
    return folder / "squares.task.yaml"


@pytest.fixture(scope="module")
def killed(pictures: Path) -> tuple[Path, Done]:
    """A training of which process 1 was killed in the second epoch."""
    done = start_two(pictures.parent.parent, [["train", str(pictures), "--out", "killed", *SETTINGS]], killed="1")
    return pictures.parent.parent / "killed", done


@pytest.fixture(scope="module")
def in_two(pictures: Path, killed: tuple[Path, Done]) -> tuple[Path, Done]:
    """The folder of all that two processes made, one command after another; the last one is refused."""
    folder, task = pictures.parent.parent, str(pictures)
    shutil.copytree(killed[0], folder / "resumed")
    commands = [
        ["train", task, "--out", "resumed", "--resume", *SETTINGS],
        ["train", task, "--out", "trained", *SETTINGS],
        ["train", task, "--out", "learning", *SETTINGS, "--set", "trunk.freeze_bn=false", "--batch-size", "8"],
        ["train", task, "--out", "agreeing", *SETTINGS, "--set", "unlabelled={method: freematch, ratio: 0.75}"],
        ["clean-labels", task, "--out", "fast", "--fast", *SETTINGS],
        ["clean-labels", task, "--out", "full", "--full", *SETTINGS],
        ["train", task, "--out", "trained", *SETTINGS],
    ]
    return folder, start_two(folder, commands)


@pytest.fixture(scope="module")
def in_one(pictures: Path) -> Path:
    """The same training in one process."""
    out = pictures.parent.parent / "alone"
    return run_train(str(pictures), out=out, changes=TASK, workers=0, precision="32", device="cpu")


def assert_same_training(one: Path, other: Path) -> None:
    ours, theirs = (load_tensors(run / "checkpoints" / "last.safetensors")[0] for run in (one, other))
    assert ours.keys() == theirs.keys()
    assert max(float((ours[key].float() - theirs[key].float()).abs().max()) for key in ours) < 1e-5
    pd.testing.assert_frame_equal(pd.read_csv(one / "metrics.csv"), pd.read_csv(other / "metrics.csv"), rtol=0, atol=1e-4)


def test_two_processes_train_the_weights_and_scores_of_one(in_one, in_two):
    assert_same_training(in_one, in_two[0] / "trained")


def test_two_processes_learn_from_pictures_without_labels_as_one_does_with_the_same_thresholds(in_two, pictures, tmp_path):
    changes = {**TASK, "unlabelled": {"method": "freematch", "ratio": 0.75}}
    run_train(str(pictures), out=tmp_path / "alone", changes=changes, workers=0, precision="32", device="cpu")
    assert_same_training(tmp_path / "alone", in_two[0] / "agreeing")
    assert "running.size" in load_tensors(in_two[0] / "agreeing" / "checkpoints" / "last.safetensors")[0]


def test_all_processes_have_the_same_weights_and_batchnorm_statistics_after_each_epoch(in_two):
    told = [set(re.findall(rf"process {rank}: (\w+ \d [0-9a-f]{{16}})", in_two[1].text)) for rank in range(2)]
    assert told[0] == told[1]
    assert sorted(each[:-17] for each in told[0]) == ["agreeing 1", "agreeing 2", "learning 1", "learning 2", "resumed 2", "trained 1", "trained 2"]


def test_a_killed_process_ends_the_other_with_a_message_and_a_run_to_resume(killed):
    folder, done = killed
    assert done.code != 0
    assert done.text.count("error: process 1 of 2 ends: another process ended") == 1
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["epochs_done"]) == ("failed", 1)
    assert "another process ended" in status["message"]
    assert not (folder / ".lock").exists()


def test_a_killed_training_resumes_with_two_processes_or_one_to_the_same_end(killed, in_one, in_two, pictures):
    assert_same_training(in_one, in_two[0] / "resumed")
    run_train(str(pictures), out=killed[0], changes=TASK, workers=0, precision="32", device="cpu", resume=True)
    assert_same_training(in_one, killed[0])


@pytest.mark.parametrize("full", [False, True], ids=["fast", "full"])
def test_two_processes_find_the_suspects_of_one(in_two, pictures, tmp_path, full):
    alone = run_clean(str(pictures), out=tmp_path / "alone", full=full, changes=TASK, workers=0, precision="32", device="cpu").folder
    together = in_two[0] / ("full" if full else "fast")
    for name in ("aum_values.csv", "verdicts.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(alone / name), pd.read_csv(together / name), rtol=0, atol=1e-3)


def test_what_the_user_got_wrong_is_said_once_and_ends_both_with_its_exit_code(in_two):
    text = in_two[1].text
    assert text.count("error: ") == 1 == text.count("already holds a run; name another folder")
    assert [text.count(f"process {rank}: train gave 2") for rank in range(2)] == [1, 1]
    assert [text.count(f"process {rank}: clean-labels gave 0") for rank in range(2)] == [2, 2]


def test_one_process_alone_prints(in_two):
    text = in_two[1].text
    assert text.count("run: trained") == 1 == text.count("look at them: fast")


def launched(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "GROUP_WORLD_SIZE": 1, "TORCHELASTIC_RUN_ID": "test"}
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize(
    "command", [("predict", "run", "pictures"), ("evaluate", "run", "t.csv"), ("report", "run"), ("export", "run", "--onnx", "f")]
)
def test_what_works_in_one_process_is_refused_in_several_and_once(cli, monkeypatch, command):
    launched(monkeypatch, 0)
    refused = cli(*command)
    assert refused.code == 2
    assert "works in one process, and a launcher started 2: run it without torchrun or srun" in refused.err
    launched(monkeypatch, 1)
    silent = cli(*command)
    assert (silent.code, silent.out, silent.err) == (2, "", "")
