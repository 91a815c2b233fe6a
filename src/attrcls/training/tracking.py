"""Weights & Biases, imported only when a run asks for it; `WANDB_MODE=offline` needs no network."""

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from attrcls.errors import AttrclsError

# What the client would tell of the machine beside the run: host and user, program and arguments, code, git remote, what is
# printed, packages, and how busy the machine is.
_NOTHING_OF_THE_MACHINE: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
}


class Tracker:
    """One tracked run: its config, a row of metrics an epoch, confusion matrices and the final model.

    Nothing is told of the machine it runs on, unless `system` asks for what the client tells by itself.
    """

    def __init__(self, *, project: str, name: str, config: Mapping[str, Any], folder: Path, run_id: str | None, system: bool = False) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import wandb

                self._wandb, self._system, self._folder = wandb, system, folder / "wandb"
                settings = wandb.Settings(**({} if system else _NOTHING_OF_THE_MACHINE))
                self._run = wandb.init(project=project, name=name, config=dict(config), dir=str(folder), id=run_id, resume="allow", settings=settings)
        except Exception as error:  # whatever the client raises, the run must end with advice
            raise AttrclsError(f"--wandb: the client could not start ({error}); log in with `wandb login`, or set WANDB_MODE=offline") from error

    @property
    def run_id(self) -> str:
        """The tracked run's id, by which a resumed training goes on with it."""
        return str(self._run.id)

    def log_epoch(self, row: Mapping[str, Any]) -> None:
        """One epoch's metrics."""
        with _told_as_ours():
            self._run.log(dict(row), step=int(row["epoch"]))

    def log_confusion(self, head: str, matrix: npt.NDArray[np.int64], classes: Sequence[str]) -> None:
        """A confusion matrix `(classes, classes)` as a table of given, predicted, count."""
        rows: list[Any] = [[classes[i], classes[j], int(matrix[i, j])] for i in range(len(classes)) for j in range(len(classes))]
        with _told_as_ours():
            self._run.log({f"confusion/{head}": self._wandb.Table(columns=["given", "predicted", "count"], data=rows)})

    def finish(self, model_folder: Path, *, failed: bool = False) -> None:
        """Upload the model, and end the tracked run; where the training `failed`, nothing hides why."""
        logs = Path(self._run.dir).parent / "logs"
        if failed:
            with contextlib.suppress(Exception):
                self._run.finish(exit_code=1)
        else:
            with _told_as_ours():
                artifact = self._wandb.Artifact(f"model-{self.run_id}", type="model")
                artifact.add_dir(str(model_folder))
                self._run.log_artifact(artifact)
                self._run.finish(exit_code=0)
        if not self._system:
            # The client's logs about itself, which begin with where they lie.
            for log in (*logs.glob("debug*.log"), *self._folder.glob("debug*.log")):
                with contextlib.suppress(OSError):
                    log.unlink()


@contextlib.contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever the client raises, the run must end with advice
        raise AttrclsError(f"--wandb: the client failed ({error}); the run is kept: go on without it, the same command with --resume") from error
