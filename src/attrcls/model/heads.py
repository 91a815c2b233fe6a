"""Heads by kind. A kind owns its outputs, loss and decoding; the loop and the network know none of them by name."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.model.losses import LOSSES, Loss, LossContext, build_loss, checked_options, softmax_probabilities
from attrcls.model.ordinal import ORDINALS, check_classes
from attrcls.sections import HeadSpec
from attrcls.spec import suggest

DEFAULT_ORDINAL = "corn"


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


class Head(nn.Module):
    """Features to outputs, their loss and their probabilities: `last` behind dropout and one hidden layer, where these are wanted.

    `classes` are what it tells apart, `outputs` its logits, which a kind of head may have fewer of.
    """

    def __init__(
        self, last: Callable[[int], nn.Module], *, features: int, classes: int, outputs: int, hidden: int | None, dropout: float, loss: Loss,
        decode: Callable[[Tensor], Tensor],
    ) -> None:  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        if hidden:
            layers += [nn.Linear(features, hidden), nn.ReLU(inplace=True)]
        if dropout:
            layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers, last(hidden or features))
        self.classes, self.outputs = classes, outputs
        self._loss, self._decode = loss, decode

    def forward(self, features: Tensor) -> Tensor:
        """Float32 `(batch, features)` to logits `(batch, outputs)`."""
        logits: Tensor = self.layers(features)
        return logits

    def start_epoch(self, epoch: int) -> None:
        """Tell the loss that an epoch, counted from 0, begins."""
        self._loss.start_epoch(epoch)

    def loss(self, logits: Tensor, targets: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Per-sample losses `(batch,)` of logits `(batch, outputs)` against class indices `(batch,)`, and where the head learns from what
        these were cut from, `numbers` `(batch,)`, NaN where one is not known."""
        losses: Tensor = self._loss(logits, targets, numbers)
        return losses

    def probabilities(self, logits: Tensor) -> Tensor:
        """`(…, outputs)` to `(…, classes)`, each row summing to 1."""
        return self._decode(logits)


def softmax_head(spec: HeadSpec, *, features: int, context: LossContext) -> Head:
    """One of several classes: a linear layer, or cosines where the loss wants them."""
    classes, loss = len(context.class_counts), build_loss(spec.loss, context, spec.loss_options)
    scale = loss.cosine_scale

    def last(width: int) -> nn.Module:
        return CosineLinear(width, classes, scale=scale) if scale else nn.Linear(width, classes)

    return Head(
        last, features=features, classes=classes, outputs=classes, hidden=spec.hidden, dropout=spec.dropout, loss=loss, decode=softmax_probabilities
    )


def ordinal_head(spec: HeadSpec, *, features: int, context: LossContext) -> Head:
    """One of several classes that have an order, in the way that `ordinal` names.

    Raises:
        UserError: there is one class only.
    """
    classes = len(context.class_counts)
    check_classes(classes)
    name = spec.ordinal or DEFAULT_ORDINAL
    way = ORDINALS[name](context, **checked_options(ORDINALS[name], spec.loss_options, name=name, where="loss_options"))
    return Head(
        way.last, features=features, classes=classes, outputs=way.outputs, hidden=spec.hidden, dropout=spec.dropout, loss=way.loss, decode=way.decode
    )


HEADS: dict[str, Callable[..., Head]] = {"softmax": softmax_head, "ordinal": ordinal_head}


def build_head(spec: HeadSpec, *, features: int, context: LossContext) -> Head:
    """A head of the kind that the task names, for the classes counted in `context`.

    Raises:
        UserError: no such kind or loss, or options that the loss does not have.
    """
    if spec.kind not in HEADS:
        raise UserError(f"head kind: no kind {spec.kind!r}{suggest(spec.kind, HEADS)} (kinds: {', '.join(HEADS)})")
    return HEADS[spec.kind](spec, features=features, context=context)


def learns_numbers(spec: HeadSpec) -> bool:
    """Whether a head is taught by the numbers that its classes were cut from."""
    return spec.ordinal == "soft" and "sigma" in spec.loss_options


def check_loss_options(spec: HeadSpec, *, where: str) -> None:
    """Refuse, before a head is built, options that its loss does not have; `where` names their key in a file.

    Raises:
        UserError: which, and which there are.
    """
    name, table = (spec.ordinal or DEFAULT_ORDINAL, ORDINALS) if spec.kind == "ordinal" else (spec.loss, LOSSES)
    checked_options(table[name], spec.loss_options, name=name, where=where)
