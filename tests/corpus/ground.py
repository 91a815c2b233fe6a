"""What every part of the corpus stands on: a few drawn pictures, a card, a task, and a small run trained on them."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from conftest import draw_squares

# A trunk of five megabytes: what is tried here is what comes before it.
TRUNK = "squeezenet1_1"
TRAIN = ("--epochs", 1, "--workers", 0, "--device", "cpu", "--precision", "32", "--set", f"trunk.name={TRUNK}")
PREDICT = ("--workers", 0, "--device", "cpu", "--precision", "32")
ANSWERS = ["colour", "colour_confidence", "size", "size_confidence", "code"]


@dataclass(frozen=True)
class Ground:
    """`folder` holds labels.csv, images/, squares.card.yaml and squares.task.yaml; `run` is trained on them. `answers` are the
    predictions of each of its pictures, by name, as the text that the table has."""

    folder: Path
    run: Path
    labels: pd.DataFrame
    answers: dict[str, tuple[str, ...]]

    @property
    def task(self) -> Path:
        """The task's file."""
        return self.folder / "squares.task.yaml"


def make_ground(folder: Path) -> Ground:
    """Draw, train and predict, all of it in order."""
    from attrcls.runs.predict import run_predict
    from attrcls.runs.train import run_train

    labels = draw_squares(folder / "squares", people=6, each=3)
    task = folder / "squares" / "squares.task.yaml"
    changes = {"epochs": 2, "trunk.name": TRUNK}
    run = run_train(str(task), out=folder / "run", changes=changes, workers=0, device="cpu", precision="32")
    run_predict(run, folder / "squares" / "images", csv=folder / "alone.csv", workers=0, device="cpu", precision="32")
    return Ground(folder / "squares", run, labels, {row["path"]: answer_of(row) for row in rows_of(folder / "alone.csv")})


def rows_of(table: Path) -> list[dict[str, str]]:
    """A prediction table's rows, every cell as text."""
    return pd.read_csv(table, dtype=str, keep_default_na=False).to_dict("records")


def answer_of(row: dict[str, str]) -> tuple[str, ...]:
    """A row's predictions."""
    return tuple(row[name] for name in ANSWERS)
