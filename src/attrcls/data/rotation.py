"""The rotation pretext (Gidaris et al., ICLR 2018): every picture turned four ways, and which way it was is the label."""

from dataclasses import replace

import numpy as np

from attrcls.data.manifest import Manifest
from attrcls.task import ROTATION, ROTATIONS


def turned_four_ways(manifest: Manifest) -> Manifest:
    """Each row four times, side by side, with its quarter turns to the left, 0 to 3, as the attribute `rotation`. All keep the row's split."""
    turns = np.tile(np.arange(4), len(manifest))
    rows = manifest.take(np.repeat(np.arange(len(manifest)), 4))
    names = [f"{row_id}@{90 * turn}" for row_id, turn in zip(rows.frame["row_id"], turns, strict=True)]
    return replace(rows.with_columns(row_id=names, **{ROTATION: turns}), classes={**manifest.classes, ROTATION: tuple(ROTATIONS.classes)})
