"""Raking 20,000 rows with three heads, easy and out of reach, and what it brings the gap to.

python benchmarks/balance_speed.py
"""

import json
import time
from statistics import median

import numpy as np

from attrcls.data.balance import balance_rows

ROWS = 20_000


def measure(*, rounds: int = 5) -> list[dict[str, object]]:
    """Seconds (the median of `rounds` turns), and each head's gap between largest and smallest class before and after."""
    generator = np.random.default_rng(0)
    faces = {
        "mask": generator.choice(3, ROWS, p=[5 / 7, 1 / 7, 1 / 7]),
        "gender": generator.choice(2, ROWS, p=[0.3, 0.7]),
        "age": generator.choice(3, ROWS, p=[0.45, 0.48, 0.07]),
    }
    many = {f"head_{number}": generator.zipf(1.5, ROWS).clip(max=50) - 1 for number in range(3)}
    cases = [("mask, gender, age", faces, 10.0), ("mask, gender, age, cap 2", faces, 2.0), ("three heads of 50 classes", many, 10.0)]
    return [measure_case(name, targets, cap=cap, rounds=rounds) for name, targets, cap in cases]


def measure_case(name: str, targets: dict[str, np.ndarray], *, cap: float, rounds: int) -> dict[str, object]:
    classes = {head: int(labels.max()) + 1 for head, labels in targets.items()}
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        balance = balance_rows(targets, classes, cap=cap)
        seconds.append(time.perf_counter() - began)
    gaps = {head: [int(np.ptp(np.bincount(labels))), round(float(np.ptp(np.bincount(labels, balance.weights))))] for head, labels in targets.items()}
    return {"name": name, "rows": ROWS, "seconds": round(median(seconds), 3), "converged": balance.converged, "gap before and after": gaps}


if __name__ == "__main__":
    for case in measure():
        print(json.dumps(case))
