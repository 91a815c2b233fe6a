"""Training as a story: task → manifest → network → epochs → run directory."""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from attrcls.data.cache import CACHE_SIZE, PixelCache
from attrcls.data.device_cache import DeviceCache
from attrcls.data.loader import LabelledBatches, default_workers
from attrcls.data.manifest import Manifest, OnError
from attrcls.engine import Engine, notice_lost_processes, of_first, one_first, place, precision_of, seed_everything, share_of, start_engine
from attrcls.errors import AttrclsError, UserError
from attrcls.model.description import library_versions
from attrcls.model.network import Network, add_rare_samples, build_network
from attrcls.report import write_model_card
from attrcls.runs.balance import TrainBalance, balance_train
from attrcls.runs.batches import batch_bytes, chosen_cache, frozen_batches, kept_views, labelled_batches
from attrcls.runs.decide import Decided, decide_labels
from attrcls.runs.epochs import Silent, TrainRun, TrainView, run_epochs
from attrcls.runs.folder import open_run_folder, record_end, refuse_inputs_inside, told_skipped
from attrcls.runs.numbers import check_numbers, learned_cuts, told_numbers
from attrcls.runs.places import remember_places, without_places
from attrcls.runs.prepare import Prepared, check_names, drawn_class_counts, prepare_data
from attrcls.runs.resume import check_finished, check_same_run, manifest_digest, specs_of
from attrcls.runs.scarce import check_scarce, told_scarce
from attrcls.runs.sweep import Sweep, check_sweep, chosen_before, sweep_rates
from attrcls.runs.unlabelled import UnlabelledRows, parted_workers, set_apart, unlabelled_batches
from attrcls.runs.validation import split_table
from attrcls.task import Plan, load_plan
from attrcls.training.balancing import build_balancer
from attrcls.training.checkpoint import load_checkpoint
from attrcls.training.compiling import check_compiled, compile_trunk
from attrcls.training.loop import TrainState
from attrcls.training.optim import build_ema, build_optimiser, set_top_rate
from attrcls.training.tracking import Tracker


