"""A run's own pictures, where this machine remembers them: rows of its splits, with their labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.data.rows import BOX_COLUMNS
from attrcls.data.tables import read_table
from attrcls.errors import UserError
from attrcls.report.thumbnails import picture_folders
from attrcls.runs.folder import RunFolder
from attrcls.runs.places import recall_places


@dataclass(frozen=True)
class RunPictures:
    """`paths` of the rows of `table`, which are rows of the run's `splits.csv`; `boxes` `(rows, 4)`, NaN where a row has none."""

    paths: Sequence[Path]
    boxes: npt.NDArray[np.float64] | None
    table: pd.DataFrame


def run_pictures(run: Path, split: str, *, most: int) -> RunPictures | None:
    """Up to `most` pictures of a split, evenly over it, as far as they still lie where training found them; None without any.

    A run from elsewhere has none: only files inside its card's image folders are opened, links followed.
    """
    folder = RunFolder(run)
    try:
        config = folder.read_config()
        table = read_table(run / "splits.csv", escaped=True)
    except UserError:  # `model/` alone is enough to export
        return None
    roots = recall_places(config)
    if not roots or not {"card", "path", "split"} <= set(table.columns):
        return None
    table = table[(table["split"] == split) & table["card"].isin(list(roots))]
    table = table.iloc[np.unique(np.linspace(0, max(len(table) - 1, 0), most).round().astype(int))] if len(table) > most else table
    cards = config.get("cards") or {}
    folders = {name: picture_folders(cards.get(name) or {}, root) for name, root in roots.items()}
    there = [folders[card].hold(path) and (roots[card] / path).is_file() for card, path in zip(table["card"], table["path"], strict=True)]
    table = table[np.array(there, dtype=bool)]
    if not len(table):
        return None
    boxes = np.stack([pd.to_numeric(table[name], errors="coerce") for name in BOX_COLUMNS], axis=1) if BOX_COLUMNS[0] in table.columns else None
    return RunPictures([roots[card] / path for card, path in zip(table["card"], table["path"], strict=True)], boxes, table)
