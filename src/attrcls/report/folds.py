"""The page of a training of folds: `folds.json` goes in, one HTML file that needs nothing else comes out.

What it tells: each score's mean and spread over the folds, and the score of the pooled out-of-fold predictions.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from attrcls.evaluation import Interval
from attrcls.files import write_json, write_text
from attrcls.report.page import interval, score
from attrcls.report.templates import load_templates
from attrcls.spec import Spec, parse_spec, read_json_object

FILE = "folds.json"
Score = float | None
Keep = Literal["best", "last"]


class FoldScores(Spec):
    """What one fold was trained on and scored on, and its scores; None where no row has a label."""

    name: str
    train_rows: int
    rows: int
    best_epoch: int | None = None
    scores: dict[str, Score]


class FoldsSummary(Spec):
    """`mean` and `sd`, the standard deviation over folds (n − 1 below the line), leave out folds without a score.

    `pooled` are value, low and high of the 95 % interval of all out-of-fold predictions together.
    """

    format_version: Literal[1] = 1
    task: str
    monitor: str
    keep: Keep = "best"
    rows: int
    groups: int
    folds: list[FoldScores] = Field(min_length=2)
    mean: dict[str, Score]
    sd: dict[str, Score]
    pooled: dict[str, tuple[Score, Score, Score]]


def summarise(folds: Sequence[FoldScores], pooled: Mapping[str, Interval], *, task: str, monitor: str, keep: Keep, groups: int) -> FoldsSummary:
    """Mean and spread of the folds' scores beside the scores of their pooled predictions."""
    names = list(pooled)
    known = {name: [value for fold in folds if (value := fold.scores.get(name)) is not None] for name in names}
    return FoldsSummary(
        task=task,
        monitor=monitor,
        keep=keep,
        rows=sum(fold.rows for fold in folds),
        groups=groups,
        folds=list(folds),
        mean={name: statistics.fmean(values) if values else None for name, values in known.items()},
        sd={name: statistics.stdev(values) if len(values) > 1 else None for name, values in known.items()},
        pooled={name: (_known(each.value), _known(each.low), _known(each.high)) for name, each in pooled.items()},
    )


def write_summary(folder: Path, summary: FoldsSummary) -> None:
    """Write `folds.json`."""
    write_json(folder / FILE, summary.model_dump(mode="json"))


def is_folds(folder: Path) -> bool:
    """Whether a folder holds the summary of a training of folds."""
    return (folder / FILE).is_file()


def read_summary(folder: Path) -> FoldsSummary:
    """Read `folds.json`.

    Raises:
        UserError: it is missing or damaged.
    """
    return parse_spec(FoldsSummary, read_json_object(folder / FILE), file=str(folder / FILE))


def write_folds_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a training of folds to `out` (default: `report.html` in its folder), and return where it lies.

    Raises:
        UserError: `folds.json` is missing or damaged.
        AttrclsError: the file could not be written.
    """
    out = out or folder / "report.html"
    write_text(out, render_folds(read_summary(folder), name=folder.resolve().name))
    return out


def render_folds(summary: FoldsSummary, *, name: str) -> str:
    """The page as HTML; whatever a head or a task is called is escaped by the template."""
    environment = load_templates()
    environment.filters |= {"score": score}
    intervals = {
        key: interval(None if low is None or high is None or value is None else Interval(value, low, high))
        for key, (value, low, high) in summary.pooled.items()
    }
    html = environment.get_template("folds.html.j2").render(summary=summary, name=name, intervals=intervals)
    return html.encode("utf-8", errors="replace").decode("utf-8")


def _known(value: float) -> Score:
    return None if value != value else value
