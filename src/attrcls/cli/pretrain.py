"""`attrcls pretrain`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from attrcls.cli.options import Cache, CacheSize, DataDirs, Device, Overrides, Precision, Workers, size_of_cache
from attrcls.cli.shell import INTERRUPTED, err, out, reported, tell_end


@reported
def pretrain(
    source: Annotated[str, typer.Argument(metavar="TASK_OR_CARD", help="a bundled task, or the YAML file of a task or a card")],
    on: Annotated[str, typer.Option("--on", help="an attribute of the card, or rotation: which way each picture was turned")],
    data: DataDirs = [],  # noqa: B006
    out_dir: Annotated[Path | None, typer.Option("--out", help="run directory [default: runs/pretrain-TASK-ON]")] = None,
    weights: Annotated[str | None, typer.Option(help="DEFAULT or a named set of torchvision, a file, a run, or none")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the train rows")] = None,
    batch_size: Annotated[int | None, typer.Option(help="pictures per batch")] = None,
    lr: Annotated[float | None, typer.Option(help="top learning rate")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, order and augmentation")] = None,
    overrides: Overrides = [],  # noqa: B006
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    cache: Cache = None,
    cache_size: CacheSize = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use at most so many rows of each split")] = None,
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="stop, or skip rows that cannot be used")] = "stop",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the run in --out")] = False,
) -> None:
    """Train a trunk on labels that come free, for train --weights."""
    from attrcls.cli.live import train_view
    from attrcls.runs.pretrain import run_pretrain

    size = size_of_cache(cache, cache_size)
    changes: dict[str, Any] = {"trunk.weights": weights, "epochs": epochs, "batch_size": batch_size, "optimiser.lr": lr, "seed": seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    try:
        with train_view() as view:
            folder = run_pretrain(
                source, on=on, data=data, out=out_dir, overrides=overrides, changes=changes, device=device, precision=precision, workers=workers,
                limit=limit, on_error=on_error, resume=resume, overwrite=overwrite, cache=cache, cache_size=size, view=view,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(tell_end("interrupted; go on from the last finished epoch with the same command and --resume", INTERRUPTED)) from None
    if not view.started:
        err.print(f"the run in {folder} is finished already; nothing to do")
    out.print(f"run: {folder}")
    out.print(f"next: attrcls train TASK --weights {folder}")
