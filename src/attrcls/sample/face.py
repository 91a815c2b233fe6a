"""Drawing one photograph of one person: a flat cartoon portrait, posed and lit by chance, with or without a mask.

The face's own units: the origin between eyes and nose, half a face is about 0.85 wide, the chin lies at y = 1.1.
"""

import numpy as np

from attrcls.sample.canvas import Canvas, Colour, Outline, Picture, mirrored, mix, oval, photograph, smooth
from attrcls.sample.facemask import FaceMask, draw_mask
from attrcls.sample.person import Person

WIDTH_PX, HEIGHT_PX = 96, 128
INK: Colour = (52, 38, 40)
WHITE: Colour = (250, 250, 248)
LIP: Colour = (206, 84, 92)


def draw_face(person: Person, mask: FaceMask | None, rng: np.random.Generator) -> Picture:
    """One picture of `person`, RGB uint8 of shape (128, 96, 3); `rng` chooses pose, mood, light and noise."""
    canvas = Canvas(width_px=WIDTH_PX, height_px=HEIGHT_PX, colour=mix(person.backdrop, WHITE, rng.uniform(0, 0.3)))
    _draw_backdrop(canvas, person)
    canvas.place(
        x_px=WIDTH_PX / 2 + rng.normal(0, 2.5),
        y_px=60 + rng.normal(0, 2.5),
        unit_px=rng.uniform(31, 37),
        tilt_degrees=rng.normal(0, 5),
    )
    turn = float(np.clip(rng.normal(0, 0.05), -0.12, 0.12))
    _draw_back_hair(canvas, person)
    _draw_body(canvas, person)
    _draw_head(canvas, person)
    _draw_marks(canvas, person, turn=turn)
    _draw_eyes(canvas, person, rng, turn=turn)
    _draw_nose_and_mouth(canvas, person, rng, turn=turn)
    if mask is not None:
        draw_mask(canvas, mask, jaw=person.jaw, turn=turn)
    _draw_front_hair(canvas, person)
    _draw_glasses(canvas, person, turn=turn)
    return photograph(canvas, rng)


def _draw_backdrop(canvas: Canvas, person: Person) -> None:
    canvas.place(x_px=0, y_px=0, unit_px=WIDTH_PX)
    shade = mix(person.backdrop, (90, 100, 130), 0.22)
    if person.backdrop_style == 0:
        canvas.fill(oval(0.5, 0.55, 0.46, 0.46), shade)
    elif person.backdrop_style == 1:
        canvas.fill([(0, 0.9), (1, 0.5), (1, 1.4), (0, 1.4)], shade)
    elif person.backdrop_style == 2:
        for left in (0.02, 0.3, 0.58, 0.86):
            canvas.fill([(left, 0), (left + 0.12, 0), (left + 0.12, 1.4), (left, 1.4)], shade, alpha=0.6)
    else:
        canvas.fill([(0.62, 0.08), (0.96, 0.08), (0.96, 0.55), (0.62, 0.55)], WHITE, alpha=0.8)
        canvas.stroke([(0.79, 0.08), (0.79, 0.55)], shade, width=0.02)
        canvas.stroke([(0.62, 0.31), (0.96, 0.31)], shade, width=0.02)


def _draw_back_hair(canvas: Canvas, person: Person) -> None:
    shadow = mix(person.hair, INK, 0.25)
    if person.has_bun:
        canvas.fill(oval(0, -1.38, 0.36, 0.32), shadow)
    if person.hair_length < 0.3:
        return
    breadth = 0.88 + 0.22 * person.hair_volume
    end = 0.15 + 1.75 * (person.hair_length - 0.3)
    half = [(0.0, -1.25), (0.6, -1.12), (breadth, -0.5), (breadth + 0.06, end * 0.5), (breadth + 0.02, end), (0.3, end + 0.14)]
    canvas.fill(smooth(mirrored(half)), shadow)


