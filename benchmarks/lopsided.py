"""What losses, drawing, adjusting and quotas do for scarce classes: age bands, lopsided in training and uniform in the test set.

    python benchmarks/lopsided.py --data PACKS/age5 --weights FILE [--budget frozen|small|full] [--cells plain,focal,…] [--seeds 0,1,2]

A cell is a recipe and a seed: one training, then its test predictions as they are, adjusted for the training counts, and under a
uniform quota. Each has a file of its own in `results/lopsided`, so that the benchmark goes on where it was stopped; delete a file
to run its cell anew. `frozen` screens heads on kept features, `small` trains everything at 64 px, `full` at the task's 128 px.
Recipes are chosen by the validation rows' mean recall over the bands, which is their top-1 were they uniform as the test rows
are; test figures are looked at once.
"""

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import recall_score

from attrcls.answers.decoding import adjusted
from attrcls.prediction.models import load_models
from attrcls.runs.predict import run_predict
from attrcls.runs.train import run_train
from attrcls.tensors import load_tensors

RESULTS = Path(__file__).parent / "results" / "lopsided"
TASKS = Path(__file__).parent / "tasks"
HEAD = "age_band"
CHOSEN_BY = f"{HEAD}/recall"


def loss(name: str, **options: float) -> dict[str, Any]:
    """A recipe that changes the age head's loss alone."""
    return {f"heads.{HEAD}.loss": name, **{f"heads.{HEAD}.loss_options.{key}": value for key, value in options.items()}}


def ordinal(way: str, **options: float) -> dict[str, Any]:
    """A recipe that makes the age head one of classes that have an order."""
    return {f"heads.{HEAD}.kind": "ordinal", f"heads.{HEAD}.ordinal": way, **{f"heads.{HEAD}.loss_options.{key}": options[key] for key in options}}


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "balanced-sampling": {"balance": [HEAD]},
    "effective-number": loss("cross_entropy", beta=0.999),
    "focal": loss("focal"),
    "asymmetric": loss("asymmetric"),
    "balanced-softmax": loss("balanced_softmax"),
    "logit-adjusted": loss("logit_adjusted"),
    # The paper's have no label smoothing.
    "ldam": {**loss("ldam", deferred=1), f"heads.{HEAD}.label_smoothing": 0},
    "ldam-drw": {**loss("ldam"), f"heads.{HEAD}.label_smoothing": 0},
    "ldam-rsg": {**loss("ldam"), f"heads.{HEAD}.label_smoothing": 0, "rsg": {"head": HEAD}},
    # Bands have an order.
    "corn": ordinal("corn"),
    "coral": ordinal("coral"),
    "soft": ordinal("soft"),
    "soft-years": {**ordinal("soft", sigma=4), "cards": [str(TASKS / "age5_years.card.yaml")]},
    "corn-balanced": {**ordinal("corn"), "balance": [HEAD]},
}
BUDGETS: dict[str, dict[str, Any]] = {"frozen": {"trunk.freeze": True}, "small": {"image.px": 64}, "full": {}}
# What a prediction may be told beside.
DECISIONS: dict[str, dict[str, Any]] = {"argmax": {}, "adjusted": {"adjust": 1.0}, "quota": {"quota": ["age_band=uniform"]}}


def run_cell(recipe: str, seed: int, *, budget: str, data: Path, weights: str, precision: str, runs: Path) -> None:
    """One training and its test predictions; what has its file is not run again."""
    file = RESULTS / f"{budget}-{recipe}-seed{seed}.json"
    if file.exists():
        return
    changes = {"trunk.weights": weights, "seed": seed, "monitor": CHOSEN_BY, **BUDGETS[budget], **RECIPES[recipe]}
    truth = pd.read_csv(data / "test.csv")
    out = runs / file.stem
    run = run_train("age5", data=data, changes=changes, out=out, precision=precision, resume=(out / "status.json").exists())
    status = json.loads((run / "status.json").read_text())
    kept = pd.read_csv(run / "metrics.csv").iloc[status["kept_epoch"] - 1].to_dict()
    chosen_by = {"argmax": round(kept[CHOSEN_BY], 4), "adjusted": round(adjusted_recall(run), 4)}
    test = {}
    for name, told in DECISIONS.items():
        table = run_predict(run, data / "test.csv", precision=precision, engine="torch", **told).table
        test[name] = round(float((table[HEAD] == truth[HEAD]).mean()), 4)
    RESULTS.mkdir(parents=True, exist_ok=True)
    cell = {"recipe": recipe, "seed": seed, "budget": budget, "precision": status["precision"], "chosen_by": chosen_by, "test": test}
    file.write_text(json.dumps({**cell, "seconds": status["seconds"], "validation": kept}, indent=2) + "\n")
    print(f"{file.name}: validation {chosen_by}, test {test}", flush=True)


def adjusted_recall(run: Path) -> float:
    """The validation rows' mean recall over the bands when a run's answers are adjusted for the training counts."""
    description = load_models([run])[0].description
    names = description.attributes[HEAD].classes
    tensors, _ = load_tensors(run / "validation.safetensors")
    given = pd.read_csv(run / "validation.csv")[f"{HEAD}_given"].map({name: place for place, name in enumerate(names)})
    answers = adjusted(tensors[HEAD].numpy(), description.class_counts[HEAD], 1.0).argmax(axis=1)
    return float(recall_score(given, answers, average="macro"))


def summarise() -> None:
    """Mean and spread of every recipe, best on validation first."""
    for budget in BUDGETS:
        lines = []
        for recipe in RECIPES:
            cells = [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{budget}-{recipe}-seed*.json"))]
            if cells:
                known = {name: statistics.mean(cell["chosen_by"][name] for cell in cells) for name in ("argmax", "adjusted")}
                test = "  ".join(f"{name} {spread([cell['test'][name] for cell in cells])}" for name in DECISIONS)
                told = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
                lines.append((max(known.values()), f"{budget:7} {recipe:18} {len(cells)} seeds  validation recall: {told}  test: {test}"))
        for _, line in sorted(lines, reverse=True):
            print(line)


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--budget", choices=BUDGETS, default="frozen")
    parser.add_argument("--cells", help="recipes, with commas between; all by default")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--precision", default="auto")
    work = Path(tempfile.gettempdir()) / "attrcls-lopsided"
    parser.add_argument("--runs", type=Path, default=work / "runs", help="where the runs lie, which a new cell's file finds again")
    arguments = parser.parse_args()
    wanted = arguments.cells.split(",") if arguments.cells else [name for name in RECIPES if arguments.budget != "frozen" or "rsg" not in name]
    if unknown := [name for name in wanted if name not in RECIPES]:
        parser.error(f"--cells: expected some of {', '.join(RECIPES)}, found {', '.join(unknown)}")
    # Features are kept for all cells, and for this benchmark alone.
    os.environ.setdefault("ATTRCLS_CACHE", str(work / "cache"))
    for seed in arguments.seeds.split(","):
        for recipe in wanted:
            run_cell(
                recipe, int(seed), budget=arguments.budget, data=arguments.data, weights=arguments.weights, precision=arguments.precision,
                runs=arguments.runs,
            )  # fmt: skip
    summarise()


if __name__ == "__main__":
    main()
