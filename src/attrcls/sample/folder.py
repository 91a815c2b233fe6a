"""The folder that a sample is drawn into: refused when it is taken, complete or absent, never half-made."""

import contextlib
import csv
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from attrcls.errors import AttrclsError, UserError

FEWEST_PEOPLE = 10
MOST_PEOPLE = 100_000
JPEG_QUALITY = 90


@dataclass(frozen=True)
class SampleSummary:
    """What a sample holds. `faults` counts wrong labels in the training table, `images` the training pictures."""

    directory: Path
    people: int
    images: int
    evaluation_images: int
    faults: int
    written: tuple[Path, ...]


@contextlib.contextmanager
def new_folder(directory: Path, *, people: int, seed: int) -> Iterator[Path]:
    """Check the request, give a hidden sibling of `directory` to draw into, and put it in place at the end.

    Raises:
        UserError: `directory` is a file or holds files, `people` is out of range, or `seed` is negative.
        AttrclsError: the disk is full or the folder cannot be written; `directory` is as it was.
    """
    if not FEWEST_PEOPLE <= people <= MOST_PEOPLE:
        raise UserError(f"--people must lie between {FEWEST_PEOPLE} and {MOST_PEOPLE:,}, found {people}; try --people 120")
    if seed < 0:
        raise UserError(f"--seed must be 0 or more, found {seed}")
    target = directory.resolve()
    if target.exists() and not target.is_dir():
        raise UserError(f"{directory} is a file, and a sample needs a folder; name a folder that does not exist yet")
    drawing = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    try:
        if target.exists() and any(target.iterdir()):
            raise UserError(f"{directory} is not empty, and a sample never mixes with other files; name a new folder or empty this one")
        drawing.mkdir(parents=True)
        yield drawing
        _put_in_place(drawing, target)
    except OSError as error:
        raise AttrclsError(f"could not write the sample to {directory}: {error.strerror or error}; name a folder you can write to") from error
    finally:
        shutil.rmtree(drawing, ignore_errors=True)


def write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file with plain newlines, so that the same seed gives the same bytes on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an RGB picture, uint8 of shape (height, width, 3), in the format that the ending of `path` names."""
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if path.suffix == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    encoded, content = cv2.imencode(path.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    assert encoded, f"OpenCV cannot encode {path.suffix}"
    path.write_bytes(content.tobytes())


def _put_in_place(drawing: Path, target: Path) -> None:
    if not target.exists():
        drawing.rename(target)
        return
    # An empty folder that exists may be the shell's own or a mount; it is filled rather than replaced.
    placed: list[Path] = []
    try:
        for entry in sorted(drawing.iterdir()):
            placed.append(entry.rename(target / entry.name))
    except OSError:
        # Back, to be removed with the rest.
        for path in placed:
            path.rename(drawing / path.name)
        raise
