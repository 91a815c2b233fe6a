"""`clean-labels --fast` against as many forward passes of the trunk over the same pictures as it has views.

    python benchmarks/scan_speed.py --data PACK [--task mask18] [--trunk resnet18] [--px N] [--weights FILE] [--rows N] [--rounds 2]

The whole command, from nothing kept, to files, by the engine that it chooses; the floor is the bare trunk in torch at full size on
tensors that are ready, in the same precision and batch, for V = 2 views of each picture. One after the other in each turn.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from clean_speed import seconds_of

from attrcls.engine import place, precision_of, start_engine
from attrcls.features.extract import VIEWS
from attrcls.model.network import build_network
from attrcls.task import load_plan

BATCH_SIZE = 64
FLOOR_BATCHES = 60


def measure(data: Path, *, task: str, trunk: str | None, px: int | None, weights: str, rows: int | None, rounds: int) -> dict[str, Any]:
    """Seconds of the command over seconds of the passes."""
    changes: dict[str, Any] = {"trunk.weights": "none", **({"trunk.name": trunk} if trunk else {}), **({"image.px": px} if px else {})}
    settings = [argument for name, value in changes.items() if name != "trunk.weights" for argument in ("--set", f"{name}={value}")]
    turns = []
    for _ in range(rounds):
        before = pass_rate(task, changes)
        with tempfile.TemporaryDirectory() as folder:
            command = [
                "clean-labels",
                task,
                "--data",
                str(data),
                "--weights",
                weights,
                *settings,
                "--fast",
                "--all-splits",
                "--out",
                f"{folder}/clean",
            ]
            seconds = seconds_of(*command, *(["--limit", str(rows)] if rows else []), cache=f"{folder}/features")
            pictures = pd.read_csv(f"{folder}/clean/aum_values.csv")["path"].nunique()
        rate = (before + pass_rate(task, changes)) / 2
        turns.append(
            {"seconds": round(seconds, 1), "pictures": pictures, "trunk_per_s": round(rate, 1), "passes": round(seconds * rate / pictures, 2)}
        )
    passes = sum(turn["passes"] for turn in turns) / rounds
    return {
        "name": f"clean-labels --fast, {task}, {turns[0]['pictures']:,} pictures", "ratio": round(passes / VIEWS, 2),
        "unit": f"times the time of {VIEWS} forward passes of the trunk", "against": "the trunk alone in torch on ready tensors, as many views",
        "precision": precision_of(start_engine()), "rounds": turns,
    }  # fmt: skip


def pass_rate(task: str, changes: dict[str, Any]) -> float:
    """Pictures per second of the bare trunk."""
    plan = load_plan(task, changes=changes)
    network, _ = build_network(plan.task, {head: [1] * len(spec.classes) for head, spec in plan.heads.items()}, weights="none")
    fabric = start_engine()
    place(network, fabric).eval()
    px = plan.task.image.px
    ready = torch.randint(0, 256, (BATCH_SIZE, 3, px, px), dtype=torch.uint8).to(fabric.device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), fabric.autocast():
        network.extract(ready)
        began = time.perf_counter()
        for _ in range(FLOOR_BATCHES):
            network.extract(ready).cpu()
    return FLOOR_BATCHES * BATCH_SIZE / (time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="mask18")
    parser.add_argument("--trunk", help="such as resnet50; by default the task's")
    parser.add_argument("--px", type=int)
    parser.add_argument("--weights", default="none")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=2)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))
