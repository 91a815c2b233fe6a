"""Decoded pictures in two big files, read and written by any number of processes at once.

For each size and fit there are `224-stretch.index`, an entry per picture (its key, the stamp of the file that was decoded, a
seal over the pixels), and `224-stretch.pixels`, the pixels in the same order. Two files instead of one per picture: the
system's page cache keeps them for all processes, and a read is two calls. They are read with pread, not through a memory map:
a bad disk, or a file that another process cut short, is then an error and not a signal that kills.

Which pixels belong at a place does not depend on who writes them. What was torn, flipped or is out of date does not fit its
seal or stamp, and counts as absent.
"""

import hashlib
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import simplejpeg

from attrcls.data.levels import Pixels
from attrcls.data.loader import Pictures

# Raise the number when decoding or resizing gives other pixels than before; the libraries' versions do it for them.
_STAMPED = f"1 {cv2.__version__} {simplejpeg.__version__} {PIL.__version__}".encode()
_DIGEST = 16
ENTRY_BYTES = 3 * _DIGEST
# Records are whole rows of 64 words, which a seal sums column by column: a few percent of what a decode costs, where a CRC
# costs a third.
_ROW = 512


class PixelFile:
    """The two files of one size and fit; a picture's place in both is its slot. Opening them raises an OSError where they cannot be."""

    def __init__(self, folder: Path, pictures: Pictures[Path]) -> None:
        self._arguments = folder, pictures
        self._px = pictures.resize_px
        self.record = record_bytes(self._px)
        self._index = self._opened(folder / f"{self._px}-{pictures.fit}.index")
        self._pixels = self._opened(folder / f"{self._px}-{pictures.fit}.pixels")

    def __reduce__(self) -> Any:
        # A worker that was not forked opens the files for itself.
        return PixelFile, self._arguments

    def entries(self) -> dict[bytes, tuple[int, bytes]]:
        """Key to slot and stamp. Half an entry at the end, left by a full disk, counts for nothing."""
        data = os.pread(self._index, os.fstat(self._index).st_size, 0)
        starts = range(0, len(data) // ENTRY_BYTES * ENTRY_BYTES, ENTRY_BYTES)
        return {data[at : at + _DIGEST]: (at // ENTRY_BYTES, data[at + _DIGEST : at + 2 * _DIGEST]) for at in starts}

    def append(self, keys: Sequence[bytes]) -> None:
        """Give slots to keys that have none; whoever calls holds the lock."""
        end = os.fstat(self._index).st_size // ENTRY_BYTES * ENTRY_BYTES
        _write(self._index, b"".join(key + bytes(2 * _DIGEST) for key in keys), end)

    def get(self, slot: int, stamp: bytes) -> Pixels | None:
        """The pixels at a slot, None unless they are whole and of the file with this stamp."""
        record = np.empty(self.record, dtype=np.uint8)
        try:
            entry = os.pread(self._index, 2 * _DIGEST, slot * ENTRY_BYTES + _DIGEST)
            if entry[:_DIGEST] != stamp or os.preadv(self._pixels, [record.data], slot * self.record) != self.record:
                return None
        except OSError:
            return None
        return self._pixels_of(record) if _seal(stamp, record) == entry[_DIGEST:] else None

    def put(self, slot: int, stamp: bytes, image: Pixels, *, reserve: int) -> bool:
        """Write pixels at a slot; False, and nothing is written, where fewer than `reserve` bytes of the disk are free.

        Raises:
            OSError: they cannot be written.
        """
        disk = os.fstatvfs(self._pixels)
        if disk.f_bavail * disk.f_frsize < reserve:
            return False
        record = np.zeros(self.record, dtype=np.uint8)
        self._pixels_of(record)[:] = image
        _write(self._pixels, record.data, slot * self.record)
        _write(self._index, stamp + _seal(stamp, record), slot * ENTRY_BYTES + _DIGEST)
        return True

    def _opened(self, file: Path) -> int:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        weakref.finalize(self, os.close, handle)
        return handle

    def _pixels_of(self, record: Pixels) -> Pixels:
        return record[: self._px * self._px * 3].reshape(self._px, self._px, 3)


def record_bytes(px: int) -> int:
    """What a picture of this size takes."""
    return -(-px * px * 3 // _ROW) * _ROW


def _write(handle: int, data: Any, at: int) -> None:
    # A disk that fills up takes a part, and refuses the rest with the reason.
    while len(data):
        written = os.pwrite(handle, data, at)
        data, at = data[written:], at + written


def keys_of(pictures: Pictures[Path]) -> npt.NDArray[np.uint8]:
    """`(rows, 16)`: whose pixels a row's are: its path's and its box's."""
    keys = np.empty((len(pictures.paths), _DIGEST), dtype=np.uint8)
    for row, path in enumerate(pictures.paths):
        box = pictures.box(row)
        text = os.fsencode(os.path.abspath(path)) + repr(box).encode()
        keys[row] = np.frombuffer(hashlib.blake2b(text, digest_size=_DIGEST).digest(), dtype=np.uint8)
    return keys


def stamp_of(path: Path, key: bytes) -> bytes | None:
    """Of what state of the file, and decoded by what, pixels are; None where there is no such file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    state = f"{found.st_size} {found.st_mtime_ns} ".encode()
    return hashlib.blake2b(key + state + _STAMPED, digest_size=_DIGEST).digest()


def is_present(path: Path, key: bytes, known: Mapping[bytes, tuple[int, bytes]]) -> bool:
    """Whether the entries have a file's picture as the file is now."""
    return key in known and known[key][1] == stamp_of(path, key)


def _seal(stamp: bytes, record: Pixels) -> bytes:
    sums = record.view(np.uint64).reshape(-1, _ROW // 8).sum(axis=0)
    return hashlib.blake2b(stamp + sums.tobytes(), digest_size=_DIGEST).digest()
