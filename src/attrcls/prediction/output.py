"""The row contract: one output row per input row, in order, the input's columns first, never another image's labels."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.combine import Combiner
from attrcls.data.cells import as_utf8
from attrcls.data.remote import Location
from attrcls.errors import UserError
from attrcls.prediction.answers import READ, Answers
from attrcls.prediction.inputs import PredictInput
from attrcls.types import MISSING

# Enough to order predictions by, and no more than bf16 arithmetic can stand behind.
CONFIDENCE_DECIMALS = 4


def prediction_table(
    asked: PredictInput, answers: Answers, *, classes: Mapping[str, Sequence[str]], combiner: Combiner | None, probabilities: bool
) -> pd.DataFrame:
    """The input's columns, then per head its class and that class's probability (0–1), the code, `status` and `error`.

    With `probabilities`, a column `<head>_p_<class>` for each class follows the head's two. An input column that is
    named like an output column becomes `NAME_input`. Predictions of a row that could not be read are blank; where a head abstained its
    class and the code are, and its confidence says how doubtful it was.
    """
    predictions = answers.predictions
    ok = np.array([status in READ for status in predictions.status], dtype=bool)
    outputs: dict[str, object] = {}
    for head, values in predictions.probabilities.items():
        names = np.array([*classes[head], None], dtype=object)
        # MISSING is the last of them.
        outputs[head] = names[answers.chosen[head]]
        outputs[f"{head}_confidence"] = _rounded(answers.confidence[head], ok)
        if probabilities:
            for index, name in enumerate(classes[head]):
                outputs[f"{head}_p_{name}"] = _rounded(values[:, index], ok)
    if combiner:
        codes = predicted_codes(answers, combiner)
        outputs[combiner.name] = pd.array([code if code != MISSING else None for code in codes.tolist()], dtype="Int64")
    outputs |= {"status": predictions.status, "error": [as_utf8(text) for text in predictions.error]}
    inputs = asked.table.rename(columns=_renamed(list(asked.table.columns), taken=outputs))
    return pd.concat([inputs.reset_index(drop=True), pd.DataFrame(outputs)], axis=1)


def refuse_predictions(table: pd.DataFrame, heads: Collection[str], *, file: Location) -> None:
    """Raises:
    UserError: the columns called like heads are answers that `predict` wrote, not labels: scored against them a model is always right.
    """
    answered = [head for head in heads if {head, f"{head}_confidence", "status", "error"} <= set(table.columns)]
    if answered:
        raise UserError(
            f"{file}: holds predictions of {', '.join(answered)} (beside {answered[0]}_confidence, status and error), not labels; evaluate the table "
            "that was predicted, or name the labels with --truth FILE"
        )


def predicted_codes(answers: Answers, combiner: Combiner) -> npt.NDArray[np.int64]:
    """The combined code of each row, `(rows,)`, `MISSING` where one of its heads has no answer."""
    return combiner.encode({head: answers.chosen[head] for head in combiner.order})


def check_submission(asked: PredictInput, *, columns: Mapping[str, str], heads: Collection[str], combiner: Combiner | None) -> None:
    """Refuse what no submission can be made of, before a picture is read.

    Raises:
        UserError: the task has no `submission:`, or a column's source is neither image, code, head nor input column.
    """
    if not columns:
        raise UserError("--submission: the task has no `submission:`; add one, such as `submission: {ImageID: image, ans: code}`")
    for column, source in columns.items():
        if source == "code" and combiner is None:
            raise UserError(f"--submission: column {column} is the combined code, whose heads these runs do not all have; name runs that together do")
        if source not in ("image", "code", *asked.table.columns) and source.removesuffix(".id") not in heads:
            raise UserError(f"--submission: column {column}: {source!r} is neither image, code, a head of these runs, nor an input column")


def submission_table(
    asked: PredictInput,
    answers: Answers,
    *,
    columns: Mapping[str, str],
    classes: Mapping[str, Sequence[str]],
    combiner: Combiner | None,
    fallback: Mapping[str, int],
) -> pd.DataFrame:
    """Exactly the task's submission columns, which `check_submission` takes; a row that is not `ok` gets the train split's most frequent answer."""
    ok = np.array([status == "ok" for status in answers.predictions.status], dtype=bool)
    table: dict[str, object] = {}
    for column, source in columns.items():
        head = source.removesuffix(".id")
        if source == "image":
            table[column] = asked.table[asked.image_column]
        elif source == "code":
            assert combiner is not None
            table[column] = np.where(ok, predicted_codes(answers, combiner), fallback[combiner.name])
        elif head in answers.chosen:
            indices = np.where(ok, answers.chosen[head], fallback[head])
            table[column] = indices if source.endswith(".id") else [classes[head][index] for index in indices]
        else:
            table[column] = asked.table[source]
    return pd.DataFrame(table)


def _renamed(columns: Sequence[str], *, taken: Mapping[str, object]) -> dict[str, str]:
    renamed: dict[str, str] = {}
    used = {*taken, *(column for column in columns if column not in taken)}
    for column in columns:
        if column in taken:
            name = f"{column}_input"
            while name in used:
                name += "_input"
            renamed[column] = name
            used.add(name)
    return renamed


def _rounded(values: npt.NDArray[np.floating[Any]], ok: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    return np.where(ok, values.astype(np.float64).round(CONFIDENCE_DECIMALS), np.nan)
