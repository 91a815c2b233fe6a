"""`attrcls average`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.options import Device, Precision, Workers
from attrcls.cli.shell import alone, out, reported, warn


@reported
@alone
def average(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="run directories of one task, trunk and split")],
    out_dir: Annotated[Path, typer.Option("--out", help="the run directory to make")],
    data: Annotated[Path | None, typer.Option("--data", help="the card's data folder, if it moved since training")] = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="leave out runs with which the score gets worse")] = False,
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is in --out")] = False,
) -> None:
    """Average the weights of runs into one run, a model soup, and score it on their validation rows."""
    from rich.table import Table

    from attrcls.report.page import score
    from attrcls.runs.average import run_average

    made = run_average(runs, out=out_dir, data=data, greedy=greedy, workers=workers, device=device, precision=precision, overwrite=overwrite)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("run", made.monitor, ""):
        table.add_column(title, overflow="fold")
    for run, alone_score, used in zip(runs, made.alone, made.used, strict=True):
        table.add_row(run, score(alone_score), "" if used else "left out")
    table.add_row(f"average ({sum(made.used)})", score(made.score), "")
    out.print(table)
    for text in made.warnings:
        warn(text)
    out.print(f"run: {made.run}")
    out.print(f"next: attrcls report {made.run} · attrcls predict {made.run} PICTURES --csv predictions.csv")
