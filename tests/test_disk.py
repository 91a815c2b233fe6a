"""A disk that is full, broken or read-only: each write that a command makes fails in turn, and nothing is lost or half-made.

The writes are seen, not read off the source: Python tells an audit hook of every file that is opened for writing, every folder
made and every rename. `COMMANDS` names what each command writes, in order, so that a test's name says which write failed; the
first test holds that against what was seen.
"""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file

SMALL = ("--set", "trunk.name=squeezenet1_1", "--workers", 0)
# What `files.replacing` writes under, before it takes the name that was asked for.
TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}(\.\w+)?")
FULL, BROKEN, READ_ONLY = errno.ENOSPC, errno.EIO, errno.EROFS


@dataclass
class Disk:
    """What is written below `root`. The write numbered `fails_at` is refused with the error `code`: as it begins, or (`late`)
    when all is written and is to take its name, the renames before `renames` are let through); with `stays`, so is everything after it."""

    root: Path
    fails_at: int = -1
    code: int = FULL
    late: bool = False
    stays: bool = True
    renames: int = 0
    writes: list[str] = field(default_factory=list)

    def see(self, event: str, arguments: Sequence[Any]) -> None:
        """One event of the audit hook.

        Raises:
            OSError: this is the write that fails, or one after it.
        """
        path = arguments[1] if event == "os.rename" else arguments[0]
        if event not in ("os.mkdir", "os.rename", "os.remove", "open") or not isinstance(path, str | os.PathLike):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        name = os.path.relpath(path, self.root)
        # A folder that is there already, or whose parent is not yet, is asked for and not made.
        if name.startswith("..") or (event == "os.mkdir" and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)))):
            return
        temporary = TEMPORARY.fullmatch(os.path.basename(name))
        removes = event == "os.remove"
        # A temporary file is opened a second time, to be filled, and renamed: all that is one write.
        begins = not removes and event != "os.rename" and (temporary is None or bool(arguments[-1] & os.O_EXCL))
        if begins:
            plain = temporary[1] + (temporary[2] or "") if temporary else os.path.basename(name)
            self.writes.append(os.path.join(os.path.dirname(name), plain))
        number = len(self.writes) - 1
        now = number == self.fails_at and (event == "os.rename" if self.late else begins)
        if now and self.renames:
            self.renames, now = self.renames - 1, False
        later = self.stays and number > self.fails_at >= 0 and (not removes or self.code == READ_ONLY)
        if now and not self.stays:
            self.fails_at = -1
        if now or later:
            raise OSError(self.code, os.strerror(self.code), str(path))


_watched: list[Disk] = []


def _hook(event: str, arguments: Any) -> None:
    if _watched and arguments:
        _watched[-1].see(event, arguments)


# A hook stays until the process ends; without a disk to watch it does nothing.
sys.addaudithook(_hook)


@contextmanager
def watched(disk: Disk) -> Iterator[Disk]:
    _watched.append(disk)
    try:
        yield disk
    finally:
        _watched.pop()


@dataclass(frozen=True)
class Shared:
    """What the commands read: the drawn squares, a run trained on them, decisions on their labels."""

    squares: Path
    run: Path
    decisions: Path


@dataclass(frozen=True)
class Command:
    """A command and what it writes below the folder that it is given, in order. `fail` are the writes to let fail (all, where
    None). `file` lies there before, from another day, and is to be replaced."""

    arguments: Callable[[Shared, Path], Sequence[object]]
    writes: Sequence[str]
    fail: Sequence[int] | None = None
    file: str | None = None


