"""A look at a task's data before anything is trained: counts, gaps, groups, sizes, and what cannot be read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrcls.data.check import find_unreadable, image_sizes
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.split import split_manifest
from attrcls.errors import Problem
from attrcls.runs.balance import TrainBalance, balance_train
from attrcls.runs.prepare import resolve_roots
from attrcls.task import load_plan
from attrcls.types import MISSING


@dataclass(frozen=True)
class DataFacts:
    """What `attrcls data` shows. `counts[head]` has a row per class (and `no label`) and a column per split.

    `group_sizes` are the rows of each group. `widths` and `heights` are in pixels, of distinct readable pictures.
    `balance` is what an epoch of the train rows would hold, where balancing is asked for.
    """

    manifest: Manifest
    counts: dict[str, pd.DataFrame]
    group_sizes: Sequence[int]
    widths: Sequence[int]
    heights: Sequence[int]
    problems: Sequence[Problem]
    unreadable: Sequence[Problem]
    balance: TrainBalance | None = None


def run_data(
    task: str,
    *,
    data: Sequence[str | Path] | str | Path = (),
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> DataFacts:
    """Read and check all of a task's data, as `train` would split it; problems are returned, not raised.

    Raises:
        UserError: a table, column or folder is missing, or nothing is usable.
    """
    plan = load_plan(task, overrides=overrides, changes=changes)
    roots = resolve_roots(plan, [data] if isinstance(data, str | Path) else data)
    manifest, problems = build_manifest(plan.cards, roots, on_error="skip")
    unreadable = find_unreadable(manifest, min_px=plan.task.image.resize_px, crop=plan.task.image.crop_boxes)
    manifest = manifest.take(np.array([row for row in range(len(manifest)) if row not in unreadable], dtype=np.int64))
    if len(manifest):
        manifest = split_manifest(manifest, share=plan.task.hold_back.share, seed=plan.task.hold_back.seed)
    heads = dict.fromkeys([*plan.task.heads, *manifest.classes])
    groups = manifest.frame["group"]
    distinct = manifest.take(np.flatnonzero(~manifest.frame["path"].duplicated()))
    sizes = [size for size in image_sizes(distinct) if size is not None]
    return DataFacts(
        manifest=manifest,
        counts={head: _count(manifest, head) for head in heads},
        group_sizes=groups[groups != ""].value_counts().tolist(),
        widths=[width for width, _ in sizes],
        heights=[height for _, height in sizes],
        problems=problems,
        unreadable=list(unreadable.values()),
        balance=balance_train(plan, manifest),
    )


def _count(manifest: Manifest, head: str) -> pd.DataFrame:
    names = [*manifest.classes[head], "no label"]
    targets = manifest.targets(head)
    places = np.where(targets == MISSING, len(names) - 1, targets)
    splits = [split for split in ("train", "val", "test") if (manifest.frame["split"] == split).any()]
    of_split = manifest.frame["split"].to_numpy()
    return pd.DataFrame({split: np.bincount(places[of_split == split], minlength=len(names)) for split in splits}, index=names)
