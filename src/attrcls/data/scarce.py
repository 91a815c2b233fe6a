"""Scarce groups: train rows that a task names by their labels and files, for a recipe of their own.

Enters: the task's `scarce` and the train rows. Leaves: which rows each group has, and which group's recipe each row takes.
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attrcls.data.manifest import Manifest
from attrcls.sections import ScarceSpec
from attrcls.types import MISSING


@dataclass(frozen=True)
class ScarceRows:
    """`inside[group]`: bool `(rows,)`, whether a row has all that the group looks for; groups in the task's order."""

    inside: Mapping[str, npt.NDArray[np.bool_]]

    @property
    def group_of(self) -> npt.NDArray[np.int64]:
        """`(rows,)`: the place of the first group that a row is in, `MISSING` where it is in none."""
        inside = np.stack(list(self.inside.values()))
        return np.where(inside.any(axis=0), inside.argmax(axis=0), MISSING)

    def told(self) -> str:
        """One line: how many train rows each group has, and how many of them an earlier group takes."""
        first, told = self.group_of, []
        for place, (name, inside) in enumerate(self.inside.items()):
            earlier = int((inside & (first != place)).sum())
            told.append(f"{name} {inside.sum():,}" + (f" ({earlier:,} of them augmented as an earlier group's)" if earlier else ""))
        return f"train rows under a recipe of their own: {', '.join(told)}"


def find_scarce(groups: Mapping[str, ScarceSpec], manifest: Manifest) -> ScarceRows:
    """Which rows each group has; the manifest has the attributes and classes that they name. A row without a label has none of its classes."""
    return ScarceRows({name: _inside(group, manifest) for name, group in groups.items()})


def _inside(group: ScarceSpec, manifest: Manifest) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(manifest), dtype=np.bool_)
    for attribute, label in group.where.items():
        inside &= manifest.targets(attribute) == manifest.classes[attribute].index(label)
    if group.files:
        # fnmatch itself would follow the system's own rules of case and slashes.
        wanted = re.compile("|".join(fnmatch.translate(pattern) for pattern in group.files))
        inside &= np.array([wanted.match(path) is not None for path in manifest.frame["path"]], dtype=np.bool_)
    return inside
