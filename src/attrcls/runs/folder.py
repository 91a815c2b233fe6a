"""The run directory: made at the start, each file in it whole or absent."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from attrcls.data.tables import write_table
from attrcls.errors import UserError
from attrcls.files import write_json, write_text

RUN_FORMAT_VERSION = 1


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of one run."""

    path: Path

    @property
    def model(self) -> Path:
        """The folder that prediction needs, with the best epoch's weights."""
        return self.path / "model"

    @property
    def last_checkpoint(self) -> Path:
        """What a resume goes on from."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def best_checkpoint(self) -> Path:
        """The whole training state after the best epoch."""
        return self.path / "checkpoints" / "best.safetensors"

    def read_status(self) -> dict[str, Any]:
        """`status.json`, or an empty mapping where there is none.

        Raises:
            UserError: it is damaged or of an unknown version.
        """
        file = self.path / "status.json"
        if not file.exists():
            return {}
        try:
            status = json.loads(file.read_text(encoding="utf-8"))
            found = status.get("format_version")
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(f"{file}: damaged: expected the JSON that `attrcls train` writes") from error
        if found != RUN_FORMAT_VERSION:
            raise UserError(f"{file}: expected format version {RUN_FORMAT_VERSION}, found {found}; use the attrcls that wrote it")
        return dict(status)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace `status.json`."""
        write_json(self.path / "status.json", {"format_version": RUN_FORMAT_VERSION, **status})

    def read_config(self) -> dict[str, Any]:
        """`config.yaml`.

        Raises:
            UserError: it is missing or damaged.
        """
        file = self.path / "config.yaml"
        try:
            config = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: missing or damaged; this is not a whole run directory") from error
        if not isinstance(config, dict):
            raise UserError(f"{file}: damaged: expected the mapping that `attrcls train` writes")
        return config

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace `config.yaml`."""
        write_text(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    def clear(self) -> None:
        """Make the folder, or empty it of an earlier run; `status.json` goes last, so that a kill leaves a run to replace."""
        self.path.mkdir(parents=True, exist_ok=True)
        for entry in sorted(self.path.iterdir(), key=lambda each: each.name == "status.json"):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        """Replace a table of the run."""
        write_table(table, self.path / name)


def open_run_folder(path: Path, *, resume: bool | None, overwrite: bool) -> RunFolder:
    """The run directory to be: a new one, or the one to resume or to replace. Nothing is written or removed yet.

    `resume` is None where a run cannot be resumed.

    Raises:
        UserError: it holds a run and neither flag is given, or it holds other files.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path}: expected a folder, found a file")
    occupied = path.is_dir() and any(path.iterdir())
    if occupied and not (path / "status.json").exists():
        raise UserError(f"--out {path}: this folder holds other files and no run; name a new folder")
    RunFolder(path).read_status()  # Another program's status.json is not a run's, and what lies beside it is not ours to remove.
    if occupied and not (resume or overwrite):
        choices = "name another folder, or replace it" if resume is None else "name another folder, go on with --resume, or replace it"
        raise UserError(f"--out {path} already holds a run; {choices} with --overwrite")
    return RunFolder(path)


def record_end(folder: RunFolder, *, state: str, message: str | None) -> None:
    """Say in `status.json` how the run ended."""
    status = folder.read_status()
    status.pop("format_version", None)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    folder.write_status({**status, "state": state, "finished": finished, "message": message or None})
