"""Confidences measured go in; inline SVG strings come out: reliability before and after calibration, accuracy against coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attrcls.answers.calibration import Certainty
from attrcls.report.certainty import HeadCertainty
from attrcls.report.svg import MUTED, SERIES, draw_svg, quiet_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE_PX = 300.0
# A curve of more points looks the same and makes the page larger.
MOST_POINTS = 120


def draw_reliability(head: HeadCertainty, *, name: str, label: str) -> str:
    """Draw accuracy over confidence, bin by bin, before and after; the diagonal is what confidences ought to mean.

    A dot is as large as its bin has rows.
    """

    def paint(figure: Figure) -> None:
        axes = _unit_axes(figure, "confidence", "right")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
        for number, certainty in enumerate([head.before, *([head.after] if head.after else [])]):
            _dots(axes, certainty, colour=SERIES[number])

    return draw_svg(paint, name=name, label=label, width_px=SIDE_PX, height_px=SIDE_PX)


def draw_coverage(certainty: Certainty, *, name: str, label: str) -> str:
    """Draw how often answered rows are right over the share of rows that are answered, the most certain first."""

    def paint(figure: Figure) -> None:
        axes = _unit_axes(figure, "rows answered", "right")
        places = np.unique(np.linspace(0, len(certainty.curve) - 1, MOST_POINTS).round().astype(int))
        points = [certainty.curve[place] for place in places]
        # The first few rows are all luck.
        steady = [point for point in points if point.share >= 0.05] or points
        axes.plot([point.share for point in steady], [point.accuracy for point in steady], color=SERIES[0], linewidth=2)
        lowest = min(point.accuracy for point in steady)
        axes.set_ylim(max(0.0, np.floor(lowest * 10 - 0.2) / 10), 1.005)

    return draw_svg(paint, name=name, label=label, width_px=SIDE_PX, height_px=SIDE_PX)


def _dots(axes: Axes, certainty: Certainty, *, colour: str) -> None:
    confidences, accuracies = [each.confidence for each in certainty.bins], [each.accuracy for each in certainty.bins]
    axes.plot(confidences, accuracies, color=colour, linewidth=1.5)
    sizes = [12 + 120 * each.rows / certainty.rows for each in certainty.bins]
    axes.scatter(confidences, accuracies, s=sizes, color=colour, linewidths=0, clip_on=False, zorder=3)


def _unit_axes(figure: Figure, across: str, up: str) -> Axes:
    axes = figure.add_axes((0.18, 0.15, 0.78, 0.8))
    quiet_axes(axes)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel(across, color=MUTED, fontsize=11)
    axes.set_ylabel(up, color=MUTED, fontsize=11)
    return axes
