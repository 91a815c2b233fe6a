"""`make bench`: what is fast and what is not, as ratios of things that were measured in turns, on one machine.

    python benchmarks/run.py [--pictures TABLE.csv] [--pack FOLDER --task NAME] [--cells decode,predict,…] [--rows N] [--anew]

Without a pack, on drawn faces, so that it runs anywhere. Each cell's result is a file of its own in `results/speed`, so that
a run that is stopped goes on where it was; `--anew` measures again. At the end all of them are put together in
`benchmarks/results.json`, a list of `{name, ratio, unit, against, machine, …}`, and as a table in `benchmarks/RESULTS.md`.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aum_speed
import decode_speed
import engine_speed
import epoch_speed
import frozen_speed
import input_speed
import memory
import other_loops
import pandas as pd
import scan_speed
import torch

from attrcls.data.loader import default_workers
from attrcls.engine import has_native_bf16
from attrcls.sample import draw_faces

HERE = Path(__file__).parent
CELLS = HERE / "results" / "speed"
Results = list[dict[str, Any]]


def cells(pack: Path, task: str, table: Path, rows: int, folder: Path) -> dict[str, Callable[[], Results]]:
    """Every cell's name and what measures it."""

    def epoch(trunk: str, pictures: int) -> Callable[[], Results]:
        return lambda: [epoch_speed.measure(pack, task=task, trunk=trunk, px=224, rows=pictures, rounds=3, workers=default_workers())]

    def predict(trunk: str) -> Callable[[], Results]:
        return lambda: engine_speed.measure(table, trunk=trunk, task=task, rows=rows, rounds=3)

    return {
        "decode": lambda: [result for px in (128, 224) for result in decode_speed.measure(pack, px=px, rows=200, rounds=5)],
        "input": lambda: [input_speed.measure(pack, px=224, recipe="crop", rows=64, rounds=5)],
        "epoch-resnet18": epoch("resnet18", rows),
        "epoch-resnet50": epoch("resnet50", rows // 2),
        "other-loops": lambda: other_loops.measure(pack, task=task, trunk="resnet18", px=224, rows=rows, rounds=3),
        "predict-resnet50": predict("resnet50"),
        "predict-mobilenet_v3_large": predict("mobilenet_v3_large"),
        "frozen": lambda: [
            # A few hundred pictures are done before what is kept can pay.
            frozen_speed.measure(pack, task=task, trunk="resnet18", weights="none", px=None, epochs=20, views=2, seeds=[0], rows=4 * rows)
        ],
        "clean-labels": lambda: [scan_speed.measure(pack, task=task, trunk="resnet18", px=None, weights="none", rows=None, rounds=2)],
        "margins": lambda: [aum_speed.measure()],
        "memory": lambda: memory.measure(
            folder, people=[72, 286, 1144], commands=["train", "predict", "clean-labels"], px=32, trunk="resnet18", workers=None, rounds=3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, help="the folder of the task's data; drawn faces without it")
    parser.add_argument("--task", default="sample_faces")
    parser.add_argument("--pictures", type=Path, help="a CSV with a column path, of the pictures to predict")
    parser.add_argument("--rows", type=int, default=256, help="how many pictures; a cell may take more or fewer of them")
    parser.add_argument("--cells", help="some of them, with commas between; all by default")
    parser.add_argument("--anew", action="store_true", help="measure again what has a result")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pack = arguments.pack or draw_pack(folder / "faces")
        table = arguments.pictures or list_pictures(pack, folder / "pictures.csv")
        every = cells(pack, arguments.task, table, arguments.rows, folder)
        wanted = arguments.cells.split(",") if arguments.cells else list(every)
        if unknown := [cell for cell in wanted if cell not in every]:
            parser.error(f"--cells: expected some of {', '.join(every)}, found {', '.join(unknown)}")
        for cell in wanted:
            run_cell(cell, every[cell], anew=arguments.anew)
    write_results()


def run_cell(cell: str, measure: Callable[[], Results], *, anew: bool) -> None:
    file = CELLS / f"{cell}.json"
    if file.exists() and not anew:
        return
    print(f"measuring {cell}", flush=True)
    results = [{**result, "machine": machine()} for result in measure()]
    if not results:
        print("  nothing that it could be held against is installed", flush=True)
        return
    CELLS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=2) + "\n")
    for result in results:
        print(f"  {result['ratio']:.2f}  {result['name']}: {result['unit']}", flush=True)


def write_results() -> None:
    """All cells that have a result, in one list and in one table."""
    results = [result for file in sorted(CELLS.glob("*.json")) for result in json.loads(file.read_text())]
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    lines = [
        "# What was measured", "",
        "Ratios of things that ran in turns on one machine; `make bench` measures on yours. Written by `benchmarks/run.py`.", "",
        "| what | ratio | | held against | machine |", "| --- | ---: | --- | --- | --- |",
        *(f"| {each['name']} | {each['ratio']:.2f} | {each['unit']} | {each['against']} | {each['machine']} |" for each in results),
    ]  # fmt: skip
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")
    print("written: benchmarks/results.json and benchmarks/RESULTS.md")


def machine() -> str:
    bf16 = "native bf16" if has_native_bf16(torch.device("cpu")) else "no native bf16"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores {platform.machine()}, {bf16}, {gpu}, torch {torch.__version__}"


def draw_pack(folder: Path) -> Path:
    draw_faces(folder, people=120)
    return folder


def list_pictures(pack: Path, table: Path) -> Path:
    found = sorted(path for path in pack.rglob("*.jp*g") if not path.name.startswith("."))
    pd.DataFrame({"path": [str(path.resolve()) for path in found]}).to_csv(table, index=False)
    return table


if __name__ == "__main__":
    main()
