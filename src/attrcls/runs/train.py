"""Training as a story: task → manifest → network → epochs → run directory."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, LabelledBatches, PictureDataset, Pictures, default_workers
from attrcls.data.manifest import Manifest, OnError
from attrcls.engine import place, precision_of, seed_everything, start_engine
from attrcls.errors import UserError
from attrcls.files import write_text
from attrcls.model.description import library_versions
from attrcls.model.network import build_network
from attrcls.runs.epochs import Silent, TrainRun, TrainView, run_epochs
from attrcls.runs.folder import RunFolder, open_run_folder, record_end
from attrcls.runs.prepare import prepare_data
from attrcls.runs.validation import split_table
from attrcls.task import Plan, load_plan
from attrcls.training.checkpoint import load_checkpoint
from attrcls.training.loop import TrainState
from attrcls.training.optim import build_ema, build_optimiser
from attrcls.training.tracking import Tracker

CONFIG_HINT = "use the same command as before, or replace the run with --overwrite"


def run_train(
    task: str,
    *,
    data: Sequence[str | Path] | str | Path = (),
    out: str | Path | None = None,
    heads: Sequence[str] = (),
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    on_error: OnError = "stop",
    resume: bool = False,
    overwrite: bool = False,
    wandb_project: str | None = None,
    view: TrainView | None = None,
) -> Path:
    """Train a task and return its run directory.

    `task` is a bundled name or a path; `data` its cards' folders; `overrides` are `KEY=VALUE` texts and `changes` the
    same by dotted key. `workers` decode in processes of their own; their number changes no result.
    Raises:
        UserError: anything in the task, cards, data or arguments is wrong.
        AttrclsError: the disk is full, memory ran out, or training diverged.
    """
    plan = load_plan(task, overrides=overrides, changes=changes, heads=heads)
    view = view or Silent()
    folder = open_run_folder(Path(out or Path("runs") / plan.task.name), resume=resume, overwrite=overwrite)
    try:
        return _train(
            plan, folder, data=[data] if isinstance(data, str | Path) else data, device=device, precision=precision,
            workers=default_workers() if workers is None else workers, limit=limit, on_error=on_error, resume=resume,
            wandb_project=wandb_project, view=view,
        )  # fmt: skip
    except BaseException as error:
        record_end(folder, state="interrupted" if isinstance(error, KeyboardInterrupt) else "failed", message=str(error))
        raise


def _train(
    plan: Plan, folder: RunFolder, *, data: Sequence[str | Path], device: str, precision: str, workers: int, limit: int | None,
    on_error: OnError, resume: bool, wandb_project: str | None, view: TrainView,
) -> Path:  # fmt: skip
    if folder.read_status().get("state") == "finished":
        return folder.path
    fabric = start_engine(device=device, precision=precision)
    prepared = prepare_data(plan, data, on_error=on_error, limit=limit)
    manifest = prepared.manifest
    train_manifest, val_manifest = manifest.of_split("train"), manifest.of_split("val")
    seed_everything(plan.task.seed)
    counts = {head: train_manifest.class_counts(head).tolist() for head in plan.task.heads}
    # A resumed run's weights come from its checkpoint: the file that gave the first ones may be gone.
    resumes = resume and folder.last_checkpoint.exists()
    network, loaded = build_network(plan.task, counts, weights="none" if resumes else plan.task.trunk.weights)
    place(network, fabric)
    state = TrainState(network, build_optimiser(network, plan.task.optimiser), build_ema(network, plan.task.ema) if plan.task.ema else None)
    config = {
        "task": plan.task.model_dump(mode="json"),
        "cards": {name: card.model_dump(mode="json") for name, card in plan.cards.items()},
        "run": {
            "data": {name: str(root) for name, root in prepared.roots.items()},
            "image_roots": {name: str(root.resolve()) for name, root in prepared.roots.items()},
            "weights": plan.task.trunk.weights, "weights_loaded": loaded, "device": str(fabric.device),
            "precision": precision_of(fabric), "limit": limit,
        },
    }  # fmt: skip
    if resumes:
        _check_same_task(folder, config)
        load_checkpoint(state, folder.last_checkpoint)
        place(network, fabric)
    else:
        folder.write_config(config)
        folder.write_table("splits.csv", split_table(manifest, plan))
        write_text(folder.path / "skipped.txt", "".join(f"{problem}\n" for problem in prepared.skipped))
    pin = fabric.device.type == "cuda"
    train = _batches(train_manifest, plan, recipe=plan.task.augment, workers=workers, pin_memory=pin)
    val = _batches(val_manifest, plan, recipe="none", workers=min(workers, 4), pin_memory=pin) if len(val_manifest) else None
    facts = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"), "versions": library_versions(), "device": str(fabric.device),
        "precision": precision_of(fabric), "train_rows": len(train_manifest), "val_rows": len(val_manifest),
        "problems_skipped": len(prepared.skipped), "monitor": plan.task.monitor,
    }  # fmt: skip
    tracker = None
    if wandb_project:
        tracker = Tracker(project=wandb_project, name=folder.path.name, config=config, folder=folder.path, run_id=state.tracking_id)
        state.tracking_id = tracker.run_id
    run = TrainRun(plan, folder, prepared, fabric, state, train, val, val_manifest, facts, view, tracker)
    try:
        run_epochs(run, told=_told(run, loaded if not resumes else f"resumed after epoch {state.epoch}"))
    except BaseException:
        if tracker:
            tracker.finish(folder.model, failed=True)
        raise
    if tracker:
        tracker.finish(folder.model)
    return folder.path


def _batches(manifest: Manifest, plan: Plan, *, recipe: Any, workers: int, pin_memory: bool) -> LabelledBatches:
    task = plan.task
    boxes = manifest.boxes() if task.image.crop_boxes else None
    pictures = Pictures(manifest.image_paths(), boxes, task.image.resize_px, task.image.fit)
    dataset = PictureDataset(pictures, Augmenter(recipe, px=task.image.px))
    loader = DecodedLoader(dataset, workers=workers, pin_memory=pin_memory)
    ratios = {name: use.ratio for name, use in zip(plan.cards, task.cards, strict=True)}
    return LabelledBatches(manifest, loader, heads=list(task.heads), batch_size=task.batch_size, seed=task.seed, ratios=ratios)


def _check_same_task(folder: RunFolder, config: Mapping[str, Any]) -> None:
    before, now = folder.read_config(), config
    for part in ("task", "cards"):
        changed = _first_difference(before.get(part), now[part])
        if changed:
            raise UserError(f"--resume: the run in {folder.path} was started with another {part[:4]}: {changed}; {CONFIG_HINT}")


def _first_difference(before: Any, now: Any, *, key: str = "") -> str | None:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            found = _first_difference(before.get(name), now.get(name), key=f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    return None if before == now else f"{key} was {before!r} and is now {now!r}"


def _told(run: TrainRun, loaded: str) -> dict[str, str]:
    """The facts that are printed before the first epoch."""
    plan, manifest = run.plan, run.prepared.manifest
    where = f"bundled {plan.found.name}" if plan.found.bundled else str(plan.found.path)
    groups = manifest.frame["group"].nunique() - int((manifest.frame["group"] == "").any())
    rows = f"{run.facts['train_rows']:,} train, {run.facts['val_rows']:,} validation"
    return {
        "task": f"{where}: {plan.task.title or plan.task.name}",
        "cards": ", ".join(f"{name} ({'bundled' if plan.found_cards[name].bundled else plan.found_cards[name].path})" for name in plan.cards),
        "rows": rows + (f", {groups:,} groups" if groups else "") + (f", {len(run.prepared.skipped)} skipped" if run.prepared.skipped else ""),
        "heads": ", ".join(f"{head} ({len(manifest.classes[head])})" for head in plan.task.heads),
        "trunk": f"{plan.task.trunk.name}, {plan.task.image.px} px; {loaded}",
        "device": f"{run.facts['device']}, {run.facts['precision']}",
        "run": str(run.folder.path),
    }