@pytest.fixture(scope="module")
def shared(few_squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    from attrcls.runs.train import run_train

    folder = tmp_path_factory.mktemp("disk")
    task = str(few_squares / "squares.task.yaml")
    run = run_train(task, out=folder / "run", workers=0, overrides=["trunk.name=squeezenet1_1", "epochs=1"])
    label = pd.read_csv(few_squares / "labels.csv").iloc[0]
    row = {"card": "squares", "row_id": f"images/{label['file']}", "head": "colour", "given_label": label["colour"], "decision": "drop_label"}
    pd.DataFrame([row]).to_csv(folder / "decisions.csv", index=False)
    return Shared(few_squares, run, folder / "decisions.csv")


RUN = ["run", "run/.lock", "run/status.json", "run/config.yaml"]
CLEANED = [f"run/{name}" for name in ("verdicts.csv", "aum_values.csv", "cleaned.csv", "review.html", "status.json")]
TABLES = ["run/splits.csv"]
PLACES = ["cache/places", "cache/places/places"]
AN_EPOCH = ["run/checkpoints/last.safetensors", "run/metrics.csv", "run/timings.csv", "run/status.json"]
FIRST_EPOCH = ["run/status.json", "run/checkpoints", "run/checkpoints/best.safetensors", "run/model", "run/model/weights.safetensors",
               "run/model/model.json", "run/validation.csv", "run/validation.safetensors", *AN_EPOCH]  # fmt: skip
END = ["run/model/README.md", "run/status.json"]
COMMANDS = {
    "train": Command(
        lambda shared, out: ["train", task_of(shared), "--out", out / "run", "--epochs", 2, *SMALL],
        [*RUN, *TABLES, "cache", *PLACES, *FIRST_EPOCH, *AN_EPOCH, *END],
    ),
    "train-frozen": Command(
        lambda shared, out: ["train", task_of(shared), "--out", out / "run", "--epochs", 1, "--freeze", "--sweep-lr", "1e-3,1e-2", *SMALL],
        [*RUN[:2], "cache", "cache/features", "cache/features", *RUN[2:], *TABLES, "run/sweep.csv", *PLACES, *FIRST_EPOCH, *END],
        fail=[2, 3, 4, 8],
    ),
    "clean-fast": Command(
        lambda shared, out: ["clean-labels", task_of(shared), "--fast", "--out", out / "run", *SMALL],
        [*RUN, "cache", "cache/features", *CLEANED],
    ),
    "clean-full": Command(
        lambda shared, out: ["clean-labels", task_of(shared), "--full", "--out", out / "run", *SMALL],
        [*RUN, "run/checkpoints", *["run/checkpoints/run0.safetensors"] * 3, *["run/checkpoints/run1.safetensors"] * 3,
         *["run/checkpoints/run2.safetensors"] * 3, *CLEANED],
        fail=[4, 6, 8],
    ),
    "clean-apply": Command(
        lambda shared, out: ["clean-labels", task_of(shared), "--apply", shared.decisions, "--out", out / "mended.csv", "--overwrite"],
        ["mended.csv"],
        file="mended.csv",
    ),
    "predict-csv": Command(lambda shared, out: ["predict", shared.run, asked(shared), "--csv", out / "p.csv"], ["p.csv"], file="p.csv"),
    "predict-parquet": Command(
        lambda shared, out: ["predict", shared.run, asked(shared), "--csv", out / "p.parquet"], ["p.parquet"], file="p.parquet"
    ),
    "predict-submission": Command(
        lambda shared, out: ["predict", shared.run, asked(shared), "--submission", "--csv", out / "new" / "p.jsonl"], ["new", "new/p.jsonl"]
    ),
    "evaluate": Command(
        lambda shared, out: ["evaluate", shared.run, asked(shared), "--json", out / "scores.json"], ["scores.json"], file="scores.json"
    ),
    "report": Command(lambda shared, out: ["report", shared.run, "--out", out / "report.html"], ["report.html"], file="report.html"),
    "card-init": Command(
        lambda shared, out: ["card", "init", shared.squares / "labels.csv", "--out", out / "my.card.yaml"], ["my.card.yaml", "my.task.yaml"]
    ),
    "schema": Command(lambda shared, out: ["schema", out], ["task.schema.json", "card.schema.json"], file="card.schema.json"),
    "data": Command(lambda shared, out: ["data", task_of(shared)], []),
}  # fmt: skip
HOWS: dict[str, dict[str, Any]] = {
    "full": {},  # as the file is opened, and so is every write after it
    "torn": {"code": BROKEN, "late": True, "stays": False},  # when all is written; the next write is fine again
    "refused": {"code": errno.EACCES, "stays": False},  # as the file is opened, alone
}


def cases() -> Iterator[tuple[str, int, str]]:
    """Every write of every command: on a disk that is full from there on, and torn where it is renamed; of the cache, refused
    alone, because a full disk would end the command elsewhere."""
    for name, command in COMMANDS.items():
        for number in range(len(command.writes)) if command.fail is None else command.fail:
            file = command.writes[number]
            yield name, number, "refused" if file.startswith("cache") else "full"
            if file not in ("run", "run/.lock", "run/model", "run/checkpoints", "cache", "cache/places", "new"):
                yield name, number, "torn"


CASES = list(cases())


def task_of(shared: Shared) -> Path:
    return shared.squares / "squares.task.yaml"


def asked(shared: Shared) -> Path:
    return shared.squares / "labels.csv"


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def outcome(folder: Path) -> dict[str, object]:
    """What a command ended with, without what the clock says."""
    found: dict[str, object] = {}
    for name, content in files_below(folder).items():
        if name.endswith(".safetensors"):
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in load_file(folder / name).items()}
        elif name.endswith("timings.csv"):
            found[name] = len(pd.read_csv(folder / name))
        elif name.endswith("status.json"):
            found[name] = [json.loads(content).get(key) for key in ("state", "epochs_done", "best_epoch", "kept_epoch")]
        else:
            found[name] = content
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, object]]:
    """What commands end with when nothing fails, each run once."""
    return {}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_writes_just_what_is_let_fail_here(cli, shared, tmp_path, name):
    out = tmp_path / "out"
    out.mkdir()
    with watched(Disk(tmp_path)) as disk:
        assert cli(*COMMANDS[name].arguments(shared, out)).code == 0
    seen = [re.sub(r"[0-9a-f]{32}\.safetensors", "features", write).removeprefix("out/") for write in disk.writes]
    seen = [re.sub(r"[0-9a-f]{32}\.json", "places", write) for write in seen]
    assert seen == list(COMMANDS[name].writes)


