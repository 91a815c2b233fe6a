"""What a kept epoch's validation rows are good for besides scores: temperatures, and a decoder where the task asks for one.

Enters: an epoch's validation and the train rows. Leaves: what `model.json` says of both, and confidences as calibration would make
them on rows that it was not fitted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from attrcls.answers.calibration import FloatArray, Probabilities, cross_tempered, fit_temperature, group_folds, tempered
from attrcls.answers.decoding import count_codes
from attrcls.answers.fitting import Choice, choose_decoder
from attrcls.combine import IntArray, combiner_for
from attrcls.data.manifest import Manifest
from attrcls.runs.validation import Validation
from attrcls.sections import DecodeSpec
from attrcls.task import Plan


@dataclass(frozen=True)
class Fitted:
    """A temperature per head; `confidence[head]` `(rows,)` of the validation rows, cross-fitted over groups; how classes are chosen."""

    temperatures: Mapping[str, float]
    decode: DecodeSpec
    confidence: Mapping[str, FloatArray] = field(default_factory=dict)

    def calibrated(self, probabilities: Mapping[str, Probabilities]) -> dict[str, Probabilities]:
        """The network's probabilities per head under its temperature."""
        return {head: tempered(values, self.temperatures.get(head, 1.0)) for head, values in probabilities.items()}


def fit_answers(validation: Validation | None, train: Manifest, plan: Plan) -> Fitted:
    """Fit on the validation rows of the epoch that is kept; without any, temperatures are 1 and classes are chosen by argmax."""
    kind = plan.task.decode
    if validation is None:
        reason = "the task asks for argmax" if kind == "argmax" else f"argmax kept: no validation row to fit {kind} on"
        return Fitted(dict.fromkeys(plan.task.heads, 1.0), DecodeSpec(asked=kind, reason=reason))
    probabilities = validation.scored.probabilities
    targets = {head: validation.manifest.targets(head) for head in probabilities}
    folds = group_folds(validation.groups)
    confidence = {}
    for head, values in probabilities.items():
        # One group alone cannot be cross-fitted: nothing is said of its confidences.
        if folds is not None:
            confidence[head] = cross_tempered(values, targets[head], folds).max(axis=1).astype(np.float64)
    combiner = combiner_for(plan)
    whole = combiner if combiner and set(combiner.order) <= set(probabilities) else None
    counts = count_codes({head: train.targets(head) for head in whole.order}, whole) if whole and kind == "joint" else np.zeros(0, dtype=np.int64)
    choice = choose_decoder(kind, probabilities, targets, folds, combiner=whole, code_counts=counts)
    temperatures = {head: fit_temperature(values, targets[head]) for head, values in probabilities.items()}
    return Fitted(temperatures, _described(choice, asked=kind, counts=counts), confidence)


def _described(choice: Choice, *, asked: str, counts: IntArray) -> DecodeSpec:
    return DecodeSpec.model_validate({
        "asked": asked, "used": asked if choice.used else "argmax", "reason": choice.reason, "strength": choice.fitted.strength,
        "code_counts": counts.tolist(), "offsets": {head: values.tolist() for head, values in choice.fitted.offsets.items()},
        "argmax_f1": choice.argmax_f1, "fitted_f1": choice.fitted_f1,
    })  # fmt: skip
