"""Cross-validation as a story: task → rows cut into folds → a run for each → out-of-fold predictions, mean and spread.

Each fold is an ordinary run directory whose validation rows are the fold's; the rows of the others train it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.combine import combiner_for
from attrcls.data.cache import CACHE_SIZE
from attrcls.data.manifest import Manifest, OnError
from attrcls.data.tables import read_table
from attrcls.engine import start_engine
from attrcls.errors import AttrclsError, UserError
from attrcls.evaluation import score_with_intervals
from attrcls.model.trunk import build_trunk
from attrcls.prediction.members import FOLD, write_members
from attrcls.report.folds import FoldScores, FoldsSummary, summarise, write_folds_report, write_summary
from attrcls.runs.batches import chosen_cache, kept_views
from attrcls.runs.decide import decide_labels
from attrcls.runs.epochs import TrainView
from attrcls.runs.folder import RunFolder, open_run_folder, record_end, refuse_inputs_inside
from attrcls.runs.numbers import check_numbers, learned_cuts
from attrcls.runs.places import without_places
from attrcls.runs.prepare import Prepared, check_names, prepare_folds
from attrcls.runs.resume import check_finished, check_same_run, manifest_digest, specs_of
from attrcls.runs.scarce import check_scarce
from attrcls.runs.sweep import check_sweep
from attrcls.runs.train import run_train
from attrcls.runs.unlabelled import set_apart
from attrcls.runs.validation import split_table
from attrcls.task import Plan, load_plan
from attrcls.tensors import load_tensors
from attrcls.training.compiling import check_compiled
from attrcls.training.metrics import score_all


def run_folds(
    task: str,
    *,
    folds: int,
    data: Sequence[str | Path] | str | Path = (),
    out: str | Path | None = None,
    heads: Sequence[str] = (),
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    limit: int | None = None,
    on_error: OnError = "stop",
    resume: bool = False,
    overwrite: bool = False,
    decisions: str | Path | None = None,
    cache: str | Path | None = None,
    cache_size: str = CACHE_SIZE,
    view: TrainView | None = None,
    **training: Any,
) -> Path:
    """Train a task once for each of `folds` parts of its rows, each time without that part, and return the folder of all.

    Train and validation rows are cut together, groups whole, by the task's `hold_back.seed`; test rows are in no fold. `fold-1` … are run
    directories, `oof.csv` has each row's prediction by the model that never saw it, `folds.json` and `report.html` mean and spread of
    the scores; `predict` averages the folds. `limit` counts the rows before they are cut. `resume` leaves finished folds as they are. All
    else, and `training`, is as for `run_train`.
    Raises:
        UserError: there are fewer groups than folds, or anything in the task, cards, data or arguments is wrong.
        AttrclsError: as `run_train`.
    """
    if folds < 2:
        raise UserError(f"--folds: expected 2 or more, found {folds}; leave it out to train one model")
    plan = load_plan(task, overrides=overrides, changes=changes, heads=heads)
    check_names(plan)
    with open_run_folder(Path(out or Path("runs") / plan.task.name), resume=resume, overwrite=overwrite, kind="folds") as folder:
        before = {} if folder.gives_way else folder.read_status()
        if resume and before.get("state") == "finished":
            check_finished(folder, plan, decisions=decisions, limit=limit, folds=folds, cache=cache)
            return folder.path
        fabric = start_engine(device=device, precision=precision)
        if training.get("compiled"):
            check_compiled(plan.task, fabric.device)
        pixels = chosen_cache(cache, cache_size, fabric)
        folders = [data] if isinstance(data, str | Path) else data
        parts = prepare_folds(plan, folders, folds=folds, on_error=on_error, limit=limit, cache=pixels)
        config = _config(plan, parts, decisions=decisions, limit=limit, cache=cache)
        # Without it nothing was trained yet.
        goes_on = resume and bool(before) and (folder.path / "config.yaml").exists()
        if goes_on:
            check_same_run(folder, config)
        else:
            if before:
                # An earlier run gives way, so what is most often mistyped is tried before.
                build_trunk(plan.task.trunk.name, px=plan.task.image.px, weights=plan.task.trunk.weights)
            inputs = {"--decisions": decisions, "--weights": plan.task.trunk.weights, "--data": parts[0].roots.values()}
            refuse_inputs_inside(folder.path, inputs)
            folder.clear()
            started = datetime.now(UTC).isoformat(timespec="seconds")
            folder.write_status({"kind": "folds", "state": "running", "started": started, "folds": folds})
            folder.write_config(config)
        folder.write_table("splits.csv", _fold_table(plan, parts))
        with _ends_in_status(folder, parts[0]):
            for number, part in enumerate(parts, start=1):
                run_train(
                    task, out=folder.path / FOLD.format(number), heads=heads, overrides=overrides, changes=changes, device=device,
                    precision=precision, limit=limit, resume=goes_on, decisions=decisions, cache=cache, cache_size=cache_size, view=view,
                    given=part, **training,
                )  # fmt: skip
            _finish(folder, plan, parts)
        return folder.path


@contextlib.contextmanager
def _ends_in_status(folder: RunFolder, part: Prepared) -> Iterator[None]:
    """However the folds end, `status.json` says so."""
    try:
        status = folder.read_status()
        status.pop("format_version", None)
        folder.write_status({**status, "state": "running", "finished": None, "message": None})
        yield
        record_end(folder, state="finished", message=None)
    except BaseException as error:
        # On a full disk this fails too, and must not hide why the training ended.
        with contextlib.suppress(AttrclsError):
            state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            record_end(folder, state=state, message=without_places(str(error), known=[*part.roots.values(), folder.path]))
        raise


def _config(plan: Plan, parts: Sequence[Prepared], *, decisions: str | Path | None, limit: int | None, cache: str | Path | None) -> dict[str, Any]:
    """What a resume must find again; decisions are carried out once here, so that a file that does not fit is told of before anything is written."""
    carried = [decide_labels(part, Path(decisions), heads=list(plan.task.heads), limited=limit is not None) for part in parts] if decisions else []
    for number, part in enumerate([each.prepared for each in carried] or parts, start=1):
        try:
            labelled, apart = set_apart(plan, part)
            learning = labelled.manifest
            check_scarce(plan, learning)
            check_numbers(plan, learning)
            if plan.task.optimiser.sweep:
                views = kept_views(plan, learning.of_split("train"), apart.manifest if apart else None)
                check_sweep(plan, views=views, val_rows=len(learning.of_split("val")))
        except UserError as error:
            raise UserError(f"--folds {len(parts)}: without fold {number}, {error}") from error
    whole = parts[0].manifest.with_columns(split=_fold_table(plan, parts)["fold"])
    told = {"file": carried[0].file, "digest": carried[0].digest} if carried else None
    run = {"folds": len(parts), "limit": limit, "manifest": manifest_digest(whole, numbers=learned_cuts(plan)), "decisions": told}
    # Unlike a folder it changes what augmentation draws.
    return {**specs_of(plan), "run": {**run, **({"cache": "device"} if cache == "device" else {})}}


def _fold_table(plan: Plan, parts: Sequence[Prepared]) -> pd.DataFrame:
    """`splits.csv` with each row's fold in place of its split; `test` for what is in none."""
    table = split_table(parts[0].manifest, plan)
    fold = pd.Series("test", index=table.index)
    for number, part in enumerate(parts, start=1):
        fold[(part.manifest.frame["split"] == "val").to_numpy()] = FOLD.format(number)
    return table.assign(split=fold).rename(columns={"split": "fold"})


