"""Verdicts and their manifest go in; what the review page shows comes out, ready for JSON.

A *suspect* is one verdict: one label of one row. A *card* is what a person decides at once: one suspect, or all
suspects of one group where the attribute is constant in a group. A picture is kept once, however many cards show it.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attrcls.data.images import Box
from attrcls.data.manifest import Manifest
from attrcls.errors import UserError
from attrcls.report.thumbnails import make_thumbnail
from attrcls.types import MISSING

TEXTS = ("card", "row_id", "path", "head", "given_label", "suggested_label", "decision", "reason")
NUMBERS = ("suggested_confidence", "label_score", "aum", "threshold")
MOST_IN_GROUP = 12
# The longer side in pixels by the number of pictures: few may be large, many must not make a page that no browser opens.
SIDES_PX = ((800, 224), (2_500, 160), (math.inf, 112))
MOST_BYTES = 64_000_000
DRAWN_AT_ONCE = 256

Json = dict[str, Any]
Source = tuple[str, str, Box | None]


@dataclass(frozen=True)
class ReviewData:
    """What the page is given: `suspects` by head and then as in the manifest, `cards` by head and then worst first.

    `pictures` are `data:` URIs, blank where one could not be read (`unreadable`) or would have made the page too large
    (`left_out`). `digest` is of the suspects' keys and labels and of the classes: a page's name for its decisions.
    """

    digest: str
    classes: dict[str, list[str]]
    suspects: list[Json]
    cards: list[Json]
    pictures: list[str]
    unreadable: int
    left_out: int


def gather_suspects(verdicts: pd.DataFrame, *, manifest: Manifest, grouped: Collection[str], most_bytes: int = MOST_BYTES) -> ReviewData:
    """Join verdicts to the rows and pictures of `manifest`.

    `grouped` names the heads whose attribute is constant in a group. Once about `most_bytes` of thumbnails are made,
    the others are left out; the pictures of suspects come before those that only stand beside them.

    Raises:
        UserError: a verdict column is missing, or a verdict's row or head is not in the manifest.
    """
    table = _locate(verdicts, manifest)
    suspects = [_suspect(row) for row in table.to_dict("records")]
    heads = dict.fromkeys(table["head"])
    classes = {head: list(manifest.classes[head]) for head in heads}
    pictures = _Pictures(manifest.roots, _list_sources(manifest))
    cards = [card for head in heads for card in _cards(table, head, manifest=manifest, pictures=pictures, grouped=head in grouped)]
    uris, unreadable, left_out = pictures.draw(most_bytes=most_bytes)
    return ReviewData(_digest(suspects, classes), classes, suspects, cards, uris, unreadable, left_out)


def _locate(verdicts: pd.DataFrame, manifest: Manifest) -> pd.DataFrame:
    """The verdicts with the `position` of their row in the manifest, by head and then in its order."""
    if missing := [column for column in (*TEXTS, *NUMBERS) if column not in verdicts]:
        raise UserError(f"the verdicts lack the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; clean the labels again")
    keys = pd.MultiIndex.from_frame(manifest.frame[["card", "row_id"]].astype(str))
    positions = keys.get_indexer(pd.MultiIndex.from_frame(verdicts[["card", "row_id"]].astype(str)))
    heads = list(manifest.classes)
    strange = np.flatnonzero((positions < 0) | ~verdicts["head"].isin(heads).to_numpy())
    if strange.size:
        card, row_id, head = verdicts.iloc[strange[0]][["card", "row_id", "head"]]
        raise UserError(f"the verdict on {head} of row {row_id!r} of {card} is of no row or head of the data; clean the labels of these data again")
    table = verdicts.assign(position=positions, place=verdicts["head"].map(heads.index))
    return table.sort_values(["place", "position"], kind="stable", ignore_index=True)


def _suspect(row: Mapping[Any, Any]) -> Json:
    texts = {name: "" if pd.isna(row[name]) else str(row[name]) for name in TEXTS}
    # JSON has no NaN.
    numbers = {name: round(float(row[name]), 6) if np.isfinite(float(row[name])) else None for name in NUMBERS}
    return texts | numbers


def _cards(table: pd.DataFrame, head: str, *, manifest: Manifest, pictures: "_Pictures", grouped: bool) -> Iterator[Json]:
    """The cards of one head, the one with the lowest label score first, and those without a score last."""
    rows = table[table["head"] == head]
    frame = manifest.frame.iloc[rows["position"]]
    # A row without a group is a card of its own.
    alone = rows["position"].astype(str).to_numpy()
    keys = np.where(frame["group"] != "", "group " + frame["group"], alone) if grouped else alone
    worst = rows["label_score"].astype(float).groupby([frame["card"].to_numpy(), keys], sort=False)
    order = worst.min().sort_values(kind="stable", na_position="last").index
    members = worst.indices
    in_group = manifest.frame.groupby(["card", "group"], sort=False).indices if grouped else {}
    targets = manifest.targets(head)
    for card, key in order:
        own = rows.iloc[members[card, key]]
        suspect_at = dict(zip(own["position"].tolist(), own.index.tolist(), strict=True))
        group = str(manifest.frame["group"].iat[next(iter(suspect_at))]) if grouped else ""
        around = np.asarray(in_group[card, group]).tolist() if group else [*suspect_at]
        shown = _choose(around, suspect_at)
        yield {
            "head": head,
            "group": group.removeprefix(f"{card}:"),
            "suspects": list(suspect_at.values()),
            "pictures": [
                {
                    "picture": pictures.add(position, suspect=position in suspect_at),
                    "suspect": suspect_at.get(position),
                    "path": str(manifest.frame["path"].iat[position]),
                    "given": "" if targets[position] == MISSING else manifest.classes[head][targets[position]],
                }
                for position in shown
            ],
            "hidden": len(around) - len(shown),
        }


def _choose(around: list[int], suspect_at: Collection[int]) -> list[int]:
    """At most `MOST_IN_GROUP` rows of a group in their order: suspects first when it comes to choosing."""
    by_need = sorted(around, key=lambda position: position not in suspect_at)
    return sorted(by_need[:MOST_IN_GROUP])


def _digest(suspects: list[Json], classes: dict[str, list[str]]) -> str:
    keys = [[suspect[name] for name in ("card", "row_id", "head", "given_label", "suggested_label")] for suspect in suspects]
    return hashlib.sha256(json.dumps([keys, classes]).encode()).hexdigest()[:16]


def _list_sources(manifest: Manifest) -> list[Source]:
    """Each row's picture: card, path, and box where there is one."""
    boxes = [None if np.isnan(box).any() else (box[0], box[1], box[2], box[3]) for box in manifest.boxes()]
    return list(zip(manifest.frame["card"], manifest.frame["path"], boxes, strict=True))


