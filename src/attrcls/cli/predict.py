"""`attrcls predict`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.options import (
    Abstain,
    Adjust,
    BatchSize,
    Decode,
    Device,
    Encoding,
    ImageColumn,
    ImageRoot,
    InferenceEngine,
    Precision,
    Quota,
    RawCells,
    RayAddress,
    Views,
    Workers,
)
from attrcls.cli.shell import ROWS_FAILED, alone, count, err, out, reported, warn

SHOWN_ROWS = 20


@reported
@alone
def predict(
    runs_and_input: Annotated[list[str], typer.Argument(metavar="RUN [RUN…] INPUT", help="run directories, then a folder, a picture or a table")],
    csv: Annotated[Path | None, typer.Option("--csv", help="where the table goes: .csv, .jsonl or .parquet")] = None,
    submission: Annotated[bool, typer.Option("--submission", help="write exactly the task's submission columns")] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="one column per class as well")] = False,
    image_column: ImageColumn = None,
    image_root: ImageRoot = None,
    encoding: Encoding = None,
    batch_size: BatchSize = 64,
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    tta: Views = None,
    engine: InferenceEngine = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="go on where the same command was stopped")] = False,
    raw_cells: RawCells = False,
    ray: RayAddress = None,
    adjust: Adjust = 0.0,
    decode: Decode = None,
    quota: Quota = [],  # noqa: B006 (typer reads it, and nobody changes it)
    abstain: Abstain = None,
) -> None:
    """Predict every picture: one output row per input row, in order. Exit code 3 when some rows could not be read."""
    from attrcls.errors import UserError

    if len(runs_and_input) < 2:
        raise UserError("expected a run directory and an input: attrcls predict RUN INPUT --csv OUT.csv")
    from attrcls.cli.live import image_progress
    from attrcls.data.cells import escape_table
    from attrcls.runs.predict import run_predict

    *runs, source = runs_and_input
    with image_progress() as started:
        predicted = run_predict(
            runs, source, csv=csv, submission=submission, probabilities=probabilities, image_column=image_column, image_root=image_root,
            encoding=encoding, device=device, precision=precision, engine=engine, batch_size=batch_size, workers=workers,
            resume=resume, raw_cells=raw_cells, ray=ray, adjust=adjust, decode=decode, quota=quota, abstain=abstain, started=started, tta=tta,
        )  # fmt: skip
    if csv is None:
        shown = predicted.table.head(SHOWN_ROWS)
        out.print((shown if raw_cells or submission else escape_table(shown)).to_csv(index=False).rstrip())
        if len(predicted.table) > SHOWN_ROWS:
            err.print(f"… {count(len(predicted.table) - SHOWN_ROWS, 'more row')}; write them all with --csv OUT.csv")
    else:
        abstained = "" if abstain is None else f", {predicted.abstained:,} with a cell left blank below {abstain:g}"
        out.print(f"{csv}: {count(len(predicted.table), 'row')}, {predicted.failed:,} without a prediction of their own{abstained}")
    err.print(f"engine: {predicted.ran_on}")
    for text in predicted.warnings:
        warn(text)
    for name in predicted.fallen_back[:SHOWN_ROWS]:
        warn(f"{name}: could not be read; the submission has the most frequent answer for it")
    if len(predicted.fallen_back) > SHOWN_ROWS:
        warn(f"… and {len(predicted.fallen_back) - SHOWN_ROWS:,} more")
    if predicted.failed:
        raise typer.Exit(ROWS_FAILED)