def _draw_body(canvas: Canvas, person: Person) -> None:
    shade = mix(person.skin, (120, 50, 40), 0.2)
    slope = 1.25 + 0.25 * person.jaw
    shoulders = [(0.0, 1.42), (0.36, 1.44), (0.85, 1.58), (slope, 1.85), (slope + 0.25, 3.0), (0.6, 3.1)]
    canvas.fill(smooth(mirrored(shoulders)), person.clothes)
    width = 0.36 + 0.1 * person.jaw
    canvas.fill([(-width, 0.7), (width, 0.7), (width + 0.06, 1.5), (0, 1.72), (-width - 0.06, 1.5)], shade)
    trim = mix(person.clothes, WHITE, 0.6)
    if person.collar == 0:
        canvas.fill([(0, 1.74), (0.42, 1.36), (0.62, 1.6), (0.25, 1.95)], trim)
        canvas.fill([(0, 1.74), (-0.42, 1.36), (-0.62, 1.6), (-0.25, 1.95)], trim)
    elif person.collar == 1:
        canvas.stroke(oval(0, 1.42, 0.48, 0.34, start=0, stop=180), trim, width=0.09)
    else:
        canvas.fill(smooth(mirrored([(0, 1.28), (0.4, 1.24), (0.5, 1.5), (0.3, 1.68)])), mix(person.clothes, INK, 0.15))


def _draw_head(canvas: Canvas, person: Person) -> None:
    for side in (-1, 1):
        canvas.fill(oval(side * 0.86, 0.08, 0.13, 0.2), mix(person.skin, (170, 70, 60), 0.18))
        if person.has_earrings:
            canvas.fill(oval(side * 0.9, 0.34, 0.06, 0.08), (246, 206, 90))
    canvas.fill(_head_outline(person), person.skin)
    if person.beard > 0.08:
        _draw_beard(canvas, person)


def _head_outline(person: Person) -> Outline:
    """The outline of the face: jaw and roundness shape its lower half."""
    cheek = 0.8 + 0.07 * person.roundness
    corner = 0.5 + 0.16 * person.jaw + 0.07 * person.roundness
    chin = 0.2 + 0.16 * person.jaw
    half = [(0.0, -1.14), (0.48, -1.03), (0.78, -0.62), (cheek, 0.0), (cheek - 0.06, 0.4), (corner, 0.82), (chin, 1.06), (0.0, 1.1)]
    return smooth(mirrored(half)[:-1])


def _draw_beard(canvas: Canvas, person: Person) -> None:
    half = [(0.0, 0.44), (0.3, 0.46), (0.62, 0.42), (0.76, 0.1), (0.74, 0.44), (0.52, 0.86), (0.24, 1.06), (0.0, 1.1)]
    canvas.fill(mirrored(half)[:-1], person.brow, alpha=min(0.15 + 0.75 * person.beard, 0.85))


def _draw_marks(canvas: Canvas, person: Person, *, turn: float) -> None:
    line = mix(person.skin, (96, 44, 36), 0.6)
    for side in (-1, 1):
        canvas.fill(oval(side * 0.5 + turn, 0.28, 0.2, 0.13), (240, 110, 110), alpha=0.42 * person.blush)
        if person.has_freckles:
            for x, y in ((0.34, 0.16), (0.46, 0.22), (0.58, 0.15)):
                canvas.fill(oval(side * x + turn, y, 0.025, 0.025), line, alpha=0.8)
    depth = person.wrinkles
    if depth < 0.12:
        return
    for row in range(1 + round(2 * depth)):
        y = -0.66 - 0.11 * row
        canvas.stroke(smooth([(-0.36 + turn, y + 0.02), (turn, y - 0.03), (0.36 + turn, y + 0.02)], closed=False), line, width=0.026, alpha=depth)
    for side in (-1, 1):
        for rise in (-0.07, 0.0, 0.07):
            canvas.stroke([(side * 0.56 + turn, -0.14 + rise), (side * 0.7 + turn, -0.16 + 2 * rise)], line, width=0.024, alpha=depth)
        canvas.stroke(oval(side * 0.34 + turn, -0.06, 0.19, 0.13, start=25, stop=155), line, width=0.028, alpha=0.9 * depth)
        canvas.stroke(smooth([(side * 0.2 + turn, 0.3), (side * 0.36, 0.46), (side * 0.4, 0.66)], closed=False), line, width=0.03, alpha=depth)


def _draw_eyes(canvas: Canvas, person: Person, rng: np.random.Generator, *, turn: float) -> None:
    wide, gaze, lift = 0.105 + 0.085 * person.eye_size, rng.normal(0, 0.025), rng.normal(0, 0.03)
    tall = wide * rng.uniform(0.7, 1.0)
    for side in (-1, 1):
        x, y = side * 0.34 + turn, -0.16
        canvas.fill(oval(x, y, wide, tall), WHITE)
        canvas.fill(oval(x + gaze, y, tall * 0.72, tall * 0.85), person.eyes)
        canvas.fill(oval(x + gaze, y, tall * 0.4, tall * 0.45), (20, 16, 18))
        canvas.fill(oval(x + gaze + 0.03, y - 0.04, 0.028, 0.028), WHITE)
        canvas.stroke(oval(x, y, wide * 1.05, tall * 1.05, start=190, stop=350), INK, width=0.03 + 0.03 * person.lashes)
        if person.lashes > 0.5:
            canvas.stroke([(x + side * wide, y - 0.03), (x + side * (wide + 0.09), y - 0.1)], INK, width=0.035)
        thick = 0.035 + 0.075 * person.brow_width
        brow = [(x - side * 0.17, y - 0.25 - lift), (x, y - 0.31 - lift), (x + side * 0.2, y - 0.22 - lift)]
        canvas.stroke(smooth(brow, closed=False), person.brow, width=thick)


