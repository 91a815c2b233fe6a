"""The training loop: a generator of Steps that knows neither files, nor screens, nor what its consumer does with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch.optim.swa_utils import AveragedModel

from attrcls.data.prefetch import on_device
from attrcls.engine import Engine, set_up, share_of, summed
from attrcls.errors import AttrclsError, UserError
from attrcls.model.network import Network, count_labelled, masked_losses
from attrcls.task import Task
from attrcls.training.balancing import Balancer, Balancing
from attrcls.training.mixing import mixed_batches
from attrcls.training.optim import learning_rate_factor, set_learning_rates
from attrcls.types import Batch, Share, Step

# Beside the heads' names, none of which is blank.
_TOTAL = ""


class EpochBatches(Protocol):
    """What `fit` trains on: the same batches for the same epoch, whenever it is asked."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; the same for each."""

    def epoch(self, epoch: int, share: Share) -> Iterator[Batch]:
        """Of each batch of an epoch, counted from 0, this process's share."""


@dataclass
class TrainState:
    """All that must survive a kill. `epoch` is the next one to train; `history` has a row of metrics per finished one."""

    network: Network
    optimiser: torch.optim.Optimizer
    ema: AveragedModel | None = None
    balancer: Balancer | None = None
    epoch: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    tracking_id: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def scored_network(self) -> Network:
        """The weights to judge and to keep: the moving average where there is one."""
        if self.ema is None:
            return self.network
        averaged = self.ema.module
        assert isinstance(averaged, Network)
        return averaged


def fit(state: TrainState, labelled: EpochBatches, *, task: Task, fabric: Engine) -> Iterator[Step]:
    """Train from `state.epoch` to the task's last epoch, yielding one Step per batch after the weights may have changed.

    Where there are several processes, each runs its share of every batch, and all have the same weights after each update.
    The consumer owns `state` between Steps. Raises:
        UserError: a batch is too small for the trunk's BatchNorm.
    """
    weights = {head: spec.weight for head, spec in task.heads.items()}
    updates_per_epoch = -(-labelled.steps_per_epoch // task.optimiser.accumulate)
    share = share_of(fabric)
    state.network.set_trunk_frozen(task.trunk.freeze)
    network, optimiser = set_up(state.network, state.optimiser, fabric, some_rest=state.epoch < task.trunk.freeze_epochs)
    while state.epoch < task.epochs:
        epoch = state.epoch
        state.network.set_trunk_frozen(task.trunk.freeze or epoch < task.trunk.freeze_epochs)
        network.train()
        for each in dict.fromkeys((state.network, state.scored_network)):
            each.start_epoch(epoch)
        # Dropout's random numbers start anew each epoch from (seed, epoch, process), so that a resumed run repeats them.
        torch.manual_seed(task.seed * 1_000_003 + epoch + (share.rank << 52))
        batches = on_device(labelled.epoch(epoch, share), fabric.device)
        for index, batch in enumerate(mixed_batches(batches, task.mix, seed=task.seed, epoch=epoch, process=share.rank)):
            update = epoch * updates_per_epoch + index // task.optimiser.accumulate
            factor = learning_rate_factor(task.schedule, step=update, steps_per_epoch=updates_per_epoch, epochs=task.epochs)
            set_learning_rates(state.optimiser, factor)
            updates = (index + 1) % task.optimiser.accumulate == 0 or index + 1 == labelled.steps_per_epoch
            counts = summed(count_labelled(batch), fabric)
            with fabric.no_backward_sync(network, enabled=not updates):
                logits = _forward(network, batch)
                losses = masked_losses(state.network.heads, logits, batch, weights=weights, labelled=counts)
                parts = _batches_in_update(index, labelled.steps_per_epoch, task.optimiser.accumulate)
                balancing = Balancing(state.balancer, losses, counts, weights=weights, fabric=fabric) if state.balancer else None
                if balancing:
                    losses = balancing.losses
                    balancing.learn(parts=parts)
                if losses.total.requires_grad:
                    # Gradients are averaged over the processes, and what each adds to the whole batch's mean is to be summed.
                    fabric.backward(losses.total / (parts / share.processes))
            if updates:
                if task.optimiser.clip_norm:
                    fabric.clip_gradients(network, optimiser, max_norm=task.optimiser.clip_norm, error_if_nonfinite=False)
                optimiser.step()
                optimiser.zero_grad()
                if state.ema is not None:
                    state.ema.update_parameters(state.network)
                if balancing:
                    balancing.after_update(state.network, batch)
            if index + 1 == labelled.steps_per_epoch:
                _share_statistics(state, fabric)
                state.epoch = epoch + 1
            reported = summed({**losses.heads, _TOTAL: losses.total}, fabric)
            yield Step(
                epoch=epoch,
                index=index,
                steps_in_epoch=labelled.steps_per_epoch,
                rows=batch.rows,
                logits={head: values.detach() for head, values in logits.items()},
                losses={head: reported[head] for head in losses.heads},
                present=batch.present,
                labelled=counts,
                samples=len(batch.rows) * share.processes,
                loss=reported[_TOTAL],
                learning_rate=state.optimiser.param_groups[-1]["lr"],
            )


def check_loss(loss: float, *, epoch: int) -> None:
    """Raises:
    AttrclsError: the epoch's mean loss is not a finite number, and going on would only waste time.
    """
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise AttrclsError(
            f"the loss of epoch {epoch + 1} is {loss}: training diverged; try a lower --lr, --set optimiser.clip_norm=1, or --precision 32"
        )


def _forward(network: Any, batch: Batch) -> dict[str, torch.Tensor]:
    try:
        logits: dict[str, torch.Tensor] = network(batch.images)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch of one picture this small (of several processes, one's share) is not enough for the trunk's BatchNorm; "
            "use --batch-size 2 or more for each process, a larger image.px, or --freeze"
        ) from error
    return logits


def _share_statistics(state: TrainState, fabric: Engine) -> None:
    """Give all processes the mean of their BatchNorm statistics, and of their averages of them.

    Each is a weighted sum over batches with the same weights in every process, so that the mean at the end of an epoch is what it would be had
    they been averaged after every step.
    """
    if share_of(fabric).processes == 1:
        return
    norms = (name for name, module in state.network.named_modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.training)
    for name in norms:
        for network in dict.fromkeys((state.network, state.scored_network)):
            kept = {key: value for key, value in network.get_submodule(name).named_buffers() if value.is_floating_point()}
            for key, total in summed(kept, fabric).items():
                kept[key].copy_(total / share_of(fabric).processes)


def _batches_in_update(index: int, steps_per_epoch: int, accumulate: int) -> int:
    """How many batches share this batch's update; the epoch's last update may have fewer."""
    first = index - index % accumulate
    return min(accumulate, steps_per_epoch - first)
