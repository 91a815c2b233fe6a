"""The run directory: made at the start, each file in it whole or absent."""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import yaml

from attrcls.data.tables import write_table
from attrcls.errors import AttrclsError, Problem, UserError
from attrcls.files import write_json, write_text
from attrcls.inside import refuse_links_out
from attrcls.runs.lock import LOCK_NAME, locked
from attrcls.runs.places import without_places
from attrcls.spec import read_yaml
from attrcls.tensors import save_tensors

RUN_FORMAT_VERSION = 1
_BEING_REPLACED = "being replaced"
_KINDS = {"training": "a training", "cleaning": "a cleaning", "folds": "a training of folds (--folds)"}
# What a killed write leaves beside the file that it was to replace (`files.replacing`), of the files of a run.
_TEMPORARY = re.compile(
    r"\.(status|config|splits|balance|sweep|skipped|metrics|timings|validation|folds|oof|ensemble|last|best|run\d|weights|model|verdicts|aum_values|cleaned.*|review|report|README)"
    r"\.[a-z0-9_]{8}\.\w+"
)


class _PlainDumper(yaml.SafeDumper):
    """SafeDumper without anchors, which our reader refuses."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of one run. Of several processes one `writes`; in the others, writing does nothing."""

    path: Path
    writes: bool = True

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

    def cleaning_checkpoint(self, run: int) -> Path:
        """What a cleaning's `run`, numbered from 0, goes on from."""
        return self.path / "checkpoints" / f"run{run}.safetensors"

    def drop_checkpoints(self) -> None:
        """Remove what only a resume needs."""
        if self.writes:
            shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

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
            raise UserError(f"{file}: damaged: expected the JSON that `attrcls train` writes; put the file back, or train again") from error
        if found != RUN_FORMAT_VERSION:
            raise UserError(f"{file}: expected format version {RUN_FORMAT_VERSION}, found {found}; use the attrcls that wrote it")
        return dict(status)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Replace `status.json`."""
        if self.writes:
            write_json(self.path / "status.json", {"format_version": RUN_FORMAT_VERSION, **status})

    @property
    def gives_way(self) -> bool:
        """Whether a command was killed while it emptied the folder for a new run: what is left in it is no run to go on with."""
        return self.read_status().get("state") == _BEING_REPLACED

    def read_config(self) -> dict[str, Any]:
        """`config.yaml`.

        Raises:
            UserError: it is missing or damaged.
        """
        try:
            return read_yaml(self.path / "config.yaml")
        except UserError as error:
            raise UserError(f"{error}; this is not a whole run directory") from error

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Replace `config.yaml`."""
        self.write_lines("config.yaml", yaml.dump(dict(config), Dumper=_PlainDumper, sort_keys=False, allow_unicode=True))

    def write_lines(self, name: str, text: str) -> None:
        """Replace a text file of the run."""
        if self.writes:
            write_text(self.path / name, text)

    def write_skipped(self, problems: Sequence[Problem], *, roots: Iterable[Path]) -> None:
        """Write `skipped.txt`, where rows were left out: why, a line each, with no folder of this machine."""
        known = list(roots)
        if problems:
            self.write_lines("skipped.txt", "".join(f"{without_places(str(problem), known=known)}\n" for problem in problems))

    def clear(self) -> None:
        """Empty the folder of an earlier run. A kill meanwhile leaves a run to replace, and none that looks finished.

        Raises:
            AttrclsError: the disk does not let a file be removed.
        """
        if not self.writes:
            return
        if self.read_status():
            self.write_status({"state": _BEING_REPLACED})
        try:
            for entry in sorted(self.path.iterdir(), key=lambda each: each.name == "status.json"):
                if entry.name == LOCK_NAME:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise AttrclsError(f"could not empty {self.path}: {error.filename}: {error.strerror or error}") from error

    @property
    def probabilities(self) -> Path:
        """Each head's probabilities `(rows, classes)` of the rows of `validation.csv`."""
        return self.path / "validation.safetensors"

    def write_probabilities(self, probabilities: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Replace `validation.safetensors`."""
        if self.writes:
            save_tensors({head: torch.from_numpy(values) for head, values in probabilities.items()}, self.probabilities, metadata={})

    def write_table(self, name: str, table: pd.DataFrame, *, raw: bool = False) -> None:
        """Replace a table of the run; what is read again is not `raw`."""
        if self.writes:
            write_table(table, self.path / name, raw=raw)


def told_skipped(problems: Sequence[Problem]) -> str:
    """What is said of rows that were left out, after how many there are; empty where none was."""
    return f", some left out for {len(problems):,} problem{'' if len(problems) == 1 else 's'} (skipped.txt)" if problems else ""


@contextlib.contextmanager
def open_run_folder(
    path: Path, *, resume: bool, overwrite: bool, kind: Literal["training", "cleaning", "folds"] = "training", writes: bool = True
) -> Iterator[RunFolder]:
    """The run directory to be, held against other commands: a new one, or the one to resume (of the same kind) or to replace.

    Nothing in it is written or removed yet. A process that does not write leaves holding and checking it to the one that does.
    Raises:
        UserError: it holds a run and neither flag is given, it holds other files, or another process writes into it.
        AttrclsError: it cannot be written.
    """
    if not writes:
        yield RunFolder(path, writes=False)
        return
    before = RunFolder(path).read_status() if resume and path.is_dir() and not RunFolder(path).gives_way else {}
    found = before.get("kind", "training")
    if before and found != kind:
        raise UserError(f"--resume: expected {_KINDS[kind]} in {path}, found {_KINDS.get(found, found)}; name another folder with --out")
    _check_folder(path, resume=resume, overwrite=overwrite)
    if path.is_dir():
        refuse_links_out(path)
    with locked(path):
        # Another process may have finished a run there in the meantime.
        _check_folder(path, resume=resume, overwrite=overwrite)
        folder = RunFolder(path)
        for left in (*path.glob(".*"), *folder.last_checkpoint.parent.glob(".*"), *folder.model.glob(".*")):
            if _TEMPORARY.fullmatch(left.name):
                # No obstacle; on a disk that cannot be written the first file that is says so.
                with contextlib.suppress(OSError):
                    left.unlink()
        yield folder


def refuse_inputs_inside(out: Path, inputs: Mapping[str, str | Path | Iterable[Path] | None]) -> None:
    """Raises:
    UserError: what a command reads, named by its flag, lies in the folder that it is to replace.
    """
    for flag, given in inputs.items():
        for path in [given] if given is None or isinstance(given, str | Path) else given:
            if path is not None and (place := Path(os.path.expanduser(path))).exists() and place.resolve().is_relative_to(out.resolve()):
                raise UserError(f"{flag} {path} lies in --out {out}, which --overwrite would empty; name another folder")


def _check_folder(path: Path, *, resume: bool, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise UserError(f"--out {path}: expected a folder, found a file")
    occupied = path.is_dir() and any(entry.name != LOCK_NAME and not _TEMPORARY.fullmatch(entry.name) for entry in path.iterdir())
    if occupied and not (path / "status.json").exists():
        raise UserError(f"--out {path}: this folder holds other files and no run; name a new folder")
    RunFolder(path).read_status()  # Another program's status.json is not a run's, and what lies beside it is not ours to remove.
    if occupied and not (resume or overwrite):
        raise UserError(f"--out {path} already holds a run; name another folder, go on with --resume, or replace it with --overwrite")


def record_end(folder: RunFolder, *, state: str, message: str | None) -> None:
    """Say in `status.json` how the run ended."""
    status = folder.read_status()
    status.pop("format_version", None)
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    folder.write_status({**status, "state": state, "finished": finished, "message": message or None})
