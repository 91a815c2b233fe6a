"""Where a worker's time for a picture goes: reading, decoding, resizing, augmenting, batching; and what a cache leaves of it.

    python benchmarks/input_speed.py PACK [--px 224] [--recipe crop] [--rows 64] [--rounds 5]

CPU time on one thread in turns, so that a busy machine does not matter much; medians, in milliseconds per picture.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import cv2
import torch
import torch.multiprocessing  # teaches the pickler to share tensors

from attrcls.data.augment import Augmenter
from attrcls.data.cache import open_cache
from attrcls.data.decode import decode
from attrcls.data.images import resize_to
from attrcls.data.loader import Draw, PictureDataset, Pictures
from attrcls.data.recipes import Recipes

MARGIN = 1.125


def measure(pack: Path, *, px: int, recipe: str, rows: int, rounds: int) -> dict[str, Any]:
    """Milliseconds per picture of each step, and how much less CPU time the cached way takes from picture to pixels."""
    paths = sorted(path for path in pack.rglob("*.jp*g") if not path.name.startswith("."))
    paths = random.Random(0).sample(paths, min(rows, len(paths)))
    larger = round(px * MARGIN)
    pictures, augmenter = Pictures(paths, None, larger, "stretch"), Augmenter(recipe, px=px)
    data = [path.read_bytes() for path in paths]
    full = [decode(each, min_px=larger) for each in data]
    sized = [resize_to(image, px=larger, fit="stretch") for image in full]
    draws = [Draw(row, (0, 1, 0, row, 0, 0)) for row in range(len(paths))]
    plain = PictureDataset(pictures, Recipes(augmenter))
    items = [plain[draw] for draw in draws]
    with tempfile.TemporaryDirectory() as folder:
        cache = open_cache(folder, "20GB")
        assert cache
        reader = cache.keep(pictures)
        cached = PictureDataset(reader, Recipes(augmenter))
        steps: dict[str, Callable[[], object]] = {
            "read": lambda: [path.read_bytes() for path in paths],
            "decode": lambda: [decode(each, min_px=larger) for each in data],
            "resize": lambda: [resize_to(image, px=larger, fit="stretch") for image in full],
            "augment": lambda: [augmenter(image, draw.key) for image, draw in zip(sized, draws, strict=True)],
            "batch, shared with the trunk's process": lambda: ForkingPickler.dumps(plain.collate(items)),
            "from the cache": lambda: [reader.read(row) for row in range(len(paths))],
            "decoded and augmented": lambda: [plain[draw] for draw in draws],
            "cached and augmented": lambda: [cached[draw] for draw in draws],
        }
        spent: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(rounds + 1):
            for name, step in steps.items():
                began = time.process_time()
                step()
                if turn:  # the first warms up, and fills the cache
                    spent[name].append((time.process_time() - began) / len(paths) * 1000)
    middle = {name: round(statistics.median(found), 3) for name, found in spent.items()}
    return {
        "name": f"a picture's way to the trunk, {pack.name} at {px} px, {recipe}",
        "ratio": round(middle["decoded and augmented"] / middle["cached and augmented"], 2),
        "unit": "times as fast", "against": "decoding each time",
        "milliseconds": middle, "pictures": len(paths), "cores": os.cpu_count(),
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path, help="a folder with JPEG files, at any depth")
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--recipe", default="crop")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))
