"""A model soup as a story: runs of one task → the mean of their weights → a run of its own, as quick as one of them.

Wortsman et al., "Model soups" (ICML 2022). It works where the runs start from the same trained weights and end near each other, as
fine-tunings under several seeds or learning rates do; the validation rows, which must be the same in all, tell whether it did.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from attrcls.card import Card
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.prefetch import on_device
from attrcls.data.tables import read_table
from attrcls.engine import Engine, advise_on_memory, place, precision_of, start_engine
from attrcls.errors import UserError
from attrcls.model.description import describe_model, jsonable, library_versions
from attrcls.model.network import Network, build_network
from attrcls.prediction.models import TrainedModel, load_models
from attrcls.report import write_model_card
from attrcls.runs.balance import balance_train
from attrcls.runs.batches import labelled_batches
from attrcls.runs.epochs import is_better, smaller_is_better
from attrcls.runs.fitting import fit_answers
from attrcls.runs.folder import RunFolder, open_run_folder
from attrcls.runs.numbers import learned_cuts
from attrcls.runs.places import recall_places, remember_places
from attrcls.runs.prepare import check_names, drawn_class_counts
from attrcls.runs.resume import manifest_digest, specs_of
from attrcls.runs.unlabelled import without_blank_rows
from attrcls.runs.validation import Validation, class_indices, split_table, validate
from attrcls.spec import Found, parse_spec
from attrcls.task import Plan, Task
from attrcls.tensors import fill
from attrcls.training.checkpoint import save_model


@dataclass(frozen=True)
class Averaged:
    """The run that was made, which runs are in it, the score that the task watches for each run alone (None where it kept none) and the average."""

    run: Path
    used: Sequence[bool]
    monitor: str
    alone: Sequence[float | None]
    score: float
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class _Kitchen:
    """What every soup is made and tasted with."""

    plan: Plan
    manifest: Manifest
    fabric: Engine
    workers: int | None

    def cook(self, models: Sequence[TrainedModel]) -> tuple[Network, Validation]:
        """The network with the mean weights of models, and what it says of the validation rows.

        BatchNorm's statistics are not averaged but estimated anew, over the train rows as training augments them: averaged weights give
        activations that vary less than those of either network (Jordan et al., "REPAIR", ICLR 2023), so that the mean of the networks'
        statistics is nobody's. Where all runs have the same ones, as with frozen BatchNorm, they stay.
        """
        network = self._network(models[0])
        states = [{key: value.cpu() for key, value in model.network.state_dict().items()} for model in models]
        mixed = mean_weights(states)
        fill(network, mixed)
        place(network, self.fabric)
        if len(models) > 1 and statistics_differ(network, states):
            self._estimate_statistics(network)
        val = labelled_batches(self.manifest.of_split("val"), self.plan, self.plan.task, recipe="none", workers=self.workers)
        validation = validate(network, val, self.manifest.of_split("val"), self.plan, fabric=self.fabric)
        return network, validation

    def _network(self, model: TrainedModel) -> Network:
        """One to take a model's weights, with losses that know what those of its training knew when it was kept: a model keeps nothing of them."""
        task, train = self.plan.task, self.manifest.of_split("train")
        counts = drawn_class_counts(train, self.plan)
        network, _ = build_network(task, counts, weights="none", cuts=learned_cuts(self.plan))
        # Frozen statistics that differ between runs are estimated anew like others.
        network.freeze_bn = False
        for head in network.heads.values():
            head.start_epoch((model.description.epoch or task.epochs) - 1)
        return network

    def _estimate_statistics(self, network: Network) -> None:
        task = self.plan.task
        train = labelled_batches(without_blank_rows(self.plan, self.manifest).of_split("train"), self.plan, task, workers=self.workers)
        pictures = (batch.images for batch in on_device(train.epoch(0), self.fabric.device))
        with advise_on_memory(f"the batch is {task.batch_size}"), self.fabric.autocast():
            torch.optim.swa_utils.update_bn(pictures, network)
        network.eval()


