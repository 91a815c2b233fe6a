"""`attrcls ensemble`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import alone, count, out, reported


@reported
@alone
def ensemble(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN…", help="run directories with the same validation rows")],
    out_dir: Annotated[Path, typer.Option("--out", help="the ensemble's folder: what predict and evaluate take as a run")],
    monitor: Annotated[str | None, typer.Option(help="what to maximise, such as mean/f1 [default: the task's monitor]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what is in --out")] = False,
) -> None:
    """Choose, by their validation rows, which runs predict best together, and how much each counts."""
    from rich.table import Table

    from attrcls.runs.ensemble import run_ensemble

    result = run_ensemble(runs, out=out_dir, monitor=monitor, overwrite=overwrite)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("run", "weight", result.monitor):
        table.add_column(title, justify="left" if title == "run" else "right", overflow="fold")
    for run, weight, score in zip(runs, result.weights, result.alone, strict=True):
        table.add_row(run, str(weight), f"{score:.4f}")
    table.add_row("mean of all", "", f"{result.mean_of_all:.4f}")
    table.add_row("ensemble", str(sum(result.weights)), f"{result.chosen:.4f}")
    out.print(table)
    out.print(f"on {count(result.rows, 'validation row')}, by which it was chosen: on other rows its lead is smaller")
    out.print(f"next: attrcls predict {result.folder} PICTURES --csv predictions.csv")
