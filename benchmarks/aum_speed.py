"""How fast margins are summed: `MarginSums` against the authors' `aum` package on the same logged logits.

    python benchmarks/aum_speed.py [--rows 50000] [--classes 10] [--epochs 2]

Both see every row once an epoch in batches of 64, and both give every row's AUM at the end. The largest difference
between them is checked before any speed is told.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from attrcls.cleaning.aum import MarginSums

BATCH_SIZE = 64
OUR_RUNS = 40
LARGEST_DIFFERENCE = 1e-5

# Rows, logits, targets and whether there is a label, of each step.
Epoch = list[tuple[Tensor, Tensor, Tensor, Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    result = measure(rows=arguments.rows, classes=arguments.classes, epochs=arguments.epochs)
    print(f"{result['ratio']:.0f} times the speed of {result['against']} ({result['unit']})")


def measure(*, rows: int = 50_000, classes: int = 10, epochs: int = 2) -> dict[str, object]:
    """One paired run on one thread; ours takes a hundredth of the time, so the median of many runs of it counts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _measure_on_one_thread(rows=rows, classes=classes, epochs=epochs)
    finally:
        torch.set_num_threads(threads)


def _measure_on_one_thread(*, rows: int, classes: int, epochs: int) -> dict[str, object]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(classes, (rows,), generator=generator)
    logged: list[Epoch] = []
    for _ in range(epochs):
        order = torch.randperm(rows, generator=generator)
        logged.append(
            [
                (part, torch.randn(len(part), classes, generator=generator), targets[part], torch.ones(len(part), dtype=torch.bool))
                for part in order.split(BATCH_SIZE)
            ]
        )
    before = [sum_margins(logged, rows=rows, classes=classes) for _ in range(OUR_RUNS // 2)]
    theirs, package_seconds = sum_by_package(logged)
    after = [sum_margins(logged, rows=rows, classes=classes) for _ in range(OUR_RUNS // 2)]
    difference = float((before[0][0] - theirs).abs().max())
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"AUM differs from the aum package by {difference:.1e}, more than {LARGEST_DIFFERENCE:.0e}")
    return {
        "name": "AUM",
        "ratio": round(package_seconds / statistics.median(seconds for _, seconds in before + after), 1),
        "unit": f"rows per second over rows per second, {rows:,} x {classes}, {epochs} epochs, largest difference {difference:.0e}",
        "against": "the aum package",
    }


def sum_margins(logged: list[Epoch], *, rows: int, classes: int) -> tuple[Tensor, float]:
    began = time.perf_counter()
    sums = MarginSums(rows, classes)
    for epoch in logged:
        for step in epoch:
            sums.add(*step)
    values = sums.aum()
    return values, time.perf_counter() - began


def sum_by_package(logged: list[Epoch]) -> tuple[Tensor, float]:
    from aum import AUMCalculator

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        calculator = AUMCalculator(folder, compressed=True)
        for epoch in logged:
            for rows, logits, targets, _ in epoch:
                calculator.update(logits, targets, rows.tolist())
        calculator.finalize()
        table = pd.read_csv(Path(folder) / "aum_values.csv").sort_values("sample_id")
        seconds = time.perf_counter() - began
    return torch.from_numpy(table["aum"].to_numpy().copy()), seconds


if __name__ == "__main__":
    main()