@pytest.mark.parametrize(
    ("name", "number", "how"), CASES, ids=[f"{name}-{number}-{COMMANDS[name].writes[number]}-{how}" for name, number, how in CASES]
)
def test_a_write_that_fails_loses_nothing_and_the_command_can_be_run_again(cli, shared, undisturbed, tmp_path, name, number, how):
    command, failing = COMMANDS[name], COMMANDS[name].writes[number]
    arguments, out = command.arguments(shared, tmp_path / "out"), tmp_path / "out"
    if name not in undisturbed:
        assert cli(*arguments).code == 0
        undisturbed[name] = outcome(out)
        shutil.rmtree(out)
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    out.mkdir()
    if command.file:
        (out / command.file).write_text("of another day")
    disk = Disk(tmp_path, fails_at=number, **HOWS[how])
    with watched(disk):
        failed = cli(*arguments)
    assert "Traceback" not in failed.err
    assert not [path for path in files_below(tmp_path) if TEMPORARY.fullmatch(Path(path).name)]
    if failing.startswith("cache"):
        # The next run computes the features again; this one has them. Where the pictures lie can be said to report again, too.
        assert failed.code == 0, failed.err
        assert outcome(out) == undisturbed[name]
        if name == "train" or failing in PLACES:
            return
        assert "features will be computed again" in failed.err and os.strerror(disk.code) in failed.err
        return
    assert failed.code == 1
    reason = os.strerror(disk.code).lower()
    told = "run" if failing in RUN[:2] else failing
    assert re.search(rf"could not write {re.escape(str(out / told))}\b.*{reason}", failed.err.lower().replace("\n", " "), re.IGNORECASE), failed.err
    if command.file:
        assert files_below(out)[command.file] == b"of another day" or number > command.writes.index(command.file)
    if name.startswith("train"):
        assert_not_taken_for_whole(cli, shared, out / "run")
    again = cli(*arguments)
    if again.code == 2:
        assert "already holds a run" in again.err and "--resume" in again.err
        again = cli(*arguments, "--resume")
    assert again.code == 0, again.err
    assert outcome(out) == undisturbed[name]


def assert_not_taken_for_whole(cli, shared, run):
    """A run that stopped short says so, and predicts with a whole model or not at all."""
    if (run / "status.json").exists():
        assert json.loads((run / "status.json").read_text())["state"] != "finished"
    predicted = cli("predict", run, shared.squares / "images" / "p00_0.jpg")
    whole = (run / "model" / "weights.safetensors").exists() and (run / "model" / "model.json").exists()
    assert predicted.code == (0 if whole else 2), predicted.err
    assert "Traceback" not in predicted.err


