"""A task's train rows without labels: which they are, and batches of them in two views, as pictures or as a frozen trunk's features."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from attrcls.data.augment import Augmenter
from attrcls.data.cache import PixelCache
from attrcls.data.device_cache import DeviceCache, device_pictures
from attrcls.data.loader import DecodedLoader, DrawSource, PictureDataset, Pictures, pictures_of
from attrcls.data.manifest import Manifest
from attrcls.data.recipes import Recipe, Recipes
from attrcls.data.unlabelled import UnlabelledBatches
from attrcls.engine import Engine
from attrcls.errors import UserError
from attrcls.features.batches import TwoViewFeatures
from attrcls.features.cache import default_cache
from attrcls.features.extract import Progress, view_features
from attrcls.model.losses import PRIOR_LOSSES
from attrcls.model.network import Network
from attrcls.runs.epochs import TrainView
from attrcls.runs.prepare import Prepared
from attrcls.sections import UnlabelledSpec
from attrcls.task import Plan, Task
from attrcls.training.consistency import CONSISTENCY
from attrcls.types import MISSING


@dataclass(frozen=True)
class UnlabelledRows:
    """The train rows of `manifest` lack a label; `counts` says for each head that learns from them how many lack its own."""

    manifest: Manifest
    counts: dict[str, int]
    spec: UnlabelledSpec

    def told(self, task: Task) -> str:
        """One line: the method, the rows of each head, and how many pictures a step draws."""
        counts = ", ".join(f"{head} {count:,}" for head, count in self.counts.items())
        return f"{self.spec.method}; rows without a label: {counts}; {unlabelled_batch_size(task, self.spec):,} of {len(self.manifest):,} a step"


def set_apart(plan: Plan, prepared: Prepared) -> tuple[Prepared, UnlabelledRows | None]:
    """The rows that train on labels (and all validation and test rows), and those that the task's `unlabelled` is to learn from.

    A row that lacks some labels is in both; one that has none is not among the former: it would teach nothing there.
    Raises:
        UserError: no train row lacks the label of a head that is to learn from such.
    """
    spec, manifest = plan.task.unlabelled, prepared.manifest
    train = manifest.frame["split"].to_numpy() == "train"
    lacking = {head: train & (manifest.targets(head) == MISSING) for head in plan.task.heads}
    labelled = replace(prepared, manifest=without_blank_rows(plan, manifest))
    if spec is None:
        told = [] if plan.pretext else _left_out(len(manifest) - len(labelled.manifest), list(lacking))
        return replace(labelled, warnings=[*prepared.warnings, *told]), None
    heads = [head for head in spec.heads or lacking if head in lacking and (spec.heads or lacking[head].any())]
    full = [head for head in heads if not lacking[head].any()] or ([] if heads else list(lacking))
    if full:
        raise UserError(
            f"unlabelled: every train row has a label of {', '.join(full)}, so there is nothing to learn from without one; leave "
            f"{'it' if heads else 'unlabelled'} out, drop labels with --decisions, or add a card of pictures alone (attributes: {{}})"
        )
    some = np.any([lacking[head] for head in heads], axis=0)
    rows = UnlabelledRows(manifest.take(np.flatnonzero(some)), {head: int(lacking[head].sum()) for head in heads}, spec)
    return replace(labelled, warnings=[*labelled.warnings, *_never_sure(plan, rows)]), rows


def _never_sure(plan: Plan, rows: UnlabelledRows) -> list[str]:
    """Warnings of heads that learn to be less sure, from smoothed labels, than an answer must be to count."""
    confidence = CONSISTENCY[rows.spec.method].confidence if rows.spec.confidence is None else rows.spec.confidence
    warnings = []
    for head in rows.counts:
        spec, classes = plan.task.heads[head], len(plan.heads[head].classes)
        taught = 1 - spec.label_smoothing + spec.label_smoothing / classes
        if confidence is not None and spec.kind == "softmax" and spec.loss not in PRIOR_LOSSES and taught <= confidence + 1e-9:
            warnings.append(
                f"{head}: labels smoothed by {spec.label_smoothing:g} teach it to be {taught:.3g} sure, and {rows.spec.method} takes answers that it "
                f"is {confidence:g} sure of: few will be; --set heads.{head}.label_smoothing=0, or a lower unlabelled.confidence"
            )
    return warnings


def without_blank_rows(plan: Plan, manifest: Manifest) -> Manifest:
    """All rows but train rows that have a label of none of the task's heads."""
    train = manifest.frame["split"].to_numpy() == "train"
    blank = train & np.all([manifest.targets(head) == MISSING for head in plan.task.heads], axis=0)
    # The table itself where no row is left out: a copy would be held beside it for the whole training.
    return manifest.take(np.flatnonzero(~blank)) if blank.any() else manifest


