"""How many labels each engine and precision gives as torch in float32 does, on a run and a table or folder of pictures.

    python benchmarks/engine_agreement.py RUN INPUT [--rows N]

Prints one JSON object: for each engine and precision the share of labels, over rows and heads, that are the same, and the largest
difference of a probability.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from attrcls.data.loader import default_workers
from attrcls.engine import has_native_bf16, start_engine
from attrcls.features.cache import default_cache
from attrcls.graph.extras import is_installed
from attrcls.prediction.images import predict_images
from attrcls.prediction.inputs import read_input
from attrcls.prediction.models import load_models
from attrcls.prediction.runtime import ENGINES, start_runtime

BATCH_SIZE = 64


def measure(run: Path, source: Path, *, rows: int) -> dict[str, object]:
    models = load_models([run])
    asked = read_input(source, box=models[0].description.box)
    chosen = np.unique(np.linspace(0, len(asked.paths) - 1, rows).round().astype(int))
    paths = [asked.paths[row] for row in chosen]
    boxes = None if asked.boxes is None else asked.boxes[chosen]

    def predict(engine: str, precision: str):
        runtime = start_runtime(
            models, engine=engine, device="cpu", precision=precision, pictures=len(paths), batch_size=BATCH_SIZE, cache=default_cache()
        )
        return predict_images(
            models, paths, boxes, fabric=runtime.fabric, batch_size=BATCH_SIZE, workers=default_workers(), forwards=runtime.forwards
        ).probabilities

    wanted = predict("torch", "32")
    found = {}
    native = has_native_bf16(start_engine(device="cpu").device)
    for engine, extra in ENGINES.items():
        if extra is not None and not is_installed(extra):
            continue
        for precision in ("32", "bf16"):
            if (engine, precision) in {("torch", "32"), ("onnxruntime", "bf16")} or (precision == "bf16" and not native):
                continue
            ours = predict(engine, precision)
            same = [ours[head].argmax(axis=1) == values.argmax(axis=1) for head, values in wanted.items()]
            largest = max(float(np.abs(ours[head] - values).max()) for head, values in wanted.items())
            found[f"{engine}, {precision}"] = {"labels_that_agree": round(float(np.mean(same)), 5), "largest_difference": float(f"{largest:.1e}")}
    return {"run": run.name, "pictures": len(paths), "heads": len(wanted), "against": "torch, 32", "engines": found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("source", type=Path, help="a folder, or a table with a column of pictures")
    parser.add_argument("--rows", type=int, default=10_000)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.run, arguments.source, rows=arguments.rows), indent=2))
