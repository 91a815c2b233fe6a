"""Cleaning as a story: task → manifest → a few watched runs → what is wrong with each label → verdicts to review."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from torch import Tensor

from attrcls.cleaning.audit import HeadAudit, draw_all_roles, head_units, join, judge, run_targets
from attrcls.cleaning.aum import MarginSums
from attrcls.cleaning.confident import audit_by_confidence, require_cleanlab
from attrcls.cleaning.decisions import read_decisions
from attrcls.cleaning.mended import mended_table
from attrcls.cleaning.observe import FAST_RUNS, FULL_RUNS, FULL_UNCOUNTED_EPOCHS, cleaning_task, counts_of, linear_network, observe
from attrcls.cleaning.roles import Ints, Units
from attrcls.cleaning.verdicts import value_table, verdict_table
from attrcls.data.cache import CACHE_SIZE, PixelCache
from attrcls.data.device_cache import DeviceCache
from attrcls.data.manifest import Manifest, OnError
from attrcls.data.tables import read_table
from attrcls.engine import (
    Engine,
    advise_on_memory,
    in_float32,
    notice_lost_processes,
    of_first,
    one_first,
    place,
    seed_everything,
    share_of,
    start_engine,
    wait_for_all,
)  # fmt: skip
from attrcls.errors import UserError
from attrcls.features.batches import FeatureBatches, standardise
from attrcls.features.cache import default_cache
from attrcls.features.extract import Progress, trunk_features
from attrcls.model.network import build_network
from attrcls.report.review import write_review
from attrcls.runs.batches import chosen_cache, labelled_batches
from attrcls.runs.folder import RunFolder, open_run_folder, refuse_inputs_inside, told_skipped
from attrcls.runs.prepare import check_names, prepare_data
from attrcls.runs.resume import check_finished, check_same_run, manifest_digest, specs_of
from attrcls.task import Plan, Task, load_plan

Method = Literal["aum", "confident", "both"]


@dataclass(frozen=True)
class Cleaned:
    """What a cleaning found: its folder, each head's audit, and the verdicts. A finished one that was asked to resume has no
    audits to give."""

    folder: Path
    audits: Mapping[str, HeadAudit]
    verdicts: pd.DataFrame
    told: Mapping[str, str]
    warnings: Sequence[str] = ()
    finished_before: bool = False


def run_clean(
    task: str,
    *,
    data: Sequence[str | Path] | str | Path = (),
    out: str | Path | None = None,
    heads: Sequence[str] = (),
    method: Method = "aum",
    full: bool | None = None,
    all_splits: bool = False,
    overrides: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
    workers: int | None = None,
    limit: int | None = None,
    on_error: OnError = "stop",
    resume: bool = False,
    overwrite: bool = False,
    raw_cells: bool = False,
    cache: str | Path | None = None,
    cache_size: str = CACHE_SIZE,
    on_pictures: Callable[[int], Progress] | None = None,
) -> Cleaned:
    """Find the suspect labels of a task and write `verdicts.csv`, `aum_values.csv`, `cleaned.csv` and `review.html`.

    `full` trains the whole network instead of heads on frozen features; None means: where the trunk has no weights.
    `resume` goes on after the last finished epoch of `full`; features that were computed are found again anyway. `raw_cells`
    leaves cells that a spreadsheet would run as they are in `aum_values.csv` and the cleaned table. `cache` is a folder in which
    `full` keeps decoded pictures, up to `cache_size`, or the text `device`, as of `run_train`.
    Raises:
        UserError: anything in the task, cards, data or arguments is wrong, or cleanlab is wanted and not installed.
        AttrclsError: the disk is full, memory ran out, or another process of this cleaning ended.
    """
    fabric = start_engine(device=device, precision=precision)
    plan = load_plan(task, overrides=overrides, changes=changes, heads=heads)
    check_names(plan)
    full = plan.task.trunk.weights == "none" if full is None else full
    if method != "aum":
        require_cleanlab()
        if full:
            raise UserError(f"--method {method} works on a frozen trunk's features: leave --full out, or name trained --weights")
    where = Path(out or Path("runs") / f"clean-{plan.task.name}")
    first = share_of(fabric).rank == 0
    with notice_lost_processes(fabric), open_run_folder(where, resume=resume, overwrite=overwrite, kind="cleaning", writes=first) as folder:
        if resume and of_first(fabric, folder.read_status).get("state") == "finished":
            check_finished(folder, plan, method=method, full=full, all_splits=all_splits, limit=limit, cache=cache if full else None)
            return Cleaned(where, {}, read_table(where / "verdicts.csv", empty=True, escaped=True), {}, finished_before=True)
        pixels = chosen_cache(cache if full else None, cache_size, fabric)
        folders = [data] if isinstance(data, str | Path) else data
        prepared = of_first(fabric, lambda: prepare_data(plan, folders, on_error=on_error, limit=limit, cache=pixels))
        everything = prepared.manifest
        if overwrite:
            refuse_inputs_inside(folder.path, {"--weights": plan.task.trunk.weights, "--data": prepared.roots.values()})
        manifest = everything if all_splits else everything.of_split("train")
        config = {
            **specs_of(plan),
            "run": {"method": method, "full": full, "all_splits": all_splits, "limit": limit, "manifest": manifest_digest(everything)},
        }
        if isinstance(pixels, DeviceCache):
            config["run"]["cache"] = "device"
        cleaning = _Cleaning(
            plan, manifest, fabric, cleaning_task(plan.task, full=full, heads=plan.task.heads), workers, folder, pixels,
            warn=prepared.warnings.append,
        )  # fmt: skip
        cleaning.check_weights()
        if of_first(fabric, lambda: resume and not folder.gives_way and (folder.path / "config.yaml").exists()):
            check_same_run(folder, config)
        else:
            # Only now, when task, data and weights are known to be good, does an earlier cleaning give way.
            folder.clear()
            folder.write_status({"state": "running", "kind": "cleaning"})
            folder.write_config(config)
            folder.write_skipped(prepared.skipped, roots=prepared.roots.values())
        # Now an earlier cleaning's checkpoints are gone for all.
        wait_for_all(fabric)
        with advise_on_memory("try --fast, a smaller --set image.px=…, or a smaller trunk"):
            audits = cleaning.by_training(on_pictures) if full else cleaning.by_features(method, on_pictures)
        verdicts = verdict_table(manifest, audits, plan.task.clean, constant=cleaning.constant)
        told = {
            "task": f"{plan.found.name}, {len(manifest):,} rows audited ({'all splits' if all_splits else 'train split'})"
            + told_skipped(prepared.skipped),
            "method": f"{method}, {'the whole network' if full else 'frozen trunk'}; {cleaning.loaded}",
        }
        if folder.writes:
            _write(folder, plan, prepared.roots, everything, audits, verdicts, manifest, constant=cleaning.constant, told=told, raw_cells=raw_cells)
        # Not among what is written: a run names no folder of this machine.
        shown = {**told, "cache": pixels.told()} if pixels else told
        trouble = pixels.trouble() if pixels else "--cache is for --full: --fast keeps a frozen trunk's features" if cache else None
        return Cleaned(folder.path, audits, verdicts, shown, [*prepared.warnings, *([trouble] if trouble else [])])


@dataclass
class _Cleaning:
    """The runs of a cleaning, and what they are made of."""

    plan: Plan
    manifest: Manifest
    fabric: Engine
    task: Task
    workers: int | None
    folder: RunFolder
    cache: PixelCache | DeviceCache | None
    warn: Callable[[str], None]
    loaded: str = ""

    @property
    def constant(self) -> set[str]:
        """The heads whose attribute is constant in a group."""
        return {head for head, spec in self.plan.heads.items() if spec.constant_in_group}

    @property
    def units(self) -> dict[str, Units]:
        return {head: head_units(self.manifest, head, constant=head in self.constant) for head in self.task.heads}

    def check_weights(self) -> None:
        """Raises:
        UserError: the trunk does not take its weights.
        """
        if self.plan.task.trunk.weights != "none":
            with one_first(self.fabric):
                build_network(self.plan.task, self._counts({}), weights=self.plan.task.trunk.weights)

    def by_features(self, method: Method, on_pictures: Callable[[int], Progress] | None) -> dict[str, HeadAudit]:
        """Heads on the frozen trunk's features."""
        seed_everything(self.task.seed)
        with one_first(self.fabric):
            network, self.loaded = build_network(self.plan.task, self._counts({}), weights=self.plan.task.trunk.weights)
            place(network, self.fabric)
            raw = trunk_features(
                network, self.manifest, self.task.image, fabric=self.fabric, workers=self.workers, cache=default_cache(), on_start=on_pictures,
                warn=self.warn,
            )  # fmt: skip
        features = standardise(raw).to(self.fabric.device)
        self.fabric = in_float32(self.fabric)
        if method == "confident":
            return audit_by_confidence(features, self.manifest, self.units, self.task, fabric=self.fabric)
        audits = self._watch(lambda run, targets: self._run_on_features(features, run, targets), runs=FAST_RUNS)
        if method == "aum":
            return audits
        confident = audit_by_confidence(features, self.manifest, self.units, self.task, fabric=self.fabric)
        return {head: join(audit, confident[head]) for head, audit in audits.items()}

    def by_training(self, on_pictures: Callable[[int], Progress] | None) -> dict[str, HeadAudit]:
        """The whole network, anew in each run."""
        return self._watch(lambda run, targets: self._run_in_full(run, targets, on_pictures), runs=FULL_RUNS)

    def _watch(self, train: Callable[[int, dict[str, Ints]], dict[str, MarginSums]], *, runs: int) -> dict[str, HeadAudit]:
        units, classes = self.units, {head: len(self.manifest.classes[head]) for head in self.task.heads}
        roles = draw_all_roles(units, classes, runs=runs, seed=self.task.seed)
        sums = [train(run, run_targets(units, roles, classes, run=run)) for run in range(runs)]
        return {
            head: judge(self.manifest, head, each, roles[head], [of_run[head] for of_run in sums], seed=self.task.seed)[0]
            for head, each in units.items()
        }

    def _run_on_features(self, features: Tensor, run: int, targets: dict[str, Ints]) -> dict[str, MarginSums]:
        seed = self._seed(run, runs=FAST_RUNS)
        network = linear_network(self.task, targets, self._outputs, width=features.shape[2]).to(self.fabric.device)
        batches = FeatureBatches(features, targets, batch_size=self.task.batch_size, seed=seed)
        return observe(network, batches, self.task, targets, fabric=self.fabric, grouped=self.constant)

    def _run_in_full(self, run: int, targets: dict[str, Ints], on_pictures: Callable[[int], Progress] | None) -> dict[str, MarginSums]:
        task = self.task.model_copy(update={"seed": self._seed(run, runs=FULL_RUNS)})
        with one_first(self.fabric):
            network, self.loaded = build_network(task, self._counts(targets), weights=self.plan.task.trunk.weights)
        place(network, self.fabric)
        pin = self.fabric.device.type == "cuda"
        plan, manifest = replace(self.plan, task=task), self.manifest.with_columns(**targets)
        batches = labelled_batches(manifest, plan, task, workers=self.workers, pin_memory=pin, cache=self.cache, on_pictures=on_pictures)
        checkpoint = self.folder.cleaning_checkpoint(run)
        return observe(network, batches, task, targets, fabric=self.fabric, uncounted_epochs=FULL_UNCOUNTED_EPOCHS, checkpoint=checkpoint)

    @property
    def _outputs(self) -> dict[str, int]:
        """Each head's classes, and one more for the threshold samples."""
        return {head: len(self.manifest.classes[head]) + 1 for head in self.task.heads}

    def _counts(self, targets: Mapping[str, Ints]) -> dict[str, list[int]]:
        return {head: counts_of(targets.get(head, self.manifest.targets(head)), outputs=outputs) for head, outputs in self._outputs.items()}

    def _seed(self, run: int, *, runs: int) -> int:
        """A seed of its own for each run; torch's generator, from which initial weights come, is set to it."""
        seed = self.task.seed * runs + run
        seed_everything(seed)
        return seed


