"""What runs a frozen trunk over pictures: OpenVINO where it is installed and there are pictures enough, else torch."""

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
# The length of the difference between two engines' features of a picture, over that of the features: 0.014 in bf16, and 1 and more
# where a graph means something else.
_MOST_UNLIKE = 0.05
Pass = Callable[[Tensor], Tensor]


def trunk_engine(fabric: Engine, *, pictures: int) -> str:
    """`openvino` or `torch`: which one runs a trunk over so many pictures. Their features differ by rounding alone."""
    on_cpu = fabric.device.type == "cpu"
    fast = on_cpu and (not precision_of(fabric).startswith("bf16") or has_native_bf16(fabric.device))
    return "openvino" if fast and pictures >= WORTH_A_GRAPH and is_installed("openvino") else "torch"


class PassError(AttrclsError):
    """OpenVINO cannot run the trunk, or gives other features than torch. Nobody asked for it: torch does the same."""


def open_passes(network: Network, sizes: Sequence[int], *, engine: str, fabric: Engine, batch_size: int) -> list[Pass]:
    """For each size one pass: uint8 `(batch, 3, size, size)` on the engine's device to float32 features `(batch, width)`, likewise.

    The network's trunk is frozen. Raises:
        PassError: `engine` is openvino, and this trunk is not for it in one of the sizes.
    """
    run = _torch_pass(network.for_inference(), fabric)
    if engine == "torch":
        return [run] * len(sizes)
    try:
        # Most trunks' graphs take any size; one that was written for its own is found out.
        graph = build_trunk_graph(network, px=sizes[0])
        return [_openvino_pass(graph, size, expected=run, fabric=fabric, batch_size=batch_size) for size in sizes]
    except AttrclsError as error:
        raise PassError(f"OpenVINO does not run this trunk: {error}") from error


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
    noise = torch.randint(0, 256, (min(2, batch_size), 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    wanted = expected(noise)
    unlike = ((run(noise) - wanted).norm(dim=1) / wanted.norm(dim=1)).max().item()
    # Not `>`: features that are no numbers are unlike, too.
    if not unlike <= _MOST_UNLIKE:
        raise AttrclsError(f"its features of pictures of {size} px differ from torch's by {unlike:.2g} of their length")
    return run