def run_train(
    task: str | Plan,
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
    decisions: str | Path | None = None,
    wandb_project: str | None = None,
    wandb_system: bool = False,
    cache: str | Path | None = None,
    cache_size: str = CACHE_SIZE,
    compiled: bool = False,
    view: TrainView | None = None,
    given: Prepared | None = None,
) -> Path:
    """Train a task and return its run directory.

    `task` is a bundled name or a path (or a plan, to which the texts and heads were applied already); `data` its cards' folders; `overrides` are
    `KEY=VALUE` texts and `changes` the same by dotted key. `workers` decode in processes of their own; their number changes no result.
    `decisions` is a verdicts.csv or decisions.csv, applied to the train split only; the pictures stay, as unlabelled ones. With
    `wandb_project` the run is tracked; only with `wandb_system` is the tracker told of the machine, its user, program, packages and git remote.
    `cache` is a folder in which decoded pictures are kept, up to `cache_size`, which changes no result; or the text `device`, which keeps
    them on the device and augments them there, with other random numbers. `compiled` runs the trunk through torch.compile, which changes
    results by rounding alone. `given` is data that was prepared and split already: `data` and `on_error` are then not looked at.
    Raises:
        UserError: anything in the task, cards, data or arguments is wrong.
        AttrclsError: the disk is full, memory ran out, training diverged, torch cannot compile here, or another process ended.
    """
    fabric = start_engine(device=device, precision=precision)
    plan = task if isinstance(task, Plan) else load_plan(task, overrides=overrides, changes=changes, heads=heads)
    check_names(plan)
    first = share_of(fabric).rank == 0
    where = Path(out or Path("runs") / plan.task.name)
    with notice_lost_processes(fabric), open_run_folder(where, resume=resume, overwrite=overwrite, writes=first) as folder:
        if resume and of_first(fabric, folder.read_status).get("state") == "finished":
            check_finished(folder, plan, decisions=decisions, limit=limit, cache=cache)
            return folder.path
        if compiled:
            check_compiled(plan.task, fabric.device)
        pixels = chosen_cache(cache, cache_size, fabric)
        folders = [data] if isinstance(data, str | Path) else data
        prepared = given or of_first(fabric, lambda: prepare_data(plan, folders, on_error=on_error, limit=limit, cache=pixels))
        decided = decide_labels(prepared, Path(decisions), heads=list(plan.task.heads), limited=limit is not None) if decisions else None
        if decided:
            prepared = decided.prepared
        everything = prepared.manifest
        if overwrite:
            refuse_inputs_inside(folder.path, {"--decisions": decisions, "--weights": plan.task.trunk.weights, "--data": prepared.roots.values()})
        prepared, apart = set_apart(plan, prepared)
        views = kept_views(plan, prepared.manifest.of_split("train"), apart.manifest if apart else None)
        check_scarce(plan, prepared.manifest)
        check_numbers(plan, prepared.manifest)
        # A resumed run's weights come from its checkpoint: the file that gave the first ones may be gone.
        resumes = of_first(fabric, lambda: resume and not folder.gives_way and folder.last_checkpoint.exists())
        if resume and not resumes and folder.read_status().get("epochs_done", 0):
            raise UserError(f"--resume: {folder.last_checkpoint} is missing, though epochs were done; train anew with --overwrite")
        if plan.task.optimiser.sweep:
            check_sweep(plan, views=views, val_rows=len(prepared.manifest.of_split("val")))
        with one_first(fabric):
            state, loaded = _build_state(plan, prepared, fabric, weights="none" if resumes else plan.task.trunk.weights)
        balance = balance_train(plan, prepared.manifest)
        config = _resolved_config(plan, everything, fabric, weights_loaded=loaded, limit=limit, decisions=decided)
        if isinstance(pixels, DeviceCache):
            config["run"]["cache"] = "device"  # Unlike a folder it changes what augmentation draws.
        told = {"decisions": decided.summary if decided else None, "unlabelled_rows": apart.counts if apart else None}
        facts = _facts(plan, prepared, fabric) | told
        if resumes:
            check_same_run(folder, config)
            load_checkpoint(state, folder.last_checkpoint)
            place(state.network, fabric)
            loaded = f"resumed after epoch {state.epoch}"
        view = view if view and first else Silent()
        workers = default_workers(batch_bytes(plan.task)) if workers is None else workers
        reading: dict[str, Any] = {"views": views, "workers": workers, "cache": pixels, "view": view}
        with one_first(fabric):
            train, val = _build_batches(plan, prepared, balance, state.network, fabric, apart=apart, **reading)
            unlabelled = unlabelled_batches(apart, plan, prepared, state.network, fabric, **reading)
        sweep = None
        if plan.task.optimiser.sweep and val:
            rows = prepared.manifest.of_split("val")
            sweep = chosen_before(folder) if resumes else sweep_rates(plan, state.network, train, val, rows, fabric=fabric, view=view)
            set_top_rate(state.optimiser, sweep.lr)
            config["run"]["lr"] = sweep.lr
        if not resumes:
            # Only now, when task, data and weights are known to be good, does an earlier run give way.
            folder.clear()
            folder.write_status({"state": "running", **facts, "epochs_done": 0})
            folder.write_config(config)
            folder.write_table("splits.csv", split_table(everything, plan))
            if balance:
                folder.write_table("balance.csv", balance.table())
            if sweep and sweep.table is not None:
                folder.write_table("sweep.csv", sweep.table)
            folder.write_skipped(prepared.skipped, roots=prepared.roots.values())
        if folder.writes:
            remember_places(config["run"]["manifest"], prepared.roots)
        if compiled and views:
            prepared.warnings.append("--compile: features of the frozen trunk are kept, and nothing is left to compile")
        elif compiled:
            compile_trunk(state.network)
        run = TrainRun(plan, folder, prepared, fabric, state, train, val, facts, view, pixels, unlabelled=unlabelled, views=views)
        _train_to_the_end(run, told=_told(run, loaded, balance, sweep, apart), config=config, wandb_project=wandb_project, wandb_system=wandb_system)
        return folder.path


def _train_to_the_end(run: TrainRun, *, told: Mapping[str, str], config: Mapping[str, Any], wandb_project: str | None, wandb_system: bool) -> None:
    """Run the epochs; however they end, the run directory and the tracked run say so."""
    failed = True
    try:
        before = {"seconds": 0.0, **run.folder.read_status()}
        before.pop("format_version", None)
        run.folder.write_status({**before, **run.facts, "state": "running", "finished": None, "epochs_done": run.state.epoch, "message": None})
        if wandb_project and run.folder.writes:
            run.tracker = Tracker(
                project=wandb_project,
                name=run.folder.path.resolve().name,
                config=config,
                folder=run.folder.path,
                run_id=run.state.tracking_id,
                system=wandb_system,
            )
            run.state.tracking_id = run.tracker.run_id
        with notice_lost_processes(run.fabric):
            run_epochs(run, told=told)
        if run.folder.writes:
            write_model_card(run.folder.path)
        record_end(run.folder, state="finished", message=None)
        failed = False
    except BaseException as error:
        # On a full disk this fails too, and must not hide why the training ended.
        with contextlib.suppress(AttrclsError):
            record_end(
                run.folder,
                state="interrupted" if isinstance(error, KeyboardInterrupt) else "failed",
                message=without_places(str(error), known=[*run.prepared.roots.values(), run.folder.path]),
            )
        raise
    finally:
        if run.tracker:
            run.tracker.finish(run.folder.model, failed=failed)


