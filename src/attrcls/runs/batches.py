"""A manifest's rows as labelled batches, the way a task wants its pictures, or as a frozen trunk's features of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrcls.data.augment import Augmenter
from attrcls.data.cache import PixelCache, open_cache
from attrcls.data.device_cache import DeviceCache, device_pictures
from attrcls.data.loader import DecodedLoader, DrawSource, LabelledBatches, PictureDataset, default_workers, pictures_of
from attrcls.data.manifest import Manifest
from attrcls.data.recipes import Recipe, Recipes
from attrcls.data.scarce import find_scarce
from attrcls.engine import Engine
from attrcls.errors import UserError
from attrcls.features.batches import KeptFeatures
from attrcls.features.cache import default_cache
from attrcls.features.extract import Progress, view_features
from attrcls.model.network import Network
from attrcls.runs.balance import TrainBalance
from attrcls.runs.numbers import learned_cuts
from attrcls.task import ROTATION, Plan, Task

# Views of all rows together whose features are held in memory: a gigabyte of resnet18's, four of resnet50's.
_MOST_VIEWS = 1_000_000


def chosen_cache(cache: str | Path | None, size: str, fabric: Engine) -> PixelCache | DeviceCache | None:
    """What `--cache` names: the engine's device by the text `device`, else a folder; a folder of that name is `./device`.

    Raises:
        UserError: no folder that can be written, or `size` is none.
    """
    on_device = cache == "device"
    folder = open_cache(None if on_device else cache, size)
    return DeviceCache(fabric.device) if on_device else folder


def batch_bytes(task: Task) -> int:
    """What a task's batch of pictures takes: the larger one, where it also draws two views of others without labels."""
    views = max(1.0, 2 * task.unlabelled.ratio) if task.unlabelled else 1
    return round(task.batch_size * views) * task.image.px**2 * 3


def labelled_batches(
    manifest: Manifest,
    plan: Plan,
    task: Task,
    *,
    recipe: Any = None,
    balance: TrainBalance | None = None,
    workers: int | None = None,
    pin_memory: bool = False,
    cache: PixelCache | DeviceCache | None = None,
    on_pictures: Callable[[int], Progress] | None = None,
) -> LabelledBatches:
    """Batches of a manifest under `recipe`, by default the task's own, with those of its scarce groups; cards in the ratios that the plan
    gives them.

    With a `DeviceCache` pictures are decoded now, which `on_pictures` is told of.
    Raises:
        UserError: they do not fit on the device, or a recipe cannot be done there.
    """
    pictures = pictures_of(manifest, task.image)
    recipes = _recipes(manifest, task, recipe, balance)
    turns = manifest.targets(ROTATION) if plan.pretext == ROTATION else None
    workers = default_workers(batch_bytes(task)) if workers is None else workers
    if isinstance(cache, DeviceCache) and turns is not None:
        raise UserError("--cache device does not turn pictures; use --cache DIR")
    if isinstance(cache, DeviceCache):
        source = device_pictures(pictures, cache, recipes, px=task.image.px, workers=workers, on_start=on_pictures)
        return _labelled(manifest, source, plan, task, balance)
    reader = cache.keep(pictures) if cache else pictures
    built = recipes.built(lambda each: Augmenter(each.transforms, px=task.image.px, from_px=task.image.resize_px, where=each.key))
    dataset = PictureDataset(reader, built, turns=turns)
    loader = DecodedLoader(dataset, workers=workers, pin_memory=pin_memory)
    return _labelled(manifest, loader, plan, task, balance)


def kept_views(plan: Plan, train: Manifest, others: Manifest | None = None) -> int:
    """How many views of each train row a training keeps the features of, one more of each of the `others` that it learns from without a
    label; 0 where pictures go through the trunk each epoch."""
    task, views = plan.task, plan.task.trunk.frozen_views
    held = len(train) * views + (len(others) * (1 + views) if others else 0)
    return 0 if not task.trunk.freeze or task.own_recipes or held > _MOST_VIEWS else views


def frozen_batches(
    manifest: Manifest,
    plan: Plan,
    task: Task,
    network: Network,
    *,
    views: int,
    fabric: Engine,
    balance: TrainBalance | None = None,
    workers: int | None = None,
    on_pictures: Callable[[int], Progress] | None = None,
    warn: Callable[[str], None],
) -> LabelledBatches:
    """The same, of features of `views` fixed views of each picture under the network's trunk, which must not learn.

    `warn` is told where they cannot be kept on disk.
    Raises:
        UserError: a picture that was readable is not any more.
    """
    features = view_features(
        network, manifest, task.image, task.augment, views=views, fabric=fabric, workers=workers, cache=default_cache(), on_start=on_pictures,
        warn=warn,
    )  # fmt: skip
    return _labelled(manifest, KeptFeatures(features), plan, task, balance)


def _recipes(manifest: Manifest, task: Task, recipe: Any, balance: TrainBalance | None) -> Recipes[Recipe]:
    repeats = task.balance.repeat_augment if balance and task.balance else None
    groups = task.scarce if recipe is None and task.scarce else {}
    return Recipes(
        Recipe(task.augment if recipe is None else recipe),
        None if repeats is None else Recipe(repeats, "balance.repeat_augment"),
        [Recipe(group.augment, f"scarce.{name}.augment") for name, group in groups.items()],
        find_scarce(groups, manifest).group_of if groups else None,
    )


def _labelled(manifest: Manifest, source: DrawSource, plan: Plan, task: Task, balance: TrainBalance | None) -> LabelledBatches:
    weights = balance.weights if balance else None
    return LabelledBatches(
        manifest, source, heads=list(task.heads), batch_size=task.batch_size, seed=task.seed, ratios=plan.ratios, weights=weights,
        cuts=learned_cuts(plan),
    )  # fmt: skip