@pytest.mark.parametrize("number", [COMMANDS["train"].writes.index(name) for name in ("run", "run/status.json", "run/model", "run/metrics.csv")])
def test_a_disk_that_went_read_only_is_told_and_the_run_resumes_when_it_is_well(cli, shared, undisturbed, tmp_path, number):
    """Then not even a lock or a temporary file can be removed any more."""
    command, out = COMMANDS["train"].arguments(shared, tmp_path / "out"), tmp_path / "out"
    out.mkdir()
    with watched(Disk(tmp_path, fails_at=number, code=READ_ONLY, late=number > 2)):
        failed = cli(*command)
    assert failed.code == 1
    assert os.strerror(READ_ONLY).lower() in failed.err.lower()
    again = cli(*command, "--resume")
    assert again.code == 0, again.err
    assert not [path for path in files_below(out) if TEMPORARY.fullmatch(Path(path).name)]


def test_the_last_good_checkpoint_survives_a_failed_one_and_is_gone_on_from(cli, shared, tmp_path):
    command, out = COMMANDS["train"].arguments(shared, tmp_path), tmp_path / "run"
    with watched(Disk(tmp_path, fails_at=len(COMMANDS["train"].writes) - len(END) - len(AN_EPOCH))):
        assert cli(*command).code == 1
    assert json.loads((out / "status.json").read_text())["epochs_done"] == 1
    assert len(pd.read_csv(out / "metrics.csv")) == 1
    resumed = cli(*command, "--resume")
    assert resumed.code == 0
    assert "resumed after epoch 1" in resumed.err


def test_a_run_to_be_replaced_stays_whole_where_nothing_can_be_written(cli, shared, tmp_path):
    shutil.copytree(shared.run, tmp_path / "run")
    before = files_below(tmp_path / "run")
    # The lock, and then the word that the run is being replaced.
    for number in (0, 1):
        with watched(Disk(tmp_path, fails_at=number)) as disk:
            failed = cli(*COMMANDS["train"].arguments(shared, tmp_path), "--overwrite")
        assert disk.writes[number] == ["run/.lock", "run/status.json"][number]
        assert failed.code == 1
        assert files_below(tmp_path / "run") == before


