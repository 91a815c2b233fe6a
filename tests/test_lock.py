"""A run directory is written by one process at a time, and free again at once when that process is gone."""

import os
import signal
import subprocess
import sys

import pytest

from attrcls.errors import UserError
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


def test_a_second_process_is_refused_and_a_kill_frees_the_folder_though_a_worker_lives_on(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"process {holder.pid}"), locked(tmp_path / "run"):
            pass
        holder.kill()
        holder.wait()
        os.kill(child, 0)
        with locked(tmp_path / "run"):
            assert (tmp_path / "run" / LOCK_NAME).read_text() == str(os.getpid())
    finally:
        holder.kill()
        os.kill(child, signal.SIGKILL)


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
