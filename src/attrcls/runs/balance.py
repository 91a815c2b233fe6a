"""Balancing a task's train rows: the task's choices and the manifest in; weights, figures and a table out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.data.balance import balance_rows
from attrcls.data.balance_facts import BalanceFacts, measure_balance
from attrcls.data.draws import expected_draws
from attrcls.data.manifest import Manifest
from attrcls.task import Plan


@dataclass(frozen=True)
class TrainBalance:
    """The train rows of `manifest` with their `weights` and expected `draws` per epoch, both `(train rows,)`."""

    manifest: Manifest
    weights: npt.NDArray[np.float64]
    draws: npt.NDArray[np.float64]
    facts: BalanceFacts

    def table(self) -> pd.DataFrame:
        """`balance.csv`: one row per train row."""
        return self.manifest.frame[["card", "row_id", "path"]].assign(weight=self.weights.round(6), draws=self.draws.round(6))

    def told(self) -> str:
        """One line: the gap of each attribute before and after, and the effective sample size."""
        gaps = ", ".join(f"{head.name} gap {head.gap_before:,.0f} → {head.gap_after:,.0f}" for head in self.facts.heads)
        return "; ".join([gaps, f"{self.facts.effective:,.0f} effective of {self.facts.draws:,.0f} draws an epoch", *self.facts.unmet])


def balance_train(plan: Plan, manifest: Manifest) -> TrainBalance | None:
    """Weigh the manifest's train rows as the task asks; None where it asks for nothing."""
    spec = plan.task.balance
    train = manifest.of_split("train")
    if spec is None or not len(train):
        return None
    targets = {head: train.targets(head) for head in spec.heads}
    classes = {head: train.classes[head] for head in spec.heads}
    cards = train.frame["card"].to_numpy()
    base = expected_draws(cards, plan.ratios)
    sizes = {head: len(names) for head, names in classes.items()}
    weights = balance_rows(targets, sizes, strength=spec.strength, cap=spec.cap, base=base, strata=cards).weights
    facts = measure_balance(targets, classes, base=base, weights=weights, strength=spec.strength, cap=spec.cap)
    return TrainBalance(train, weights, base * weights, facts)
