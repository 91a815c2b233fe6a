"""The ONNX file of a trained network: written only when it gives what torch gives."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from attrcls.errors import AttrclsError, UserError
from attrcls.export.int8 import HeadCost, measure_cost, quantise
from attrcls.files import write_with
from attrcls.graph.build import build_graph, output_names
from attrcls.graph.extras import require
from attrcls.graph.sessions import Session, open_onnxruntime
from attrcls.model.description import ModelDescription
from attrcls.model.network import Network

# The largest difference of a probability from torch's, both in float32.
LARGEST_DIFFERENCE = 1e-4


@dataclass(frozen=True)
class Calibration:
    """Pictures uint8 `(pictures, 3, px, px)` to take int8's ranges from, others to measure its cost on, and the targets of these:
    int64 `(pictures,)` per head, `MISSING` without a label."""

    pictures: Tensor
    held_out: Tensor
    targets: Mapping[str, npt.NDArray[np.int64]]


def check_export_name(file: Path) -> None:
    """Refuse, before anything is done, a name that is not an ONNX file's or a machine without the packages.

    Raises:
        UserError: which of them, and what to do.
    """
    if file.suffix.lower() != ".onnx":
        raise UserError(f"--onnx {file}: expected a name that ends in .onnx; found {file.suffix or 'no ending'}")
    if file.is_dir():
        raise UserError(f"--onnx {file}: expected a file to write, found a folder; name a file in it")
    require("onnx", what="attrcls export --onnx")


def export_onnx(
    network: Network, description: ModelDescription, file: Path, pictures: Tensor, *, calibration: Calibration | None = None
) -> tuple[float, dict[str, HeadCost]]:
    """Write the network's graph and return the largest difference of a probability from torch's over `pictures`.

    These are uint8 `(pictures, 3, px, px)`, looked at all at once and the first alone as well. With `calibration` what is written
    is the same graph in int8, and its cost by head is returned too. Raises:
        AttrclsError: the network cannot be written as ONNX, it differs from torch, or the disk is full; an old file is intact.
    """
    graph = build_graph(network, description)
    session = _open(graph, network)
    difference = parity(network, session, pictures)
    # So put that NaN is refused too.
    if not difference <= LARGEST_DIFFERENCE:
        raise AttrclsError(
            f"{file}: not written: ONNX Runtime's probabilities differ from torch's by {difference:.1e} where {LARGEST_DIFFERENCE:.0e} is allowed; "
            "the old file, if any, is untouched. Another version of torch or onnxruntime may do better"
        )
    cost = {}
    if calibration:
        graph = quantise(graph, calibration.pictures)
        cost = measure_cost(session, _open(graph, network), calibration.held_out, calibration.targets)
    write_with(file, lambda temporary: temporary.write_bytes(graph))
    return difference, cost


def parity(network: Network, session: Session, pictures: Tensor) -> float:
    """The largest difference of a probability between torch in float32 and a session, in batches of one and of all pictures."""
    plain = copy.deepcopy(network).cpu().eval()
    differences = []
    for batch in (pictures[:1], pictures):
        outputs = session(batch.contiguous().numpy())
        with torch.inference_mode():
            logits = plain(batch)
        for head, values in logits.items():
            differences.append(np.abs(outputs[f"{head}_probabilities"] - plain.heads[head].probabilities(values).numpy()).max())
    # NaN where there is one: numpy's maximum, unlike Python's, never passes over it.
    return float(np.max(differences))


def _open(graph: bytes, network: Network) -> Session:
    return open_onnxruntime(graph, output_names(network), threads=torch.get_num_threads())
