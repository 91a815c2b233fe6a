"""`attrcls evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attrcls.cli.options import Abstain, Adjust, BatchSize, Decode, Device, Encoding, ImageColumn, ImageRoot, Precision, Quota, Views, Workers
from attrcls.cli.shell import ROWS_FAILED, alone, count, out, reported, warn

if TYPE_CHECKING:
    from attrcls.evaluation import Interval
    from attrcls.runs.evaluate import Evaluated
    from attrcls.slices import Slice

SHOWN_FAILURES = 20
# With fewer, a bootstrap draws the same few over and over.
FEW_GROUPS = 20
SHOWN_SLICES, SHOWN_GROUPS = 3, 1
SHOWN_SHARES = (1.0, 0.9, 0.8, 0.5)


@reported
@alone
def evaluate(
    runs_and_input: Annotated[list[str], typer.Argument(metavar="RUN [RUN…] INPUT", help="run directories, then a labelled set")],
    truth: Annotated[Path | None, typer.Option(help="a table with the labels, matched by the picture's name")] = None,
    split: Annotated[str | None, typer.Option(help="which rows [default: test, else val]")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="write the scores here as well")] = None,
    slices: Annotated[Path | None, typer.Option(help="write every slice here: a .csv, .jsonl or .parquet file")] = None,
    image_column: ImageColumn = None,
    image_root: ImageRoot = None,
    encoding: Encoding = None,
    batch_size: BatchSize = 64,
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    tta: Views = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where the same command was stopped")] = False,
    adjust: Adjust = 0.0,
    decode: Decode = None,
    quota: Quota = [],  # noqa: B006 (typer reads it, and nobody changes it)
    abstain: Abstain = None,
) -> None:
    """Score runs on a labelled set, with 95 % intervals, and tell for which kinds of rows a head is worst.

    The set is a table with labels, or a folder in the card's layout.
    """
    from attrcls.errors import UserError

    if len(runs_and_input) < 2:
        raise UserError("expected a run directory and a labelled set: attrcls evaluate RUN INPUT [--truth FILE]")
    from attrcls.cli.live import image_progress
    from attrcls.data.tables import check_table_name, write_table
    from attrcls.files import refuse_inputs, write_json
    from attrcls.runs.evaluate import run_evaluate
    from attrcls.slices import slice_table

    *runs, source = runs_and_input
    if slices:
        check_table_name(slices)
        refuse_inputs("--slices", slices, source, truth, *quota)
    if json:
        refuse_inputs("--json", json, source, truth, *quota)
    with image_progress() as started:
        evaluated = run_evaluate(
            runs, source, truth=truth, split=split, image_column=image_column, image_root=image_root, encoding=encoding,
            device=device, precision=precision, batch_size=batch_size, workers=workers, resume=resume,
            adjust=adjust, decode=decode, quota=quota, abstain=abstain, started=started, tta=tta,
        )  # fmt: skip
    _show(evaluated)
    if json:
        scores = {name: [None if each != each else each for each in (s.value, s.low, s.high)] for name, s in evaluated.scores.items()}
        facts = {"rows": evaluated.rows, "groups": evaluated.groups, "split": evaluated.split, "failed": len(evaluated.failed)}
        rows = slice_table(evaluated.slices).astype(object)
        certainty = {head: _certainty_facts(evaluated, head) for head in evaluated.certainty}
        write_json(json, {**facts, "certainty": certainty, "scores": scores, "slices": rows.where(rows.notna(), None).to_dict("records")})
        out.print(f"scores: {json}")
    if slices:
        write_table(slice_table(evaluated.slices), slices)
        out.print(f"slices: {slices}")
    for text in evaluated.warnings:
        warn(text)
    for failure in evaluated.failed[:SHOWN_FAILURES]:
        warn(failure)
    if evaluated.failed:
        warn(f"{count(len(evaluated.failed), 'row')} could not be read and did not count")
        raise typer.Exit(ROWS_FAILED)


def _show(evaluated: "Evaluated") -> None:
    from rich.table import Table

    where = f"{evaluated.split} split, " if evaluated.split else ""
    groups = f" from {evaluated.groups:,} {evaluated.grouped_by}s" if evaluated.groups != evaluated.rows else ""
    out.print(f"{where}{count(evaluated.rows, 'row')}{groups}; 95 % intervals, bootstrapped over {evaluated.grouped_by}s")
    if 0 < evaluated.groups < FEW_GROUPS:
        warn(f"{count(evaluated.groups, evaluated.grouped_by)} only: the intervals of the scores are too narrow; those of slices allow for it")
    if evaluated.unlabelled:
        out.print(f"{count(evaluated.unlabelled, 'row')} without any label did not count")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    # Top-1 and macro-F1 with their intervals, the rest without: so a row fits into 80 columns.
    for title, no_wrap in (("top-1", True), ("macro-F1", True), ("precision", False), ("recall", False)):
        table.add_column(title, no_wrap=no_wrap)
    for head in dict.fromkeys(name.rpartition("/")[0] for name in evaluated.scores):
        cells = [evaluated.scores.get(f"{head}/{metric}") for metric in ("top1", "f1", "precision", "recall")]
        # A code is answered where all of its heads are.
        answered = evaluated.answered.get(head, min(evaluated.answered.values(), default=1))
        empty = "unanswered" if answered == 0 else "no labels"
        texts = [_told(cell, interval=index < 2, empty=empty) for index, cell in enumerate(cells)]
        table.add_row(_mean_of(evaluated) if head == "mean" else head, *texts)
    out.print(table)
    for name, score in evaluated.scores.items():
        if name.endswith("/mae"):
            out.print(f"{name.removesuffix('/mae')}: {_told(score, interval=True)} classes off on average")
    _show_certainty(evaluated)
    if evaluated.slices:
        _show_slices(evaluated.slices, heads=[name.rpartition("/")[0] for name in evaluated.scores])


def _show_certainty(evaluated: "Evaluated") -> None:
    """Each head's calibration error, and how often the most certain rows are wrong."""
    from rich.table import Table

    if not evaluated.certainty:
        return
    table = Table(box=None, pad_edge=False, header_style="bold", title="risk: how often the most certain rows are wrong", title_justify="left")
    for title in ("", "calibration error", *(f"of {share:.0%}" for share in SHOWN_SHARES)):
        table.add_column(title)
    for head, certainty in evaluated.certainty.items():
        table.add_row(head, f"{certainty.error:.3f}", *(f"{certainty.at(share).risk:.3f}" for share in SHOWN_SHARES))
    out.print()
    out.print(table)
    if evaluated.seen:
        out.print("temperatures were fitted on these rows, so the calibration error flatters; the report has it cross-fitted")
        out.print("training may have chosen its epoch by them, so scores flatter a little as well")
    if any(share < 1 for share in evaluated.answered.values()):
        told = ", ".join(f"{head} {share:.1%}" for head, share in evaluated.answered.items() if share == share)
        out.print(f"answered: {told} of the labelled rows; the scores are of these, and of a code that of rows with all of its heads")


