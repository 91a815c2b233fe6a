"""The corpus of bad input (`make corpus`), with fewer trainings; and the watch that its cases go through, which must see a fault."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpus.ground import ANSWERS
from corpus.watch import Findings, Watch

from attrcls.cli import app

SCRIPT = Path(__file__).parent / "count_corpus.py"
# Parts that one process tries, and the fewest cases that it must have tried. Of tables and specs each tenth is tried here, and each
# twentieth of those is trained on; all of them by `make corpus`.
FEWEST = {"pictures": 500, "tables,specs": 200}
SAMPLE = ("--share", "10", "--every", "20")
MOST_MEMORY_MB = 700


@pytest.mark.timeout(1500)  # a minute of work, on a machine that may be busy with much else
@pytest.mark.parametrize("parts", list(FEWEST))
def test_bad_input_ends_in_an_error_or_a_skipped_row_never_in_a_traceback_a_hang_or_a_wrong_row(parts, tmp_path):
    command = [sys.executable, str(SCRIPT), "--parts", parts, *SAMPLE, "--json", str(tmp_path / "found.json")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert [part["faults"] for part in found["parts"].values()] == [[]] * len(parts.split(","))
    assert sum(sum(part["cases"].values()) for part in found["parts"].values()) >= FEWEST[parts]
    assert found["above_mb"] <= MOST_MEMORY_MB


@pytest.fixture
def watched(monkeypatch):
    def call(main, **options):
        monkeypatch.setattr(app, "main", main)
        findings = Findings()
        Watch(findings, seconds=1).call("case", "data", **options)
        return [fault for fault, _, _ in findings.faults]

    return call


def test_the_watch_sees_a_traceback_a_hang_an_exit_code_and_a_message_that_names_nothing(watched):
    def stop(code, text=""):
        print(text, file=sys.stderr)
        raise SystemExit(code)

    assert watched(lambda: None) == []
    assert watched(lambda: {}["no such key"]) == ["traceback"]
    assert watched(lambda: time.sleep(30)) == ["hang"]
    assert watched(lambda: stop(1, "error: the disk is full")) == ["exit code"]
    assert watched(lambda: stop(2, "error: labels.csv: no")) == []
    assert watched(lambda: stop(2, "no")) == ["message"]
    assert watched(lambda: stop(2, "error: no"), names=Path("labels.csv")) == ["message"]
    assert watched(lambda: stop(2, "error: " + "x" * 100_000)) == ["message"]
    assert watched(lambda: stop(0, "x.py:1: UserWarning: y")) == ["message"]


def test_a_row_that_is_lost_moved_or_given_anothers_answer_is_seen():
    from corpus.try_pictures import check_rows

    good, other, none = ("red", "0.9", "small", "0.8", "0"), ("blue", "0.7", "large", "0.6", "5"), ("",) * 5

    def row(name, answer, status="ok", error=""):
        return {"path": name, **dict(zip(ANSWERS, answer, strict=True)), "status": status, "error": error}

    ground = SimpleNamespace(answers={"a.jpg": good})
    lot = SimpleNamespace(ground=ground, decoys={"decoy.jpg": "a.jpg"}, twins={}, expected=lambda name: "refused" if name == "bad.jpg" else "ok")
    decoy, bad = row("decoy.jpg", good), row("bad.jpg", none, "unreadable", "truncated JPEG")

    def seen(rows):
        findings = Findings()
        check_rows(SimpleNamespace(findings=findings), lot, "case", ["decoy.jpg", "bad.jpg"], rows)
        return len(findings.faults)

    assert seen([decoy, bad]) == 0
    assert seen([bad, decoy]) == seen([decoy]) == seen([decoy, bad, bad]) == 1
    assert seen([row("decoy.jpg", other), bad]) == 1
    assert seen([decoy, {**bad, "colour": "red"}]) == seen([decoy, {**bad, "error": ""}]) == 1
    assert seen([row("decoy.jpg", none, "unreadable", "truncated"), bad]) == 1
