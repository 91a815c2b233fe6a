"""A training epoch without a cache, from one, on ready tensors (the floor), and by a plain script, in turns on one machine.

    python benchmarks/epoch_speed.py --data PACKS/clothing [--task clothing] [--trunk resnet18] [--px 224] [--rows 512] [--rounds 3]

The floor is run before and after each of the others, which is held against the mean of the two, so that a machine that slows
down slows down both; told is the median over the turns. The floor is `fit` itself on batches that are in memory, in the same
precision and of the same size: forward, backward and update. The cache is full when its epoch begins; the workers are alive
in every turn.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plain

from attrcls.data.cache import open_cache
from attrcls.data.loader import LabelledBatches, default_workers
from attrcls.data.manifest import Manifest
from attrcls.engine import Engine, place, precision_of, start_engine
from attrcls.model.network import build_network
from attrcls.runs.batches import labelled_batches
from attrcls.runs.prepare import prepare_data
from attrcls.task import Plan, load_plan
from attrcls.training.loop import TrainState, fit
from attrcls.training.optim import build_ema, build_optimiser
from attrcls.types import Batch, Share


class Ready:
    """An epoch's batches, held in memory."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches, self.steps_per_epoch = batches, len(batches)

    def epoch(self, epoch: int, share: Share) -> Iterator[Batch]:
        return iter(self.batches)


class Trained:
    """A network in training; `rate(batches)` trains it for one more epoch."""

    def __init__(self, plan: Plan, manifest: Manifest, fabric: Engine) -> None:
        counts = {head: manifest.class_counts(head).tolist() for head in plan.task.heads}
        network, _ = build_network(plan.task, counts, weights="none")
        place(network, fabric)
        ema = build_ema(network, plan.task.ema) if plan.task.ema else None
        self.state, self.fabric = TrainState(network, build_optimiser(network, plan.task.optimiser), ema), fabric
        self.task = plan.task

    def rate(self, batches: LabelledBatches | Ready) -> float:
        self.state.epoch, seen, began = 0, 0, time.perf_counter()
        for step in fit(self.state, batches, task=self.task, fabric=self.fabric):
            seen += len(step.rows)
        return seen / (time.perf_counter() - began)


def measure(data: Path, *, task: str, trunk: str, px: int, rows: int, rounds: int, workers: int) -> dict[str, Any]:
    """Pictures per second of each way, and their ratios."""
    plan = load_plan(task, changes={"trunk.name": trunk, "trunk.weights": "none", "image.px": px, "epochs": 1})
    manifest = prepare_data(plan, [data], limit=rows).manifest.of_split("train")
    fabric = start_engine()
    head = next(iter(plan.task.heads))
    labelled = manifest.take([row for row, target in enumerate(manifest.targets(head)) if target >= 0])
    with tempfile.TemporaryDirectory() as folder:
        decoding = labelled_batches(manifest, plan, plan.task, workers=workers)
        cached = labelled_batches(manifest, plan, plan.task, workers=workers, cache=open_cache(folder, "20GB"))
        ready = Ready(list(cached.epoch(0)))
        trained = Trained(plan, manifest, fabric)
        ways: dict[str, Callable[[], float]] = {
            "cached": lambda: trained.rate(cached),
            "decoded": lambda: trained.rate(decoding),
            "plain": lambda: plain.train_rate(
                labelled.image_paths(), labelled.targets(head).tolist(), trunk=trunk, px=px, batch_size=plan.task.batch_size
            ),
        }
        trained.rate(Ready(ready.batches[:1]))
        turns: list[dict[str, float]] = []
        before = trained.rate(ready)
        for _ in range(rounds):
            turn = {}
            for name, run in ways.items():
                turn[name] = run()
                after = trained.rate(ready)
                turn[f"floor of {name}"], before = (before + after) / 2, after
            turns.append(turn)

    def of_floor(name: str) -> float:
        return statistics.median(turn[name] / turn[f"floor of {name}"] for turn in turns)

    return {
        "name": f"training epoch, {trunk} at {px} px, {task}",
        "ratio": round(of_floor("cached"), 3),
        "unit": "of the forward-and-backward rate on ready tensors, from a full cache",
        "against": "fit on ready tensors, same precision and batch",
        "without_cache": round(of_floor("decoded"), 3),
        "against_plain": {name: round(of_floor(name) / of_floor("plain"), 2) for name in ("cached", "decoded")},
        "precision": precision_of(fabric),
        "pictures": len(manifest),
        "workers": workers,
        "rounds": [{name: round(rate, 1) for name, rate in turn.items()} for turn in turns],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--trunk", default="resnet18", help="such as resnet50")
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=default_workers())
    arguments = parser.parse_args()
    print(json.dumps(measure(**vars(arguments)), indent=2))
