"""The training loop: a generator of Steps that knows neither files, nor screens, nor what its consumer does with them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from typing import Any, Protocol

import torch
from torch.optim.swa_utils import AveragedModel

from attrcls.data.prefetch import on_device
from attrcls.engine import Engine, set_up, share_of, summed
from attrcls.errors import AttrclsError, UserError
from attrcls.model.network import MADE, Network, count_labelled, masked_losses
from attrcls.task import Task
from attrcls.training.annealing import annealed
from attrcls.training.balancing import Balancer, Balancing
from attrcls.training.consistency import Consistency
from attrcls.training.mixing import mixed_batches
from attrcls.training.optim import learning_rate_factor, set_learning_rates
from attrcls.types import Agreement, Batch, Share, Step

# Beside the heads' names, none of which is blank.
_TOTAL = ""


class EpochBatches(Protocol):
    """What `fit` trains on: the same batches for the same epoch, whenever it is asked."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; the same for each."""

    def epoch(self, epoch: int, share: Share) -> Iterator[Batch]:
        """Of each batch of an epoch, counted from 0, this process's share."""


class TwoViewBatches(Protocol):
    """What `fit` learns from without labels: weak and strong views, the same for the same epoch."""

    def epoch(self, epoch: int, share: Share, *, steps: int) -> Iterator[Batch]:
        """Of each of an epoch's `steps` batches, this process's share."""


@dataclass
class TrainState:
    """All that must survive a kill. `epoch` is the next one to train; `history` has a row of metrics per finished one; `running` holds, by
    head, the means from which thresholds for pictures without a label are worked out."""

    network: Network
    optimiser: torch.optim.Optimizer
    ema: AveragedModel | None = None
    balancer: Balancer | None = None
    epoch: int = 0
    best_epoch: int | None = None
    best_score: float | None = None
    tracking_id: str | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    running: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def scored_network(self) -> Network:
        """The weights to judge and to keep: the moving average where there is one."""
        if self.ema is None:
            return self.network
        averaged = self.ema.module
        assert isinstance(averaged, Network)
        return averaged


def fit(state: TrainState, labelled: EpochBatches, unlabelled: TwoViewBatches | None = None, *, task: Task, fabric: Engine) -> Iterator[Step]:
    """Train from `state.epoch` to the task's last epoch, yielding one Step per batch after the weights may have changed.

    With `unlabelled`, each step also draws a batch of it, for the losses that `task.unlabelled` says.

    Where there are several processes, each runs its share of every batch, and all have the same weights after each update.
    The consumer owns `state` between Steps. Raises:
        UserError: a batch is too small for the trunk's BatchNorm.
    """
    weights = {head: spec.weight for head, spec in task.heads.items()}
    updates_per_epoch = -(-labelled.steps_per_epoch // task.optimiser.accumulate)
    share = share_of(fabric)
    spec = task.unlabelled if unlabelled else None
    consistency = Consistency(spec, weights=weights, running=state.running, fabric=fabric) if spec else None
    state.network.set_trunk_frozen(task.trunk.freeze)
    network, optimiser = set_up(state.network, state.optimiser, fabric, some_rest=state.epoch < task.trunk.freeze_epochs or bool(task.rsg))
    while state.epoch < task.epochs:
        epoch = state.epoch
        state.network.set_trunk_frozen(task.trunk.freeze or epoch < task.trunk.freeze_epochs)
        network.train()
        for each in dict.fromkeys((state.network, state.scored_network)):
            each.start_epoch(epoch)
        # Dropout's random numbers start anew each epoch from (seed, epoch, process), so that a resumed run repeats them.
        torch.manual_seed(task.seed * 1_000_003 + epoch + (share.rank << 52))
        for index, (batch, pictures) in enumerate(_pairs(labelled, unlabelled, epoch, task=task, fabric=fabric)):
            update = epoch * updates_per_epoch + index // task.optimiser.accumulate
            factor = learning_rate_factor(task.schedule, step=update, steps_per_epoch=updates_per_epoch, epochs=task.epochs)
            set_learning_rates(state.optimiser, factor)
            updates = (index + 1) % task.optimiser.accumulate == 0 or index + 1 == labelled.steps_per_epoch
            step = epoch * labelled.steps_per_epoch + index
            with fabric.no_backward_sync(network, enabled=not updates):
                logits, weak, strong, made_loss = _forward(network, batch, pictures, rare_head=task.rsg.head if task.rsg else None)
                done = step / (task.epochs * labelled.steps_per_epoch)
                taught = annealed(batch, state.network.heads, logits, spec.tsa if spec else None, done=done)
                counts = summed(count_labelled(taught), fabric)
                losses = masked_losses(state.network.heads, logits, taught, weights=weights, labelled=counts)
                parts = _batches_in_update(index, labelled.steps_per_epoch, task.optimiser.accumulate)
                balancing = Balancing(state.balancer, losses, counts, weights=weights, fabric=fabric) if state.balancer else None
                if balancing:
                    losses = balancing.losses
                    balancing.learn(parts=parts)
                total, agreements = losses.total, dict[str, Agreement]()
                if consistency and pictures:
                    wanted = {head: ~present for head, present in pictures.present.items()}
                    factors = balancing.of_agreements if balancing else None
                    extra, agreements = consistency(state.network.heads, weak, strong, wanted, step=step, factors=factors)
                    total = total + extra
                # Not reported: it has nothing to do with the loss on validation rows.
                made_share = weights[task.rsg.head] * made_loss / share.processes if task.rsg and made_loss is not None else 0
                if total.requires_grad:
                    # Gradients are averaged over the processes, and what each adds to the whole batch's mean is to be summed.
                    fabric.backward((total + made_share) / (parts / share.processes))
            if updates:
                if task.optimiser.clip_norm:
                    fabric.clip_gradients(network, optimiser, max_norm=task.optimiser.clip_norm, error_if_nonfinite=False)
                optimiser.step()
                optimiser.zero_grad()
                if state.ema is not None:
                    state.ema.update_parameters(state.network)
                if balancing:
                    balancing.after_update(state.network, taught, partial(_logits, state.network, taught, pictures))
            if index + 1 == labelled.steps_per_epoch:
                _share_statistics(state, fabric)
                state.epoch = epoch + 1
            reported = summed({**losses.heads, _TOTAL: total}, fabric)
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
                unlabelled=agreements,
            )