def _write(
    folder: RunFolder,
    plan: Plan,
    roots: Mapping[str, Path],
    everything: Manifest,
    audits: Mapping[str, HeadAudit],
    verdicts: pd.DataFrame,
    manifest: Manifest,
    *,
    constant: set[str],
    told: Mapping[str, str],
    raw_cells: bool,
) -> None:
    """All of a cleaning's files; `status.json` says at the end that they are whole."""
    # Never raw: it is read again, and nothing else could say how.
    folder.write_table("verdicts.csv", verdicts)
    folder.write_table("aum_values.csv", value_table(manifest, audits), raw=raw_cells)
    decided = read_decisions(folder.path / "verdicts.csv", everything)
    for name, card in plan.cards.items():
        file = "cleaned.csv" if len(plan.cards) == 1 else f"cleaned-{name}.csv"
        folder.write_table(file, mended_table(everything, card, roots[name], decided), raw=raw_cells)
    write_review(folder.path / "review.html", verdicts, manifest=manifest, grouped=constant, title=plan.task.title or plan.task.name)
    facts = {head: {key: value if value == value else None for key, value in audit.facts.items()} for head, audit in audits.items()}
    folder.write_status({"state": "finished", "kind": "cleaning", **told, "heads": facts, "constant": sorted(constant)})
    folder.drop_checkpoints()
