"""The same small piece of work for many rows, in threads: for what releases the interpreter's lock, as reading and decoding do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from attrcls.data.loader import default_workers

ResultT = TypeVar("ResultT")
# A pool keeps a kilobyte and a half for everything that it is handed: rows go to it by the hundred.
_ROWS = 100


def in_threads(work: Callable[[int], ResultT], rows: int) -> list[ResultT]:
    """What `work` gives for each of `rows` positions, in order; what it raises is raised."""

    def several(start: int) -> list[ResultT]:
        return [work(row) for row in range(start, min(start + _ROWS, rows))]

    with ThreadPoolExecutor(default_workers()) as pool:
        return [result for part in pool.map(several, range(0, rows, _ROWS)) for result in part]
