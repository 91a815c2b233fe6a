"""Which rows train and which are held back: given splits are honoured, groups never straddle.

The holding back is stratified jointly over all attributes, so that a scarce combination is spread too.
"""

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from attrcls.data.leaks import Pairs, number_together, ties
from attrcls.data.manifest import Manifest
from attrcls.errors import UserError

# The held-back share is met in steps of one part; twenty parts make 15 % exact.
PARTS = 20


def split_manifest(manifest: Manifest, *, share: float, seed: int, tied: Pairs | None = None) -> Manifest:
    """Every row gets a split: a given one stays, blank ones train, and `share` of a card's train groups is held back
    for validation where the card has no validation rows.

    `tied` `(pairs, 2)` are positions of rows that must stay together beside those of a group, such as copies of a picture; rows of other
    cards may be among them, and are held back with the first. Where a tied row's card has validation rows of its own, nothing of it moves.

    Raises:
        UserError: a card has too few train groups (or rows, where it has no group) to hold any back.
    """
    splits = manifest.frame["split"].replace("", "train").to_numpy(dtype=object)
    groups = _group_codes(manifest) if tied is None else _tied_codes(manifest, tied)
    cards = manifest.frame["card"].to_numpy()
    settled = np.isin(cards, np.unique(cards[splits == "val"]))
    movable = (splits == "train") & ~np.isin(groups, groups[settled])
    for card in manifest.frame["card"].unique():
        train = np.flatnonzero((cards == card) & movable & (splits == "train"))
        if len(train):
            held = _held_back(manifest.take(train), groups[train], share=share, seed=seed)
            splits[movable & np.isin(groups, groups[train[held]])] = "val"
    return manifest.with_columns(split=splits)


def fold_rows(manifest: Manifest, *, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Each row's fold, 0 to `folds` − 1: group-disjoint, stratified jointly over all attributes. Fewer folds where there
    are fewer groups."""
    groups = _group_codes(manifest)
    count = int(groups.max()) + 1
    folds = min(folds, count)
    if folds < 2:
        return np.zeros(len(manifest), dtype=np.int64)
    strata = _joint_labels(manifest)
    if np.bincount(strata).max() < folds:
        strata = np.zeros_like(strata)
    alone = count == len(manifest)
    folder = (StratifiedKFold if alone else StratifiedGroupKFold)(n_splits=folds, shuffle=True, random_state=seed)
    of_row = np.zeros(len(manifest), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        for fold, (_, held) in enumerate(folder.split(np.zeros(len(strata)), strata, None if alone else groups)):
            of_row[held] = fold
    return of_row


def _held_back(manifest: Manifest, groups: npt.NDArray[np.int64], *, share: float, seed: int) -> npt.NDArray[np.bool_]:
    groups = pd.factorize(groups)[0]
    count = int(groups.max()) + 1
    if count < 2:
        what = "group" if (manifest.frame["group"] != "").any() else "row"
        raise UserError(f"card {manifest.frame['card'].iloc[0]}: expected at least 2 train {what}s to hold some back for validation, found {count}")
    if count < PARTS:
        order = np.random.default_rng(seed).permutation(count)
        return np.isin(groups, order[: max(1, round(share * count))])
    strata = _joint_labels(manifest)
    alone = count == len(manifest)
    folder = (StratifiedKFold if alone else StratifiedGroupKFold)(n_splits=PARTS, shuffle=True, random_state=seed)
    # StratifiedKFold refuses only when every stratum is smaller than the parts; then there is nothing to stratify by.
    if np.bincount(strata).max() < PARTS:
        strata = np.zeros_like(strata)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        parts = [held for _, held in folder.split(np.zeros(len(strata)), strata, None if alone else groups)]
    held_back = np.zeros(len(manifest), dtype=bool)
    for part in parts[: min(PARTS - 1, max(1, round(share * PARTS)))]:
        held_back[part] = True
    return held_back


def _group_codes(manifest: Manifest) -> npt.NDArray[np.int64]:
    """A number per row, equal within a group; a row with no group is a group of its own, rows of one picture are one."""
    frame = manifest.frame
    names = frame["group"].where(frame["group"] != "", "file:" + frame["card"] + ":" + frame["path"].astype(str))
    codes: npt.NDArray[np.int64] = pd.factorize(names)[0].astype(np.int64)
    return codes


def _tied_codes(manifest: Manifest, tied: Pairs) -> npt.NDArray[np.int64]:
    """As `_group_codes`, with groups that are tied by any of their rows made one."""
    return number_together(np.concatenate([ties(_group_codes(manifest)), tied]), members=len(manifest))


def _joint_labels(manifest: Manifest) -> npt.NDArray[np.int64]:
    attributes = list(manifest.classes)
    return np.asarray(manifest.frame.groupby(attributes, sort=True).ngroup(), dtype=np.int64)
