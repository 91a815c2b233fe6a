"""Which recipe a draw is augmented by: that of its row's scarce group, else that of a row's repeats, else the usual one.

Enters: a task's recipes, and each row's group. Leaves: for each draw the augmenter to use, so that pictures in worker processes and
pictures on a device choose alike.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from attrcls.types import MISSING

KindT = TypeVar("KindT")
BuiltT = TypeVar("BuiltT")


class Recipe(NamedTuple):
    """A recipe as a task gives it, by its name or as a list of transforms, and its key there, by which messages call it."""

    transforms: str | Sequence[Mapping[str, Any]]
    key: str = "augment"


@dataclass(frozen=True)
class Recipes(Generic[KindT]):
    """`repeats` is for a row's second and further draws in an epoch, by default as `usual`. `groups` are those of scarce groups, for all draws
    of their rows: `group_of` int64 `(rows,)` has each row's place among them, `MISSING` where it is in none.
    """

    usual: KindT
    repeats: KindT | None = None
    groups: Sequence[KindT] = ()
    group_of: npt.NDArray[np.int64] | None = None

    def choose(self, row: int, *, repeat: int) -> KindT:
        """What augments a row's draw; `repeat` counts the row's draws in the epoch from 0."""
        group = MISSING if self.group_of is None else int(self.group_of[row])
        if group != MISSING:
            return self.groups[group]
        return self.repeats if repeat and self.repeats is not None else self.usual

    def built(self, build: Callable[[KindT], BuiltT]) -> "Recipes[BuiltT]":
        """The same choice among what `build` makes of each."""
        repeats = None if self.repeats is None else build(self.repeats)
        return Recipes(build(self.usual), repeats, [build(each) for each in self.groups], self.group_of)
