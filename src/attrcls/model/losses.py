"""Losses by name. A new one is a function here and a line in `LOSSES`.

A builder gets a `LossContext` and returns a per-sample loss: logits float32 `(batch, classes)` and targets int64
`(batch,)` to `(batch,)`. Masking and reduction happen once, in `network.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from attrcls.errors import UserError
from attrcls.spec import suggest

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LossContext:
    """What a loss may know: the train split's labelled rows per class `(classes,)`, and the task's smoothing (0–1)."""

    class_counts: Tensor
    label_smoothing: float = 0.0


def cross_entropy(context: LossContext) -> Loss:
    """Softmax cross-entropy, with label smoothing (Szegedy et al. 2016, section 7)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=context.label_smoothing)

    return loss


def focal(context: LossContext, *, gamma: float = 2.0) -> Loss:
    """Focal loss, (1 − p)^γ · cross-entropy with p the given label's probability (Lin et al. 2017, equation 4)."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        given = F.log_softmax(logits, dim=1).gather(1, targets[:, None]).squeeze(1)
        smoothed = F.cross_entropy(logits, targets, reduction="none", label_smoothing=context.label_smoothing)
        return (1 - given.exp()).clamp(min=0) ** gamma * smoothed

    return loss


LOSSES: dict[str, Callable[[LossContext], Loss]] = {"cross_entropy": cross_entropy, "focal": focal}


def build_loss(name: str, context: LossContext) -> Loss:
    """The loss of that name.

    Raises:
        UserError: there is none.
    """
    if name not in LOSSES:
        raise UserError(f"loss: no loss {name!r}{suggest(name, LOSSES)} (losses: {', '.join(LOSSES)})")
    return LOSSES[name](context)
