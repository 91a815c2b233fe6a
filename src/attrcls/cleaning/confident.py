"""Confident learning by the cleanlab library, from out-of-fold probabilities of the same features.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 2021).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attrcls.cleaning.audit import HeadAudit
from attrcls.cleaning.observe import linear_network, train_network
from attrcls.cleaning.roles import Units
from attrcls.data.manifest import Manifest
from attrcls.data.split import fold_rows
from attrcls.engine import Engine, seed_everything
from attrcls.errors import UserError
from attrcls.features.batches import FeatureBatches
from attrcls.task import Task
from attrcls.types import MISSING

FOLDS = 5


def require_cleanlab() -> Any:
    """The cleanlab package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import cleanlab
        import cleanlab.filter
        import cleanlab.rank
    except ImportError as error:
        raise UserError("--method confident needs cleanlab: pip install '.[confident]' in attrcls's folder") from error
    return cleanlab


def out_of_fold_logits(features: Tensor, manifest: Manifest, task: Task, *, fabric: Engine, seed: int) -> dict[str, Tensor]:
    """Each head's logits float32 `(rows, classes)` by a linear layer that saw nothing of the row's group, from features
    `(views, rows, width)`; the views' logits are averaged."""
    classes = {head: len(manifest.classes[head]) for head in task.heads}
    logits = {head: torch.zeros(len(manifest), count) for head, count in classes.items()}
    folds = fold_rows(manifest, folds=FOLDS, seed=seed)
    for fold in range(int(folds.max()) + 1):
        seed_everything(seed * 1_000 + 100 + fold)
        held = np.flatnonzero(folds == fold)
        # With a single fold there is one group only: its own labels are all there is to learn from.
        learned = np.flatnonzero(folds != fold) if folds.max() else held
        targets = {head: manifest.targets(head)[learned] for head in task.heads}
        network = linear_network(task, targets, classes, width=features.shape[2]).to(fabric.device)
        train_network(network, FeatureBatches(features[:, learned], targets, batch_size=task.batch_size, seed=seed), task, fabric=fabric)
        with torch.inference_mode():
            network.eval()
            for view in features[:, held]:
                for head, values in network(view.to(fabric.device)).items():
                    logits[head][held] += values.float().cpu() / len(features)
    return logits


def judge_by_confidence(manifest: Manifest, head: str, units: Units, logits: Tensor) -> HeadAudit:
    """cleanlab's findings on a head's units; a unit's probabilities are those of its mean logits."""
    cleanlab = require_cleanlab()
    labels, names = units.labels, manifest.classes[head]
    count = len(labels)
    audit = HeadAudit(
        names, manifest.targets(head), units, np.full(len(manifest), np.nan),
        np.ones(count), np.zeros(count, dtype=bool), labels.copy(), np.zeros(count),
    )  # fmt: skip
    present = np.unique(labels)
    if len(present) < 2:
        return audit
    means = torch.from_numpy(units.mean(logits.double().numpy()))
    probabilities = means.softmax(dim=1).numpy()
    # cleanlab wants every class to have a label: the others are left out and the rest made to sum to 1.
    kept = probabilities[:, present] / probabilities[:, present].sum(axis=1, keepdims=True)
    given = np.searchsorted(present, labels)
    suspect = cleanlab.filter.find_label_issues(given, kept, n_jobs=1)
    score = cleanlab.rank.get_self_confidence_for_each_label(given, kept)
    others = np.where(np.arange(len(names)) == labels[:, None], -1.0, probabilities)
    labelled = units.of_row[units.of_row != MISSING]
    facts = {"confident_suspects": float(np.asarray(suspect)[labelled].sum())}
    return HeadAudit(
        names, manifest.targets(head), units, audit.aum, np.asarray(score, dtype=np.float64), np.asarray(suspect, dtype=bool),
        others.argmax(axis=1).astype(np.int64), others.max(axis=1), facts=facts,
    )  # fmt: skip


def audit_by_confidence(features: Tensor, manifest: Manifest, units: Mapping[str, Units], task: Task, *, fabric: Engine) -> dict[str, HeadAudit]:
    """Every head's labels judged by confident learning."""
    logits = out_of_fold_logits(features, manifest, task, fabric=fabric, seed=task.seed)
    return {head: judge_by_confidence(manifest, head, each, logits[head]) for head, each in units.items()}
