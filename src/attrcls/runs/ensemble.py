"""An ensemble as a story: runs → their validation probabilities → greedy selection → a folder of models with weights.

Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble Selection from Libraries of Models" (ICML 2004): starting from none, the run whose
addition makes the mean of probabilities score best is added, again and again and with replacement; how often a run was added is its weight.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attrcls.combine import Combiner
from attrcls.data.tables import read_table
from attrcls.errors import UserError
from attrcls.files import write_with
from attrcls.inside import refuse_links_out
from attrcls.model.description import ModelDescription, read_description
from attrcls.prediction.members import members_of, write_members
from attrcls.runs.epochs import is_better
from attrcls.runs.folder import RunFolder, open_run_folder
from attrcls.spec import suggest
from attrcls.tensors import load_tensors
from attrcls.training.metrics import score_all
from attrcls.types import MISSING

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
# Additions after the best one so far, none of which was better, before the search ends; and additions at most.
PATIENCE, MOST = 10, 100
# What an ensemble keeps of a run: enough to predict, to evaluate and to know where it came from.
_KEPT = ("config.yaml", "splits.csv", "model/README.md", "model/model.json", "model/weights.safetensors")


@dataclass(frozen=True)
class Ensemble:
    """The folder, what was maximised (a loss: minimised) on how many validation rows, and each run's weight and score alone, in their order."""

    folder: Path
    monitor: str
    rows: int
    weights: Sequence[int]
    alone: Sequence[float]
    mean_of_all: float
    chosen: float


@dataclass(frozen=True)
class _Candidate:
    """A run's validation rows, in the order of their keys: probabilities `(rows, classes)` per head and the labels given."""

    run: Path
    description: ModelDescription
    keys: Sequence[tuple[str, str]]
    probabilities: Mapping[str, Floats]
    targets: Mapping[str, Ints]


def run_ensemble(runs: Sequence[str | Path], *, out: str | Path, monitor: str | None = None, overwrite: bool = False) -> Ensemble:
    """Choose among runs by their validation rows, which must be the same, and write a folder that `predict` and `evaluate` take as a run.

    `monitor` is the score to maximise, by default the first run's task's. The chosen runs' models are copied, so that the folder is whole by
    itself. A loss is the plain cross-entropy of the mean probabilities. Raises:
        UserError: runs have no validation probabilities, other rows or labels than the first, or other heads; the score is none of theirs.
    """
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise UserError("expected two runs or more to choose among: attrcls ensemble RUN RUN… --out DIR")
    candidates = [_read(path) for path in paths]
    for other in candidates[1:]:
        _check_alike(candidates[0], other)
    task = RunFolder(paths[0]).read_config().get("task")
    wanted = monitor or str(task["monitor"] if isinstance(task, Mapping) and "monitor" in task else "mean/f1")
    score = _scorer(candidates[0], wanted)
    members = [each.probabilities for each in candidates]
    weights = select(members, score, better=lambda new, best: is_better(wanted, new, best))
    result = Ensemble(
        Path(out), wanted, len(candidates[0].keys), weights, [score(each) for each in members], score(mean(members, [1] * len(members))),
        score(mean(members, weights)),
    )  # fmt: skip
    _write(result, paths, overwrite=overwrite)
    return result


def select(
    members: Sequence[Mapping[str, Floats]], score: Callable[[Mapping[str, Floats]], float], *, better: Callable[[float, float | None], bool]
) -> list[int]:
    """How often greedy selection with replacement adds each member; the shortest of the best selections on its way, the first of equals."""
    counts, best_counts = [0] * len(members), [0] * len(members)
    best: float | None = None
    since = 0
    while since < PATIENCE and sum(counts) < MOST:
        tried = [score(mean(members, [count + (place == added) for place, count in enumerate(counts)])) for added in range(len(members))]
        chosen = 0
        for place, value in enumerate(tried):
            if better(value, tried[chosen]):
                chosen = place
        counts[chosen] += 1
        since += 1
        if better(tried[chosen], best):
            best, best_counts, since = tried[chosen], list(counts), 0
    return best_counts


def mean(members: Sequence[Mapping[str, Floats]], weights: Sequence[int]) -> dict[str, Floats]:
    """Each head's weighted mean of probabilities."""
    kept = [(member, weight) for member, weight in zip(members, weights, strict=True) if weight]
    total = np.float32(sum(weights))
    return {head: np.sum([member[head] * np.float32(weight) for member, weight in kept], axis=0) / total for head in members[0]}


