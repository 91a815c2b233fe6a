"""The numbers behind classes, such as years behind age bands, for the heads that learn from them: where they are cut, and how many rows have one."""

import numpy as np

from attrcls.data.manifest import Manifest
from attrcls.errors import UserError
from attrcls.model.heads import learns_numbers
from attrcls.task import Plan


def learned_cuts(plan: Plan) -> dict[str, list[float]]:
    """Where numbers are cut, for each head that is to learn from them.

    Raises:
        UserError: no card of the task cuts a number into that head's classes, or two cut it at different points.
    """
    cuts = {head: plan.cuts_of(head) for head, spec in plan.task.heads.items() if learns_numbers(spec)}
    for head, points in cuts.items():
        if not points:
            raise UserError(
                f"{plan.found.path.name}: heads.{head}.loss_options.sigma: expected a number behind the classes of {head}, found none: no card has "
                f"attributes.{head}.cuts; give it the cut points, or leave sigma out"
            )
    return cuts


def check_numbers(plan: Plan, manifest: Manifest) -> None:
    """Raises:
    UserError: a head is to learn from numbers and no train row has one.
    """
    train = manifest.of_split("train")
    for head, cuts in learned_cuts(plan).items():
        if not _known(train, head, cuts):
            raise UserError(
                f"{plan.found.path.name}: heads.{head}.loss_options.sigma: expected numbers in the tables that the card cuts into classes of {head}, "
                f"found none among {len(train):,} train rows: their cells hold class names, or file names tell the classes; leave sigma out"
            )


def told_numbers(plan: Plan, manifest: Manifest) -> dict[str, str]:
    """What is printed of them before the first epoch; nothing where no head learns from numbers."""
    train = manifest.of_split("train")
    counts = [f"{head} {_known(train, head, cuts):,}" for head, cuts in learned_cuts(plan).items()]
    return {"numbers": f"train rows that have the number behind their class: {', '.join(counts)} of {len(train):,}"} if counts else {}


def _known(manifest: Manifest, head: str, cuts: list[float]) -> int:
    return int(np.isfinite(manifest.numbers(head, cuts)).sum())
