"""Prediction from JPEG files to a CSV, against the trunk's own forward rate on ready tensors, in turns in one process."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from attrcls.data.loader import default_workers
from attrcls.engine import place, start_engine
from attrcls.model.description import describe_model
from attrcls.model.network import build_network
from attrcls.runs.predict import run_predict
from attrcls.task import load_plan
from attrcls.training.checkpoint import save_model

BATCH_SIZE = 64


def measure(table: Path, *, task: str, rounds: int, rows: int, workers: int | None = None) -> dict[str, object]:
    """Pictures per second end to end over pictures per second of the bare trunk, in `rounds` turns (A B A B)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(folder / "run", task=task)
        listed = folder / "listed.csv"
        pictures = pd.read_csv(table)
        pictures = pictures[~pictures["path"].duplicated()].head(rows)
        pictures["path"] = [str((table.parent / path).resolve()) for path in pictures["path"]]
        pictures.to_csv(listed, index=False)
        floors, rates = [], []
        trunk_rate(task=task, pictures=2 * BATCH_SIZE)
        for _ in range(rounds):
            floors.append(trunk_rate(task=task, pictures=len(pictures)))
            began = time.perf_counter()
            predicted = run_predict(folder / "run", listed, csv=folder / "out.csv", batch_size=BATCH_SIZE, workers=workers, engine="torch")
            rates.append(len(pictures) / (time.perf_counter() - began))
            assert predicted.failed == 0
    ratios = [rate / floor for rate, floor in zip(rates, floors, strict=True)]
    return {
        "name": "predict, JPEG files to CSV, resnet50 at 224 px",
        "ratio": round(sum(ratios) / len(ratios), 3),
        "unit": "of the trunk's forward rate on ready tensors",
        "against": "the trunk alone, same precision and batch",
        "pictures": len(pictures),
        "rounds": [{"end_to_end_per_s": round(rate, 1), "trunk_per_s": round(floor, 1)} for rate, floor in zip(rates, floors, strict=True)],
    }


def make_run(run: Path, *, task: str, trunk: str = "resnet50") -> None:
    plan = load_plan(task, changes={"trunk.name": trunk, "image.px": 224})
    counts = {head: [1] * len(spec.classes) for head, spec in plan.heads.items()}
    network, _ = build_network(plan.task, counts, weights="none")
    fallback = dict.fromkeys(plan.heads, 0)
    description = describe_model(plan, fallback=fallback, precision="", epoch=1, scores={})
    save_model(network, description.model_dump(mode="json"), run / "model")


def trunk_rate(*, task: str, pictures: int) -> float:
    plan = load_plan(task, changes={"trunk.name": "resnet50", "image.px": 224})
    network, _ = build_network(plan.task, {head: [1] * len(spec.classes) for head, spec in plan.heads.items()}, weights="none")
    fabric = start_engine()
    trunk = place(network, fabric).eval().trunk
    ready = torch.randn(BATCH_SIZE, 3, 224, 224, device=fabric.device).contiguous(memory_format=torch.channels_last)
    batches = max(1, pictures // BATCH_SIZE)
    with torch.inference_mode(), fabric.autocast():
        trunk(ready)
        began = time.perf_counter()
        for _ in range(batches):
            features = trunk(ready)
        features.float().cpu()
    return batches * BATCH_SIZE / (time.perf_counter() - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="a CSV with a column path")
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=default_workers())
    arguments = parser.parse_args()
    found = measure(arguments.table, task=arguments.task, rounds=arguments.rounds, rows=arguments.rows, workers=arguments.workers)
    print(json.dumps(found, indent=2))
