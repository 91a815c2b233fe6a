"""Evaluation as a story: runs + a labelled set → predictions → truth → scores with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attrcls.answers.calibration import Certainty, measure_certainty
from attrcls.data.remote import parse_location
from attrcls.errors import UserError
from attrcls.evaluation import IntArray, Interval, score_with_intervals
from attrcls.features.cache import default_cache
from attrcls.prediction.answers import READ, Answers, answer, check_rules
from attrcls.prediction.models import combiner_of, heads_of, load_models
from attrcls.prediction.runtime import start_runtime
from attrcls.prediction.views import parse_views
from attrcls.runs.labelled import find_labelled
from attrcls.runs.predict import Advance, predict_rows
from attrcls.slices import Slice, score_slices
from attrcls.types import MISSING


@dataclass(frozen=True)
class Evaluated:
    """Scores by name and by slice, what they stand on, and how many rows had no picture that could be read or no label at all.

    `certainty` of each head is over all of its labelled rows; `answered` is the share of them (0–1) that was not left blank, and scores
    and slices are of these. `seen` says that temperatures were fitted on these very rows.
    """

    scores: Mapping[str, Interval]
    slices: Sequence[Slice]
    rows: int
    groups: int
    grouped_by: str
    split: str | None
    failed: Sequence[str]
    unlabelled: int
    certainty: Mapping[str, Certainty] = field(default_factory=dict)
    answered: Mapping[str, float] = field(default_factory=dict)
    seen: bool = False
    warnings: Sequence[str] = ()


def run_evaluate(
    runs: Sequence[str | Path] | str | Path,
    source: str | Path,
    *,
    truth: str | Path | None = None,
    split: str | None = None,
    image_column: str | None = None,
    image_root: str | Path | None = None,
    encoding: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    resume: bool = False,
    tta: str | None = None,
    adjust: float = 0.0,
    decode: str | None = None,
    quota: Sequence[str] = (),
    abstain: float | None = None,
    started: Callable[[int], Advance] = lambda images: lambda done: None,
) -> Evaluated:
    """Score runs on a labelled set: the card's data folder, or anything `predict` takes with labels in it or beside it.

    `truth` is a table with the labels (or the combined code), matched by the picture's name. `split` picks one split
    of a card's folder; by default its test rows, else its validation rows. `resume`, `tta` and what chooses classes (`adjust`, `decode`,
    `quota`, `abstain`) as for `run_predict`; what abstained does not count in the scores.
    Raises:
        UserError: no labels are found, a label is outside its vocabulary, or no picture can be read.
    """
    models = load_models([Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)])
    views = parse_views(tta)
    labelled = find_labelled(
        models, parse_location(source), truth=Path(truth) if truth else None, split=split, image_column=image_column,
        image_root=parse_location(image_root) if image_root else None, encoding=encoding,
    )  # fmt: skip
    rules = check_rules(models, rows=len(labelled.asked.paths), adjust=adjust, decode=decode, quota=quota, abstain=abstain)
    # Torch, as in training, so that scores do not depend on what is installed.
    runtime = start_runtime(
        models, engine="torch", device=device, precision=precision, pictures=len(labelled.asked.paths), batch_size=batch_size,
        cache=default_cache(),
    )  # fmt: skip
    predictions, kept = predict_rows(
        models, labelled.asked, runtime=runtime, batch_size=batch_size, workers=workers, resume=resume, started=started, views=views
    )
    answers = answer(models, predictions, rules)
    ok = np.array([status in READ for status in answers.predictions.status], dtype=bool)
    classes = heads_of(models)
    if not ok.any():
        raise UserError(f"{source}: no picture of its {len(ok):,} rows can be read, so nothing can be scored; the first: {predictions.error[0]}")
    targets = {head: values[ok] for head, values in labelled.targets.items()}
    predicted = {head: answers.chosen[head][ok] for head in classes if head in targets}
    certainty = _certainty(answer(models, predictions, replace(rules, abstain=None)), targets, ok, heads=list(predicted))
    groups = np.asarray(labelled.groups, dtype=object)[ok]
    unlabelled = int(np.logical_and.reduce([targets[head] == MISSING for head in predicted]).sum())
    answered, labels = {}, dict(targets)
    for head, values in predicted.items():
        blank, given = values == MISSING, targets[head] != MISSING
        answered[head] = float((~blank)[given].mean()) if given.any() else float("nan")
        # What was not answered does not count; any class may stand where no label does.
        targets[head], predicted[head] = np.where(blank, MISSING, targets[head]), np.where(blank, 0, values)
    scores = score_with_intervals(
        predicted, targets, groups, combiner=combiner_of(models),
        ordinal={head for model in models for head, spec in model.description.heads.items() if spec.kind == "ordinal"},
    )  # fmt: skip
    slices = score_slices(predicted, targets, groups, classes=labelled.classes, labels=labels)
    kept.drop()
    warnings = [*rules.warnings, *answers.warnings]
    if labelled.split == "val" and (kind := rules.decoder.kind) != "argmax":
        warnings.append(f"decode: {kind} was fitted on these rows, so that scores flatter ({models[0].description.decode.reason})")
    names = labelled.asked.table[labelled.asked.image_column]
    failed = [
        *labelled.problems,
        *(why if name in why else f"{name}: {why}" for name, why, fine in zip(names, predictions.error, ok, strict=True) if not fine),
    ]
    return Evaluated(
        scores, slices, int(ok.sum()), len(set(groups)), labelled.grouped_by, labelled.split, failed, unlabelled, certainty, answered,
        seen=labelled.split == "val", warnings=warnings,
    )  # fmt: skip


def _certainty(answers: Answers, targets: Mapping[str, IntArray], read: npt.NDArray[np.bool_], *, heads: Sequence[str]) -> dict[str, Certainty]:
    """Of each head that has labels: what its confidences are worth."""
    measured = {}
    for head in heads:
        given, chosen = targets[head], answers.chosen[head][read]
        found = measure_certainty(answers.confidence[head][read][given != MISSING], (chosen == given)[given != MISSING])
        if found:
            measured[head] = found
    return measured
