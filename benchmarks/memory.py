"""Peak memory and time of train, predict and clean-labels at 1, 4 and 16 times as many distinct pictures.

    python benchmarks/memory.py FOLDER [--people 715,2860,11440] [--commands train,predict,clean-labels] [--px 32] [--workers N] [--rounds 3]

Draws the pictures into FOLDER with `attrcls sample` where they are not there yet (seven a person). Memory is what the command
and its workers take together, each page shared by several counted once (PSS), looked at all the time; the table itself, as
pandas holds it, is told beside. One epoch, a small trunk: what grows with the rows is the same with a large one. What the C library's heap
keeps of freed memory differs by a tenth from run to run, so that all sizes are run in turn, `--rounds` times, and medians are compared.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd

POLL_SECONDS = 0.2


def measure(folder: Path, *, people: list[int], commands: list[str], px: int, trunk: str, workers: int | None, rounds: int) -> list[dict[str, Any]]:
    """One result per command: its peaks, and by how much the largest's median is above the smallest's beyond the table."""
    results = []
    samples = [drawn(folder / f"people{number}", number) for number in people]
    tables = [pictures_of(sample) for sample in samples]
    for command in commands:
        runs = [
            [measured(command, sample, table, px=px, trunk=trunk, workers=workers) for sample, table in zip(samples, tables, strict=True)]
            for _ in range(rounds)
        ]
        found = [
            {
                "rows": len(pd.read_csv(table)), "table_mb": table_megabytes(table), "peaks_mb": [run[size]["peak_mb"] for run in runs],
                **{key: statistics.median(run[size][key] for run in runs) for key in ("peak_mb", "seconds")},
            }
            for size, table in enumerate(tables)
        ]  # fmt: skip
        first, last = found[0], found[-1]
        beyond = (last["peak_mb"] - last["table_mb"]) / (first["peak_mb"] - first["table_mb"])
        results.append({
            "name": f"peak memory, {command}, {last['rows']:,} rows", "ratio": round(beyond, 3), "unit": "times as much, beyond the table",
            "against": f"{first['rows']:,} rows", "cost_per_row": round(last["seconds"] / last["rows"] / (first["seconds"] / first["rows"]), 2),
            "rounds": found,
        })  # fmt: skip
    return results


def measured(command: str, sample: Path, table: Path, *, px: int, trunk: str, workers: int | None) -> dict[str, float]:
    """Peak megabytes and seconds of one run of a command."""
    with tempfile.TemporaryDirectory() as out:
        return watched(arguments_of(command, sample, table, Path(out), px=px, trunk=trunk, workers=workers), out=Path(out))


def drawn(folder: Path, people: int) -> Path:
    if not (folder / "train").exists():
        subprocess.run([sys.executable, "-m", "attrcls", "sample", str(folder), "--people", str(people)], check=True, stdout=subprocess.DEVNULL)
    return folder


def pictures_of(sample: Path) -> Path:
    table = sample / "pictures.csv"
    if not table.exists():
        found = sorted(path for path in (sample / "train" / "images").rglob("*.*") if not path.name.startswith("."))
        pd.DataFrame({"path": [str(path.relative_to(sample)) for path in found]}).to_csv(table, index=False)
    return table


def table_megabytes(table: Path) -> float:
    return round(pd.read_csv(table).memory_usage(deep=True).sum() / 1e6, 1)


def arguments_of(command: str, sample: Path, table: Path, out: Path, *, px: int, trunk: str, workers: int | None) -> list[str]:
    decoding = [] if workers is None else ["--workers", str(workers)]
    task = ["sample_faces", "--data", str(sample), "--weights", "none", "--set", f"trunk.name={trunk}", "--set", f"image.px={px}"]
    training = ["train", *task, "--epochs", "1", "--out", str(out / "run"), *decoding]
    if command == "train":
        return training
    if command == "clean-labels":
        return ["clean-labels", *task, "--fast", "--out", str(out / "clean"), *decoding]
    # A model for the prediction, of a few rows.
    small = [*training, "--limit", "300"]
    subprocess.run([sys.executable, "-m", "attrcls", *small], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ["predict", str(out / "run"), str(table), "--csv", str(out / "out.csv"), "--engine", "torch", *decoding]


def watched(arguments: list[str], *, out: Path) -> dict[str, float]:
    """Peak megabytes of a command and all it started, and its seconds."""
    began = time.monotonic()
    with (out / "log.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "attrcls", *arguments], stdout=log, stderr=log)
        peak = [0.0]
        watcher = threading.Thread(target=_watch, args=(process, peak))
        watcher.start()
        code = process.wait()
        watcher.join()
    if code:
        sys.exit(f"attrcls {' '.join(arguments)}: {code}\n{(out / 'log.txt').read_text()}")
    return {"peak_mb": round(peak[0], 1), "seconds": round(time.monotonic() - began, 1)}


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_megabytes(pid) for pid in _family(process.pid)))
        time.sleep(POLL_SECONDS)


def _family(pid: int) -> list[int]:
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(child))]


def _megabytes(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it just ended
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the drawn pictures are, or will be")
    parser.add_argument("--people", type=lambda text: [int(each) for each in text.split(",")], default=[715, 2860, 11440])
    parser.add_argument("--commands", type=lambda text: text.split(","), default=["train", "predict", "clean-labels"])
    parser.add_argument("--px", type=int, default=32)
    parser.add_argument("--trunk", default="resnet18")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))
