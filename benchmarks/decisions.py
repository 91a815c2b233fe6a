"""What deciding well is worth on the mask competition's score: the macro-F1 over 18 combined classes, and how far confidences hold.

    python benchmarks/decisions.py --data PACKS/mask18 --weights FILE [--task mask18] [--seeds 0,1,2] [--folds 0] [--work FOLDER]

Trains a run a seed (and, with --folds K, K folds with the first seed), and then answers the same test pictures in several ways: each
head's argmax, joint with the train rows' combinations, class offsets tuned for macro-F1, mirrored views, the runs' mean, and all of it.
Everything is fitted on each run's validation rows. The runs lie in --work and are gone on with; each way's scores have a file of their own
in `results/decisions`.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from attrcls.answers.calibration import measure_certainty, tempered
from attrcls.answers.decoding import Decoder, count_codes
from attrcls.answers.fitting import fit_joint, fit_offsets
from attrcls.combine import Combiner, IntArray
from attrcls.prediction.models import combiner_of, heads_of, load_models
from attrcls.runs.folds import run_folds
from attrcls.runs.predict import run_predict
from attrcls.runs.train import run_train
from attrcls.tensors import load_tensors
from attrcls.types import MISSING

RESULTS = Path(__file__).parent / "results" / "decisions"
COVERAGE = 0.8
Probabilities = Mapping[str, np.ndarray[Any, Any]]


def ways_of(run: Path, pictures: Path) -> dict[str, dict[str, float]]:
    """A single run's scores, in every way that one run can answer."""
    truth = answers_of(pictures)
    models = load_models([run])
    combiner = combiner_of(models)
    assert combiner is not None
    plain, mirrored = probabilities_of([run], pictures), probabilities_of([run], pictures, tta="flip")
    fitted = decoders_of(run, heads_of(models), combiner)
    scores = {name: score(decoder.decide(plain, combiner), truth, combiner) for name, decoder in {"argmax": Decoder(), **fitted}.items()}
    scores["flip"] = score(Decoder().decide(mirrored, combiner), truth, combiner)
    scores["flip, offsets"] = score(fitted["offsets"].decide(mirrored, combiner), truth, combiner)
    return {**scores, **certainties(run, plain, truth, combiner)}


def ensemble_ways(runs: Sequence[Path], pictures: Path) -> dict[str, dict[str, float]]:
    """The mean of several runs, with and without mirrored views and the mean of their offsets."""
    truth, models = answers_of(pictures), load_models(runs)
    combiner = combiner_of(models)
    assert combiner is not None
    each = [decoders_of(model.run, heads_of(models), combiner)["offsets"].offsets for model in models]
    offsets = Decoder("offsets", offsets={head: np.mean([offset[head] for offset in each], axis=0) for head in each[0]})
    found = {}
    for views, name in ((None, "mean"), ("flip", "mean, flip")):
        together = probabilities_of(runs, pictures, tta=views)
        found[name] = score(Decoder().decide(together, combiner), truth, combiner)
        found[f"{name}, offsets"] = score(offsets.decide(together, combiner), truth, combiner)
    return found


def probabilities_of(runs: Sequence[Path], pictures: Path, tta: str | None = None) -> Probabilities:
    """Calibrated, per head, of the test pictures in their order."""
    return run_predict(runs, pictures / "eval" / "info.csv", tta=tta, engine="torch").predictions.probabilities


def answers_of(pictures: Path) -> IntArray:
    """The true combined code of each test picture."""
    truth = pd.read_csv(pictures / "eval_answers.csv").set_index("ImageID")["ans"]
    return truth.loc[pd.read_csv(pictures / "eval" / "info.csv")["ImageID"]].to_numpy(dtype=np.int64)


def decoders_of(run: Path, classes: Mapping[str, Sequence[str]], combiner: Combiner) -> dict[str, Decoder]:
    """Joint and offsets, fitted on a run's own validation rows."""
    known, targets = validation_of(run, classes)
    table = pd.read_csv(run / "splits.csv")
    train = {head: indices(table[head][table["split"] == "train"], classes[head]) for head in combiner.order}
    return {
        "joint": fit_joint(known, targets, combiner=combiner, code_counts=count_codes(train, combiner)),
        "offsets": fit_offsets(known, targets, combiner=combiner),
    }


