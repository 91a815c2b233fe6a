"""What is kept of a picture to find it again after it was saved anew, resized, brightened, mirrored or cropped a little.

Pictures go in; small arrays come out: two perceptual hashes and a coarse colour thumbnail of three views of each, and one grey thumbnail.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from attrcls.data.images import read_image, resize_to
from attrcls.data.levels import Pixels
from attrcls.data.threads import in_threads
from attrcls.errors import ImageError

DETAIL_PX = 64
COLOUR_PX = 16
# A crop of 5 % is as far from the whole picture as many other pictures are; it is close to the picture less a margin.
INNER_MARGIN = 0.04
VIEWS = ("whole", "mirrored", "inner")
# Below this spread of grey levels there is nothing to compare: a blank page would resemble every other one.
PLAIN_LEVELS = 3.0


ScalarT = TypeVar("ScalarT", bound=np.generic)


class Fingerprint(NamedTuple):
    """One picture: `hashes` (pHash, 64 bits) and `edges` (dHash, 64 bits) are uint64 `(views,)`, `colours` are uint8 `(views, 16, 16, 3)`,
    `detail` is uint8 grey `(64, 64)`."""

    hashes: npt.NDArray[np.uint64]
    edges: npt.NDArray[np.uint64]
    colours: npt.NDArray[np.uint8]
    detail: npt.NDArray[np.uint8]

    @property
    def plain(self) -> bool:
        """Whether the picture shows next to nothing."""
        return float(self.detail.std()) < PLAIN_LEVELS


@dataclass(frozen=True)
class Fingerprints:
    """Those of many pictures, stacked. `position[k]` is the place of fingerprint k's picture among the paths given; pictures that are
    `failed` (unreadable) or `plain` have none. `copies` `(copies, 2)` are places with the very same bytes, the second after the first;
    only the first of them has a fingerprint."""

    position: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    edges: npt.NDArray[np.uint64]
    colours: npt.NDArray[np.uint8]
    detail: npt.NDArray[np.uint8]
    copies: npt.NDArray[np.int64]
    failed: Sequence[int]
    plain: Sequence[int]


def fingerprint(image: Pixels) -> Fingerprint:
    """Of an RGB picture (height, width, 3) of any size."""
    import imagehash  # late: with scipy and pywt it takes half a second, and few commands look for duplicates

    small = resize_to(image, px=DETAIL_PX, fit="stretch")
    margin = [round(side * INNER_MARGIN) for side in image.shape[:2]]
    inside = image[margin[0] : image.shape[0] - margin[0], margin[1] : image.shape[1] - margin[1]]
    views = (small, np.ascontiguousarray(small[:, ::-1]), resize_to(inside, px=DETAIL_PX, fit="stretch"))
    greys = [cv2.cvtColor(view, cv2.COLOR_RGB2GRAY) for view in views]
    pictures = [Image.fromarray(grey) for grey in greys]
    return Fingerprint(
        hashes=np.array([_bits(imagehash.phash(picture).hash) for picture in pictures], np.uint64),
        edges=np.array([_bits(imagehash.dhash(picture).hash) for picture in pictures], np.uint64),
        colours=np.stack([cv2.resize(view, (COLOUR_PX, COLOUR_PX), interpolation=cv2.INTER_AREA) for view in views]).astype(np.uint8),
        detail=greys[0].astype(np.uint8),
    )


def read_fingerprints(paths: Sequence[Path]) -> Fingerprints:
    """Read every picture once; what cannot be read is left out and told in `failed`."""

    def digest(place: int) -> bytes | None:
        try:
            with paths[place].open("rb") as file:
                return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
        except (OSError, ValueError):  # ValueError: a NUL character in the path
            return None

    def look(place: int) -> Fingerprint | None:
        try:
            return fingerprint(read_image(paths[place], min_px=DETAIL_PX))
        except ImageError:
            return None

    first_of: dict[bytes, int] = {}
    copies = []
    for place, content in enumerate(in_threads(digest, len(paths))):
        if content is not None and (first := first_of.setdefault(content, place)) != place:
            copies.append((first, place))
    alone = list(first_of.values())
    found = in_threads(lambda position: look(alone[position]), len(alone))
    unreadable = {place for place, print_ in zip(alone, found, strict=True) if print_ is None}
    # Two broken files of the same bytes are no picture twice.
    unreadable |= {second for first, second in copies if first in unreadable}
    known = [(place, print_) for place, print_ in zip(alone, found, strict=True) if print_ is not None]
    kept = [(place, print_) for place, print_ in known if not print_.plain]
    read = set(first_of.values()) | {second for _, second in copies}
    return Fingerprints(
        position=np.array([place for place, _ in kept], np.int64),
        hashes=_stacked([print_.hashes for _, print_ in kept], (len(VIEWS),), np.uint64),
        edges=_stacked([print_.edges for _, print_ in kept], (len(VIEWS),), np.uint64),
        colours=_stacked([print_.colours for _, print_ in kept], (len(VIEWS), COLOUR_PX, COLOUR_PX, 3), np.uint8),
        detail=_stacked([print_.detail for _, print_ in kept], (DETAIL_PX, DETAIL_PX), np.uint8),
        copies=np.array([pair for pair in copies if pair[0] not in unreadable], np.int64).reshape(-1, 2),
        failed=[place for place in range(len(paths)) if place not in read or place in unreadable],
        plain=[place for place, print_ in known if print_.plain],
    )


def _bits(hash_: npt.NDArray[np.bool_]) -> np.uint64:
    return np.uint64(int.from_bytes(np.packbits(hash_).tobytes(), "big"))


def _stacked(arrays: Sequence[npt.NDArray[ScalarT]], shape: tuple[int, ...], kind: type[ScalarT]) -> npt.NDArray[ScalarT]:
    return np.stack(arrays) if arrays else np.zeros((0, *shape), kind)
