"""Fits what `decode:` names on validation rows, and says whether it is worth using.

Enters: the network's probabilities and the labels of validation rows, with their groups. Leaves: a decoder and why it was taken. It is
judged on rows that it was not fitted on: each fold of groups is decoded by what the other folds ask for, temperature included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from attrcls.answers.calibration import FloatArray, Probabilities, fit_temperature, log_of, tempered
from attrcls.answers.decoding import DecodeKind, Decoder, code_scores, log_ratios
from attrcls.combine import Combiner, IntArray
from attrcls.types import MISSING

STRONGEST = 3.0
# Offsets are in units of log p: 3 makes a class twenty times as likely.
_CANDIDATES = np.round(np.arange(-15, 16) * 0.2, 1)
_MOST_ROUNDS = 5


@dataclass(frozen=True)
class Choice:
    """The decoder that was fitted; whether it is `used` or argmax is kept, and why. Scores are cross-fitted macro-F1, None where not known."""

    fitted: Decoder
    used: bool
    reason: str
    argmax_f1: float | None = None
    fitted_f1: float | None = None


def choose_decoder(
    kind: DecodeKind, probabilities: Mapping[str, Probabilities], targets: Mapping[str, IntArray], folds: IntArray | None, *,
    combiner: Combiner | None, code_counts: Sequence[int] | IntArray,
) -> Choice:  # fmt: skip
    """Fit a decoder of a kind, and use it where it is not worse than argmax on rows that it was not fitted on.

    `probabilities` are the network's, not calibrated yet. `combiner` is None where this run lacks some of the code's heads; `code_counts`
    `(codes,)` are of train rows. The score is the code's macro-F1, or without a code the mean of the heads'.
    """
    if kind == "argmax":
        return Choice(Decoder(), True, "the task asks for argmax")
    if kind == "joint" and (combiner is None or not np.sum(code_counts)):
        lack = "this run has not all heads of the combined code" if combiner is None else "no train row has every label of the combined code"
        return Choice(Decoder(), False, f"argmax kept: {lack}")
    if not any((values != MISSING).any() for values in targets.values()):
        return Choice(Decoder(), False, f"argmax kept: no validation row to fit {kind} on")

    def fit(rows: npt.NDArray[np.bool_]) -> tuple[Decoder, dict[str, float]]:
        temperatures = {head: fit_temperature(values[rows], targets[head][rows]) for head, values in probabilities.items()}
        some = {head: tempered(values[rows], temperatures[head]) for head, values in probabilities.items()}
        labels = {head: values[rows] for head, values in targets.items()}
        if kind == "joint" and combiner:
            return fit_joint(some, labels, combiner=combiner, code_counts=code_counts), temperatures
        return fit_offsets(some, labels, combiner=combiner), temperatures

    decoder, _ = fit(np.ones(len(next(iter(targets.values()))), dtype=bool))
    if folds is None:
        return Choice(decoder, False, f"argmax kept: with fewer than two validation groups {kind} cannot be judged on rows it was not fitted on")
    predicted = {head: np.zeros(len(folds), dtype=np.int64) for head in probabilities}
    for fold in np.unique(folds):
        held = folds == fold
        of_rest, temperatures = fit(~held)
        calibrated = {head: tempered(values[held], temperatures[head]) for head, values in probabilities.items()}
        for head, values in of_rest.decide(calibrated, combiner).items():
            predicted[head][held] = values
    before = _mean_f1(Decoder().decide(probabilities, combiner), targets, probabilities, combiner)
    after = _mean_f1(predicted, targets, probabilities, combiner)
    used = after >= before
    what = f"macro-F1 of {combiner.name}" if combiner else "mean macro-F1 of the heads"
    told = f"{what} on validation, cross-fitted over groups: {kind} {after:.3f}, argmax {before:.3f}"
    return Choice(decoder, used, told if used else f"argmax kept: {told}", before, after)


def fit_joint(
    probabilities: Mapping[str, Probabilities], targets: Mapping[str, IntArray], *, combiner: Combiner, code_counts: Sequence[int] | IntArray
) -> Decoder:
    """The joint decoder whose strength, from 0 to `STRONGEST`, makes the rows' codes likeliest; 0 where no row has a whole code.

    The codes' probabilities are proportional to Π p · ratio^strength: their log-likelihood is concave in the strength.
    """
    ratios = log_ratios(code_counts, combiner)
    codes = combiner.encode({head: targets[head] for head in combiner.order})
    known = codes != MISSING
    if not known.any():
        return Decoder("joint", log_ratios=ratios)
    scores = code_scores({head: probabilities[head][known] for head in combiner.order}, combiner)
    scores -= scores.max(axis=1, keepdims=True)
    given = codes[known]

    def loss(strength: float) -> float:
        total = scores + strength * ratios
        peak = total.max(axis=1)
        return float(np.mean(peak + np.log(np.exp(total - peak[:, None]).sum(axis=1)) - total[np.arange(len(given)), given]))

    found = minimize_scalar(loss, bounds=(0, STRONGEST), method="bounded", options={"xatol": 1e-3})
    # The search never tries its ends.
    strength = float(found.x) if found.fun < loss(0.0) else 0.0
    return Decoder("joint", strength=strength, log_ratios=ratios)


def fit_offsets(probabilities: Mapping[str, Probabilities], targets: Mapping[str, IntArray], *, combiner: Combiner | None) -> Decoder:
    """Offsets per class, one after the other and round again while they help: for the code's macro-F1, or the head's outside a code.

    Of candidates that do equally well the one nearest to 0 is taken, so that nothing is shifted for nothing.
    """
    offsets: dict[str, FloatArray] = {}
    order = tuple(combiner.order) if combiner else ()
    parts = [order, *((head,) for head in probabilities if head not in order)] if order else [(head,) for head in probabilities]
    for heads in parts:
        sizes = [probabilities[head].shape[1] for head in heads]
        code = combiner if combiner and heads == order else Combiner(heads[0], heads, tuple(sizes))
        given = code.encode({head: targets[head] for head in heads})
        known = given != MISSING
        offsets |= _climb({head: log_of(probabilities[head][known]) for head in heads}, given[known], code)
    return Decoder("offsets", offsets={head: offsets[head] for head in probabilities})


def macro_f1(predicted: IntArray, given: IntArray, classes: int) -> float:
    """Macro-F1 over the classes that occur in either, as in `training.metrics`; both `(rows,)`, all labelled. 0 without rows."""
    right = np.bincount(given[predicted == given], minlength=classes)
    occurs = np.bincount(given, minlength=classes) + np.bincount(predicted, minlength=classes)
    return float((2 * right[occurs > 0] / occurs[occurs > 0]).mean()) if len(given) else 0.0


def _climb(logs: Mapping[str, FloatArray], given: IntArray, code: Combiner) -> dict[str, FloatArray]:
    offsets = {head: np.zeros(values.shape[1]) for head, values in logs.items()}
    if not len(given):
        return offsets
    chosen = {head: values.argmax(axis=1).astype(np.int64) for head, values in logs.items()}
    score = macro_f1(code.encode(chosen), given, code.size)
    for _ in range(_MOST_ROUNDS):
        before = score
        for head, values in logs.items():
            for place in range(values.shape[1]):
                others = values + offsets[head]
                others[:, place] = -np.inf
                rival, margin = others.argmax(axis=1), others.max(axis=1) - values[:, place]
                # Of equals the lower index wins, as in argmax.
                first = np.where(place < rival, np.searchsorted(_CANDIDATES, margin, "left"), np.searchsorted(_CANDIDATES, margin, "right"))
                without, with_it = (code.encode({**chosen, head: each}) for each in (rival, np.full(len(given), place)))
                found = _scores_of_shifts(first, without, with_it, given, code.size)
                best = max(range(len(found)), key=lambda index: (round(float(found[index]), 12), -abs(_CANDIDATES[index])))
                if found[best] > score + 1e-12:
                    score, offsets[head][place] = float(found[best]), _CANDIDATES[best]
            chosen[head] = (values + offsets[head]).argmax(axis=1)
        if score <= before + 1e-12:
            break
    return offsets


def _scores_of_shifts(first: IntArray, without: IntArray, with_it: IntArray, given: IntArray, classes: int) -> FloatArray:
    """Macro-F1 `(candidates,)` where each row has the code `with_it` from its `first` candidate on, and `without` before.

    Counted by what changes from one candidate to the next, so that it costs as much as one of them.
    """
    shape = (len(_CANDIDATES) + 1, classes)

    def counts(rows: npt.NDArray[np.bool_] | slice, codes: IntArray) -> IntArray:
        return np.bincount(first[rows] * classes + codes[rows], minlength=shape[0] * shape[1]).reshape(shape)

    every = slice(None)
    said = np.bincount(without, minlength=classes) + (counts(every, with_it) - counts(every, without)).cumsum(axis=0)[:-1]
    hit, hit_without = with_it == given, without == given
    right = np.bincount(given[hit_without], minlength=classes) + (counts(hit, with_it) - counts(hit_without, without)).cumsum(axis=0)[:-1]
    occurs = said + np.bincount(given, minlength=classes)
    scores: FloatArray = (2 * right / np.maximum(occurs, 1)).sum(axis=1) / (occurs > 0).sum(axis=1)
    return scores


def _mean_f1(
    predicted: Mapping[str, IntArray], targets: Mapping[str, IntArray], probabilities: Mapping[str, Probabilities], combiner: Combiner | None
) -> float:
    if combiner:
        columns = [(combiner.encode(predicted), combiner.encode(targets), combiner.size)]
    else:
        columns = [(predicted[head], targets[head], values.shape[1]) for head, values in probabilities.items()]
    known = [(said[given != MISSING], given[given != MISSING], size) for said, given, size in columns if (given != MISSING).any()]
    return float(np.mean([macro_f1(*each) for each in known])) if known else 0.0
