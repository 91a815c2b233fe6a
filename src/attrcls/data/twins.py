"""The same picture twice, though no byte may be the same: copies, and pictures saved anew, resized, brightened, cropped a little or mirrored.

Fingerprints go in, pairs come out. A pair must pass three looks, each dearer and stricter than the one before: the distance of perceptual
hashes, found without comparing all with all; a coarse look at shapes and colours; and fine detail, after one picture was laid over the other.
Plain backgrounds and faces that fill the frame fool hashes alone; what that cost on real pictures stands at the thresholds.
"""

import functools
import itertools
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from attrcls.data.fingerprints import DETAIL_PX, INNER_MARGIN, VIEWS, Fingerprints
from attrcls.data.leaks import Pairs, number_together
from attrcls.data.loader import default_workers

# Of 4,519 garments and 5,000 faces, hashes alone call 266 and 1,002 pairs alike at this distance; 2 and 64 are.
HASH_DISTANCE = 8
EDGE_DISTANCE = 10
MIN_COLOUR_MATCH = 0.85
# Other pictures that pass the first two looks reach 0.92 (two white shirts on one carpet), the same picture cropped by 2 % starts at 0.95.
MIN_DETAIL_MATCH = 0.94
# Light and shade that are broader than this, in thumbnail pixels, are not detail.
DETAIL_SIGMA = 4.0
CHUNK_PAIRS = 1 << 20
COPY, NEAR, MIRRORED = 0, 1, 2
KINDS = ("copy", "near", "mirrored")


@dataclass(frozen=True)
class Twins:
    """Pairs of places `(pairs, 2)`, the smaller first, and each pair's kind: COPY (the same bytes), NEAR or MIRRORED."""

    pairs: Pairs
    kinds: npt.NDArray[np.int64]


def find_twins(prints: Fingerprints) -> Twins:
    """Pairs that tie together all pictures that show the same.

    Not every pair of them: what is tied already, by a nearer kind or through others, is not compared again. Of several with the very same
    bytes, only the first is paired with others.
    """
    tied = np.zeros((0, 2), np.int64)
    pairs, kinds = [prints.copies], [np.full(len(prints.copies), COPY)]
    for view in (VIEWS.index("whole"), VIEWS.index("inner"), VIEWS.index("mirrored")):
        found = _match_in_detail(prints, _likely(prints, view=view), view=view, tied=tied)
        tied = np.concatenate([tied, found])
        pairs.append(prints.position[found])
        kinds.append(np.full(len(found), MIRRORED if VIEWS[view] == "mirrored" else NEAR))
    return Twins(np.sort(np.concatenate(pairs), axis=1), np.concatenate(kinds).astype(np.int64))


def near_hashes(queries: npt.NDArray[np.uint64], hashes: npt.NDArray[np.uint64], *, distance: int) -> Iterator[Pairs]:
    """Every pair (query, hash) that differs in at most `distance` of 64 bits, once, in chunks.

    Cut into distance + 1 bands, two such hashes agree in at least one whole band (Norouzi et al. 2012), so only those of one bucket are
    compared: for 8 bits, one pair of about thirty where hashes are spread evenly.
    """
    edges = np.linspace(0, 64, distance + 2).astype(int)
    earlier: list[np.uint64] = []
    for low, high in itertools.pairwise(edges):
        mask, shift = np.uint64((1 << int(high - low)) - 1), np.uint64(low)
        keys = (hashes >> shift) & mask
        order = np.argsort(keys, kind="stable")
        asked = (queries >> shift) & mask
        first = np.searchsorted(keys[order], asked, side="left")
        counts = np.searchsorted(keys[order], asked, side="right") - first
        for part in _in_chunks(counts):
            query = np.repeat(part, counts[part])
            before = np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
            found = order[np.repeat(first[part], counts[part]) + np.arange(len(query)) - before]
            differ = queries[query] ^ hashes[found]
            new = count_bits(differ) <= distance
            for band in earlier:
                new &= (differ & band) != 0  # else it came with that band
            yield np.stack([query[new], found[new]], axis=1).astype(np.int64)
        earlier.append(mask << shift)


