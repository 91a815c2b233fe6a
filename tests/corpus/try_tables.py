"""Every table through every command that reads tables, beside pictures that are in order."""

from itertools import islice
from pathlib import Path

import pandas as pd

from attrcls.prediction.inputs import IMAGE_COLUMNS
from corpus.ground import PREDICT, TRAIN, Ground, answer_of, rows_of
from corpus.tables import Table, bad_labels, mangled
from corpus.watch import Watch


def try_tables(watch: Watch, ground: Ground, folder: Path, *, share: int, every: int) -> None:
    """As labels, as an input, as the truth, to draft a card from, and as decisions: each `share`-th of the tables. Of those that can
    be trained on, each `every`-th is."""
    folder.mkdir()
    (folder / "images").symlink_to(ground.folder / "images")
    (folder / "squares.task.yaml").write_text(ground.task.read_text())
    good = ground.labels
    for number, table in enumerate(islice(bad_labels(good), 0, None, share)):
        watch.findings.count(table.kind)
        file = folder / f"labels{table.ending}"
        file.write_bytes(table.data)
        _predict(watch, ground, table, file, good)
        _use_labels(watch, ground, table, file, trains=number % every == 0)
        file.unlink()
    _decide(watch, ground, folder, share=share, every=every)


def _predict(watch: Watch, ground: Ground, table: Table, file: Path, good: pd.DataFrame) -> None:
    """One row per row of the table, in order, each with its own picture's answer."""
    out = file.with_name("out.csv")
    out.unlink(missing_ok=True)
    codes = {"rows": (0,), "refused": (2,)}.get(table.expected, (0, 2, 3))
    named = file if table.expected == "refused" else None
    said = watch.call(table.name, "predict", ground.run, file, "--csv", out, *PREDICT, codes=codes, names=named)
    if said.code not in (0, 3):
        return
    rows = rows_of(out)
    column = next((name for name in IMAGE_COLUMNS if rows and name in rows[0]), None)
    if table.expected == "rows" and (column is None or [row[column] for row in rows] != good["file"].tolist()):
        watch.findings.blame("wrong row", table.name, f"expected the {len(good)} rows of the table in order, found {len(rows)}")
    for row in rows:
        known = ground.answers.get(row[column].strip()) if column else None
        if known and (row["status"] != "ok" or answer_of(row) != known):
            watch.findings.blame("wrong row", table.name, f"expected {known}, found {row}")
        if row["status"] != "ok" and any(answer_of(row)):
            watch.findings.blame("wrong row", table.name, f"an answer without a picture: {row}")


def _use_labels(watch: Watch, ground: Ground, table: Table, file: Path, *, trains: bool) -> None:
    folder = file.parent
    card = (ground.folder / "squares.card.yaml").read_text().replace("labels.csv", file.name)
    (folder / "squares.card.yaml").write_text(card)
    task = folder / "squares.task.yaml"
    # A table that can be read may be refused for what it means, and then its labels are named, not the file.
    named = file if table.expected == "refused" else None
    looked = watch.call(table.name, "data", task, names=named)
    watch.call(table.name, "card", "init", file, "--out", "-", codes=(0, 2), names=file)
    watch.call(table.name, "evaluate", ground.run, ground.folder / "labels.csv", "--truth", file, *PREDICT, codes=(0, 2), names=file)
    if looked.code != 2:
        watch.call(table.name, "evaluate", ground.run, file, *PREDICT, names=named)
    if looked.code == 2 or trains:
        options = (*TRAIN, "--on-error", "skip", "--overwrite", "--out", folder / "run")
        watch.call(table.name, "train", task, *options, codes=(0, 2) if looked.code != 2 else (2,), names=named)


def _decide(watch: Watch, ground: Ground, folder: Path, *, share: int, every: int) -> None:
    """Decisions on labels, mangled in every way."""
    labels = ground.labels
    rows = [("squares", f"images/{name}", "colour", given, "drop_label") for name, given in zip(labels["file"], labels["colour"], strict=True)][:6]
    good = pd.DataFrame(rows, columns=["card", "row_id", "head", "given_label", "decision"])
    for number, table in enumerate(islice(mangled(good), 0, None, share)):
        watch.findings.count(f"decisions: {table.kind}")
        case = f"decisions-{table.name}"
        file = folder / f"decisions{table.ending}"
        file.write_bytes(table.data)
        codes = {"rows": (0,), "refused": (2,)}.get(table.expected, (0, 2))
        out = folder / "cleaned.csv"
        out.unlink(missing_ok=True)
        applied = watch.call(case, "clean-labels", ground.task, "--apply", file, "--out", out, codes=codes, names=file)
        if table.expected == "rows" and out.exists():
            _check_applied(watch, case, labels, rows_of(out))
        if applied.code == 2 or number % every == 0:
            watch.call(
                case, "train", ground.task, *TRAIN, "--out", folder / "run", "--overwrite", "--decisions", file, codes=(applied.code, 2), names=file
            )
        file.unlink()


def _check_applied(watch: Watch, case: str, labels: pd.DataFrame, rows: list[dict[str, str]]) -> None:
    """The first six labels are dropped, and nothing else has changed."""
    if [row["file"] for row in rows] != labels["file"].tolist() or [row["colour"] for row in rows] != [*[""] * 6, *labels["colour"][6:]]:
        watch.findings.blame("wrong row", case, "other labels were changed than decided")
