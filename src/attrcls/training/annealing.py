"""Training signal annealing: labels that a head knows already teach it no more for a while, so that it does not know few of them by heart."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from attrcls.model.heads import Head
from attrcls.types import Batch

# α of the share of the training that is done, 0–1.
_RISES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: done,
    "log": lambda done: 1 - math.exp(-5 * done),
    "exp": lambda done: math.exp(5 * (done - 1)),
}


def signal_bound(schedule: str, *, done: float, classes: int) -> float:
    """η = α · (1 − 1/K) + 1/K for K classes (Xie et al., NeurIPS 2020, training signal annealing): the probability of its label above
    which a sample is left out. `done`: 0–1; α rises to 1, at which none is."""
    return _RISES[schedule](done) * (1 - 1 / classes) + 1 / classes


def annealed(batch: Batch, heads: Mapping[str, Head], logits: Mapping[str, Tensor], schedule: str | None, *, done: float) -> Batch:
    """The batch with only those labels present whose probability by the head is at most the bound; with no schedule, the batch as it is."""
    if schedule is None:
        return batch
    present = {}
    with torch.no_grad():
        for head, values in logits.items():
            answers = heads[head].probabilities(values)
            given = answers.gather(1, batch.targets[head][:, None]).squeeze(1)
            present[head] = batch.present[head] & (given <= signal_bound(schedule, done=done, classes=answers.shape[1]))
    return replace(batch, present=present)