def test_files_that_cannot_be_removed_leave_no_run_that_looks_finished(cli, shared, tmp_path, monkeypatch):
    shutil.copytree(shared.run, tmp_path / "run")

    def refuse(path):
        raise OSError(BROKEN, os.strerror(BROKEN), str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    failed = cli(*COMMANDS["train"].arguments(shared, tmp_path), "--overwrite")
    assert failed.code == 1
    assert f"could not empty {tmp_path / 'run'}: " in failed.err and "Input/output error" in failed.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "being replaced"


@pytest.mark.parametrize("kind", ["faces", "fashion"])
@pytest.mark.parametrize("place", [0, 0.1, 0.6, 0.999, 1])
def test_a_sample_is_complete_or_absent(cli, tmp_path, kind, place):
    """At the first folder, among the pictures, at the last table, and as the finished folder is to take its name."""
    command = ("sample", tmp_path / "drawn", "--kind", kind, "--people", 10)
    with watched(Disk(tmp_path, fails_at=10_000)) as whole:
        assert cli(*command).code == 0
    shutil.rmtree(tmp_path / "drawn")
    last = len(whole.writes) - 1
    with watched(Disk(tmp_path, fails_at=min(last, round(place * last)), late=place == 1)):
        failed = cli(*command)
    assert failed.code == 1
    assert f"could not write the sample to {tmp_path / 'drawn'}: No space left on device" in failed.err
    assert list(tmp_path.iterdir()) == []


def test_a_sample_in_an_empty_folder_is_taken_back_where_it_cannot_be_put_in_whole(cli, tmp_path):
    (tmp_path / "drawn").mkdir()
    with watched(Disk(tmp_path, fails_at=10_000)) as whole:
        assert cli("sample", tmp_path / "drawn", "--people", 10).code == 0
    shutil.rmtree(tmp_path / "drawn")
    (tmp_path / "drawn").mkdir()
    # The disk lets the first of the four be put in place.
    with watched(Disk(tmp_path, fails_at=len(whole.writes) - 1, late=True, stays=False, renames=1)):
        failed = cli("sample", tmp_path / "drawn", "--people", 10)
    assert failed.code == 1
    assert [path.name for path in tmp_path.rglob("*")] == ["drawn"]


@pytest.mark.parametrize(("number", "late"), [(0, False), (1, False), (1, True)])
def test_a_demo_that_could_not_begin_leaves_nothing_in_its_way(cli, tmp_path, number, late):
    with watched(Disk(tmp_path, fails_at=number, late=late)):
        failed = cli("demo", tmp_path / "demo", "--people", 10)
    assert failed.code == 1
    assert "could not write" in failed.err and "No space left" in failed.err
    assert files_below(tmp_path) == {}


class Client:
    """Stands for wandb, which writes in a process of its own; every method named in `failing` meets a full disk."""

    dir = "/nowhere/files"

    def __init__(self, *failing):
        self.failing, self.id = failing, "id"

    def __getattr__(self, name):
        def method(*_, **__):
            if name in self.failing:
                raise OSError(FULL, os.strerror(FULL))
            return self

        return method


@pytest.mark.parametrize(("failing", "told"), [("init", "could not start"), ("log", "failed"), ("log_artifact", "failed")])
def test_a_tracker_whose_disk_is_full_ends_the_command_and_the_run_goes_on_without_it(cli, shared, tmp_path, monkeypatch, failing, told):
    command = COMMANDS["train"].arguments(shared, tmp_path)
    # What fails at the end must not hide what failed before.
    monkeypatch.setitem(sys.modules, "wandb", Client(failing, *(["finish"] if failing == "log" else [])))
    failed = cli(*command, "--wandb")
    assert failed.code == 1
    assert f"--wandb: the client {told} ([Errno 28] No space left on device)" in failed.err
    assert cli(*command, "--resume").code == 0
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "finished"


def test_predictions_that_could_not_be_written_are_not_made_again(cli, shared, tmp_path, monkeypatch):
    from attrcls.prediction import images

    monkeypatch.setattr(images, "PART_PICTURES", 4)
    monkeypatch.setattr(images, "PART_SECONDS", -1.0)
    command = ("predict", shared.run, asked(shared), "--batch-size", 4, "--csv", tmp_path / "p.csv")
    with watched(Disk(tmp_path, fails_at=10_000)) as whole:
        assert cli(*command).code == 0
    before = (tmp_path / "p.csv").read_bytes()
    shutil.rmtree(tmp_path / "cache")
    with watched(Disk(tmp_path, fails_at=len(whole.writes) - 1)):
        assert cli(*command).code == 1
    real, batches = images.LocalRunner._forward, []
    monkeypatch.setattr(images.LocalRunner, "_forward", lambda self, pixels: batches.append(pixels) or real(self, pixels))
    assert cli(*command, "--resume").code == 0
    assert batches == []
    assert (tmp_path / "p.csv").read_bytes() == before
    assert not list((tmp_path / "cache" / "predictions").rglob("*.safetensors"))


# Runs commands, each in a child whose files the kernel itself lets grow to so many bytes; prints their exit codes.
LIMITED = """
import os, resource, sys
import attrcls.runs.train, attrcls.runs.predict
from attrcls.cli.app import main
for argument in sys.argv[1:]:
    limit, *command = argument.split("|")
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        sys.argv = ["attrcls", *command]
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_the_kernels_own_refusal_is_told_whichever_library_writes(shared, tmp_path):
    """Python's own files, Parquet's and safetensors': a limit on files' sizes acts as a disk does that fills up in mid-file."""
    files = [tmp_path / name for name in ("p.csv", "p.jsonl", "p.parquet")]
    commands: list[Sequence[object]] = [(100, "predict", shared.run, asked(shared), "--csv", file) for file in files]
    commands.append((100_000, "train", task_of(shared), "--out", tmp_path / "run", "--epochs", 1, *SMALL))
    for file in files:
        file.write_text("of another day")
    script = [sys.executable, "-c", LIMITED, *("|".join(map(str, command)) for command in commands)]
    # One thread, because a fork needs a process without any.
    done = subprocess.run(script, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.stdout.split()[-4:] == ["1"] * 4, done.stderr
    assert "Traceback" not in done.stderr
    for file in (*files, tmp_path / "run" / "checkpoints" / "best.safetensors"):
        assert f"could not write {file}: " in done.stderr
    assert done.stderr.count("File too large") == 4
    assert [file.read_text() for file in files] == ["of another day"] * 3
    assert not [path for path in files_below(tmp_path) if TEMPORARY.fullmatch(Path(path).name)]
    assert list((tmp_path / "run" / "checkpoints").iterdir()) == []
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's device that is always full")
def test_an_output_that_cannot_be_printed_is_an_error_and_no_traceback():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", "from attrcls.cli.app import main; main()", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