def _finish(folder: RunFolder, plan: Plan, parts: Sequence[Prepared]) -> None:
    """Put the folds' held-back rows together: their table, their scores, the page, and last what lets `predict` find the models."""
    tables, predicted, targets, scores = [], [], [], []
    for number, part in enumerate(parts, start=1):
        run, rows = RunFolder(folder.path / FOLD.format(number)), part.manifest.of_split("val")
        table, probabilities = _kept_validation(run, rows)
        tables.append(_with_probabilities(table, probabilities, rows).assign(fold=run.path.name))
        predicted.append({head: values.argmax(axis=1).astype(np.int64) for head, values in probabilities.items()})
        targets.append({name: rows.targets(name) for name in rows.classes})
        scores.append(_scores_of_fold(run, plan, rows, predicted[-1]))
    folder.write_table("oof.csv", _in_order_of(parts[0].manifest, pd.concat(tables, ignore_index=True)))
    groups = pd.concat([part.manifest.of_split("val").frame["group"] for part in parts], ignore_index=True)
    write_summary(folder.path, _pooled(plan, scores, predicted, targets, groups))
    write_folds_report(folder.path)
    write_members(folder.path, dict.fromkeys((FOLD.format(number) for number in range(1, len(parts) + 1)), 1.0))


def _kept_validation(run: RunFolder, rows: Manifest) -> tuple[pd.DataFrame, dict[str, npt.NDArray[np.float32]]]:
    table = read_table(run.path / "validation.csv", escaped=True)
    tensors, _ = load_tensors(run.probabilities)
    if table["row_id"].tolist() != rows.frame["row_id"].tolist() or any(len(values) != len(table) for values in tensors.values()):
        raise UserError(f"{run.path}: its validation rows are not those of this fold; train the folds anew with --overwrite")
    return table, {head: values.numpy() for head, values in tensors.items()}


