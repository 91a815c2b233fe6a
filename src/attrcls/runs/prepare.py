"""From a task's name to a checked, split manifest: the first half of every story that starts from a task."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from attrcls.combine import combiner_for
from attrcls.data.augment import RECIPES, Augmenter
from attrcls.data.cache import PixelCache
from attrcls.data.check import find_unreadable
from attrcls.data.device_cache import DeviceCache
from attrcls.data.draws import expected_draws
from attrcls.data.duplicates import Duplicates, find_duplicates, in_several_splits
from attrcls.data.leaks import Pairs, number_files, ties
from attrcls.data.loader import pictures_of
from attrcls.data.manifest import SKIP_ADVICE, Manifest, OnError, build_manifest
from attrcls.data.rotation import turned_four_ways
from attrcls.data.split import number_folds, split_manifest, tied_codes
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.model.heads import HEADS, check_loss_options
from attrcls.model.losses import LOSSES
from attrcls.model.trunk import known_trunks
from attrcls.runs.numbers import learned_cuts
from attrcls.spec import suggest
from attrcls.task import ROTATION, Plan
from attrcls.training.consistency import CONSISTENCY, check_unlabelled
from attrcls.training.optim import SCHEDULES
from attrcls.types import MISSING


@dataclass(frozen=True)
class Prepared:
    """A split manifest of readable rows. `skipped` are the problems whose rows were left out, `warnings` in words."""

    manifest: Manifest
    roots: Mapping[str, Path]
    skipped: Sequence[Problem] = ()
    warnings: list[str] = field(default_factory=list)


def prepare_data(
    plan: Plan, data: Sequence[str | Path], *, on_error: OnError = "stop", limit: int | None = None, cache: PixelCache | DeviceCache | None = None
) -> Prepared:
    """Read the cards' tables, check every picture, split, and keep at most `limit` rows of each split.

    What the `cache` holds was read before, and is not checked again.

    Raises:
        ProblemsError: rows are bad and `on_error` is "stop"; all are listed.
        UserError: a folder is missing, nothing is left, or a head has no labelled train row.
    """
    manifest, roots, problems = _read_checked(plan, data, on_error=on_error, cache=cache)
    manifest, duplicates = split_rows(plan, manifest)
    told = straddling_warning(duplicates.table(manifest)) if duplicates else None
    if limit is not None:
        manifest = _limit_rows(manifest, limit, seed=plan.task.seed)
    if plan.pretext == ROTATION:
        manifest = turned_four_ways(manifest)
    warnings = [*([told] if told else []), *check_labels(manifest, heads=list(plan.task.heads))]
    return Prepared(manifest, roots, problems, warnings)


def prepare_folds(
    plan: Plan,
    data: Sequence[str | Path],
    *,
    folds: int,
    on_error: OnError = "stop",
    limit: int | None = None,
    cache: PixelCache | DeviceCache | None = None,
) -> list[Prepared]:
    """The same rows once for each fold, which is then their validation split; what the card gives as validation is cut into folds too.

    The card's test rows stay test rows in all. `limit` counts train and validation rows as one split. Raises as `prepare_data`, and:
        UserError: there are fewer groups than folds.
    """
    manifest, roots, problems = _read_checked(plan, data, on_error=on_error, cache=cache)
    manifest = manifest.with_columns(split=manifest.frame["split"].replace({"": "train", "val": "train"}))
    if limit is not None:
        manifest = _limit_rows(manifest, limit, seed=plan.task.seed)
    tied, duplicates = _ties(plan, manifest)
    told = straddling_warning(duplicates.table(manifest)) if duplicates else None
    # Pictures alone teach in every fold, but those that belong with labelled ones, which some fold is scored on.
    alone = manifest.frame["card"].isin([name for name, card in plan.cards.items() if not card.attributes]).to_numpy()
    together = tied_codes(manifest, tied)
    loose = alone & ~np.isin(together, together[~alone])
    in_folds = manifest.with_columns(split=manifest.frame["split"].mask(loose, ""))
    numbers = number_folds(in_folds, folds=folds, seed=plan.task.hold_back.seed, tied=tied)
    prepared = []
    for fold in range(folds):
        part = manifest.with_columns(split=manifest.frame["split"].where(numbers != fold, "val"))
        try:
            warnings = [*([told] if told else []), *check_labels(part, heads=list(plan.task.heads))]
        except UserError as error:
            raise UserError(f"--folds {folds}: without fold {fold + 1}, {error}") from error
        prepared.append(Prepared(part, roots, problems, warnings))
    return prepared


def _read_checked(
    plan: Plan, data: Sequence[str | Path], *, on_error: OnError, cache: PixelCache | DeviceCache | None
) -> tuple[Manifest, Mapping[str, Path], list[Problem]]:
    """The rows whose pictures can be read, where each card's data lies, and the problems whose rows were left out."""
    roots = resolve_roots(plan, data)
    manifest, problems = build_manifest(plan.cards, roots, on_error=on_error)
    image = plan.task.image
    known = cache.holds(pictures_of(manifest, image)) if cache else None
    unreadable = find_unreadable(manifest, min_px=image.resize_px, crop=image.crop_boxes, known=known)
    if unreadable and on_error == "stop":
        raise ProblemsError(
            f"{len(unreadable)} {'picture' if len(unreadable) == 1 else 'pictures'} cannot be read", list(unreadable.values()), fix=SKIP_ADVICE
        )
    manifest = manifest.take(np.array([row for row in range(len(manifest)) if row not in unreadable], dtype=np.int64))
    if not len(manifest):
        raise UserError("no picture can be read: `attrcls data` lists why")
    return manifest, roots, [*problems, *unreadable.values()]


