"""`attrcls data`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attrcls.cli.options import Balance, DataDirs, Overrides, balance_changes
from attrcls.cli.shell import ROWS_FAILED, alone, count, err, out, reported, say_error, warn

if TYPE_CHECKING:
    from attrcls.runs.balance import TrainBalance
    from attrcls.runs.data import DataFacts

SHOWN_PROBLEMS = 20
BAR_WIDTH = 24


@reported
@alone
def data(
    task: Annotated[str, typer.Argument(help="a bundled task or a YAML file")],
    data_dirs: DataDirs = [],  # noqa: B006
    balance: Balance = None,
    duplicates: Annotated[
        bool, typer.Option("--duplicates/--no-duplicates", help="look for the same picture under several names: a few ms per picture")
    ] = True,
    duplicates_csv: Annotated[Path | None, typer.Option("--duplicates-csv", help="write the rows of such pictures here")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Show a task's data: class counts by split, missing labels, groups, image sizes, duplicates, what cannot be read, and balance.

    Duplicates are copies of a picture, and pictures saved anew, resized, brightened, mirrored or cropped by a few percent. --set
    hold_back.duplicates=group keeps them in one split.
    """
    from attrcls.cli.duplicates import show_duplicates
    from attrcls.errors import UserError
    from attrcls.runs.data import run_data

    if duplicates_csv and not duplicates:
        raise UserError("--duplicates-csv writes what --no-duplicates does not look for: leave one of them out")
    facts = run_data(
        task, data=data_dirs, overrides=overrides, changes=balance_changes(balance), duplicates=duplicates, duplicates_csv=duplicates_csv
    )
    _show(facts)
    if facts.balance:
        _show_balance(facts.balance)
    if facts.duplicates is not None and facts.duplicate_table is not None:
        show_duplicates(facts.duplicates, facts.duplicate_table)
        if duplicates_csv:
            out.print(f"duplicates: {duplicates_csv}")
    _end(facts)


def _end(facts: "DataFacts") -> None:
    """List what is wrong; leaks are errors, because whatever is scored on such splits is wrong too."""
    from attrcls.data.leaks import LEAK_FIX
    from attrcls.errors import UserError

    found = [*facts.problems, *facts.unreadable]
    for problem in found[:SHOWN_PROBLEMS]:
        warn(str(problem))
    if len(found) > SHOWN_PROBLEMS:
        err.print(f"… and {len(found) - SHOWN_PROBLEMS:,} more")
    if found:
        err.print(f"{count(len(found), 'problem')}; train refuses such rows, or leaves them out with --on-error skip")
    for leak in facts.leaks[:SHOWN_PROBLEMS]:
        say_error(str(leak))
    if len(facts.leaks) > SHOWN_PROBLEMS:
        err.print(f"… and {len(facts.leaks) - SHOWN_PROBLEMS:,} more")
    if facts.leaks:
        err.print(LEAK_FIX)
        raise typer.Exit(UserError.exit_code)
    if found:
        raise typer.Exit(ROWS_FAILED)


def _show(facts: "DataFacts") -> None:
    from rich.table import Table

    splits = facts.manifest.frame["split"].value_counts()
    others = len(facts.problems) + len(facts.leaks)
    told = ", ".join(f"{splits[split]:,} {split}" for split in ("train", "val", "test") if split in splits)
    out.print(f"{count(len(facts.manifest), 'row')}: {told}; {len(facts.unreadable):,} unreadable pictures, {others:,} other problems")
    if facts.group_sizes:
        sizes = facts.group_sizes
        out.print(f"{count(len(sizes), 'group')} of {_range(sizes)} rows")
    if facts.widths:
        out.print(f"pictures {_range(facts.widths)} pixels wide, {_range(facts.heights)} high")
    for head, counts in facts.counts.items():
        out.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(head)
        for split in counts.columns:
            table.add_column(str(split), justify="right")
        table.add_column("share of train", justify="left")
        labelled = max(1, int(counts["train"].iloc[:-1].sum())) if "train" in counts else 1
        for name, row in counts.iterrows():
            if name == "no label" and not row.any():
                continue
            share = int(row.get("train", 0)) / labelled
            bar = "" if name == "no label" else f"{share:6.1%} " + "█" * max(1 if share else 0, round(share * BAR_WIDTH))
            table.add_row(str(name), *(f"{value:,}" for value in row), bar)
        out.print(table)


def _show_balance(balance: "TrainBalance") -> None:
    """Expected draws per epoch of each class, without balancing and with it."""
    from rich.table import Table

    facts = balance.facts
    out.print(f"\nbalance: {facts.draws:,.0f} draws an epoch, worth {facts.effective:,.0f} rows drawn once each (effective sample size)")
    for head in facts.heads:
        out.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(head.name)
        for title in ("as it is", "balanced", "heaviest row"):
            table.add_column(title, justify="right")
        for each in head.classes:
            table.add_row(each.name, f"{each.before:,.0f}", f"{each.after:,.0f}", f"× {each.top_weight:.2f}" if each.before else "")
        table.add_row("largest − smallest", f"{head.gap_before:,.0f}", f"{head.gap_after:,.0f}", "", style="dim")
        table.add_row("largest ÷ smallest", f"{head.ratio_before:,.2f}", f"{head.ratio_after:,.2f}", "", style="dim")
        out.print(table)
    if facts.repeated:
        paths = balance.manifest.frame["path"]
        out.print("\nmost repeated in an epoch:")
        for row, draws in facts.repeated:
            out.print(f"{draws:>6.1f} × {paths[row]}")
    if facts.unmet:
        out.print()
    for text in facts.unmet:
        out.print(text)


def _range(values: Sequence[int]) -> str:
    ordered = sorted(values)
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,} (median {middle:,})"
