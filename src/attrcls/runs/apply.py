"""Decisions carried out, as a story: a user's own table + a file of decisions → the mended table."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from attrcls.cleaning.decisions import apply_decisions, read_decisions
from attrcls.cleaning.mended import mended_table
from attrcls.data.manifest import build_manifest
from attrcls.data.tables import write_table
from attrcls.errors import UserError
from attrcls.files import refuse_inputs
from attrcls.runs.prepare import input_tables, resolve_roots, split_rows
from attrcls.task import load_plan


def run_apply(
    task: str,
    decisions: str | Path,
    *,
    out: str | Path,
    data: Sequence[str | Path] | str | Path = (),
    heads: Sequence[str] = (),
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    raw_cells: bool = False,
) -> pd.DataFrame:
    """Write the user's own table with a file's decisions, of these `heads` if any are named, carried out in every split; returns what was done.

    Raises:
        UserError: the decisions do not fit the labels, or `out` is there already or is what is read.
    """
    target = Path(out)
    if target.is_dir():
        raise UserError(f"--out {target}: with --apply expected a file such as cleaned.csv, found a folder")
    if target.exists() and not overwrite:
        raise UserError(f"--out {target} is there already; name another file, or replace it with --overwrite")
    plan = load_plan(task, overrides=overrides, heads=heads)
    roots = resolve_roots(plan, [data] if isinstance(data, str | Path) else data)
    refuse_inputs("--out", target, decisions, *input_tables(plan, roots))
    if len(plan.cards) > 1:
        raise UserError(f"--apply mends one table, and task {plan.task.name} has {len(plan.cards)} cards; use a task of one card")
    manifest, _ = build_manifest(plan.cards, roots, on_error="skip")
    decided = read_decisions(Path(decisions), manifest).of_heads(heads or list(manifest.classes))
    _, done = apply_decisions(manifest, decided)
    split, _ = split_rows(plan, manifest)
    card = next(iter(plan.cards.values()))
    write_table(mended_table(split, card, roots[card.name], decided), target, raw=raw_cells)
    return done
