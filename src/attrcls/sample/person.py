"""Who a drawn face belongs to: gender and age go in, a person comes out whose looks only hint at both.

Every cue hangs on two hidden numbers, how soft the person looks and how old, and both are off by chance.
That chance is the ceiling of any classifier: gender can be told from the looks of about 95 people in 100.
"""

from dataclasses import dataclass

import numpy as np

from attrcls.sample.canvas import Colour, mix

MALE, FEMALE = 0, 1

SKINS: tuple[Colour, ...] = ((255, 224, 196), (246, 205, 170), (236, 188, 148), (214, 160, 116), (178, 122, 82), (134, 88, 58))
HAIRS: tuple[Colour, ...] = ((38, 30, 32), (62, 42, 34), (98, 62, 40), (146, 92, 50), (196, 148, 84), (150, 66, 40))
GREY: Colour = (206, 206, 210)
CLOTHES: tuple[Colour, ...] = ((232, 98, 92), (70, 110, 160), (92, 160, 130), (240, 190, 90), (120, 96, 160), (60, 66, 82), (236, 236, 232))
HARD_CLOTHES: tuple[Colour, ...] = ((58, 74, 104), (78, 84, 92), (86, 108, 92), (120, 132, 146), (44, 48, 58))
SOFT_CLOTHES: tuple[Colour, ...] = ((238, 160, 168), (190, 150, 210), (246, 214, 150), (236, 110, 110), (160, 208, 196))
BACKDROPS: tuple[Colour, ...] = ((206, 226, 238), (244, 224, 202), (216, 236, 214), (232, 218, 240), (250, 238, 206), (196, 204, 214))
EYES: tuple[Colour, ...] = ((70, 46, 34), (50, 36, 30), (64, 96, 140), (84, 120, 84))


@dataclass(frozen=True)
class Person:
    """An identity: everything that stays the same over one person's pictures. Shares run from 0 to 1."""

    gender: int
    age: int
    skin: Colour
    hair: Colour
    brow: Colour
    eyes: Colour
    clothes: Colour
    backdrop: Colour
    backdrop_style: int
    hair_length: float
    hair_volume: float
    fringe: int
    has_bun: bool
    recession: float
    jaw: float
    roundness: float
    brow_width: float
    eye_size: float
    lashes: float
    lips: float
    lip_tint: float
    nose: float
    beard: float
    wrinkles: float
    blush: float
    has_freckles: bool
    has_earrings: bool
    collar: int
    glasses: int


def meet_person(rng: np.random.Generator, *, gender: int, age: int) -> Person:
    """Draw a person of the given gender (0 male, 1 female) and age in years from `rng`."""
    softness = (0.95 if gender == FEMALE else -0.95) + rng.normal(0, 0.58)
    looks_aged = age + rng.normal(0, 4.0)
    greyness = _share((looks_aged - 33) / 34 + rng.normal(0, 0.1))
    # Old men lose hair and old women cut theirs, so hair length tells less of gender there.
    length = _squash(1.3 * softness + rng.normal(0, 0.9) - 0.02 * max(looks_aged - 45, 0))
    natural = mix(_pick(rng, HAIRS), _pick(rng, HAIRS), rng.uniform(0, 0.35))
    wardrobe = SOFT_CLOTHES if softness + rng.normal(0, 1.2) > 0.6 else HARD_CLOTHES if softness + rng.normal(0, 1.2) < -0.6 else CLOTHES
    return Person(
        gender=gender,
        age=age,
        skin=mix(_pick(rng, SKINS), _pick(rng, SKINS), rng.uniform(0, 0.4)),
        hair=mix(natural, GREY, greyness),
        brow=mix(mix(natural, (30, 24, 24), 0.25), GREY, 0.6 * greyness),
        eyes=_pick(rng, EYES),
        clothes=mix(_pick(rng, wardrobe), (128, 128, 128), rng.uniform(0, 0.2)),
        backdrop=mix(_pick(rng, BACKDROPS), _pick(rng, BACKDROPS), rng.uniform(0, 1)),
        backdrop_style=int(rng.integers(4)),
        hair_length=length,
        hair_volume=_share(rng.normal(0.5, 0.2) - 0.006 * max(looks_aged - 50, 0)),
        fringe=int(rng.integers(4)),
        has_bun=bool(length > 0.55 and rng.random() < 0.14 + 0.1 * (looks_aged > 50)),
        recession=_share((looks_aged - 40) / 45 - 0.35 * softness + rng.normal(-0.1, 0.2)),
        jaw=_squash(-1.1 * softness + rng.normal(0, 0.8)),
        roundness=_share(0.9 - (looks_aged - 15) / 50 + rng.normal(0, 0.12)),
        brow_width=_squash(-1.0 * softness + rng.normal(0, 0.9)),
        eye_size=_share(0.5 + 0.12 * softness - (looks_aged - 38) / 60 + rng.normal(0, 0.1)),
        lashes=_share(0.4 + 0.4 * softness + rng.normal(0, 0.35)),
        lips=_squash(0.9 * softness + rng.normal(0, 0.9)),
        lip_tint=_share(0.25 + 0.3 * softness + rng.normal(0, 0.25)),
        nose=_share(0.45 - 0.1 * softness + (looks_aged - 35) / 120 + rng.normal(0, 0.18)),
        beard=_share(-0.75 * softness - 0.35 + rng.normal(0, 0.35)) if looks_aged > 20 else 0.0,
        wrinkles=_share((looks_aged - 25) / 32 + rng.normal(0, 0.07)),
        blush=_share(0.6 - (looks_aged - 18) / 60 + 0.15 * softness + rng.normal(0, 0.2)),
        has_freckles=bool(looks_aged < 40 and rng.random() < 0.15),
        has_earrings=bool(rng.random() < 0.3 * _squash(1.5 * softness)),
        collar=int(rng.integers(3)),
        glasses=int(rng.integers(1, 3)) if rng.random() < (0.12 if looks_aged < 40 else 0.45) else 0,
    )


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _share(value: float) -> float:
    return float(min(max(value, 0.0), 1.0))


def _squash(value: float) -> float:
    return float(1 / (1 + np.exp(-1.6 * value)))
