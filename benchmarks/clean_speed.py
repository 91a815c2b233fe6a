"""`clean-labels --fast` from nothing, against two epochs of training the whole network, in one run on one machine.

    python benchmarks/clean_speed.py --data PACK --weights FILE [--task mask18]

No features are kept from earlier runs. Training comes before and after the cleaning, an epoch each time, so that a machine
that slows down on the way slows down both. Each command is timed whole: start, reading, writing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--task", default="mask18")
    arguments = parser.parse_args()
    given = [arguments.task, "--data", str(arguments.data), "--weights", str(arguments.weights), "--seed", "0"]
    with tempfile.TemporaryDirectory() as folder:
        first = seconds_of("train", *given, "--epochs", "1", "--out", f"{folder}/first")
        cleaning = seconds_of("clean-labels", *given, "--fast", "--out", f"{folder}/clean", cache=folder)
        second = seconds_of("train", *given, "--epochs", "1", "--out", f"{folder}/second")
    print(json.dumps({
        "name": f"clean-labels {arguments.task} --fast", "ratio": round((first + second) / cleaning, 2), "unit": "times as fast",
        "against": "two epochs of training, one before and one after",
        "seconds": {"epoch": round(first, 1), "cleaning": round(cleaning, 1), "epoch after": round(second, 1)},
    }))  # fmt: skip


def seconds_of(*command: str, cache: str | None = None) -> float:
    environment = {**os.environ, "ATTRCLS_CACHE": cache} if cache else None
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "attrcls", *command], check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
