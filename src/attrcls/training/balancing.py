"""Heads against each other: by name, what their losses are multiplied by beside the weights that the task gives them.

A balancer learns as the network does. What it knows is each head's mean loss over the whole batch, of all processes, so that all of them
learn alike without being told. Where a head has no label in a batch, the balancer learns nothing of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from attrcls.engine import Engine, summed
from attrcls.model.network import Losses, Network, count_labelled, masked_losses
from attrcls.types import Batch

Means = Mapping[str, Tensor]
# The authors' own choices.
_FAMO_LR, _FAMO_DECAY = 0.025, 0.01
_TINY = 1e-8


class Balancer(Protocol):
    """What the loop knows of one."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the task's optimiser is to learn, at the heads' rate."""

    def factors(self, means: Means, labelled: Means) -> dict[str, Tensor]:
        """What each head's loss is multiplied by, of its mean over the batch and how many samples that is of."""

    def learn(self, means: Means, labelled: Means, *, parts: float) -> None:
        """Add to the gradients of `parameters`, of one batch of `parts` that share an update."""

    def after_update(self, means: Means, labelled: Means, again: Callable[[], Means]) -> None:
        """Learn of an update whose batch had these means before it; `again` gives those after it."""

    def state(self) -> dict[str, Tensor]:
        """All that must survive a kill but what the optimiser keeps."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave. Raises KeyError or ValueError where it is of another kind or other heads."""


class Uncertainty:
    """A variance per head, learned by the task's optimiser (Kendall et al. 2018, equation 10): Σ exp(−s) · loss + s / 2, with s = log σ²."""

    def __init__(self, heads: Sequence[str], device: torch.device) -> None:
        self._places = {head: place for place, head in enumerate(heads)}
        self._log_variances = nn.Parameter(torch.zeros(len(heads), device=device))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The log-variances."""
        return [self._log_variances]

    def factors(self, means: Means, labelled: Means) -> dict[str, Tensor]:
        """1 / σ² of each head."""
        return {head: (-self._log_variances[place]).exp().detach() for head, place in self._places.items()}

    def learn(self, means: Means, labelled: Means, *, parts: float) -> None:
        """Add what (Σ exp(−s) · loss + s / 2) / parts has as its gradient."""
        slopes = {head: 0.5 - factor * means[head] for head, factor in self.factors(means, labelled).items()}
        gradient = torch.stack([torch.where(labelled[head] > 0, slope, torch.zeros_like(slope)) for head, slope in slopes.items()]) / parts
        self._log_variances.grad = gradient if self._log_variances.grad is None else self._log_variances.grad + gradient

    def after_update(self, means: Means, labelled: Means, again: Callable[[], Means]) -> None:
        """Nothing: it learned of the batch."""

    def state(self) -> dict[str, Tensor]:
        """The log-variances."""
        return {"log_variances": self._log_variances.detach()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            self._log_variances.copy_(_like(state["log_variances"], self._log_variances))


class Famo:
    """All heads' losses fall at the same rate, in the logarithm (FAMO, Liu et al. 2023, algorithm 1).

    Its logits are learned by an Adam of its own, from how far each head's loss on the same batch fell by the update: that takes a
    second forward pass. The factors' sum is 1.
    """

    def __init__(self, heads: Sequence[str], device: torch.device) -> None:
        self._heads = list(heads)
        self._logits = nn.Parameter(torch.zeros(len(heads), device=device))
        self._optimiser = torch.optim.Adam([self._logits], lr=_FAMO_LR, weight_decay=_FAMO_DECAY)
        # Made here, so that they can be filled before the first step.
        self._slots = {name: torch.zeros_like(self._logits.detach()) for name in ("exp_avg", "exp_avg_sq")} | {"step": torch.zeros(())}
        self._optimiser.state[self._logits] = self._slots

    @property
    def parameters(self) -> list[nn.Parameter]:
        """None: they are its own."""
        return []

    def factors(self, means: Means, labelled: Means) -> dict[str, Tensor]:
        """Each head's share over its loss, over their sum; 0 where no sample has its label."""
        present = self._present(labelled)
        shares = self._logits.detach().softmax(dim=0) * present / (torch.stack([means[head] for head in self._heads]) + _TINY)
        factors = shares / shares.sum().clamp(min=_TINY)
        return dict(zip(self._heads, factors, strict=True))

    def learn(self, means: Means, labelled: Means, *, parts: float) -> None:
        """Nothing: it learns of updates."""

    def after_update(self, means: Means, labelled: Means, again: Callable[[], Means]) -> None:
        """Shift weight to the heads whose losses fell least."""
        after = again()
        fell = torch.stack([(means[head] + _TINY).log() - (after[head] + _TINY).log() for head in self._heads]) * self._present(labelled)
        with torch.enable_grad():
            (self._logits.grad,) = torch.autograd.grad(self._logits.softmax(dim=0), self._logits, grad_outputs=fell)
        self._optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """The logits, and what Adam remembers."""
        return {"logits": self._logits.detach(), **self._slots}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave."""
        with torch.no_grad():
            for name, value in self.state().items():
                value.copy_(_like(state[name], value))

    def _present(self, labelled: Means) -> Tensor:
        return torch.stack([labelled[head] > 0 for head in self._heads]).to(self._logits.dtype)


BALANCERS: dict[str, Callable[[Sequence[str], torch.device], Balancer]] = {"uncertainty": Uncertainty, "famo": Famo}


def build_balancer(name: str, heads: Sequence[str], device: torch.device) -> Balancer | None:
    """The balancer of that name, or None for `fixed`: the task's weights alone."""
    return None if name == "fixed" else BALANCERS[name](heads, device)