def run_average(
    runs: Sequence[str | Path],
    *,
    out: str | Path,
    data: str | Path | None = None,
    greedy: bool = False,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    overwrite: bool = False,
) -> Averaged:
    """Average the weights of runs, score them on the runs' validation rows, and write a run directory.

    All runs count alike; with `greedy` the best comes first, and each further one, the better first, stays only if the score does not get worse
    with it. `data` is where the card's data lies, by default where this machine remembers it. Raises:
        UserError: runs of different tasks, trunks or splits, without validation rows, or whose data is not found.
        AttrclsError: memory ran out, or the run cannot be written.
    """
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise UserError("expected two runs or more to average: attrcls average RUN RUN… --out RUN")
    if inside := [path for path in paths if path.resolve().is_relative_to(Path(out).resolve())]:
        raise UserError(f"--out {out}: {inside[0]} lies in it and would be replaced; name another folder")
    models = [_single(path) for path in paths]
    for other in models[1:]:
        _check_alike(models[0], other)
    plan = _plan_of(paths[0])
    manifest = _manifest_of(paths[0], plan, Path(data) if data else None)
    began, monitor = datetime.now(UTC), plan.task.monitor
    kitchen = _Kitchen(plan, manifest, start_engine(device=device, precision=precision), workers)
    alone = [model.description.scores.get(monitor) for model in models]

    def taste(chosen: Sequence[int]) -> tuple[Network, Validation]:
        # Read anew: a soup is cooked in its first model's network.
        return kitchen.cook([_single(paths[each]) for each in chosen])

    with open_run_folder(Path(out), resume=False, overwrite=overwrite) as folder:
        chosen = _greedy(taste, alone, plan.task) if greedy else list(range(len(paths)))
        network, validation = taste(chosen)
        row = validation.row(plan.task)
        folder.clear()
        names = [paths[each].resolve().name for each in chosen]
        _write(folder, kitchen, network, validation, row, first=models[0], names=names, began=began)
    known = [score for score in alone if score is not None]
    best = (min if smaller_is_better(monitor) else max)(known) if known else None
    labels = [_splits(path).reindex(columns=list(plan.task.heads)) for path in paths]
    told = f"was trained on other labels than {paths[0]}, whose labels, counts and cleaning are told of"
    warnings = [f"{path} {told}" for path, each in zip(paths, labels, strict=True) if not each.equals(labels[0])]
    if best is not None and is_better(monitor, best, row[monitor]):
        warnings.append(
            f"the average is worse than the best run alone ({row[monitor]:.3f} and {best:.3f}): weights average well where runs start from the "
            "same trained weights and end near each other; try --greedy, or `attrcls ensemble`"
        )
    return Averaged(Path(out), [each in chosen for each in range(len(paths))], monitor, alone, row[monitor], warnings)


