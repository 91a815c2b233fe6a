"""The scenes of the fashion sample: a street or a room with things and passers-by in it, and one or two boxed figures."""

from collections.abc import Sequence

import numpy as np

from attrcls.sample.canvas import Canvas, Colour, Picture, mix, oval, photograph
from attrcls.sample.figure import draw_figure
from attrcls.sample.outfit import CUTS, Outfit, Wearer, choose_outfit, meet_wearer

WIDTH_PX, HEIGHT_PX = 192, 208
WALLS: tuple[Colour, ...] = ((214, 226, 232), (240, 226, 206), (226, 214, 230), (206, 224, 208), (234, 234, 228))
FLOORS: tuple[Colour, ...] = ((176, 164, 150), (150, 160, 168), (190, 176, 140), (150, 172, 140))
INK: Colour = (48, 38, 44)
PASSER_BY_SHARE = 0.45

Box = tuple[int, int, int, int]


def draw_scene(wearer: Wearer, outfits: Sequence[Outfit], rng: np.random.Generator) -> tuple[Picture, list[Box]]:
    """One picture of `wearer` in each of one or two outfits, side by side as in a catalogue, with a box for each.

    Gives RGB uint8 of shape (208, 192, 3) and boxes (xmin, ymin, xmax, ymax) in its pixels.
    """
    canvas = Canvas(width_px=WIDTH_PX, height_px=HEIGHT_PX, colour=WALLS[int(rng.integers(len(WALLS)))])
    _draw_place(canvas, rng)
    alone = len(outfits) == 1
    middles = [rng.uniform(54, WIDTH_PX - 54)] if alone else [rng.uniform(46, 56), rng.uniform(136, 146)]
    if alone and rng.random() < PASSER_BY_SHARE:
        _draw_passer_by(canvas, rng, away_from_px=middles[0])
    boxes = []
    for outfit, x_px in zip(outfits, middles, strict=True):
        unit = rng.uniform(58, 88) * wearer.height * (1.0 if alone else 0.88)
        canvas.place(x_px=x_px, y_px=rng.uniform(190, 202) - unit, unit_px=unit, tilt_degrees=rng.normal(0, 1.5))
        canvas.fill(oval(0, 0.98, 0.3, 0.04), INK, alpha=0.25)
        span = draw_figure(canvas, wearer, outfit, rng)
        boxes.append(_loosened(canvas.box(span), rng))
    return photograph(canvas, rng, roughness=0.9), boxes


def _draw_place(canvas: Canvas, rng: np.random.Generator) -> None:
    canvas.place(x_px=0, y_px=0, unit_px=WIDTH_PX)
    floor = FLOORS[int(rng.integers(len(FLOORS)))]
    line = rng.uniform(0.72, 0.88)
    canvas.fill([(0, line), (1, line), (1, 1.1), (0, 1.1)], floor)
    canvas.stroke([(0, line), (1, line)], mix(floor, INK, 0.3), width=0.012)
    for _ in range(int(rng.integers(2, 5))):
        THINGS[int(rng.integers(len(THINGS)))](canvas, rng, rng.uniform(0.04, 0.96), line)


def _draw_window(canvas: Canvas, rng: np.random.Generator, x: float, line: float) -> None:
    half, top, bottom = rng.uniform(0.07, 0.13), rng.uniform(0.06, 0.2), rng.uniform(0.36, 0.56)
    canvas.fill([(x - half, top), (x + half, top), (x + half, bottom), (x - half, bottom)], (150, 190, 214))
    for path in ([(x, top), (x, bottom)], [(x - half, bottom), (x + half, bottom)], [(x - half, top), (x + half, top)]):
        canvas.stroke(path, (250, 250, 246), width=0.018)


def _draw_plant(canvas: Canvas, rng: np.random.Generator, x: float, line: float) -> None:
    base = line + rng.uniform(0.05, 0.18)
    for lean in (-0.11, -0.05, 0.0, 0.05, 0.11):
        canvas.stroke([(x, base - 0.08), (x + lean, base - rng.uniform(0.18, 0.34))], (70, rng.integers(110, 160).item(), 84), width=0.035)
    canvas.fill([(x - 0.06, base - 0.1), (x + 0.06, base - 0.1), (x + 0.045, base + 0.02), (x - 0.045, base + 0.02)], (186, 106, 76))


def _draw_lamp(canvas: Canvas, rng: np.random.Generator, x: float, line: float) -> None:
    canvas.stroke([(x, 0.22), (x, line + 0.06)], (80, 84, 92), width=0.02)
    canvas.fill([(x - 0.03, 0.14), (x + 0.03, 0.14), (x + 0.07, 0.24), (x - 0.07, 0.24)], (250, 226, 150))


def _draw_poster(canvas: Canvas, rng: np.random.Generator, x: float, line: float) -> None:
    top, garments = rng.uniform(0.1, 0.3), CUTS[int(rng.integers(len(CUTS)))].colours
    canvas.fill([(x - 0.1, top), (x + 0.1, top), (x + 0.1, top + 0.26), (x - 0.1, top + 0.26)], garments[0])
    if rng.random() < 0.5:
        for step in (0.05, 0.1, 0.15, 0.2):
            canvas.stroke([(x - 0.1, top + step), (x + 0.1, top + step)], garments[1], width=0.016)
    else:
        canvas.fill(oval(x, top + 0.12, 0.06, 0.06), garments[1])


def _draw_crate(canvas: Canvas, rng: np.random.Generator, x: float, line: float) -> None:
    half, top = rng.uniform(0.06, 0.12), line - rng.uniform(0.0, 0.12)
    wood = CUTS[int(rng.integers(len(CUTS)))].colours[0]
    canvas.fill([(x - half, top), (x + half, top), (x + half, line + 0.1), (x - half, line + 0.1)], mix(wood, (150, 110, 80), 0.5))


THINGS = (_draw_window, _draw_plant, _draw_lamp, _draw_poster, _draw_crate)


def _draw_passer_by(canvas: Canvas, rng: np.random.Generator, *, away_from_px: float) -> None:
    """Somebody else, smaller and without a box or labels: what a model that sees the whole picture trips over."""
    stranger = meet_wearer(rng)
    clothes = choose_outfit(stranger, rng, daily=int(rng.integers(len(CUTS))), embellishment=int(rng.integers(3)))
    unit = rng.uniform(46, 66)
    x_px = rng.uniform(14, 44) if away_from_px > WIDTH_PX / 2 else rng.uniform(WIDTH_PX - 44, WIDTH_PX - 14)
    canvas.place(x_px=x_px, y_px=rng.uniform(176, 190) - unit, unit_px=unit)
    draw_figure(canvas, stranger, clothes, rng)


def _loosened(box: Box, rng: np.random.Generator) -> Box:
    """The box as a hand would draw it: up to three pixels too wide on each side, and never outside the picture."""
    left, top, right, bottom = rng.integers(0, 4, 4).tolist()
    return max(box[0] - left, 0), max(box[1] - top, 0), min(box[2] + right, WIDTH_PX), min(box[3] + bottom, HEIGHT_PX)