def _certainty_facts(evaluated: "Evaluated", head: str) -> dict[str, object]:
    certainty = evaluated.certainty[head]
    risks = [{"answered": point.share, "threshold": point.threshold, "risk": point.risk} for point in (certainty.at(share) for share in SHOWN_SHARES)]
    return {"calibration_error": certainty.error, "answered": evaluated.answered[head], "risks": risks}


def _show_slices(slices: "Sequence[Slice]", *, heads: Sequence[str]) -> None:
    """The worst few of each head, and its worst group."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", title="worst slices", title_justify="left")
    for title in ("head", "slice", "rows", "top-1", "other rows", ""):
        table.add_column(title, justify="right" if title in ("rows", "other rows") else "left", overflow="fold")
    for head in dict.fromkeys(heads):
        of_head = [each for each in slices if each.head == head and each.worse]
        shown = [each for each in of_head if each.kind != "group"][:SHOWN_SLICES] + [each for each in of_head if each.kind == "group"][:SHOWN_GROUPS]
        for each in shown:
            rest = "–" if each.rest != each.rest else f"{each.rest:.3f}"
            table.add_row(each.head, each.name, f"{each.rows:,}", _told(each.top1, interval=True), rest, "fails" if each.fails else "")
    out.print()
    out.print(table if table.row_count else "worst slices: none is worse than the other rows")


def _mean_of(evaluated: "Evaluated") -> str:
    """What the mean is of: heads without labels, or without answers, are not in it."""
    known = [head for head in evaluated.answered if (top1 := evaluated.scores[f"{head}/top1"].value) == top1]
    return "mean of heads" if len(known) in (0, len(evaluated.answered)) else f"mean of {', '.join(known)}"


def _told(cell: "Interval | None", *, interval: bool, empty: str = "no labels") -> str:
    if cell is None:
        return ""
    if cell.value != cell.value:
        return empty
    return f"{cell.value:.3f} [{cell.low:.3f}, {cell.high:.3f}]" if interval else f"{cell.value:.3f}"
