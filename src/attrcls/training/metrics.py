"""Scores of predictions against labels, ignoring missing labels; thin over torchmetrics."""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
)

from attrcls.combine import Combiner
from attrcls.types import MISSING

IntArray = npt.NDArray[np.int64]


def score_head(predicted: IntArray, targets: IntArray, *, ordinal: bool = False) -> dict[str, float]:
    """Top-1 and macro precision, recall and F1 (each 0–1) of class indices `(rows,)`; of ordinal ones also `mae`, by how many classes
    they are wrong on average.

    Rows whose target is `MISSING` do not count. Macro means run over the classes that occur in either, as in
    scikit-learn; a ratio without a denominator is 0. All are NaN where no row has a label.
    """
    labelled = targets != MISSING
    if not labelled.any():
        return dict.fromkeys(("top1", "precision", "recall", "f1", *(("mae",) if ordinal else ())), float("nan"))
    said, given = predicted[labelled], targets[labelled]
    # Of the classes that occur: torchmetrics counts classes times classes, and a code may have tens of thousands. It wants two or more; an
    # empty second class changes no score.
    occurring, places = np.unique(np.concatenate([said, given]), return_inverse=True)
    compact = torch.from_numpy(places.astype(np.int64).reshape(2, -1))
    arguments = (compact[0], compact[1], max(2, len(occurring)))
    return {
        "top1": multiclass_accuracy(*arguments, average="micro").item(),
        "precision": multiclass_precision(*arguments, average="macro").item(),
        "recall": multiclass_recall(*arguments, average="macro").item(),
        "f1": multiclass_f1_score(*arguments, average="macro").item(),
        **({"mae": float(np.abs(said - given).mean())} if ordinal else {}),
    }


def score_all(
    predicted: Mapping[str, IntArray],
    targets: Mapping[str, IntArray],
    *,
    combiner: Combiner | None,
    ordinal: Collection[str] = (),
) -> dict[str, float]:
    """`head/metric` of every head (of the `ordinal` ones also `mae`), their means over heads, and `code/top1`, `code/f1` of the combined code.

    The means leave out heads without labels. The code counts where `predicted` has all of its attributes.
    """
    heads = {head: score_head(predicted[head], targets[head], ordinal=head in ordinal) for head in predicted}
    scores = {f"{head}/{metric}": value for head, metrics in heads.items() for metric, value in metrics.items()}
    for metric in ("top1", "f1"):
        values = [metrics[metric] for metrics in heads.values() if not np.isnan(metrics[metric])]
        scores[f"mean/{metric}"] = float(np.mean(values)) if values else float("nan")
    if combiner and all(attribute in predicted for attribute in combiner.order):
        code = score_head(combiner.encode(predicted), combiner.encode(targets))
        scores |= {f"{combiner.name}/top1": code["top1"], f"{combiner.name}/f1": code["f1"]}
    return scores


def confusion_matrix(predicted: IntArray, targets: IntArray, *, classes: int) -> IntArray:
    """Counts `(classes, classes)`: rows are given labels, columns predictions; missing labels do not count."""
    matrix = multiclass_confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(targets), num_classes=max(2, classes), ignore_index=MISSING)
    return matrix.numpy()[:classes, :classes].astype(np.int64)
