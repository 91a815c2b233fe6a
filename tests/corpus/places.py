"""What lies in picture folders and is no file: folders, pipes, sockets, links to nowhere, files that may not be read or do not stay."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from attrcls.data import images

NAMES = ("folder.jpg", "pipe.png", "socket.jpg", "loop-a.png", "loop-b.png", "dangling.jpg", "own-parent.jpg", "to-a-pipe.png", "to-a-device.jpg",
         "through-a-file.jpg/below.png", "absent.jpg", "absent/below.jpg", "long" + "g" * 300 + ".jpg")  # fmt: skip
VANISHING = ("vanishes.png", "empties.png", "shrinks.png", "becomes-a-pipe.png", "becomes-a-folder.png")


def make_places(folder: Path, data: bytes) -> list[str]:
    """Put them into `folder` and give their names; none is a picture. `data` is a picture, for what needs a whole file."""
    (folder / "folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.png")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        bound = os.getcwd()
        os.chdir(folder)  # the name of a socket may have a hundred bytes only
        try:
            listener.bind("socket.jpg")
        finally:
            os.chdir(bound)
    (folder / "loop-a.png").symlink_to("loop-b.png")
    (folder / "loop-b.png").symlink_to("loop-a.png")
    (folder / "dangling.jpg").symlink_to("nowhere.jpg")
    (folder / "own-parent.jpg").symlink_to(".")
    (folder / "to-a-pipe.png").symlink_to("pipe.png")
    (folder / "to-a-device.jpg").symlink_to("/dev/zero")
    (folder / "through-a-file.jpg").write_bytes(data)
    return list(NAMES)


@contextlib.contextmanager
def restless(folder: Path, data: bytes) -> Iterator[None]:
    """Files that are whole when they are looked at first, and gone or changed when they are opened."""
    for name in VANISHING:
        (folder / name).unlink(missing_ok=True) if not (folder / name).is_dir() else (folder / name).rmdir()
        (folder / name).write_bytes(data)
    real, waiting = os.stat, set(VANISHING)

    def look(path: object, *args: object, **kwargs: object) -> os.stat_result:
        found = real(path, *args, **kwargs)  # type: ignore[arg-type]
        if isinstance(path, Path) and path.parent == folder and path.name in waiting:
            waiting.discard(path.name)
            _CHANGES[path.name](path)
        return found

    with mock.patch.object(images, "os", SimpleNamespace(**{**vars(os), "stat": look})):
        yield


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _become_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


_CHANGES: dict[str, Callable[[Path], None]] = dict(zip(VANISHING, (Path.unlink, _empty, _shrink, _become_a_pipe, _become_a_folder), strict=True))


@contextlib.contextmanager
def rewritten(path: Path, contents: list[bytes]) -> Iterator[None]:
    """A file that a thread replaces by one content after the other, as fast as it can."""
    stop = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not stop.wait(0.0005):
            beside = path.with_suffix(".new")
            beside.write_bytes(contents[turn % len(contents)])
            beside.replace(path)
            turn += 1

    path.write_bytes(contents[0])
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def without_rights() -> Iterator[bool]:
    """Whether this process now lacks the right to read what is closed to it: root, who may read everything, is nobody meanwhile."""
    if os.geteuid() != 0:
        yield True
        return
    try:
        os.seteuid(65534)
    except OSError:  # a container without that right
        yield False
        return
    try:
        yield True
    finally:
        os.seteuid(0)
