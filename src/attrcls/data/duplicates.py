"""Which rows of a manifest show the same picture: the sets of duplicates, the splits they stand in, and labels that contradict each other."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from attrcls.data.fingerprints import read_fingerprints
from attrcls.data.leaks import number_together
from attrcls.data.manifest import Manifest
from attrcls.data.twins import KINDS, Twins, find_twins
from attrcls.types import MISSING, SPLITS


@dataclass(frozen=True)
class Duplicates:
    """Sets of two or more files that show the same picture.

    `set_of_row` `(rows,)` numbers each row's set from 0, −1 where its picture is alone. `kind_of_set` is the loosest kind of its pairs:
    `copy` (the same bytes), `near` (saved anew, resized, …) or `mirrored`. Of `pictures` files looked at, `failed` could not be read and
    `plain` are of one colour, so that there was nothing to compare.
    """

    set_of_row: npt.NDArray[np.int64]
    kind_of_set: tuple[str, ...]
    pictures: int
    failed: int
    plain: int

    def table(self, manifest: Manifest) -> pd.DataFrame:
        """One row per manifest row of a set, set by set: those that stand in several splits first, then those that contradict each other.

        `duplicate_splits` are the set's splits, `duplicate_contradicts` the attributes of which its rows have different labels.
        `manifest` has the rows that were searched, and may have been split since.
        """
        rows = np.flatnonzero(self.set_of_row >= 0)
        frame = manifest.frame.iloc[rows]
        sets = self.set_of_row[rows]
        table = pd.DataFrame({"duplicate_set": sets, "duplicate_kind": np.array(self.kind_of_set, dtype=object)[sets]}, index=frame.index)
        table["duplicate_splits"] = frame.groupby(sets)["split"].transform(lambda splits: " ".join(sorted(set(splits), key=SPLITS.index)))
        table["duplicate_contradicts"] = _contradictions(manifest, rows, sets)
        table[["card", "row_id", "path", "group", "split"]] = frame[["card", "row_id", "path", "group", "split"]]
        for attribute, names in manifest.classes.items():
            table[attribute] = np.array([*names, ""], dtype=object)[frame[attribute]]  # MISSING is the last, and blank
        agree, together = (table["duplicate_contradicts"] == "").to_numpy(), ~in_several_splits(table)
        order = np.lexsort([rows, sets, agree, together])
        table = table.iloc[order].reset_index(drop=True)
        table["duplicate_set"] = pd.factorize(table["duplicate_set"])[0] + 1
        return table


def in_several_splits(table: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows of `Duplicates.table` belong to a set that does not keep to one split."""
    return np.array([" " in splits for splits in table["duplicate_splits"]], dtype=bool)


def find_duplicates(manifest: Manifest) -> Duplicates:
    """Read every picture once and compare them all; what cannot be read is left out and counted."""
    files = manifest.frame[["card", "path"]].apply(tuple, axis=1)
    file_of_row, _ = pd.factorize(files)
    firsts = np.flatnonzero(~files.duplicated().to_numpy())
    prints = read_fingerprints(manifest.take(firsts).image_paths())
    set_of_file, kinds = _sets(find_twins(prints), files=len(firsts))
    return Duplicates(set_of_file[file_of_row], kinds, len(firsts), len(prints.failed), len(prints.plain))


def _sets(twins: Twins, *, files: int) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Each file's set, −1 where it is alone, and each set's kind; sets are numbered by their first file."""
    set_of_file = np.full(files, -1, np.int64)
    if not len(twins.pairs):
        return set_of_file, ()
    paired = np.unique(twins.pairs)
    together = number_together(twins.pairs, members=files)
    set_of_file[paired] = pd.factorize(together[paired])[0]
    of_pair = set_of_file[twins.pairs[:, 0]]
    loosest = np.zeros(int(of_pair.max()) + 1, np.int64)
    np.maximum.at(loosest, of_pair, twins.kinds)
    return set_of_file, tuple(KINDS[kind] for kind in loosest)


def _contradictions(manifest: Manifest, rows: npt.NDArray[np.int64], sets: npt.NDArray[np.int64]) -> list[str]:
    """For each of these rows, the attributes of which its set has two different labels. Objects that were cut out of one picture by boxes
    are different objects, and contradict nobody."""
    told: list[list[str]] = [[] for _ in rows]
    whole = ~np.isfinite(manifest.boxes()[rows]).any(axis=1)
    for attribute in manifest.classes:
        targets = manifest.targets(attribute)[rows]
        labelled = whole & (targets != MISSING)
        kinds = pd.Series(targets[labelled]).groupby(sets[labelled]).nunique()
        for place in np.flatnonzero(np.isin(sets, kinds.index[kinds > 1])):
            told[place].append(attribute)
    return [" ".join(attributes) for attributes in told]
