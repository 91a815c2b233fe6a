"""Manifests made of a few labels, with no picture behind them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from attrcls.data.manifest import Manifest


@pytest.fixture(scope="session")
def manifest_of():
    """Make a manifest of `attribute=(class names, targets)`, all rows in the train split, optionally in groups."""
    return _manifest_of


def _manifest_of(groups=None, **attributes) -> Manifest:
    count = len(next(iter(attributes.values()))[1])
    frame = pd.DataFrame({
        "card": "c", "row_id": [f"r{i}" for i in range(count)], "path": [f"{i}.jpg" for i in range(count)],
        "xmin": np.nan, "ymin": np.nan, "xmax": np.nan, "ymax": np.nan,
        "group": [f"c:{g}" if g else "" for g in groups] if groups else "", "split": "train",
        **{name: np.array(targets, dtype=np.int64) for name, (_, targets) in attributes.items()},
    })  # fmt: skip
    return Manifest(frame, {name: tuple(classes) for name, (classes, _) in attributes.items()}, {"c": Path()})
