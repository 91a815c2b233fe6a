"""Decisions on labels carried out before a training, on its train split only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attrcls.cleaning.decisions import apply_decisions, read_decisions
from attrcls.runs.prepare import Prepared, check_labels
from attrcls.runs.resume import file_digest


@dataclass(frozen=True)
class Decided:
    """Data with decisions carried out. `done` has a row per head and class: labels, dropped, relabelled, kept, and
    `elsewhere`, decisions on other splits, which keep their labels. `digest` knows the file by its content."""

    prepared: Prepared
    file: str
    digest: str
    done: list[dict[str, Any]]

    @property
    def summary(self) -> str:
        """In words, such as `gender: 112 dropped of 4,165`."""
        parts = []
        for head in dict.fromkeys(row["head"] for row in self.done):
            sums = {key: sum(row[key] for row in self.done if row["head"] == head) for key in ("labels", "dropped", "relabelled", "elsewhere")}
            told = f"{head}: {sums['dropped']:,} dropped"
            told += f", {sums['relabelled']:,} relabelled" if sums["relabelled"] else ""
            told += f" of {sums['labels']:,}"
            parts.append(told + (f" ({sums['elsewhere']:,} of other splits left alone)" if sums["elsewhere"] else ""))
        return "; ".join(parts) or "none"


def decide_labels(prepared: Prepared, file: Path, *, heads: Sequence[str], limited: bool = False) -> Decided:
    """Carry out a file's decisions on the train split. Where the rows were `limited`, decisions on others do not matter.

    Raises:
        UserError: the file is missing, is no decision file, or leaves a head without a train label.
        ProblemsError: decisions that belong to other labels; all of them, with their rows.
    """
    decisions = read_decisions(file, prepared.manifest, partial=limited)
    manifest, done = apply_decisions(prepared.manifest, decisions, splits=["train"])
    # What was said of labels is said of what is left of them.
    before = check_labels(prepared.manifest, heads=heads)
    warnings = [*(text for text in prepared.warnings if text not in before), *check_labels(manifest, heads=heads)]
    digest = file_digest(file)
    rows: list[dict[str, Any]] = [{str(key): value for key, value in row.items()} for row in done.to_dict("records")]
    return Decided(replace(prepared, manifest=manifest, warnings=warnings), file.name, digest, rows)