def _read(run: Path) -> _Candidate:
    """A run's validation rows, sorted by their keys."""
    found = members_of(run)
    if found[0][0] != run:
        raise UserError(f"{run} holds {len(found)} models that predict together; name single runs, with the same validation rows")
    if run.is_dir():
        refuse_links_out(run)
    description = read_description(run / "model" / "model.json")
    folder = RunFolder(run)
    if not folder.probabilities.is_file():
        raise UserError(
            f"{run}: {folder.probabilities.name} is missing: it has no validation rows, or an older attrcls trained it; train it again with some"
        )
    table = read_table(run / "validation.csv", escaped=True)
    for column in ("card", "row_id", *(f"{head}_given" for head in description.heads)):
        if column not in table.columns:
            raise UserError(f"{run}/validation.csv: expected a column {column}; put back the file that the run wrote")
    tensors, _ = load_tensors(folder.probabilities)
    wanted = {head: (len(table), len(description.attributes[head].classes)) for head in description.heads}
    if {head: tuple(values.shape) for head, values in tensors.items()} != wanted:
        raise UserError(f"{run}: {folder.probabilities.name} does not fit its model and validation.csv; were files of two runs mixed?")
    keys = list(zip(table["card"], table["row_id"], strict=True))
    order = sorted(range(len(keys)), key=lambda place: keys[place])
    targets = {}
    for head in description.heads:
        index = {name: place for place, name in enumerate(description.attributes[head].classes)}
        targets[head] = np.array([index.get(name, MISSING) for name in table[f"{head}_given"]], dtype=np.int64)[order]
    return _Candidate(run, description, [keys[place] for place in order], {head: tensors[head].numpy()[order] for head in wanted}, targets)


def _check_alike(first: _Candidate, other: _Candidate) -> None:
    """Raises:
    UserError: two runs have other heads, classes, validation rows or labels.
    """
    if set(first.description.heads) != set(other.description.heads):
        heads = [", ".join(each.description.heads) for each in (first, other)]
        raise UserError(f"{first.run} has the heads {heads[0]}, {other.run} has {heads[1]}; choose among runs with the same")
    for head in first.description.heads:
        if first.description.attributes[head].classes != other.description.attributes[head].classes:
            raise UserError(f"{other.run} and {first.run} disagree about the classes of {head}: they belong to different tasks")
    if first.keys != other.keys:
        common = len(set(first.keys) & set(other.keys))
        raise UserError(
            f"{other.run} has {len(other.keys):,} validation rows and {first.run} {len(first.keys):,}, {common:,} of them the same; runs are "
            "compared on the same rows: train them on the same data with the same hold_back"
        )
    if any((first.targets[head] != other.targets[head]).any() for head in first.targets):
        raise UserError(f"{other.run} and {first.run} have other labels for the same validation rows; train them on the same tables")


def _scorer(first: _Candidate, monitor: str) -> Callable[[Mapping[str, Floats]], float]:
    """What gives the monitor's score of probabilities."""
    description, targets = first.description, first.targets
    combiner: Combiner | None = description.combiner
    ordinal = {head for head, spec in description.heads.items() if spec.kind == "ordinal"}

    def scores(probabilities: Mapping[str, Floats]) -> dict[str, float]:
        predicted = {head: values.argmax(axis=1).astype(np.int64) for head, values in probabilities.items()}
        return score_all(predicted, targets, combiner=combiner, ordinal=ordinal)

    def loss(name: str, probabilities: Mapping[str, Floats]) -> float:
        heads = [name.rpartition("/")[0]] if "/" in name else list(description.heads)
        labelled = [head for head in heads if (targets[head] != MISSING).any()]
        found = [description.heads[head].weight * _cross_entropy(probabilities[head], targets[head]) for head in labelled]
        return sum(found) if found else float("nan")

    losses = ["val_loss", *(f"{head}/val_loss" for head in description.heads)]
    known = {**scores(first.probabilities), **{name: loss(name, first.probabilities) for name in losses}}
    if monitor not in known:
        raise UserError(f"--monitor: expected one of {', '.join(known)}, found {monitor!r}{suggest(monitor, list(known))}")
    if known[monitor] != known[monitor]:
        others = ", ".join(name for name, value in known.items() if value == value) or "none: no validation row has a label"
        raise UserError(f"{monitor}: no validation row has the labels for it; choose another score with --monitor ({others})")
    return partial(loss, monitor) if monitor in losses else lambda probabilities: scores(probabilities)[monitor]


def _cross_entropy(probabilities: Floats, targets: Ints) -> float:
    labelled = np.flatnonzero(targets != MISSING)
    given = probabilities[labelled, targets[labelled]].astype(np.float64)
    return float(-np.log(given.clip(min=1e-12)).mean())


def _write(result: Ensemble, runs: Sequence[Path], *, overwrite: bool) -> None:
    """The folder: each chosen run's model under a name of its own, and last what says how much it counts."""
    inside = [run for run in runs if run.resolve().is_relative_to(result.folder.resolve())]
    if inside:
        raise UserError(f"--out {result.folder}: {inside[0]} lies in it and would be replaced; name another folder")
    with open_run_folder(result.folder, resume=False, overwrite=overwrite) as folder:
        folder.clear()
        started = datetime.now(UTC).isoformat(timespec="seconds")
        scores = {"mean_of_all": result.mean_of_all, "ensemble": result.chosen}
        told = {"monitor": result.monitor, "val_rows": result.rows, "scores": scores}
        folder.write_status({"kind": "ensemble", "state": "running", "started": started, **told})
        weights = {}
        for place, (run, weight) in enumerate(zip(runs, result.weights, strict=True), start=1):
            if weight:
                name = f"{place}-{run.resolve().name}"
                _copy(run, folder.path / name)
                weights[name] = float(weight)
        write_members(folder.path, weights)
        folder.write_status({"kind": "ensemble", "state": "finished", "started": started, **told})


def _copy(run: Path, to: Path) -> None:
    for name in _KEPT:
        if (run / name).is_file():
            write_with(to / name, partial(shutil.copyfile, run / name))