def mean_weights(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each floating-point tensor; counters, such as BatchNorm's number of batches, are the first's."""
    return {
        key: torch.stack([state[key].double() for state in states]).mean(dim=0).to(value.dtype) if value.is_floating_point() else value
        for key, value in states[0].items()
    }


def statistics_differ(network: nn.Module, states: Sequence[Mapping[str, Tensor]]) -> bool:
    """Whether the states of a network have different BatchNorm statistics."""
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats]
    keys = [f"{name}.{kind}" for name in norms for kind in ("running_mean", "running_var")]
    return any(not torch.equal(state[key], states[0][key]) for key in keys for state in states[1:])


def _greedy(taste: Callable[[Sequence[int]], tuple[Network, Validation]], alone: Sequence[float | None], task: Task) -> list[int]:
    """The paper's recipe: the runs in the order of their own scores, each kept if the soup does not get worse with it."""

    def score(chosen: Sequence[int]) -> float:
        return taste(chosen)[1].row(task).get(task.monitor, float("nan"))

    known = [score([each]) if value is None else value for each, value in enumerate(alone)]
    order = sorted(range(len(known)), key=lambda each: known[each] if smaller_is_better(task.monitor) else -known[each])
    chosen, best = [order[0]], score([order[0]])
    for each in order[1:]:
        tried = score([*chosen, each])
        if not is_better(task.monitor, best, tried):
            chosen, best = [*chosen, each], tried
    return sorted(chosen)


def _single(run: Path) -> TrainedModel:
    model, *others = load_models([run])
    if others:
        raise UserError(f"{run} holds {1 + len(others)} models that predict together; name single runs")
    return model


def _check_alike(first: TrainedModel, other: TrainedModel) -> None:
    """Raises:
    UserError: the weights of two runs are not of the same network, or they hold other rows back.
    """
    for key in ("trunk", "image", "heads", "attributes", "combine"):
        before, now = getattr(first.description, key), getattr(other.description, key)
        if key == "heads":
            before, now = ({name: (spec.kind, spec.hidden) for name, spec in each.items()} for each in (before, now))
        if before != now:
            raise UserError(f"{other.run} has another {key} than {first.run}; weights are averaged over runs of one task and trunk")
    shapes = [{key: value.shape for key, value in model.network.state_dict().items()} for model in (first, other)]
    if different := [key for key in {**shapes[0], **shapes[1]} if shapes[0].get(key) != shapes[1].get(key)]:
        raise UserError(f"{other.run} has other weights than {first.run} ({different[0]}); weights are averaged over runs of one task and trunk")
    tables = [_splits(model.run)[["card", "row_id", "split"]] for model in (first, other)]
    if not tables[0].equals(tables[1]):
        raise UserError(
            f"{other.run} and {first.run} have other splits: one was trained on rows that are held back for the other; "
            "train them on the same data with the same hold_back (runs of `train --folds` are averaged by `predict`)"
        )


def _splits(run: Path) -> pd.DataFrame:
    table = read_table(run / "splits.csv", escaped=True)
    if not {"card", "row_id", "split"} <= set(table.columns):
        raise UserError(f"{run}/splits.csv: expected the columns card, row_id and split; put back the file that the run wrote")
    return table.sort_values(["card", "row_id"]).reset_index(drop=True)


def _plan_of(run: Path) -> Plan:
    """The plan that a run was trained by."""
    config, file = RunFolder(run).read_config(), f"{run}/config.yaml"
    given = config.get("cards")
    if not isinstance(given, Mapping) or not all(isinstance(raw, Mapping) for raw in (config.get("task"), *given.values())):
        raise UserError(f"{file}: expected a task and its cards; put back the file that the run wrote")
    cards = {str(name): parse_spec(Card, raw, file=file) for name, raw in given.items()}
    task = parse_spec(Task, config["task"], file=file)
    known = {name for card in cards.values() for name in card.attributes}
    if len(cards) != len(task.cards) or not {*task.heads, *(task.combine.order if task.combine else ())} <= known:
        raise UserError(f"{file}: its task and cards do not belong together; put back the file that the run wrote")
    plan = Plan(task, cards, Found(task.name, run / "config.yaml", False), {name: Found(name, run / "config.yaml", False) for name in cards})
    check_names(plan)
    return plan


def _manifest_of(run: Path, plan: Plan, data: Path | None) -> Manifest:
    """The rows of a run's `splits.csv`, each in the split and with the labels that it had, which cleaning may have changed."""
    roots = dict.fromkeys(plan.cards, data) if data else recall_places(RunFolder(run).read_config())
    if set(roots) != set(plan.cards):
        raise UserError(f"where does the data of {run} lie? this machine does not remember it: name the folder with --data DIR")
    manifest, _ = build_manifest(plan.cards, roots, on_error="skip")
    table = _splits(run).set_index(["card", "row_id"])
    keys = pd.MultiIndex.from_frame(manifest.frame[["card", "row_id"]])
    kept = np.flatnonzero(keys.isin(table.index))
    if len(kept) < len(table):
        raise UserError(f"{len(table) - len(kept):,} of the {len(table):,} rows of {run}/splits.csv are not in the data: did the tables change?")
    table = table.loc[keys[kept]]
    labels = {head: class_indices(table[head], manifest.classes[head], file=f"{run}/splits.csv") for head in plan.task.heads if head in table}
    manifest = manifest.take(kept).with_columns(split=table["split"].tolist(), **labels)
    if not len(manifest.of_split("val")):
        raise UserError(f"{run} has no validation rows to score an average on")
    return manifest


def _write(
    folder: RunFolder, kitchen: _Kitchen, network: Network, validation: Validation, row: Mapping[str, float], *, first: TrainedModel,
    names: Sequence[str], began: datetime,
) -> None:  # fmt: skip
    """A whole run directory but for checkpoints: there is nothing to resume."""
    plan, manifest = kitchen.plan, kitchen.manifest
    precision, loaded = precision_of(kitchen.fabric), f"the mean of {len(names)} runs: {', '.join(names)}"
    splits = without_blank_rows(plan, manifest).frame["split"].value_counts()
    status: dict[str, Any] = {
        "started": began.isoformat(timespec="seconds"), "versions": library_versions(), "device": str(kitchen.fabric.device), "precision": precision,
        "train_rows": int(splits.get("train", 0)), "val_rows": int(splits.get("val", 0)), "monitor": plan.task.monitor, "epochs_done": 0,
        "best_epoch": None, "kept_epoch": None, "averaged": list(names),
    }  # fmt: skip
    of_first, before = RunFolder(first.run).read_config().get("run") or {}, RunFolder(first.run).read_status()
    status["decisions"] = before.get("decisions")
    folder.write_status({"state": "running", "seconds": 0.0, **status})
    digest = manifest_digest(manifest, numbers=learned_cuts(plan))
    run = {"weights_loaded": loaded, "precision": precision, "manifest": digest, "decisions": of_first.get("decisions")}
    folder.write_config({**specs_of(plan), "run": run})
    remember_places(digest, manifest.roots)
    folder.write_table("splits.csv", split_table(manifest, plan))
    if balance := balance_train(plan, without_blank_rows(plan, manifest)):
        folder.write_table("balance.csv", balance.table())
    folder.write_table("metrics.csv", pd.DataFrame([{"epoch": 0, "train_loss": float("nan"), **row}]))
    scores = jsonable({key: value for key, value in row.items() if "/" in key})
    fitted = fit_answers(validation, manifest.of_split("train"), plan)
    description = describe_model(
        plan, fallback=first.description.fallback, precision=precision, epoch=0, scores=scores, temperatures=fitted.temperatures,
        class_counts=drawn_class_counts(manifest.of_split("train"), plan), decode=fitted.decode,
    )  # fmt: skip
    save_model(network, description.model_dump(mode="json"), folder.model)
    folder.write_table("validation.csv", validation.table(fitted.confidence))
    folder.write_probabilities(fitted.calibrated(validation.scored.probabilities))
    write_model_card(folder.path)
    seconds = round((datetime.now(UTC) - began).total_seconds(), 1)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    folder.write_status({"state": "finished", "seconds": seconds, **status, "finished": finished, "message": None})
