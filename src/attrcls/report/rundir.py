"""A run directory goes in; its tables and settings come out, checked against one another.

Everything the page shows starts here, so this is the one place that says what a run lacks. Class names are read as
plain text: a class called `NA` or `None` is a class, and only an empty cell means "no label".
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from attrcls.combine import Combiner
from attrcls.data.cells import unescape_table
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.inside import refuse_links_out
from attrcls.sections import DecodeSpec
from attrcls.spec import parse_spec, read_yaml

FORMAT_VERSION = 1
BOX = ("xmin", "ymin", "xmax", "ymax")
FILES = ("config.yaml", "splits.csv", "metrics.csv", "validation.csv", "model/model.json")
STATUS_KEYS = ("state", "started", "seconds", "epochs_done")


@dataclass(frozen=True)
class RunFiles:
    """What a run directory holds. `splits` and `validation` are text as written; `metrics` is numbers, NaN where blank.
    `balance` is text too, None where the run did not balance its rows.
    """

    folder: Path
    status: Mapping[str, Any]
    config: Mapping[str, Any]
    heads: Mapping[str, tuple[str, ...]]
    code: Combiner | None
    splits: pd.DataFrame
    metrics: pd.DataFrame
    validation: pd.DataFrame
    balance: pd.DataFrame | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    decode: DecodeSpec = field(default_factory=DecodeSpec)


def read_run(run: Path) -> RunFiles:
    """Read every file of the run directory `run` that the report needs.

    Raises:
        UserError: `run` is no run directory, a file is missing or unreadable, or its format version is unknown.
        ProblemsError: a table lacks columns or names a class that the model does not know; every such fault at once.
    """
    if run.is_dir():
        refuse_links_out(run)
    status = _read_status(run)
    _require_files(run, status)
    model = _read_json(run / "model/model.json")
    _require_version(run / "model/model.json", model)
    heads = _read_heads(run / "model/model.json", model)
    code = _read_code(run / "model/model.json", model, heads)
    files = RunFiles(
        folder=run,
        status=status,
        config=_read_config(run / "config.yaml"),
        heads=heads,
        code=code,
        splits=_read_table(run / "splits.csv"),
        metrics=_read_table(run / "metrics.csv").apply(pd.to_numeric, errors="coerce"),
        validation=_read_validation(run / "validation.csv", heads=heads, code=code),
        balance=_read_table(run / "balance.csv") if (run / "balance.csv").is_file() else None,
        temperatures=_read_temperatures(run / "model/model.json", model),
        decode=parse_spec(DecodeSpec, _as_mapping(run / "model/model.json", model.get("decode") or {}), file=f"{run}/model/model.json: decode"),
    )
    problems = [*_missing_columns(files)] or [*_unknown_classes(files), *_unknown_codes(files)]
    if problems:
        raise ProblemsError(
            f"{run}: the tables of this run do not fit its model",
            problems,
            fix="Were files of two runs mixed? Train again, or put back the files that this run wrote.",
        )
    return files


def _read_status(run: Path) -> Mapping[str, Any]:
    if not os.path.isdir(run):
        raise UserError(f"{run} is not a folder; expected a run directory, the folder that `attrcls train` made")
    path = run / "status.json"
    if not path.is_file():
        raise UserError(f"{run} is not a run directory: status.json is missing; give the folder that `attrcls train` made")
    status = _read_json(path)
    _require_version(path, status)
    lacking = [key for key in STATUS_KEYS if key not in status]
    if lacking:
        raise UserError(f"{path}: expected the keys {', '.join(STATUS_KEYS)}, and {', '.join(lacking)} is missing; train again")
    return status


def _require_files(run: Path, status: Mapping[str, Any]) -> None:
    lacking = [name for name in FILES if not (run / name).is_file() and not (name == "validation.csv" and status.get("val_rows") == 0)]
    if lacking:
        raise UserError(
            f"{run}: {', '.join(lacking)} missing (the run's state is “{status['state']}”); a report needs at least one whole epoch: "
            "let the training go on, or train again"
        )


def _require_version(path: Path, content: Mapping[str, Any]) -> None:
    found = content.get("format_version")
    if found != FORMAT_VERSION:
        wanted = f"expected format_version {FORMAT_VERSION}, found {found!r}"
        raise UserError(f"{path}: {wanted}; read the run with the attrcls that wrote it, or train again")


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); put back the file that the run wrote, or train again") from error
    return _as_mapping(path, content)


def _read_config(path: Path) -> Mapping[str, Any]:
    config = read_yaml(path)
    cards = config.get("cards") or {}
    parts = {**{key: config.get(key) or {} for key in ("task", "run")}, "cards": cards, **(cards if isinstance(cards, dict) else {})}
    for key, part in parts.items():
        if not isinstance(part, dict):
            raise UserError(f"{path}: {key}: expected keys and values, found {type(part).__name__}; put back the file that the run wrote")
    return config


def _as_mapping(path: Path, content: object) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected keys and values, found {type(content).__name__}; put back the file that the run wrote")
    return content


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return unescape_table(pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8"))
    except (OSError, ValueError) as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        raise UserError(f"{path}: cannot be read as a CSV table ({error}); put back the file that the run wrote") from error


def _read_validation(path: Path, *, heads: Iterable[str], code: Combiner | None) -> pd.DataFrame:
    # A run without validation rows writes no such table.
    return _read_table(path) if path.is_file() else pd.DataFrame(columns=_validation_columns(heads, code), dtype=str)


def _validation_columns(heads: Iterable[str], code: Combiner | None) -> list[str]:
    predicted = [f"{head}{ending}" for head in heads for ending in ("_given", "", "_confidence")]
    return ["card", "row_id", "path", "group", *predicted, *([f"{code.name}_given", code.name] if code else [])]


def _read_heads(path: Path, model: Mapping[str, Any]) -> Mapping[str, tuple[str, ...]]:
    try:
        described = model.get("attributes") or model["heads"]
        heads = {str(head): tuple(map(str, described[head]["classes"])) for head in model["heads"]}
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: expected the classes of each head under attributes; put back the file that the run wrote") from error
    if not heads:
        raise UserError(f"{path}: expected at least one head, found none; train again")
    return heads


def _read_temperatures(path: Path, model: Mapping[str, Any]) -> Mapping[str, float]:
    """Of the heads that have one; a run of an older attrcls has none."""
    found = _as_mapping(path, model.get("temperatures") or {})
    if not all(isinstance(value, int | float) and value > 0 for value in found.values()):
        raise UserError(f"{path}: expected a positive temperature for each head; put back the file that the run wrote, or train again")
    return {str(head): float(value) for head, value in found.items()}


def _read_code(path: Path, model: Mapping[str, Any], heads: Mapping[str, tuple[str, ...]]) -> Combiner | None:
    combine = _as_mapping(path, model.get("combine") or {})
    try:
        # A run of some of the task's heads cannot tell the code; its tables have no column for it.
        if not combine or not set(combine.get("order", ())) <= set(heads):
            return None
        code = Combiner(name=str(combine["name"]), order=tuple(combine["order"]), radices=tuple(combine["radices"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: expected combine to have name, order and radices; put back the file that the run wrote") from error
    sizes = tuple(len(heads[head]) for head in code.order)
    if sizes != code.radices:
        raise UserError(
            f"{path}: the code {code.name} expects {code.radices} classes for {', '.join(code.order)}, the heads have {sizes}; train again"
        )
    return code


def _missing_columns(files: RunFiles) -> Iterable[Problem]:
    wanted = {
        "splits.csv": (files.splits, ["card", "row_id", "path", "group", "split", *files.heads]),
        "metrics.csv": (files.metrics, ["epoch", "train_loss"]),
        "validation.csv": (files.validation, _validation_columns(files.heads, files.code)),
    }
    if files.balance is not None:
        wanted["balance.csv"] = (files.balance, ["card", "row_id", "path", "weight", "draws"])
    for name, (table, columns) in wanted.items():
        for column in columns:
            if column not in table.columns:
                yield Problem(name, "this column is missing", column=column)


def _unknown_classes(files: RunFiles) -> Iterable[Problem]:
    for head, classes in files.heads.items():
        expected = ", ".join(classes[:8]) + (", …" if len(classes) > 8 else "")
        for name, table, column in (
            ("splits.csv", files.splits, head),
            ("validation.csv", files.validation, f"{head}_given"),
            ("validation.csv", files.validation, head),
        ):
            for stranger in sorted(set(table[column]) - {"", *classes}):
                yield Problem(name, f"“{stranger}” is no class of this head; expected {expected}", column=column)


def _unknown_codes(files: RunFiles) -> Iterable[Problem]:
    if files.code is None:
        return
    for column in (f"{files.code.name}_given", files.code.name):
        cells = files.validation[column]
        for cell in sorted(set(cells[(cells != "") & ~pd.to_numeric(cells, errors="coerce").isin(range(files.code.size))])):
            yield Problem("validation.csv", f"“{cell}” is no code; expected 0 to {files.code.size - 1}", column=column)
