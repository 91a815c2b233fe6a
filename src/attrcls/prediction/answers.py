"""From probabilities to what the table says: adjusted, decoded, shared out by a quota, or left blank where they are not certain.

Enters: the calibrated probabilities of rows, and the rules that were asked for. Leaves: a class per row and head. Nothing of this needs
a picture, so that the same predictions may be answered in several ways.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from attrcls.answers.calibration import FloatArray, Probabilities, log_of
from attrcls.answers.decoding import Decoder, adjusted, code_scores, log_ratios
from attrcls.answers.quota import share_out, whole_counts
from attrcls.combine import Combiner, IntArray
from attrcls.errors import UserError
from attrcls.model.description import ModelDescription
from attrcls.model.losses import PRIOR_LOSSES
from attrcls.prediction.images import Predictions
from attrcls.prediction.models import TrainedModel, combiner_of, heads_of
from attrcls.prediction.quotas import Quota, check_rows, read_quotas
from attrcls.types import MISSING

ABSTAINED = "abstained"
# A row that was read has one of these; any other status is a picture that could not be used.
READ = ("ok", ABSTAINED)


@dataclass(frozen=True)
class AnswerRules:
    """What was asked for, checked: a strength of logit adjustment, how classes are chosen, quotas by head or code, the least confidence."""

    decoder: Decoder = field(default_factory=Decoder)
    adjust: float = 0.0
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    abstain: float | None = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Answers:
    """`predictions` after adjustment, its `status` `abstained` where a cell is blank for want of certainty; `chosen[head]` `(rows,)` class
    indices, `MISSING` where blank. `confidence[head]` `(rows,)`: the probability of the class that was chosen, also where it was then left
    blank; NaN where nothing was read. `warnings` tell what a quota had to do otherwise than asked."""

    predictions: Predictions
    chosen: Mapping[str, IntArray]
    confidence: Mapping[str, FloatArray]
    warnings: Sequence[str] = ()


def check_rules(
    models: Sequence[TrainedModel], *, rows: int, adjust: float = 0.0, decode: str | None = None, quota: Sequence[str] = (),
    abstain: float | None = None,
) -> AnswerRules:  # fmt: skip
    """The rules for models and an input of so many rows; everything that is wrong with them is refused before a picture is read.

    Raises:
        UserError: a number out of range, a decoding that the run was not trained for, a quota that cannot be met, or rules that contradict.
    """
    if not np.isfinite(adjust):
        raise UserError(f"--adjust: expected a number such as 1, found {adjust}")
    if abstain is not None and not 0 <= abstain <= 1:
        raise UserError(f"--abstain: expected a confidence from 0 to 1, found {abstain:g}")
    if abstain is not None and quota:
        raise UserError("--abstain and --quota: a quota is met by answering every row; leave one of them out")
    descriptions = [model.description for model in models]
    if adjust:
        for description in descriptions:
            if lacking := [head for head in description.heads if head not in description.class_counts]:
                raise UserError(f"--adjust: model.json has no class counts of {', '.join(lacking)}: an older attrcls trained the run; train again")
    quotas = read_quotas(quota, classes=heads_of(models), combiner=combiner_of(models))
    check_rows(quotas, rows)
    decoder, warnings = _decoder(descriptions, decode, combiner_of(models))
    balanced = dict.fromkeys(head for description in descriptions for head in description.balanced)
    if adjust and balanced:
        warnings.append(f"--adjust: training drew the classes of {', '.join(balanced)} equally often already (balance); they are adjusted twice")
    corrected = dict.fromkeys(head for description in descriptions for head, spec in description.heads.items() if spec.loss in PRIOR_LOSSES)
    if adjust and corrected:
        warnings.append(f"--adjust: the loss of {', '.join(corrected)} has learned to answer for even classes already; they are adjusted twice")
    return AnswerRules(decoder, adjust, quotas, abstain, warnings)


def answer(models: Sequence[TrainedModel], predictions: Predictions, rules: AnswerRules) -> Answers:
    """Choose classes for every row that was read; the others have none."""
    read = np.array([status == "ok" for status in predictions.status], dtype=bool)
    combiner = combiner_of(models)
    known: dict[str, Probabilities] = {head: values[read] for head, values in predictions.probabilities.items()}
    probabilities = dict(predictions.probabilities)
    if rules.adjust:
        known = {head: adjusted(values, _counts(models, head), rules.adjust) for head, values in known.items()}
        for head, values in known.items():
            probabilities[head] = probabilities[head].copy()
            probabilities[head][read] = values
    chosen = {head: np.full(len(read), MISSING, dtype=np.int64) for head in known}
    confidence = {head: np.full(len(read), np.nan) for head in known}
    for head, classes in _choose(known, rules, combiner).items():
        chosen[head][read] = classes
        confidence[head][read] = known[head][np.arange(len(classes)), classes]
    predictions = replace(predictions, probabilities=probabilities)
    warnings = [
        f"--quota: {len(read) - int(read.sum()):,} rows could not be read; the counts of {name} were scaled down to the {int(read.sum()):,} others"
        for name, quota in rules.quotas.items()
        if quota.rows is not None and not read.all()
    ]
    if rules.abstain is not None:
        return _abstain(Answers(predictions, chosen, confidence, warnings), rules.abstain)
    return Answers(predictions, chosen, confidence, warnings)


def _choose(probabilities: Mapping[str, Probabilities], rules: AnswerRules, combiner: Combiner | None) -> dict[str, IntArray]:
    rows = len(next(iter(probabilities.values())))
    fixed: dict[str, IntArray] = {}
    for name, quota in rules.quotas.items():
        counts = whole_counts(quota.shares, rows)
        if combiner and name == combiner.name:
            fixed |= combiner.decode(share_out(code_scores({head: probabilities[head] for head in combiner.order}, combiner), counts))
        else:
            fixed[name] = share_out(log_of(probabilities[name]), counts)
    # As certainties, so that a joint decoder takes the likeliest code that has them.
    sure: dict[str, Probabilities] = {head: np.eye(probabilities[head].shape[1])[values] for head, values in fixed.items()}
    return {**rules.decoder.decide({**probabilities, **sure}, combiner), **fixed}


def _abstain(answers: Answers, least: float) -> Answers:
    predictions, answered = answers.predictions, {}
    blank: list[list[str]] = [[] for _ in predictions.status]
    for head, classes in answers.chosen.items():
        doubtful = (classes != MISSING) & (answers.confidence[head] < least)
        answered[head] = np.where(doubtful, MISSING, classes)
        for row in np.flatnonzero(doubtful):
            blank[row].append(head)
    status = [ABSTAINED if heads else before for heads, before in zip(blank, predictions.status, strict=True)]
    error = [f"less certain than {least:g}: {', '.join(heads)}" if heads else before for heads, before in zip(blank, predictions.error, strict=True)]
    return replace(answers, predictions=replace(predictions, status=status, error=error), chosen=answered)


def _counts(models: Sequence[TrainedModel], head: str) -> list[int]:
    counts = [model.description.class_counts[head] for model in models if head in model.description.heads]
    return [sum(of_class) for of_class in zip(*counts, strict=True)]


def _decoder(descriptions: Sequence[ModelDescription], wanted: str | None, combiner: Combiner | None) -> tuple[Decoder, list[str]]:
    """What the run fitted, what was asked for instead, or argmax; with what there is to say of it. Of several runs the means."""
    kinds = ("argmax", "joint", "offsets")
    if wanted is not None and wanted not in kinds:
        raise UserError(f"--decode: expected one of {', '.join(kinds)}, found {wanted!r}")
    fitted = [description.decode for description in descriptions]
    # Several runs were each fitted apart, and told themselves whether that is better than argmax: the most of them decide.
    kind = wanted or max(kinds, key=lambda each: sum(decode.used == each for decode in fitted))
    if wanted is None and kind != "joint" and not all(description.heads.keys() == descriptions[0].heads.keys() for description in descriptions):
        return _offsets_by_head(descriptions)
    if kind == "argmax":
        return Decoder(), []
    for decode in fitted:
        if decode.asked == kind and (decode.code_counts if kind == "joint" else decode.offsets):
            continue
        if wanted or len(fitted) == 1:
            who = "this run was" if len(fitted) == 1 else "a run of these was"
            raise UserError(f"--decode {kind}: {who} not trained with `decode: {kind}`, or had nothing to fit it on ({decode.reason or 'argmax'})")
        return Decoder(), [f"decode: not all of these {len(fitted)} runs were trained with `decode: {kind}`; together they are decoded by argmax"]
    if kind == "joint":
        assert combiner is not None
        counts = np.sum([decode.code_counts for decode in fitted], axis=0)
        return Decoder("joint", strength=float(np.mean([decode.strength for decode in fitted])), log_ratios=log_ratios(counts, combiner)), []
    heads = {head for decode in fitted for head in decode.offsets}
    return Decoder("offsets", offsets={head: np.mean([each.offsets[head] for each in fitted if head in each.offsets], axis=0) for head in heads}), []


def _offsets_by_head(descriptions: Sequence[ModelDescription]) -> tuple[Decoder, list[str]]:
    """Of runs of different heads: each head is decided by the most of those that have it. Joint decoding knows heads of one run alone."""
    offsets: dict[str, FloatArray] = {}
    for head in dict.fromkeys(head for description in descriptions for head in description.heads):
        of_head = [description.decode for description in descriptions if head in description.heads]
        if 2 * sum(decode.used == "offsets" for decode in of_head) > len(of_head) and all(head in decode.offsets for decode in of_head):
            offsets[head] = np.mean([decode.offsets[head] for decode in of_head], axis=0)
    dropped = any(decode.used == "joint" for decode in (description.decode for description in descriptions))
    told = ["decode: these runs have different heads, and one is decoded jointly; together its heads are decoded by argmax"] if dropped else []
    return (Decoder("offsets", offsets=offsets) if offsets else Decoder()), told