def _left_out(count: int, heads: list[str]) -> list[str]:
    which = f"1 train row is left out: it has no label of {' or '.join(heads)}"
    if count > 1:
        which = f"{count:,} train rows are left out: they have no label of {' or '.join(heads)}"
    return [f"{which}, and nothing else learns from {'it' if count == 1 else 'them'}; --set unlabelled=uda would"] if count else []


def unlabelled_batch_size(task: Task, spec: UnlabelledSpec) -> int:
    """How many pictures without a label each step draws, of all processes together."""
    return max(1, round(task.batch_size * spec.ratio))


def parted_workers(task: Task, workers: int) -> tuple[int, int]:
    """Of so many worker processes, those that decode labelled pictures and those that decode two views of others: in step with each other,
    and at least one each."""
    if task.unlabelled is None or not workers:
        return workers, 0
    labelled = max(1, round(workers / (1 + 2 * task.unlabelled.ratio)))
    return labelled, max(1, workers - labelled)


def unlabelled_batches(
    rows: UnlabelledRows | None,
    plan: Plan,
    prepared: Prepared,
    network: Network,
    fabric: Engine,
    *,
    views: int,
    workers: int,
    cache: PixelCache | DeviceCache | None,
    view: TrainView,
) -> UnlabelledBatches | None:
    """Batches of both views; None where there are no such `rows` to learn from.

    Where a frozen trunk's features of `views` views of labelled pictures are kept, of the picture as it is, and of as many strong views.
    Raises:
        UserError: a recipe cannot be done on the device where pictures are kept, or they do not fit there.
    """
    if rows is None:
        return None
    task, spec, manifest = plan.task, rows.spec, rows.manifest
    source: DrawSource
    if views:
        features = view_features(
            network, manifest, task.image, spec.strong, views=1 + views, fabric=fabric, workers=workers, cache=default_cache(),
            on_start=view.pictures, warn=prepared.warnings.append,
        )  # fmt: skip
        source = TwoViewFeatures(features)
    else:
        on_pictures = partial(_decoding, view)
        source = _pictures(
            pictures_of(manifest, task.image), task, spec, fabric, workers=parted_workers(task, workers)[1], cache=cache, on_pictures=on_pictures
        )
    return UnlabelledBatches(manifest, source, heads=list(rows.counts), batch_size=unlabelled_batch_size(task, spec), seed=task.seed)


def _decoding(view: TrainView, total: int) -> Progress:
    return view.waiting("decoding", total=total)


def _pictures(
    pictures: Pictures[Path], task: Task, spec: UnlabelledSpec, fabric: Engine, *, workers: int, cache: PixelCache | DeviceCache | None,
    on_pictures: Callable[[int], Progress],
) -> DrawSource:  # fmt: skip
    # A strong view is a repeat of its row.
    recipes = Recipes(Recipe(spec.weak, "unlabelled.weak"), repeats=Recipe(spec.strong, "unlabelled.strong"))
    if isinstance(cache, DeviceCache):
        return device_pictures(pictures, cache, recipes, px=task.image.px, workers=workers, on_start=on_pictures)
    built = recipes.built(lambda recipe: Augmenter(recipe.transforms, px=task.image.px, from_px=task.image.resize_px, where=recipe.key))
    dataset = PictureDataset(cache.keep(pictures) if cache else pictures, built)
    return DecodedLoader(dataset, workers=workers, pin_memory=fabric.device.type == "cuda")
