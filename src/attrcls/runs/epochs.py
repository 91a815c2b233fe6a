"""What happens with the Steps of a training: scores, the model kept, checkpoints, `metrics.csv`, `timings.csv`, the watcher told."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from attrcls.data.cache import PixelCache
from attrcls.data.device_cache import DeviceCache
from attrcls.data.loader import LabelledBatches
from attrcls.data.manifest import Manifest
from attrcls.data.unlabelled import UnlabelledBatches
from attrcls.engine import Engine, advise_on_memory, in_float32, of_first, precision_of
from attrcls.model.description import describe_model, jsonable, read_description
from attrcls.runs.fitting import fit_answers
from attrcls.runs.folder import RunFolder
from attrcls.runs.prepare import Prepared, drawn_class_counts, most_frequent
from attrcls.runs.validation import Validation, validate
from attrcls.task import Plan, Task
from attrcls.training.checkpoint import save_checkpoint, save_model
from attrcls.training.compiling import advise_on_compiling
from attrcls.training.loop import TrainState, check_loss, fit
from attrcls.training.metrics import confusion_matrix
from attrcls.training.tracking import Tracker
from attrcls.types import Step

TIMINGS = ("seconds", "images_per_second")


class TrainView(Protocol):
    """What somebody who watches a training is told."""

    def pictures(self, number: int) -> Callable[[int], None]:
        """Before the start, where a frozen trunk's features of so many pictures are computed; is told of each batch's."""

    def waiting(self, what: str, *, total: int) -> Callable[[int], None]:
        """Before the start, where something else takes a while; is told of each part of `total` that is done."""

    def start(self, facts: Mapping[str, str], *, epochs: int, warnings: Sequence[str]) -> None:
        """Once, before the first step: what is about to be trained, name to text."""

    def warn(self, text: str) -> None:
        """Of something to know that stops nothing."""

    def step(self, step: Step) -> None:
        """After every step."""

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """After every epoch: its row of `metrics.csv` and `timings.csv`, and whether it is the best so far."""


class Silent:
    """Watches, and says nothing."""

    def pictures(self, number: int) -> Callable[[int], None]:
        """Say nothing."""
        return lambda done: None

    def waiting(self, what: str, *, total: int) -> Callable[[int], None]:
        """Say nothing."""
        return lambda done: None

    def start(self, facts: Mapping[str, str], *, epochs: int, warnings: Sequence[str]) -> None:
        """Say nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def step(self, step: Step) -> None:
        """Say nothing."""

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Say nothing."""


@dataclass
class TrainRun:
    """Everything that one training needs while it runs; `views` of each picture are kept as a frozen trunk's features, or none."""

    plan: Plan
    folder: RunFolder
    prepared: Prepared
    fabric: Engine
    state: TrainState
    train: LabelledBatches
    val: LabelledBatches | None
    facts: dict[str, Any]
    view: TrainView
    cache: PixelCache | DeviceCache | None = None
    tracker: Tracker | None = None
    kept: Validation | None = None
    unlabelled: UnlabelledBatches | None = None
    views: int = 0

    @property
    def val_manifest(self) -> Manifest:
        """The validation rows."""
        return self.prepared.manifest.of_split("val")


def run_epochs(run: TrainRun, *, told: Mapping[str, str]) -> None:
    """Train to the task's last epoch, or until it stops early; the run directory is whole after each epoch.

    Raises:
        UserError: a picture that was readable is not any more.
        AttrclsError: memory ran out or training diverged.
    """
    task, state = run.plan.task, run.state
    # A resumed run's time goes on from what it had taken.
    began = time.monotonic() - (float(run.folder.read_status().get("seconds") or 0) if state.history else 0.0)
    run.view.start(told, epochs=task.epochs, warnings=run.prepared.warnings)
    if state.history:
        # A kill may have come between the checkpoint and what is written after it.
        _record_progress(run, seconds=time.monotonic() - began)
        if _should_stop_early(run):
            return
    epoch_began, rows, means = time.monotonic(), 0, _Means(list(task.heads))
    advice = (
        f"the batch is {task.batch_size}: try --batch-size {max(1, task.batch_size // 2)} --accumulate 2 (the same effective batch), "
        "a smaller --set image.px=…, a smaller trunk, or --freeze; then run again with --overwrite"
    )
    fabric = in_float32(run.fabric) if run.views else run.fabric
    with advise_on_memory(advice), advise_on_compiling():
        for step in fit(state, run.train, run.unlabelled, task=task, fabric=fabric):
            run.view.step(step)
            rows += step.samples
            means.add(step)
            if not step.ends_epoch:
                continue
            seconds = time.monotonic() - epoch_began
            check_loss(float(means.total), epoch=step.epoch)
            row: dict[str, Any] = {
                "epoch": step.epoch + 1, "lr": step.learning_rate, "seconds": round(seconds, 2), "images_per_second": round(rows / seconds, 1),
                "train_loss": means.weighted(task),
                **{f"{head}/train_loss": mean for head, mean in means.values().items()},
                **means.of_unlabelled(),
            }  # fmt: skip
            _end_epoch(run, row, seconds=time.monotonic() - began)
            if _should_stop_early(run):
                break
            epoch_began, rows, means = time.monotonic(), 0, _Means(list(task.heads))
    _tell_decoding(run)
    if run.tracker and run.kept:
        for head, predicted in run.kept.scored.predicted().items():
            names = run.val_manifest.classes[head]
            run.tracker.log_confusion(head, confusion_matrix(predicted, run.val_manifest.targets(head), classes=len(names)), names)


