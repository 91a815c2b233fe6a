"""The numbers of a run go in; inline SVG strings come out: learning curves, class counts, confusion matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrcls.data.balance_facts import HeadDraws
from attrcls.report.datafacts import LabelCounts
from attrcls.report.numbers import Curves
from attrcls.report.svg import ACCENT, GRID, INK, MUTED, ON_ACCENT, SERIES, draw_svg, pixel_axes, quiet_axes, shorten, text_px

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_PX = (340.0, 210.0)
COUNTS_PX = 340.0
DASHES = ("solid", "dashed", "dotted")


def draw_curves(curves: Curves, columns: Mapping[str, str], *, name: str, label: str, best_epoch: int | None) -> str:
    """Draw columns of the metrics over the epochs, `columns` as name shown to column, in the order of the series colours.

    Values that are no finite number leave a gap. Returns "" where no column has a single one.
    """
    series = [_finite(curves.columns.get(column, ())) for column in columns.values()]
    known = [value for values in series for value in values if math.isfinite(value)]
    if not known:
        return ""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.12, 0.13, 0.85, 0.77))
        for number, values in enumerate(series):
            if values:
                colour, dash = SERIES[number % len(SERIES)], DASHES[number // len(SERIES) % len(DASHES)]
                axes.plot(curves.epochs, values, color=colour, linestyle=dash, linewidth=2, marker="o", markersize=3.5, clip_on=False)
        _frame(axes, curves.epochs)
        if all(value <= 1 for value in known) and "loss" not in name:
            axes.set_ylim(max(0.0, math.floor(min(known) * 10 - 0.2) / 10), 1.0)
        else:
            axes.set_ylim(bottom=0.0)
        if best_epoch in curves.epochs:
            axes.axvline(best_epoch, color=MUTED, linewidth=1, linestyle=(0, (3, 3)), zorder=0)
            axes.text(best_epoch, 1.03, f"best {best_epoch}", transform=axes.get_xaxis_transform(), ha="center", color=MUTED, fontsize=11)

    return draw_svg(paint, name=name, label=label, width_px=CURVE_PX[0], height_px=CURVE_PX[1])


def draw_class_counts(labels: LabelCounts, *, name: str, label: str) -> str:
    """Draw one bar per class, as long as its number of labels, in one part per split."""
    names = [shorten(text) for text in labels.classes]
    totals = [sum(counts) for counts in labels.counts]
    left = min(max(map(text_px, names)), COUNTS_PX * 0.45) + 8
    room = COUNTS_PX - left - text_px(f"{max(totals):,}") - 10
    scale = room / max(1, *totals)
    step = 24.0

    def paint(figure: Figure) -> None:
        axes = pixel_axes(figure)
        for row, (text, counts, total) in enumerate(zip(names, labels.counts, totals, strict=True)):
            middle, start = (row + 0.5) * step, left
            _write(axes, left - 8, middle, text, ha="right", color=INK)
            for number, count in enumerate(counts):
                axes.barh(middle, count * scale, left=start, height=step * 0.62, color=SERIES[number % len(SERIES)])
                start += count * scale
            _write(axes, start + 6, middle, f"{total:,}", color=MUTED)
        axes.set(xlim=(0, COUNTS_PX), ylim=(step * len(names), 0))

    return draw_svg(paint, name=name, label=label, width_px=COUNTS_PX, height_px=step * len(names))


def draw_balance(head: HeadDraws, *, name: str, label: str) -> str:
    """Draw two bars per class, as long as its draws in an epoch: as it is, and balanced."""
    names = [shorten(each.name) for each in head.classes]
    pairs = [(each.before, each.after) for each in head.classes]
    most = max(max(pair) for pair in pairs)
    left = min(max(map(text_px, names)), COUNTS_PX * 0.45) + 8
    scale = (COUNTS_PX - left - text_px(f"{most:,.0f}") - 10) / max(1.0, most)
    step, bar = 40.0, 13.0

    def paint(figure: Figure) -> None:
        axes = pixel_axes(figure)
        for row, (text, pair) in enumerate(zip(names, pairs, strict=True)):
            middle = (row + 0.5) * step
            _write(axes, left - 8, middle, text, ha="right", color=INK)
            for number, draws in enumerate(pair):
                height = middle + (number - 0.5) * (bar + 2)
                axes.barh(height, draws * scale, left=left, height=bar, color=SERIES[number])
                _write(axes, left + draws * scale + 6, height, f"{draws:,.0f}", color=MUTED, fontsize=11)
        axes.set(xlim=(0, COUNTS_PX), ylim=(step * len(names), 0))

    return draw_svg(paint, name=name, label=label, width_px=COUNTS_PX, height_px=step * len(names))


def draw_confusions(confusions: Sequence[Sequence[int]], *, classes: Sequence[str], name: str, label: str) -> str:
    """Draw a confusion matrix: a row per given class, coloured by its share of the row, the counts in the cells."""
    names = [shorten(text, most=18) for text in classes]
    cell = 56.0 if len(names) <= 4 else 42.0 if len(names) <= 8 else 30.0
    side = cell * len(names)
    longest = max(map(text_px, names))
    slanted = len(names) > 4 or longest > cell
    left = longest + 34
    top = (longest * 0.72 if slanted else 14) + 32
    right = longest * 0.72 - cell / 2 + 10 if slanted else 2

    def paint(figure: Figure) -> None:
        axes = pixel_axes(figure)
        _write(axes, left, 12, "predicted", color=MUTED, fontsize=11)
        axes.text(12, top + side / 2, "given", rotation=90, rotation_mode="anchor", ha="center", va="center", color=MUTED, fontsize=11)
        for place, text in enumerate(names):
            middle = (place + 0.5) * cell
            _write(axes, left - 8, top + middle, text, ha="right", color=INK)
            slant = {"rotation": 45, "rotation_mode": "anchor", "ha": "left"} if slanted else {"ha": "center"}
            axes.text(left + middle, top - 8, text, va="baseline", color=INK, parse_math=False, **slant)
        for row, counts in enumerate(confusions):
            for column, count in enumerate(counts):
                _draw_cell(axes, left + column * cell, top + row * cell, cell, count=count, row_total=sum(counts))

    size = {"width_px": left + side + max(2.0, right), "height_px": top + side + 2}
    return draw_svg(paint, name=name, label=label, **size)


def _draw_cell(axes: Axes, left: float, top: float, side: float, *, count: int, row_total: int) -> None:
    from matplotlib.patches import Rectangle

    share = count / row_total if row_total else 0.0
    axes.add_patch(Rectangle((left + 1, top + 1), side - 2, side - 2, facecolor=GRID, alpha=0.45, linewidth=0))
    if count:
        axes.add_patch(Rectangle((left + 1, top + 1), side - 2, side - 2, facecolor=ACCENT, alpha=round(0.08 + 0.92 * share, 3), linewidth=0))
        digits = len(str(count))
        size = min(13.0, (side - 6) / (0.62 * digits))
        _write(axes, left + side / 2, top + side / 2, str(count), ha="center", color=ON_ACCENT if share > 0.5 else INK, fontsize=size)


def _write(axes: Axes, x: float, y: float, text: str, *, color: str, ha: str = "left", fontsize: float = 12.0) -> None:
    # The height of digits and capitals is centred by hand: matplotlib would centre by a font that the page does not use.
    axes.text(x, y + fontsize * 0.36, text, ha=ha, va="baseline", color=color, fontsize=fontsize, parse_math=False)


def _frame(axes: Axes, epochs: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    quiet_axes(axes)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    margin = max(0.3, 0.03 * (max(epochs) - min(epochs)))
    axes.set_xlim(min(epochs) - margin, max(epochs) + margin)


def _finite(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]
