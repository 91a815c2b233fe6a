"""How fast decoders bring JPEG files to training size, and how far each strays from a plain decode and an area resize.

    python benchmarks/decode_speed.py PACK... [--px 128 224] [--rows 200] [--rounds 5]

In turns on one thread, from bytes in memory, by CPU time, so that a busy machine does not matter much; a ratio is the median over
the turns. Every way is resized as attrcls resizes,
so that only the decoders differ; Pillow alone also resizes as people do (`Pillow, own resize`). Differences are in levels
of 255: the mean over a picture, then the mean and the largest over pictures. No pixel leaves the process.
"""

import argparse
import io
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
import torch
import torchvision
from PIL import Image

from attrcls.data.decode import decode
from attrcls.data.images import resize_to

Pixels = np.ndarray
Decode = Callable[[bytes, int], Pixels]


def with_cv2(data: bytes, px: int) -> Pixels:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def with_simplejpeg(data: bytes, px: int) -> Pixels:
    return simplejpeg.decode_jpeg(data)


def scaled_to_px(data: bytes, px: int) -> Pixels:
    """As far down as libjpeg goes with both sides still at least `px`: faster, and too far from the truth."""
    return simplejpeg.decode_jpeg(data, min_height=px, min_width=px)


def with_torchvision(data: bytes, px: int) -> Pixels:
    decoded = torchvision.io.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=torchvision.io.ImageReadMode.RGB)
    return np.ascontiguousarray(decoded.permute(1, 2, 0).numpy())


def with_pillow(data: bytes, px: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def with_draft(data: bytes, px: int) -> Pixels:
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (px, px))
    return np.asarray(image.convert("RGB"))


def resized_by_pillow(data: bytes, px: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((px, px), Image.Resampling.BILINEAR))


WAYS: dict[str, Decode] = {
    "Pillow": with_pillow,
    "Pillow, own resize": resized_by_pillow,
    "Pillow, draft": with_draft,
    "cv2": with_cv2,
    "torchvision.io": with_torchvision,
    "simplejpeg": with_simplejpeg,
    "simplejpeg, scaled to px": scaled_to_px,
    "attrcls": lambda data, px: decode(data, min_px=px),
}


def measure(pack: Path, *, px: int, rows: int, rounds: int) -> list[dict[str, object]]:
    """One result per way."""
    paths = sorted(path for path in pack.rglob("*.jp*g") if not path.name.startswith("."))
    files = [path.read_bytes() for path in random.Random(0).sample(paths, min(rows, len(paths)))]
    files = [data for data in files if data.startswith(b"\xff\xd8\xff")]
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(rounds + 1):
        for name, way in WAYS.items():
            began = time.process_time()
            for data in files:
                resize_to(way(data, px), px=px, fit="stretch")
            if turn:  # the first warms up
                seconds[name].append(time.process_time() - began)
    truth = [resize_to(with_simplejpeg(data, px), px=px, fit="stretch").astype(np.int16) for data in files]
    results = []
    for name, way in WAYS.items():
        apart = [float(np.abs(resize_to(way(data, px), px=px, fit="stretch") - true).mean()) for data, true in zip(files, truth, strict=True)]
        ratio = statistics.median(plain / own for plain, own in zip(seconds["Pillow"], seconds[name], strict=True))
        results.append({
            "name": f"decode {pack.name} to {px} px, {name}", "ratio": round(ratio, 2), "unit": "times as fast", "against": "Pillow, same resize",
            "per_second": round(len(files) / statistics.median(seconds[name])), "mean_difference": round(statistics.mean(apart), 3),
            "largest_difference": round(max(apart), 3), "pictures": len(files),
        })  # fmt: skip
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", type=Path, nargs="+", help="folders with JPEG files, at any depth")
    parser.add_argument("--px", type=int, nargs="+", default=[128, 224])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found = [
        result for pack in arguments.packs for px in arguments.px for result in measure(pack, px=px, rows=arguments.rows, rounds=arguments.rounds)
    ]
    print(json.dumps(found, indent=2))
