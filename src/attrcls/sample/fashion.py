"""The fashion sample: FASCODE's layout, drawn: boxed figures in scenes, three labels each, the wearer as the group.

What goes in is a folder, a number of wearers and a seed. What comes out: `train.csv`, `test.csv`, their pictures and `truth.csv`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attrcls.sample.chance import chance, dealt
from attrcls.sample.folder import SampleSummary, new_folder, write_picture, write_table
from attrcls.sample.outfit import Outfit, choose_outfit, meet_wearer
from attrcls.sample.scene import Box, draw_scene

EVALUATION_SHARE = 0.3
FIGURES_PER_WEARER = 6
LABELS = {"Daily": 7, "Gender": 6, "Embellishment": 3}
HEADER = ("image_name", "BBox_xmin", "BBox_ymin", "BBox_xmax", "BBox_ymax", *LABELS, "wearer")
TRUTH_HEADER = ("split", "image_name", *LABELS, *(f"{label}_wrong" for label in LABELS))

DAILY_DECK = (0,) * 8 + (1,) * 5 + (2,) * 4 + (3,) * 3 + (4,) * 2 + (5, 6)
EMBELLISHMENT_DECK = (0,) * 13 + (1,) * 7 + (2,) * 4
# One label in 24 is wrong, in each column on its own: 4.2 %.
WRONG_DECK = (True,) + (False,) * 23
# Half of the wearers have one picture that shows them twice.
SHARED_PICTURE_DECK = (True, False)


@dataclass(frozen=True)
class _Row:
    """One boxed figure, with what the table says of it and what is true."""

    image_name: str
    box: Box
    said: tuple[int, ...]
    true: tuple[int, ...]
    wearer: str

    @property
    def wrong(self) -> tuple[int, ...]:
        return tuple(int(said != true) for said, true in zip(self.said, self.true, strict=True))


def draw_fashion(directory: Path, *, people: int = 120, seed: int = 0) -> SampleSummary:
    """Draw the fashion sample into `directory`: 6 boxed figures of each of `people` wearers, and a test set of 30 % as many wearers.

    Each wearer is a pure function of `seed` and their number. `truth.csv` has one row per row of train.csv, then of
    test.csv, in their order; a picture with two figures has two rows. Only the labels of the train split are ever wrong.

    Raises:
        UserError: the directory holds files already, or `people` or `seed` is out of range.
        AttrclsError: the folder cannot be written; nothing is left behind.
    """
    with new_folder(directory, people=people, seed=seed) as folder:
        train = _draw_split(folder, split="train", wearers=people, seed=seed)
        test = _draw_split(folder, split="test", wearers=round(people * EVALUATION_SHARE), seed=seed)
        truth = [(split, row.image_name, *row.true, *row.wrong) for split, rows in (("train", train), ("test", test)) for row in rows]
        write_table(folder / "truth.csv", TRUTH_HEADER, truth)
    return SampleSummary(
        directory=directory,
        people=people,
        images=len({row.image_name for row in train}),
        evaluation_images=len({row.image_name for row in test}),
        faults=sum(sum(row.wrong) for row in train),
        written=tuple(directory / name for name in ("train.csv", "train", "test.csv", "test", "truth.csv")),
    )


def _draw_split(folder: Path, *, split: str, wearers: int, seed: int) -> list[_Row]:
    (folder / split).mkdir(parents=True)
    rows = [row for index in range(wearers) for row in _draw_wearer(folder / split, split=split, index=index, seed=seed)]
    write_table(folder / f"{split}.csv", HEADER, [(row.image_name, *row.box, *row.said, row.wearer) for row in rows])
    return rows


def _draw_wearer(pictures: Path, *, split: str, index: int, seed: int) -> Iterator[_Row]:
    """Draw all pictures of one wearer, and give their rows."""
    rng = chance(seed, f"{split} wearer", index)
    wearer, name = meet_wearer(rng), f"{split}-{index + 1:05d}"
    first = index * FIGURES_PER_WEARER
    outfits = [
        choose_outfit(
            wearer,
            rng,
            daily=dealt(DAILY_DECK, seed=seed, stream=f"{split} daily", index=first + figure),
            embellishment=dealt(EMBELLISHMENT_DECK, seed=seed, stream=f"{split} embellishment", index=first + figure),
        )
        for figure in range(FIGURES_PER_WEARER)
    ]
    figure = 0
    for number, worn in enumerate(_spread(outfits, shared=dealt(SHARED_PICTURE_DECK, seed=seed, stream=f"{split} shared", index=index))):
        picture, boxes = draw_scene(wearer, worn, rng)
        image_name = f"{name}_{number + 1}.jpg"
        write_picture(pictures / image_name, picture)
        for outfit, box in zip(worn, boxes, strict=True):
            said = _said(outfit, rng, seed=seed, index=first + figure) if split == "train" else outfit.labels
            yield _Row(image_name, box, said=said, true=outfit.labels, wearer=name)
            figure += 1


def _spread(outfits: list[Outfit], *, shared: bool) -> list[list[Outfit]]:
    """Outfits over pictures: one each, or the first two together."""
    if shared:
        return [outfits[:2], *([outfit] for outfit in outfits[2:])]
    return [[outfit] for outfit in outfits]


def _said(outfit: Outfit, rng: np.random.Generator, *, seed: int, index: int) -> tuple[int, ...]:
    """The labels with the planted faults: a wrong label is any other class of its column, each as likely."""
    said = []
    for (label, classes), true in zip(LABELS.items(), outfit.labels, strict=True):
        is_wrong = dealt(WRONG_DECK, seed=seed, stream=f"wrong {label}", index=index)
        said.append((true + int(rng.integers(1, classes))) % classes if is_wrong else true)
    return tuple(said)
