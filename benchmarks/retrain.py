"""What cleaning is worth: top-1 on a clean test split after training on labels of which two in five are wrong.

    python benchmarks/retrain.py --data PACKS --weights FILE [--budgets frozen,constant,full,full-constant] [--seeds 0,1,2]

PACKS holds the folder cifar; the head is its column `label_sym40`. Three trainings of the same task and budget: on the
labels as given, on the verdicts of `clean-labels` as it gives them (`--fast` before heads alone are trained, `--full` before
the whole network is: what judges a label must see no less than what learns from it), and with exactly the truly wrong
labels dropped, which nobody can do without the truth: the ceiling. One JSON file per cell; a cell that has its file is not run
again. Prints at the end how far verdicts go from the first figure to the last.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "results" / "retrain"
TASK = str(Path(__file__).parent / "tasks" / "cifar_sym40.yaml")
HEAD = "sym40"
# Fine-tuning the whole network learns in four epochs what a few heads need eight for.
# The task's own recipe (a rate that comes down, smoothed labels, averaged weights) hardly learns wrong labels by heart, and
# leaves less to win than the plain one of a constant rate.
PLAIN = ["--set", "schedule.name=constant", "--set", f"heads.{HEAD}.label_smoothing=0", "--set", "ema=null"]
BUDGETS = {
    "frozen": ["--freeze"],
    "constant": ["--freeze", "--epochs", "15", *PLAIN],
    "full": ["--no-freeze", "--epochs", "4"],
    # What plain fine-tuning of margins uses: eight epochs at 3e-4.
    "full-constant": ["--no-freeze", "--epochs", "8", "--set", "optimiser.lr=3e-4", *PLAIN],
}
CLEANING = {"frozen": "--fast", "constant": "--fast", "full": "--full", "full-constant": "--full"}
LABELS = ("given", "verdicts", "ceiling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--budgets", default=",".join(BUDGETS))
    parser.add_argument("--labels", default=",".join(LABELS))
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    for seed in arguments.seeds.split(","):
        for budget in arguments.budgets.split(","):
            for labels in arguments.labels.split(","):
                run_cell(budget, labels, int(seed), pack=arguments.data / "cifar", weights=arguments.weights)
    summarise()


def run_cell(budget: str, labels: str, seed: int, *, pack: Path, weights: Path) -> None:
    file = RESULTS / f"{budget}-{labels}-seed{seed}.json"
    if file.exists():
        return
    given = [TASK, "--data", str(pack), "--weights", str(weights), "--seed", str(seed)]
    with tempfile.TemporaryDirectory(prefix=f"{budget}-{labels}-") as folder:
        run, decisions = Path(folder) / "run", Path(folder) / "clean" / "verdicts.csv"
        if labels != "given":
            # The ceiling only needs the rows' ids that the audit lists; they take seconds once the features are kept.
            attrcls("clean-labels", *given, CLEANING[budget] if labels == "verdicts" else "--fast", "--out", str(decisions.parent))
        if labels == "ceiling":
            decisions = drop_truly_wrong(pack, decisions.parent / "aum_values.csv", Path(folder) / "truth.csv")
        extra = [] if labels == "given" else ["--decisions", str(decisions)]
        attrcls("train", *given, *BUDGETS[budget], "--out", str(run), *extra)
        scores = Path(folder) / "scores.json"
        attrcls("evaluate", str(run), str(pack), "--split", "test", "--json", str(scores))
        top1 = json.loads(scores.read_text())["scores"][f"{HEAD}/top1"][0]
        status = json.loads((run / "status.json").read_text())
        dropped = int((pd.read_csv(decisions)["decision"] == "drop_label").sum()) if extra else 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    cell = {"budget": budget, "labels": labels, "seed": seed, "dropped": dropped, "top1": round(top1, 4), "seconds": status["seconds"]}
    file.write_text(json.dumps({**cell, "versions": status["versions"], "precision": status["precision"]}, indent=2) + "\n")
    print(f"{file.name}: {top1:.4f}", flush=True)


def drop_truly_wrong(pack: Path, values: Path, target: Path) -> Path:
    """Decisions that drop the truly wrong labels of the train rows, and nothing else."""
    truth = pd.read_csv(pack / "cifar.csv").set_index("path")["label_true"]
    labels = pd.read_csv(values)
    wrong = labels[labels["given_label"].to_numpy() != truth.loc[labels["path"]].to_numpy()]
    wrong[["card", "row_id", "head", "given_label"]].assign(decision="drop_label").to_csv(target, index=False)
    return target


def attrcls(*arguments: str) -> None:
    print("$ attrcls", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "attrcls", *arguments], check=True)


def summarise() -> None:
    for budget in BUDGETS:
        means = {}
        for labels in LABELS:
            found = [json.loads(file.read_text())["top1"] for file in sorted(RESULTS.glob(f"{budget}-{labels}-seed*.json"))]
            if found:
                means[labels] = statistics.mean(found)
                spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
                print(f"{budget:13} {labels:9} {means[labels]:.3f}{spread}  ({', '.join(f'{each:.3f}' for each in found)})")
        if len(means) == len(LABELS):
            print(f"{budget:13} of the way  {(means['verdicts'] - means['given']) / (means['ceiling'] - means['given']):.2f}")


if __name__ == "__main__":
    main()
