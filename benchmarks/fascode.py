"""The FASCODE winners' recipe, step by step, on drawn figures: frozen trunk, cleaned labels (AUM), balanced classes, UDA.

    python benchmarks/fascode.py --weights FILE [--people 360] [--seeds 0,1,2]

`tasks/sample_fashion_recipe.yaml` is the whole of it; each step before leaves out what comes after. A cell is a step and a seed; the
seed draws the figures too. Each has a file of its own in `results/fascode`. The score is FASCODE's, the mean top-1 over the three heads on
wearers that nobody trained on, whose labels are right.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from attrcls.runs.clean import run_clean
from attrcls.runs.evaluate import run_evaluate
from attrcls.runs.train import run_train
from attrcls.sample import draw_fashion

RESULTS = Path(__file__).parent / "results" / "fascode"
TASK = "sample_fashion_recipe"
NONE: dict[str, Any] = {"balance": None, "unlabelled": None}
STEPS: dict[str, dict[str, Any]] = {
    "frozen trunk": NONE,
    "+ AUM": NONE,
    "+ balance": {"unlabelled": None},
    "+ dropped as unlabelled (UDA)": {},
}


def run_seed(seed: int, *, weights: str, people: int, work: Path) -> None:
    """All steps on one drawn set; what has its file is not run again."""
    files = {step: RESULTS / f"step{number}-seed{seed}.json" for number, step in enumerate(STEPS)}
    if all(file.exists() for file in files.values()):
        return
    data = work / f"fashion-{people}-{seed}"
    if not data.exists():
        draw_fashion(data, people=people, seed=seed)
    changes = {"trunk.weights": weights, "seed": seed}
    cleaned = run_clean(TASK, data=data, out=work / f"clean-{seed}", full=False, changes=changes, overwrite=True)
    dropped = int((pd.read_csv(cleaned.folder / "verdicts.csv")["decision"] == "drop_label").sum())
    RESULTS.mkdir(parents=True, exist_ok=True)
    for number, (step, change) in enumerate(STEPS.items()):
        if files[step].exists():
            continue
        decisions = cleaned.folder / "verdicts.csv" if number else None
        run = run_train(TASK, data=data, changes={**changes, **change}, decisions=decisions, out=work / f"run-{number}-{seed}", overwrite=True)
        scores = {name: round(each.value, 4) for name, each in run_evaluate(run, data, split="test").scores.items()}
        cell = {
            "step": step,
            "seed": seed,
            "people": people,
            "dropped_labels": dropped if number else 0,
            "top1": scores["mean/top1"],
            "scores": scores,
        }
        files[step].write_text(json.dumps(cell, indent=2) + "\n")
        print(f"seed {seed} {step:30} mean top-1 {cell['top1']:.3f}", flush=True)


def summarise() -> None:
    """Mean and spread of each step."""
    for number, step in enumerate(STEPS):
        cells = [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"step{number}-seed*.json"))]
        if cells:
            found = [cell["top1"] for cell in cells]
            deviation = statistics.stdev(found) if len(found) > 1 else float("nan")
            means = {head: statistics.mean(cell["scores"][f"{head}/top1"] for cell in cells) for head in ("daily", "gender", "embellishment")}
            told = ", ".join(f"{head} {value:.3f}" for head, value in means.items())
            print(f"{step:32} {len(cells)} seeds  mean top-1 {statistics.mean(found):.3f} ± {deviation:.3f}  ({told})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--people", type=int, default=360)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "attrcls-fascode", help="where figures and runs lie")
    arguments = parser.parse_args()
    os.environ.setdefault("ATTRCLS_CACHE", str(arguments.work / "cache"))
    for seed in arguments.seeds.split(","):
        run_seed(int(seed), weights=arguments.weights, people=arguments.people, work=arguments.work)
    summarise()


if __name__ == "__main__":
    main()
