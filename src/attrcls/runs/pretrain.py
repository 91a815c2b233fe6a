"""Pretraining as a story: a task or card → one head whose labels come free → a training whose run gives the trunk's `--weights`."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attrcls.card import load_card
from attrcls.errors import UserError
from attrcls.runs.train import run_train
from attrcls.sections import HeadSpec
from attrcls.spec import parse_assignment, parse_spec, read_yaml, suggest, with_values
from attrcls.task import ROTATION, Plan, Task, load_plan


def run_pretrain(source: str, *, on: str, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """Train a trunk on an attribute of the cards, or on `rotation`, and return the run directory, for `train --weights`.

    `source` is a task, whose trunk, pictures and schedule are taken, or a card, with every choice at its default; `overrides` and
    `changes` change a task as of `run_train`, which takes the other `options` too. Only rows that have the attribute train.
    Raises:
        UserError: as of `run_train`; or there is no such attribute, or the trunk would not learn.
        AttrclsError: as of `run_train`.
    """
    plan = _load(source, overrides=overrides, changes=changes)
    return run_train(pretext_plan(plan, on), **options)


def pretext_plan(plan: Plan, on: str) -> Plan:
    """The plan with `on` as its one head, and without what the task says of its own heads alone.

    Raises:
        UserError: no card has such an attribute, a card's own is called `rotation`, or the trunk is frozen.
    """
    if on == ROTATION and ROTATION in plan.attributes:
        raise UserError(f"--on {ROTATION}: a card has an attribute of that name; call it something else in the card, `column:` can stay")
    if on not in {ROTATION, *plan.attributes}:
        known = [*plan.attributes, ROTATION]
        raise UserError(f"--on: no card has an attribute {on!r}{suggest(on, known)} (one of {', '.join(known)})")
    if plan.task.trunk.freeze:
        raise UserError("pretrain trains the trunk, and trunk.freeze keeps it as it is: --set trunk.freeze=false")
    of_own_heads: dict[str, Any] = {
        "balance": None, "unlabelled": None, "rsg": None, "combine": None, "decode": "argmax", "submission": {}, "monitor": "mean/f1",
    }  # fmt: skip
    heads = {on: plan.task.heads.get(on, HeadSpec())}
    task = plan.task.model_copy(update={"name": f"pretrain-{plan.task.name}-{on}", "heads": heads, **of_own_heads})
    return replace(plan, task=task, pretext=on)


def _load(source: str, *, overrides: Sequence[str], changes: Mapping[str, Any] | None) -> Plan:
    """The plan of a task's name or path, or of a task around the card at a path. A bundled card's name is its task's."""
    if not os.path.isfile(source) or "tables" not in read_yaml(Path(source)):
        return load_plan(source, overrides=overrides, changes=changes)
    card, found = load_card(source)
    raw: dict[str, Any] = {"name": card.name, "cards": [source], "heads": {ROTATION: {}}}
    raw = with_values(raw, [*map(parse_assignment, overrides), *(changes or {}).items()])
    return Plan(parse_spec(Task, raw, file=source), {card.name: card}, found, {card.name: found})