def _draw_nose_and_mouth(canvas: Canvas, person: Person, rng: np.random.Generator, *, turn: float) -> None:
    shade = mix(person.skin, (130, 50, 40), 0.32)
    breadth = 0.09 + 0.08 * person.nose
    canvas.fill(smooth([(1.4 * turn, -0.1), (1.5 * turn + breadth, 0.27), (1.5 * turn, 0.34), (1.5 * turn - breadth, 0.27)]), shade, alpha=0.55)
    canvas.stroke(oval(1.5 * turn, 0.27, breadth, 0.07, start=20, stop=160), shade, width=0.04)
    smile, parted = rng.uniform(-0.02, 0.12), rng.random() < 0.3
    breadth, x, y = rng.uniform(0.22, 0.3), 1.2 * turn, 0.64
    lip = mix(mix(person.skin, (150, 60, 56), 0.4), LIP, person.lip_tint)
    full = 0.03 + 0.06 * person.lips
    corners = [(x - breadth, y - smile), (x + breadth, y - smile)]
    upper = [(x + 0.09, y - full), (x, y - 0.6 * full), (x - 0.09, y - full)]
    lower = [(x - 0.12, y + full + smile), (x + 0.12, y + full + smile)]
    canvas.fill(smooth([corners[0], *lower, corners[1], *upper]), lip)
    middle = smooth([corners[0], (x, y + 0.5 * smile), corners[1]], closed=False)
    canvas.stroke(middle, WHITE if parted else mix(lip, INK, 0.55), width=0.06 if parted else 0.03)


def _draw_front_hair(canvas: Canvas, person: Person) -> None:
    swell, back = 0.1 * person.hair_volume, 0.3 * person.recession
    if person.recession > 0.85 and person.hair_length < 0.5:
        for side in (-1, 1):
            canvas.fill(oval(side * 0.84, -0.28, 0.12, 0.34), person.hair)
        return
    tip = -0.05 if person.hair_length < 0.4 else 0.5 * person.hair_length
    crown = oval(0, -0.42, 0.9 + swell, 0.86 + swell, start=180, stop=360)
    fringes: tuple[list[tuple[float, float]], ...] = (
        [(0.62, -0.72), (0.1, -0.92), (-0.4, -0.72), (-0.62, -0.45)],
        [(0.62, -0.45), (0.4, -0.72), (-0.1, -0.92), (-0.62, -0.72)],
        [(0.66, -0.5), (0.3, -0.56), (-0.3, -0.56), (-0.66, -0.5)],
        [(0.68, -0.45), (0.3, -0.78), (0.0, -1.0), (-0.3, -0.78), (-0.68, -0.45)],
    )
    hairline = smooth([(x, max(y - back, -1.12)) for x, y in fringes[person.fringe]], closed=False)
    right, left = [(0.9 + swell, tip), (0.78, tip - 0.08)], [(-0.78, tip - 0.08), (-0.9 - swell, tip)]
    canvas.fill(np.concatenate([crown, right, hairline, left]), person.hair)
    canvas.stroke(oval(0.1, -0.55, 0.62, 0.5, start=215, stop=265), mix(person.hair, WHITE, 0.3), width=0.07, alpha=0.6)


def _draw_glasses(canvas: Canvas, person: Person, *, turn: float) -> None:
    if person.glasses == 0:
        return
    squash = 0.25 if person.glasses == 1 else 0.19
    canvas.stroke([(turn - 0.1, -0.16), (turn + 0.1, -0.16)], INK, width=0.04)
    for side in (-1, 1):
        canvas.fill(oval(side * 0.35 + turn, -0.14, 0.26, squash), WHITE, alpha=0.18)
        canvas.stroke(oval(side * 0.35 + turn, -0.14, 0.26, squash), INK, width=0.045)
        canvas.stroke([(side * 0.6 + turn, -0.17), (side * 0.86, -0.1)], INK, width=0.04)
