"""Losses by name. A new one is a function here and a line in `LOSSES`; its options are the function's keywords.

A builder gets a `LossContext` and returns a `Loss`, which is per sample: logits float32 `(batch, classes)` and targets int64
`(batch,)` to `(batch,)`. Masking and reduction happen once, in `network.py`.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field, create_model
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.spec import Spec, parse_spec, suggest

# A power of zero has no finite gradient below 1.
_TINY = 1e-7
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Part = Annotated[float, Field(ge=0, lt=1)]
WholePart = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class LossContext:
    """What a loss may know: the train split's labelled rows per class `(classes,)`, after cleaning, times their cards' ratios and before
    balancing, the task's smoothing (0–1), how many epochs it has, and where the number behind the classes is cut, if one is."""

    class_counts: Tensor
    label_smoothing: float = 0.0
    epochs: int = 1
    cuts: tuple[float, ...] = ()


class Loss(nn.Module):
    """Softmax cross-entropy with label smoothing (Szegedy et al. 2016, section 7), times the given class's weight.

    `weights` are `(classes,)`. What a loss knows of the classes is a buffer, on the network's device, and not saved: a
    trained model does without. A loss that is another sum replaces `per_sample`.
    """

    # Where a loss wants logits that are cosines, of features and each class's weights, times this.
    cosine_scale: float | None = None

    def __init__(self, context: LossContext, *, weights: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = context.label_smoothing
        self.weights: Tensor
        self.register_buffer("weights", torch.ones(len(context.class_counts)) if weights is None else weights, persistent=False)

    def start_epoch(self, epoch: int) -> None:
        """Be told that an epoch, counted from 0, begins."""

    def forward(self, logits: Tensor, targets: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Losses `(batch,)` of logits `(batch, outputs)` against class indices `(batch,)`; `numbers` are for a loss that learns from them."""
        return self.per_sample(logits, targets) * self.weights[targets]

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The same, before the weights."""
        return F.cross_entropy(logits, targets, reduction="none", label_smoothing=self.label_smoothing)


def softmax_probabilities(logits: Tensor) -> Tensor:
    """`(…, classes)` to the same, each row summing to 1."""
    return logits.softmax(dim=-1)


def effective_weights(class_counts: Tensor, *, beta: float) -> Tensor:
    """A weight per class in proportion to 1 / its effective number of rows, (1 − βⁿ) / (1 − β) (Cui et al. 2019, equation 2).

    β = 0 weighs all alike. The train rows' mean weight is 1, so that a head's loss keeps its size beside the other heads'; it is what
    the authors' mean over a batch, divided by the batch's weights, comes to.
    """
    counts = class_counts.double()
    weights = (1 - beta) / (1 - beta ** counts.clamp(min=1))
    return (weights * counts.sum().clamp(min=1) / (weights * counts).sum().clamp(min=1)).float()


def cross_entropy(context: LossContext, *, beta: Part = 0.0) -> Loss:
    """Softmax cross-entropy; with `beta` above 0, rare classes weigh more, by their effective number (Cui et al. 2019)."""
    return Loss(context, weights=effective_weights(context.class_counts, beta=beta))


def focal(context: LossContext, *, gamma: NotNegative = 2.0, beta: Part = 0.0) -> Loss:
    """Focal loss, (1 − p)^γ · cross-entropy with p the given label's probability (Lin et al. 2017, equation 4)."""
    return _Focal(context, gamma, weights=effective_weights(context.class_counts, beta=beta))


class _Focal(Loss):
    def __init__(self, context: LossContext, gamma: float, *, weights: Tensor) -> None:
        super().__init__(context, weights=weights)
        self._gamma = gamma

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        given = F.log_softmax(logits, dim=1).gather(1, targets[:, None]).squeeze(1)
        return _power(1 - given.exp(), self._gamma) * super().per_sample(logits, targets)


def balanced_softmax(context: LossContext) -> Loss:
    """Cross-entropy of logits plus the logarithm of each class's rows (Ren et al. 2020, equation 3)."""
    return _Shifted(context, _log_prior(context.class_counts))


def logit_adjusted(context: LossContext, *, tau: NotNegative = 1.0) -> Loss:
    """Cross-entropy of logits plus τ · the logarithm of each class's share of the rows (Menon et al. 2021, equation 10)."""
    return _Shifted(context, tau * _log_prior(context.class_counts))


class _Shifted(Loss):
    """Cross-entropy of logits + `shift` `(classes,)`, smoothed towards softmax(shift): what logits that prefer no class say.

    Were it smoothed towards all classes alike, a row fitted to (1 − ε) y + ε / K would prefer, without the shift, a class that has less than
    about ε / K of its own class's rows.
    """

    def __init__(self, context: LossContext, shift: Tensor) -> None:
        super().__init__(context)
        self._shift: Tensor
        self.register_buffer("_shift", shift, persistent=False)

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        logs = F.log_softmax(logits + self._shift, dim=1)
        given, spread = F.nll_loss(logs, targets, reduction="none"), -(logs * self._shift.softmax(dim=0)).sum(dim=1)
        return (1 - self.label_smoothing) * given + self.label_smoothing * spread


def ldam(context: LossContext, *, margin: Positive = 0.5, scale: Positive = 30.0, deferred: WholePart = 0.8, beta: Part = 0.9999) -> Loss:
    """Label-distribution-aware margins, with deferred re-weighting (Cao et al. 2019, equations 10 to 13).

    The given class's cosine loses a margin in proportion to its rows^−1/4, at most `margin`. After the share `deferred` of the epochs rare
    classes weigh more, by their effective number; 1 leaves that out. The paper has no label smoothing.
    """
    return _Ldam(context, margin, scale, deferred_epochs=round(deferred * context.epochs), beta=beta)


class _Ldam(Loss):
    def __init__(self, context: LossContext, margin: float, scale: float, *, deferred_epochs: int, beta: float) -> None:
        super().__init__(context)
        rarity = context.class_counts.double().clamp(min=1) ** -0.25
        # Of the classes that have rows: one without is nowhere given, and would take margin from those.
        largest = torch.where(context.class_counts > 0, rarity, 0.0).max()
        self.cosine_scale = scale
        self._deferred_epochs = deferred_epochs
        self._margins: Tensor
        self._deferred_weights: Tensor
        self.register_buffer("_margins", (scale * margin * (rarity / largest).clamp(max=1)).float(), persistent=False)
        self.register_buffer("_deferred_weights", effective_weights(context.class_counts, beta=beta), persistent=False)

    def start_epoch(self, epoch: int) -> None:
        if epoch >= self._deferred_epochs:
            self.weights.copy_(self._deferred_weights)

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        given = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        return super().per_sample(logits - given * self._margins, targets)


def asymmetric(context: LossContext, *, gamma_given: NotNegative = 0.0, gamma_other: NotNegative = 4.0) -> Loss:
    """The asymmetric loss for one label of several (Ridnik et al. 2021, and `ASLSingleLabel` in the authors' code).

    Each class's log p is focused by (1 − p)^γ where it is the given one and by p^γ where it is another, whose part in the sum is label
    smoothing's: without smoothing, and with `gamma_given` 0, it is cross-entropy.
    """
    return _Asymmetric(context, gamma_given, gamma_other)


class _Asymmetric(Loss):
    def __init__(self, context: LossContext, gamma_given: float, gamma_other: float) -> None:
        super().__init__(context)
        self._gamma_given, self._gamma_other = gamma_given, gamma_other

    def per_sample(self, logits: Tensor, targets: Tensor) -> Tensor:
        logs = F.log_softmax(logits, dim=1)
        given = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
        smoothed = given * (1 - self.label_smoothing) + self.label_smoothing / logits.shape[1]
        focus = torch.where(given.bool(), _power(1 - logs.exp(), self._gamma_given), _power(logs.exp(), self._gamma_other))
        return -(smoothed * focus * logs).sum(dim=1)


LOSSES: dict[str, Callable[..., Loss]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "ldam": ldam,
    "balanced_softmax": balanced_softmax,
    "logit_adjusted": logit_adjusted,
    "asymmetric": asymmetric,
}

# Those whose answers are for even classes, whatever the train rows': to adjust them would do so twice.
PRIOR_LOSSES = ("balanced_softmax", "logit_adjusted")


def build_loss(name: str, context: LossContext, options: Mapping[str, float] | None = None) -> Loss:
    """The loss of that name.

    Raises:
        UserError: there is none, or it has no such option.
    """
    if name not in LOSSES:
        raise UserError(f"loss: no loss {name!r}{suggest(name, LOSSES)} (losses: {', '.join(LOSSES)})")
    return LOSSES[name](context, **checked_options(LOSSES[name], options or {}, name=name, where="loss_options"))


def checked_options(builder: Callable[..., Any], options: Mapping[str, float], *, name: str, where: str) -> dict[str, Any]:
    """Options for a builder's keywords, which say what each may be; those that are not given are left to it.

    `where` names the key of the file that the options come from. Raises:
        ProblemsError: unknown options, or values out of range; all of them.
        UserError: the builder, called `name` by people, takes none.
    """
    fields: dict[str, Any] = {
        key: (each.annotation, each.default)
        for key, each in inspect.signature(builder).parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if options and not fields:
        raise UserError(f"{where}: {name} takes no options, found {', '.join(options)}; leave them out")
    return parse_spec(create_model("Options", __base__=Spec, **fields), options, file=where).model_dump(include=set(options))


def _log_prior(class_counts: Tensor) -> Tensor:
    # A class without rows counts as the most frequent: called rare, it would hardly be learned against, and said of pictures of no class.
    counts = torch.where(class_counts > 0, class_counts, class_counts.max()).double().clamp(min=1)
    return (counts / counts.sum()).log().float()


def _power(share: Tensor, exponent: float) -> Tensor:
    return share.clamp(min=_TINY) ** exponent
