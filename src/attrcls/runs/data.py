"""A look at a task's data before anything is trained: counts, gaps, groups, sizes, and what cannot be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrcls.data.check import find_unreadable, image_sizes
from attrcls.data.duplicates import Duplicates, find_duplicates
from attrcls.data.leaks import Leak
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.tables import check_table_name, write_table
from attrcls.errors import Problem
from attrcls.files import refuse_inputs
from attrcls.runs.balance import TrainBalance, balance_train
from attrcls.runs.prepare import input_tables, resolve_roots, split_rows
from attrcls.runs.unlabelled import without_blank_rows
from attrcls.task import load_plan
from attrcls.types import MISSING


@dataclass(frozen=True)
class DataFacts:
    """What `attrcls data` shows. `counts[head]` has a row per class (and `no label`) and a column per split.

    `group_sizes` are the rows of each group. `widths` and `heights` are in pixels, of distinct readable pictures.
    `leaks` are groups and pictures that the given splits put into several; the rows of all but the latest split are left out of the counts.
    `balance` is what an epoch of the train rows would hold, where balancing is asked for. `duplicates` are the pictures that show the
    same, and `duplicate_table` their rows, where they were looked for.
    """

    manifest: Manifest
    counts: dict[str, pd.DataFrame]
    group_sizes: Sequence[int]
    widths: Sequence[int]
    heights: Sequence[int]
    leaks: Sequence[Problem]
    problems: Sequence[Problem]
    unreadable: Sequence[Problem]
    balance: TrainBalance | None = None
    duplicates: Duplicates | None = None
    duplicate_table: pd.DataFrame | None = None


def run_data(
    task: str,
    *,
    data: Sequence[str | Path] | str | Path = (),
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    duplicates: bool = True,
    duplicates_csv: Path | None = None,
) -> DataFacts:
    """Read and check all of a task's data, as `train` would split it; problems are returned, not raised.

    `duplicates` says whether to look for the same picture under several names, which takes two or three times as long as all else;
    `duplicates_csv` is where the rows of such pictures are written.
    Raises:
        UserError: a table, column or folder is missing, or nothing is usable; `duplicates_csv` is a table that is read.
    """
    plan = load_plan(task, overrides=overrides, changes=changes)
    roots = resolve_roots(plan, [data] if isinstance(data, str | Path) else data)
    if duplicates_csv:
        check_table_name(duplicates_csv)
        refuse_inputs("--duplicates-csv", duplicates_csv, *input_tables(plan, roots))
    manifest, problems = build_manifest(plan.cards, roots, on_error="skip")
    unreadable = find_unreadable(manifest, min_px=plan.task.image.resize_px, crop=plan.task.image.crop_boxes)
    manifest = manifest.take(np.array([row for row in range(len(manifest)) if row not in unreadable], dtype=np.int64))
    found = None
    if len(manifest):
        manifest, found = split_rows(plan, manifest)
        if duplicates and found is None:
            found = find_duplicates(manifest)
    heads = dict.fromkeys([*plan.task.heads, *manifest.classes])
    if found and duplicates_csv:
        write_table(found.table(manifest), duplicates_csv)
    groups = manifest.frame["group"]
    distinct = manifest.take(np.flatnonzero(~manifest.frame["path"].duplicated()))
    sizes = [size for size in image_sizes(distinct) if size is not None]
    return DataFacts(
        manifest=manifest,
        counts={head: _count(manifest, head) for head in heads},
        group_sizes=groups[groups != ""].value_counts().tolist(),
        widths=[width for width, _ in sizes],
        heights=[height for _, height in sizes],
        leaks=[problem for problem in problems if isinstance(problem, Leak)],
        problems=[problem for problem in problems if not isinstance(problem, Leak)],
        unreadable=list(unreadable.values()),
        balance=balance_train(plan, without_blank_rows(plan, manifest)),
        duplicates=found,
        duplicate_table=found.table(manifest) if found else None,
    )


def _count(manifest: Manifest, head: str) -> pd.DataFrame:
    names = [*manifest.classes[head], "no label"]
    targets = manifest.targets(head)
    places = np.where(targets == MISSING, len(names) - 1, targets)
    splits = [split for split in ("train", "val", "test") if (manifest.frame["split"] == split).any()]
    of_split = manifest.frame["split"].to_numpy()
    return pd.DataFrame({split: np.bincount(places[of_split == split], minlength=len(names)) for split in splits}, index=names)
