"""The report as a story: a run directory → one HTML file."""

from pathlib import Path

from attrcls.report import write_report
from attrcls.runs.places import recall_places


def run_report(run: str | Path, *, out: str | Path | None = None, data: str | Path | None = None) -> Path:
    """Write the run's report and return its path; by default `report.html` in the run directory.

    `data` is where the pictures lie, if they moved since training or another machine trained. Raises:
        UserError: the run directory is not whole.
    """
    from attrcls.runs.folder import RunFolder

    folder = Path(run)
    # What is wrong with the folder as a whole is told by the report itself.
    config = RunFolder(folder).read_config() if (folder / "config.yaml").is_file() else {}
    roots = recall_places(config) if data is None else dict.fromkeys(config.get("cards") or {}, Path(data))
    return write_report(folder, Path(out) if out else None, image_roots=roots)
