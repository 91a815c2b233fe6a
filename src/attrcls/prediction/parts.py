"""Predictions put by while they are made, so that a killed command loses a few hundred pictures and not a night's work."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from attrcls.data.remote import Location
from attrcls.engine import Engine, precision_of
from attrcls.errors import UserError
from attrcls.prediction.models import TrainedModel
from attrcls.tensors import digest_tensors, load_tensors, save_tensors

FloatArray = npt.NDArray[np.float32]
# A part is written when it has so many pictures and the last one is so old: a write costs about as much as a few pictures.
PART_PICTURES, PART_SECONDS = 512, 10.0
# Before a head's name, which may be any: `positions` too.
_OUTPUT = "p:"
# What nobody has asked to resume in this time, nobody will.
_STALE_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Part:
    """Some pictures' outcome under the models of one picture size: `positions` int64 `(pictures,)` among the distinct pictures,
    `outputs[head]` float32 `(pictures, classes)`, and (position, status, message) of those that could not be read."""

    positions: npt.NDArray[np.int64]
    outputs: Mapping[str, FloatArray]
    failures: Sequence[tuple[int, str, str]]


def of_readable(part: Part) -> Part:
    """A part without the pictures that could not be read: a network or a disk that failed may be well again."""
    kept = ~np.isin(part.positions, [position for position, _, _ in part.failures])
    return Part(part.positions[kept], {head: values[kept] for head, values in part.outputs.items()}, ())


def joined(parts: Sequence[Part]) -> Part:
    """Several parts of the same models as one."""
    outputs = {head: np.concatenate([part.outputs[head] for part in parts]) for head in parts[0].outputs}
    return Part(np.concatenate([part.positions for part in parts]), outputs, [failure for part in parts for failure in part.failures])


class KeptParts:
    """A folder of parts, for one set of models, pictures and settings alone: its name follows from all of them.

    `engine` is asked each time: which one it is is known for sure only when it has run.
    """

    def __init__(self, parent: Path, known: bytes, engine: Callable[[], str]) -> None:
        self._parent, self._known, self._engine = parent, known, engine

    @property
    def _folder(self) -> Path:
        return self._parent / hashlib.blake2b(self._known + self._engine().encode(), digest_size=16).hexdigest()

    def of_size(self, size: int) -> Iterator[Part]:
        """The parts that were saved under the `size`-th picture size, as far as they are whole."""
        for file in sorted(self._folder.glob(f"{size}-*.safetensors")):
            try:
                tensors, metadata = load_tensors(file)
                failures = [(int(position), str(status), str(message)) for position, status, message in json.loads(metadata["failures"])]
                positions = tensors.pop("positions").numpy()
            except (UserError, KeyError, ValueError):
                # Damaged: its pictures are predicted again.
                continue
            yield Part(positions, {head.removeprefix(_OUTPUT): values.numpy() for head, values in tensors.items()}, failures)

    def save(self, size: int, part: Part) -> None:
        """Keep a part; its number follows from its first picture.

        Raises:
            AttrclsError: the disk is full or cannot be written.
        """
        tensors = {_OUTPUT + head: torch.from_numpy(values) for head, values in part.outputs.items()}
        file = self._folder / f"{size}-{int(part.positions[0]):010d}.safetensors"
        save_tensors({"positions": torch.from_numpy(part.positions), **tensors}, file, metadata={"failures": json.dumps(part.failures)})

    def drop(self) -> None:
        """Forget all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)


def kept_parts(
    cache: Path, models: Sequence[TrainedModel], paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None, *, fabric: Engine,
    batch_size: int, engine: Callable[[], str] = lambda: "torch", views: Sequence[object] = (),
) -> KeptParts:  # fmt: skip
    """Where the parts of a prediction lie: known by the models' weights, each picture's path, size and time, and the settings.

    Of a picture elsewhere the address alone counts: asking after its time would take as long as fetching it.

    Folders that were left long ago are removed.
    """
    digest = hashlib.blake2b(digest_size=16)
    for model in models:
        digest.update(model.description.model_dump_json().encode())
        digest_tensors(digest, model.network.state_dict())
        if model.weight != 1:
            digest.update(repr(model.weight).encode())
    digest.update(repr((fabric.device.type, precision_of(fabric), batch_size)).encode())
    if views:
        digest.update(repr(views).encode())
    for path in paths:
        known = f"{path.absolute()}\0{_stamp(path)}" if isinstance(path, Path) else path.text
        digest.update(f"{known}\0".encode("utf-8", "surrogateescape"))
    if boxes is not None:
        digest.update(boxes.tobytes())
    parent = cache / "predictions"
    for folder in parent.glob("*"):
        if time.time() - _modified(folder) > _STALE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
    return KeptParts(parent, digest.digest(), engine)


def _stamp(path: Path) -> str:
    # A blank cell is no picture; its empty path would be the current folder, which changes with every file written there.
    if path == Path():
        return "absent"
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return "absent"
    return f"{found.st_size},{found.st_mtime_ns}"


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return time.time()
