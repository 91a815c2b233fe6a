"""The trunk and its heads as one module, and the one place where losses are masked, reduced and weighted."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from attrcls.model.fused import fused
from attrcls.model.heads import Head, build_head
from attrcls.model.losses import LossContext
from attrcls.model.rsg import Made, RareSamples, build_rare_samples
from attrcls.model.trunk import build_trunk
from attrcls.sections import ImageSpec
from attrcls.task import Task
from attrcls.types import Batch, Mixed

# Beside the heads' names, none of which is blank.
MADE = ""


class Network(nn.Module):
    """Pictures to one tensor of logits per head. The trunk may run in bf16; heads and logits are float32."""

    def __init__(self, trunk: nn.Module, heads: Mapping[str, Head], *, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.trunk = trunk
        # A prefix, because an attribute may be called `type` or `train`, which a module may not.
        self.head_modules = nn.ModuleDict({f"head_{name}": head for name, head in heads.items()})
        # In training alone: what makes samples of rare classes of this head.
        self.rare_samples: RareSamples | None = None
        self.rare_head: str | None = None
        self.freeze_trunk = False
        self.freeze_bn = False
        # In units of a byte, so that one multiply and one add normalise a uint8 picture. Not saved: the task says them.
        scale = 1 / (255 * torch.tensor(std))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-torch.tensor(mean) * 255 * scale).view(1, 3, 1, 1), persistent=False)

    @property
    def heads(self) -> dict[str, Head]:
        """The heads by attribute."""
        return {name.removeprefix("head_"): cast("Head", head) for name, head in self.head_modules.items()}

    def forward(self, images: Tensor, rare_targets: Tensor | None = None, rare_present: Tensor | None = None) -> dict[str, Tensor]:
        """uint8 `(batch, 3, px, px)` RGB, or float `(batch, features)`, to float32 logits `(batch, classes)` per head.

        With the labels of `rare_head`, in training, samples are made as well; under `MADE`, which no head is called, is then what they
        add to the loss, a scalar.
        """
        if rare_targets is not None and rare_present is not None and self.rare_samples is not None and not self.freeze_trunk:
            return self._with_made(images, rare_targets, rare_present)
        features = self.extract(images) if images.dtype == torch.uint8 else images
        with torch.autocast(features.device.type, enabled=False):
            return {name: head(features) for name, head in self.heads.items()}

    def _with_made(self, images: Tensor, targets: Tensor, present: Tensor) -> dict[str, Tensor]:
        assert self.rare_samples is not None
        assert self.rare_head is not None
        made: list[Made] = []

        def add(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
            with torch.autocast(images.device.type, enabled=False):
                made.append(self.rare_samples(inputs[0], targets, present))  # type: ignore[misc]
            return torch.cat([inputs[0], made[0].maps.to(inputs[0].dtype)])

        stage = cast("nn.Module", self.trunk.layer4).register_forward_pre_hook(add)
        try:
            features = self.extract(images)
        finally:
            stage.remove()
        own, of_made, head = features[: len(images)], features[len(images) :], self.heads[self.rare_head]
        with torch.autocast(features.device.type, enabled=False):
            logits = {name: each(own) for name, each in self.heads.items()}
            # As if the mean were over both, but that the pictures' own part stays what it is.
            total = head.loss(head(of_made), made[0].targets).sum() / (present.sum() + len(of_made)).clamp(min=1)
        return {**logits, MADE: total + made[0].loss}

    def extract(self, images: Tensor) -> Tensor:
        """uint8 `(batch, 3, px, px)` to float32 features `(batch, features)`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_trunk):
            features: Tensor = self.trunk(self.normalised(images))
        return features.flatten(1).float()

    def normalised(self, images: Tensor) -> Tensor:
        """uint8 `(batch, 3, px, px)` to float32 with the task's mean taken off, over its standard deviation."""
        return torch.addcmul(self.shift, images.to(self.scale.dtype), self.scale)

    def train(self, mode: bool = True) -> "Network":
        """Training mode; a frozen trunk stays in eval mode, so that its BatchNorm keeps its statistics, and so does frozen BatchNorm."""
        super().train(mode)
        if self.freeze_trunk:
            self.trunk.eval()
        for module in self.trunk.modules() if self.freeze_bn else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def for_inference(self) -> "Network":
        """The same heads on a fused copy of the trunk, in eval mode; the network itself goes to eval mode too."""
        quick = copy.copy(self.eval())
        quick._modules = {**self._modules, "trunk": fused(self.trunk)}
        return quick

    def start_epoch(self, epoch: int) -> None:
        """Tell every head that an epoch, counted from 0, begins."""
        for each in (*self.heads.values(), *([self.rare_samples] if self.rare_samples is not None else ())):
            each.start_epoch(epoch)

    def set_trunk_frozen(self, frozen: bool) -> None:
        """Freeze the trunk or let it learn."""
        self.freeze_trunk = frozen
        self.trunk.requires_grad_(not frozen)


