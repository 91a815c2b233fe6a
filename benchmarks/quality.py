"""How good the bundled tasks' defaults are: train, predict and score each pack with each seed, one JSON file per cell.

    python benchmarks/quality.py --data PACKS --weights FILE [--packs mask18,clothing,age5] [--seeds 0,1,2] [--untrained]

PACKS holds the folders mask18, clothing and age5. A cell that has its file is not run again, so that the benchmark can
be stopped and gone on with; delete a file to run its cell anew. Prints mean and standard deviation at the end.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from sklearn.metrics import f1_score

RESULTS = Path(__file__).parent / "results" / "quality"
# The one figure per pack that a plain script is held against.
FIGURES = {"mask18": "code macro-F1", "clothing": "garment/top1", "age5": "age_band/top1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--packs", default=",".join(FIGURES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--untrained", action="store_true", help="with --weights none instead")
    arguments = parser.parse_args()
    weights = "none" if arguments.untrained else str(arguments.weights)
    for seed in arguments.seeds.split(","):
        for pack in arguments.packs.split(","):
            run_cell(pack, int(seed), data=arguments.data / pack, weights=weights)
    summarise()


def run_cell(pack: str, seed: int, *, data: Path, weights: str) -> None:
    start = "untrained" if weights == "none" else "pretrained"
    file = RESULTS / f"{pack}-{start}-seed{seed}.json"
    if file.exists():
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{pack}-"))
    run = folder / "run"
    train = ["train", pack, "--data", str(data), "--weights", weights, "--seed", str(seed), "--out", str(run)]
    attrcls(*train)
    cell: dict[str, object] = {"pack": pack, "seed": seed, "start": start}
    if pack == "mask18":
        submission = folder / "submission.csv"
        attrcls("predict", str(run), str(data / "eval" / "info.csv"), "--csv", str(submission), "--submission")
        answers = pd.read_csv(data / "eval_answers.csv")
        predicted = pd.read_csv(submission).set_index("ImageID").loc[answers["ImageID"], "ans"]
        cell["figure"] = round(float(f1_score(answers["ans"], predicted, average="macro")), 4)
    else:
        scores = folder / "scores.json"
        attrcls("evaluate", str(run), str(data), "--split", "test", "--json", str(scores))
        cell["scores"] = {name: value[0] for name, value in json.loads(scores.read_text())["scores"].items()}
        cell["figure"] = round(cell["scores"][FIGURES[pack]], 4)  # type: ignore[index]
    status = json.loads((run / "status.json").read_text())
    metrics = pd.read_csv(run / "metrics.csv")
    cell |= {"kept_epoch": status["kept_epoch"], "seconds": status["seconds"], "validation": metrics.iloc[status["kept_epoch"] - 1].to_dict()}
    cell |= {"versions": status["versions"], "precision": status["precision"]}
    RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(cell, indent=2) + "\n")
    print(f"{file.name}: {cell['figure']}", flush=True)
    shutil.rmtree(folder)


def attrcls(*arguments: str) -> None:
    print("$ attrcls", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "attrcls", *arguments], check=True)


def summarise() -> None:
    for pack, figure in FIGURES.items():
        for start in ("pretrained", "untrained"):
            found = [json.loads(file.read_text())["figure"] for file in sorted(RESULTS.glob(f"{pack}-{start}-*.json"))]
            if found:
                spread = statistics.stdev(found) if len(found) > 1 else float("nan")
                print(f"{pack:9} {start:10} {figure:14} {statistics.mean(found):.3f} ± {spread:.3f}  ({', '.join(f'{each:.3f}' for each in found)})")


if __name__ == "__main__":
    main()
