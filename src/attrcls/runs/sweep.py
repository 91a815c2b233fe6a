"""Many learning rates tried side by side: copies of the heads on one frozen trunk's features, the best on validation.

A copy's weights get gradients from its own loss alone, and Adam and SGD treat each weight by itself, so that every copy learns just as it
would in a training of its own (but for dropout's random numbers), while batches are drawn and handed out once for all of them.
"""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from attrcls.combine import combiner_for
from attrcls.data.loader import LabelledBatches
from attrcls.data.manifest import Manifest
from attrcls.engine import Engine, in_float32, of_first, share_of
from attrcls.errors import UserError
from attrcls.model.network import Network
from attrcls.runs.epochs import TrainView, is_better, smaller_is_better
from attrcls.runs.folder import RunFolder
from attrcls.runs.validation import Validation
from attrcls.task import Plan, Task
from attrcls.training.loop import TrainState, fit
from attrcls.training.optim import build_ema, make_optimiser
from attrcls.training.score import Scored, score_batches
from attrcls.types import Batch, Share


@dataclass(frozen=True)
class Sweep:
    """`lr`: the best rate. `table`: a row per rate, with its best epoch (or its last, where the task keeps that) and that epoch's scores; None
    where an earlier start of the run made the sweep."""

    lr: float
    table: pd.DataFrame | None

    def told(self, monitor: str) -> str:
        """The outcome in one line; it says so where the best rate is at the end of the range, and a better one may lie beyond."""
        if self.table is None:
            return f"{self.lr:g}, the best of those in sweep.csv"
        rates = sorted(self.table["lr"])
        best = self.table.loc[self.table["lr"] == self.lr, monitor].iloc[0]
        beyond = "" if rates[0] < self.lr < rates[-1] else f"; the {'largest' if self.lr == rates[-1] else 'smallest'} tried, so try others beyond it"
        return f"{self.lr:g}, the best of {len(rates)} from {rates[0]:g} to {rates[-1]:g} ({monitor} {best:.3f}; sweep.csv){beyond}"


def check_sweep(plan: Plan, *, views: int, val_rows: int) -> None:
    """Raises:
    UserError: the task asks for a sweep that cannot be made: the trunk learns too, or there is nothing to choose by.
    """
    asked = "a sweep of learning rates (--sweep-lr, optimiser.sweep)"
    if not views:
        raise UserError(
            f"{asked} trains heads on a frozen trunk's features: expected --freeze, trunk.frozen_views above 0, no balance.repeat_augment, no scarce"
        )
    if plan.task.optimiser.clip_norm:
        raise UserError(f"{asked} trains all rates at once, and optimiser.clip_norm would clip their gradients together: leave it out")
    if plan.task.loss_balance != "fixed":
        raise UserError(f"{asked} trains all rates at once, and loss_balance: {plan.task.loss_balance} would weigh them together: leave it out")
    if len(set(plan.task.optimiser.sweep or ())) < len(plan.task.optimiser.sweep or ()):
        raise UserError(f"{asked}: expected each rate once, found {', '.join(f'{rate:g}' for rate in plan.task.optimiser.sweep or ())}")
    if not val_rows:
        raise UserError(f"{asked} chooses by the validation rows, and there are none: give the table a split column with val, or hold some back")


def chosen_before(folder: RunFolder) -> Sweep:
    """What the sweep chose that an earlier start of this run made.

    Raises:
        UserError: `config.yaml` does not say it.
    """
    rate = (folder.read_config().get("run") or {}).get("lr")
    if not isinstance(rate, float) or not rate > 0:
        raise UserError(
            f"{folder.path / 'config.yaml'}: expected run.lr to be the rate that the sweep chose, found {rate!r}; train anew with --overwrite"
        )
    return Sweep(rate, None)


