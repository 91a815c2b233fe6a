"""One process at a time writes into a run directory."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from attrcls.errors import AttrclsError, UserError

try:
    import fcntl
except ImportError:  # Windows has no record locks; there two processes must not share a folder by themselves.
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, against other processes; a folder in which nothing was written is removed again.

    A POSIX record lock (fcntl(2), F_SETLK): the kernel frees it at once when the process ends, however it ends, and forked
    loader workers, which may outlive it for a moment, do not inherit it.
    Raises:
        UserError: another process holds it.
        AttrclsError: the folder cannot be made or written.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        held = _take(folder)
        try:
            yield
        finally:
            # While the lock is held: whoever waits for this file finds that it is gone, and takes a new one.
            with contextlib.suppress(OSError):
                (folder / LOCK_NAME).unlink()
            held.close()
    finally:
        for each in made:
            with contextlib.suppress(OSError):
                each.rmdir()


def _take(folder: Path) -> IO[bytes]:
    file = folder / LOCK_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            # Unbuffered, so that nothing is left to be written when it is closed.
            held = file.open("a+b", buffering=0)
            _lock(held, folder)
            if _is_still(held, file):
                break
            held.close()
    except OSError as error:
        raise AttrclsError(f"could not write {folder}: {(error.strerror or str(error)).lower()}") from error
    # Whose lock it is, is for people to read; a disk without room for that does not matter to the lock.
    with contextlib.suppress(OSError):
        held.truncate(0)
        held.write(str(os.getpid()).encode())
    return held


def _lock(held: IO[bytes], folder: Path) -> None:
    try:
        if fcntl:
            fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        held.seek(0)
        holder = held.read().decode(errors="replace").strip() or "unknown"
        held.close()
        raise UserError(
            f"another attrcls (process {holder}) is writing into {folder}; wait for it to end, or name another folder with --out"
        ) from error


def _is_still(held: IO[bytes], file: Path) -> bool:
    """Whether `file` was not removed, by a process that ended, between being opened and being locked."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), file.stat())
    except FileNotFoundError:
        return False
