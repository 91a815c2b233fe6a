"""A run directory is written by one process at a time, and free again at once when that process is gone."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from attrcls.errors import AttrclsError, UserError
from attrcls.runs.folder import open_run_folder
from attrcls.runs.lock import LOCK_NAME, locked

# Holds the folder, with a forked child, as a loader's worker is one, that outlives it.
HOLDER = """
import os, sys, time
from pathlib import Path
from attrcls.runs.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(60)
"""


@dataclass(frozen=True)
class Holding:
    """A process that holds a folder, and the process id of its worker."""

    process: subprocess.Popen[str]
    worker: int

    @property
    def pid(self) -> int:
        return self.process.pid


@pytest.fixture
def holder() -> Iterator[Callable[[Path], Holding]]:
    """Start a process that holds a folder, until the test is done."""
    started: list[Holding] = []

    def hold(folder: Path) -> Holding:
        process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        started.append(Holding(process, int(process.stdout.readline())))
        return started[-1]

    yield hold
    for each in started:
        each.process.kill()
        each.process.wait()
        os.kill(each.worker, signal.SIGKILL)


def test_a_second_process_is_refused_and_a_kill_frees_the_folder_though_a_worker_lives_on(tmp_path, holder):
    holding = holder(tmp_path / "run")
    with pytest.raises(UserError, match=f"process {holding.pid}"), locked(tmp_path / "run"):
        pass
    holding.process.kill()
    holding.process.wait()
    os.kill(holding.worker, 0)
    with locked(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_NAME).read_text() == str(os.getpid())


def test_a_folder_in_which_nothing_was_written_is_gone_afterwards(tmp_path):
    with pytest.raises(KeyError), open_run_folder(tmp_path / "runs" / "first", resume=False, overwrite=False):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with open_run_folder(tmp_path / "mine" / "first", resume=False, overwrite=False) as folder:
        folder.write_status({"state": "running"})
    assert sorted(path.name for path in (tmp_path / "mine").rglob("*")) == ["first", "status.json"]


def test_what_a_killed_write_left_behind_is_no_obstacle_and_is_swept_up(tmp_path):
    left = [tmp_path / "run" / ".status.ab12_x9z.json", tmp_path / "run" / "checkpoints" / ".last.abcdefgh.safetensors"]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    (tmp_path / "run" / "status.json").write_text('{"format_version": 1}')
    (tmp_path / "run" / ".mine").write_text("kept")
    with open_run_folder(tmp_path / "run", resume=True, overwrite=False):
        pass
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == [".mine", "checkpoints", "status.json"]
    killed_at_once = tmp_path / "other"
    killed_at_once.mkdir()
    (killed_at_once / ".status.ab12_x9z.json").write_text("half")
    with open_run_folder(killed_at_once, resume=False, overwrite=False):
        assert [path.name for path in killed_at_once.iterdir()] == [LOCK_NAME]


def test_a_killed_clearing_leaves_no_run_that_looks_finished(tmp_path, monkeypatch):
    with open_run_folder(tmp_path / "run", resume=False, overwrite=False) as folder:
        folder.write_status({"state": "finished"})
        (folder.path / "model").mkdir()

        def killed(path):
            raise KeyboardInterrupt

        monkeypatch.setattr("shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.clear()
        assert folder.read_status()["state"] == "being replaced"


@pytest.mark.parametrize("command", ["train", "clean-labels"])
@pytest.mark.parametrize("option", ["", "--resume", "--overwrite"])
def test_a_command_whose_folder_another_process_holds_is_refused_and_changes_nothing(cli, squares, tmp_path, holder, command, option):
    process = holder(tmp_path / "run")
    (tmp_path / "run" / "status.json").write_text('{"format_version": 1, "kind": "' + ("cleaning" if command != "train" else "training") + '"}')
    options = [option] if option else []
    refused = cli(command, squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, *options)
    assert refused.code == 2
    assert (f"process {process.pid}" if option else "already holds a run") in refused.err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {LOCK_NAME, "status.json"}


def test_a_file_system_without_locks_is_told_and_is_no_other_process(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.lockf", refuse)
    with pytest.raises(AttrclsError, match=r"could not write .*no locks available"), locked(tmp_path / "runs" / "first"):
        pass


def test_a_lock_whose_holder_could_not_be_written_down_holds_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
    with locked(tmp_path / "run"):
        other = "import sys\nfrom pathlib import Path\nfrom attrcls.runs.lock import locked\nwith locked(Path(sys.argv[1])): pass"
        refused = subprocess.run([sys.executable, "-c", other, str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert "another attrcls (process unknown) is writing" in refused.stderr
