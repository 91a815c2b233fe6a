"""What is drawn on a garment, the third label of the fashion sample: nothing, a woven pattern, or an applied motif."""

import numpy as np

from attrcls.sample.canvas import Canvas, oval, smooth
from attrcls.sample.outfit import SHOULDER_Y, Outfit

PATTERN, MOTIF = 1, 2


def draw_embellishment(canvas: Canvas, outfit: Outfit) -> None:
    """Draw stripes, checks or dots, or a heart, star or flower, over the upper garment; class 0 stays plain."""
    if outfit.embellishment == PATTERN:
        _draw_pattern(canvas, outfit)
    elif outfit.embellishment == MOTIF:
        _draw_motif(canvas, outfit)


def _draw_pattern(canvas: Canvas, outfit: Outfit) -> None:
    heights = np.arange(SHOULDER_Y + 0.07, outfit.hem - 0.02, 0.085)
    for row, y in enumerate(heights):
        half = outfit.half_width(float(y)) - 0.02
        if outfit.motif == 0:
            canvas.stroke([(-half, y), (half, y)], outfit.accent, width=0.03)
            continue
        if outfit.motif == 1:
            canvas.stroke([(-half, y), (half, y)], outfit.accent, width=0.014)
        for x in np.arange(-2, 3) * 0.09 + (0.045 * (row % 2) if outfit.motif == 2 else 0.0):
            if abs(x) < half and outfit.motif == 2:
                canvas.fill(oval(float(x), float(y), 0.022, 0.022), outfit.accent)
            elif abs(x) < half and row + 1 < len(heights):
                canvas.stroke([(x, y), (x, heights[row + 1])], outfit.accent, width=0.014)


def _draw_motif(canvas: Canvas, outfit: Outfit) -> None:
    y = -0.44
    if outfit.motif == 0:
        canvas.fill(smooth([(0, y + 0.12), (-0.12, y), (-0.07, y - 0.08), (0, y - 0.03), (0.07, y - 0.08), (0.12, y)]), outfit.accent)
    elif outfit.motif == 1:
        angles = np.deg2rad(np.arange(10) * 36 - 90)
        radii = np.where(np.arange(10) % 2 == 0, 0.13, 0.055)[:, None]
        canvas.fill(np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii + (0, y), outfit.accent)
    else:
        for turn in np.deg2rad(np.arange(5) * 72):
            canvas.fill(oval(0.06 * float(np.cos(turn)), y + 0.06 * float(np.sin(turn)), 0.05, 0.05), outfit.accent)
        canvas.fill(oval(0, y, 0.035, 0.035), (246, 206, 90))
