"""Face masks: what a person wears, where it sits, and drawing it over a face."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from attrcls.sample.canvas import Canvas, Colour, mirrored, mix, oval, smooth

CLOTHS: tuple[Colour, ...] = ((150, 200, 226), (244, 246, 246), (46, 48, 56), (240, 190, 196), (150, 190, 160))
BANDANAS: tuple[Colour, ...] = ((196, 60, 62), (52, 84, 150), (90, 130, 86))
# One mask in 24 is a bandana: scarce on purpose, as in the competition.
BANDANA_SHARE = 1 / 24
THREAD: Colour = (228, 232, 234)
INK: Colour = (52, 38, 40)


class Wear(IntEnum):
    """How a mask is worn; the numbers are the competition's class codes."""

    WORN = 0
    INCORRECT = 1
    ABSENT = 2


@dataclass(frozen=True)
class FaceMask:
    """One mask on one face; `top` and `bottom` are heights in face units (the nose's tip is 0.3, the mouth 0.64)."""

    cloth: Colour
    is_bandana: bool
    top: float
    bottom: float


def choose_mask(rng: np.random.Generator, *, wear: Wear) -> FaceMask | None:
    """A mask worn over nose and mouth, or below the nose or on the chin, or none at all."""
    is_bandana = bool(rng.random() < BANDANA_SHARE)
    cloths = BANDANAS if is_bandana else CLOTHS
    cloth = mix(cloths[int(rng.integers(len(cloths)))], (128, 128, 128), rng.uniform(0, 0.15))
    if wear is Wear.ABSENT:
        return None
    if wear is Wear.WORN:
        top = float(np.clip(rng.normal(0.04, 0.06), -0.1, 0.17))
        return FaceMask(cloth, is_bandana, top=top, bottom=rng.uniform(1.08, 1.22))
    if rng.random() < 0.6:
        top = float(np.clip(rng.normal(0.4, 0.05), 0.31, 0.5))
        return FaceMask(cloth, is_bandana, top=top, bottom=rng.uniform(1.12, 1.25))
    return FaceMask(cloth, is_bandana, top=rng.uniform(0.72, 0.86), bottom=rng.uniform(1.22, 1.4))


def draw_mask(canvas: Canvas, mask: FaceMask, *, jaw: float, turn: float) -> None:
    """Draw `mask` with its ear loops over a face of the given jaw, turned sideways by `turn`."""
    top, bottom = mask.top, mask.bottom
    breadth = 0.78 if top < 0.6 else 0.66
    edge = mix(mask.cloth, INK, 0.3)
    for side in (-1, 1):
        canvas.stroke([(side * breadth, top + 0.2), (side * 0.86, 0.0)], THREAD, width=0.04)
        canvas.stroke([(side * (breadth - 0.12), bottom - 0.22), (side * 0.88, 0.16)], THREAD, width=0.04)
    bridge = top - (0.1 if top < 0.6 else 0.0)
    corner = 0.46 + 0.12 * jaw
    half = [
        (1.3 * turn, bridge),
        (0.28, bridge + 0.03),
        (breadth, top + 0.14),
        (breadth - 0.02, top + 0.32),
        (corner, bottom - 0.12),
        (0, bottom),
    ]
    outline = smooth(mirrored(half)[:-1])
    canvas.fill(outline, mask.cloth)
    canvas.stroke(np.concatenate([outline, outline[:1]]), edge, width=0.03)
    if mask.is_bandana:
        _draw_dots(canvas, top=top, bottom=bottom)
        return
    for share in (0.35, 0.55, 0.75):
        y = bridge + share * (bottom - bridge)
        canvas.stroke(smooth([(-0.5, y - 0.03), (turn, y + 0.03), (0.5, y - 0.03)], closed=False), edge, width=0.025, alpha=0.6)


def _draw_dots(canvas: Canvas, *, top: float, bottom: float) -> None:
    for row, y in enumerate(np.arange(top + 0.12, bottom - 0.1, 0.19)):
        for x in np.arange(-0.5, 0.51, 0.25) + 0.125 * (row % 2):
            if abs(x) < 0.72 - 0.3 * (y - top):
                canvas.fill(oval(float(x), float(y), 0.045, 0.045), (250, 246, 238))
