"""A trained network as one ONNX graph: pictures as they come from resizing in, each head's logits and probabilities out.

The input `images` is uint8 `(batch, 3, px, px)`, RGB; normalising is a part of the graph, so that whoever runs it decodes and
resizes and does no more. Outputs are `<head>_logits` and `<head>_probabilities`, float32 `(batch, classes)`; of an ordinal head by
corn or coral the logits are `(batch, classes - 1)`.
"""

import copy
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from attrcls.errors import AttrclsError
from attrcls.graph.metadata import graph_metadata
from attrcls.model.description import ModelDescription
from attrcls.model.network import Network

# The lowest that torch's exporter writes: ONNX Runtime reads it since 1.14, OpenVINO since 2023.
OPSET = 18
INPUT = "images"
# The output of a trunk's own graph, and what the heads begin with in that of a network.
FEATURES = "features"


class GraphError(AttrclsError):
    """The network cannot be written as ONNX: its trunk has something that the exporter does not know, or is too large."""


def build_graph(network: Network, description: ModelDescription) -> bytes:
    """The ONNX file of a network, as bytes; the network stays as it is.

    The caller has seen to it that the packages of the extra are there. Raises:
        GraphError: the network cannot be written so.
    """
    try:
        model = _export(_Graph(_plain(network)), px=description.image.px, names=[*output_names(network), FEATURES])
        # Asked for only to have its name.
        del model.graph.output[-1]
        for key, value in graph_metadata(description).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        return bytes(model.SerializeToString())
    except Exception as error:  # torch, onnxscript and protobuf raise kinds of their own
        raise GraphError(f"trunk {description.trunk} cannot be written as ONNX ({_reason(error)}); predict it with --engine torch") from error


def build_trunk_graph(network: Network, *, px: int) -> bytes:
    """The same of a network's trunk alone, for pictures of one size: `images` in, `features` out, float32 `(batch, width)`.

    Raises:
        GraphError: the trunk cannot be written so.
    """
    try:
        return bytes(_export(_TrunkGraph(_plain(network)), px=px, names=[FEATURES]).SerializeToString())
    except Exception as error:  # as above
        raise GraphError(f"the trunk cannot be written as ONNX ({_reason(error)})") from error


def output_names(network: Network) -> list[str]:
    """The graph's outputs, in order."""
    return [name for head in network.heads for name in (f"{head}_logits", f"{head}_probabilities")]


def _plain(network: Network) -> Network:
    return copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format).eval()


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class _Graph(nn.Module):
    """The network in float32 without what only training needs, its outputs in one flat row."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.network.trunk(self.network.normalised(images)).flatten(1)
        outputs = []
        for head in self.network.heads.values():
            logits = head(features)
            outputs += [logits, head.probabilities(logits)]
        return (*outputs, features)


class _TrunkGraph(nn.Module):
    """The trunk without the heads, in float32."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return (self.network.trunk(self.network.normalised(images)).flatten(1),)


def _export(graph: nn.Module, *, px: int, names: list[str]) -> Any:
    """torch's exporter, quietly: what it remarks on is not for whoever exports a model."""
    # Two pictures: a size of one would be taken for a constant.
    example = torch.zeros(2, 3, px, px, dtype=torch.uint8)
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                graph, (example,), input_names=[INPUT], output_names=names, opset_version=OPSET, dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},), optimize=True, verbose=False,
            )  # fmt: skip
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert program is not None
    # Once: each time it is asked for it is made anew.
    model = program.model_proto
    _strip(model)
    return model


def _strip(model: Any) -> None:
    """Take out what the exporter wrote of where each node was made: it names files of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
            node.doc_string = ""
