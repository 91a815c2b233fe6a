"""Evaluation as a story: runs + a labelled set → predictions → truth → scores with intervals."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.answers.calibration import Certainty, measure_certainty
from attrcls.card import Card
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.remote import Location, parse_location
from attrcls.data.tables import find_column, read_table
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.evaluation import IntArray, Interval, score_with_intervals
from attrcls.features.cache import default_cache
from attrcls.prediction.answers import READ, Answers, answer, check_rules
from attrcls.prediction.inputs import IMAGE_COLUMNS, TABLE_SUFFIXES, WHOLE_PICTURE, PredictInput, read_input, refuse_table_options
from attrcls.prediction.models import TrainedModel, combiner_of, heads_of, load_models
from attrcls.prediction.output import refuse_predictions
from attrcls.prediction.runtime import start_runtime
from attrcls.prediction.views import parse_views
from attrcls.runs.folder import RunFolder
from attrcls.runs.places import recall_places
from attrcls.runs.predict import Advance, predict_rows
from attrcls.slices import Slice, score_slices
from attrcls.spec import parse_spec
from attrcls.types import MISSING, SPLITS


@dataclass(frozen=True)
class Evaluated:
    """Scores by name and by slice, what they stand on, and how many rows had no picture that could be read or no label at all.

    `certainty` of each head is over all of its labelled rows; `answered` is the share of them (0–1) that was not left blank, and scores
    and slices are of these. `seen` says that temperatures were fitted on these very rows.
    """

    scores: Mapping[str, Interval]
    slices: Sequence[Slice]
    rows: int
    groups: int
    grouped_by: str
    split: str | None
    failed: Sequence[str]
    unlabelled: int
    certainty: Mapping[str, Certainty] = field(default_factory=dict)
    answered: Mapping[str, float] = field(default_factory=dict)
    seen: bool = False
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class _Labelled:
    """`targets` are those of the heads, and of the other attributes whose labels are known: to cut by."""

    asked: PredictInput
    targets: Mapping[str, IntArray]
    classes: Mapping[str, Sequence[str]]
    groups: Sequence[str]
    grouped_by: str
    split: str | None = None
    problems: Sequence[str] = ()


def run_evaluate(
    runs: Sequence[str | Path] | str | Path,
    source: str | Path,
    *,
    truth: str | Path | None = None,
    split: str | None = None,
    image_column: str | None = None,
    image_root: str | Path | None = None,
    encoding: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    resume: bool = False,
    tta: str | None = None,
    adjust: float = 0.0,
    decode: str | None = None,
    quota: Sequence[str] = (),
    abstain: float | None = None,
    started: Callable[[int], Advance] = lambda images: lambda done: None,
) -> Evaluated:
    """Score runs on a labelled set: the card's data folder, or anything `predict` takes with labels in it or beside it.

    `truth` is a table with the labels (or the combined code), matched by the picture's name. `split` picks one split
    of a card's folder; by default its test rows, else its validation rows. `resume`, `tta` and what chooses classes (`adjust`, `decode`,
    `quota`, `abstain`) as for `run_predict`; what abstained does not count in the scores.
    Raises:
        UserError: no labels are found, or a label is outside its vocabulary.
    """
    models = load_models([Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)])
    views = parse_views(tta)
    place, root = parse_location(source), parse_location(image_root) if image_root else None
    labelled = _from_card(models, place, split=split) if truth is None and isinstance(place, Path) else None
    if labelled:
        refuse_table_options(place, {"--image-column": image_column, "--image-root": root, "--encoding": encoding})
    else:
        # Without a table for input it is the truth's.
        of_input = None if truth is not None and place.suffix.lower() not in TABLE_SUFFIXES else encoding
        asked = read_input(place, image_column=image_column, image_root=root, encoding=of_input, box=models[0].description.box)
        labelled = _from_tables(models, asked, Path(truth) if truth else None, source=place, split=split, encoding=encoding)
    rules = check_rules(models, rows=len(labelled.asked.paths), adjust=adjust, decode=decode, quota=quota, abstain=abstain)
    # Torch, as in training, so that scores do not depend on what is installed.
    runtime = start_runtime(
        models, engine="torch", device=device, precision=precision, pictures=len(labelled.asked.paths), batch_size=batch_size,
        cache=default_cache(),
    )  # fmt: skip
    predictions, kept = predict_rows(
        models, labelled.asked, runtime=runtime, batch_size=batch_size, workers=workers, resume=resume, started=started, views=views
    )
    answers = answer(models, predictions, rules)
    ok = np.array([status in READ for status in answers.predictions.status], dtype=bool)
    classes = heads_of(models)
    targets = {head: values[ok] for head, values in labelled.targets.items()}
    predicted = {head: answers.chosen[head][ok] for head in classes if head in targets}
    certainty = _certainty(answer(models, predictions, replace(rules, abstain=None)), targets, ok, heads=list(predicted))
    groups = np.asarray(labelled.groups, dtype=object)[ok]
    unlabelled = int(np.logical_and.reduce([targets[head] == MISSING for head in predicted]).sum())
    answered, labels = {}, dict(targets)
    for head, values in predicted.items():
        blank, given = values == MISSING, targets[head] != MISSING
        answered[head] = float((~blank)[given].mean()) if given.any() else float("nan")
        # What was not answered does not count; any class may stand where no label does.
        targets[head], predicted[head] = np.where(blank, MISSING, targets[head]), np.where(blank, 0, values)
    scores = score_with_intervals(
        predicted, targets, groups, combiner=combiner_of(models),
        ordinal={head for model in models for head, spec in model.description.heads.items() if spec.kind == "ordinal"},
    )  # fmt: skip
    slices = score_slices(predicted, targets, groups, classes=labelled.classes, labels=labels)
    kept.drop()
    warnings = [*rules.warnings, *answers.warnings]
    if labelled.split == "val" and (kind := rules.decoder.kind) != "argmax":
        warnings.append(f"decode: {kind} was fitted on these rows, so that scores flatter ({models[0].description.decode.reason})")
    names = labelled.asked.table[labelled.asked.image_column]
    failed = [*labelled.problems, *(f"{name}: {why}" for name, why, fine in zip(names, predictions.error, ok, strict=True) if not fine)]
    return Evaluated(
        scores, slices, int(ok.sum()), len(set(groups)), labelled.grouped_by, labelled.split, failed, unlabelled, certainty, answered,
        seen=labelled.split == "val", warnings=warnings,
    )  # fmt: skip


def _certainty(answers: Answers, targets: Mapping[str, IntArray], read: npt.NDArray[np.bool_], *, heads: Sequence[str]) -> dict[str, Certainty]:
    """Of each head that has labels: what its confidences are worth."""
    measured = {}
    for head in heads:
        given, chosen = targets[head], answers.chosen[head][read]
        found = measure_certainty(answers.confidence[head][read][given != MISSING], (chosen == given)[given != MISSING])
        if found:
            measured[head] = found
    return measured


def _from_card(models: Sequence[TrainedModel], source: Path, *, split: str | None) -> _Labelled | None:
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
    return _Labelled(asked, targets, manifest.classes, list(groups), by, chosen, [str(problem) for problem in problems])


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
) -> _Labelled:
    table, file = asked.table, source
    if truth is not None:
        file = truth
        table = _matched(read_table(truth, encoding=encoding), asked, truth)
    targets = _targets(models, table, list(asked.table[asked.image_column]), file=file)
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
    return _Labelled(part, {head: values[kept] for head, values in targets.items()}, classes, list(groups.iloc[kept]), by, split)


def _matched(truth: pd.DataFrame, asked: PredictInput, file: Path) -> pd.DataFrame:
    """The truth table's rows in the input's order, blank where it has none."""
    column = next((name for name in (asked.image_column, *IMAGE_COLUMNS) if name in truth.columns), None)
    if column is None:
        raise UserError(f"{file}: expected a column {asked.image_column} to match pictures by (columns: {', '.join(map(str, truth.columns[:20]))})")
    if len(repeated := truth[column][truth[column].duplicated()]):
        raise UserError(f"{file}: {repeated.iloc[0]!r} stands in column {column} more than once; one row per picture is needed")
    matched = truth.set_index(column).reindex(asked.table[asked.image_column])
    if matched.isna().all(axis=None):
        raise UserError(f"{file}: none of its {len(truth)} pictures is in the input; is {column} written the same way in both?")
    return matched.fillna("").reset_index()


def _targets(models: Sequence[TrainedModel], table: pd.DataFrame, pictures: Sequence[str], *, file: Location) -> dict[str, IntArray]:
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
                problems.append(Problem(str(file), f"{pictures[position]}: {error}", column=column))
        targets[head] = values
    if not targets and combiner and combiner.name in table.columns:
        codes = pd.to_numeric(table[combiner.name].replace("", str(MISSING)), errors="coerce").to_numpy(dtype=np.float64)
        for place in np.flatnonzero(~((codes >= MISSING) & (codes < combiner.size) & (codes % 1 == 0))):
            found = table[combiner.name].iloc[place]
            problems.append(
                Problem(str(file), f"{pictures[int(place)]}: expected a code from 0 to {combiner.size - 1}, found {found!r}", column=combiner.name)
            )
        if not problems:
            targets = combiner.decode(codes.astype(np.int64))
    if problems:
        raise ProblemsError(f"{file}: labels that cannot be read", problems)
    if not targets:
        wanted = ", ".join([*attributes, *([combiner.name] if combiner else [])])
        raise UserError(f"{file}: no column holds labels (looked for {wanted}); name a table that does with --truth FILE")
    return targets