def count_bits(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """How many bits are set in each word, added up in parallel within it (Warren, Hacker's Delight, 5-1)."""
    one, two, four, top = (np.uint64(number) for number in (1, 2, 4, 56))
    words = words - ((words >> one) & np.uint64(0x5555555555555555))
    words = (words & np.uint64(0x3333333333333333)) + ((words >> two) & np.uint64(0x3333333333333333))
    words = (words + (words >> four)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return ((words * np.uint64(0x0101010101010101)) >> top).astype(np.int64)


def _in_chunks(counts: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Positions in order, cut where their counts add up to a chunk; one position is never cut."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CHUNK_PAIRS, side="right")))
        yield np.arange(start, stop)
        start = stop


def _likely(prints: Fingerprints, *, view: int) -> Pairs:
    """Pairs of which the first, seen in this view, has nearly the hashes, shapes and colours of the second as it is; each once."""
    kept = [np.zeros((0, 2), np.int64)]
    for pairs in near_hashes(prints.hashes[:, view], prints.hashes[:, 0], distance=HASH_DISTANCE):
        # What is as it is, and what is mirrored, is so from both sides; what is cropped is so from one.
        once = pairs[:, 0] != pairs[:, 1] if VIEWS[view] == "inner" else pairs[:, 0] < pairs[:, 1]
        pairs = pairs[once]
        pairs = pairs[count_bits(prints.edges[pairs[:, 0], view] ^ prints.edges[pairs[:, 1], 0]) <= EDGE_DISTANCE]
        kept.append(pairs[_match(prints.colours[pairs[:, 0], view], prints.colours[pairs[:, 1], 0]) >= MIN_COLOUR_MATCH])
    return np.unique(np.concatenate(kept), axis=0)


def _match(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Correlation of each pair of thumbnails over pixels and colours, `(pairs,)`, −1 to 1; 0 where one of them is of one colour."""
    centred = [images.reshape(len(images), math.prod(images.shape[1:])).astype(np.float32) for images in (one, other)]
    centred = [images - images.mean(axis=1, keepdims=True) for images in centred]
    product = (centred[0] * centred[1]).sum(axis=1)
    norm = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    match: npt.NDArray[np.float32] = np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)
    return match


def _match_in_detail(prints: Fingerprints, likely: Pairs, *, view: int, tied: Pairs) -> Pairs:
    """Of likely pairs those that show the same, the smaller first, as far as `tied` pairs and others found here do not tie them yet."""
    detail = functools.cache(lambda row: _detail(prints.detail[row]))

    def matches(pair: list[int]) -> bool:
        seen, other = detail(pair[0]), detail(pair[1])
        inner = VIEWS[view] == "inner"
        seen = np.ascontiguousarray(seen[:, ::-1]) if VIEWS[view] == "mirrored" else seen
        return _overlay(other, seen, margin=INNER_MARGIN if inner else 0.0) >= MIN_DETAIL_MATCH

    found = np.zeros((0, 2), np.int64)
    with ThreadPoolExecutor(default_workers()) as pool:
        while len(likely):
            together = number_together(np.concatenate([tied, found]), members=len(prints.hashes))
            likely = likely[together[likely[:, 0]] != together[likely[:, 1]]]
            # One pair of each picture at a time: of a film's 300 frames 299 pairs are compared, and not 44,850.
            _, first = np.unique(likely[:, 1], return_index=True)
            same = np.fromiter(pool.map(matches, likely[first].tolist()), dtype=bool, count=len(first))
            found = np.concatenate([found, np.sort(likely[first][same], axis=1)])
            likely = np.delete(likely, first, axis=0)
    return np.unique(found, axis=0)


def _detail(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    image = grey.astype(np.float32)
    return image - cv2.GaussianBlur(image, (0, 0), DETAIL_SIGMA)


def _overlay(part: npt.NDArray[np.float32], whole: npt.NDArray[np.float32], *, margin: float) -> float:
    """The correlation of two pictures once one is shifted, scaled and turned over the other (Evangelidis and Psarakis 2008); −1 where
    they find no fit. The search starts from `part` being `whole` less a margin of so much of each side."""
    start = np.array([[1 - 2 * margin, 0, margin * DETAIL_PX], [0, 1 - 2 * margin, margin * DETAIL_PX]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-3)
    try:
        return float(cv2.findTransformECC(part, whole, start, cv2.MOTION_AFFINE, stop, None, 3)[0])  # type: ignore[call-overload]
    except cv2.error:  # the search ran off the picture
        return -1.0
