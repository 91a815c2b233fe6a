"""The report as a story: a run directory → one HTML file."""

import os
from pathlib import Path

from attrcls.errors import UserError
from attrcls.report import write_report
from attrcls.report.folds import is_folds, write_folds_report
from attrcls.runs.folder import RunFolder
from attrcls.runs.places import recall_places

# Kinds of folders that are no run to report on, and what to do.
_WITHOUT_REPORT = {
    "folds": "its folds are not all trained; go on with the same `attrcls train … --folds` and --resume",
    "cleaning": "a cleaning has no report; look at review.html in it, or report on a run that `attrcls train --decisions` made with it",
    "ensemble": "an ensemble has no report; score it with `attrcls evaluate`, or report on the runs that it was made of",
}


def run_report(run: str | Path, *, out: str | Path | None = None, data: str | Path | None = None) -> Path:
    """Write the report of a run, or of a training of folds, and return its path; by default `report.html` in its folder.

    `data` is where the pictures lie, if they moved since training or another machine trained. Raises:
        UserError: the run directory is not whole.
    """
    folder = Path(run)
    if is_folds(folder):
        return write_folds_report(folder, Path(out) if out else None)
    kind = RunFolder(folder).read_status().get("kind") if os.path.isdir(folder) else None
    if isinstance(kind, str) and kind in _WITHOUT_REPORT:
        raise UserError(f"{run}: {_WITHOUT_REPORT[kind]}")
    # What is wrong with the folder as a whole is told by the report itself.
    config = RunFolder(folder).read_config() if (folder / "config.yaml").is_file() else {}
    roots = recall_places(config) if data is None else dict.fromkeys(config.get("cards") or {}, Path(data))
    return write_report(folder, Path(out) if out else None, image_roots=roots)
