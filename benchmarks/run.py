"""`make bench`: what is fast and what is not, as ratios, on drawn pictures or on a pack of real ones.

    python benchmarks/run.py [--table TABLE.csv]

Writes `benchmarks/results.json`, a list of `{name, ratio, unit, against, machine}`.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import aum_speed
import pandas as pd
import predict_speed
import torch

from attrcls.sample import draw_faces

RESULTS = Path(__file__).parent / "results.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, help="a CSV with a column path; drawn faces without it")
    parser.add_argument("--rows", type=int, default=512)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = arguments.table or draw_table(Path(folder) / "faces")
        results = [predict_speed.measure(table, task="clothing", rounds=2, rows=arguments.rows), aum_speed.measure()]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {'CUDA' if torch.cuda.is_available() else 'no GPU'}, torch {torch.__version__}"
    for result in results:
        result["machine"] = machine
        print(f"{result['ratio']:.2f}  {result['name']}: {result['unit']}")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(f"written: {RESULTS.name}")


def draw_table(folder: Path) -> Path:
    draw_faces(folder, people=80)
    table = folder / "pictures.csv"
    pictures = sorted(path for path in (folder / "train" / "images").rglob("*.jpg") if not path.name.startswith("."))
    pd.DataFrame({"path": [str(path.relative_to(folder)) for path in pictures]}).to_csv(table, index=False)
    return table


if __name__ == "__main__":
    main()
