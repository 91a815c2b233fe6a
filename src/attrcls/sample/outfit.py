"""Who wears what in the fashion sample: wearers, their outfits, and how the three labels shape both.

Daily (0 to 6) is an occasion and sets the cut and the palette; Gender (0 to 5) runs from masculine to feminine and shifts
the figure, hair, shoes and cut; Embellishment (0 to 2) is none, a pattern, or an applied motif.
"""

from dataclasses import dataclass

import numpy as np

from attrcls.sample.canvas import Colour, mix
from attrcls.sample.person import HAIRS, SKINS

MOST_FEMININE = 5
SHOULDER_Y, WAIST_Y = -0.64, -0.28
# How often a garment comes in the colours of another occasion.
BORROWED_PALETTE_SHARE = 0.15
GREY: Colour = (128, 128, 128)


@dataclass(frozen=True)
class Cut:
    """The silhouette of an occasion: heights in figure units (shoulders -0.64, waist -0.28, feet 0.95), sleeves 0 to 1."""

    hem: float
    flare: float
    sleeve: float
    lower: str
    soft_lower: str
    detail: str
    colours: tuple[Colour, ...]


CASUAL = Cut(-0.06, 0.02, 0.35, "trousers", "skirt", "plain", ((236, 96, 84), (250, 204, 92), (96, 170, 220), (240, 240, 236), (120, 190, 140)))
OFFICE = Cut(0.02, 0.03, 1.0, "trousers", "pencil", "lapels", ((58, 70, 100), (98, 100, 110), (196, 178, 150), (70, 60, 66)))
SPORT = Cut(-0.1, 0.0, 0.3, "shorts", "leggings", "side stripe", ((255, 120, 40), (60, 200, 190), (240, 60, 120), (150, 220, 60)))
LOUNGE = Cut(-0.02, 0.06, 1.0, "joggers", "joggers", "pocket", ((206, 196, 216), (190, 210, 206), (226, 208, 190), (180, 186, 200)))
OUTDOOR = Cut(0.2, 0.09, 1.0, "trousers", "leggings", "zip", ((120, 128, 76), (200, 120, 50), (70, 100, 90), (150, 50, 50)))
EVENING = Cut(0.02, 0.01, 0.9, "trousers", "gown", "bow", ((110, 24, 50), (40, 34, 60), (30, 80, 80), (30, 30, 36)))
CEREMONY = Cut(-0.2, 0.02, 0.8, "robe", "robe", "sash", ((220, 70, 100), (90, 120, 200), (240, 220, 180), (120, 70, 140)))
CUTS = (CASUAL, OFFICE, SPORT, LOUNGE, OUTDOOR, EVENING, CEREMONY)
JEANS: tuple[Colour, ...] = ((70, 92, 136), (50, 56, 72), (120, 108, 92))


@dataclass(frozen=True)
class Wearer:
    """An identity: what stays the same over one wearer's pictures. `lean` is the usual Gender label of their clothes."""

    skin: Colour
    hair: Colour
    build: float
    height: float
    lean: int


@dataclass(frozen=True)
class Outfit:
    """One set of clothes with its three true labels. Shares run from 0 to 1; `motif` chooses among three of a kind."""

    daily: int
    gender: int
    embellishment: int
    top: Colour
    lower: Colour
    accent: Colour
    lower_kind: str
    hem: float
    shoulder: float
    waist: float
    hair_length: float
    heel: float
    has_bag: bool
    motif: int

    @property
    def labels(self) -> tuple[int, int, int]:
        """The true class ids (Daily, Gender, Embellishment)."""
        return self.daily, self.gender, self.embellishment

    def half_width(self, y: float) -> float:
        """Half the width of the upper garment at height y, in figure units."""
        hem_width = self.waist + 0.05 + CUTS[self.daily].flare
        return float(np.interp(y, (SHOULDER_Y, WAIST_Y, self.hem), (self.shoulder, self.waist, hem_width)))


def meet_wearer(rng: np.random.Generator) -> Wearer:
    """Draw a wearer; feminine clothes are commoner in the sample than masculine ones."""
    return Wearer(
        skin=mix(SKINS[int(rng.integers(len(SKINS)))], SKINS[int(rng.integers(len(SKINS)))], 0.4),
        hair=HAIRS[int(rng.integers(len(HAIRS)))],
        build=float(np.clip(rng.normal(0, 0.02), -0.04, 0.05)),
        height=rng.uniform(0.92, 1.05),
        lean=int(rng.choice(MOST_FEMININE + 1, p=(0.16, 0.14, 0.1, 0.12, 0.2, 0.28))),
    )


def choose_outfit(wearer: Wearer, rng: np.random.Generator, *, daily: int, embellishment: int) -> Outfit:
    """Dress `wearer` for the occasion `daily`; the Gender label strays by at most one from what they usually wear."""
    gender = int(np.clip(wearer.lean + rng.choice((-1, 0, 1), p=(0.15, 0.7, 0.15)), 0, MOST_FEMININE))
    softness = gender / MOST_FEMININE + rng.normal(0, 0.035)
    cut = CUTS[daily]
    palette = CUTS[int(rng.integers(len(CUTS)))].colours if rng.random() < BORROWED_PALETTE_SHARE else cut.colours
    top = mix(palette[int(rng.integers(len(palette)))], GREY, rng.uniform(0, 0.2))
    is_soft = rng.random() < softness - 0.15
    kind = cut.soft_lower if is_soft else cut.lower
    whole = kind in ("gown", "robe") or (cut is OFFICE and rng.random() < 0.7)
    shoulder = 0.258 - 0.072 * softness + wearer.build
    return Outfit(
        daily=daily,
        gender=gender,
        embellishment=embellishment,
        top=top,
        lower=mix(top, (30, 30, 40), 0.12) if whole else mix(JEANS[int(rng.integers(len(JEANS)))], top, 0.1),
        accent=mix((252, 248, 236), palette[int(rng.integers(len(palette)))], 0.15) if sum(top) < 420 else mix(top, (60, 40, 60), 0.65),
        lower_kind=kind,
        hem=cut.hem + rng.normal(0, 0.03),
        shoulder=shoulder,
        waist=shoulder - 0.02 - 0.075 * softness + rng.normal(0, 0.006),
        hair_length=float(np.clip(softness + rng.normal(0, 0.06), 0, 1)),
        heel=float(np.clip(softness * 1.2 - 0.3 + rng.normal(0, 0.1), 0, 1)),
        has_bag=bool(rng.random() < 0.6 * (softness - 0.2)),
        motif=int(rng.integers(3)),
    )
