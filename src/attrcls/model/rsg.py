"""RSG: samples of rare classes, made in training between the last two stages of a ResNet (Wang et al., CVPR 2021).

A rare sample's feature map is moved as a frequent one lies off the centre of its class. Nothing of this is a part of the trained model.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.sections import RsgSpec

# The paper's weights of its two losses, and the width of what tells pairs apart.
_CENTRE_WEIGHT, _MOVE_WEIGHT, _CONTRAST_WIDTH = 0.1, 0.01, 128


@dataclass(frozen=True)
class Made:
    """`maps`: float32 `(made, channels, height, width)`; `targets`: int64 `(made,)`; `loss`: what the generator itself learns from."""

    maps: Tensor
    targets: Tensor
    loss: Tensor


class RareSamples(nn.Module):
    """Several centres per class, a test of pairs for being of one class, and what turns a frequent sample's offset into a rare one's.

    In the first epochs centres and test are learned; then the test rests, and samples are made.
    """

    def __init__(self, channels: int, class_counts: Tensor, spec: RsgSpec, *, epochs: int) -> None:
        super().__init__()
        classes = len(class_counts)
        self._first_epoch, self._strength, self._makes = round(spec.deferred * epochs), spec.strength, False
        self._rare: Tensor
        self.register_buffer("_rare", class_counts < class_counts.double().mean(), persistent=False)
        self.centres = nn.Parameter(torch.zeros(classes, spec.centres, channels))
        self.assign_weight = nn.Parameter(torch.randn(classes, channels, spec.centres))
        self.assign_bias = nn.Parameter(torch.ones(classes, spec.centres))
        self.move = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.contrast = nn.Sequential(
            nn.Conv2d(2 * channels, _CONTRAST_WIDTH, kernel_size=1), nn.ReLU(inplace=True),
            nn.Conv2d(_CONTRAST_WIDTH, _CONTRAST_WIDTH, kernel_size=3, padding=1),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(_CONTRAST_WIDTH, 2),
        )  # fmt: skip

    def start_epoch(self, epoch: int) -> None:
        """Be told that an epoch, counted from 0, begins."""
        self._makes = epoch >= self._first_epoch
        self.contrast.requires_grad_(not self._makes)

    def forward(self, maps: Tensor, targets: Tensor, present: Tensor) -> Made:
        """Feature maps `(batch, channels, height, width)` with int64 targets and bool presence of labels `(batch,)` to new samples of the
        rare classes: none in the first epochs, or where the batch lacks rare or frequent ones. Nothing flows back into the maps."""
        maps, targets = maps.detach()[present].float(), targets[present]
        loss = _CENTRE_WEIGHT * self._centre_loss(maps, targets)
        rare, frequent = (torch.nonzero(mask).squeeze(1) for mask in (self._rare[targets], ~self._rare[targets]))
        if not self._makes or not len(rare) or not len(frequent):
            return Made(maps[:0], targets[:0], loss)
        fewer, more = sorted((len(rare), len(frequent)))
        pairs = torch.arange(max(1, int(more * self._strength / fewer)) * fewer, device=maps.device)
        rare, frequent = rare[pairs % len(rare)], frequent[pairs % len(frequent)]
        made, move_loss = self._moved(maps[rare], targets[rare], maps[frequent], targets[frequent])
        return Made(made, targets[rare], loss + _MOVE_WEIGHT * move_loss)

    def _centre_loss(self, maps: Tensor, targets: Tensor) -> Tensor:
        """Equation 1 and the test's cross-entropy: squared distances to each centre of the own class, by how likely it is the nearest."""
        positions, pooled, centres = maps.shape[2] * maps.shape[3], maps.mean(dim=(2, 3)), self.centres[targets]
        # Expanded, so that no map is repeated for every centre.
        crossed = torch.einsum("bc,bkc->bk", pooled, centres)
        distances = maps.square().sum(dim=(1, 2, 3))[:, None] + positions * (centres.square().sum(dim=2) - 2 * crossed)
        loss = (self._assigned(maps, targets) * distances).sum() / max(1, len(maps))
        half = len(maps) // 2
        if self._makes or not half:
            return loss
        same = (targets[:half] == targets[half : 2 * half]).long()
        return loss + F.cross_entropy(self.contrast(torch.cat([maps[:half], maps[half : 2 * half]], dim=1)), same)

    def _assigned(self, maps: Tensor, targets: Tensor) -> Tensor:
        """How likely each centre of the own class is the nearest, `(batch, centres)`."""
        scores = torch.einsum("bc,bck->bk", maps.mean(dim=(2, 3)), self.assign_weight[targets]) + self.assign_bias[targets]
        return scores.softmax(dim=1)

    def _moved(self, rare: Tensor, rare_targets: Tensor, frequent: Tensor, frequent_targets: Tensor) -> tuple[Tensor, Tensor]:
        """Equations 3 to 5: the new samples; and the loss by which an offset keeps its length, takes the direction of the rare sample's own
        offset, and no longer tells of the frequent class. The centres stay as they are."""
        offset, own_offset = self._offset(frequent, frequent_targets), self._offset(rare, rare_targets)
        moved = self.move(offset)
        lengths = (moved.norm(dim=1) - offset.norm(dim=1)).abs().sum(dim=(1, 2))
        turns = (F.cosine_similarity(moved, own_offset, dim=1) - 1).abs().sum(dim=(1, 2))
        told = self.contrast(torch.cat([frequent, moved], dim=1))
        different = torch.zeros(len(told), dtype=torch.int64, device=told.device)
        return rare + moved, F.cross_entropy(told, different) + (lengths + turns).mean()

    def _offset(self, maps: Tensor, targets: Tensor) -> Tensor:
        with torch.no_grad():
            nearest = self.centres[targets, self._assigned(maps, targets).argmax(dim=1)]
            return maps - nearest[:, :, None, None]


def build_rare_samples(trunk: nn.Module, class_counts: Tensor, spec: RsgSpec, *, epochs: int) -> RareSamples:
    """A generator for the maps that enter the last stage of a ResNet.

    Raises:
        UserError: all classes have as many rows, and none is rare.
    """
    if (class_counts == class_counts[0]).all():
        raise UserError(f"rsg: every class of {spec.head} has {int(class_counts[0])} train rows, and none is rare; leave `rsg` out")
    first: nn.Conv2d = trunk.layer4[0].conv1  # type: ignore[index,union-attr]
    return RareSamples(first.in_channels, class_counts, spec, epochs=epochs)
