"""A run directory goes in; frozen dataclasses with every figure that the page shows come out.

The scores are worked out anew from `validation.csv`, so that the tables, the matrices and the headline agree with one
another; the learning curves are what training wrote into `metrics.csv`.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrcls.combine import Combiner
from attrcls.evaluation import IntArray, Interval, score_with_intervals
from attrcls.report.balance import BalanceNumbers, read_balance
from attrcls.report.certainty import CertaintyNumbers, read_certainty
from attrcls.report.datafacts import CardFacts, LabelCounts, count_groups, count_labels, describe_cards, row_groups
from attrcls.report.rundir import BOX, RunFiles, read_run
from attrcls.report.scores import ClassScore, Mixup, Scores, count_confusions, index_classes, list_mixups, score_classes
from attrcls.sections import DecodeSpec
from attrcls.slices import Slice, score_slices
from attrcls.types import MISSING

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction, and where its picture is; `confidence` in 0–1, NaN where the run wrote none."""

    card: str
    row_id: str
    path: str
    box: Box | None
    given: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class HeadNumbers:
    """All that is known of one head. `mistakes` are its most confident wrong predictions, the most confident first."""

    name: str
    classes: tuple[str, ...]
    loss: str
    labels: LabelCounts
    scores: Scores
    confusions: tuple[tuple[int, ...], ...]
    mixups: tuple[Mixup, ...]
    mistakes: tuple[Mistake, ...]


@dataclass(frozen=True)
class CodeRow:
    """One combined code, the classes it stands for, and its score."""

    classes: tuple[str, ...]
    score: ClassScore


@dataclass(frozen=True)
class CodeNumbers:
    """The combined code: `rows` are the codes that occur (all of them where they are few), `unseen` those without a row."""

    name: str
    order: tuple[str, ...]
    size: int
    scores: Scores
    rows: tuple[CodeRow, ...]
    unseen: tuple[CodeRow, ...]


@dataclass(frozen=True)
class Curves:
    """What training wrote down per epoch. `columns` holds the metrics by name; a value that is no number is NaN."""

    epochs: tuple[int, ...]
    columns: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class RunNumbers:
    """Every figure of a run. `config` is the resolved task with its cards, as it was written."""

    name: str
    status: Mapping[str, Any]
    config: Mapping[str, Any]
    cards: tuple[CardFacts, ...]
    heads: tuple[HeadNumbers, ...]
    code: CodeNumbers | None
    curves: Curves
    validation_rows: int
    validation_groups: int
    expected_rows: int
    balance: BalanceNumbers | None = None
    certainty: CertaintyNumbers | None = None
    slices: tuple[Slice, ...] = ()
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def slices_of(self, head: HeadNumbers, *, groups: bool = False) -> list[Slice]:
        """A head's slices by attributes, or by `groups`, the worst first."""
        return [each for each in self.slices if each.head == head.name and (each.kind == "group") == groups]

    @property
    def chosen_here(self) -> str:
        """What was chosen by the validation rows that the scores are of, such as `the epoch`; blank where nothing was."""
        task, settings = self.config.get("task") or {}, self.config.get("run") or {}
        best = task.get("keep", "best") == "best" and self.status.get("best_epoch") is not None and self.status["epochs_done"] > 1
        return " and ".join([*(["the epoch"] if best else []), *(["the learning rate"] if settings.get("lr") else [])])

    @property
    def decided_by(self) -> DecodeSpec | None:
        """How predictions are decided where that is not by argmax, of which the scores are."""
        decode = self.certainty.decode if self.certainty else None
        return decode if decode and decode.used != "argmax" else None

    @property
    def mean_top1(self) -> float | None:
        """The mean over the heads that have labels in validation."""
        return _mean([head.scores.top1 for head in self.heads])

    @property
    def mean_f1(self) -> float | None:
        """The mean macro-F1 over the heads that have labels in validation."""
        return _mean([head.scores.macro_f1 for head in self.heads])

    @property
    def mean_majority(self) -> float | None:
        """The mean top-1 that always guessing each head's commonest class would get."""
        return _mean([head.scores.majority_share for head in self.heads])


