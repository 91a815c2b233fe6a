"""Which engine runs a prediction, in which precision: the one asked for, or the fastest that is installed for the device."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from attrcls.engine import Engine, has_native_bf16, precision_of, start_engine
from attrcls.errors import AttrclsError, UserError
from attrcls.graph.build import GraphError
from attrcls.graph.extras import is_installed, require
from attrcls.graph.sessions import FloatArray, Session, open_onnxruntime, open_openvino
from attrcls.prediction.forward import Forward, graph_forward, probability_names, torch_forward
from attrcls.prediction.graphs import kept_graph, new_graph
from attrcls.prediction.models import TrainedModel

# The extra that each engine needs.
ENGINES = {"torch": None, "onnxruntime": "onnx", "openvino": "openvino"}
# Fastest first, on a CPU. CPU time of torch in float32 over the engine's, one thread, 16 pictures of 224 px, medians of four turns on
# a Xeon with AVX512-BF16 and AMX (resnet18, resnet50, mobilenet_v3_large; `benchmarks/engine_speed.py` measures whole predictions):
#   bf16: openvino 4.4, 7.3, 5.4; torch 3.1, 2.8, 1.6          32: openvino 1.3, 1.5, 2.3; onnxruntime 1.3, 1.5, 2.0; torch 1
_FASTEST = {"bf16": ("openvino", "torch"), "32": ("openvino", "onnxruntime", "torch")}
# Making a graph takes 5 to 15 s of CPU time, once a model. On that machine it then saves 3 to 22 ms a picture.
WORTH_A_GRAPH = 2000


@dataclass
class Runtime:
    """A forward for each model, on the device of `fabric`; `engine` and `precision` (`32` or `bf16`) are what they run in.

    The models are opened by the first forward that is called, or by `open`: the first pictures are decoded meanwhile.
    """

    engine: str
    precision: str
    fabric: Engine
    _openers: Sequence[Callable[[], Forward]]
    # What torch does instead, where nobody asked for this engine: what it cannot do then stops nobody.
    _instead: Sequence[Callable[[], Forward]] = ()
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.engine}, {self.precision}, on {self.fabric.device.type}"

    @property
    def forwards(self) -> Sequence[Forward]:
        """One per model, in their order; calling one raises as `open`."""
        return [functools.partial(self._run, position) for position in range(len(self._openers))]

    def open(self) -> None:
        """Make the models ready to run.

        Raises:
            AttrclsError: a model cannot be written as ONNX, or its graph not run, and the engine was named.
        """
        self._opened  # noqa: B018

    @functools.cached_property
    def _opened(self) -> Sequence[Forward]:
        try:
            return [opener() for opener in self._openers]
        except AttrclsError as error:
            if not self._instead:
                raise
            self.warnings.append(f"{error}; torch was used, not {self.engine}")
            self.engine = "torch"
            return [opener() for opener in self._instead]

    def _run(self, position: int, images: torch.Tensor) -> dict[str, FloatArray]:
        return self._opened[position](images)


def start_runtime(
    models: Sequence[TrainedModel], *, engine: str, device: str, precision: str, pictures: int, batch_size: int, cache: Path
) -> Runtime:
    """Choose what runs models: `engine` is torch, onnxruntime, openvino, or auto, which wants `pictures` to be worth it.

    Graphs are made of the models themselves and kept in `cache`. A graph runs on the CPU; auto takes torch elsewhere, and where a
    graph cannot be made or run.
    Raises:
        UserError: no such engine, it is not installed, or it has no such device or precision; the batch size is not positive.
    """
    if batch_size < 1:
        raise UserError(f"--batch-size: expected 1 or more, found {batch_size}")
    if engine not in {"auto", *ENGINES}:
        raise UserError(f"--engine: expected auto, {', '.join(ENGINES)}, found {engine!r}")
    if extra := ENGINES.get(engine):
        require(extra, what=f"--engine {engine}")
        fabric = _on_the_cpu(engine, device=device, precision=precision)
    else:
        fabric = start_engine(device=device, precision=precision)
    chosen = _fastest(fabric, pictures=pictures) if engine == "auto" else engine
    by_torch = [functools.partial(torch_forward, model, fabric) for model in models]
    if chosen == "torch":
        return Runtime(chosen, _precision(fabric), fabric, by_torch)
    by_graph = [functools.partial(_graph_forward, model, chosen, fabric, batch_size=batch_size, cache=cache) for model in models]
    return Runtime(chosen, _precision(fabric), fabric, by_graph, by_torch if engine == "auto" else ())


def open_runtime(models: Sequence[TrainedModel], graphs: Sequence[bytes], *, engine: str, device: str, precision: str, batch_size: int) -> Runtime:
    """The runtime that `start_runtime` chose in another process, here; a graph engine takes the models' graphs, in their order.

    Raises:
        UserError: the engine is not installed here, or there is no such device or precision.
        AttrclsError: a graph cannot be run.
    """
    if extra := ENGINES[engine]:
        require(extra, what=f"--engine {engine}")
        fabric = _on_the_cpu(engine, device=device, precision=precision)
        openers: list[Callable[[], Forward]] = [
            functools.partial(_given_forward, model, graph, engine, fabric, batch_size=batch_size)
            for model, graph in zip(models, graphs, strict=True)
        ]
    else:
        fabric = start_engine(device=device, precision=precision)
        openers = [functools.partial(torch_forward, model, fabric) for model in models]
    runtime = Runtime(engine, _precision(fabric), fabric, openers)
    runtime.open()
    return runtime


def _on_the_cpu(engine: str, *, device: str, precision: str) -> Engine:
    """The CPU, in a precision that the engine has there."""
    if device not in {"auto", "cpu"}:
        raise UserError(f"--engine {engine} runs on the CPU, found --device {device}; use --device cpu or --engine torch")
    native = has_native_bf16(torch.device("cpu"))
    if precision == "bf16" and engine == "onnxruntime":
        raise UserError("--precision bf16: --engine onnxruntime has 32 alone on a CPU; use --engine openvino or torch")
    if precision == "bf16" and not native:
        raise UserError(f"--precision bf16: this CPU has no bf16 for --engine {engine}; use --precision 32")
    return start_engine(device="cpu", precision="32" if engine == "onnxruntime" and precision == "auto" else precision)


def _fastest(fabric: Engine, *, pictures: int) -> str:
    precision = _precision(fabric)
    if fabric.device.type != "cpu" or pictures < WORTH_A_GRAPH or (precision == "bf16" and not has_native_bf16(fabric.device)):
        return "torch"
    return next(name for name in _FASTEST[precision] if ENGINES[name] is None or is_installed(str(ENGINES[name])))


def _precision(fabric: Engine) -> str:
    return "bf16" if precision_of(fabric).startswith("bf16") else "32"


def _graph_forward(model: TrainedModel, engine: str, fabric: Engine, *, batch_size: int, cache: Path) -> Forward:
    try:
        session = _open(kept_graph(model, cache), model, engine, fabric, batch_size=batch_size)
    except GraphError:
        raise
    except AttrclsError:  # The kept graph is damaged.
        session = _open(new_graph(model, cache), model, engine, fabric, batch_size=batch_size)
    return graph_forward(model, session)


def _given_forward(model: TrainedModel, graph: bytes, engine: str, fabric: Engine, *, batch_size: int) -> Forward:
    return graph_forward(model, _open(graph, model, engine, fabric, batch_size=batch_size))


def _open(graph: bytes, model: TrainedModel, engine: str, fabric: Engine, *, batch_size: int) -> Session:
    outputs, threads = list(probability_names(model)), torch.get_num_threads()
    if engine == "onnxruntime":
        return open_onnxruntime(graph, outputs, threads=threads)
    px = model.description.image.px
    bf16 = _precision(fabric) == "bf16"
    return open_openvino(graph, outputs, threads=threads, precision="bf16" if bf16 else "32", shape=(batch_size, 3, px, px))
