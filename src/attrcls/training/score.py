"""A network's probabilities and losses over labelled rows, in order: what validation and evaluation look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from attrcls.engine import Engine
from attrcls.model.network import Network, masked_losses
from attrcls.types import Batch


@dataclass(frozen=True)
class Scored:
    """`probabilities[head]`: float32 `(rows, classes)`. `losses[head]`: mean over labelled rows, NaN without any."""

    probabilities: Mapping[str, npt.NDArray[np.float32]]
    losses: Mapping[str, float]

    def predicted(self) -> dict[str, npt.NDArray[np.int64]]:
        """The most probable class of each row and head, `(rows,)`."""
        return {head: values.argmax(axis=1).astype(np.int64) for head, values in self.probabilities.items()}


def score_batches(network: Network, batches: Iterator[Batch], *, fabric: Engine) -> Scored:
    """Run the network in eval mode over all batches."""
    network.eval()
    probabilities: dict[str, list[npt.NDArray[np.float32]]] = {head: [] for head in network.heads}
    sums = dict.fromkeys(network.heads, 0.0)
    counts = dict.fromkeys(network.heads, 0)
    with torch.inference_mode(), fabric.autocast():
        for batch in batches:
            batch = batch.to(fabric.device)
            logits = network(batch.images)
            losses = masked_losses(network.heads, logits, batch, weights=dict.fromkeys(network.heads, 1.0))
            for head, values in logits.items():
                present = int(batch.present[head].sum())
                sums[head] += float(losses.heads[head]) * present
                counts[head] += present
                probabilities[head].append(network.heads[head].probabilities(values).cpu().numpy())
    joined = {head: np.concatenate(parts) for head, parts in probabilities.items()}
    return Scored(joined, {head: sums[head] / counts[head] if counts[head] else float("nan") for head in sums})
