"""Drawing one dressed figure on a canvas that is already placed: y = -1 is the crown, y = 1 the ground."""

import numpy as np

from attrcls.sample.canvas import Canvas, Colour, Outline, mirrored, mix, oval, smooth
from attrcls.sample.embellishment import draw_embellishment
from attrcls.sample.outfit import CUTS, SHOULDER_Y, WAIST_Y, Outfit, Wearer

INK: Colour = (48, 38, 44)
WHITE: Colour = (250, 250, 246)
HEAD_Y = -0.83
HIP_Y, FOOT_Y = -0.1, 0.93


def draw_figure(canvas: Canvas, wearer: Wearer, outfit: Outfit, rng: np.random.Generator) -> Outline:
    """Draw the figure in a pose that `rng` chooses; gives points that span it, for its bounding box."""
    stance, swing = rng.uniform(0.07, 0.14), rng.uniform(0.03, 0.16, 2)
    _draw_back_hair(canvas, wearer, outfit)
    _draw_legs(canvas, wearer, outfit, stance=stance)
    reach = _draw_lower(canvas, outfit, stance=stance)
    hands = _draw_arms(canvas, wearer, outfit, swing=swing)
    _draw_top(canvas, outfit)
    _draw_detail(canvas, outfit)
    draw_embellishment(canvas, outfit)
    _draw_head(canvas, wearer, outfit)
    if outfit.has_bag:
        _draw_bag(canvas, outfit, hand=hands[1])
    side = max(reach, abs(hands[0][0]), abs(hands[1][0])) + 0.05
    return np.array([(-side, -1.02), (side, 1.0)])


def _draw_back_hair(canvas: Canvas, wearer: Wearer, outfit: Outfit) -> None:
    if outfit.hair_length > 0.3:
        end = -0.78 + 0.55 * outfit.hair_length
        canvas.fill(smooth(mirrored([(0, -1.0), (0.15, -0.94), (0.18, -0.8), (0.17, end), (0.05, end + 0.03)])), mix(wearer.hair, INK, 0.2))


def _draw_legs(canvas: Canvas, wearer: Wearer, outfit: Outfit, *, stance: float) -> None:
    boots = outfit.daily == 4
    shoe = mix(outfit.top, INK, 0.6) if outfit.daily != 2 else WHITE
    for side in (-1, 1):
        canvas.stroke([(side * 0.08, HIP_Y), (side * stance, FOOT_Y - 0.03)], wearer.skin, width=0.1)
        heel = 0.05 * outfit.heel
        if boots:
            canvas.stroke([(side * stance, 0.68), (side * stance, FOOT_Y)], shoe, width=0.13)
        canvas.fill(
            smooth(
                [
                    (side * (stance - 0.06), 0.9 - heel),
                    (side * (stance + 0.04), 0.9 - heel),
                    (side * (stance + 0.13), 0.97),
                    (side * (stance - 0.06), 0.97),
                ]
            ),
            shoe,
        )
        if outfit.heel > 0.3:
            canvas.stroke([(side * (stance - 0.05), 0.9), (side * (stance - 0.05), 0.99)], shoe, width=0.03)


def _draw_lower(canvas: Canvas, outfit: Outfit, *, stance: float) -> float:
    """Draw what is worn below the waist; gives half its width."""
    hip, kind = outfit.waist + 0.045, outfit.lower_kind
    if kind in ("skirt", "pencil", "gown", "robe"):
        hem, breadth = {"skirt": (0.3, 0.3), "pencil": (0.42, 0.19), "gown": (0.88, 0.36), "robe": (0.9, 0.4)}[kind]
        canvas.fill(
            smooth(
                mirrored(
                    [
                        (0, WAIST_Y - 0.02),
                        (outfit.waist, WAIST_Y),
                        (hip + 0.02, HIP_Y + 0.05),
                        (breadth, hem - 0.03),
                        (breadth * 0.6, hem + 0.02),
                    ]
                )
            ),
            outfit.lower,
        )
        for x in (-0.5, 0.0, 0.5):
            canvas.stroke([(x * outfit.waist, HIP_Y), (x * breadth, hem)], mix(outfit.lower, INK, 0.2), width=0.015, alpha=0.7)
        return breadth
    end, width = {"trousers": (0.86, 0.14), "shorts": (0.3, 0.16), "leggings": (0.84, 0.11), "joggers": (0.84, 0.17)}[kind]
    canvas.fill(mirrored([(0, WAIST_Y), (outfit.waist, WAIST_Y), (hip, HIP_Y), (hip, HIP_Y + 0.08), (0, HIP_Y + 0.12)]), outfit.lower)
    for side in (-1, 1):
        share = (end - HIP_Y) / (FOOT_Y - HIP_Y)
        knee = 0.08 + (stance - 0.08) * share
        half = width / 2
        leg = [(0.0, HIP_Y), (side * hip, HIP_Y), (side * (knee + half), end), (side * (knee - half), end)]
        canvas.fill(leg, outfit.lower)
        if kind == "joggers":
            canvas.stroke([(side * (knee - half), end), (side * (knee + half), end)], outfit.accent, width=0.04)
        if outfit.daily == 2:
            canvas.stroke([(side * (hip - 0.02), HIP_Y), (side * (knee + half - 0.02), end)], WHITE, width=0.03)
    return stance + 0.14


