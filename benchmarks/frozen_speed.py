"""Training heads on a frozen trunk: features of V views kept, against pictures through the trunk in each of E epochs.

    python benchmarks/frozen_speed.py --data PACKS/clothing [--task clothing] [--epochs 20] [--views 2] [--seeds 0,1,2] [--rows N]

Whole trainings, validation after each epoch included, from nothing: no features are kept from earlier ones. The seeds' turns
follow one another, so that a machine that slows down slows down both. Both ways' best validation score is told beside.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from attrcls.runs.train import run_train
from attrcls.task import load_plan


def measure(
    data: Path, *, task: str, trunk: str | None, weights: str, px: int | None, epochs: int, views: int, seeds: list[int], rows: int | None
) -> dict[str, Any]:
    """The speed-up, over what it could be at most, and the scores of both ways."""
    changes: dict[str, Any] = {"epochs": epochs, "trunk.freeze": True, "trunk.weights": weights}
    changes |= {"trunk.name": trunk} if trunk else {}
    changes |= {"image.px": px} if px else {}
    monitor = load_plan(task, changes=changes).task.monitor
    turns = []
    for seed in seeds:
        turn = {}
        for name, kept in (("kept", views), ("each epoch", 0)):
            with tempfile.TemporaryDirectory() as folder:
                os.environ["ATTRCLS_CACHE"] = folder
                began = time.perf_counter()
                run = run_train(task, data=[data], changes={**changes, "trunk.frozen_views": kept, "seed": seed}, out=f"{folder}/run", limit=rows)
                turn[name] = {"seconds": round(time.perf_counter() - began, 1), "score": float(pd.read_csv(run / "metrics.csv")[monitor].max())}
        turns.append(turn)
    speed_up = statistics.median(turn["each epoch"]["seconds"] / turn["kept"]["seconds"] for turn in turns)
    scores = {name: [round(turn[name]["score"], 4) for turn in turns] for name in turns[0]}
    return {
        "name": f"frozen trunk, {task}, {epochs} epochs of {views} views",
        "ratio": round(speed_up, 2), "unit": "times as fast", "against": "pictures through the trunk in each epoch",
        "of_epochs_over_views": round(speed_up / (epochs / views), 2), "monitor": monitor, "scores": scores, "rounds": turns,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--trunk", help="such as resnet50; by default the task's")
    parser.add_argument("--weights", default="none", help="a file, or none")
    parser.add_argument("--px", type=int)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--rows", type=int)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))


if __name__ == "__main__":
    main()
