"""A network's probabilities and losses over labelled rows, in order: what validation and evaluation look at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from attrcls.data.prefetch import on_device
from attrcls.engine import Engine, summed
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
    """Run the network in eval mode over all batches: every row once, or each process's share of them; all processes get all scores."""
    network.eval()
    rows: list[torch.Tensor] = [torch.zeros(0, dtype=torch.int64)]
    probabilities: dict[str, list[torch.Tensor]] = {head: [torch.zeros(0, each.classes)] for head, each in network.heads.items()}
    sums = {head: torch.zeros(2, dtype=torch.float64) for head in network.heads}
    with torch.inference_mode(), fabric.autocast():
        for batch in on_device(batches, fabric.device):
            logits = network(batch.images)
            losses = masked_losses(network.heads, logits, batch, weights=dict.fromkeys(network.heads, 1.0))
            rows.append(batch.rows.cpu())
            for head, values in logits.items():
                present = int(batch.present[head].sum())
                sums[head] += torch.tensor([float(losses.heads[head]) * present, present], dtype=torch.float64)
                probabilities[head].append(network.heads[head].probabilities(values).cpu())
    own = torch.cat(rows)
    total = int(summed({"rows": torch.tensor(len(own))}, fabric)["rows"])
    # Every row is one process's: zeros are added to it.
    placed = {head: torch.zeros(total, parts[0].shape[1]).index_copy(0, own, torch.cat(parts)) for head, parts in probabilities.items()}
    joined = summed(placed, fabric)
    losses_and_counts = {head: values.tolist() for head, values in summed(sums, fabric).items()}
    means = {head: loss / count if count else float("nan") for head, (loss, count) in losses_and_counts.items()}
    return Scored({head: values.numpy() for head, values in joined.items()}, means)