@dataclass(frozen=True)
class Losses:
    """`total` is the weighted sum to minimise; `heads` each head's mean over its labelled samples. All scalars."""

    total: Tensor
    heads: dict[str, Tensor]


def build_network(
    task: Task, class_counts: Mapping[str, Sequence[int]], *, weights: str, cuts: Mapping[str, Sequence[float]] | None = None
) -> tuple[Network, str]:
    """The task's network, and in words which trunk weights were loaded. Random numbers come from torch's generator. `cuts` are of heads that
    learn from the numbers that their classes were cut from.

    Raises:
        UserError: unknown trunk, loss or head kind, or weights that do not fit.
    """
    image: ImageSpec = task.image
    trunk = build_trunk(task.trunk.name, px=image.px, weights=weights)
    contexts = {
        name: LossContext(torch.tensor(class_counts[name]), spec.label_smoothing, task.epochs, tuple((cuts or {}).get(name, ())))
        for name, spec in task.heads.items()
    }
    heads = {name: build_head(spec, features=trunk.features, context=contexts[name]) for name, spec in task.heads.items()}
    network = Network(trunk.module, heads, mean=image.mean, std=image.std)
    network.freeze_bn = task.trunk.freeze_bn
    return network, trunk.loaded


def add_rare_samples(network: Network, task: Task, class_counts: Mapping[str, Sequence[int]]) -> None:
    """Give a network, for training, what the task's `rsg` asks for, if it does.

    Raises:
        UserError: no class of the head is rare.
    """
    if task.rsg:
        counts = torch.tensor(class_counts[task.rsg.head])
        network.rare_samples = build_rare_samples(network.trunk, counts, task.rsg, epochs=task.epochs)
        network.rare_head = task.rsg.head


def count_labelled(batch: Batch) -> dict[str, Tensor]:
    """How many of the batch's samples have each head's label, int64 scalars; of a mixed one the sum of the shares that do, float32."""
    own = {name: present.sum() for name, present in batch.present.items()}
    if batch.mixed is None:
        return own
    return {name: torch.lerp(batch.mixed.present[name].sum().float(), count.float(), batch.mixed.own_share) for name, count in own.items()}


def masked_losses(
    heads: Mapping[str, Head],
    logits: Mapping[str, Tensor],
    batch: Batch,
    *,
    weights: Mapping[str, float],
    labelled: Mapping[str, Tensor] | None = None,
) -> Losses:
    """Each head's mean loss over the samples that have its label; a head without any adds exactly zero.

    Where the batch is one process's share, `labelled` counts those of all shares: the means of all processes then add up to the
    whole batch's. A mixed sample counts with each side's share that has the label.
    """
    labelled = count_labelled(batch) if labelled is None else labelled
    means = {}
    for name, values in logits.items():
        total = _sum_over_labelled(heads[name], values, batch, name)
        if batch.mixed is not None:
            others = _sum_over_labelled(heads[name], values, batch.mixed, name)
            total = batch.mixed.own_share * total + (1 - batch.mixed.own_share) * others
        means[name] = total / labelled[name].clamp(min=1)
    total = torch.stack([means[name] * weights[name] for name in means]).sum()
    return Losses(total, means)


def _sum_over_labelled(head: Head, logits: Tensor, labels: Batch | Mixed, name: str) -> Tensor:
    per_sample = head.loss(logits, labels.targets[name], labels.numbers.get(name))
    # where, not a product: an infinite loss of a masked sample must not become NaN.
    return torch.where(labels.present[name], per_sample, per_sample.new_zeros(())).sum()