def split_rows(plan: Plan, manifest: Manifest) -> tuple[Manifest, Duplicates | None]:
    """Split readable rows as the task says: groups and files are never cut apart, nor are duplicates where it asks for that; those are
    then given as well.

    Raises:
        UserError: a card has too few train groups to hold any back.
    """
    tied, duplicates = _ties(plan, manifest)
    # Of pictures alone there is nothing to validate, but which way they were turned.
    unlabelled = [name for name, card in plan.cards.items() if not card.attributes and plan.pretext != ROTATION]
    share, seed = plan.task.hold_back.share, plan.task.hold_back.seed
    return split_manifest(manifest, share=share, seed=seed, tied=tied, unlabelled=unlabelled), duplicates


def _ties(plan: Plan, manifest: Manifest) -> tuple[Pairs, Duplicates | None]:
    """Pairs of rows that stay together whatever their groups: of one file, and duplicates where the task asks for that."""
    tied = ties(number_files(manifest.image_paths()))
    duplicates = find_duplicates(manifest) if plan.task.hold_back.duplicates == "group" else None
    if duplicates:
        tied = np.concatenate([tied, ties(duplicates.set_of_row)])
    return tied, duplicates


def straddling_warning(duplicates: pd.DataFrame) -> str | None:
    """What to say of a table of duplicates (`Duplicates.table`) when some stand in several splits."""
    apart = duplicates[in_several_splits(duplicates)]
    if not len(apart):
        return None
    first = ", ".join(
        f"{path} ({split})" for path, split in apart.loc[apart["duplicate_set"] == apart["duplicate_set"].iloc[0], ["path", "split"]].to_numpy()[:3]
    )
    sets = apart["duplicate_set"].nunique()
    what = "1 picture stands" if sets == 1 else f"{sets:,} pictures stand"
    return f"{what} in several splits under different names, so scores flatter the model; the first: {first}"


def resolve_roots(plan: Plan, data: Sequence[str | Path]) -> dict[str, Path]:
    """Each card's data folder: from `--data DIR` or `--data CARD=DIR`, else the card's own `root:`.

    Raises:
        UserError: a card's folder is not told, or a name before `=` is no card of the task.
    """
    roots: dict[str, Path] = {}
    for argument in map(str, data):
        name, equals, folder = argument.partition("=")
        if equals and name in plan.cards:
            roots[name] = Path(folder)
        elif len(plan.cards) == 1:
            roots[next(iter(plan.cards))] = Path(argument)
        else:
            raise UserError(
                f"--data {argument}: the task has {len(plan.cards)} cards; say whose folder it is: --data CARD=DIR"
                f"{suggest(name, plan.cards)} (cards: {', '.join(plan.cards)})"
            )
    for name, card in plan.cards.items():
        if name not in roots:
            if card.root is None:
                option = "--data DIR" if len(plan.cards) == 1 else f"--data {name}=DIR"
                raise UserError(f"where does the data of card {name} lie? name the folder that holds {card.tables[0].file}: {option}")
            roots[name] = plan.found_cards[name].path.parent / card.root
    return roots


def input_tables(plan: Plan, roots: Mapping[str, Path]) -> list[Path]:
    """The files of all cards' tables."""
    return [roots[name] / table.file for name, card in plan.cards.items() for table in card.tables]


def check_labels(manifest: Manifest, *, heads: Sequence[str]) -> list[str]:
    """Warnings about classes that cannot be learned.

    Raises:
        UserError: there is no train row, or a head has no labelled one.
    """
    train = manifest.of_split("train")
    if not len(train):
        raise UserError("no train row is left: every row belongs to validation or test; give some rows the split train, in the table or in the card")
    warnings = []
    for head in heads:
        counts = train.class_counts(head)
        if not counts.any():
            raise UserError(f"head {head} has no labelled train row; leave it out with --heads, or check its column and `missing:` in the card")
        absent = [name for name, count in zip(manifest.classes[head], counts, strict=True) if not count]
        if absent:
            warnings.append(f"{head}: no train row is {', '.join(absent)}; the model will hardly ever say so")
    if not len(manifest.of_split("val")):
        warnings.append("there are no validation rows: the last epoch is kept, and confidences are not calibrated (every temperature is 1)")
    return warnings


