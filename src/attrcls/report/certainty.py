"""The validation table and what `model.json` says of calibration go in; how far confidences can be believed comes out, per head."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.answers.calibration import Certainty, Coverage, measure_certainty
from attrcls.report.rundir import RunFiles
from attrcls.sections import DecodeSpec

# Shares of the rows to answer at which the page tells the risk.
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True)
class HeadCertainty:
    """A head's confidences as the network says them, and calibrated on the other folds of groups; None where a run has no such column."""

    head: str
    temperature: float
    before: Certainty
    after: Certainty | None

    @property
    def best(self) -> Certainty:
        """What an abstaining prediction would go by."""
        return self.after or self.before

    @property
    def risks(self) -> list[tuple[float, Coverage]]:
        """Where to stop answering for a share of rows, and what that leaves wrong."""
        return [(share, self.best.at(share)) for share in SHARES]


@dataclass(frozen=True)
class CertaintyNumbers:
    """Of each head with labels in validation; `decode` is how the run chooses classes."""

    heads: tuple[HeadCertainty, ...]
    decode: DecodeSpec


def read_certainty(files: RunFiles) -> CertaintyNumbers | None:
    """Measure the confidences of `validation.csv`; None where no row has a label."""
    heads = tuple(found for head in files.heads if (found := _of_head(files.validation, head, temperatures=files.temperatures)))
    return CertaintyNumbers(heads, files.decode) if heads else None


def _of_head(table: pd.DataFrame, head: str, *, temperatures: Mapping[str, float]) -> HeadCertainty | None:
    given, predicted = table[f"{head}_given"], table[head]
    labelled = ((given != "") & (predicted != "")).to_numpy()
    right = (given == predicted).to_numpy()
    before, after = (_measure(table, f"{head}_{ending}", labelled, right) for ending in ("confidence", "calibrated"))
    return HeadCertainty(head, temperatures.get(head, 1.0), before, after) if before else None


def _measure(table: pd.DataFrame, column: str, labelled: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> Certainty | None:
    if column not in table.columns:
        return None
    confidence = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
    known = labelled & (confidence >= 0) & (confidence <= 1)
    return measure_certainty(confidence[known], right[known])
