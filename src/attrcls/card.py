"""Data cards: what a dataset on disk looks like, what its labels mean, and what its users must know.

Enters: `data_cards/NAME.yaml` or a user's own file. Leaves: a frozen `Card`. Nothing here reads images or tables.
"""

import bisect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from attrcls.errors import UserError
from attrcls.inside import leads_out
from attrcls.spec import Found, Spec, find_spec, parse_spec, read_yaml, suggest
from attrcls.types import MISSING

SplitName = Literal["train", "val", "test"]
# Columns that the manifest, the prediction table and the scores use themselves.
RESERVED_NAMES = frozenset({"card", "row_id", "path", "group", "split", "status", "error", "xmin", "ymin", "xmax", "ymax", "image", "mean"})


class TableSpec(Spec):
    """One label table. `split` says that all of its rows belong to that split; `images` is an image root of its own."""

    file: str
    split: SplitName | None = None
    images: str | None = None
    optional: bool = Field(default=False, description="whether the table may be absent")
    encoding: str | None = Field(default=None, description="such as latin-1; by default UTF-8, then cp949")
    escaped: bool = Field(default=False, description="whether attrcls wrote it, such as cleaned.csv: an apostrophe before = + - @ is taken off")


class FoldersSpec(Spec):
    """The image column names a folder; each `files` stem in it is one image, labelled by its name."""

    attribute: str = Field(description="the attribute whose label is told by the file's name")
    files: dict[str, str] = Field(min_length=1, description="file stem to class name, in the order wanted")
    extensions: list[str] = Field(default=[".jpg", ".jpeg", ".png"], min_length=1)


class ImagesSpec(Spec):
    """Where the pictures lie: `column` holds paths below `root`, which is relative to the data folder."""

    column: str = "path"
    root: str = "."
    folders: FoldersSpec | None = None
    follow_links: bool = Field(default=False, description="whether links below `root` may lead out of it, as git-annex, DVC and hub caches make them")


class AttributeSpec(Spec):
    """One labelled property of an image, and how the raw cells of its column become classes."""

    classes: list[str] = Field(min_length=1, description="class names; their order is the order of the class ids")
    column: str | None = Field(default=None, description="the table's column; by default the attribute's name")
    values: dict[str, str] = Field(default={}, description="raw cell to class name, beside names and ids")
    cuts: list[float] = Field(default=[], description="cut points of a number: below the first is class 0")
    missing: list[str] = Field(default=[""], description="raw cells that mean: no label")
    constant_in_group: bool = Field(default=False, description="whether all pictures of a group must agree")
    description: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"expected each class once, found {', '.join(self.classes)}")
        if any(not name.strip() for name in self.classes):
            raise ValueError("expected class names that are not blank")
        if self.cuts and (len(self.cuts) != len(self.classes) - 1 or self.cuts != sorted(set(self.cuts))):
            raise ValueError(
                f"cuts: expected one number less than the {len(self.classes)} classes, rising; found {', '.join(f'{cut:g}' for cut in self.cuts)}"
            )
        for raw, name in self.values.items():
            if name not in self.classes:
                raise ValueError(f"values: {raw!r} maps to {name!r}, which is not one of the classes{suggest(name, self.classes)}")
        return self

    def index_of(self, raw: str) -> int:
        """The class index of a raw cell, or `MISSING`; names, mapped values, numbers to be cut and ids are understood.

        Raises:
            ValueError: the cell is none of these; the message says what was expected.
        """
        cell = raw.strip()
        if cell in self.missing:
            return MISSING
        if cell in self.values:
            return self.classes.index(self.values[cell])
        if cell in self.classes:
            return self.classes.index(cell)
        number = _number(cell)
        meant = self._meaning_of(number)
        if meant is not None:
            return meant
        if self.cuts:
            if number is None or not math.isfinite(number):
                raise ValueError(f"expected a number to be cut at {', '.join(f'{cut:g}' for cut in self.cuts)}, found {raw!r}")
            return bisect.bisect_right(self.cuts, number)
        if number is not None and number.is_integer() and 0 <= number < len(self.classes) and not self._names_are_numbers():
            return int(number)
        named = self._number_named(number)
        if named is not None:
            return named
        folded = {name.casefold(): index for index, name in reversed(list(enumerate(self.classes)))}
        if cell.casefold() in folded:
            return folded[cell.casefold()]
        shown = ", ".join(self.classes[:12]) + (", …" if len(self.classes) > 12 else "")
        raise ValueError(f"expected one of {shown}, found {raw!r}{suggest(cell, self.classes)}")

    def number_of(self, raw: str) -> float:
        """The number of a raw cell that is cut into classes; NaN where it is none, or stands for a class by itself."""
        cell = raw.strip()
        number = None if not self.cuts or cell in {*self.missing, *self.values, *self.classes} else _number(cell)
        return math.nan if number is None or self._meaning_of(number) is not None else number

    def _meaning_of(self, number: float | None) -> int | None:
        """What `missing` and `values` say of a number that is written otherwise there: pandas makes a column of 0 and 1 with a gap in it 0.0
        and 1.0. None where they say nothing, or different things."""
        if number is None:
            return None
        meanings = {MISSING for raw in self.missing if _number(raw) == number}
        meanings |= {self.classes.index(name) for raw, name in self.values.items() if _number(raw) == number}
        return meanings.pop() if len(meanings) == 1 else None

    def _number_named(self, number: float | None) -> int | None:
        named = [index for index, name in enumerate(self.classes) if number is not None and _number(name) == number]
        return named[0] if len(named) == 1 else None

    def _names_are_numbers(self) -> bool:
        # With classes such as 10, 20, 30 a cell "1" is an error, not the id of "20".
        return any(_number(name) is not None for name in self.classes)