def _draw_arms(canvas: Canvas, wearer: Wearer, outfit: Outfit, *, swing: Outline) -> tuple[tuple[float, float], tuple[float, float]]:
    sleeve = CUTS[outfit.daily].sleeve
    wide = outfit.daily in (4, 6)
    hands = []
    for side, out in zip((-1, 1), swing, strict=True):
        start, hand = np.array([side * (outfit.shoulder - 0.02), SHOULDER_Y + 0.06]), np.array([side * (outfit.shoulder + out), -0.02])
        elbow = (start + hand) / 2 + (side * 0.03, 0)
        canvas.stroke([start, elbow, hand], wearer.skin, width=0.075)
        canvas.fill(oval(float(hand[0]), float(hand[1]), 0.05, 0.055), wearer.skin)
        cuff = start + (hand - start) * min(sleeve, 0.9)
        line = [start, elbow, cuff] if sleeve > 0.5 else [start, cuff]
        canvas.stroke(line, mix(outfit.top, INK, 0.1), width=0.15 if wide else 0.11)
        hands.append((float(hand[0]), float(hand[1])))
    return hands[0], hands[1]


def _draw_top(canvas: Canvas, outfit: Outfit) -> None:
    at = [(outfit.half_width(y), y) for y in (SHOULDER_Y + 0.04, WAIST_Y, outfit.hem)]
    canvas.fill(mirrored([(0.05, SHOULDER_Y - 0.03), (outfit.shoulder - 0.05, SHOULDER_Y - 0.01), *at]), outfit.top)


def _draw_detail(canvas: Canvas, outfit: Outfit) -> None:
    detail, dark = CUTS[outfit.daily].detail, mix(outfit.top, INK, 0.35)
    if detail == "lapels":
        canvas.fill([(-0.07, SHOULDER_Y - 0.03), (0.07, SHOULDER_Y - 0.03), (0, WAIST_Y - 0.06)], WHITE)
        for side in (-1, 1):
            canvas.fill([(side * 0.07, SHOULDER_Y - 0.03), (side * 0.12, SHOULDER_Y + 0.12), (0, WAIST_Y - 0.06)], dark)
        canvas.stroke([(0, WAIST_Y - 0.06), (0, outfit.hem)], dark, width=0.02)
    elif detail == "side stripe":
        for side in (-1, 1):
            canvas.stroke(
                [
                    (side * (outfit.shoulder - 0.03), SHOULDER_Y + 0.02),
                    (side * (outfit.waist - 0.02), WAIST_Y),
                    (side * outfit.waist, outfit.hem),
                ],
                WHITE,
                width=0.035,
            )
    elif detail == "pocket":
        canvas.fill(oval(0, SHOULDER_Y - 0.02, 0.13, 0.06), dark)
        canvas.fill([(-0.1, -0.22), (0.1, -0.22), (0.14, -0.1), (-0.14, -0.1)], dark, alpha=0.7)
    elif detail == "zip":
        canvas.fill(oval(0, SHOULDER_Y - 0.03, 0.17, 0.07), dark)
        canvas.stroke([(0, SHOULDER_Y), (0, outfit.hem)], (236, 220, 150), width=0.025)
        for y in (-0.4, -0.18):
            canvas.stroke([(-outfit.half_width(y), y), (outfit.half_width(y), y)], dark, width=0.015)
    elif detail == "bow":
        canvas.fill([(-0.09, SHOULDER_Y - 0.02), (0.09, SHOULDER_Y + 0.06), (0.09, SHOULDER_Y - 0.02), (-0.09, SHOULDER_Y + 0.06)], (244, 214, 120))
    elif detail == "sash":
        canvas.fill([(-outfit.waist, -0.36), (outfit.waist, -0.36), (outfit.waist, -0.24), (-outfit.waist, -0.24)], (244, 206, 96))
        canvas.stroke([(-0.12, SHOULDER_Y), (0.06, -0.36)], WHITE, width=0.04)
        canvas.stroke([(0.12, SHOULDER_Y), (-0.06, -0.36)], WHITE, width=0.04)


def _draw_head(canvas: Canvas, wearer: Wearer, outfit: Outfit) -> None:
    canvas.stroke([(0, HEAD_Y), (0, SHOULDER_Y + 0.01)], mix(wearer.skin, INK, 0.12), width=0.09)
    canvas.fill(oval(0, HEAD_Y, 0.125, 0.145), wearer.skin)
    for side in (-1, 1):
        canvas.fill(oval(side * 0.048, HEAD_Y + 0.01, 0.016, 0.02), INK)
        canvas.fill(oval(side * 0.075, HEAD_Y + 0.055, 0.024, 0.016), (240, 120, 120), alpha=0.5)
    canvas.stroke(oval(0, HEAD_Y + 0.06, 0.035, 0.025, start=20, stop=160), (170, 60, 66), width=0.018)
    temple = HEAD_Y - 0.04 + 0.12 * (outfit.hair_length > 0.3)
    crown = oval(0, HEAD_Y - 0.03, 0.14, 0.145, start=180, stop=360)
    canvas.fill(
        np.concatenate([crown, [(0.14, temple), (0.11, temple), (0.1, HEAD_Y - 0.06), (-0.04, HEAD_Y - 0.09), (-0.11, temple), (-0.14, temple)]]),
        wearer.hair,
    )


def _draw_bag(canvas: Canvas, outfit: Outfit, *, hand: tuple[float, float]) -> None:
    x, y = hand
    leather = mix(outfit.accent, (130, 80, 50), 0.6)
    canvas.stroke(oval(x, y + 0.04, 0.05, 0.08, start=180, stop=360), leather, width=0.02)
    canvas.fill([(x - 0.08, y + 0.05), (x + 0.08, y + 0.05), (x + 0.1, y + 0.2), (x - 0.1, y + 0.2)], leather)
