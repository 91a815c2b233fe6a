"""The combined code: a mixed-radix number over the task's ordered attributes, and its decoding.

`mask*6 + gender*3 + age` is the code of the order (mask, gender, age) with radices (3, 2, 3): Horner's scheme with
the last attribute running fastest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from attrcls.errors import UserError
from attrcls.task import Plan
from attrcls.types import MISSING

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Combiner:
    """A named mixed-radix code. `order` are the attributes, most significant first; `radices` their class counts."""

    name: str
    order: tuple[str, ...]
    radices: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.order) != len(self.radices) or not self.order or min(self.radices) < 1:
            raise UserError(f"combined code {self.name!r}: expected one positive class count per attribute, found {self.radices}")

    @property
    def size(self) -> int:
        """The number of codes; they run from 0 to `size - 1`."""
        return prod(self.radices)

    def encode(self, indices: Mapping[str, Sequence[int] | IntArray]) -> IntArray:
        """Class indices per attribute, each `(n,)`, to codes `(n,)`; a row that misses any attribute is `MISSING`.

        Raises:
            UserError: an attribute is not given, or an index is outside its radix.
        """
        codes = np.zeros((), dtype=np.int64)
        missing = np.zeros((), dtype=bool)
        for attribute, radix in zip(self.order, self.radices, strict=True):
            if attribute not in indices:
                raise UserError(f"combined code {self.name!r}: attribute {attribute!r} is not among {', '.join(indices) or 'none'}")
            column = np.asarray(indices[attribute], dtype=np.int64)
            if ((column < MISSING) | (column >= radix)).any():
                raise UserError(f"combined code {self.name!r}: expected {attribute} from 0 to {radix - 1}, found {column.min()} to {column.max()}")
            codes = codes * radix + column
            missing = missing | (column == MISSING)
        return np.where(missing, MISSING, codes)

    def decode(self, codes: Sequence[int] | IntArray) -> dict[str, IntArray]:
        """Codes `(n,)` to class indices per attribute, each `(n,)`; `MISSING` decodes to `MISSING` everywhere.

        Raises:
            UserError: a code is outside 0 to `size - 1`.
        """
        left = np.asarray(codes, dtype=np.int64)
        missing = left == MISSING
        if ((left < MISSING) | (left >= self.size)).any():
            raise UserError(f"combined code {self.name!r}: expected 0 to {self.size - 1}, found {left.min()} to {left.max()}")
        decoded: dict[str, IntArray] = {}
        for attribute, radix in zip(reversed(self.order), reversed(self.radices), strict=True):
            decoded[attribute] = np.where(missing, MISSING, left % radix)
            left = left // radix
        return {attribute: decoded[attribute] for attribute in self.order}


def combiner_for(plan: Plan) -> Combiner | None:
    """The task's combined code, whether or not this run trains all of its attributes."""
    if plan.task.combine is None:
        return None
    order = tuple(plan.task.combine.order)
    return Combiner(plan.task.combine.name, order, tuple(len(plan.attributes[name].classes) for name in order))
