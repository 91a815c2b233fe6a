"""Losses, outputs and decoding for classes that have an order, such as bands of age: a near miss is better than a far one.

A new way is a function here and a line in `ORDINALS`; its options are the function's keywords.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.model.losses import Loss, LossContext, Part, Positive, effective_weights, softmax_probabilities


@dataclass(frozen=True)
class Ordinal:
    """`loss` takes logits `(batch, outputs)`; `last(width)` is the layer that makes them of features `(batch, width)`; `decode` turns
    `(…, outputs)` into probabilities `(…, classes)`."""

    loss: Loss
    outputs: int
    last: Callable[[int], nn.Module]
    decode: Callable[[Tensor], Tensor]


class _Corn(Loss):
    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        return -corn_log_probabilities(logits).gather(1, targets[:, None]).squeeze(1)


def corn(context: LossContext, *, beta: Part = 0.0) -> Ordinal:
    """Each output is whether a label lies beyond class k, given that it lies beyond class k − 1 (CORN, Shi et al. 2023).

    A sample teaches only the outputs whose condition it meets; their sum is the negative logarithm of its class's probability, with which
    the authors' sum agrees but for the number that a batch's is divided by.
    """
    outputs = len(context.class_counts) - 1
    loss = _Corn(context, weights=effective_weights(context.class_counts, beta=beta))
    return Ordinal(loss, outputs, lambda width: nn.Linear(width, outputs), corn_probabilities)


def corn_log_probabilities(logits: Tensor) -> Tensor:
    """`(…, classes − 1)` to `(…, classes)`: log P(y = k) = the sum over j < k of log σ(z_j), plus log(1 − σ(z_k)) but for the last class."""
    reached = F.pad(F.logsigmoid(logits).cumsum(dim=-1), (1, 0))
    return reached + F.pad(F.logsigmoid(-logits), (0, 1))


def corn_probabilities(logits: Tensor) -> Tensor:
    """`(…, classes − 1)` to `(…, classes)`."""
    return corn_log_probabilities(logits).exp()


class _Coral(Loss):
    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        beyond = (targets[:, None] > torch.arange(logits.shape[1], device=targets.device)).to(logits.dtype)
        return F.binary_cross_entropy_with_logits(logits, beyond, reduction="none").sum(dim=1)


class CoralLinear(nn.Module):
    """One weight vector for all thresholds, and a bias for each. A bias is never above the one before, so that no class's probability is
    negative: the paper's are so at the optimum only, here each is the one before less a softplus."""

    def __init__(self, features: int, thresholds: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(features, 1, bias=False).weight.detach())
        self.steps = nn.Parameter(torch.zeros(thresholds))

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, features)` to `(batch, thresholds)`, falling along each row."""
        bias = self.steps[0] - F.pad(F.softplus(self.steps[1:]).cumsum(dim=0), (1, 0))
        return F.linear(features, self.weight.expand(len(bias), -1), bias)


def coral(context: LossContext, *, beta: Part = 0.0) -> Ordinal:
    """Each output is whether a label lies beyond class k, all along one direction of the features (CORAL, Cao et al. 2020, equation 4)."""
    outputs = len(context.class_counts) - 1
    loss = _Coral(context, weights=effective_weights(context.class_counts, beta=beta))
    return Ordinal(loss, outputs, lambda width: CoralLinear(width, outputs), coral_probabilities)


def coral_probabilities(logits: Tensor) -> Tensor:
    """`(…, classes − 1)` that fall along each row to `(…, classes)`: P(y = k) = P(y > k − 1) − P(y > k)."""
    beyond = logits.sigmoid()
    # Rounding may put one a little below the next.
    return (F.pad(beyond, (1, 0), value=1.0) - F.pad(beyond, (0, 1))).clamp(min=0)


class _Soft(Loss):
    def __init__(self, context: LossContext, *, weights: Tensor, temperature: float, sigma: float | None) -> None:
        super().__init__(context, weights=weights)
        at = torch.arange(len(context.class_counts), dtype=torch.float64)
        self._soft: Tensor
        self._cuts: Tensor
        soft = (-(at[:, None] - at).abs() / temperature).softmax(dim=1)
        self.register_buffer("_soft", soft.float(), persistent=False)
        self.register_buffer("_cuts", torch.tensor(context.cuts), persistent=False)
        self._sigma = sigma

    def forward(self, logits: Tensor, targets: Tensor, numbers: Tensor | None = None) -> Tensor:
        labels = self._soft[targets]
        if self._sigma and numbers is not None:
            labels = torch.where(numbers.isnan()[:, None], labels, labels_around(numbers.nan_to_num(), self._cuts, sigma=self._sigma))
        return -(labels * F.log_softmax(logits, dim=1)).sum(dim=1) * self.weights[targets]


def labels_around(numbers: Tensor, cuts: Tensor, *, sigma: float) -> Tensor:
    """Soft labels `(batch, cuts + 1)` of `numbers` `(batch,)`: how much of a normal distribution around each, with `sigma` as its standard
    deviation, lies between two cut points (Imani & White 2018, section 3; Geng 2016 for ages).

    Raises:
        ValueError: there are no cut points, as in a network that was built to predict.
    """
    if not len(cuts):
        raise ValueError("expected one cut point or more, found none")
    below = torch.special.ndtr((cuts - numbers[:, None]) / sigma)
    return (F.pad(below, (0, 1), value=1.0) - F.pad(below, (1, 0))).clamp(min=0)


def soft(context: LossContext, *, temperature: Positive = 0.5, sigma: Positive | None = None, beta: Part = 0.0) -> Ordinal:
    """A softmax taught with soft labels, exp(−|i − j| / temperature) of class i for a label j, over their sum (Díaz & Marathe 2019).

    With `sigma`, in units of the number that the classes were cut from, labels are softer the nearer a number lies to a cut point:
    `labels_around`. Where a row's number is not known its label is the other one.
    """
    classes = len(context.class_counts)
    loss = _Soft(context, weights=effective_weights(context.class_counts, beta=beta), temperature=temperature, sigma=sigma)
    return Ordinal(loss, classes, lambda width: nn.Linear(width, classes), softmax_probabilities)


ORDINALS: dict[str, Callable[..., Ordinal]] = {"corn": corn, "coral": coral, "soft": soft}


def check_classes(classes: int) -> None:
    """Raises:
    UserError: there is no order among so few classes.
    """
    if classes < 2:
        raise UserError(f"an ordinal head needs two classes or more, found {classes}; make it kind: softmax")