def check_loss(loss: float, *, epoch: int) -> None:
    """Raises:
    AttrclsError: the epoch's mean loss is not a finite number, and going on would only waste time.
    """
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise AttrclsError(
            f"the loss of epoch {epoch + 1} is {loss}: training diverged; try a lower --lr, --set optimiser.clip_norm=1, or --precision 32"
        )


def _pairs(
    labelled: EpochBatches, unlabelled: TwoViewBatches | None, epoch: int, *, task: Task, fabric: Engine
) -> Iterator[tuple[Batch, Batch | None]]:
    """An epoch's labelled batches, mixed as the task says, each with its batch of two views, if there are any."""
    share = share_of(fabric)
    decoded = on_device(labelled.epoch(epoch, share), fabric.device)
    batches = mixed_batches(decoded, task.mix, seed=task.seed, epoch=epoch, process=share.rank)
    if unlabelled is None:
        return zip(batches, repeat(None), strict=False)
    return zip(batches, on_device(unlabelled.epoch(epoch, share, steps=labelled.steps_per_epoch), fabric.device), strict=True)


def _forward(
    network: Any, batch: Batch, pictures: Batch | None, *, rare_head: str | None
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor | None]:
    """The logits of the labelled batch, and of the weak and strong views of `pictures`, all seen together: BatchNorm's statistics of a
    batch are of all of them, as in FixMatch. Last, what samples that are made of `rare_head` add to the loss, if any are."""
    seen = [batch.images] if pictures is None or pictures.strong is None else [batch.images, pictures.images, pictures.strong]
    labels = (batch.targets[rare_head], batch.present[rare_head]) if rare_head else ()
    try:
        logits: dict[str, torch.Tensor] = network(torch.cat(seen) if len(seen) > 1 else batch.images, *labels)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch of one picture this small (of several processes, one's share) is not enough for the trunk's BatchNorm; "
            "use --batch-size 2 or more for each process, a larger image.px, or --freeze"
        ) from error
    made = logits.pop(MADE, None)
    parts = {head: torch.split(values, [len(each) for each in seen]) for head, values in logits.items()}
    own, weak, strong = ({head: values[place] for head, values in parts.items()} if place < len(seen) else {} for place in range(3))
    return own, weak, strong, made


def _logits(network: Network, batch: Batch, pictures: Batch | None) -> dict[str, torch.Tensor]:
    return _forward(network, batch, pictures, rare_head=None)[0]


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
