"""How well wrong labels are found: clean-labels against known truth, one JSON file per cell, keyed by its config.

    python benchmarks/cleaning.py --data PACKS --weights FILE [--cells cifar-aum,cifar-confident,cifar-both,mask18-fast,mask18-full] [--seeds 0,1,2]

PACKS holds the folders cifar and mask18. A cell that has its file is not run again; delete a file to run its cell anew.
For each head: AUROC and average precision of `label_score` (low = bad) and, where attrcls gives one, of AUM; the F1 of the
default verdicts before the floor, the best F1 of any threshold on `label_score`, and how many are flagged per wrong label.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

RESULTS = Path(__file__).parent / "results" / "cleaning"
CIFAR = str(Path(__file__).parent / "tasks" / "cifar_noise.yaml")
CELLS = {
    "cifar-aum": (CIFAR, ["--fast"]),
    "cifar-confident": (CIFAR, ["--fast", "--method", "confident"]),
    "cifar-both": (CIFAR, ["--fast", "--method", "both"]),
    "mask18-fast": ("mask18", ["--fast"]),
    "mask18-full": ("mask18", ["--full"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cells", default=",".join(CELLS))
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    for seed in arguments.seeds.split(","):
        for cell in arguments.cells.split(","):
            run_cell(cell, int(seed), data=arguments.data, weights=arguments.weights)
    summarise()


def run_cell(cell: str, seed: int, *, data: Path, weights: Path) -> None:
    file = RESULTS / f"{cell}-seed{seed}.json"
    if file.exists():
        return
    task, flags = CELLS[cell]
    pack = data / cell.split("-")[0]
    with tempfile.TemporaryDirectory(prefix=f"{cell}-") as folder:
        out = Path(folder) / "clean"
        command = ["clean-labels", task, "--data", str(pack), "--weights", str(weights), "--seed", str(seed), "--out", str(out), *flags]
        print("$ attrcls", *command, flush=True)
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "attrcls", *command], check=True)
        seconds = time.monotonic() - began
        values, verdicts = pd.read_csv(out / "aum_values.csv"), pd.read_csv(out / "verdicts.csv")
        facts = json.loads((out / "status.json").read_text())["heads"]
    heads = {head: score_head(of_head, verdicts[verdicts["head"] == head], truth(cell, pack, str(head))) for head, of_head in values.groupby("head")}
    heads = {head: scores for head, scores in heads.items() if scores}
    RESULTS.mkdir(parents=True, exist_ok=True)
    config = {"cell": cell, "seed": seed, "flags": flags}
    file.write_text(json.dumps({**config, "seconds": round(seconds, 1), "heads": heads, "facts": facts}, indent=2) + "\n")
    print(f"{file.name}: " + "; ".join(f"{head} AP {scores['average_precision']:.3f}" for head, scores in heads.items()), flush=True)


def truth(cell: str, pack: Path, head: str) -> "pd.Series | None":
    """Whether the label is wrong, by the picture's path; None where nobody knows."""
    if cell.startswith("cifar"):
        table = pd.read_csv(pack / "cifar.csv").set_index("path")
        return table[f"label_{head}"] != table["label_true"]
    table = pd.read_csv(pack / "train_truth.csv")
    if f"{head}_wrong" not in table:
        return None
    return pd.Series((table[f"{head}_wrong"] == 1).to_numpy(), index="train/images/" + table["file"])


def score_head(values: pd.DataFrame, verdicts: pd.DataFrame, wrong: "pd.Series | None") -> dict[str, float]:
    if wrong is None:
        return {}
    bad = wrong.loc[values["path"]].to_numpy()
    if not bad.any():
        return {}
    flagged = values["path"].isin(set(verdicts["path"])).to_numpy()
    score = -values["label_score"].to_numpy()
    precision, recall, _ = precision_recall_curve(bad, score)
    found = {
        "labels": len(bad),
        "wrong": int(bad.sum()),
        "auroc": roc_auc_score(bad, score),
        "average_precision": average_precision_score(bad, score),
        "flagged": int(flagged.sum()),
        "flagged_per_wrong": flagged.sum() / bad.sum(),
        "f1": 2 * (flagged & bad).sum() / max(1, flagged.sum() + bad.sum()),
        "best_f1": float(np.max(2 * precision * recall / (precision + recall + 1e-12))),
    }
    if values["aum"].notna().all():
        found["aum_average_precision"] = average_precision_score(bad, -values["aum"])
    return {name: round(float(value), 4) for name, value in found.items()}


def summarise() -> None:
    for cell in CELLS:
        cells = [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{cell}-seed*.json"))]
        for head in cells[0]["heads"] if cells else ():
            told = []
            for name in ("auroc", "average_precision", "f1", "best_f1", "flagged_per_wrong"):
                found = [each["heads"][head][name] for each in cells]
                spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
                told.append(f"{name} {statistics.mean(found):.3f}{spread}")
            print(f"{cell:16} {head:8} {len(cells)} seeds  " + "  ".join(told))


if __name__ == "__main__":
    main()
