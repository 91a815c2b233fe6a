"""The small vocabulary that every layer shares: split names, the missing label, and what flows through training.

Torch is named here for annotations only, so that importing this module costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# The target index of a row that has no label for an attribute.
MISSING = -1
SPLITS = ("train", "val", "test")
ItemT = TypeVar("ItemT")


class Share(NamedTuple):
    """Which of how many processes this is: each takes a share of every batch."""

    rank: int = 0
    processes: int = 1

    def of(self, items: Sequence[ItemT]) -> Sequence[ItemT]:
        """This process's items, the same for the same process; shares differ by one item at most, and may be empty."""
        return items[self.rank :: self.processes] if self.processes > 1 else items


WHOLE = Share()


@dataclass(frozen=True)
class Mixed:
    """The labels of what each picture of a batch was mixed with, as in `Batch`; `own_share` (0–1) of it is its own. Made where the batch
    is used: it does not move to a device."""

    own_share: float
    targets: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    numbers: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """What the loader hands to training and evaluation.

    `rows`: int64 `(batch,)`, positions in the manifest. `images`: uint8 `(batch, 3, px, px)` RGB, or float32
    `(batch, features)` where a frozen trunk's features are given instead. `targets[head]`: int64 `(batch,)`, 0 where
    there is no label. `present[head]`: bool `(batch,)`, whether there is one. `mixed`: of training alone. `strong`: of a batch that
    teaches without labels, another view of each row, as `images` (then the weak view) are; its targets are not given. `numbers[head]`:
    float32 `(batch,)`, what a head's classes were cut from, NaN where that is not known; of heads alone that learn from it.
    """

    rows: Tensor
    images: Tensor
    targets: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    mixed: Mixed | None = None
    strong: Tensor | None = None
    numbers: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """All of its own tensors, in no order that counts."""
        strong = [] if self.strong is None else [self.strong]
        return [self.rows, self.images, *strong, *self.targets.values(), *self.present.values(), *self.numbers.values()]

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`; copies from pinned memory do not block."""
        return replace(
            self,
            rows=self.rows.to(device, non_blocking=True),
            images=self.images.to(device, non_blocking=True),
            targets={head: values.to(device, non_blocking=True) for head, values in self.targets.items()},
            present={head: values.to(device, non_blocking=True) for head, values in self.present.items()},
            numbers={head: values.to(device, non_blocking=True) for head, values in self.numbers.items()},
            strong=None if self.strong is None else self.strong.to(device, non_blocking=True),
        )


class Agreement(NamedTuple):
    """What a head learned from a batch's samples without its label, scalars of all processes: `samples`, how many there were, `used`,
    how many of them counted, and `loss`, its mean over all of them, used or not.
    """

    loss: Tensor
    used: Tensor
    samples: Tensor


@dataclass(frozen=True)
class Step:
    """One batch's worth of training, yielded after the weights may have changed.

    `rows`, `logits` and `present` are of this process's share of the batch; losses and counts of all of it.
    `logits[head]`: float32 `(batch, classes)`, detached, from before the update. `losses[head]`: the scalar mean over
    the batch's labelled samples, `labelled[head]` how many those are (of mixed ones, their shares' sum). `loss`: their weighted sum, with what
    `unlabelled[head]` pictures add. `samples`: how many rows with labels the batch has, to within one for each process. `learning_rate`: of
    the heads' parameter group.
    """

    epoch: int
    index: int
    steps_in_epoch: int
    rows: Tensor
    logits: Mapping[str, Tensor]
    losses: Mapping[str, Tensor]
    present: Mapping[str, Tensor]
    labelled: Mapping[str, Tensor]
    samples: int
    loss: Tensor
    learning_rate: float
    unlabelled: Mapping[str, Agreement] = field(default_factory=dict)

    @property
    def ends_epoch(self) -> bool:
        """Whether this was the epoch's last step."""
        return self.index + 1 == self.steps_in_epoch
