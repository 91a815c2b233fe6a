"""Where many pictures lie, held small: a list of a hundred thousand paths takes a hundred megabytes, their text ten.

Nor does reading an entry write to the memory that holds them all, as counting references to a list's entries does: in forked
workers every page so touched becomes a copy of its own.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Generic, TypeVar, cast, overload

import numpy as np

from attrcls.data.remote import Location, Url

LocationT = TypeVar("LocationT", bound=Location)
_PATH, _URL = b"p", b"u"


class Locations(Sequence[LocationT], Generic[LocationT]):
    """A sequence of paths and URLs; each is made anew when it is asked for. A slice is a list."""

    def __init__(self, locations: Iterable[LocationT]) -> None:
        text, ends = bytearray(), [0]
        for location in locations:
            # As the system has it: a name need not be UTF-8.
            text += _URL + location.text.encode() if isinstance(location, Url) else _PATH + os.fsencode(location)
            ends.append(len(text))
        self._text = bytes(text)
        self._ends = np.array(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> LocationT: ...
    @overload
    def __getitem__(self, index: slice) -> list[LocationT]: ...
    def __getitem__(self, index: int | slice) -> LocationT | list[LocationT]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"expected a position below {len(self)}, found {index}")
        start, end = self._ends[index % len(self)], self._ends[index % len(self) + 1]
        name = self._text[start + 1 : end]
        return cast("LocationT", Url(name.decode()) if self._text[start : start + 1] == _URL else Path(os.fsdecode(name)))
