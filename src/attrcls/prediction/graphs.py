"""The ONNX graphs of models in the cache: making one takes seconds, and its model predicts many times."""

import contextlib
import hashlib
import os
import time
from pathlib import Path

import torch

from attrcls.errors import AttrclsError
from attrcls.files import write_with
from attrcls.graph.build import OPSET, build_graph
from attrcls.prediction.models import TrainedModel
from attrcls.tensors import digest_tensors

# Graphs that nobody used in this time, or that are too many together, go; the next prediction makes them again.
_STALE_SECONDS = 30 * 24 * 3600.0
_MOST_KEPT_BYTES = 2 << 30
_VERSION = 1


def kept_graph(model: TrainedModel, cache: Path) -> bytes:
    """The model's graph: from the cache, where it is known by description, weights and torch's version, else made and kept there.

    Raises:
        GraphError: the network cannot be written as ONNX.
    """
    file = _file(model, cache)
    with contextlib.suppress(OSError):
        graph = file.read_bytes()
        os.utime(file)
        return graph
    return new_graph(model, cache)


def new_graph(model: TrainedModel, cache: Path) -> bytes:
    """The model's graph, made anew and put in the cache; one that is there is replaced. Raises as `kept_graph`."""
    graph = build_graph(model.network, model.description)
    # A cache that cannot be written only costs the time of making it again.
    with contextlib.suppress(AttrclsError):
        write_with(_file(model, cache), lambda temporary: temporary.write_bytes(graph))
    _sweep(cache / "graphs")
    return graph


def _file(model: TrainedModel, cache: Path) -> Path:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((_VERSION, OPSET, torch.__version__)).encode())
    digest.update(model.description.model_dump_json().encode())
    digest_tensors(digest, model.network.state_dict())
    return cache / "graphs" / f"{digest.hexdigest()}.onnx"


def _sweep(folder: Path) -> None:
    """Remove graphs that are stale, then the longest unused until the others fit."""
    used = 0
    with contextlib.suppress(OSError):
        found = sorted(((file.stat(), file) for file in folder.glob("*.onnx")), key=lambda each: -each[0].st_mtime)
        for stat, file in found:
            used += stat.st_size
            if time.time() - stat.st_mtime > _STALE_SECONDS or (used > _MOST_KEPT_BYTES and used > stat.st_size):
                file.unlink()
