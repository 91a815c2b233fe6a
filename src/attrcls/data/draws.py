"""Which rows an epoch holds, and how often each: expected draws in, whole numbers of repeats out."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
PartT = TypeVar("PartT")


class Parts(Sequence[PartT], Generic[PartT]):
    """`count` things, the i-th of which `make(i)` makes whenever it is asked for.

    An epoch's batches of draws, say: all of them as Python objects take a hundred times the memory of what they are made from, and
    forked workers each copy what they look at.
    """

    def __init__(self, count: int, make: Callable[[int], PartT]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[PartT]:
        # Sequence's own takes an IndexError of the maker's for the end.
        return map(self._make, range(self._count))

    @overload
    def __getitem__(self, index: int) -> PartT: ...
    @overload
    def __getitem__(self, index: slice) -> "Parts[PartT]": ...
    def __getitem__(self, index: int | slice) -> "PartT | Parts[PartT]":
        positions = range(self._count)[index]
        if isinstance(positions, range):
            return Parts(len(positions), lambda place: self._make(positions[place]))
        return self._make(positions)


def split_evenly(count: int, size: int) -> list[tuple[int, int]]:
    """Where parts of `count` things start and stop: `size` things or one less in each, so that no last one is tiny."""
    edges = np.linspace(0, count, max(1, -(-count // size)) + 1).round().astype(int).tolist()
    return [(start, stop) for start, stop in itertools.pairwise(edges) if stop > start]


def expected_draws(cards: npt.NDArray[np.object_], ratios: Mapping[str, float]) -> Floats:
    """How often an epoch draws each row, `(rows,)`, before any balancing: its card's ratio.

    The ratio is rounded so that a card's draws are a whole number, and at least one.
    """
    expected = np.ones(len(cards))
    for card in dict.fromkeys(cards):
        of_card = cards == card
        rows = int(of_card.sum())
        expected[of_card] = max(1, round(ratios.get(str(card), 1.0) * rows)) / rows
    return expected


def draw_rows(expected: Floats, cards: npt.NDArray[np.object_], generator: np.random.Generator) -> tuple[Ints, Ints]:
    """Draw an epoch: each row `expected` times on average, and never more than one draw away from that.

    `expected`: `(rows,)`, 0 or more; each card's sum is a whole number, and so many of its rows are drawn. Returns the
    rows drawn, `(draws,)`, in the manifest's order, and which repeat of its row each draw is, counted from 0.

    What is left of `expected` above a whole number is settled by systematic sampling (Madow 1949, Ann. Math. Statist. 20) over the
    rows in random order, but with equal ones side by side: rows with the same labels have the same weight, so that the
    number of draws of each class hardly differs between epochs.
    """
    counts = np.floor(expected).astype(np.int64)
    for card in dict.fromkeys(cards):
        order = generator.permutation(np.flatnonzero(cards == card))
        order = order[np.argsort(expected[order], kind="stable")]
        left = round(expected[order].sum()) - int(counts[order].sum())
        if left > 0:
            counts[order] += _systematic(expected[order] - counts[order], left, generator.random())
    rows = np.repeat(np.arange(len(expected)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _systematic(chances: Floats, total: int, start: float) -> Ints:
    """0 or 1 for each of `chances` `(rows,)`, which sum to `total`; `start` is uniform in 0–1."""
    edges = np.cumsum(chances)
    # The sum is whole but for rounding; a row whose chance is 0 must not be drawn to make up for that.
    edges = np.where(edges > total - 1e-6, float(total), edges)
    return np.diff(np.floor(edges + start), prepend=0.0).astype(np.int64)
