"""What pictures without a label are worth: a tenth of the train garments' labels kept, the rest of the train pictures without one.

    python benchmarks/unlabelled.py --data PACKS/clothing --weights FILE [--budget frozen|small|long|full] [--cells supervised,uda,…] [--seeds 0,1,2]

`lists/clothing_tenth.csv` names the pictures that keep their label: one in ten of each kind, drawn once. Validation and test rows keep
theirs. A cell is a method and a seed; each has a file of its own in `results/unlabelled`, so that the benchmark goes on where it was
stopped. `frozen` screens heads on kept features, `small` trains everything at 64 px (with more steps), `long` twice
as many epochs of it, `full` at the task's size.
Methods are chosen by top-1 of the validation rows; the test rows are looked at once.
"""

import argparse
import json
import os
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from attrcls.runs.predict import run_predict
from attrcls.runs.train import run_train

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "unlabelled"
HEAD = "garment"
CHOSEN_BY = f"{HEAD}/top1"
METHODS: dict[str, dict[str, Any]] = {
    "supervised": {},
    "uda": {"unlabelled": {"method": "uda"}},
    "fixmatch": {"unlabelled": {"method": "fixmatch"}},
    "freematch": {"unlabelled": {"method": "freematch"}},
    "uda-ratio3": {"unlabelled": {"method": "uda", "ratio": 3}},
    "fixmatch-ratio3": {"unlabelled": {"method": "fixmatch", "ratio": 3}},
    "uda-ratio7": {"unlabelled": {"method": "uda", "ratio": 7}},
    "freematch-ratio3": {"unlabelled": {"method": "freematch", "ratio": 3}},
    # Smoothed labels keep a head from being sure, and so from using most pictures.
    "supervised-sharp": {f"heads.{HEAD}.label_smoothing": 0},
    "uda-sharp": {f"heads.{HEAD}.label_smoothing": 0, "unlabelled": {"method": "uda", "confidence": 0.5}},
    "uda-sharp-ratio3": {f"heads.{HEAD}.label_smoothing": 0, "unlabelled": {"method": "uda", "confidence": 0.5, "ratio": 3}},
    "fixmatch-sharp": {f"heads.{HEAD}.label_smoothing": 0, "unlabelled": {"method": "fixmatch", "confidence": 0.7}},
}
BUDGETS: dict[str, dict[str, Any]] = {
    "frozen": {"trunk.freeze": True, "epochs": 40},
    # Small batches: with 301 labels a training has few steps, and agreeing with oneself takes many.
    "small": {"image.px": 64, "epochs": 60, "batch_size": 32},
    "long": {"image.px": 64, "epochs": 120, "batch_size": 32},
    "full": {"epochs": 40},
}


def lay_out(data: Path, folder: Path) -> Path:
    """The pack with a tenth of the train labels."""
    table = pd.read_csv(data / "clothing.csv", keep_default_na=False)
    kept = set(pd.read_csv(HERE / "lists" / "clothing_tenth.csv")["path"])
    table.loc[(table["split"] == "train") & ~table["path"].isin(kept), HEAD] = ""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "clothing.csv", index=False)
    if not (folder / "images").exists():
        shutil.copytree(data / "images", folder / "images")
    return folder


def run_cell(method: str, seed: int, *, budget: str, data: Path, weights: str, precision: str, work: Path) -> None:
    """One training and its test top-1; what has its file is not run again."""
    file = RESULTS / f"{budget}-{method}-seed{seed}.json"
    if file.exists():
        return
    changes = {"trunk.weights": weights, "seed": seed, "monitor": CHOSEN_BY, **BUDGETS[budget], **METHODS[method]}
    out = work / "runs" / file.stem
    tenth = lay_out(data, work / "tenth")
    run = run_train(
        "clothing", data=tenth, heads=[HEAD], changes=changes, out=out, precision=precision, resume=(out / "status.json").exists()
    )  # fmt: skip
    status = json.loads((run / "status.json").read_text())
    metrics = pd.read_csv(run / "metrics.csv")
    kept = metrics.iloc[status["kept_epoch"] - 1].to_dict()
    truth = pd.read_csv(data / "clothing.csv", keep_default_na=False)
    truth = truth[(truth["split"] == "test") & (truth[HEAD] != "")]
    listed = work / "test.csv"
    pd.DataFrame({"path": [str((data / path).resolve()) for path in truth["path"]]}).to_csv(listed, index=False)
    table = run_predict(run, listed, precision=precision, engine="torch").table
    top1 = float((table[HEAD].to_numpy() == truth[HEAD].to_numpy()).mean())
    RESULTS.mkdir(parents=True, exist_ok=True)
    cell = {"method": method, "seed": seed, "budget": budget, "precision": status["precision"], "chosen_by": round(kept[CHOSEN_BY], 4)}
    file.write_text(json.dumps({**cell, "test": round(top1, 4), "seconds": status["seconds"], "validation": kept}, indent=2) + "\n")
    print(f"{file.name}: validation {cell['chosen_by']}, test {top1:.4f}", flush=True)


def summarise() -> None:
    """Mean and spread of every method, and how much of the supervised run's test error it takes away."""
    for budget in BUDGETS:
        found = {method: [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{budget}-{method}-seed*.json"))] for method in METHODS}
        supervised = [1 - cell["test"] for cell in found["supervised"]]
        for method, cells in found.items():
            if cells:
                test = [cell["test"] for cell in cells]
                deviation = statistics.stdev(test) if len(test) > 1 else float("nan")
                cut = f"  error less {1 - (1 - statistics.mean(test)) / statistics.mean(supervised):.1%}" if supervised else ""
                chosen_by = statistics.mean(cell["chosen_by"] for cell in cells)
                print(
                    f"{budget:7} {method:12} {len(cells)} seeds  validation {chosen_by:.3f}  test {statistics.mean(test):.3f} ± {deviation:.3f}{cut}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--budget", choices=BUDGETS, default="frozen")
    parser.add_argument("--cells", type=lambda text: text.split(","), default=list(METHODS), help="methods, with commas between")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "attrcls-unlabelled", help="where the runs lie")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.cells if name not in METHODS]:
        parser.error(f"--cells: expected some of {', '.join(METHODS)}, found {', '.join(unknown)}")
    os.environ.setdefault("ATTRCLS_CACHE", str(arguments.work / "cache"))
    for seed in arguments.seeds.split(","):
        for method in arguments.cells:
            run_cell(
                method, int(seed), budget=arguments.budget, data=arguments.data, weights=arguments.weights, precision=arguments.precision,
                work=arguments.work,
            )  # fmt: skip
    summarise()


if __name__ == "__main__":
    main()
