"""Whether a command that says --resume would go on with the very run that lies there."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from attrcls.data.manifest import Manifest
from attrcls.data.rows import number_column
from attrcls.errors import UserError
from attrcls.runs.folder import RunFolder
from attrcls.runs.places import name_of_place
from attrcls.task import Plan

CONFIG_HINT = "use the same command as before, or replace the run with --overwrite"
# What of a run beside its task and cards decides its outcome, and the flag that says it.
_OPTIONS = {"limit": "--limit", "folds": "--folds", "method": "--method", "full": "--full", "all_splits": "--all-splits", "cache": "--cache"}

# Mappings of a task whose order decides something: the first group that a row is in gives its recipe.
_ORDERED = ("scarce",)


def specs_of(plan: Plan) -> dict[str, Any]:
    """The task and its cards as `config.yaml` holds them: without the folders of this machine that they name."""
    task, cards = plan.task.model_dump(mode="json"), {name: card.model_dump(mode="json") for name, card in plan.cards.items()}
    task["trunk"]["weights"] = name_of_place(task["trunk"]["weights"])
    for use in task["cards"]:
        use["card"] = name_of_place(use["card"])
    for card in cards.values():
        # Where the data lies is said anew by whoever uses the card.
        del card["root"]
    return {"task": task, "cards": cards}


def manifest_digest(manifest: Manifest, *, numbers: Collection[str] = ()) -> str:
    """Tells tables apart that differ in any row: paths, labels, groups, splits or boxes, and the numbers behind the classes of the heads
    that learn from `numbers`."""
    unused = [number_column(attribute) for attribute in manifest.classes if attribute not in numbers]
    hashes = pd.util.hash_pandas_object(manifest.frame.drop(columns=unused, errors="ignore").astype(str), index=False)
    return hashlib.blake2b(hashes.to_numpy().tobytes(), digest_size=16).hexdigest()


def check_same_specs(folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Raises:
    UserError: the run was started with another task or card.
    """
    before = folder.read_config()
    for part, what in (("task", "task"), ("cards", "card")):
        changed = _first_difference(before.get(part), config[part])
        if changed:
            raise UserError(f"--resume: the run in {folder.path} was started with another {what}: {changed}; {CONFIG_HINT}")


def check_same_run(folder: RunFolder, config: Mapping[str, Any]) -> None:
    """Compare a run's `config.yaml` with what the same command would write now.

    Raises:
        UserError: it was started with another task, card, option, decisions, or on other rows.
    """
    check_same_specs(folder, config)
    before, now = folder.read_config().get("run", {}), config["run"]
    _check_options(before, now)
    if before.get("manifest", now["manifest"]) != now["manifest"]:
        raise UserError(
            f"--resume: the tables changed since the run in {folder.path} was started; put the old ones back, or start anew with --overwrite"
        )


def check_finished(folder: RunFolder, plan: Plan, *, decisions: str | Path | None = None, cache: str | Path | None = None, **options: Any) -> None:
    """The same of a run that is finished, as far as it can be told before data is read; `options` by their names in `config.yaml`.

    Raises:
        UserError: it was started with another task, card, option or decisions.
    """
    check_same_specs(folder, specs_of(plan))
    # A file that is gone was there as the run was made.
    digest = file_digest(Path(decisions)) if decisions and Path(decisions).is_file() else None
    before = folder.read_config().get("run", {})
    told = before.get("decisions") if decisions and digest is None else {"digest": digest}
    # A folder changes nothing.
    _check_options(before, {**options, "cache": cache if cache == "device" else None, "decisions": told})


def file_digest(file: Path) -> str:
    """Tells files apart that differ in any byte."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _check_options(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key, flag in _OPTIONS.items():
        changed = _first_difference(before.get(key), now.get(key), key=flag)
        if changed:
            raise UserError(f"--resume: {changed}; {CONFIG_HINT}")
    if (before.get("decisions") or {}).get("digest") != (now.get("decisions") or {}).get("digest"):
        raise UserError(f"--resume: the run was started with other --decisions; {CONFIG_HINT}")


def _first_difference(before: Any, now: Any, *, key: str = "") -> str | None:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        if key in _ORDERED and set(before) == set(now) and list(before) != list(now):
            return f"the order of {key} was {', '.join(before)} and is now {', '.join(now)}"
        for name in {**before, **now}:
            found = _first_difference(before.get(name), now.get(name), key=f"{key}.{name}".lstrip("."))
            if found:
                return found
        return None
    return None if before == now else f"{key} was {before!r} and is now {now!r}"