@dataclass
class _Pictures:
    """The pictures that cards ask for, each known by file and box, in the order in which they were first asked for."""

    roots: Mapping[str, Path]
    sources: list[Source]
    places: dict[Source, int] = field(default_factory=dict)
    of_suspects: set[int] = field(default_factory=set)

    def add(self, position: int, *, suspect: bool) -> int:
        """The index of the picture of the row at `position`."""
        place = self.places.setdefault(self.sources[position], len(self.places))
        if suspect:
            self.of_suspects.add(place)
        return place

    def draw(self, *, most_bytes: int) -> tuple[list[str], int, int]:
        """The URIs by index, how many pictures could not be read, and how many were left out."""
        px = next(side for most, side in SIDES_PX if len(self.places) <= most)
        wanted = list(self.places)
        queue = sorted(range(len(wanted)), key=lambda place: place not in self.of_suspects)
        uris = [""] * len(wanted)
        used = unreadable = drawn = 0

        def make(place: int) -> str | None:
            card, path, box = wanted[place]
            return make_thumbnail(self.roots.get(card), path, box=box, px=px)

        # Decoders let go of the interpreter's lock, so threads draw side by side; a batch at a time keeps to the limit.
        with ThreadPoolExecutor() as pool:
            while drawn < len(queue) and used < most_bytes:
                batch = queue[drawn : drawn + DRAWN_AT_ONCE]
                for place, uri in zip(batch, pool.map(make, batch), strict=True):
                    uris[place] = uri or ""
                    used += len(uris[place])
                    unreadable += uri is None
                drawn += len(batch)
        return uris, unreadable, len(queue) - drawn
