"""Flip bytes of good tables, specs and pictures, and read them: nothing but an AttrclsError may come of it. `make fuzz`.

    python tests/fuzz.py [--rounds 20000] [--seconds 60] [--seed 0]

Each round takes one good file, changes it at random (bytes flipped, cut out, doubled, put in from another) and reads it as a
user's file is read. The same seed gives the same rounds: a fault names the round and the file that it leaves behind.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml
from conftest import CARD, TASK
from corpus.encoders import whole_pictures

from attrcls.card import Card
from attrcls.data.images import image_size, read_image
from attrcls.data.tables import read_table, write_table
from attrcls.errors import AttrclsError
from attrcls.spec import bundled_specs, parse_spec, read_yaml
from attrcls.task import Task

TOKENS = (
    b"\0",
    b"\xff" * 4,
    b'"',
    b"\n",
    b",",
    b"{",
    b"[",
    b": ",
    b"- ",
    b"&a",
    b"*a",
    b"!!python/none",
    b"\xef\xbb\xbf",
    b"9" * 400,
    b"-1",
    b"\x7f\xff\xff\xff",
)


@dataclass(frozen=True)
class Target:
    """Good files of one kind, by ending, and what reads them."""

    read: Callable[[Path], object]
    files: list[tuple[str, bytes]]


def targets() -> dict[str, Target]:
    """Tables, specs and pictures."""
    return {"table": Target(read_table, _tables()), "spec": Target(_read_spec, _specs()), "picture": Target(_read_picture, _pictures())}


def fuzz(folder: Path, *, rounds: int, seconds: float = float("inf"), seed: int = 0) -> tuple[int, list[str]]:
    """How many rounds were done within `seconds`, and the faults found, each with its round and traceback."""
    of_kind = targets()
    until, faults = time.monotonic() + seconds, []
    done = 0
    while done < rounds and time.monotonic() < until:
        chance = random.Random(seed * 1_000_003 + done)
        kind = list(of_kind)[done % len(of_kind)]
        ending, data = chance.choice(of_kind[kind].files)
        path = folder / f"fuzzed{ending}"
        path.write_bytes(changed(data, chance, other=chance.choice(of_kind[kind].files)[1]))
        try:
            of_kind[kind].read(path)
        except AttrclsError as error:
            if not str(error).strip():
                faults.append(f"round {done}, {kind}: an error without a message")
        except Exception:
            kept = folder / f"round-{done}{ending}"
            path.rename(kept)
            faults.append(f"round {done}, {kind}, {kept}:\n{traceback.format_exc()}")
        done += 1
    return done, faults


def changed(data: bytes, chance: random.Random, *, other: bytes) -> bytes:
    """The bytes with one to four changes."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        # Half of the time near the start, where headers are.
        at = min(at, chance.randrange(200)) if chance.random() < 0.5 else at
        length = chance.choice((1, 1, 2, 4, 30))
        match chance.randrange(6):
            case 0:
                data = data[:at] + chance.randbytes(length) + data[at + length :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + data[at : at + length] * chance.choice((2, 50)) + data[at + length :]
            case 3:
                data = data[:at] + chance.choice(TOKENS) + data[at:]
            case 4:
                start = chance.randrange(len(other) + 1)
                data = data[:at] + other[start : start + 8 * length] + data[at + 8 * length :]
            case 5:
                data = data[:at]
    return data


def _tables() -> list[tuple[str, bytes]]:
    table = pd.DataFrame(
        {"file": [f"p{row}.jpg" for row in range(9)], "colour": ["red", "grün", 'a "b", c'] * 3, "age": [str(row / 2) for row in range(9)]}
    )
    with tempfile.TemporaryDirectory() as name:
        files = []
        for ending in (".csv", ".jsonl", ".parquet"):
            write_table(table, Path(name) / f"t{ending}")
            files.append((ending, (Path(name) / f"t{ending}").read_bytes()))
    text = files[0][1].decode()
    more = [text.encode("utf-16"), text.encode("cp949", "replace"), text.replace(",", ";").replace("\n", "\r\n").encode()]
    return [*files, *((".csv", data) for data in more)]


def _specs() -> list[tuple[str, bytes]]:
    bundled = [path.read_bytes() for kind in ("tasks", "data_cards") for path in bundled_specs(kind).values()]  # type: ignore[arg-type]
    return [(".yaml", data) for data in (CARD.encode(), TASK.encode(), *bundled)]


def _pictures() -> list[tuple[str, bytes]]:
    return [(whole.ending, whole.data) for whole in whole_pictures()]


def _read_spec(path: Path) -> None:
    raw = {"name": "x", **read_yaml(path)}
    for model in (Card, Task):
        with contextlib.suppress(AttrclsError):  # it is one or the other
            yaml.safe_dump(parse_spec(model, raw, file=str(path)).model_dump(mode="json"))


def _read_picture(path: Path) -> None:
    with contextlib.suppress(AttrclsError):
        image_size(path)
    pixels = read_image(path, min_px=32)
    assert pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size


def main() -> int:
    """Returns 0 when nothing but errors of ours came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=sys.maxsize)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    done, faults = fuzz(folder, rounds=arguments.rounds, seconds=arguments.seconds, seed=arguments.seed)
    for fault in faults:
        print(fault)
    print(f"{done:,} rounds, {len(faults)} faults (files in {folder})")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
