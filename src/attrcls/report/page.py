"""The page: a run directory goes in, one HTML file that needs nothing else comes out.

Whatever a class, a card or a file is called is escaped by the template; only the figures, which are made here, enter
it as markup. The page runs no script and may load nothing.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from attrcls.evaluation import Interval
from attrcls.files import write_text
from attrcls.report.advice import advise
from attrcls.report.certainty_figures import draw_coverage, draw_reliability
from attrcls.report.figures import draw_balance, draw_class_counts, draw_confusions, draw_curves
from attrcls.report.numbers import HeadNumbers, RunNumbers, read_numbers
from attrcls.report.templates import load_templates
from attrcls.report.thumbnails import PictureFolders, make_thumbnails, picture_folders
from attrcls.slices import Slice

# Of each head.
SHOWN_SLICES, SHOWN_GROUPS = 12, 5
# A confusion matrix of more is seconds to draw, megabytes to load, and wider than any screen.
DRAWN_CLASSES = 60
# Told elsewhere on the page, or not part of how the run was trained.
UNTOLD = ("name", "title", "cards", "heads", "combine", "submission")


def write_report(run: Path, out: Path | None = None, *, image_roots: Mapping[str, Path] | None = None, worst: int = 24) -> Path:
    """Write the report of the run directory `run` to `out` (default: `report.html` in it), and return where it lies.

    `image_roots` says where a card's data folder lies, for the pictures of mistakes; `worst` is the number of mistakes shown
    per head.

    Raises:
        UserError: `run` is no run directory, is half there, or was written in an unknown format.
        AttrclsError: the file could not be written.
    """
    out = out or run / "report.html"
    numbers = read_numbers(run, worst=worst)
    write_text(out, render_report(numbers, roots=image_roots or {}))
    return out


def render_report(numbers: RunNumbers, *, roots: Mapping[str, Path]) -> str:
    """Render the numbers of a run as a whole HTML page, with thumbnails from `roots` (card to folder)."""
    environment = load_templates()
    environment.filters |= {
        "score": score, "interval": interval, "percent": _percent, "duration": _duration, "moment": _moment, "flat": flat, "times": _times,
    }  # fmt: skip
    task = task_as_trained(numbers.config)
    html = environment.get_template("report.html.j2").render(
        run=numbers,
        status=numbers.status,
        task=task,
        title=task.get("title") or task.get("name") or numbers.name,
        figures=_draw_figures(numbers),
        thumbnails=make_thumbnails([mistake for head in numbers.heads for mistake in head.mistakes], folders=_picture_folders(numbers, roots)),
        settings=_list_settings(numbers, task),
        slices=_list_slices(numbers),
        advice=advise(numbers),
    )
    # JSON can carry half a surrogate pair in a name, which no file can.
    return html.encode("utf-8", errors="replace").decode("utf-8")


def _picture_folders(numbers: RunNumbers, roots: Mapping[str, Path]) -> dict[str, PictureFolders]:
    cards = numbers.config.get("cards") or {}
    return {name: picture_folders(cards.get(name) or {}, root) for name, root in roots.items()}


def _draw_figures(numbers: RunNumbers) -> dict[str, Any]:
    best = numbers.status.get("best_epoch")
    heads = [head.name for head in numbers.heads]
    if numbers.code:
        heads.append(numbers.code.name)
    curves = {
        "curve-loss": ("Loss", {"train": "train_loss", "validation": "val_loss"}),
        "curve-top1": ("Top-1 on validation", {head: f"{head}/top1" for head in heads}),
        "curve-f1": ("Macro-F1 on validation", {head: f"{head}/f1" for head in heads}),
    }
    certain = numbers.certainty.heads if numbers.certainty else ()
    return {
        "certainty": [
            (
                _inline(draw_reliability(each, name=f"reliability-{place}", label=f"Accuracy over confidence of {each.head}")),
                _inline(draw_coverage(each.best, name=f"coverage-{place}", label=f"Accuracy over the share of rows answered, {each.head}")),
            )
            for place, each in enumerate(certain)
        ],
        "curves": [
            (title, list(columns), _inline(draw_curves(numbers.curves, columns, name=name, label=f"{title} per epoch", best_epoch=best)))
            for name, (title, columns) in curves.items()
        ],
        "counts": [
            _inline(draw_class_counts(head.labels, name=f"counts-{place}", label=f"Labels per class of {head.name}"))
            for place, head in enumerate(numbers.heads)
        ],
        "balance": [
            _inline(draw_balance(head, name=f"balance-{place}", label=f"Draws per epoch and class of {head.name}, as it is and balanced"))
            for place, head in enumerate(numbers.balance.facts.heads if numbers.balance else ())
        ],
        "confusions": [
            _inline(draw_confusions(head.confusions, classes=head.classes, name=f"confusion-{place}", label=f"Confusion matrix of {head.name}"))
            if len(head.classes) <= DRAWN_CLASSES
            else f"A matrix of {len(head.classes)} classes is too large to read; the most common confusions are listed."
            for place, head in enumerate(numbers.heads)
        ],
    }


def _list_slices(numbers: RunNumbers) -> list[tuple[HeadNumbers, list[Slice], list[Slice], int]]:
    """Each measured head with its worst slices, its worst groups, and how many slices it has."""
    told = []
    for head in numbers.heads:
        of_head, groups = numbers.slices_of(head), [each for each in numbers.slices_of(head, groups=True) if each.wrong]
        if of_head or groups:
            told.append((head, of_head[:SHOWN_SLICES], groups[:SHOWN_GROUPS], len(of_head)))
    return told


def _inline(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 (the names in it were escaped when it was written)


def _list_settings(numbers: RunNumbers, task: Mapping[str, Any]) -> list[tuple[str, str]]:
    settings = numbers.config.get("run") or {}
    rows = [
        ("weights loaded", settings.get("weights_loaded")),
        *((key.replace("_", " "), value) for key, value in task.items() if key not in UNTOLD),
        *((f"head {head.name}", head.loss) for head in numbers.heads),
        ("rows", {"train": numbers.status.get("train_rows"), "validation": numbers.status.get("val_rows")}),
        ("device", numbers.status.get("device")),
        ("precision", numbers.status.get("precision")),
        ("versions", numbers.status.get("versions")),
    ]
    return [(key, flat(value)) for key, value in rows if value not in (None, "", {}, [])]


def task_as_trained(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's task, with the learning rate that a sweep of them chose."""
    task, rate = config.get("task") or {}, (config.get("run") or {}).get("lr")
    return {**task, "optimiser": {**(task.get("optimiser") or {}), "lr": rate}} if rate else dict(task)


def flat(value: object) -> str:
    """A setting of any shape on one line, without what is empty."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {flat(part)}" for key, part in value.items() if part not in (None, {}, []))
    if isinstance(value, list | tuple):
        return ", ".join(map(flat, value))
    return str(value)


def interval(found: Interval | None) -> str:
    """Such as ` [0.812, 0.934]`; nothing where there is none."""
    return "" if found is None or not math.isfinite(found.low) else f" [{found.low:.3f}, {found.high:.3f}]"


def score(value: float | None) -> str:
    """Three decimals, or a dash where there is no score."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _times(value: float) -> str:
    return f"{value:.2f}\N{NARROW NO-BREAK SPACE}×" if value < 100 else f"{value:,.0f}\N{NARROW NO-BREAK SPACE}×"


def _percent(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.0%}".replace("%", "\N{NARROW NO-BREAK SPACE}%")


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _moment(written: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(written)):%Y-%m-%d %H:%M %Z}".strip()
    except ValueError:
        return str(written)
