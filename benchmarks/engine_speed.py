"""Prediction from JPEG files to a CSV by engine, against the engine's own rate on ready tensors, in turns in one process.

    python benchmarks/engine_speed.py TABLE.csv [--rows N] [--rounds N] [--trunks resnet50,mobilenet_v3_large] [--engines openvino]

Prints a list of `{name, ratio, unit, against, rounds, …}`. For each trunk and engine that is installed, in its best precision on this
CPU: pictures per second end to end over the model's alone (the same batch and threads); over what model and decoding could do at
best one after the other, each on all cores; over the plain script's (`plain.py`, on the first pictures of the list); and the
engines' model-only rates over torch's. A first, uncounted prediction makes the graph, which later ones find.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plain
import torch

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, Draw, PictureDataset, Pictures, default_workers
from attrcls.data.recipes import Recipes
from attrcls.features.cache import default_cache
from attrcls.graph.extras import is_installed
from attrcls.model.description import describe_model
from attrcls.model.network import build_network
from attrcls.prediction.models import load_models
from attrcls.prediction.runtime import ENGINES, start_runtime
from attrcls.runs.predict import run_predict
from attrcls.sections import DecodeSpec
from attrcls.task import load_plan
from attrcls.training.checkpoint import save_model

PX = 224
BATCH_SIZE = 64
# The plain script is slow, and its rate steady.
PLAIN_ROWS = 256


def measure(table: Path, *, trunk: str, task: str, rows: int, rounds: int, engines: Sequence[str] = tuple(ENGINES)) -> list[dict[str, object]]:
    """Rates of every engine with one trunk, in `rounds` turns: the model alone before and after the whole, engine after engine."""
    engines = [name for name, extra in ENGINES.items() if name in ("torch", *engines) and (extra is None or is_installed(extra))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_run(folder / "run", task=task, trunk=trunk)
        listed = folder / "listed.csv"
        pictures = pd.read_csv(table)
        pictures = pictures[~pictures["path"].duplicated()].head(rows)
        pictures["path"] = [str((table.parent / path).resolve()) for path in pictures["path"]]
        pictures.to_csv(listed, index=False)
        for engine in engines:
            model_rate(folder / "run", engine, pictures=2 * BATCH_SIZE)
        turns: list[dict[str, dict[str, Any]]] = []
        paths = [Path(path) for path in pictures["path"]]
        for _ in range(rounds):
            decoded = decode_rate(paths)
            turn = {"plain": {"per_s": plain.predict_rate(paths[:PLAIN_ROWS], trunk=trunk, px=PX, batch_size=BATCH_SIZE)}}
            for engine in engines:
                before, ran_on = model_rate(folder / "run", engine, pictures=len(pictures) // 2)
                began = time.perf_counter()
                predicted = run_predict(folder / "run", listed, csv=folder / "out.csv", batch_size=BATCH_SIZE, engine=engine)
                seconds = time.perf_counter() - began
                after, _ = model_rate(folder / "run", engine, pictures=len(pictures) // 2)
                alone = 2 / (1 / before + 1 / after)
                turn[engine] = {"ran_on": ran_on, "model_per_s": alone, "decode_per_s": decoded, "end_to_end_per_s": len(pictures) / seconds}
                assert predicted.failed == 0 and predicted.ran_on == ran_on
            turns.append(turn)
    return [result for engine in engines for result in _results(trunk, engine, turns, pictures=len(pictures))]


def make_run(run: Path, *, task: str, trunk: str) -> None:
    """A run as training leaves it, with random weights."""
    plan = load_plan(task, changes={"trunk.name": trunk, "image.px": PX})
    network, _ = build_network(plan.task, {head: [1] * len(spec.classes) for head, spec in plan.heads.items()}, weights="none")
    description = describe_model(
        plan, fallback=dict.fromkeys(plan.heads, 0), precision="", epoch=1, scores={}, temperatures={}, class_counts={}, decode=DecodeSpec()
    )
    save_model(network, description.model_dump(mode="json"), run / "model")


def model_rate(run: Path, engine: str, *, pictures: int) -> tuple[float, str]:
    """Pictures per second of the whole network on ready tensors, and what it ran on."""
    models = load_models([run])
    runtime = start_runtime(models, engine=engine, device="auto", precision="auto", pictures=pictures, batch_size=BATCH_SIZE, cache=default_cache())
    px = models[0].description.image.px
    ready = torch.randint(0, 256, (BATCH_SIZE, 3, px, px), dtype=torch.uint8, device=runtime.fabric.device)
    ready = ready.contiguous(memory_format=torch.channels_last)
    forward, batches = runtime.forwards[0], max(1, pictures // BATCH_SIZE)
    forward(ready)
    began = time.perf_counter()
    for _ in range(batches):
        forward(ready)
    return batches * BATCH_SIZE / (time.perf_counter() - began), str(runtime)


def decode_rate(paths: list[Path]) -> float:
    """Pictures per second from files to batches, on all cores, with nothing else to do."""
    plan = load_plan("clothing", changes={"image.px": PX})
    pictures = Pictures(paths, None, plan.task.image.resize_px, plan.task.image.fit)
    loader = DecodedLoader(PictureDataset(pictures, Recipes(Augmenter("none", px=PX))), workers=default_workers())
    draws = [Draw(row, (0,)) for row in range(len(paths))]
    batches = loader.batches([draws[start : start + BATCH_SIZE] for start in range(0, len(draws), BATCH_SIZE)])
    next(batches)  # the workers have started
    began = time.perf_counter()
    seen = sum(len(batch.rows) for batch in batches)
    return seen / (time.perf_counter() - began)


def _results(trunk: str, engine: str, turns: list[dict[str, dict[str, Any]]], *, pictures: int) -> list[dict[str, object]]:
    mine = [turn[engine] for turn in turns]
    against_torch = [turn[engine]["model_per_s"] / turn["torch"]["model_per_s"] for turn in turns]
    end_against_torch = [turn[engine]["end_to_end_per_s"] / turn["torch"]["end_to_end_per_s"] for turn in turns]
    facts = {"pictures": pictures, "rounds": [{key: value if key == "ran_on" else round(value, 1) for key, value in each.items()} for each in mine]}
    results: list[dict[str, object]] = [
        {
            "name": f"predict, JPEG files to CSV, {trunk}, {mine[0]['ran_on']}",
            "ratio": _mean(each["end_to_end_per_s"] / each["model_per_s"] for each in mine),
            "unit": "of the model's rate on ready tensors",
            "against": "the model alone, same engine, precision and batch",
            **facts,
        },
        {
            "name": f"predict, JPEG files to CSV, {trunk}, {mine[0]['ran_on']}",
            "ratio": _mean(each["end_to_end_per_s"] * (1 / each["model_per_s"] + 1 / each["decode_per_s"]) for each in mine),
            "unit": "of 1 / (1/model + 1/decode)",
            "against": "the model alone and decoding alone, each on all cores",
        },
        {
            "name": f"predict, JPEG files to CSV, {trunk}, {mine[0]['ran_on']}",
            "ratio": _mean(turn[engine]["end_to_end_per_s"] / turn["plain"]["per_s"] for turn in turns),
            "unit": "times as fast",
            "against": "a plain script: torch in float32, Pillow, two workers",
            "plain_per_s": [round(turn["plain"]["per_s"], 1) for turn in turns],
        },
    ]
    if engine != "torch":
        results += [
            {"name": f"{what}, {trunk}, {mine[0]['ran_on']}", "ratio": _mean(ratios), "unit": "times as fast", "against": turns[0]["torch"]["ran_on"]}
            for what, ratios in (("model alone", against_torch), ("predict, JPEG files to CSV", end_against_torch))
        ]
    return results


def _mean(ratios) -> float:
    return round(float(np.mean(list(ratios))), 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a CSV with a column path")
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--trunks", default="resnet50,mobilenet_v3_large")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--engines", type=lambda text: text.split(","), default=list(ENGINES), help="some of them; torch always is")
    arguments = parser.parse_args()
    found = [
        result
        for trunk in arguments.trunks.split(",")
        for result in measure(
            arguments.table, trunk=trunk, task=arguments.task, rows=arguments.rows, rounds=arguments.rounds, engines=arguments.engines
        )
    ]
    print(json.dumps(found, indent=2))
