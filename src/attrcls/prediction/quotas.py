"""`--quota`: how many rows each class is to get, from what a person wrote: `uniform`, `HEAD=uniform`, or a table of shares or counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from attrcls.answers.calibration import FloatArray
from attrcls.combine import Combiner
from attrcls.data.tables import find_column, read_table
from attrcls.errors import Problem, ProblemsError, UserError
from attrcls.spec import suggest

UNIFORM = "uniform"
_TOLERANCE = 1e-6
_COLUMNS = "expected the columns head, class, and share or count"


@dataclass(frozen=True)
class Quota:
    """`shares` `(classes,)` of a head or of the combined code, summing to 1. `rows` is what counts were given for, None for shares."""

    shares: FloatArray
    rows: int | None = None


def read_quotas(texts: Sequence[str], *, classes: Mapping[str, Sequence[str]], combiner: Combiner | None) -> dict[str, Quota]:
    """The quota of each head, or of the combined code, that the texts name.

    `uniform` alone is for the combined code, or for the only head. A file has the columns `head`, `class`, and `share` or `count`; the
    code counts as a head, whose classes are its numbers. `./uniform` is a file.
    Raises:
        UserError: a head that there is not, one that gets two quotas, or a code together with one of its heads.
        ProblemsError: rows of a file that cannot be used, with their numbers.
    """
    targets = {**classes, **({combiner.name: [str(code) for code in range(combiner.size)]} if combiner else {})}
    quotas: dict[str, Quota] = {}
    for text in texts:
        head, equals, kind = text.rpartition("=")
        if text == UNIFORM or (equals and kind == UNIFORM):
            name = head if equals else _only_target(classes, combiner)
            if name not in targets:
                raise UserError(f"--quota {text}: no head {name!r}{suggest(name, targets)} (heads: {', '.join(targets)})")
            found = {name: Quota(np.full(len(targets[name]), 1 / len(targets[name])))}
        else:
            found = _read_file(Path(text), targets)
        for name, quota in found.items():
            if name in quotas:
                raise UserError(f"--quota {text}: {name} has a quota already; give one for each head")
            quotas[name] = quota
    if combiner and combiner.name in quotas and (clash := [head for head in combiner.order if head in quotas]):
        raise UserError(f"--quota: {combiner.name} decides its heads, and {clash[0]} has a quota too; leave one of them out")
    return quotas


def check_rows(quotas: Mapping[str, Quota], rows: int) -> None:
    """Refuse, before anything is predicted, counts that do not sum to the input's rows.

    Raises:
        UserError: they do not.
    """
    for name, quota in quotas.items():
        if quota.rows is not None and quota.rows != rows:
            raise UserError(f"--quota: expected counts of {name} that sum to the input's {rows:,} rows, found {quota.rows:,}; or give shares")


def _only_target(classes: Mapping[str, Sequence[str]], combiner: Combiner | None) -> str:
    if combiner:
        return combiner.name
    if len(classes) == 1:
        return next(iter(classes))
    raise UserError(f"--quota uniform: there is no combined code, and several heads ({', '.join(classes)}); say whose, such as "
                    f"--quota {next(iter(classes))}=uniform")  # fmt: skip


def _read_file(file: Path, targets: Mapping[str, Sequence[str]]) -> dict[str, Quota]:
    table = read_table(file)
    for column, what in (("head", "the heads"), ("class", "their classes")):
        find_column(table, column, file=file, what=f"{what} of --quota")
    measures = [name for name in ("share", "count") if name in table.columns]
    if len(measures) != 1:
        raise UserError(f"{file}: {_COLUMNS}, found {', '.join(map(str, table.columns))}")
    problems = list(_problems(table, measures[0], targets, file=file))
    if problems:
        raise ProblemsError(f"{file}: a quota that cannot be met", problems)
    heads = dict.fromkeys(map(str, table["head"]))
    return {head: _quota_of(table[table["head"] == head], targets[head], head, measures[0], file=file) for head in heads}


def _problems(table: pd.DataFrame, measure: str, targets: Mapping[str, Sequence[str]], *, file: Path) -> list[Problem]:
    problems = []
    values = pd.to_numeric(table[measure], errors="coerce")
    for place, (head, name, value) in enumerate(zip(table["head"], table["class"], values, strict=True)):
        row = place + 1
        if head not in targets:
            problems.append(Problem(str(file), f"no head {head!r}{suggest(head, targets)} (heads: {', '.join(targets)})", row, "head"))
        elif name not in targets[head]:
            shown = ", ".join(targets[head][:20])
            problems.append(Problem(str(file), f"{name!r} is no class of {head}{suggest(name, targets[head])} (classes: {shown})", row, "class"))
        if not np.isfinite(value) or value < 0 or (measure == "count" and value % 1):
            wanted = "a share from 0 to 1" if measure == "share" else "a whole number, 0 or more"
            problems.append(Problem(str(file), f"expected {wanted}, found {table[measure].iloc[place]!r}", row, measure))
    for again in np.flatnonzero(table.duplicated(["head", "class"])).tolist():
        problems.append(Problem(str(file), f"{table['class'].iloc[again]!r} stands there a second time", again + 1, "class"))
    return problems


def _quota_of(rows: pd.DataFrame, classes: Sequence[str], head: str, measure: str, *, file: Path) -> Quota:
    known = dict(zip(rows["class"], rows[measure].astype(float), strict=True))
    first, last = int(rows.index[0]) + 1, int(rows.index[-1]) + 1
    where = f"{file}, row {first}" if first == last else f"{file}, rows {first} to {last}"
    lacking = [name for name in classes if name not in known]
    if lacking:
        raise UserError(f"{where}: {head} has no row for {', '.join(lacking[:20])}; give a class that never occurs the {measure} 0")
    values = np.array([known[name] for name in classes])
    total = float(values.sum())
    if measure == "count":
        if total == 0:
            raise UserError(f"{where}: the counts of {head} sum to 0; expected the number of the input's rows")
        return Quota(values / total, int(total))
    if abs(total - 1) > _TOLERANCE:
        raise UserError(f"{where}: the shares of {head} sum to {total:.6g}; expected 1")
    return Quota(values / total)