def validation_of(run: Path, classes: Mapping[str, Sequence[str]]) -> tuple[Probabilities, dict[str, IntArray]]:
    """Calibrated probabilities and labels of a run's validation rows."""
    tensors, _ = load_tensors(run / "validation.safetensors")
    table = pd.read_csv(run / "validation.csv")
    return {head: tensors[head].numpy() for head in classes}, {head: indices(table[f"{head}_given"], names) for head, names in classes.items()}


def indices(column: "pd.Series[str]", names: Sequence[str]) -> IntArray:
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(str(cell), MISSING) for cell in column], dtype=np.int64)


def score(chosen: Mapping[str, IntArray], truth: IntArray, combiner: Combiner) -> dict[str, float]:
    codes = combiner.encode(chosen)
    right = combiner.decode(truth)
    scores = {"f1": float(f1_score(truth, codes, average="macro")), "top1": float((codes == truth).mean())}
    return {name: round(value, 4) for name, value in {**scores, **{h: float((chosen[h] == right[h]).mean()) for h in combiner.order}}.items()}


def certainties(run: Path, calibrated: Probabilities, truth: IntArray, combiner: Combiner) -> dict[str, dict[str, float]]:
    """Each head's expected calibration error on the test rows without and with its temperature, and what abstaining brings."""
    temperatures = load_models([run])[0].description.temperatures
    right, found = combiner.decode(truth), {}
    for head, values in calibrated.items():
        before = tempered(values, 1 / temperatures[head])
        hits = values.argmax(axis=1) == right[head]
        without, with_it = (measure_certainty(each.max(axis=1), hits) for each in (before, values))
        assert without is not None and with_it is not None
        kept = with_it.at(COVERAGE)
        found[f"certainty of {head}"] = {
            name: round(value, 4)
            for name, value in {
                "ece_before": without.error, "ece_after": with_it.error, "temperature": temperatures[head], "accuracy": float(hits.mean()),
                "coverage": kept.share, "accuracy_at_coverage": kept.accuracy,
            }.items()
        }  # fmt: skip
    return found


def kept(name: str, measure: Any) -> None:
    file = RESULTS / f"{name}.json"
    if not file.exists():
        RESULTS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(measure(), indent=2) + "\n")
        print(f"written: {file.name}", flush=True)


def summarise(task: str) -> None:
    """Mean and spread over the seeds, and the ensembles beside them."""
    found = [json.loads(file.read_text()) for file in sorted(RESULTS.glob(f"{task}-seed*.json"))]
    for name in found[0] if found else ():
        for key in ("f1", "ece_before", "ece_after", "accuracy", "accuracy_at_coverage"):
            values = [each[name][key] for each in found if key in each[name]]
            if values:
                deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
                print(f"{task} {name:22} {len(values)} seeds  {key} {statistics.mean(values):.3f} ± {deviation:.3f}")
    for file in sorted(RESULTS.glob(f"{task}-*.json")):
        if "seed" not in file.name:
            for name, scores in json.loads(file.read_text()).items():
                print(f"{file.stem} {name:22} f1 {scores['f1']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--task", default="mask18")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--folds", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "attrcls-decisions", help="where the runs lie")
    arguments = parser.parse_args()
    os.environ.setdefault("ATTRCLS_CACHE", str(arguments.work / "cache"))
    seeds, runs = [int(seed) for seed in arguments.seeds.split(",")], []
    for seed in seeds:
        out = arguments.work / f"{arguments.task}-{seed}"
        changes = {"trunk.weights": arguments.weights, "seed": seed}
        runs.append(run_train(arguments.task, data=arguments.data, changes=changes, out=out, resume=(out / "status.json").exists()))
        kept(f"{arguments.task}-seed{seed}", lambda run=runs[-1]: ways_of(run, arguments.data))
    if len(runs) > 1:
        kept(f"{arguments.task}-{len(runs)}runs", lambda: ensemble_ways(runs, arguments.data))
    if arguments.folds:
        out = arguments.work / f"{arguments.task}-folds{arguments.folds}"
        changes = {"trunk.weights": arguments.weights, "seed": seeds[0]}
        run_folds(arguments.task, data=arguments.data, changes=changes, out=out, folds=arguments.folds, resume=out.exists())
        parts = [out / f"fold-{number}" for number in range(1, arguments.folds + 1)]
        kept(f"{arguments.task}-{arguments.folds}folds", lambda: ensemble_ways(parts, arguments.data))
    summarise(arguments.task)


if __name__ == "__main__":
    main()
