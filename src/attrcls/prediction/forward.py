"""What runs a model over a batch: torch on its device, or an engine that has the network's ONNX graph."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from attrcls.answers.calibration import tempered
from attrcls.engine import Engine, place
from attrcls.graph.sessions import FloatArray, Session
from attrcls.prediction.models import TrainedModel

# uint8 `(batch, 3, px, px)` on the engine's device, channels last in memory, to calibrated probabilities float32 `(batch, classes)` per head,
# times the weight of the model's vote.
Forward = Callable[[Tensor], dict[str, FloatArray]]


def torch_forward(model: TrainedModel, fabric: Engine) -> Forward:
    """The model's own network, moved to the engine's device, with its trunk fused."""
    place(model.network, fabric)
    network = model.network.for_inference()

    def forward(images: Tensor) -> dict[str, FloatArray]:
        with torch.inference_mode(), fabric.autocast():
            return {head: network.heads[head].probabilities(logits).cpu().numpy() for head, logits in network(images).items()}

    return _voting(forward, model)


def probability_names(model: TrainedModel) -> dict[str, str]:
    """The head that each of the graph's outputs with probabilities is of."""
    return {f"{head}_probabilities": head for head in model.network.heads}


def graph_forward(model: TrainedModel, session: Session) -> Forward:
    """A session that was opened for the model's probabilities."""
    heads = probability_names(model)

    def forward(images: Tensor) -> dict[str, FloatArray]:
        outputs = session(images.contiguous(memory_format=torch.contiguous_format).numpy())
        return {head: outputs[name] for name, head in heads.items()}

    return _voting(forward, model)


def _voting(forward: Forward, model: TrainedModel) -> Forward:
    """Under the model's temperatures, times its weight: after the engine, whichever it is, so that all engines' tables stay equal."""
    temperatures, weight = model.description.temperatures, np.float32(model.weight)

    def vote(images: Tensor) -> dict[str, FloatArray]:
        return {head: tempered(values, temperatures.get(head, 1.0)) * weight for head, values in forward(images).items()}

    return vote
