"""`attrcls clean-labels`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from attrcls.cli.options import Cache, CacheSize, DataDirs, Device, Overrides, Precision, RawCells, Workers, size_of_cache
from attrcls.cli.shell import INTERRUPTED, count, err, out, refuse_launcher, reported, tell_end, warn
from attrcls.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from attrcls.runs.clean import Cleaned

# Tables of people's labels have a few wrong ones in a hundred; a head that loses a quarter is told of.
MUCH_DROPPED = 0.25


@reported
def clean_labels(
    task: Annotated[str, typer.Argument(help="a bundled task (attrcls list) or a YAML file")],
    data: DataDirs = [],  # noqa: B006
    out_path: Annotated[Path | None, typer.Option("--out", help="folder [default: runs/clean-TASK]; with --apply the table to write")] = None,
    weights: Annotated[str | None, typer.Option(help="DEFAULT or a named set of torchvision, a file, a run, or none")] = None,
    heads: Annotated[str | None, typer.Option(help="look at these heads only, such as mask,age")] = None,
    method: Annotated[Literal["aum", "confident", "both"], typer.Option(help="confident and both need cleanlab")] = "aum",
    full: Annotated[
        bool | None, typer.Option("--full/--fast", help="train the whole network, or heads on a frozen trunk [default: by weights]")
    ] = None,
    all_splits: Annotated[bool, typer.Option("--all-splits", help="audit every row, not the train split only")] = False,
    apply: Annotated[Path | None, typer.Option("--apply", metavar="DECISIONS", help="write the mended table instead of cleaning")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, order and what is planted")] = None,
    overrides: Overrides = [],  # noqa: B006
    workers: Workers = None,
    device: Device = "auto",
    precision: Precision = "auto",
    cache: Cache = None,
    cache_size: CacheSize = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use at most so many rows of each split")] = None,
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="stop, or skip rows that cannot be used")] = "stop",
    resume: Annotated[bool, typer.Option("--resume", help="go on with the cleaning in --out")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what --out holds")] = False,
    raw_cells: RawCells = False,
) -> None:
    """Find wrong labels: verdicts to review, and a cleaned table."""
    from attrcls.cli.live import image_progress
    from attrcls.runs.apply import run_apply
    from attrcls.runs.clean import run_clean

    if apply is not None:
        refuse_launcher("clean-labels --apply")
        of_cleaning = {
            "--weights": weights, "--method": method != "aum", "--full/--fast": full is not None, "--all-splits": all_splits,
            "--seed": seed is not None, "--limit": limit, "--on-error": on_error != "stop", "--resume": resume, "--cache": cache,
        }  # fmt: skip
        if meaningless := [name for name, value in of_cleaning.items() if value]:
            raise UserError(f"--apply: carries decisions out and cleans nothing, so leave {', '.join(meaningless)} out")
        if out_path is None:
            raise UserError("--apply needs --out FILE: the table to write, such as cleaned.csv")
        of_heads: list[str] = heads.split(",") if heads else []
        done = run_apply(task, apply, out=out_path, data=data, heads=of_heads, overrides=overrides, overwrite=overwrite, raw_cells=raw_cells)
        show_applied(done)
        out.print(f"wrote {out_path}")
        return
    changes: dict[str, Any] = {"trunk.weights": weights, "seed": seed}
    try:
        with image_progress() as on_pictures:
            cleaned = run_clean(
                task, data=data, out=out_path, heads=heads.split(",") if heads else (), method=method, full=full, all_splits=all_splits,
                overrides=overrides, changes={key: value for key, value in changes.items() if value is not None}, device=device,
                precision=precision, workers=workers, limit=limit, on_error=on_error, resume=resume, overwrite=overwrite,
                raw_cells=raw_cells, cache=cache, cache_size=size_of_cache(cache, cache_size), on_pictures=on_pictures,
            )  # fmt: skip
    except KeyboardInterrupt:
        raise typer.Exit(tell_end("interrupted; go on with the same command and --resume", INTERRUPTED)) from None
    if cleaned.finished_before:
        err.print(f"the cleaning in {cleaned.folder} is finished already; nothing to do")
    else:
        _show(cleaned)
    folder = cleaned.folder
    out.print(f"look at them: {folder / 'review.html'}")
    given = shlex.join([task, *(part for directory in data for part in ("--data", directory))])
    verdicts = shlex.quote(str(folder / "verdicts.csv"))
    skipping = " --on-error skip" if on_error == "skip" else ""
    out.print(f"then: attrcls train {given} --decisions {verdicts}{skipping} · attrcls clean-labels {given} --apply decisions.csv --out cleaned.csv")


def show_applied(done: "pd.DataFrame") -> None:
    """What decisions did, per head and class."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("head", "class", "labels", "dropped", "relabelled", "kept"):
        table.add_column(name, justify="left" if name in {"head", "class"} else "right")
    shown = done[(done["dropped"] + done["relabelled"] + done["kept"]) > 0]
    for row in shown.to_dict("records"):
        table.add_row(str(row["head"]), str(row["class"]), *(f"{int(row[name]):,}" for name in ("labels", "dropped", "relabelled", "kept")))
    if len(shown):
        err.print(table)
    elsewhere = int(done["elsewhere"].sum()) if len(done) else 0
    if elsewhere:
        err.print(f"{count(elsewhere, 'decision')} on labels of other splits left alone: validation and test keep theirs")


def _show(cleaned: "Cleaned") -> None:
    from rich.table import Table

    for name, text in cleaned.told.items():
        err.print(f"{name:>7}  ", style="bold", end="")
        err.print(text)
    for text in cleaned.warnings:
        warn(text)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("head", "labels", "suspect", "dropped", "believed wrong", "planted found", "paper's rule"):
        table.add_column(name, justify="left" if name == "head" else "right")
    for head, audit in cleaned.audits.items():
        of_head = cleaned.verdicts[cleaned.verdicts["head"] == head]
        facts = audit.facts
        table.add_row(
            head, f"{int((audit.units.of_row >= 0).sum()):,}", f"{len(of_head):,}", f"{int((of_head['decision'] == 'drop_label').sum()):,}",
            _share(facts.get("estimated_wrong_share")), _share(facts.get("planted_auroc"), digits=2),
            f"{facts['paper_suspects']:,.0f}" if "paper_suspects" in facts else "–",
        )  # fmt: skip
    out.print(table)
    for head, audit in cleaned.audits.items():
        labels = int((audit.units.of_row >= 0).sum())
        dropped = int(((cleaned.verdicts["head"] == head) & (cleaned.verdicts["decision"] == "drop_label")).sum())
        if dropped > labels * MUCH_DROPPED:
            warn(
                f"{head}: {dropped / labels:.0%} of its labels would be dropped. Where pictures hardly show what a head tells, right labels look "
                "wrong too: look at them before you train on these verdicts"
            )


def _share(value: float | None, *, digits: int = 1) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:.1%}" if digits == 1 else f"{value:.2f}"
