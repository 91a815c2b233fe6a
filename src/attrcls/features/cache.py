"""Features on disk: one file per trunk and preprocessing, rows known by the content of their pictures."""

import hashlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attrcls.data.loader import Pictures
from attrcls.data.threads import in_threads
from attrcls.errors import AttrclsError, UserError
from attrcls.tensors import load_tensors, save_tensors

# Keys of pictures, and features of as many as fit: beyond this only the present manifest's are kept.
_MOST_KEPT_BYTES = 2 << 30
# What a kill may cost; the whole file is written each time.
_SECONDS_BETWEEN_WRITES = 60.0


def default_cache() -> Path:
    """`$ATTRCLS_CACHE`, else `attrcls` in `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("ATTRCLS_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attrcls"


def content_keys(pictures: Pictures[Path]) -> list[bytes]:
    """16 bytes per row: its file's content, and its box where boxes are cut out.

    Raises:
        UserError: a file cannot be read any more.
    """

    def key(row: int) -> bytes:
        try:
            data = pictures.paths[row].read_bytes()
        except OSError as error:
            raise UserError(f"{pictures.paths[row]}: {(error.strerror or str(error)).lower()}; it was readable before") from error
        box = b"" if pictures.boxes is None else pictures.boxes[row].tobytes()
        return hashlib.blake2b(data + box, digest_size=16).digest()

    return in_threads(key, len(pictures.paths))


def kept_or_computed(
    file: Path | None, keys: Sequence[bytes], compute: Callable[[list[int]], Iterator[Tensor]], *, warn: Callable[[str], None]
) -> Tensor:
    """Features `(rows, views, width)` of the rows with these keys: from `file` where they are in it, else from `compute`.

    `compute` is given the positions of the rows that are missing, ascending, each distinct key once, and yields features
    batch by batch. `file` is made, or made anew where it is damaged, and written now and then, so that a kill loses a minute's
    work; None keeps nothing. Where it cannot be written, `warn` is told so once, and nothing more is kept.
    """
    known_keys, known = _read(file)
    place = {key: position for position, key in enumerate(known_keys)}
    # The same picture may stand in several rows: it is computed once.
    wanted = {key: row for row, key in reversed(list(enumerate(keys))) if key not in place}
    rows = sorted(wanted.values())
    parts = [] if known is None else [known]
    written = time.monotonic()
    for part in compute(rows) if rows else ():
        parts.append(part)
        known_keys += [keys[row] for row in rows[: len(part)]]
        rows = rows[len(part) :]
        if file and (not rows or time.monotonic() - written > _SECONDS_BETWEEN_WRITES):
            parts = [torch.cat(parts)]
            try:
                _write(file, known_keys, parts[0], set(keys))
            except AttrclsError as error:
                warn(f"{error}; features will be computed again: name another folder in $ATTRCLS_CACHE")
                file = None
            written = time.monotonic()
    known = torch.cat(parts)
    place = {key: position for position, key in enumerate(known_keys)}
    return known[[place[key] for key in keys]]


def _read(file: Path | None) -> tuple[list[bytes], Tensor | None]:
    """What is kept, or nothing where the file is absent or damaged: it is then made anew."""
    if file is None or not file.exists():
        return [], None
    try:
        tensors, _ = load_tensors(file)
        keys: Any = tensors["keys"].numpy()
        features = tensors["features"]
    except (UserError, KeyError):
        return [], None
    if len(keys) != len(features) or features.ndim != 3:
        return [], None
    return [row.tobytes() for row in keys], features


def _write(file: Path, keys: list[bytes], features: Tensor, present: Collection[bytes]) -> None:
    if features.nbytes > _MOST_KEPT_BYTES:
        kept = [position for position, key in enumerate(keys) if key in present]
        keys, features = [keys[position] for position in kept], features[kept]
    rows = torch.from_numpy(np.frombuffer(b"".join(keys), dtype=np.uint8).copy().reshape(len(keys), -1))
    save_tensors({"keys": rows, "features": features}, file, metadata={})
