"""ONNX graphs run by ONNX Runtime or OpenVINO on the CPU: uint8 pictures in, the wanted outputs by name out."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from attrcls.errors import AttrclsError
from attrcls.graph.build import INPUT

FloatArray = npt.NDArray[np.float32]
# uint8 `(batch, 3, px, px)` to float32 `(batch, classes)` per output that was asked for.
Session = Callable[[npt.NDArray[np.uint8]], dict[str, FloatArray]]
Precision = Literal["32", "bf16"]


def open_onnxruntime(graph: bytes, outputs: Sequence[str], *, threads: int) -> Session:
    """A session of ONNX Runtime, in float32: its CPU kernels for x86 know no bf16.

    Raises:
        AttrclsError: the graph is damaged. Running the session raises it as well.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its kinds have no common base
        raise _damaged(error) from error
    names = list(outputs)

    def run(images: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        try:
            return dict(zip(names, session.run(names, {INPUT: images}), strict=True))
        except Exception as error:  # as above
            raise _damaged(error) from error

    return run


def open_openvino(graph: bytes, outputs: Sequence[str], *, threads: int, precision: Precision, shape: Sequence[int] | None = None) -> Session:
    """A session of OpenVINO; with `shape` it takes pictures of that shape alone, and is faster for knowing it.

    Raises:
        AttrclsError: the graph is damaged, or OpenVINO's installation is. Running the session raises it as well.
    """
    try:
        import openvino

        core = openvino.Core()
        # Not `convert_model`, which reports its use to Intel.
        model = core.read_model(graph, b"")
        if shape is not None:
            model.reshape({INPUT: list(shape)})
        hint = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(model, "CPU", {**hint, "PERFORMANCE_HINT": "LATENCY"})
    except (ImportError, OSError, RuntimeError) as error:
        raise _damaged(error) from error
    wanted = {name: compiled.output(name) for name in outputs}

    def run(images: npt.NDArray[np.uint8]) -> dict[str, FloatArray]:
        try:
            results: Any = compiled(images)
        except RuntimeError as error:
            raise _damaged(error) from error
        # Copied: the next pictures come into the same memory.
        return {name: np.array(results[port], dtype=np.float32) for name, port in wanted.items()}

    return run


def _damaged(error: Exception) -> AttrclsError:
    return AttrclsError(f"the ONNX graph cannot be run ({str(error).strip().splitlines()[0]})")
