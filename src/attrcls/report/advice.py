"""The numbers of a run go in; what to try next comes out, each piece with the figures it was drawn from.

Every rule is a function from the numbers to pieces of advice, and `RULES` is the order in which they are told:
what makes the figures doubtful first, then what the figures say.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from attrcls.report.numbers import HeadNumbers, RunNumbers

FEW_ROWS = 5
FEW_GROUPS = 20
# The loss on train rows is taken with augmentation and before each update, so some distance is usual.
RISE, GAP = 0.05, 0.3


@dataclass(frozen=True)
class Advice:
    """One warning or hint: what was seen, and what may be done about it."""

    level: Literal["warning", "hint"]
    seen: str
    remedy: str


def advise(numbers: RunNumbers) -> tuple[Advice, ...]:
    """Draw the warnings and hints from the numbers of a run; none where nothing stands out."""
    return tuple(advice for rule in RULES for advice in rule(numbers))


def _state(numbers: RunNumbers) -> Iterable[Advice]:
    state, done = numbers.status["state"], numbers.status["epochs_done"]
    if state != "finished":
        message = numbers.status.get("message")
        seen = f"The run is not finished: its state is “{state}” after {_plural(done, 'epoch')}" + (f" ({message})." if message else ".")
        yield Advice("warning", seen, "Let it go on to the end before you judge it.")
    if skipped := numbers.status.get("problems_skipped"):
        yield Advice(
            "warning",
            f"{_plural(skipped, 'row')} of the table could not be used and were skipped.",
            "skipped.txt names them; mend them and train again.",
        )


def _validation(numbers: RunNumbers) -> Iterable[Advice]:
    rows, groups = numbers.validation_rows, numbers.validation_groups
    if not rows:
        yield Advice(
            "warning", "There are no validation rows, so nothing was measured.", "Give the task a validation share, or the card a val split."
        )
        return
    if rows != numbers.expected_rows:
        seen = f"{_plural(rows, 'validation row')} were predicted, and splits.csv has {numbers.expected_rows}."
        yield Advice("warning", seen, "Unreadable pictures are left out; see what was skipped.")
    if 0 < groups < FEW_GROUPS:
        seen = f"Validation has {_plural(groups, 'group')} only; rows of one group are alike, so the figures swing with the draw."
        yield Advice("warning", seen, "Hold back more groups, or train with several seeds and compare.")


def _scarce_classes(numbers: RunNumbers) -> Iterable[Advice]:
    for head in _measured(numbers):
        scarce = [score for score in head.scores.classes if score.support < FEW_ROWS]
        if scarce:
            named = _listed([f"{score.name} ({score.support})" for score in scarce])
            seen = f"{head.name}: fewer than {FEW_ROWS} validation rows for {named}."
            yield Advice("warning", seen, "Their scores are guesswork, and macro-F1 leans on them: collect more, or hold back more.")


def _unlabelled_heads(numbers: RunNumbers) -> Iterable[Advice]:
    for head in numbers.heads:
        if numbers.validation_rows and not head.scores.rows:
            yield Advice("warning", f"{head.name}: no validation row has a label.", "It is left out of the means; label some validation rows.")


def _never_predicted(numbers: RunNumbers) -> Iterable[Advice]:
    if numbers.decided_by:
        return  # What the likeliest class never is may still be decided for.
    for head in _measured(numbers):
        silent = [score.name for score in head.scores.classes if score.support and not score.predicted]
        if silent:
            seen = f"{head.name}: {_listed(silent)} never predicted, though validation has such rows."
            yield Advice("warning", seen, "Balance this head's classes, weight its loss, or collect more of them.")


def _below_majority(numbers: RunNumbers) -> Iterable[Advice]:
    for head in _measured(numbers):
        top1, majority = head.scores.top1, head.scores.majority_share
        if top1 is not None and majority is not None and top1 < majority:
            seen = f"{head.name}: top-1 is {top1:.3f}; always guessing its commonest class would get {majority:.3f}."
            yield Advice("warning", seen, "The head has learnt little: check its labels, train longer, or lower the learning rate.")


def _failing_slices(numbers: RunNumbers) -> Iterable[Advice]:
    for head in _measured(numbers):
        failing = [each for each in numbers.slices_of(head) if each.fails]
        if failing:
            worst = failing[0]
            more = f", and on {_plural(len(failing) - 1, 'other slice')}" if len(failing) > 1 else ""
            seen = f"{head.name} fails on {worst.name}: top-1 {worst.top1.value:.3f} there, {worst.rest:.3f} on the other rows{more}."
            yield Advice("warning", seen, "Do not use it on these before it is better: look at their pictures and labels, collect more, or balance.")


def _losses(numbers: RunNumbers) -> Iterable[Advice]:
    epochs, train = numbers.curves.epochs, numbers.curves.columns["train_loss"]
    val = numbers.curves.columns.get("val_loss", (math.nan,) * len(epochs))
    known = [(loss, epoch) for loss, epoch in zip(val, epochs, strict=True) if math.isfinite(loss)]
    if len(known) < len(epochs) and _measured(numbers):
        yield Advice("warning", "The validation loss was no number in some epoch.", "Lower the learning rate, or clip the gradients.")
    if len(known) < 2:
        return
    lowest, since = min(known)
    last, end = known[-1]
    if since == end:
        yield Advice("hint", f"The validation loss was still falling in epoch {end}, the last one.", "Train for more epochs.")
    elif last > lowest * (1 + RISE):
        seen = f"The validation loss has risen since epoch {since}, from {lowest:.3f} to {last:.3f}."
        yield Advice("hint", seen, "Augment more, train for fewer epochs, or clean the labels.")
    at_end = train[epochs.index(end)]
    if math.isfinite(at_end) and last > at_end * (1 + GAP):
        seen = f"In epoch {end} the loss is {at_end:.3f} on train and {last:.3f} on validation rows: the model learns its train rows by heart."
        yield Advice("hint", seen, "Augment more, raise weight decay, or bring more groups into training.")


def _code(numbers: RunNumbers) -> Iterable[Advice]:
    code = numbers.code
    if code and code.scores.rows and code.unseen:
        seen = f"{code.name}: {len(code.unseen)} of {code.size} codes have no validation row."
        yield Advice("hint", seen, "Nothing is known of them; its macro-F1 is over the codes that occur.")


RULES: tuple[Callable[[RunNumbers], Iterable[Advice]], ...] = (
    _state,
    _validation,
    _unlabelled_heads,
    _below_majority,
    _never_predicted,
    _scarce_classes,
    _failing_slices,
    _losses,
    _code,
)


def _measured(numbers: RunNumbers) -> list[HeadNumbers]:
    return [head for head in numbers.heads if head.scores.rows]


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(names: list[str], *, most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
