"""Whether a path from a stranger's table or run stays inside the folder that it belongs to.

Two looks at it: at the path as it is written, and at where it leads once links are followed. The folder itself may be a link, as
people keep `images/` on another disk; a link below it that leads out of it would show files that nobody meant to show.
"""

import os
import re
from pathlib import Path, PurePosixPath

from attrcls.errors import UserError

_DRIVE = re.compile(r"[A-Za-z]:")


def path_fault(name: str) -> str | None:
    """What is wrong with a relative path as it is written (with `/` between its parts), or None."""
    if not name:
        return "expected an image path, found a blank cell"
    if "\0" in name:
        return "the path holds a NUL byte"
    if leads_out(name):
        return f"{name!r} leads out of the image folder; paths in a card's table stay below it"
    return None


def leads_out(name: str) -> bool:
    """Whether a path is absolute, on a Windows drive, or climbs out by `..`; links are not looked at."""
    plain = name.replace("\\", "/")
    return PurePosixPath(plain).is_absolute() or bool(_DRIVE.match(plain)) or PurePosixPath(os.path.normpath(plain)).parts[:1] == ("..",)


class Inside:
    """A folder, and whether files lie in it once links are followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.path.realpath(folder)
        # Pictures share few folders, and following links is slow on a network disk.
        self._parents: dict[str, str] = {}

    def holds(self, file: Path) -> bool:
        """Whether `file` (which need not exist) is below the folder."""
        if file.name == ".." or file.is_symlink():
            return self._is_below(os.path.realpath(file))
        parent = str(file.parent)
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        return self._is_below(os.path.join(self._parents[parent], file.name))

    def _is_below(self, path: str) -> bool:
        return path == self._folder or path.startswith(self._folder.rstrip(os.sep) + os.sep)


def refuse_links_out(folder: Path) -> None:
    """Refuse a run in which a link leads out: it would have us read, or write, what is no part of it.

    Raises:
        UserError: the link, and where it leads.
    """
    inside = Inside(folder)
    for entry in (*folder.glob("*"), *folder.glob("model/*"), *folder.glob("checkpoints/*")):
        if entry.is_symlink() and not inside.holds(entry):
            raise UserError(f"{entry}: a link that leads out of the run, to {os.readlink(entry)}; put the file itself there")
