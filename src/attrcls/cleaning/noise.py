"""How many labels are wrong, which class the wrong ones really are, and below which margin to suspect a label.

Enters: what two or more cleaning runs saw of one head. Leaves: a `NoiseEstimate`. Everything is judged per unit (`roles.py`).

The paper's rule (Pleiss et al. 2020, section 3.2) suspects what lies below the 99th percentile of the threshold samples.
With weak features two to three times too many labels lie there. The default rule asks instead how many wrong labels there
are and where they lie, and takes the threshold of the best expected F1:

1. The logits of a picture tell which margin it would have under any label. So the units of class i tell how margins look
   when pictures of class i are labelled j. What those margins lack is that the network would have learned the wrong label
   a little; the planted labels, which it did learn, tell by how much (`shift`).
2. Labels j that are really i lie among those at which the network says i. At every margin t their number is at most
   (labels j at or below t) / (share of class i at or below t, if it were labelled j), because true labels can only add to
   the count. The least such bound over t estimates it: mixture proportion estimation (Blanchard, Lee and Scott,
   "Semi-Supervised Novelty Detection", JMLR 2010). Where a handful of labels is wrong, the least of many bounds is often zero
   by chance alone. So a second estimate begins where the second label comes: at share s, 1 / s is unbiased for the number
   of labels (inverse sampling; Haldane, "On a Method of Estimating Frequencies", Biometrika 1945). Up to ten, the larger
   one counts.
3. Weighted by these numbers, the margins of step 1 are the distribution W of the wrong labels' margins. With the rate r of
   wrong labels and the distribution A of all margins, suspecting what lies at or below t has the expected
   F1 = 2 r W(t) / (A(t) + r). Where even the best threshold is hardly better than suspecting every label, the pictures do
   not tell right from wrong (age in bands on weak features, say), and nothing is suspected.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from attrcls.cleaning.roles import Flags, Ints, Roles

Floats = npt.NDArray[np.float64]

PAPER_PERCENTILE = 99
# Bounds from the outermost tenths of the margins would stand on a handful of units.
_LADDER = np.linspace(0.1, 0.9, 41)
_FEWEST_OF_SOURCE, _FEWEST_OF_GIVEN, _LEAST_SHARE_SEEN = 20, 10, 0.2
# More wrong labels than these of one class in another are not missed by chance.
_HANDFUL = 10
# A part of the wrong labels is taken to go to any class alike, so that a transition nobody estimated is not impossible.
# 0.1 to 0.3 did equally well on planted symmetric and pairwise noise; without it pairwise noise was over-flagged.
_UNIFORM_SHARE = 0.2
_MOST_WRONG_MARGINS = 50_000
_SCORE_ROUNDS = 20
_CHANCE_DEVIATIONS = 3
# How much better than suspecting all a threshold must be. On ages of faces, whose labels are right but can hardly be seen,
# it is 0.00, on the wearers of drawn clothes, seen through weak features, 0.01 to 0.04 in four draws of five; on planted
# noise of 3 to 40 % it is 0.06 to 0.6.
_LEAST_GAIN = 0.05


@dataclass(frozen=True)
class RunSeen:
    """What one run saw of a head: `roles`, `aum` `(units,)`, and mean `logits` `(units, classes + 1)`."""

    roles: Roles
    aum: Floats
    logits: Floats


@dataclass(frozen=True)
class NoiseEstimate:
    """What is believed of a head's labels, per unit.

    `counts` `(classes, classes)`: units that are really of the row's class and carry the column's label. `evidence`
    `(units,)`: mean AUM over the runs in which the label was as given. `wrong_probability` `(units,)`, 0–1, falls
    strictly with the evidence. `planted_auroc` 0–1: how well planted wrong labels are told from the others by their AUM,
    NaN where none were planted. `suspect` and `paper_suspect` bool `(units,)`, `threshold` and `paper_thresholds` in
    units of logits. `suggested` `(units,)` is the likeliest other class, `confidence` `(units,)` its probability.
    """

    counts: Floats
    evidence: Floats
    wrong_probability: Floats
    planted_auroc: float
    suspect: Flags
    threshold: float
    paper_suspect: Flags
    paper_thresholds: list[float]
    suggested: Ints
    confidence: Floats


def estimate_noise(labels: Ints, runs: Sequence[RunSeen], *, classes: int, seed: int = 0) -> NoiseEstimate:
    """Judge the labels `(units,)` of one head by two or more runs. Needs one unit at least.

    Where not even the planted labels are told from the others, nothing is suspect by the default rule.
    """
    evidence = _mean_where([run.aum for run in runs], [run.roles.as_given for run in runs])
    logits = _mean_where([run.logits for run in runs], [run.roles.as_given for run in runs])[:, :classes]
    suggested, confidence = _suggest(logits, labels)
    paper_thresholds = [float(np.percentile(run.aum[run.roles.threshold], PAPER_PERCENTILE)) for run in runs if run.roles.threshold.any()]
    paper_suspect = _paper_suspects(runs) if paper_thresholds else np.zeros(len(labels), dtype=bool)
    counts = np.zeros((classes, classes))
    threshold, wrong = float("-inf"), np.zeros(len(labels))
    auroc, told_apart = _planted_auroc(runs)
    if told_apart:
        margins = [_hypothetical_margins(run, labels, classes=classes) for run in runs]
        counts = _count_transitions(labels, runs, margins, classes=classes)
        rate = min(1.0, counts.sum() / len(labels))
        sample = _wrong_margins(labels, runs, margins, counts, seed=seed)
        # Half a wrong label in all is none.
        if counts.sum() >= 0.5:
            threshold = best_threshold(evidence, sample, rate=rate)
        wrong = wrong_probability(evidence, sample, rate=max(rate, 0.5 / len(labels)))
    return NoiseEstimate(counts, evidence, wrong, auroc, evidence < threshold, threshold, paper_suspect, paper_thresholds, suggested, confidence)


def best_threshold(evidence: Floats, wrong: Floats, *, rate: float) -> float:
    """The threshold below which suspecting has the best expected F1 (step 3 above).

    `evidence` are all margins, `wrong` a sample of the wrong labels' margins, `rate` 0–1 the share that is wrong. Minus
    infinity where no threshold is worth more than suspecting every label.
    """
    ordered = np.sort(evidence)
    suspected = np.searchsorted(ordered, ordered, side="right") / len(ordered)
    found = np.searchsorted(np.sort(wrong), ordered, side="right") / len(wrong)
    expected = 2 * rate * found / (suspected + rate)
    best = int(np.argmax(expected))
    if expected[best] < expected[-1] + _LEAST_GAIN:
        return float("-inf")
    last = int(np.searchsorted(ordered, ordered[best], side="right"))
    # Halfway to the next margin, so that what lies at the best one is below the threshold.
    return float("inf") if last == len(ordered) else float((ordered[last - 1] + ordered[last]) / 2)


def wrong_probability(evidence: Floats, wrong: Floats, *, rate: float) -> Floats:
    """P(wrong | evidence), strictly falling: a logistic curve between the wrong labels' margins and what remains of all
    margins when the wrong ones are taken out, found by expectation-maximisation."""
    centre, scale = float(np.median(evidence)), float(evidence.std()) or 1.0
    x = (np.concatenate([wrong, evidence])[:, None] - centre) / scale
    is_wrong = np.arange(len(x)) < len(wrong)
    believed = np.full(len(evidence), rate)
    # One column is too little to share out: on two cores, threads took four times as long.
    with threadpool_limits(1, user_api="blas"):
        for _ in range(_SCORE_ROUNDS):
            weights = np.concatenate([np.full(len(wrong), rate * len(evidence) / len(wrong)), 1 - believed])
            curve = LogisticRegression(C=1e3).fit(x, is_wrong, sample_weight=weights + 1e-9)
            slope = min(float(curve.coef_[0, 0]), -1e-3)
            logit = slope * x[len(wrong) :, 0] + float(curve.intercept_[0])
            believed = 1 / (1 + np.exp(-logit))
    return np.asarray(believed)


def _planted_auroc(runs: Sequence[RunSeen]) -> tuple[float, bool]:
    """How well AUM tells the planted labels from those as given, and whether better than chance alone could."""
    planted = np.concatenate([run.roles.planted >= 0 for run in runs])
    known = planted | np.concatenate([run.roles.as_given for run in runs])
    count = int(planted.sum())
    if not count:
        return float("nan"), False
    auroc = float(roc_auc_score(planted[known], -np.concatenate([run.aum for run in runs])[known]))
    others = int(known.sum()) - count
    # The standard deviation of the Mann-Whitney statistic when both come from one distribution.
    deviation = ((count + others + 1) / (12 * count * others)) ** 0.5
    return auroc, auroc > 0.5 + _CHANCE_DEVIATIONS * deviation


def _hypothetical_margins(run: RunSeen, labels: Ints, *, classes: int) -> Floats:
    """The margin that each unit would have under each label, had the run trained on it: `(units, classes)`."""
    top = np.sort(run.logits, axis=1)[:, -2:]
    largest = run.logits.argmax(axis=1)
    others = np.where(np.arange(run.logits.shape[1]) == largest[:, None], top[:, :1], top[:, 1:])
    margins = (run.logits - others)[:, :classes]
    planted = np.flatnonzero(run.roles.planted >= 0)
    means = np.stack([margins[run.roles.as_given & (labels == k)].mean(axis=0) if (labels[run.roles.as_given] == k).any()
                      else np.full(classes, np.nan) for k in range(classes)])  # fmt: skip
    shifts = margins[planted, run.roles.planted[planted]] - means[labels[planted], run.roles.planted[planted]]
    shift = float(np.nanmean(shifts)) if np.isfinite(shifts).any() else 0.0
    # A unit's margin under its own label is no supposition.
    own = np.arange(classes) == labels[:, None]
    return np.asarray(np.where(own, margins, margins + shift), dtype=np.float64)


def _count_transitions(labels: Ints, runs: Sequence[RunSeen], margins: Sequence[Floats], *, classes: int) -> Floats:
    """Step 2: `(classes, classes)`, really the row's class and labelled as the column's."""
    kept = np.concatenate([run.roles.as_given for run in runs])
    given = np.tile(labels, len(runs))[kept]
    logits = np.concatenate([run.logits[:, :classes] for run in runs])[kept]
    margin = np.concatenate(margins)[kept]
    sizes = np.bincount(given, minlength=classes)
    counts = np.zeros((classes, classes))
    for label in range(classes):
        others = logits.copy()
        others[:, label] = -np.inf
        says = others.argmax(axis=1)
        carriers = given == label
        if carriers.sum() < _FEWEST_OF_GIVEN * len(runs):
            continue
        for source in np.unique(says[carriers]):
            of_source = given == source
            seen = np.sort(margin[of_source & (says == source), label])
            if sizes[source] < _FEWEST_OF_SOURCE * len(runs) or len(seen) < _LEAST_SHARE_SEEN * sizes[source]:
                continue
            ladder = np.quantile(seen, _LADDER)
            share = np.searchsorted(seen, ladder, side="right") / sizes[source]
            below = np.searchsorted(np.sort(margin[carriers & (says == source), label]), ladder, side="right")
            counts[source, label] = _least_bound(below / len(runs), share)
    return counts


def _least_bound(below: Floats, share: Floats) -> float:
    """How many labels are wrong, when `below` `(steps,)` of them lie where `share` `(steps,)` of all wrong ones would."""
    least, several = float((below / share).min()), below >= 2
    if not several.any():
        return least
    from_second = float(((below - 1) / share)[several].min())
    return max(least, from_second) if from_second <= _HANDFUL else least


def _wrong_margins(labels: Ints, runs: Sequence[RunSeen], margins: Sequence[Floats], counts: Floats, *, seed: int) -> Floats:
    """Step 3's W: a seeded sample of the margins that wrong labels would have, in the estimated proportions."""
    classes = len(counts)
    sizes = np.bincount(labels, minlength=classes)
    uniform = sizes[:, None] * (1 - np.eye(classes)) / (len(labels) * (classes - 1))
    joint = uniform if counts.sum() < 0.5 else (1 - _UNIFORM_SHARE) * counts / counts.sum() + _UNIFORM_SHARE * uniform
    per_unit = joint[labels] / np.maximum(sizes[labels], 1)[:, None]
    weights = np.concatenate([per_unit * run.roles.as_given[:, None] for run in runs]).ravel()
    values = np.concatenate(margins).ravel()
    possible = np.flatnonzero(weights > 0)
    chosen = np.random.default_rng(seed).choice(
        possible, size=min(_MOST_WRONG_MARGINS, 4 * len(possible)), p=weights[possible] / weights[possible].sum()
    )
    return np.asarray(values[chosen])


