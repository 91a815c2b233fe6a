"""A training epoch with different numbers of workers and of torch's threads, in turns on one machine: are the defaults the best?

    python benchmarks/defaults.py --data PACKS/clothing [--task clothing] [--px 128] [--rows 600] [--rounds 2]

Each turn runs every choice, `WORKERS × THREADS`, so that a machine that slows down slows down all of them; a choice's workers
are alive before its turn. Figures are pictures per second over those of the defaults, medians of the turns' ratios.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch
from epoch_speed import Trained

from attrcls.data.loader import default_workers
from attrcls.data.machine import cores
from attrcls.engine import start_engine
from attrcls.runs.batches import batch_bytes, labelled_batches
from attrcls.runs.prepare import prepare_data
from attrcls.task import load_plan


def measure(data: Path, *, task: str, trunk: str, px: int, rows: int, rounds: int) -> dict[str, Any]:
    """Each choice's rate over that of the defaults."""
    plan = load_plan(task, changes={"trunk.name": trunk, "trunk.weights": "none", "image.px": px, "epochs": 1})
    manifest = prepare_data(plan, [data], limit=rows).manifest.of_split("train")
    fabric = start_engine()
    usual = default_workers(batch_bytes(plan.task)), torch.get_num_threads()
    fewer = max(1, cores() // 2)
    choices = list(dict.fromkeys([usual, (0, usual[1]), (fewer, usual[1]), (usual[0], fewer), (fewer, fewer)]))
    batches = {choice: labelled_batches(manifest, plan, plan.task, workers=choice[0]) for choice in choices}
    trained = Trained(plan, manifest, fabric)
    for each in batches.values():
        next(each.epoch(0))
    rates: dict[tuple[int, int], list[float]] = {choice: [] for choice in choices}
    for _ in range(rounds):
        for choice in choices:
            torch.set_num_threads(choice[1])
            rates[choice].append(trained.rate(batches[choice]))
    ratios = {choice: [rate / base for rate, base in zip(found, rates[usual], strict=True)] for choice, found in rates.items()}
    return {
        "name": f"workers × threads, {trunk} at {px} px, {task}",
        "defaults": f"{usual[0]} × {usual[1]}",
        "ratios": {f"{workers} × {threads}": round(statistics.median(found), 3) for (workers, threads), found in ratios.items()},
        "turns": {f"{workers} × {threads}": [round(ratio, 3) for ratio in found] for (workers, threads), found in ratios.items()},
        "cores": cores(),
        "pictures": len(manifest),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--trunk", default="resnet18", help="such as resnet50")
    parser.add_argument("--px", type=int, default=128)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))
