"""Which rows train and which are held back: given splits are honoured, groups never straddle.

The holding back is stratified jointly over all attributes, so that a scarce combination is spread too.
"""

import warnings
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from attrcls.data.leaks import Pairs, number_together, ties
from attrcls.data.manifest import Manifest
from attrcls.errors import UserError
from attrcls.types import MISSING

Ints = npt.NDArray[np.int64]

# The held-back share is met in steps of one part; twenty parts make 15 % exact.
PARTS = 20


def split_manifest(manifest: Manifest, *, share: float, seed: int, tied: Pairs | None = None, unlabelled: Collection[str] = ()) -> Manifest:
    """Every row gets a split: a given one stays, blank ones train, and `share` of a card's train groups is held back
    for validation where the card has no validation rows.

    `tied` `(pairs, 2)` are positions of rows that must stay together beside those of a group, such as copies of a picture; rows of other
    cards may be among them, and are held back with the first. Where a tied row's card has validation rows of its own, nothing of it moves.
    Of `unlabelled` cards nothing is held back for its own sake.

    Raises:
        UserError: a card has too few train groups (or rows, where it has no group) to hold any back.
    """
    splits = manifest.frame["split"].replace("", "train").to_numpy(dtype=object)
    groups = _group_codes(manifest) if tied is None else tied_codes(manifest, tied)
    cards = manifest.frame["card"].to_numpy()
    settled = np.isin(cards, np.unique(cards[splits == "val"]))
    movable = (splits == "train") & ~np.isin(groups, groups[settled])
    for card in manifest.frame["card"].unique():
        train = np.flatnonzero((cards == card) & movable & (splits == "train"))
        if len(train) and card not in unlabelled:
            held = _held_back(manifest.take(train), groups[train], share=share, seed=seed)
            splits[movable & np.isin(groups, groups[train[held]])] = "val"
    return manifest.with_columns(split=splits)


def number_folds(manifest: Manifest, *, folds: int, seed: int, tied: Pairs) -> Ints:
    """Each train row's fold, 0 to `folds` − 1, `MISSING` for rows of other splits: group-disjoint, stratified jointly over all attributes.

    `tied` as in `split_manifest`. Every fold has a row at least. Raises:
        UserError: there are fewer groups (or rows, where there is no group) than folds.
    """
    train = np.flatnonzero(manifest.frame["split"].to_numpy() == "train")
    groups = pd.factorize(tied_codes(manifest, tied)[train])[0].astype(np.int64)
    count = int(groups.max()) + 1 if len(train) else 0
    if count < folds:
        what = "groups" if (manifest.frame["group"] != "").any() else "pictures that stand alone"
        fix = f"ask for {count} folds or fewer" if count > 1 else "more data is needed"
        raise UserError(f"--folds {folds}: expected at least {folds} {what}, since none is cut apart, found {count}; {fix}")
    of_row = np.full(len(manifest), MISSING, dtype=np.int64)
    parts = _without_empty(_parts(manifest.take(train), groups, parts=folds, seed=seed), groups)
    for fold, rows in enumerate(parts):
        of_row[train[rows]] = fold
    return of_row


def _without_empty(parts: list[Ints], groups: Ints) -> list[Ints]:
    """The parts, in which one without rows has got the smallest group of the part that has the most groups.

    scikit-learn puts each group where it suits the classes best, and may leave a part with none.
    """
    parts = list(parts)
    for place, rows in enumerate(parts):
        if len(rows):
            continue
        giver = max(range(len(parts)), key=lambda each: len(np.unique(groups[parts[each]])))
        of_giver = groups[parts[giver]]
        names, sizes = np.unique(of_giver, return_counts=True)
        goes = of_giver == names[sizes.argmin()]
        parts[place], parts[giver] = parts[giver][goes], parts[giver][~goes]
    return parts


def fold_rows(manifest: Manifest, *, folds: int, seed: int) -> Ints:
    """Each row's fold, 0 to `folds` − 1: group-disjoint, stratified jointly over all attributes. Fewer folds where there
    are fewer groups."""
    groups = _group_codes(manifest)
    of_row = np.zeros(len(manifest), dtype=np.int64)
    folds = min(folds, int(groups.max()) + 1)
    if folds > 1:
        for fold, rows in enumerate(_parts(manifest, groups, parts=folds, seed=seed)):
            of_row[rows] = fold
    return of_row


def _held_back(manifest: Manifest, groups: Ints, *, share: float, seed: int) -> Ints:
    """Positions of the rows of one card to hold back: at least one group, and never all."""
    groups = pd.factorize(groups)[0]
    count = int(groups.max()) + 1
    if count < 2:
        what = "group" if (manifest.frame["group"] != "").any() else "row"
        raise UserError(f"card {manifest.frame['card'].iloc[0]}: expected at least 2 train {what}s to hold some back for validation, found {count}")
    if count < PARTS:
        parts = [np.flatnonzero(groups == group) for group in np.random.default_rng(seed).permutation(count)]
    else:
        parts = [rows for rows in _parts(manifest, groups, parts=PARTS, seed=seed) if len(rows)]
    return np.sort(np.concatenate(_nearest(parts, rows=share * len(manifest))))


def _nearest(parts: Sequence[Ints], *, rows: float) -> list[Ints]:
    """Of the parts, in their order, each that brings the sum nearer to so many rows and hardly above; at least the smallest, never all.

    A part may be one large group, of more rows than were asked for in all.
    """
    chosen: list[Ints] = []
    total, most = 0, rows + sum(map(len, parts)) / len(parts) / 2
    for part in parts:
        after = total + len(part)
        if len(chosen) < len(parts) - 1 and after <= most and abs(after - rows) <= abs(total - rows):
            chosen.append(part)
            total += len(part)
    return chosen or [min(parts, key=len)]


def _parts(manifest: Manifest, groups: Ints, *, parts: int, seed: int) -> list[Ints]:
    """The positions of the rows of each part: whole groups, at least as many as parts, stratified jointly over all attributes."""
    strata = _joint_labels(manifest)
    # StratifiedKFold refuses only when every stratum is smaller than the parts; then there is nothing to stratify by.
    if np.bincount(strata).max() < parts:
        strata = np.zeros_like(strata)
    # StratifiedGroupKFold goes from group to group in Python; where each row is a group of its own, there is no need.
    alone = int(groups.max()) + 1 == len(manifest)
    folder = (StratifiedKFold if alone else StratifiedGroupKFold)(n_splits=parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")
        return [rows for _, rows in folder.split(np.zeros(len(strata)), strata, None if alone else groups)]


def _group_codes(manifest: Manifest) -> Ints:
    """A number per row, equal within a group; a row with no group is a group of its own, rows of one picture are one."""
    frame = manifest.frame
    names = frame["group"].where(frame["group"] != "", "file:" + frame["card"] + ":" + frame["path"].astype(str))
    codes: Ints = pd.factorize(names)[0].astype(np.int64)
    return codes


def tied_codes(manifest: Manifest, tied: Pairs) -> Ints:
    """As `_group_codes`, with groups that are tied by any of their rows made one."""
    return number_together(np.concatenate([ties(_group_codes(manifest)), tied]), members=len(manifest))


def _joint_labels(manifest: Manifest) -> Ints:
    """A number per row, equal where its card and all attributes are."""
    return np.asarray(manifest.frame.groupby(["card", *manifest.classes]).ngroup(), dtype=np.int64)