def _with_probabilities(table: pd.DataFrame, probabilities: Mapping[str, npt.NDArray[np.float32]], rows: Manifest) -> pd.DataFrame:
    """The table with `<head>_p_<class>` behind its other columns, as `predict --probabilities` names them."""
    columns = {
        f"{head}_p_{name}": values[:, index].astype(np.float64).round(4)
        for head, values in probabilities.items()
        for index, name in enumerate(rows.classes[head])
    }
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def _scores_of_fold(run: RunFolder, plan: Plan, rows: Manifest, predicted: Mapping[str, npt.NDArray[np.int64]]) -> FoldScores:
    status = run.read_status()
    targets = {name: rows.targets(name) for name in rows.classes}
    found = score_all(predicted, targets, combiner=combiner_for(plan), ordinal=plan.task.ordinal_heads)
    scores = {name: None if value != value else value for name, value in found.items()}
    return FoldScores(name=run.path.name, train_rows=status["train_rows"], rows=len(rows), best_epoch=status.get("kept_epoch"), scores=scores)


def _pooled(
    plan: Plan,
    scores: Sequence[FoldScores],
    predicted: Sequence[Mapping[str, npt.NDArray[np.int64]]],
    targets: Sequence[Mapping[str, npt.NDArray[np.int64]]],
    groups: "pd.Series[str]",
) -> FoldsSummary:
    # A row with a blank group stands alone; one big group of them would widen the intervals.
    alone = groups.where(groups != "", "row " + groups.index.to_series().astype(str))
    pooled = score_with_intervals(
        {head: np.concatenate([each[head] for each in predicted]) for head in predicted[0]},
        {name: np.concatenate([each[name] for each in targets]) for name in targets[0]},
        alone,
        combiner=combiner_for(plan),
        ordinal=plan.task.ordinal_heads,
    )
    counted = groups[groups != ""].nunique()
    return summarise(scores, pooled, task=plan.task.title or plan.task.name, monitor=plan.task.monitor, keep=plan.task.keep, groups=counted)


def _in_order_of(manifest: Manifest, table: pd.DataFrame) -> pd.DataFrame:
    """A table's rows in the order in which the manifest has them."""
    place = {key: position for position, key in enumerate(zip(manifest.frame["card"], manifest.frame["row_id"], strict=True))}
    order = [place[key] for key in zip(table["card"], table["row_id"], strict=True)]
    return table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)
