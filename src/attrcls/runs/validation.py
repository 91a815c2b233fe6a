"""An epoch's validation: scores for the metrics row, and the table that the report looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.combine import Combiner, combiner_for
from attrcls.data.loader import LabelledBatches
from attrcls.data.manifest import Manifest
from attrcls.data.rows import BOX_COLUMNS
from attrcls.engine import Engine, share_of
from attrcls.errors import UserError
from attrcls.model.network import Network
from attrcls.task import Plan, Task
from attrcls.training.metrics import score_all
from attrcls.training.score import Scored, score_batches
from attrcls.types import MISSING


@dataclass(frozen=True)
class Validation:
    """The validation rows' probabilities beside their labels."""

    scored: Scored
    manifest: Manifest
    combiner: Combiner | None

    def row(self, task: Task) -> dict[str, float]:
        """Losses and scores under the names of `metrics.csv`."""
        losses = {f"{head}/val_loss": value for head, value in self.scored.losses.items()}
        targets = {name: self.manifest.targets(name) for name in self.manifest.classes}
        # A head that diverged stays in the sum, and makes it no number.
        labelled = [head for head in self.scored.losses if (targets[head] != MISSING).any()]
        total = sum(self.scored.losses[head] * task.heads[head].weight for head in labelled) if labelled else float("nan")
        return {
            "val_loss": total,
            **losses,
            **score_all(self.scored.predicted(), targets, combiner=self.combiner, ordinal=task.ordinal_heads),
        }

    @property
    def groups(self) -> list[str]:
        """What each row belongs to: its group, or itself where it has none."""
        frame = self.manifest.frame
        return frame["group"].where(frame["group"] != "", "row " + frame["card"] + ":" + frame["row_id"]).tolist()

    def table(self, calibrated: Mapping[str, npt.NDArray[np.floating[Any]]]) -> pd.DataFrame:
        """One row per validation row: labels given, predictions, confidences, and the combined code.

        Confidences are the network's own, and those of `calibrated` `(rows,)` per head beside them.
        """
        frame = self.manifest.frame
        columns: dict[str, Any] = {name: frame[name] for name in ("card", "row_id", "path")}
        if frame["xmin"].notna().any():
            columns |= {name: frame[name] for name in BOX_COLUMNS}
        columns["group"] = frame["group"]
        predicted = self.scored.predicted()
        for head, probabilities in self.scored.probabilities.items():
            names = self.manifest.classes[head]
            columns[f"{head}_given"] = [names[index] if index != MISSING else "" for index in self.manifest.targets(head)]
            columns[head] = [names[index] for index in predicted[head]]
            columns[f"{head}_confidence"] = probabilities.max(axis=1).round(4)
            if head in calibrated:
                columns[f"{head}_calibrated"] = calibrated[head].round(4)
        if self.combiner and all(attribute in predicted for attribute in self.combiner.order):
            given = self.combiner.encode({attribute: self.manifest.targets(attribute) for attribute in self.combiner.order})
            columns[f"{self.combiner.name}_given"] = [str(code) if code != MISSING else "" for code in given]
            columns[self.combiner.name] = self.combiner.encode(predicted)
        return pd.DataFrame(columns)


def validate(network: Network, batches: LabelledBatches, manifest: Manifest, plan: Plan, *, fabric: Engine) -> Validation:
    """Score the validation rows with the network as it is, each process its share of them."""
    return Validation(score_batches(network, batches.in_order(share_of(fabric)), fabric=fabric), manifest, combiner_for(plan))


def split_table(manifest: Manifest, plan: Plan) -> pd.DataFrame:
    """`splits.csv`: every row of the manifest, its split, and the class names of its labels."""
    frame = manifest.frame
    boxed = frame["xmin"].notna().any()
    columns = ["card", "row_id", "path", *(BOX_COLUMNS if boxed else ()), "group", "split"]
    table = frame[columns].copy()
    for head in plan.task.heads:
        names = manifest.classes[head]
        table[head] = [names[index] if index != MISSING else "" for index in manifest.targets(head)]
    return table


def class_indices(labels: "pd.Series[str]", classes: Sequence[str], *, file: str) -> npt.NDArray[np.int64]:
    """Class names, and blanks, to indices."""
    known = {"": MISSING, **{name: index for index, name in enumerate(classes)}}
    if unknown := sorted(set(labels) - set(known)):
        expected = f"expected one of {', '.join(classes)}, found {unknown[0]!r}"
        raise UserError(f"{file}: column {labels.name}: {expected}; put back the file that the run wrote")
    return np.array([known[label] for label in labels], dtype=np.int64)