def drawn_class_counts(train: Manifest, plan: Plan) -> dict[str, list[int]]:
    """Of each head, the labelled train rows per class as an epoch draws them before any balancing: each counts as its card's `ratio`.

    Rounded to whole rows; a class that has a row counts at least one.
    """
    draws = expected_draws(train.frame["card"].to_numpy(), plan.ratios)
    counts = {}
    for head in plan.task.heads:
        targets, rows = train.targets(head), train.class_counts(head)
        known = targets != MISSING
        drawn = np.bincount(targets[known], weights=draws[known], minlength=len(rows))
        counts[head] = [int(each) for each in np.where(rows > 0, np.maximum(np.rint(drawn), 1), 0)]
    return counts


def check_names(plan: Plan) -> None:
    """Look up every name that the task takes from a table, before anything is read.

    Raises:
        ProblemsError: names that no table has; all of them, each with its key and the nearest right one.
        UserError: options that a loss does not have, an explicit augmentation list that cannot be built, or choices that a method does not know.
    """
    task = plan.task
    known = ["val_loss", "mean/top1", "mean/f1"]
    known += [f"{head}/{metric}" for head in task.heads for metric in ("val_loss", "top1", "precision", "recall", "f1")]
    known += [f"{head}/mae" for head in task.ordinal_heads]
    if task.combine and set(task.combine.order) <= set(task.heads):
        known += [f"{task.combine.name}/top1", f"{task.combine.name}/f1"]
    looked_up: list[tuple[str, str, Collection[str]]] = [
        ("trunk.name", task.trunk.name, known_trunks()),
        ("schedule.name", task.schedule.name, SCHEDULES),
        ("monitor", task.monitor, known),
        *((f"heads.{head}.kind", spec.kind, HEADS) for head, spec in task.heads.items()),
        *((f"heads.{head}.loss", spec.loss, LOSSES) for head, spec in task.heads.items()),
    ]
    recipes = {"augment": task.augment, "balance.repeat_augment": task.balance.repeat_augment if task.balance else None}
    if task.unlabelled:
        looked_up.append(("unlabelled.method", task.unlabelled.method, CONSISTENCY))
        recipes |= {"unlabelled.weak": task.unlabelled.weak, "unlabelled.strong": task.unlabelled.strong}
    for name, group in (task.scarce or {}).items():
        recipes[f"scarce.{name}.augment"] = group.augment
        looked_up += [(f"scarce.{name}.where", attribute, plan.attributes) for attribute in group.where]
        named = {attribute: label for attribute, label in group.where.items() if attribute in plan.attributes}
        looked_up += [(f"scarce.{name}.where.{attribute}", label, plan.attributes[attribute].classes) for attribute, label in named.items()]
    looked_up += [(key, recipe, RECIPES) for key, recipe in recipes.items() if isinstance(recipe, str)]
    file = plan.found.path.name
    problems = [
        Problem(file, f"{key}: expected one of {_some(table)}, found {name!r}{suggest(name, table)}")
        for key, name, table in looked_up
        if name not in table
    ]
    if problems:
        raise ProblemsError(f"task {task.name}: unknown names", problems)
    for head, spec in task.heads.items():
        check_loss_options(spec, where=f"{file}: heads.{head}.loss_options")
    learned_cuts(plan)
    for key, recipe in recipes.items():
        if recipe is not None:
            Augmenter(recipe, px=task.image.px, from_px=task.image.resize_px, where=key)
    if task.unlabelled:
        check_unlabelled(task.unlabelled)


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:8]) + (", …" if len(names) > 8 else "")


def most_frequent(manifest: Manifest, plan: Plan) -> dict[str, int]:
    """The most frequent class index per head, and code, among the rows; the lowest wins a tie."""
    frequent = {head: int(np.argmax(manifest.class_counts(head))) for head in plan.heads}
    combiner = combiner_for(plan)
    if combiner and all(attribute in manifest.classes for attribute in combiner.order):
        codes = combiner.encode({attribute: manifest.targets(attribute) for attribute in combiner.order})
        codes = codes[codes != MISSING]
        if not len(codes):
            # No row has all of the labels (they come from different cards): the code of each one's most frequent class.
            codes = combiner.encode({attribute: [int(np.argmax(manifest.class_counts(attribute)))] for attribute in combiner.order})
        frequent[combiner.name] = int(np.argmax(np.bincount(codes, minlength=combiner.size)))
    return frequent


def _limit_rows(manifest: Manifest, limit: int, *, seed: int) -> Manifest:
    splits = manifest.frame["split"].to_numpy()
    kept = []
    for split in dict.fromkeys(splits):
        rows = np.flatnonzero(splits == split)
        kept.append(np.random.default_rng([seed, limit]).permutation(rows)[:limit])
    return manifest.take(np.sort(np.concatenate(kept)))