def _tell_decoding(run: TrainRun) -> None:
    """Say so where what the task decodes by was worse than argmax. Read from the model: a resumed run may have fitted nothing itself."""
    if run.folder.writes and run.plan.task.decode != "argmax":
        decode = read_description(run.folder.model / "model.json").decode
        if decode.used != decode.asked:
            run.view.warn(f"decode: {decode.asked}: {decode.reason}")


class _Means:
    """Each head's mean loss over its labelled samples, summed where the losses are so that no step waits for a copy."""

    def __init__(self, heads: Sequence[str]) -> None:
        self.total: Any = 0.0
        self._sums: dict[str, Any] = dict.fromkeys(heads, 0.0)
        self._counts: dict[str, Any] = dict.fromkeys(heads, 0)
        # Of each head: the summed losses of samples without its label, how many of them counted, and how many there were.
        self._unlabelled: dict[str, tuple[Any, Any, Any]] = {}

    def add(self, step: Step) -> None:
        self.total = self.total + step.loss
        for head, loss in step.losses.items():
            present = step.labelled[head]
            self._sums[head] = self._sums[head] + loss * present
            self._counts[head] = self._counts[head] + present
        for head, (loss, used, samples) in step.unlabelled.items():
            sums = self._unlabelled.get(head, (0.0, 0.0, 0.0))
            self._unlabelled[head] = (sums[0] + loss * samples, sums[1] + used, sums[2] + samples)

    def values(self) -> dict[str, float]:
        return {head: float(total) / float(self._counts[head]) if float(self._counts[head]) else float("nan") for head, total in self._sums.items()}

    def weighted(self, task: Task) -> float:
        """The heads' means under the task's own weights, as `val_loss` is: without what a balancer multiplied them by, what samples without a
        label added, and steps in which a head had no label."""
        return sum(task.heads[head].weight * mean for head, mean in self.values().items() if mean == mean)

    def of_unlabelled(self) -> dict[str, float]:
        """Of each head's samples without a label: their mean loss, and the share of them that counted."""
        means: dict[str, float] = {}
        for head, (loss, used, samples) in self._unlabelled.items():
            count = float(samples) or float("nan")
            means |= {f"{head}/unlabelled_loss": float(loss) / count, f"{head}/unlabelled_used": float(used) / count}
        return means


def _end_epoch(run: TrainRun, row: dict[str, Any], *, seconds: float) -> None:
    """Validate, keep the weights when they are the best so far, and save what a resume needs."""
    task, state = run.plan.task, run.state
    validation = validate(state.scored_network, run.val, run.val_manifest, run.plan, fabric=run.fabric) if run.val else None
    if validation:
        # Different machines may round differently, and all must stop at the same epoch.
        row |= of_first(run.fabric, lambda: validation.row(task))
    score = row.get(task.monitor, float("nan"))
    best = is_better(task.monitor, score, state.best_score)
    state.history.append(row)
    if best:
        state.best_epoch, state.best_score = state.epoch, score
    if run.folder.writes:
        _write_epoch(run, row, validation, best=best, seconds=seconds)
    if best or task.keep == "last":
        run.kept = validation
    if run.tracker:
        run.tracker.log_epoch(row)
    run.view.epoch(row, best=best)
    if run.cache and (trouble := run.cache.trouble()):
        run.view.warn(trouble)


def _write_epoch(run: TrainRun, row: Mapping[str, Any], validation: Validation | None, *, best: bool, seconds: float) -> None:
    if best:
        save_checkpoint(run.state, run.folder.best_checkpoint)
    if best or run.plan.task.keep == "last":
        _write_model(run, row, validation)
    save_checkpoint(run.state, run.folder.last_checkpoint)
    _record_progress(run, seconds=seconds)


def _record_progress(run: TrainRun, *, seconds: float) -> None:
    state = run.state
    history = pd.DataFrame(state.history)
    # Apart, so that the same command gives the same bytes of metrics.csv on any day.
    run.folder.write_table("metrics.csv", history.drop(columns=list(TIMINGS)))
    run.folder.write_table("timings.csv", history[["epoch", *TIMINGS]])
    run.folder.write_status({
        "state": "running", **run.facts, "finished": None, "seconds": round(seconds, 1), "epochs_done": state.epoch, "best_epoch": state.best_epoch,
        "kept_epoch": state.epoch if run.plan.task.keep == "last" else state.best_epoch,
        "message": None,
    })  # fmt: skip


def is_better(monitor: str, score: float, best: float | None) -> bool:
    """Whether a score of the `monitor` is better than the best so far.

    One that is not a number (no labelled validation row) never beats another, and never blocks one.
    """
    if best is None or best != best:
        return True
    return score < best if smaller_is_better(monitor) else score > best


def smaller_is_better(monitor: str) -> bool:
    """Whether the better score is the smaller one: of losses and errors; of all else it is the larger."""
    return monitor.endswith(("loss", "/mae"))


def _write_model(run: TrainRun, row: Mapping[str, Any], validation: Validation | None) -> None:
    train = run.prepared.manifest.of_split("train")
    scores = jsonable({key: value for key, value in row.items() if "/" in key})
    fitted = fit_answers(validation, train, run.plan)
    description = describe_model(
        run.plan, fallback=most_frequent(train, run.plan), precision=precision_of(run.fabric), epoch=run.state.epoch, scores=scores,
        temperatures=fitted.temperatures, class_counts=drawn_class_counts(train, run.plan), decode=fitted.decode,
    )  # fmt: skip
    save_model(run.state.scored_network, description.model_dump(mode="json"), run.folder.model)
    if validation:
        run.folder.write_table("validation.csv", validation.table(fitted.confidence))
        run.folder.write_probabilities(fitted.calibrated(validation.scored.probabilities))


def _should_stop_early(run: TrainRun) -> bool:
    patience, best = run.plan.task.early_stop_epochs, run.state.best_epoch
    return patience is not None and best is not None and run.state.epoch - best >= patience
