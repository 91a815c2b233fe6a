"""Seeded chance: generators and shuffled decks that depend on the seed and an index alone, never on how many are drawn.

So person 5 of a sample of 20 is person 5 of a sample of 2,000, and the shares of classes and faults still come out exact.
"""

from collections.abc import Sequence
from typing import TypeVar
from zlib import crc32

import numpy as np

Card = TypeVar("Card")


def chance(seed: int, stream: str, index: int) -> np.random.Generator:
    """The generator of one thing: `stream` says which kind of thing (`train person`), `index` which one of them."""
    return np.random.default_rng([seed, crc32(stream.encode()), index])


def dealt(deck: Sequence[Card], *, seed: int, stream: str, index: int) -> Card:
    """The card that falls to `index` when `deck` is shuffled anew for every len(deck) indices.

    Every whole deck holds its cards in exact proportion, which independent draws would not give a small sample.
    """
    turn, place = divmod(index, len(deck))
    order = chance(seed, f"deck {stream}", turn).permutation(len(deck))
    return deck[int(order[place])]
