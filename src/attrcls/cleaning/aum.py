"""Area under the margin: how well each given label held up while a network learned it.

Enters: the training-mode logits of every step. Leaves: one number per label, low where the other samples of its class
kept contradicting it (Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020).
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# Steps are kept until so many logits (4 MB) have come, and then summed at once. A step of 64 rows is all overhead; and
# rows come in random order, so that the fewer of them there are, the more of each cache line is fetched for nothing.
# On a GPU the training waits for the sums once in hundreds of steps.
_LOGITS_AT_ONCE = 1 << 20


class MarginSums:
    """Margins and logits of one head summed over a training, for every row of a manifest at once: no Python per sample."""

    def __init__(self, rows: int, classes: int) -> None:
        # Float64: a thousand float32 margins would lose their last digits.
        self._margins = torch.zeros(rows, dtype=torch.float64)
        # A row per class: its memory is then walked in one direction, at a quarter of the time.
        self._logits = torch.zeros(classes, rows, dtype=torch.float32)
        self._counts = torch.zeros(rows, dtype=torch.int64)
        self._waiting: list[Sequence[Tensor]] = []
        self._waiting_logits = 0

    def add(self, rows: Tensor, logits: Tensor, targets: Tensor, present: Tensor) -> None:
        """Add one step: `rows` int64 `(batch,)`, `logits` `(batch, classes)`, `targets` int64 `(batch,)`, `present` bool `(batch,)`.

        A row may stand in a batch more than once. Rows without a label add nothing. The tensors are kept for a while:
        `logits` are detached, and none is written to afterwards.
        """
        self._waiting.append((rows, logits, targets, present))
        self._waiting_logits += logits.numel()
        if self._waiting_logits >= _LOGITS_AT_ONCE:
            self._sum_waiting()

    @property
    def counts(self) -> Tensor:
        """How many margins each row's mean stands on, int64 `(rows,)`."""
        self._sum_waiting()
        return self._counts

    def aum(self) -> Tensor:
        """Mean margin of every row, float64 `(rows,)`; NaN where none was seen."""
        self._sum_waiting()
        return self._margins / self._counts  # 0 / 0 is NaN

    def mean_logits(self) -> Tensor:
        """Mean logits of every row, float32 `(rows, classes)`; NaN where none were seen."""
        self._sum_waiting()
        return (self._logits / self._counts).T

    def state(self) -> dict[str, Tensor]:
        """All that was summed so far, to be kept on disk."""
        self._sum_waiting()
        return {"margins": self._margins, "logits": self._logits, "counts": self._counts}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from `state()` of the same rows and classes."""
        self._margins, self._logits, self._counts = state["margins"], state["logits"], state["counts"]

    def _sum_waiting(self) -> None:
        if not self._waiting:
            return
        rows, logits, targets, present = (torch.cat(parts).to(self._counts.device) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._waiting_logits = [], 0
        if not present.all():
            rows, logits, targets = rows[present], logits[present], targets[present]
        by_class = logits.float().T.contiguous()
        self._logits.scatter_add_(1, rows.expand_as(by_class), by_class)
        self._margins.scatter_add_(0, rows, _margins(by_class, targets).double())
        self._counts.scatter_add_(0, rows, torch.ones_like(rows))


def margins_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Logit of the given label minus the largest other logit, `(batch,)`, in the logits' units (Pleiss et al., section 3).

    `logits` `(batch, classes)`, `targets` int64 `(batch,)`. With a single class there is no other logit: the margin is 0.
    """
    return _margins(logits.T.clone(memory_format=torch.contiguous_format), targets)


def _margins(by_class: Tensor, targets: Tensor) -> Tensor:
    """Margins `(batch,)` of logits `(classes, batch)`, which are overwritten."""
    given = by_class.gather(0, targets[None]).squeeze(0)
    if len(by_class) == 1:
        return torch.zeros_like(given)
    return given - by_class.scatter_(0, targets[None], float("-inf")).amax(dim=0)