def _build_state(plan: Plan, prepared: Prepared, fabric: Engine, *, weights: str) -> tuple[TrainState, str]:
    seed_everything(plan.task.seed)
    train = prepared.manifest.of_split("train")
    counts = drawn_class_counts(train, plan)
    network, loaded = build_network(plan.task, counts, weights=weights, cuts=learned_cuts(plan))
    add_rare_samples(network, plan.task, counts)
    place(network, fabric)
    ema = build_ema(network, plan.task.ema, frozen_trunk=plan.task.trunk.freeze) if plan.task.ema else None
    balancer = build_balancer(plan.task.loss_balance, list(plan.task.heads), fabric.device)
    optimiser = build_optimiser(network, plan.task.optimiser, beside=balancer.parameters if balancer else ())
    return TrainState(network, optimiser, ema, balancer), loaded


def _build_batches(
    plan: Plan,
    prepared: Prepared,
    balance: TrainBalance | None,
    network: Network,
    fabric: Engine,
    *,
    apart: UnlabelledRows | None,
    views: int,
    workers: int,
    cache: PixelCache | DeviceCache | None,
    view: TrainView,
) -> tuple[LabelledBatches, LabelledBatches | None]:
    task, train, val = plan.task, prepared.manifest.of_split("train"), prepared.manifest.of_split("val")
    if views:
        kept = partial(
            frozen_batches, plan=plan, task=task, network=network, fabric=fabric, workers=workers, on_pictures=view.pictures,
            warn=prepared.warnings.append,
        )  # fmt: skip
        return kept(train, views=views, balance=balance), kept(val, views=1) if len(val) else None
    if isinstance(cache, DeviceCache):
        # All before any is decoded.
        cache.require_room(len(train) + len(val) + (len(apart.manifest) if apart else 0), task.image.resize_px)
    batches = partial(
        labelled_batches, plan=plan, task=task, pin_memory=fabric.device.type == "cuda", cache=cache,
        on_pictures=lambda total: view.waiting("decoding", total=total),
    )  # fmt: skip
    return (
        batches(train, balance=balance, workers=parted_workers(task, workers)[0]),
        # A few workers keep up with a forward pass over the validation rows; more would only hold memory.
        batches(val, recipe="none", workers=min(workers, 4)) if len(val) else None,
    )


def _resolved_config(
    plan: Plan, everything: Manifest, fabric: Engine, *, weights_loaded: str, limit: int | None, decisions: Decided | None
) -> dict[str, Any]:
    return {
        **specs_of(plan),
        "run": {
            "weights_loaded": weights_loaded,
            "device": str(fabric.device),
            "precision": precision_of(fabric),
            "limit": limit,
            "manifest": manifest_digest(everything, numbers=learned_cuts(plan)),
            "decisions": {"file": decisions.file, "digest": decisions.digest, "done": decisions.done} if decisions else None,
        },
    }


def _facts(plan: Plan, prepared: Prepared, fabric: Engine) -> dict[str, Any]:
    """What `status.json` says of the run from its first moment."""
    splits = prepared.manifest.frame["split"].value_counts()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": library_versions(),
        "device": str(fabric.device),
        "precision": precision_of(fabric),
        "train_rows": int(splits.get("train", 0)),
        "val_rows": int(splits.get("val", 0)),
        "problems_skipped": len(prepared.skipped),
        "monitor": plan.task.monitor,
    }


def _told(run: TrainRun, loaded: str, balance: TrainBalance | None, sweep: Sweep | None, apart: UnlabelledRows | None) -> dict[str, str]:
    """The facts that are printed before the first epoch."""
    plan, manifest = run.plan, run.prepared.manifest
    where = f"bundled {plan.found.name}" if plan.found.bundled else str(plan.found.path)
    groups = manifest.frame["group"].nunique() - int((manifest.frame["group"] == "").any())
    rows = f"{run.facts['train_rows']:,} train, {run.facts['val_rows']:,} validation"
    return {
        "task": f"{where}: {plan.task.title or plan.task.name}",
        "cards": ", ".join(f"{name} ({'bundled' if plan.found_cards[name].bundled else plan.found_cards[name].path})" for name in plan.cards),
        "rows": rows + (f", {groups:,} groups" if groups else "") + told_skipped(run.prepared.skipped),
        "heads": ", ".join(f"{head} ({len(manifest.classes[head])})" for head in plan.task.heads),
        **({"balance": balance.told()} if balance else {}),
        **told_scarce(plan, manifest),
        **told_numbers(plan, manifest),
        "trunk": f"{plan.task.trunk.name}, {plan.task.image.px} px; {loaded}{_frozen(run)}",
        **({"labels": f"cleaned, {run.facts['decisions']}"} if run.facts["decisions"] else {}),
        **({"others": apart.told(plan.task)} if apart else {}),
        **({"rate": sweep.told(plan.task.monitor)} if sweep else {}),
        **({"cache": "not used: a frozen trunk's features are kept" if run.views else run.cache.told()} if run.cache else {}),
        "device": f"{run.facts['device']}, {run.facts['precision']}",
        "run": str(run.folder.path),
    }


def _frozen(run: TrainRun) -> str:
    if not run.plan.task.trunk.freeze:
        return ""
    return f"; frozen, features of {run.views} views of each picture kept" if run.views else "; frozen, pictures augmented anew each epoch"
