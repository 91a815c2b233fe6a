"""Writing files so that a killed command leaves the old file or the new one, never half of one."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrcls.errors import AttrclsError, UserError


def refuse_inputs(flag: str, out: Path, *inputs: str | Path | None) -> None:
    """Raises:
    UserError: what is to be written, named by its flag, is one of the files that are read, by whatever path.
    """
    for path in inputs:
        with contextlib.suppress(OSError, ValueError):
            if path is not None and os.path.samefile(out, path):
                raise UserError(f"{flag} {out}: this is a file that is read here, and would be replaced; name another")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is flushed to disk and renamed over `path`.

    Raises:
        AttrclsError: the disk is full, the folder cannot be written, or the rename failed; the old file is intact.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The ending is kept because some writers (parquet, images) choose their format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files private; a result is as readable as any other new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise AttrclsError(f"could not write {path}: {error.strerror or error}; the old file, if any, is untouched") from error
    finally:
        if temporary is not None:
            # A disk that went read-only keeps it; that must not hide what went wrong.
            with contextlib.suppress(OSError):
                temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with plain newlines, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary path that then takes the place of `path`."""
    with replacing(path) as temporary:
        write(temporary)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