class Balancing:
    """One batch's losses under a balancer, before its update and after it."""

    def __init__(self, balancer: Balancer, losses: Losses, labelled: Means, *, weights: Mapping[str, float], fabric: Engine) -> None:
        self._balancer, self._labelled, self._fabric = balancer, labelled, fabric
        self._means = summed(losses.heads, fabric)
        self.factors = balancer.factors(self._means, labelled)
        total = torch.stack([loss * weights[head] * self.factors[head] for head, loss in losses.heads.items()]).sum()
        self.losses = Losses(total, losses.heads)
        # What heads agree on counts in batches without a label of theirs as well, which have no factor there.
        self.of_agreements = {head: torch.where(factor > 0, factor, 1 / len(self.factors)) for head, factor in self.factors.items()}

    def learn(self, *, parts: float) -> None:
        """Add this batch's gradient, of `parts` that share an update."""
        self._balancer.learn(self._means, self._labelled, parts=parts)

    def after_update(self, network: Network, batch: Batch, forward: Callable[[], Mapping[str, Tensor]]) -> None:
        """Learn of the update that this batch, the last of those that share it, has led to.

        `forward` gives its logits again, with all the pictures that it was seen with before: BatchNorm makes them depend on those.
        """
        self._balancer.after_update(self._means, self._labelled, lambda: self._means_again(network, batch, forward))

    def _means_again(self, network: Network, batch: Batch, forward: Callable[[], Mapping[str, Tensor]]) -> Means:
        with torch.no_grad(), self._fabric.autocast(), _statistics_kept(network):
            logits = forward()
            labelled = summed(count_labelled(batch), self._fabric)
            losses = masked_losses(network.heads, logits, batch, weights=dict.fromkeys(logits, 1.0), labelled=labelled)
        return summed(losses.heads, self._fabric)


@contextlib.contextmanager
def _statistics_kept(network: Network) -> Iterator[None]:
    """BatchNorm normalises by the batch, as in training, and does not remember it: it has seen this batch once."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training and each.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _like(value: Tensor, own: Tensor) -> Tensor:
    if value.shape != own.shape:
        raise ValueError(f"expected {tuple(own.shape)}, found {tuple(value.shape)}")
    return value
