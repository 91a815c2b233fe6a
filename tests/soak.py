"""Kill commands at random moments, run them again with --resume, and compare what they end with: `make soak`.

    python tests/soak.py [--kills 100] [--seed 0] [--commands train,predict]

Each command first runs undisturbed; then again and again, killed (SIGKILL, to the process alone: its loader's workers live on
for a moment) at a time drawn from its whole duration, and resumed until it ends. The same weights, metrics, verdicts, scores
and rows must come out. Commands run in children forked from this process, which has imported everything.
"""

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Before torch comes: the same weights to the bit need the same number of threads, and a fork needs a process without any.
os.environ["OMP_NUM_THREADS"] = "1"

import pandas as pd
import torch
from conftest import draw_squares
from safetensors.torch import load_file

from attrcls.cli.app import main as attrcls_main
from attrcls.prediction import images

# What the commands import inside their calls: here once, so that a child begins at once.
for module in ("clean", "evaluate", "predict", "train"):
    importlib.import_module(f"attrcls.runs.{module}")


@dataclass(frozen=True)
class Command:
    """What to run for an output folder, what to read of it in the end, and the exit code that it ends with."""

    arguments: Callable[[Path], Sequence[object]]
    outcome: Callable[[Path], object]
    code: int = 0


def commands(squares: Path, run: Path) -> dict[str, Command]:
    """The commands to kill, on a drawn dataset, and on a run trained on it."""
    task = squares / "squares.task.yaml"
    asked = squares / "asked.csv"
    train = ["train", task, "--epochs", 3]
    return {
        "train": Command(lambda out: [*train, "--workers", 0, "--out", out], trained),
        "train-workers": Command(lambda out: [*train, "--workers", 2, "--out", out], trained),
        "train-cache": Command(lambda out: [*train, "--workers", 2, "--cache", out.with_name(f"{out.name}-pixels"), "--out", out], trained),
        "train-frozen": Command(lambda out: [*train, "--workers", 0, "--freeze", "--sweep-lr", "1e-3,1e-2", "--out", out], trained),
        "clean-full": Command(lambda out: ["clean-labels", task, "--full", "--workers", 0, "--out", out], cleaned),
        "clean-fast": Command(lambda out: ["clean-labels", task, "--fast", "--set", "image.px=64", "--workers", 0, "--out", out], cleaned),
        "predict": Command(
            lambda out: ["predict", run, asked, "--batch-size", 8, "--workers", 2, "--csv", out / "table.csv"],
            lambda out: (out / "table.csv").read_bytes(), code=3,
        ),
        "evaluate": Command(
            lambda out: ["evaluate", run, squares, "--split", "train", "--batch-size", 8, "--workers", 0, "--json", out / "scores.json"],
            lambda out: (out / "scores.json").read_bytes(),
        ),
    }  # fmt: skip


def trained(out: Path) -> object:
    """Weights and metrics of a run, and that it says it is whole."""
    status = json.loads((out / "status.json").read_text())
    tensors = {f"{file.name}/{name}": value for file in sorted(out.rglob("*.safetensors")) for name, value in load_file(file).items()}
    metrics = (out / "metrics.csv").read_bytes()
    told = [status[key] for key in ("state", "epochs_done", "best_epoch", "kept_epoch")]
    return told, metrics, (out / "validation.csv").read_bytes(), {name: value.numpy().tobytes() for name, value in tensors.items()}


def cleaned(out: Path) -> object:
    """Every file of a cleaning."""
    files = sorted(path for path in out.iterdir() if path.is_file())
    return [(path.name, path.read_bytes()) for path in files]


def main() -> int:
    """Returns 0 when every killed run ended like the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    torch.set_num_threads(1)
    # Small parts, so that there is something to go on from.
    images.PART_PICTURES, images.PART_SECONDS = 16, -1.0
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        draw_squares(folder / "squares")
        pictures = sorted((folder / "squares" / "images").glob("*.jpg"))
        (folder / "squares" / "gone.txt").write_text("no picture")
        pd.DataFrame({"path": [*map(str, pictures), "gone.jpg", *map(str, pictures[:5])]}).to_csv(folder / "squares" / "asked.csv", index=False)
        found = commands(folder / "squares", folder / "whole-train")
        wanted = arguments.commands.split(",") if arguments.commands else list(found)
        # First, because others predict with it.
        whole = {"train": undisturbed(found["train"], folder / "whole-train")}
        whole |= {each: undisturbed(found[each], folder / f"whole-{each}") for each in wanted if each != "train"}
        kills, differing = 0, []
        while kills < arguments.kills:
            each = wanted[kills % len(wanted)]
            outcome, seconds = whole[each]
            done = killed_and_resumed(found[each], folder / f"{each}-{kills}", chance, seconds=seconds, most=arguments.kills - kills)
            kills += max(1, done.kills)
            same = done.outcome == outcome
            print(
                f"{each:14} killed {', '.join(f'{moment:.2f}' for moment in done.moments)} s of {seconds:.2f}: {'same' if same else 'DIFFERENT'}",
                flush=True,
            )
            if not same:
                differing.append(each)
                print(done.log, flush=True)
        print(f"{kills} kills, {len(differing)} ended otherwise than undisturbed")
        return 1 if differing else 0


@dataclass(frozen=True)
class Done:
    """How a command ended that was killed `kills` times, at these moments in seconds."""

    outcome: object
    moments: list[float]
    log: str

    @property
    def kills(self) -> int:
        """How many times it was killed."""
        return len(self.moments)


def undisturbed(command: Command, out: Path) -> tuple[object, float]:
    """What a command ends with when nobody kills it, and in how many seconds."""
    began = time.monotonic()
    code = wait_for(start(command, out))
    if code != command.code:
        sys.exit(f"{out.name}: expected exit code {command.code}, found {code}\n{log_of(out)}")
    return command.outcome(out), time.monotonic() - began


def killed_and_resumed(command: Command, out: Path, chance: random.Random, *, seconds: float, most: int) -> Done:
    """Kill once, half of the time once more while resuming, and so on; then let it end."""
    moments: list[float] = []
    while len(moments) < most and (not moments or chance.random() < 0.5):
        moment = chance.uniform(0, seconds)
        child = start(command, out, *(["--resume"] if moments else []))
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        wait_for(child)
        moments.append(moment)
    code = wait_for(start(command, out, "--resume"))
    outcome = command.outcome(out) if code == command.code else f"exit code {code}"
    log = log_of(out)
    shutil.rmtree(out, ignore_errors=True)
    return Done(outcome, moments, log)


def start(command: Command, out: Path, *options: str) -> int:
    """Run a command in a forked child; returns its process id."""
    child = os.fork()
    if child:
        return child
    # The child never returns into this program.
    code = 1
    try:
        os.environ["ATTRCLS_CACHE"] = str(out.with_suffix(".cache"))
        log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["attrcls", *map(str, command.arguments(out)), *options]
        attrcls_main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait_for(child: int) -> int:
    """The exit code of a child that ended or was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def log_of(out: Path) -> str:
    """What the command said, in all its lives."""
    return out.with_suffix(".log").read_text()


if __name__ == "__main__":
    sys.exit(main())
