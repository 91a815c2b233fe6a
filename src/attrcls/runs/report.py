"""The report as a story: a run directory → one HTML file."""

from pathlib import Path

from attrcls.report import write_report


def run_report(run: str | Path, *, out: str | Path | None = None, data: str | Path | None = None) -> Path:
    """Write the run's report and return its path; by default `report.html` in the run directory.

    `data` is where the pictures lie now, if they moved since training. Raises:
        UserError: the run directory is not whole.
    """
    from attrcls.runs.folder import RunFolder

    roots = None
    if data is not None:
        cards = RunFolder(Path(run)).read_config().get("cards", {})
        roots = dict.fromkeys(cards, Path(data))
    return write_report(Path(run), Path(out) if out else None, image_roots=roots)
