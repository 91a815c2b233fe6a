"""Export as a story: a run → its network as one ONNX file, checked against torch on pictures, in int8 if asked for."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

from attrcls.errors import UserError
from attrcls.export.int8 import HeadCost
from attrcls.export.onnx_file import Calibration, check_export_name, export_onnx
from attrcls.export.pictures import read_pictures
from attrcls.graph.build import INPUT, OPSET, output_names
from attrcls.prediction.inputs import read_input
from attrcls.prediction.models import TrainedModel, load_models
from attrcls.runs.pictures import run_pictures
from attrcls.sample import draw_faces
from attrcls.types import MISSING

# Pictures that an export is checked on; that int8's ranges are taken from; and that its cost is measured on.
CHECKED_PICTURES = 32
CALIBRATION_PICTURES = 256
MEASURED_PICTURES = 1024
_DRAWN_PEOPLE = 10


@dataclass(frozen=True)
class Exported:
    """The file, its opset, input and outputs, and how far its probabilities are from torch's, on which `pictures`."""

    file: Path
    opset: int
    input: str
    outputs: list[str]
    difference: float
    pictures: str
    int8: Mapping[str, HeadCost] = field(default_factory=dict)


def run_export(run: str | Path, *, onnx: str | Path, images: str | Path | None = None, int8: bool = False) -> Exported:
    """Write a run's network as one ONNX file; `images` is a folder of pictures to check it on, by default the run's own.

    Where these do not lie where training found them, drawn pictures are used. With `int8` the network is checked in float32, then
    quantised; ranges come from training pictures, the cost from validation pictures, or both from halves of `images`, and
    `Exported.int8` tells it by head. Raises:
        UserError: this is no run, the name is no ONNX file's, there is no picture, or a package is not installed.
        AttrclsError: the file would not give what torch gives, or cannot be written; an old file is intact.
    """
    file = Path(onnx)
    check_export_name(file)
    model, *others = load_models([Path(run)])
    if others:
        raise UserError(f"{run} holds {1 + len(others)} models that predict together; export them one at a time, such as {model.run}")
    pictures, told = _pictures(model, Path(images) if images else None)
    calibration = _calibration(model, Path(images) if images else None) if int8 else None
    difference, cost = export_onnx(model.network, model.description, file, pictures, calibration=calibration)
    px = model.description.image.px
    return Exported(file, OPSET, f"{INPUT} uint8 (batch, 3, {px}, {px})", output_names(model.network), difference, told, cost)


def _pictures(model: TrainedModel, images: Path | None) -> tuple[Tensor, str]:
    """uint8 `(pictures, 3, px, px)`, and in words where they are from."""
    image = model.description.image
    if images is not None:
        asked = read_input(images, box=model.description.box)
        for start in range(0, len(asked.paths), CHECKED_PICTURES):
            some = slice(start, start + CHECKED_PICTURES)
            if len(read := read_pictures(asked.paths[some], None if asked.boxes is None else asked.boxes[some], image)):
                return read, f"{len(read)} picture{'' if len(read) == 1 else 's'} of {images}"
        raise UserError(f"--images {images}: no picture of it can be read; name a folder with others")
    for split, name in (("val", "validation"), ("train", "training")):
        own = run_pictures(model.run, split, most=CHECKED_PICTURES)
        if own is not None and len(read := read_pictures(own.paths, own.boxes, image)):
            return read, f"{len(read)} {name} pictures of the run"
    with tempfile.TemporaryDirectory() as folder:
        draw_faces(Path(folder), people=_DRAWN_PEOPLE)
        drawn = read_pictures(read_input(Path(folder)).paths[:CHECKED_PICTURES], None, image)
    return drawn, f"{len(drawn)} drawn pictures, because the run's own are not on this machine; name some with --images DIR"


def _calibration(model: TrainedModel, images: Path | None) -> Calibration:
    """What int8's ranges are taken from, and what its cost is measured on."""
    heads = model.description.heads
    image = model.description.image
    if images is not None:
        asked = read_input(images, box=model.description.box)
        seen, unseen = (
            read_pictures(asked.paths[half], None if asked.boxes is None else asked.boxes[half], image)
            for half in (slice(0, 2 * CALIBRATION_PICTURES, 2), slice(1, 2 * MEASURED_PICTURES, 2))
        )
        if not (len(seen) and len(unseen)):
            raise UserError(f"--int8 --images {images}: expected two pictures or more that can be read; name a folder with more")
        return Calibration(seen, unseen, {head: np.full(len(unseen), MISSING) for head in heads})
    train, held = (run_pictures(model.run, split, most=most) for split, most in (("train", CALIBRATION_PICTURES), ("val", MEASURED_PICTURES)))
    if train is None or held is None:
        raise UserError(f"--int8: the training and validation pictures of {model.run} are not on this machine; name pictures with --images DIR")
    seen, unseen = read_pictures(train.paths, train.boxes, image), read_pictures(held.paths, held.boxes, image)
    if not len(seen) or len(unseen) != len(held.paths):
        raise UserError(f"--int8: pictures of {model.run} cannot be read any more; name others with --images DIR")
    return Calibration(seen, unseen, {head: _targets(held.table[head], model, head) for head in heads})


def _targets(labels: "pd.Series[str]", model: TrainedModel, head: str) -> npt.NDArray[np.int64]:
    places = {name: place for place, name in enumerate(model.description.attributes[head].classes)}
    return np.array([places.get(label, MISSING) for label in labels], dtype=np.int64)
