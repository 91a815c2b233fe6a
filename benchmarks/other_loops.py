"""A training epoch of attrcls against timm's and fastai's own, where they are installed (`pip install timm fastai`), in turns.

    python benchmarks/other_loops.py --data PACKS/clothing [--task clothing] [--trunk resnet18] [--px 224] [--rows 512] [--rounds 3]

From JPEG files to updated weights, one head, two workers, each with its own loader, default augmentation, loss and optimiser. timm runs
with the flags that make it fastest on a CPU (channels_last, bf16 autocast where it is native), as its train.py would; fastai as it comes,
in float32: its mixed precision is for GPUs, and it starts its workers anew in each epoch. The first epoch of each does not count.
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from epoch_speed import Trained

from attrcls.data.loader import default_workers
from attrcls.engine import has_native_bf16, start_engine
from attrcls.runs.batches import labelled_batches
from attrcls.runs.prepare import prepare_data
from attrcls.task import load_plan

BATCH_SIZE = 64
BF16 = has_native_bf16(torch.device("cpu"))
# Runs one more epoch and tells its pictures per second.
Epoch = Callable[[], float]


def measure(data: Path, *, task: str, trunk: str, px: int, rows: int, rounds: int) -> list[dict[str, Any]]:
    """One result per library that is installed."""
    changes = {"trunk.name": trunk, "trunk.weights": "none", "image.px": px, "epochs": 1, "batch_size": BATCH_SIZE}
    head = next(iter(load_plan(task).task.heads))
    plan = load_plan(task, changes=changes, heads=[head])
    manifest = prepare_data(plan, [data], limit=rows).manifest.of_split("train")
    manifest = manifest.take([row for row, target in enumerate(manifest.targets(head)) if target >= 0])
    paths, labels = list(manifest.image_paths()), manifest.targets(head).tolist()
    trained, batches = Trained(plan, manifest, start_engine()), labelled_batches(manifest, plan, plan.task, workers=default_workers())
    with tempfile.TemporaryDirectory() as folder:
        others = loops(paths, labels, trunk=trunk, px=px, folder=Path(folder))
        for run in (lambda: trained.rate(batches), *others.values()):
            run()
        turns: list[dict[str, float]] = []
        for _ in range(rounds):
            turn = {}
            for name, run in others.items():
                turn[f"attrcls, beside {name}"] = trained.rate(batches)
                turn[name] = run()
            turns.append(turn)
    return [
        {
            "name": f"training epoch from JPEG files, {trunk} at {px} px, {task}",
            "ratio": round(statistics.median(turn[f"attrcls, beside {name}"] / turn[name] for turn in turns), 2),
            "unit": "times as fast",
            "against": name,
            "pictures": len(paths),
            "rounds": [{each: round(rate, 1) for each, rate in turn.items() if name in each} for turn in turns],
        }
        for name in others
    ]


def loops(paths: Sequence[Path], labels: Sequence[int], *, trunk: str, px: int, folder: Path) -> Mapping[str, Epoch]:
    """The libraries' loops by name and version."""
    found: dict[str, Epoch] = {}
    if importlib.util.find_spec("timm"):
        found[f"timm {version('timm')}, {'bf16' if BF16 else 'float32'}"] = timm_epoch(paths, labels, trunk=trunk, px=px, folder=folder)
    if importlib.util.find_spec("fastai"):
        found[f"fastai {version('fastai')}, float32"] = fastai_epoch(paths, labels, trunk=trunk, px=px)
    return found


def timm_epoch(paths: Sequence[Path], labels: Sequence[int], *, trunk: str, px: int, folder: Path) -> Epoch:
    """timm's dataset, loader, task and optimiser, put together as its train.py does."""
    import timm
    from timm.data import create_dataset, create_loader
    from timm.optim import create_optimizer_v2
    from timm.task import ClassificationTask

    for number, (path, label) in enumerate(zip(paths, labels, strict=True)):
        link = folder / str(label) / f"{number}{path.suffix}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(path.resolve())
    model = timm.create_model(trunk, num_classes=max(labels) + 1).to(memory_format=torch.channels_last)
    loader = create_loader(
        create_dataset("", root=str(folder)), input_size=(3, px, px), batch_size=BATCH_SIZE, is_training=True, num_workers=default_workers(),
        device=torch.device("cpu"), use_prefetcher=False,
    )  # fmt: skip
    task = ClassificationTask(model, device=torch.device("cpu"), verbose=False)
    optimiser = create_optimizer_v2(model, opt="adamw", lr=5e-4)

    def epoch() -> float:
        model.train()
        seen, began = 0, time.perf_counter()
        for images, targets in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
                loss = task(images.contiguous(memory_format=torch.channels_last), targets)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen += len(images)
        return seen / (time.perf_counter() - began)

    return epoch


def fastai_epoch(paths: Sequence[Path], labels: Sequence[int], *, trunk: str, px: int) -> Epoch:
    """fastai's loaders, augmentation and `Learner.fit`."""
    import torchvision
    from fastai.callback.progress import ProgressCallback
    from fastai.vision.augment import Resize, aug_transforms
    from fastai.vision.data import ImageDataLoaders
    from fastai.vision.learner import Learner

    # A single validation picture: its pass is not the training that is timed.
    loaders = ImageDataLoaders.from_lists(
        ".", list(paths), [str(label) for label in labels], valid_pct=1.5 / len(paths), bs=BATCH_SIZE, num_workers=default_workers(),
        item_tfms=Resize(round(px * 1.125)), batch_tfms=aug_transforms(size=px), device=torch.device("cpu"),
    )  # fmt: skip
    model = torchvision.models.get_model(trunk, weights=None, num_classes=len(loaders.vocab))
    learner = Learner(loaders, model, loss_func=torch.nn.CrossEntropyLoss())
    learner.remove_cb(ProgressCallback)

    def epoch() -> float:
        began = time.perf_counter()
        with learner.no_bar(), learner.no_logging():
            learner.fit(1, lr=5e-4)
        return len(loaders.train) * BATCH_SIZE / (time.perf_counter() - began)

    return epoch


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", default="clothing")
    parser.add_argument("--trunk", default="resnet18")
    parser.add_argument("--px", type=int, default=224)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=2))
