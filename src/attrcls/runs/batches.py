"""A manifest's rows as labelled batches, the way a task wants its pictures."""

from typing import Any

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, LabelledBatches, PictureDataset, Pictures, default_workers
from attrcls.data.manifest import Manifest
from attrcls.runs.balance import TrainBalance
from attrcls.task import Plan, Task


def labelled_batches(
    manifest: Manifest,
    plan: Plan,
    task: Task,
    *,
    recipe: Any = None,
    balance: TrainBalance | None = None,
    workers: int | None = None,
    pin_memory: bool = False,
) -> LabelledBatches:
    """Batches of a manifest under `recipe`, by default the task's own; cards in the ratios that the plan gives them."""
    boxes = manifest.boxes() if task.image.crop_boxes else None
    pictures = Pictures(manifest.image_paths(), boxes, task.image.resize_px, task.image.fit)
    repeat_recipe = task.balance.repeat_augment if balance and task.balance else None
    repeat_augmenter = None if repeat_recipe is None else Augmenter(repeat_recipe, px=task.image.px)
    dataset = PictureDataset(pictures, Augmenter(task.augment if recipe is None else recipe, px=task.image.px), repeat_augmenter=repeat_augmenter)
    loader = DecodedLoader(dataset, workers=default_workers() if workers is None else workers, pin_memory=pin_memory)
    weights = balance.weights if balance else None
    return LabelledBatches(manifest, loader, heads=list(task.heads), batch_size=task.batch_size, seed=task.seed, ratios=plan.ratios, weights=weights)
