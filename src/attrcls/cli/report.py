"""`attrcls report`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import alone, out, reported


@reported
@alone
def report(
    run: Annotated[Path, typer.Argument(help="a run directory, or the folder of train --folds")],
    out_file: Annotated[Path | None, typer.Option("--out", help="the HTML file [default: RUN/report.html]")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="where the pictures lie, if they moved since training")] = None,
) -> None:
    """Write a run's report: one HTML file that needs no network."""
    from attrcls.runs.report import run_report

    out.print(f"report: {run_report(run, out=out_file, data=data)}")
