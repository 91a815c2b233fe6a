"""What is scored: the rows of a run's card, or of tables, with their labels, groups and pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attrcls.card import Card
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.remote import Location
from attrcls.data.tables import find_column, read_table
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.evaluation import IntArray
from attrcls.prediction.inputs import IMAGE_COLUMNS, TABLE_SUFFIXES, WHOLE_PICTURE, PredictInput, read_input, refuse_table_options
from attrcls.prediction.models import TrainedModel, combiner_of
from attrcls.prediction.output import refuse_predictions
from attrcls.runs.folder import RunFolder
from attrcls.runs.places import recall_places
from attrcls.spec import parse_spec
from attrcls.types import MISSING, SPLITS


@dataclass(frozen=True)
class Labelled:
    """`targets` are those of the heads, and of the other attributes whose labels are known: to cut by."""

    asked: PredictInput
    targets: Mapping[str, IntArray]
    classes: Mapping[str, Sequence[str]]
    groups: Sequence[str]
    grouped_by: str
    split: str | None = None
    problems: Sequence[str] = ()


def find_labelled(
    models: Sequence[TrainedModel], source: Location, *, truth: Path | None, split: str | None, image_column: str | None,
    image_root: Location | None, encoding: str | None,
) -> Labelled:  # fmt: skip
    """The rows of `source` to score: of the run's own card where it is a folder in that card's layout, else of what `predict` takes, with
    labels in it or in `truth`.

    Raises:
        UserError: no labels are found, or a label is outside its vocabulary; an option does not go with the input.
    """
    labelled = _from_card(models, source, split=split) if truth is None and isinstance(source, Path) else None
    if labelled:
        refuse_table_options(source, {"--image-column": image_column, "--image-root": image_root, "--encoding": encoding})
        return labelled
    # Without a table for input it is the truth's.
    of_input = None if truth is not None and source.suffix.lower() not in TABLE_SUFFIXES else encoding
    first = models[0].description
    asked = read_input(source, image_column=image_column, image_root=image_root, encoding=of_input, box=first.box, known=first.tables)
    labelled = _from_tables(models, asked, truth, source=source, split=split, encoding=encoding)
    # Only now: what is no table of labels at all is better told so.
    asked.refuse_nowhere()
    return labelled


def _from_card(models: Sequence[TrainedModel], source: Path, *, split: str | None) -> Labelled | None:
    """The rows of the run's own card, when `source` is a folder in that card's layout."""
    model = models[0]
    if not os.path.isdir(source) or not (model.run / "config.yaml").exists():
        return None
    config = RunFolder(model.run).read_config()
    cards = {name: parse_spec(Card, raw, file=f"{model.run}/config.yaml") for name, raw in config.get("cards", {}).items()}
    fitting = _cards_in(source, cards, known=recall_places(config))
    if not fitting:
        return None
    manifest, problems = build_manifest(fitting, dict.fromkeys(fitting, source), on_error="skip")
    # Of a model without its run nobody knows what it learned from.
    splits = _known_splits(manifest, [model.run, *(each.run for each in models if (each.run / "splits.csv").is_file())])
    if split is None and len(models) > 1 and not (splits != "train").any():
        raise UserError(
            f"{source}: every row here trained one of these {len(models)} models, so scores would flatter them; "
            "folds.json and oof.csv of a training of folds have what each row's own fold said of it; --split train scores them all the same"
        )
    chosen = split or next((name for name in ("test", "val") if (splits == name).any()), "train")
    if chosen not in SPLITS:
        raise UserError(f"--split: expected one of {', '.join(SPLITS)}, found {chosen!r}")
    manifest = manifest.take(np.flatnonzero(splits == chosen))
    if not len(manifest):
        raise UserError(f"{source}: no row belongs to the {chosen} split; found rows of {', '.join(dict.fromkeys(splits)) or 'no split'}")
    frame = manifest.frame
    boxes = np.where(np.isnan(manifest.boxes()), WHOLE_PICTURE, manifest.boxes()) if model.description.box else None
    asked = PredictInput(pd.DataFrame({"path": frame["path"]}), "path", manifest.image_paths(), boxes)
    targets = {head: manifest.targets(head) for head in manifest.classes}
    groups = frame["group"].where(frame["group"] != "", "row " + frame["row_id"])
    by = "group" if (frame["group"] != "").any() else "row"
    return Labelled(asked, targets, manifest.classes, list(groups), by, chosen, [str(problem) for problem in problems])


def _cards_in(source: Path, cards: Mapping[str, Card], *, known: Mapping[str, Path]) -> dict[str, Card]:
    """The cards whose tables lie in a folder; where several could be meant, those whose data lay there as the run was trained.

    Raises:
        UserError: several cards read the same table there, and nobody knows which is meant.
    """
    fitting = {name: card for name, card in cards.items() if any((source / table.file).is_file() for table in card.tables)}
    lay_there = {name: card for name, card in fitting.items() if name in known and known[name].resolve() == source.resolve()}
    if len(fitting) < 2 or lay_there:
        return lay_there or fitting
    readers: dict[str, list[str]] = {}
    for name, card in fitting.items():
        for file in dict.fromkeys(table.file for table in card.tables if (source / table.file).is_file()):
            readers.setdefault(file, []).append(name)
    for file, names in readers.items():
        if len(names) > 1:
            raise UserError(
                f"{source}: the cards {' and '.join(names)} both read {file}, and whose data this is is not known on this machine; "
                f"name the table instead: {source / file}"
            )
    return fitting


def _known_splits(manifest: Manifest, runs: Sequence[Path]) -> "pd.Series[str]":
    """Where the runs' training put a row, which is train if any of them learned from it; a new row belongs where the card says, else to test,
    unless its group trained."""
    tables = pd.concat([read_table(run / "splits.csv", escaped=True) for run in dict.fromkeys(runs)], ignore_index=True)
    # Train first, so that what trained one of them counts as trained.
    tables = tables.iloc[np.argsort(tables["split"].to_numpy() != "train", kind="stable")].drop_duplicates(["card", "row_id"])
    keys = list(zip(manifest.frame["card"], manifest.frame["row_id"], strict=True))
    trained = dict(zip(zip(tables["card"], tables["row_id"], strict=True), tables["split"], strict=True))
    learned = set(tables["group"][tables["split"] == "train"]) - {""}
    groups = manifest.frame["group"]
    new = ["train" if group in learned else given or "test" for group, given in zip(groups, manifest.frame["split"], strict=True)]
    return pd.Series([trained.get(key, otherwise) for key, otherwise in zip(keys, new, strict=True)])


def _from_tables(
    models: Sequence[TrainedModel], asked: PredictInput, truth: Path | None, *, source: Location, split: str | None, encoding: str | None
) -> Labelled:
    table, file, numbers = asked.table, source, np.arange(1, len(asked.table) + 1)
    if truth is not None:
        file = truth
        table, numbers = _matched(read_table(truth, encoding=encoding), asked, truth)
    targets = _targets(models, table, file=file, numbers=numbers)
    group = models[0].description.group_column
    grouped = next((each for each in (table, asked.table) if group in each.columns), None)
    pictures = asked.table[asked.image_column]
    # A row with a blank group stands alone; one big group of them would widen the intervals.
    groups = grouped[group].where(grouped[group] != "", "picture " + pictures) if grouped is not None and group else pictures
    rows = np.ones(len(table), dtype=bool)
    if split is not None:
        column = find_column(asked.table, "split", file=source, what="the splits (--split)")
        rows = (asked.table[column] == split).to_numpy()
        if not rows.any():
            raise UserError(f"{source}: no row of column {column} is {split!r} (found: {', '.join(sorted(set(asked.table[column])))})")
    kept = np.flatnonzero(rows)
    boxes = asked.boxes[kept] if asked.boxes is not None else None
    part = PredictInput(asked.table.iloc[kept].reset_index(drop=True), asked.image_column, [asked.paths[int(row)] for row in kept], boxes)
    by = str(group) if grouped is not None else "picture"
    classes = {head: spec.classes for model in models for head, spec in model.description.attributes.items()}
    return Labelled(part, {head: values[kept] for head, values in targets.items()}, classes, list(groups.iloc[kept]), by, split)


def _matched(truth: pd.DataFrame, asked: PredictInput, file: Path) -> tuple[pd.DataFrame, IntArray]:
    """The truth table's rows in the input's order, blank where it has none, and which rows these are, from 1."""
    column = next((name for name in (asked.image_column, *IMAGE_COLUMNS) if name in truth.columns), None)
    if column is None:
        raise UserError(f"{file}: expected a column {asked.image_column} to match pictures by (columns: {', '.join(map(str, truth.columns[:20]))})")
    if len(repeated := truth[column][truth[column].duplicated()]):
        raise UserError(f"{file}: {repeated.iloc[0]!r} stands in column {column} more than once; one row per picture is needed")
    places = pd.Index(truth[column]).get_indexer(asked.table[asked.image_column])
    if (places < 0).all():
        raise UserError(f"{file}: none of its {len(truth)} pictures is in the input; is {column} written the same way in both?")
    matched = truth.iloc[places].reset_index(drop=True)
    matched.loc[places < 0] = ""
    return matched, places.astype(np.int64) + 1


def _targets(models: Sequence[TrainedModel], table: pd.DataFrame, *, file: Location, numbers: IntArray) -> dict[str, IntArray]:
    """Each head's labels in a table whose rows have these numbers in `file`."""
    attributes = {head: spec for model in models for head, spec in model.description.attributes.items()}
    combiner = combiner_of(models)
    refuse_predictions(table, attributes, file=file)
    problems, targets = list[Problem](), dict[str, IntArray]()
    for head, spec in attributes.items():
        column = next((name for name in (spec.column, head) if name and name in table.columns), None)
        if column is None:
            continue
        values = np.full(len(table), MISSING, dtype=np.int64)
        for position, cell in enumerate(table[column]):
            try:
                values[position] = MISSING if cell == "" else spec.index_of(cell)
            except ValueError as error:
                problems.append(Problem(str(file), str(error), row=int(numbers[position]), column=column))
        targets[head] = values
    if not targets and combiner and combiner.name in table.columns:
        codes = pd.to_numeric(table[combiner.name].replace("", str(MISSING)), errors="coerce").to_numpy(dtype=np.float64)
        for place in np.flatnonzero(~((codes >= MISSING) & (codes < combiner.size) & (codes % 1 == 0))):
            found = table[combiner.name].iloc[place]
            expected = f"expected a code from 0 to {combiner.size - 1}, found {found!r}"
            problems.append(Problem(str(file), expected, row=int(numbers[place]), column=combiner.name))
        if not problems:
            targets = combiner.decode(codes.astype(np.int64))
    if problems:
        raise ProblemsError(f"{file}: labels that cannot be read", problems, fix="mend these cells, or leave them blank, so that they do not count")
    if not targets:
        wanted = ", ".join([*attributes, *([combiner.name] if combiner else [])])
        raise UserError(f"{file}: no column holds labels (looked for {wanted}); name a table that does with --truth FILE")
    return targets