def read_numbers(run: Path, *, worst: int = 24) -> RunNumbers:
    """Read the run directory `run` and work out its figures, with at most `worst` mistakes per head.

    Raises:
        UserError: `run` is no run directory, is half there, or was written in an unknown format.
    """
    files = read_run(run)
    task = files.config.get("task") or {}
    validation = files.validation
    return RunNumbers(
        name=run.resolve().name,
        status=files.status,
        config=files.config,
        cards=describe_cards(files),
        heads=tuple(_head_numbers(files, head, task=task, worst=worst) for head in files.heads),
        code=_code_numbers(files, files.code) if files.code else None,
        curves=_read_curves(files.metrics),
        validation_rows=len(validation),
        validation_groups=count_groups(validation),
        expected_rows=int((files.splits["split"] == "val").sum()),
        balance=read_balance(files),
        certainty=read_certainty(files),
        slices=_read_slices(files),
        intervals=_read_intervals(files),
    )


def _head_numbers(files: RunFiles, head: str, *, task: Mapping[str, Any], worst: int) -> HeadNumbers:
    classes = files.heads[head]
    table = files.validation
    given = index_classes(table[f"{head}_given"].tolist(), classes)
    predicted = index_classes(table[head].tolist(), classes)
    confusions = count_confusions(given, predicted, names=classes)
    spec = (task.get("heads") or {}).get(head) or {}
    wrong = table[(given != MISSING) & (predicted != MISSING) & (given != predicted)]
    return HeadNumbers(
        name=head,
        classes=classes,
        loss=", ".join(f"{key} {value}" for key, value in spec.items() if value not in (None, {})),
        labels=count_labels(files.splits, head, classes=classes),
        scores=score_classes(given, predicted, names=classes),
        confusions=confusions,
        mixups=list_mixups(confusions, names=classes),
        mistakes=_list_mistakes(wrong, head, worst=worst),
    )


def _list_mistakes(wrong: pd.DataFrame, head: str, *, worst: int) -> tuple[Mistake, ...]:
    confidence = pd.to_numeric(wrong[f"{head}_confidence"], errors="coerce")
    order = confidence.sort_values(ascending=False, kind="stable", na_position="last").index[:worst]
    return tuple(
        Mistake(
            card=row["card"],
            row_id=row["row_id"],
            path=row["path"],
            box=_read_box(row),
            given=row[f"{head}_given"],
            predicted=row[head],
            confidence=float(value),
        )
        for row, value in zip(wrong.loc[order].to_dict("records"), confidence.loc[order], strict=True)
    )


def _read_box(row: Mapping[Hashable, Any]) -> Box | None:
    sides = [pd.to_numeric(row.get(column, ""), errors="coerce") for column in BOX]
    if not np.isfinite(sides).all():
        return None
    xmin, ymin, xmax, ymax = map(float, sides)
    return xmin, ymin, xmax, ymax


def _code_numbers(files: RunFiles, code: Combiner) -> CodeNumbers:
    given, predicted = (
        pd.to_numeric(files.validation[column], errors="coerce").fillna(MISSING).to_numpy(dtype=np.int64)
        for column in (f"{code.name}_given", code.name)
    )
    scores = score_classes(given, predicted, names=[str(number) for number in range(code.size)])
    indices = code.decode(np.arange(code.size))
    classes = zip(*([files.heads[head][index] for index in indices[head]] for head in code.order), strict=True)
    rows = tuple(CodeRow(classes=names, score=score) for names, score in zip(classes, scores.classes, strict=True))
    return CodeNumbers(
        name=code.name,
        order=code.order,
        size=code.size,
        scores=scores,
        rows=rows if code.size <= 64 else tuple(row for row in rows if row.score.support or row.score.predicted),
        unseen=tuple(row for row in rows if not row.score.support),
    )


def _class_indices(files: RunFiles, ending: str) -> dict[str, IntArray]:
    return {head: index_classes(files.validation[head + ending].tolist(), classes) for head, classes in files.heads.items()}


def _read_slices(files: RunFiles) -> tuple[Slice, ...]:
    predicted, given = _class_indices(files, ""), _class_indices(files, "_given")
    return tuple(score_slices(predicted, given, row_groups(files.validation), classes=files.heads))


def _read_intervals(files: RunFiles) -> dict[str, Interval]:
    """`head/metric` and `code/metric`, bootstrapped over groups; empty where there are no validation rows."""
    if not len(files.validation):
        return {}
    predicted, given = _class_indices(files, ""), _class_indices(files, "_given")
    return score_with_intervals(predicted, given, row_groups(files.validation), combiner=files.code)


def _read_curves(metrics: pd.DataFrame) -> Curves:
    metrics = metrics[metrics["epoch"].notna()]
    columns = {str(name): tuple(float(value) for value in metrics[name]) for name in metrics.columns}
    return Curves(epochs=tuple(int(epoch) for epoch in metrics["epoch"]), columns=columns)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
