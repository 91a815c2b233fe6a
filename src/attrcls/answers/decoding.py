"""From probabilities to class indices: each head's most probable class, shifted classes, or the likeliest combination.

Enters: calibrated probabilities per head, each `(rows, classes)`. Leaves: class indices per head, which the combined code is made of,
so that code and heads always agree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from attrcls.answers.calibration import FloatArray, Probabilities, log_of
from attrcls.combine import Combiner, IntArray
from attrcls.types import MISSING

DecodeKind = Literal["argmax", "joint", "offsets"]
# So many rows' scores of every code are in memory at once.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Decoder:
    """How classes are chosen.

    `argmax`: each head's most probable class. `offsets`: the largest of log p plus the class's offset, `offsets[head]` `(classes,)`.
    `joint`: the code with the largest sum of its heads' log p plus `strength` times its `log_ratios` `(codes,)`; heads outside the code
    by argmax. The lowest index wins a tie.
    """

    kind: DecodeKind = "argmax"
    offsets: Mapping[str, FloatArray] = field(default_factory=dict)
    strength: float = 0.0
    log_ratios: FloatArray | None = None

    def decide(self, probabilities: Mapping[str, Probabilities], combiner: Combiner | None) -> dict[str, IntArray]:
        """Class indices `(rows,)` per head."""
        chosen = {head: self._alone(head, values) for head, values in probabilities.items()}
        if self.kind == "joint" and combiner and self.log_ratios is not None:
            chosen |= combiner.decode(self._codes({head: probabilities[head] for head in combiner.order}, combiner))
        return chosen

    def _alone(self, head: str, probabilities: Probabilities) -> IntArray:
        if self.kind == "offsets" and head in self.offsets:
            probabilities = log_of(probabilities) + self.offsets[head]
        return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)

    def _codes(self, probabilities: Mapping[str, Probabilities], combiner: Combiner) -> IntArray:
        assert self.log_ratios is not None
        rows = len(next(iter(probabilities.values())))
        codes = np.zeros(rows, dtype=np.int64)
        for start in range(0, rows, _ROWS_AT_ONCE):
            some = {head: values[start : start + _ROWS_AT_ONCE] for head, values in probabilities.items()}
            codes[start : start + _ROWS_AT_ONCE] = (code_scores(some, combiner) + self.strength * self.log_ratios).argmax(axis=1)
        return codes


def code_scores(probabilities: Mapping[str, Probabilities], combiner: Combiner) -> FloatArray:
    """Σ log p over the code's heads, `(rows, codes)`: a code's log-probability where heads know nothing of each other."""
    scores = np.zeros((len(probabilities[combiner.order[0]]), 1))
    for head in combiner.order:
        scores = (scores[:, :, None] + log_of(probabilities[head])[:, None, :]).reshape(len(scores), scores.shape[1] * probabilities[head].shape[1])
    return scores


def count_codes(targets: Mapping[str, IntArray], combiner: Combiner) -> IntArray:
    """How many rows have each code `(codes,)`; a row that misses a label counts for none."""
    codes = combiner.encode(targets)
    return np.bincount(codes[codes != MISSING], minlength=combiner.size)


def log_ratios(counts: Sequence[int] | IntArray, combiner: Combiner) -> FloatArray:
    """log of how much more often each code occurs than its classes would meet by chance, `(codes,)`, from counts `(codes,)`.

    The heads' probabilities hold each class's own frequency already; only the ratio is news. One row per code on average is added as
    chance would spread them, so that a combination never seen is unlikely and not impossible, and marginals likewise.
    """
    table = np.asarray(counts, dtype=np.float64).reshape(combiner.radices)
    rows, added = table.sum(), float(combiner.size)
    chance = np.ones(())
    for axis, radix in enumerate(combiner.radices):
        marginal = table.sum(axis=tuple(other for other in range(table.ndim) if other != axis))
        chance = np.multiply.outer(chance, (marginal + 1) / (rows + radix))
    ratios: FloatArray = np.log((table + added * chance) / (rows + added) / chance).reshape(-1)
    return ratios


def adjusted(probabilities: Probabilities, counts: Sequence[int], tau: float) -> Probabilities:
    """p / π^τ, each row summing to 1 again, with π the classes' shares of the train rows: logit adjustment without training again.

    At τ = 1 this is the posterior under equally frequent classes (Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR 2021,
    section 4.1). A class without a train row counts as the most frequent one: nothing is known in its favour.
    """
    rows = np.asarray(counts, dtype=np.float64)
    shares = np.where(rows > 0, rows, max(rows.max(), 1))
    logs = log_of(probabilities) - tau * np.log(shares / shares.sum())
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: Probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)
    return result