def _paper_suspects(runs: Sequence[RunSeen]) -> Flags:
    """Below the 99th percentile of the threshold samples in every run in which the label was as given."""
    suspect, judged = np.ones(len(runs[0].aum), dtype=bool), np.zeros(len(runs[0].aum), dtype=bool)
    for run in runs:
        limit = np.percentile(run.aum[run.roles.threshold], PAPER_PERCENTILE)
        suspect &= (run.aum < limit) | ~run.roles.as_given
        judged |= run.roles.as_given
    return np.asarray(suspect & judged)


def _suggest(logits: Floats, labels: Ints) -> tuple[Ints, Floats]:
    """The likeliest class but the given one, and its softmax probability; the given one where there is no other."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    if logits.shape[1] == 1:
        return labels.copy(), probabilities[:, 0]
    others = np.where(np.arange(logits.shape[1]) == labels[:, None], -1.0, probabilities)
    suggested = others.argmax(axis=1)
    return suggested.astype(np.int64), others.max(axis=1)


def _mean_where(values: Sequence[Floats], where: Sequence[Flags]) -> Floats:
    """The mean over the runs in which a unit counts; each unit counts in one at least."""
    shape = (-1, *[1] * (values[0].ndim - 1))
    total = sum(np.where(flag.reshape(shape), value, 0.0) for value, flag in zip(values, where, strict=True))
    return np.asarray(total / sum(flag.astype(float) for flag in where).reshape(shape))  # type: ignore[union-attr]
