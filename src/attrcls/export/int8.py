"""An ONNX graph in 8-bit integers, by ONNX Runtime's static quantisation, and what that costs in accuracy."""

import logging
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from attrcls.errors import AttrclsError
from attrcls.graph.build import FEATURES, INPUT
from attrcls.graph.sessions import Session
from attrcls.types import MISSING

# Where a trunk spends its time; the heads stay in float32.
_QUANTISED = ["Conv", "MatMul", "Gemm", "Add", "MaxPool", "AveragePool", "GlobalAveragePool"]
_BATCH_SIZE = 32


@dataclass(frozen=True)
class HeadCost:
    """A head in int8 beside float32: the share of pictures with the same label, the largest difference of a probability, and
    top-1 before and after over the `labelled` pictures, NaN where there are none."""

    agreement: float
    largest_difference: float
    labelled: int
    top1_before: float
    top1_after: float


def quantise(graph: bytes, pictures: Tensor) -> bytes:
    """The graph with its trunk in int8, calibrated on uint8 pictures `(pictures, 3, px, px)`; its metadata are kept.

    Raises:
        AttrclsError: ONNX Runtime cannot quantise the graph.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._parts = _parts(pictures)

        def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
            part = next(self._parts, None)
            return None if part is None else {INPUT: part}

    model = onnx.load_from_string(graph)
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as folder:
        source, written = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(graph)
        try:
            # It advises on the root logger to prepare the graph first; torch's exporter has done that.
            logger.setLevel(logging.ERROR)
            quantize_static(
                source, written, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8, op_types_to_quantize=_QUANTISED, nodes_to_exclude=_heads(model),
            )  # fmt: skip
        except Exception as error:  # ONNX Runtime raises kinds of its own
            raise AttrclsError(f"the network cannot be quantised ({str(error).strip().splitlines()[0]}); export it without --int8") from error
        finally:
            logger.setLevel(level)
        quantised = onnx.load(written)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    entry = quantised.metadata_props.add()
    entry.key, entry.value = "quantisation", '"int8, static, of the trunk"'
    return bytes(quantised.SerializeToString())


def measure_cost(before: Session, after: Session, pictures: Tensor, targets: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, HeadCost]:
    """What int8 changes on uint8 `pictures`; `targets[head]` int64 `(pictures,)`, `MISSING` without a label."""
    told = {}
    outputs = [(before(part), after(part)) for part in _parts(pictures)]
    for head, target in targets.items():
        name = f"{head}_probabilities"
        old, new = (np.concatenate([pair[which][name] for pair in outputs]) for which in (0, 1))
        present = target != MISSING
        right = [float((each.argmax(axis=1) == target)[present].mean()) if present.any() else float("nan") for each in (old, new)]
        agreement = float((old.argmax(axis=1) == new.argmax(axis=1)).mean())
        told[head] = HeadCost(agreement, float(np.abs(old - new).max()), int(present.sum()), *right)
    return told


def _parts(pictures: Tensor) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(pictures), _BATCH_SIZE):
        yield pictures[start : start + _BATCH_SIZE].contiguous().numpy()


def _heads(model: Any) -> list[str]:
    """The nodes that go on from the trunk's features."""
    after, names = {FEATURES}, []
    for node in model.graph.node:  # each after those whose outputs it takes
        if after & set(node.input):
            after |= set(node.output)
            names.append(node.name)
    return names