def sweep_rates(
    plan: Plan, network: Network, train: LabelledBatches, val: LabelledBatches, val_manifest: Manifest, *, fabric: Engine, view: TrainView
) -> Sweep:
    """Train a copy of the network's heads with each rate of `optimiser.sweep`, from the same first weights and on the same batches of features.

    Raises:
        UserError: no rate gave a score, as where no validation row has a label.
    """
    task, fabric = plan.task, in_float32(fabric)
    rates = task.optimiser.sweep or []
    names = {f"{head}@{place}": head for place in range(len(rates)) for head in task.heads}
    # Without the trunk: its features are there already.
    heads = Network(
        nn.Identity(), {name: copy.deepcopy(network.heads[head]) for name, head in names.items()}, mean=task.image.mean, std=task.image.std
    )
    heads.to(fabric.device)
    groups: list[dict[str, Any]] = []
    for place, rate in enumerate(rates):
        for decays in (True, False):
            parameters = [p for head in task.heads for p in heads.heads[f"{head}@{place}"].parameters() if (p.ndim > 1) == decays]
            decay = task.optimiser.weight_decay if decays else 0.0
            groups.append({"params": parameters, "lr": rate, "top_lr": rate, "weight_decay": decay})
    copies = task.model_copy(update={"heads": {name: task.heads[head] for name, head in names.items()}})
    state = TrainState(heads, make_optimiser(groups, task.optimiser), build_ema(heads, task.ema) if task.ema else None)
    advance = view.waiting("learning rates", total=task.epochs * len(rates))
    trials = [_Trial() for _ in rates]
    for step in fit(state, _ForCopies(train, names), task=copies, fabric=fabric):
        if not step.ends_epoch:
            continue
        scored = score_batches(state.scored_network, _copied(val.in_order(share_of(fabric)), names), fabric=fabric)
        for place, (trial, rate) in enumerate(zip(trials, rates, strict=True)):
            trial.end_epoch({"lr": rate, "epoch": step.epoch + 1, **_scores(scored, place, val_manifest, plan)}, task)
        advance(len(rates))
    table = pd.DataFrame([trial.row for trial in trials])
    return of_first(fabric, lambda: Sweep(_best(table, task), table))


@dataclass
class _Trial:
    """What one rate came to: the row of the epoch that a training of its own would have kept."""

    row: dict[str, Any] = field(default_factory=dict)
    _best_epoch: int = 0
    _best_score: float | None = None
    _stopped: bool = False

    def end_epoch(self, row: dict[str, Any], task: Task) -> None:
        if self._stopped:
            return
        if not math.isfinite(row["val_loss"]):
            # It diverged, as the training itself would, whatever it had come to before.
            self.row, self._stopped = row, True
            return
        better = is_better(task.monitor, row[task.monitor], self._best_score)
        if better:
            self._best_epoch, self._best_score = row["epoch"], row[task.monitor]
        if better or task.keep == "last":
            self.row = row
        self._stopped = task.early_stop_epochs is not None and row["epoch"] - self._best_epoch >= task.early_stop_epochs


class _ForCopies:
    """Batches in which every copy of a head finds the labels of the head that it is a copy of."""

    def __init__(self, batches: LabelledBatches, names: Mapping[str, str]) -> None:
        self._batches = batches
        self._names = names
        self.steps_per_epoch = batches.steps_per_epoch

    def epoch(self, epoch: int, share: Share) -> Iterator[Batch]:
        return _copied(self._batches.epoch(epoch, share), self._names)


def _copied(batches: Iterator[Batch], names: Mapping[str, str]) -> Iterator[Batch]:
    for batch in batches:
        yield replace(
            batch,
            targets={name: batch.targets[head] for name, head in names.items()},
            present={name: batch.present[head] for name, head in names.items()},
            numbers={name: batch.numbers[head] for name, head in names.items() if head in batch.numbers},
        )


def _scores(scored: Scored, place: int, manifest: Manifest, plan: Plan) -> dict[str, float]:
    own = Scored(
        {head: scored.probabilities[f"{head}@{place}"] for head in plan.task.heads},
        {head: scored.losses[f"{head}@{place}"] for head in plan.task.heads},
    )
    return Validation(own, manifest, combiner_for(plan)).row(plan.task)


def _best(table: pd.DataFrame, task: Task) -> float:
    """The rate of the best score; of several, that of the smallest loss."""
    known = table[table[task.monitor].notna() & np.isfinite(table["val_loss"])]
    if known.empty and table[task.monitor].notna().any():
        raise UserError(f"a sweep of learning rates: training diverged with each of them, from {table['lr'].min():g} on; try smaller ones")
    if known.empty:
        raise UserError(f"a sweep of learning rates chooses by {task.monitor}, which no rate gave: no validation row has such a label")
    return float(known.sort_values([task.monitor, "val_loss"], ascending=[smaller_is_better(task.monitor), True], kind="stable")["lr"].iloc[0])
