"""Weights & Biases, imported only when a run asks for it; `WANDB_MODE=offline` needs no network."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from attrcls.errors import AttrclsError


class Tracker:
    """One tracked run: its config, a row of metrics an epoch, confusion matrices and the final model."""

    def __init__(self, *, project: str, name: str, config: Mapping[str, Any], folder: Path, run_id: str | None) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import wandb

                self._wandb = wandb
                self._run = wandb.init(project=project, name=name, config=dict(config), dir=str(folder), id=run_id, resume="allow")
        except Exception as error:  # whatever the client raises, the run must end with advice
            raise AttrclsError(f"--wandb: the client could not start ({error}); log in with `wandb login`, or set WANDB_MODE=offline") from error

    @property
    def run_id(self) -> str:
        """The tracked run's id, by which a resumed training goes on with it."""
        return str(self._run.id)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """One epoch's metrics."""
        self._run.log(dict(row), step=int(row["epoch"]))

    def log_confusion(self, head: str, matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
        """A confusion matrix `(classes, classes)` as a table of given, predicted, count."""
        rows: list[Any] = [[classes[i], classes[j], int(matrix[i, j])] for i in range(len(classes)) for j in range(len(classes))]
        self._run.log({f"confusion/{head}": self._wandb.Table(columns=["given", "predicted", "count"], data=rows)})

    def finish(self, model_folder: Path, *, failed: bool = False) -> None:
        """Upload the model, and end the tracked run."""
        if not failed:
            artifact = self._wandb.Artifact(f"model-{self.run_id}", type="model")
            artifact.add_dir(str(model_folder))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=int(failed))
