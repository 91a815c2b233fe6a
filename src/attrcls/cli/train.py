"""`attrcls train`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from attrcls.cli.options import (
    Balance,
    Cache,
    CacheSize,
    DataDirs,
    Device,
    Overrides,
    Precision,
    Workers,
    balance_changes,
    size_of_cache,
    sweep_rates,
)
from attrcls.cli.shell import INTERRUPTED, err, out, refuse_launcher, reported, tell_end
from attrcls.errors import UserError


@reported
def train(
    task: Annotated[str, typer.Argument(help="a bundled task (attrcls list) or a YAML file")],
    data: DataDirs = [],  # noqa: B006
    out_dir: Annotated[Path | None, typer.Option("--out", help="run directory [default: runs/TASK]")] = None,
    weights: Annotated[str | None, typer.Option(help="DEFAULT or a named set of torchvision, a file, a run, or none")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the train rows")] = None,
    batch_size: Annotated[int | None, typer.Option(help="pictures per batch")] = None,
    lr: Annotated[float | None, typer.Option(help="top learning rate")] = None,
    sweep_lr: Annotated[
        str | None,
        typer.Option("--sweep-lr", metavar="[RATES]", help="try many rates at once, such as 1e-3,1e-2, and train with the best; with --freeze"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, order and augmentation")] = None,
    heads: Annotated[str | None, typer.Option(help="train only these heads, such as mask,age")] = None,
    balance: Balance = None,
    freeze: Annotated[bool | None, typer.Option("--freeze/--no-freeze", help="train the heads only")] = None,
    accumulate: Annotated[int | None, typer.Option(help="batches per update")] = None,
    overrides: Overrides = [],  # noqa: B006
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="compile the trunk with torch.compile: minutes at first, for long runs")] = False,
    cache: Cache = None,
    cache_size: CacheSize = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use at most so many rows of each split")] = None,
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="stop, or skip rows that cannot be used")] = "stop",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the run in --out")] = False,
    decisions: Annotated[Path | None, typer.Option(help="verdicts.csv or decisions.csv, applied to the train split")] = None,
    folds: Annotated[int | None, typer.Option(metavar="K", help="cross-validate: K runs, each without one part of the rows")] = None,
    wandb: Annotated[str | None, typer.Option("--wandb", metavar="[PROJECT]", help="track with Weights & Biases")] = None,
    wandb_system: Annotated[bool, typer.Option("--wandb-system", help="tell it of the machine, user, program, packages and git, too")] = False,
) -> None:
    """Train one model with a head per attribute."""
    from attrcls.cli.live import train_view
    from attrcls.runs.folds import run_folds
    from attrcls.runs.train import run_train

    if folds is not None:
        refuse_launcher("train --folds")
    if wandb_system and wandb is None:
        raise UserError("--wandb-system: says what --wandb tracks as well; give --wandb [PROJECT], or leave it out")
    size = size_of_cache(cache, cache_size)
    changes: dict[str, Any] = {
        "trunk.weights": weights, "epochs": epochs, "batch_size": batch_size, "optimiser.lr": lr, "seed": seed,
        "trunk.freeze": freeze, "optimiser.sweep": sweep_rates(sweep_lr), "optimiser.accumulate": accumulate,
    }  # fmt: skip
    changes = {key: value for key, value in changes.items() if value is not None} | balance_changes(balance)
    folder, run = out_dir, run_train if folds is None else partial(run_folds, folds=folds)
    try:
        with train_view() as view:
            folder = run(
                task, data=data, out=out_dir, heads=heads.split(",") if heads else (), overrides=overrides,
                changes=changes, device=device, precision=precision,
                workers=workers, limit=limit, on_error=on_error, resume=resume, overwrite=overwrite, decisions=decisions,
                wandb_project=wandb, wandb_system=wandb_system, cache=cache, cache_size=size, compiled=compiled, view=view,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(tell_end("interrupted; go on from the last finished epoch with the same command and --resume", INTERRUPTED)) from None
    if not view.started:
        err.print(f"the run in {folder} is finished already; nothing to do")
    out.print(f"run: {folder}")
    if folds is not None:
        _show_folds(folder)
    out.print(f"next: attrcls report {folder} · attrcls predict {folder} PICTURES --csv predictions.csv")


def _show_folds(folder: Path) -> None:
    """Mean and spread of the scores over folds, and those of the pooled predictions."""
    from rich.table import Table

    from attrcls.report.folds import read_summary
    from attrcls.report.page import score

    summary = read_summary(folder)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("score", "mean", "sd", "pooled"):
        table.add_column(title, justify="left" if title == "score" else "right")
    for name, pooled in summary.pooled.items():
        table.add_row(name, score(summary.mean[name]), score(summary.sd[name]), score(pooled[0]))
    out.print(table)
