"""What `attrcls data` prints of pictures that show the same."""

from typing import TYPE_CHECKING

from attrcls.cli.shell import count, out, warn

if TYPE_CHECKING:
    import pandas as pd

    from attrcls.data.duplicates import Duplicates

SHOWN_SETS = 10
SHOWN_FILES = 4


def show_duplicates(duplicates: "Duplicates", table: "pd.DataFrame") -> None:
    """How many sets there are, in which splits, and the first of them: those across splits, then those with contradictory labels."""
    from attrcls.runs.prepare import straddling_warning

    left_out = [f"{duplicates.failed:,} could not be read"] * bool(duplicates.failed)
    left_out += [f"{duplicates.plain:,} too plain to compare"] * bool(duplicates.plain)
    files = table.drop_duplicates(["card", "path"])
    sets = table.drop_duplicates("duplicate_set")
    out.print(
        f"\nduplicates: {count(len(sets), 'picture')} under {count(len(files), 'name')}, of {count(duplicates.pictures, 'file')}"
        if len(sets)
        else f"\nduplicates: none among {count(duplicates.pictures, 'file')}",
        end=f" ({', '.join(left_out)})\n" if left_out else "\n",
    )
    if not len(sets):
        return
    _show_sets(table, SHOWN_SETS)
    warning = straddling_warning(table)
    if warning:
        warn(f"{warning}; keep such pictures together with --set hold_back.duplicates=group, or give them one split in your table")
    contradictory = sets[sets["duplicate_contradicts"] != ""]
    if len(contradictory):
        names = ", ".join(dict.fromkeys(" ".join(contradictory["duplicate_contradicts"]).split()))
        warn(f"{count(len(contradictory), 'picture')} under several names with labels that contradict each other: {names}")


def _show_sets(table: "pd.DataFrame", shown: int) -> None:
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("splits", "kind", "contradicts", "files"):
        grid.add_column(title, overflow="fold")
    for _, of_set in table[table["duplicate_set"] <= shown].groupby("duplicate_set"):
        first = of_set.iloc[0]
        paths = list(dict.fromkeys(of_set["path"]))
        more = f" and {len(paths) - SHOWN_FILES} more" if len(paths) > SHOWN_FILES else ""
        grid.add_row(
            first["duplicate_splits"].replace(" ", ", "),
            first["duplicate_kind"],
            first["duplicate_contradicts"].replace(" ", ", "),
            ", ".join(paths[:SHOWN_FILES]) + more,
        )
    out.print(grid)
    rest = int(table["duplicate_set"].max()) - shown
    if rest > 0:
        out.print(f"… and {rest:,} more")
