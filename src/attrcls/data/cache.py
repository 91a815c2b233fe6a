"""`--cache DIR`: each picture is decoded once; later epochs, later runs and other processes find its pixels.

A row of a manifest gets a place in the folder's files while there is room, under a lock; workers fill the places as they
decode, and write anew what is damaged or out of date (see `pixelfile`). It saves time and changes no pixel.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from attrcls.data.levels import Pixels
from attrcls.data.loader import Pictures
from attrcls.data.pixelfile import ENTRY_BYTES, PixelFile, is_present, keys_of, record_bytes, stamp_of
from attrcls.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, which has no pread either.
    fcntl = None  # type: ignore[assignment]

# Left free on the disk, for whoever else writes there.
RESERVE_BYTES = 1 << 30
CACHE_SIZE = "20GB"
_TOO_FULL = -1
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def open_cache(folder: str | Path | None, size: str) -> "PixelCache | None":
    """The cache in `folder`, bounded by a size such as `20GB`; None where there is no folder.

    Raises:
        UserError: it is no such size, or no folder that can be written.
    """
    limit = _bytes_of(size)
    return PixelCache(Path(folder), limit=limit) if folder else None


def _bytes_of(size: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]B)\s*", size, re.IGNORECASE)
    if not found:
        raise UserError(f"--cache-size: expected a size such as 20GB or 500MB, found {size!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


class PixelCache:
    """A folder of decoded pictures that takes at most `limit` bytes and never the last of its disk.

    It only saves time: where it cannot be written any more, `trouble` says so, and pictures are decoded as without it.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        """Raises:
        UserError: `folder` is a file, or cannot be made or written.
        """
        self._folder, self._limit = folder, limit
        # What went wrong, by number; in shared memory, because workers are the ones who write.
        self._stopped = torch.zeros(1, dtype=torch.int32).share_memory_()  # type: ignore[no-untyped-call]
        self._told = False
        # Of each set of pictures that was asked for: how many have a place, are present, found no place; and what a place takes.
        self._counts: dict[bytes, tuple[int, int, int, int]] = {}
        if fcntl is None:
            raise UserError("--cache does not work on this system; leave it out")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._locked():
                pass
        except (FileExistsError, NotADirectoryError):
            raise UserError(f"--cache {folder}: expected a folder, found a file; name another one") from None
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"--cache {folder}: cannot be written ({(error.strerror or str(error)).lower()}); name another folder") from error
            self._stopped[0] = error.errno

    def holds(self, pictures: Pictures[Path]) -> npt.NDArray[np.bool_]:
        """Whether each row's picture is there, and its file as it was when it was decoded; the pixels are not looked at."""
        keys = keys_of(pictures)
        try:
            known = PixelFile(self._folder, pictures).entries()
        except OSError:
            return np.zeros(len(keys), dtype=np.bool_)
        return np.array([is_present(pictures.paths[row], key.tobytes(), known) for row, key in enumerate(keys)], dtype=np.bool_)

    def keep(self, pictures: Pictures[Path]) -> "Pictures[Path] | CachedPictures":
        """The same pictures, read from the cache and into it; those for which there is no room are decoded each time."""
        keys = keys_of(pictures)
        distinct = {key.tobytes(): row for row, key in enumerate(keys)}
        try:
            file = PixelFile(self._folder, pictures)
            with self._locked():
                known = file.entries()
                present = sum(is_present(pictures.paths[row], key, known) for key, row in distinct.items())
                new = [key for key in distinct if key not in known]
                added = new[: self._room(file, reserved=len(distinct) - len(new) - present)]
                if added and not self._stopped[0]:
                    known = self._append(file, added)
        except OSError as error:
            self._stopped[0] = error.errno or errno.EIO
            return pictures
        added = [key for key in added if key in known]
        left_out = len(new) - len(added)
        self._counts.setdefault(keys.tobytes(), (len(distinct) - left_out, present, left_out, file.record))
        slots = [known[key.tobytes()][0] if key.tobytes() in known else -1 for key in keys]
        return CachedPictures(pictures, file, keys, np.array(slots, dtype=np.int64), self._stopped)

    def told(self) -> str:
        """Where it lies, how large it gets, and how much of that is there already."""
        placed, present, left_out, _ = (sum(column) for column in zip(*self._counts.values(), (0, 0, 0, 0), strict=True))
        size = sum(count * record for count, _, _, record in self._counts.values())
        text = f"{self._folder}: {_size(size)} for {placed:,} pictures, {present:,} of them in it already"
        if left_out:
            text += f"; {left_out:,} more are decoded each time: it may take {_size(self._limit)} (--cache-size)"
            text += f" and leaves {_size(RESERVE_BYTES)} of its disk free"
        return text

    def trouble(self) -> str | None:
        """Why nothing more is written into it; told once, None where all is well."""
        number = int(self._stopped[0])
        if not number or self._told:
            return None
        self._told = True
        reason = f"less than {_size(RESERVE_BYTES)} of its disk is free" if number == _TOO_FULL else os.strerror(number).lower()
        return f"--cache {self._folder}: {reason}; pictures that are not in it are decoded each time"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # A record lock, which a process that is forked meanwhile does not inherit; the kernel frees it when this one ends.
            fcntl.lockf(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _append(self, file: PixelFile, keys: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Give places to keys; the entries after that. On a full disk what was there before can still be read."""
        try:
            file.append(keys)
        except OSError as error:
            self._stopped[0] = error.errno or errno.EIO
        return file.entries()

    def _room(self, file: PixelFile, *, reserved: int) -> int:
        """How many more pictures may be given a place; `reserved` have one already and are yet to be written."""
        taken = 0
        for index in self._folder.glob("*.index"):
            px = index.name.partition("-")[0]
            taken += index.stat().st_size // ENTRY_BYTES * record_bytes(int(px)) if px.isdecimal() else 0
        free = shutil.disk_usage(self._folder).free - RESERVE_BYTES - reserved * file.record
        return max(0, min(self._limit - taken, free) // file.record)


class CachedPictures:
    """`Pictures` whose pixels are taken from the cache where they are there, and put into it where they are not."""

    def __init__(self, pictures: Pictures[Path], file: PixelFile, keys: npt.NDArray[np.uint8], slots: npt.NDArray[np.int64], stopped: Any) -> None:
        self.paths = pictures.paths
        self._pictures, self._file, self._keys, self._slots, self._stopped = pictures, file, keys, slots, stopped

    def read(self, row: int) -> Pixels:
        """The same as `Pictures.read`, to the bit.

        Raises:
            ImageError: the picture is missing or cannot be read.
        """
        slot = int(self._slots[row])
        # Looked at before decoding: a file that changes meanwhile gets a stamp that fits neither state.
        stamp = stamp_of(self.paths[row], self._keys[row].tobytes()) if slot >= 0 else None
        if stamp is None:
            return self._pictures.read(row)
        kept = self._file.get(slot, stamp)
        if kept is not None:
            return kept
        image = self._pictures.read(row)
        if not self._stopped[0]:
            try:
                if not self._file.put(slot, stamp, image, reserve=RESERVE_BYTES):
                    self._stopped[0] = _TOO_FULL
            except OSError as error:
                self._stopped[0] = error.errno or errno.EIO
        return image


def _size(number: int) -> str:
    return f"{number / 1e6:,.1f} MB" if number < 10**9 else f"{number / 1e9:,.1f} GB"
