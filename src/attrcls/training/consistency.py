"""Learning from pictures without a label: a head's answer to a weak view of a picture is its target for a strong view of it.

A method says what target the weak view's answer makes, and when it is sure enough to count. A new one is a function here and a
line in `CONSISTENCY`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attrcls.engine import Engine, summed
from attrcls.errors import UserError
from attrcls.model.heads import Head
from attrcls.sections import UnlabelledSpec
from attrcls.types import Agreement

# FreeMatch's running means forget so slowly, once they have seen a few thousand batches.
_MOMENTUM = 0.999


class Judged(NamedTuple):
    """Of each sample `(batch,)`: the cross-entropy of its strong view against what its weak view says, and whether it counts."""

    loss: Tensor
    used: Tensor


@dataclass(frozen=True)
class Method:
    """`judge(weak, strong, thresholds, temperature)`: see `uda`. `confidence` and `temperature` are its paper's; a method without a
    confidence finds a threshold for each class as it goes, and one without a temperature takes none."""

    judge: Callable[[Tensor, Tensor, Tensor, float], Judged]
    confidence: float | None
    temperature: float | None = None


def uda(weak: Tensor, strong: Tensor, thresholds: Tensor, temperature: float) -> Judged:
    """Unsupervised data augmentation (Xie et al., NeurIPS 2020, equation 1, with its confidence-based masking and sharpening):
    CE(softmax(z / τ), q) where max p ≥ β, with z and p the weak view's logits and probabilities, q the strong view's.

    `weak`: probabilities `(batch, classes)`, without gradient. `strong`: log-probabilities. `thresholds` `(classes,)`: β of each
    class that the weak view may say. `temperature`: τ; p^(1/τ) over its sum is softmax(z / τ).
    """
    # Over the largest first: at a low temperature all powers of an unsure answer would be 0.
    powers = (weak / weak.amax(dim=1, keepdim=True)) ** (1 / temperature)
    target = powers / powers.sum(dim=1, keepdim=True)
    return Judged(-(target * strong).sum(dim=1), _sure(weak, thresholds))


def fixmatch(weak: Tensor, strong: Tensor, thresholds: Tensor, temperature: float = 1.0) -> Judged:
    """FixMatch (Sohn et al., NeurIPS 2020, equation 4): H(argmax p, q) where max p ≥ τ; arguments as of `uda`, the temperature unused."""
    return Judged(F.nll_loss(strong, weak.argmax(dim=1), reduction="none"), _sure(weak, thresholds))


def _sure(weak: Tensor, thresholds: Tensor) -> Tensor:
    confidence, said = weak.max(dim=1)
    return confidence >= thresholds[said]


# FreeMatch's loss is FixMatch's under thresholds of its own; its fairness term is left out.
CONSISTENCY: dict[str, Method] = {
    "uda": Method(uda, confidence=0.8, temperature=0.4),
    "fixmatch": Method(fixmatch, confidence=0.95),
    "freematch": Method(fixmatch, confidence=None),
}


def first_means(classes: int) -> Tensor:
    """What FreeMatch's running means begin with, 1 / classes all: `(1 + classes,)`, the weak views' mean confidence and mean probabilities."""
    return torch.full((1 + classes,), 1 / classes)


def moved_means(means: Tensor, batch: Tensor, *, step: int) -> Tensor:
    """λ · means + (1 − λ) · the batch's own means (FreeMatch, Wang et al., ICLR 2023, its self-adaptive global and local thresholds).

    The paper's λ of 0.999 would hardly leave 1 / classes in a training of a few hundred steps. So in step n, from 0, λ is
    min(0.999, (1 + n) / (10 + n)), as of the moving average of the weights.
    """
    return torch.lerp(means, batch, 1 - min(_MOMENTUM, (1 + step) / (10 + step)))


def free_thresholds(means: Tensor) -> Tensor:
    """Each class's threshold `(classes,)`: the mean confidence, times the class's mean probability over the largest one (FreeMatch)."""
    return means[0] * means[1:] / means[1:].max()


def check_unlabelled(spec: UnlabelledSpec) -> None:
    """Raises:
    UserError: choices that the method does not know.
    """
    method = CONSISTENCY[spec.method]
    for key, value, known in (
        ("temperature", spec.temperature, method.temperature is not None),
        ("tsa", spec.tsa, spec.method == "uda"),
        ("confidence", spec.confidence, method.confidence is not None),
    ):
        if value is not None and not known:
            others = [name for name, other in CONSISTENCY.items() if (other.confidence if key == "confidence" else other.temperature) is not None]
            raise UserError(f"unlabelled.{key}: {spec.method} knows none; leave it out, or use unlabelled.method: {' or '.join(others)}")


class Consistency:
    """The consistency losses of a training's batches. `running` holds FreeMatch's means by head, and is changed in place."""

    def __init__(self, spec: UnlabelledSpec, *, weights: Mapping[str, float], running: dict[str, Tensor], fabric: Engine) -> None:
        """`weights`: of the heads' losses."""
        self._method = CONSISTENCY[spec.method]
        self._temperature = spec.temperature or self._method.temperature or 1.0
        self._confidence = self._method.confidence if spec.confidence is None else spec.confidence
        self._weights = {head: weight * spec.weight for head, weight in weights.items()}
        self._running, self._fabric = running, fabric

    def __call__(
        self,
        heads: Mapping[str, Head],
        weak: Mapping[str, Tensor],
        strong: Mapping[str, Tensor],
        wanted: Mapping[str, Tensor],
        *,
        step: int,
        factors: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Agreement]]:
        """The weighted sum to minimise, and what each head learned of the samples that it is `wanted` for.

        `weak` and `strong`: logits `(batch, …)` of each head; `wanted[head]`: bool `(batch,)`. `step` counts the training's from 0. A
        head's loss is its sum over the samples that count, divided by the number of all wanted ones of all processes, as in the papers.
        `factors`: what heads' losses are multiplied by against each other, these too.
        """
        answers = {head: heads[head].probabilities(weak[head].detach()) for head in wanted}
        # Of the wanted samples of all processes: their number, and the sums of their confidences and probabilities.
        sums = summed({head: _sums(answers[head], wanted[head]) for head in wanted}, self._fabric)
        losses, used = {}, {}
        for head, answer in answers.items():
            thresholds = self._thresholds(head, sums[head], step=step)
            # The smallest normal number: a logarithm, and a gradient, of any probability that float32 tells from 0.
            said = heads[head].probabilities(strong[head]).clamp(min=torch.finfo(torch.float32).tiny).log()
            judged = self._method.judge(answer, said, thresholds, self._temperature)
            counts = wanted[head] & judged.used
            losses[head] = torch.where(counts, judged.loss, judged.loss.new_zeros(())).sum() / sums[head][0].clamp(min=1)
            used[head] = counts.sum().float()
        total = torch.stack([losses[head] * self._weights[head] * (factors[head] if factors else 1) for head in losses]).sum()
        told = summed({head: torch.stack([losses[head].detach(), used[head]]) for head in losses}, self._fabric)
        return total, {head: Agreement(told[head][0], told[head][1], sums[head][0]) for head in losses}

    def _thresholds(self, head: str, sums: Tensor, *, step: int) -> Tensor:
        classes = len(sums) - 2
        if self._confidence is not None:
            return sums.new_full((classes,), self._confidence)
        means = self._running.get(head, first_means(classes)).to(sums.device)
        # A batch without a sample moves nothing.
        moved = moved_means(means, sums[1:] / sums[0].clamp(min=1), step=step)
        self._running[head] = torch.where(sums[0] > 0, moved, means)
        return free_thresholds(self._running[head])


def _sums(answers: Tensor, wanted: Tensor) -> Tensor:
    """Of the wanted samples: their number, the sum of their confidences, and of each class's probabilities; `(2 + classes,)`."""
    every = torch.cat([torch.ones_like(answers[:, :1]), answers.max(dim=1, keepdim=True).values, answers], dim=1)
    return torch.where(wanted[:, None], every, every.new_zeros(())).sum(dim=0)