class SplitSpec(Spec):
    """The column that says which split a row belongs to, and how its cells are called there."""

    column: str = "split"
    values: dict[str, SplitName] = Field(default={}, description="raw cell to split name, beside train, val and test")


class BoxSpec(Spec):
    """The columns of a box in pixels of the upright picture."""

    xmin: str = "xmin"
    ymin: str = "ymin"
    xmax: str = "xmax"
    ymax: str = "ymax"

    @property
    def columns(self) -> tuple[str, str, str, str]:
        """The four columns in the order xmin, ymin, xmax, ymax."""
        return (self.xmin, self.ymin, self.xmax, self.ymax)


def _as_table(value: object) -> object:
    return {"file": value} if isinstance(value, str) else value


class Card(Spec):
    """A dataset on disk. `root` is where its data lies, relative to the card's file, when no `--data` is given."""

    name: str
    title: str = ""
    tables: list[Annotated[TableSpec, BeforeValidator(_as_table, json_schema_input_type=str | TableSpec)]] = Field(min_length=1)
    images: ImagesSpec = ImagesSpec()
    attributes: dict[str, AttributeSpec] = Field(description="what is labelled; {} for pictures alone, which `unlabelled:` learns from")
    key: str | None = Field(default=None, description="the column that names a row; by default the image's path")
    group: str | None = Field(default=None, description="the column of what must not straddle splits: a person, a sender")
    split: SplitSpec | None = None
    box: BoxSpec | None = None
    root: str | None = None
    licence: str = ""
    provenance: str = ""
    known_faults: list[str] = []
    intended_use: str = ""

    @field_validator("split", mode="before", json_schema_input_type=str | SplitSpec | None)
    @classmethod
    def _split_column(cls, value: object) -> object:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        for attribute, spec in self.attributes.items():
            if attribute in RESERVED_NAMES or not attribute.isidentifier():
                raise ValueError(f"attributes.{attribute}: expected a name of letters, digits and _ that is not reserved")
            if spec.constant_in_group and self.group is None:
                raise ValueError(f"attributes.{attribute}: constant_in_group needs the card to name a group column")
        for key, place in self._places():
            if leads_out(place):
                raise ValueError(f"{key}: {place!r} leads out of the data folder; name the folder that holds all of it as `root:` or with --data")
        folders = self.images.folders
        if folders:
            if folders.attribute not in self.attributes:
                raise ValueError(f"images.folders.attribute: no attribute {folders.attribute!r}{suggest(folders.attribute, self.attributes)}")
            classes = self.attributes[folders.attribute].classes
            for stem, name in folders.files.items():
                if name not in classes:
                    raise ValueError(f"images.folders.files.{stem}: {name!r} is not one of {', '.join(classes)}")
        return self

    def _places(self) -> Iterator[tuple[str, str]]:
        """Each path below the data folder that the card names, with its key."""
        yield "images.root", self.images.root
        for position, table in enumerate(self.tables):
            yield f"tables.{position}.file", table.file
            if table.images is not None:
                yield f"tables.{position}.images", table.images

    def column_of(self, attribute: str) -> str | None:
        """The table column that holds an attribute's labels; None where file names tell them."""
        if self.images.folders and self.images.folders.attribute == attribute:
            return None
        return self.attributes[attribute].column or attribute


def load_card(argument: str, *, relative_to: Path | None = None) -> tuple[Card, Found]:
    """Read the card at a path, or the bundled one of that name.

    Raises:
        UserError: there is no such card, or it is not valid; all its faults are listed at once.
    """
    found = find_spec("data_cards", argument, relative_to=relative_to)
    raw = {"name": found.name, **read_yaml(found.path)}
    card = parse_spec(Card, raw, file=str(found.path))
    # Not of what runs keep of their cards: those were trained with it.
    for attribute, spec in card.attributes.items():
        for index, name in enumerate(spec.classes if spec.cuts else ()):
            number = _number(name)
            if number is not None and math.isfinite(number) and bisect.bisect_right(spec.cuts, number) != index:
                raise UserError(
                    f"{found.path}: attributes.{attribute}.classes: {name!r} is a number too, which cuts put in another class; call it otherwise, "
                    "such as by its range"
                )
    return card, found


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
