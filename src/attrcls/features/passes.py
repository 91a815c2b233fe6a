"""What runs a frozen trunk over pictures: OpenVINO where it is installed and there are pictures enough, else torch."""

import contextlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from attrcls.engine import Engine, has_native_bf16, precision_of
from attrcls.errors import AttrclsError
from attrcls.graph.build import FEATURES, build_trunk_graph
from attrcls.graph.extras import is_installed
from attrcls.graph.sessions import Precision, open_openvino
from attrcls.model.network import Network

# A graph takes 3 to 10 s of CPU time for each size, and then saves a third of a resnet18's time and half of a resnet50's
# (`benchmarks/engine_speed.py`).
WORTH_A_GRAPH = 8000
# Features of two engines in bf16 point the same way but for rounding (0.9999 and more); a graph that means something else does not.
_LEAST_LIKENESS = 0.999
Pass = Callable[[Tensor], Tensor]


def trunk_engine(fabric: Engine, *, pictures: int) -> str:
    """`openvino` or `torch`: which one runs a trunk over so many pictures. Their features differ by rounding alone."""
    on_cpu = fabric.device.type == "cpu"
    fast = on_cpu and (not precision_of(fabric).startswith("bf16") or has_native_bf16(fabric.device))
    return "openvino" if fast and pictures >= WORTH_A_GRAPH and is_installed("openvino") else "torch"


def open_passes(network: Network, sizes: Sequence[int], *, engine: str, fabric: Engine, batch_size: int) -> list[Pass]:
    """For each size one pass: uint8 `(batch, 3, size, size)` on the engine's device to float32 features `(batch, width)`, likewise.

    The network's trunk is frozen. What OpenVINO cannot run, or runs to other features, is run by torch.
    """
    run = _torch_pass(network.for_inference(), fabric)
    passes: list[Pass] = [run] * len(sizes)
    if engine != "openvino":
        return passes
    # Nobody asked for the engine: where it fails, only its speed is lost.
    with contextlib.suppress(AttrclsError):
        graph = build_trunk_graph(network, px=sizes[0])
        for position, size in enumerate(sizes):
            # Most trunks' graphs take any size; one that was written for its own is found out, and torch sees the small pictures.
            passes[position] = _openvino_pass(graph, size, expected=run, fabric=fabric, batch_size=batch_size)
    return passes


def _torch_pass(network: Network, fabric: Engine) -> Pass:
    def run(images: Tensor) -> Tensor:
        with torch.inference_mode(), fabric.autocast():
            return network.extract(images.contiguous(memory_format=torch.channels_last))

    return run


def _openvino_pass(graph: bytes, size: int, *, expected: Pass, fabric: Engine, batch_size: int) -> Pass:
    """Raises:
    AttrclsError: OpenVINO cannot run the graph for this size, or gives other features than are expected.
    """
    precision: Precision = "bf16" if precision_of(fabric).startswith("bf16") else "32"
    session = open_openvino(graph, [FEATURES], threads=torch.get_num_threads(), precision=precision, shape=(batch_size, 3, size, size))

    def run(images: Tensor) -> Tensor:
        # The session knows one shape; a short batch is filled up.
        missing = batch_size - len(images)
        filled = torch.cat([images, images[-1:].expand(missing, -1, -1, -1)]) if missing else images
        return torch.from_numpy(session(np.ascontiguousarray(filled.numpy()))[FEATURES])[: len(images)]

    # Noise, since a blank picture gives many a trunk next to no features.
    noise = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    if torch.cosine_similarity(expected(noise), run(noise)).min() < _LEAST_LIKENESS:
        raise AttrclsError(f"OpenVINO gives other features than torch for pictures of {size} px")
    return run
