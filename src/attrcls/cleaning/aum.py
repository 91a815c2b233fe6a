"""Area under the margin: how well each given label held up while a network learned it.

Enters: the training-mode logits of every step. Leaves: one number per label, low where the other samples of its class
kept contradicting it (Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020).
"""

import torch
from torch import Tensor


class MarginSums:
    """Margins and logits of one head summed over a training, for every row of a manifest at once: no Python per sample."""

    def __init__(self, rows: int, classes: int) -> None:
        # Float64: a thousand float32 margins would lose their last digits.
        self._margins = torch.zeros(rows, dtype=torch.float64)
        self._logits = torch.zeros(rows, classes, dtype=torch.float32)
        self._counts = torch.zeros(rows, dtype=torch.int64)

    def add(self, rows: Tensor, logits: Tensor, targets: Tensor, present: Tensor) -> None:
        """Add one step: `rows` int64 `(batch,)`, `logits` `(batch, classes)`, `targets` int64 `(batch,)`, `present` bool `(batch,)`.

        A row may stand in a batch more than once. Rows without a label add nothing.
        """
        at = self._counts.device
        kept = present.to(at).nonzero().squeeze(1)
        rows, logits, targets = rows.to(at)[kept], logits.to(at)[kept], targets.to(at)[kept]
        self._margins.index_add_(0, rows, margins_of(logits, targets).double())
        self._logits.index_add_(0, rows, logits.float())
        self._counts.index_add_(0, rows, torch.ones_like(rows))

    @property
    def counts(self) -> Tensor:
        """How many margins each row's mean stands on, int64 `(rows,)`."""
        return self._counts

    def aum(self) -> Tensor:
        """Mean margin of every row, float64 `(rows,)`; NaN where none was seen."""
        return self._margins / torch.where(self._counts > 0, self._counts.double(), torch.nan)

    def mean_logits(self) -> Tensor:
        """Mean logits of every row, float32 `(rows, classes)`; NaN where none were seen."""
        return self._logits / torch.where(self._counts > 0, self._counts.float(), torch.nan)[:, None]


def margins_of(logits: Tensor, targets: Tensor) -> Tensor:
    """Logit of the given label minus the largest other logit, `(batch,)`, in the logits' units (Pleiss et al., section 3).

    `logits` `(batch, classes)`, `targets` int64 `(batch,)`. With a single class there is no other logit: the margin is 0.
    """
    given = logits.gather(1, targets[:, None])
    if logits.shape[1] == 1:
        return torch.zeros_like(given).squeeze(1)
    others = logits.scatter(1, targets[:, None], float("-inf"))
    return given.squeeze(1) - others.amax(dim=1)
