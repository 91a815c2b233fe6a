"""Heads by kind. A kind owns its outputs, loss and decoding; the loop and the network know none of them by name."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.model.losses import Loss, LossContext, build_loss
from attrcls.sections import HeadSpec
from attrcls.spec import suggest


class CosineLinear(nn.Module):
    """Cosines of features and each class's weights, times `scale` (the normalised head of Cao et al. 2019)."""

    def __init__(self, features: int, classes: int, *, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, features).uniform_(-1, 1))
        self._scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """`(batch, features)` to `(batch, classes)`, from −scale to scale."""
        # Features of a unit that is dead are zero, and have no direction.
        return F.linear(F.normalize(features, eps=1e-6) * self._scale, F.normalize(self.weight, eps=1e-6))


class SoftmaxHead(nn.Module):
    """One of several classes: a linear layer, optionally behind one hidden layer, and dropout; cosines where the loss wants them."""

    def __init__(self, *, features: int, classes: int, hidden: int | None, dropout: float, loss: Loss) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if hidden:
            layers += [nn.Linear(features, hidden), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width, scale = hidden or features, loss.cosine_scale
        self.layers = nn.Sequential(*layers, CosineLinear(width, classes, scale=scale) if scale else nn.Linear(width, classes))
        self.outputs = classes
        self._loss = loss

    def forward(self, features: Tensor) -> Tensor:
        """Float32 `(batch, features)` to logits `(batch, classes)`."""
        logits: Tensor = self.layers(features)
        return logits

    def start_epoch(self, epoch: int) -> None:
        """Tell the loss that an epoch, counted from 0, begins."""
        self._loss.start_epoch(epoch)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Per-sample losses `(batch,)` of logits `(batch, classes)` against class indices `(batch,)`."""
        losses: Tensor = self._loss(logits, targets)
        return losses

    @staticmethod
    def probabilities(logits: Tensor) -> Tensor:
        """`(…, classes)`, each row summing to 1."""
        return logits.softmax(dim=-1)


HEADS: dict[str, type[SoftmaxHead]] = {"softmax": SoftmaxHead}


def build_head(spec: HeadSpec, *, features: int, context: LossContext) -> SoftmaxHead:
    """A head of the kind that the task names, with one output per class counted in `context`.

    Raises:
        UserError: no such kind or loss.
    """
    if spec.kind not in HEADS:
        raise UserError(f"head kind: no kind {spec.kind!r}{suggest(spec.kind, HEADS)} (kinds: {', '.join(HEADS)})")
    loss = build_loss(spec.loss, context, spec.loss_options)
    classes = len(context.class_counts)
    return HEADS[spec.kind](features=features, classes=classes, hidden=spec.hidden, dropout=spec.dropout, loss=loss)
