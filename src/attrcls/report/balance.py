"""The weights that a run wrote and the labels of its train rows go in; what balancing did to them comes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from attrcls.data.balance_facts import BalanceFacts, measure_balance
from attrcls.errors import UserError
from attrcls.report.rundir import RunFiles
from attrcls.report.scores import index_classes


@dataclass(frozen=True)
class BalanceNumbers:
    """The figures, the train rows they count, and `(path, draws)` of the rows that are drawn most often."""

    facts: BalanceFacts
    rows: int
    strength: float
    cap: float
    repeated: tuple[tuple[str, float], ...]


def read_balance(files: RunFiles, *, most: int = 8) -> BalanceNumbers | None:
    """Count anew what an epoch of the run holds, from `balance.csv`; None where the run did not balance its rows.

    Raises:
        UserError: a weight is no number, or a row of `balance.csv` is no train row of the run, or its rows are not told apart.
    """
    spec: Mapping[str, Any] | None = (files.config.get("task") or {}).get("balance")
    if files.balance is None or not spec or files.balance.empty:
        return None
    classes = {head: files.heads[head] for head in spec["heads"] if head in files.heads}
    if not classes:
        return None
    rows = files.splits[files.splits["split"] == "train"].set_index(["card", "row_id"])
    keys = pd.MultiIndex.from_frame(files.balance[["card", "row_id"]])
    weights, draws = (pd.to_numeric(files.balance[column], errors="coerce").to_numpy(dtype=np.float64) for column in ("weight", "draws"))
    if rows.index.has_duplicates or not keys.isin(rows.index).all() or not np.isfinite([weights, draws]).all():
        raise UserError(
            f"{files.folder / 'balance.csv'}: expected weights for train rows of splits.csv; put back the file that the run wrote, or train again"
        )
    labels = rows.loc[keys]
    # A card's weights have the mean 1, so that its draws per row are what they were without balancing.
    base = pd.Series(draws).groupby(files.balance["card"]).transform("mean").to_numpy(dtype=np.float64)
    facts = measure_balance(
        {head: index_classes(labels[head].tolist(), names) for head, names in classes.items()},
        classes,
        base=base,
        weights=weights,
        strength=float(spec["strength"]),
        cap=float(spec["cap"]),
        most=most,
    )
    repeated = tuple((str(files.balance["path"].iloc[row]), times) for row, times in facts.repeated)
    return BalanceNumbers(facts, len(labels), float(spec["strength"]), float(spec["cap"]), repeated)
