"""Folders that hold several models which predict as one: the folds of a training, or the runs that an ensemble picked.

`ensemble.json` in such a folder names its run directories, which lie beside the file, and what each one's vote weighs.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from attrcls.errors import UserError
from attrcls.files import write_json
from attrcls.inside import refuse_links_out
from attrcls.spec import Spec, parse_spec, read_json_object

FILE = "ensemble.json"
FOLD = "fold-{}"


class MemberSpec(Spec):
    """A run directory by its name, and the weight of its vote."""

    name: str
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        # It comes from a file that may be a stranger's, and names a folder to be read.
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"expected the name of a folder beside this file, found {name!r}")
        return name


class EnsembleSpec(Spec):
    """What `ensemble.json` holds."""

    format_version: Literal[1] = 1
    members: list[MemberSpec] = Field(min_length=1, max_length=1000)


def write_members(folder: Path, weights: Mapping[str, float]) -> None:
    """Say which runs in a folder predict together, by name, and how much each counts."""
    spec = EnsembleSpec(members=[MemberSpec(name=name, weight=weight) for name, weight in weights.items()])
    write_json(folder / FILE, spec.model_dump(mode="json"))


def members_of(folder: Path) -> list[tuple[Path, float]]:
    """The run directories that a folder stands for, with weights that add up to 1: a run's own is itself.

    Raises:
        UserError: the folds in it are not all trained, or its `ensemble.json` is damaged.
    """
    file = folder / FILE
    if not os.path.isfile(file):
        if os.path.isdir(folder / FOLD.format(1)):
            raise UserError(f"{folder}: its folds are not all trained; go on with the same `attrcls train … --folds` and --resume")
        return [(folder, 1.0)]
    refuse_links_out(folder)
    spec = parse_spec(EnsembleSpec, read_json_object(file), file=str(file))
    total = sum(member.weight for member in spec.members)
    return [(folder / member.name, member.weight / total) for member in spec.members]
