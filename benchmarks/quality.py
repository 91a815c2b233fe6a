"""How good the bundled tasks' defaults are: train, predict and score each pack with each seed, one JSON file per cell.

    python benchmarks/quality.py --data PACKS --weights FILE [--packs mask18,clothing,age5] [--seeds 0,1,2]
        [--variants plain,cleaned,unlabelled,balanced,both] [--budget default|half|frozen] [--precision 32|bf16] [--untrained]

PACKS holds the folders mask18, clothing and age5. `cleaned` trains on the verdicts of `clean-labels --fast`, as it gives
them, `unlabelled` learns from the pictures of the dropped labels besides (UDA); `balanced` evens out the classes of all heads at
once; `both` does one after the other. The budgets: the task's own, at half its picture size (a quarter of the time), and heads
alone on a frozen trunk. The precision is named, so that no cell is held against one of another machine's. A cell that has its
file is not run again, so that the benchmark can be stopped and gone on with; delete a file to run its cell anew. Prints mean
and standard deviation at the end.
"""

import argparse
import itertools
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
# age5's test set has as many of each class, so that top-1 is its macro recall too.
FIGURES = {"mask18": "code macro-F1", "clothing": "garment/top1", "age5": "age_band/top1"}
HEADS = {"mask18": "mask,gender,age", "clothing": "garment,wearer", "age5": "age_band,gender"}
BUDGETS = {"default": [], "half": ["--set", "image.px=64"], "frozen": ["--freeze"]}
VARIANTS = ("plain", "cleaned", "unlabelled", "balanced", "both")
# A few labels are dropped, and so few pictures without one are shown beside the others.
UNLABELLED = ["--set", "unlabelled={method: uda, ratio: 0.25}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--packs", default=",".join(FIGURES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--variants", default="plain")
    parser.add_argument("--budget", choices=BUDGETS, default="default")
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    parser.add_argument("--untrained", action="store_true", help="with --weights none instead")
    arguments = parser.parse_args()
    weights = "none" if arguments.untrained else str(arguments.weights)
    for seed in arguments.seeds.split(","):
        for pack in arguments.packs.split(","):
            for variant in arguments.variants.split(","):
                data = arguments.data / pack
                run_cell(pack, variant, int(seed), budget=arguments.budget, precision=arguments.precision, data=data, weights=weights)
    summarise()


def run_cell(pack: str, variant: str, seed: int, *, budget: str, precision: str, data: Path, weights: str) -> None:
    if variant not in VARIANTS:
        sys.exit(f"--variants: expected some of {', '.join(VARIANTS)}, found {variant}")
    start = "untrained" if weights == "none" else "pretrained"
    file = RESULTS / f"{pack}-{named(variant, start, budget, precision)}-seed{seed}.json"
    if file.exists():
        return
    folder = Path(tempfile.mkdtemp(prefix=f"{pack}-"))
    run = folder / "run"
    given = [pack, "--data", str(data), "--weights", weights, "--seed", str(seed), "--precision", precision]
    size = BUDGETS[budget] if budget == "half" else []
    extra = ["--balance", HEADS[pack]] if variant in ("balanced", "both") else []
    cell: dict[str, object] = {"pack": pack, "seed": seed, "start": start, "variant": variant, "budget": budget}
    extra += UNLABELLED if variant == "unlabelled" else []
    if variant in ("cleaned", "unlabelled", "both"):
        clean = folder / "clean"
        attrcls("clean-labels", *given, *size, "--fast", "--out", str(clean))
        verdicts = pd.read_csv(clean / "verdicts.csv")
        extra += ["--decisions", str(clean / "verdicts.csv")]
        cell["dropped"] = {str(head): int(count) for head, count in verdicts[verdicts["decision"] == "drop_label"]["head"].value_counts().items()}
    attrcls("train", *given, *BUDGETS[budget], "--out", str(run), *extra)
    if pack == "mask18":
        submission = folder / "submission.csv"
        attrcls("predict", str(run), str(data / "eval" / "info.csv"), "--csv", str(submission), "--submission", "--precision", precision)
        answers = pd.read_csv(data / "eval_answers.csv")
        predicted = pd.read_csv(submission).set_index("ImageID").loc[answers["ImageID"], "ans"]
        cell["figure"] = round(float(f1_score(answers["ans"], predicted, average="macro")), 4)
    else:
        scores = folder / "scores.json"
        attrcls("evaluate", str(run), str(data), "--split", "test", "--json", str(scores), "--precision", precision)
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


def named(variant: str, start: str, budget: str, precision: str) -> str:
    """A plain cell is named by where its trunk starts, the others by what was done to their labels."""
    name = start if variant == "plain" else variant if start == "pretrained" else f"{variant}-{start}"
    usual = {"default", "32"}
    return "-".join([*(each for each in (budget, precision) if each not in usual), name])


def summarise() -> None:
    for pack, figure in FIGURES.items():
        for name in [named(*each) for each in itertools.product(VARIANTS, ("untrained", "pretrained"), BUDGETS, ("32", "bf16"))]:
            found = [json.loads(file.read_text())["figure"] for file in sorted(RESULTS.glob(f"{pack}-{name}-seed*.json"))]
            if found:
                spread = statistics.stdev(found) if len(found) > 1 else float("nan")
                print(f"{pack:9} {name:18} {figure:14} {statistics.mean(found):.3f} ± {spread:.3f}  ({', '.join(f'{each:.3f}' for each in found)})")


if __name__ == "__main__":
    main()
