"""`model.json`: what a trained model is, beside its weights. Prediction reads nothing else of a run."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, ValidationError

from attrcls.card import AttributeSpec, BoxSpec
from attrcls.combine import Combiner, combiner_for
from attrcls.errors import UserError
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.network import Network
from attrcls.model.trunk import build_trunk
from attrcls.sections import DecodeSpec, HeadSpec, ImageSpec
from attrcls.spec import Spec
from attrcls.task import Plan

FORMAT_VERSION = 1


class CombinerDescription(Spec):
    """The combined code with each attribute's class names, also of attributes that this model has no head for."""

    name: str
    order: list[str]
    radices: list[int]
    classes: dict[str, list[str]]


class TableImages(Spec):
    """Where a table called `file`, one of those that were trained on, has its pictures: named in `column`, below `root`, which is relative to
    the table's own folder."""

    file: str
    column: str
    root: str


class ModelDescription(Spec):
    """Everything but the weights. `fallback` is the train split's most frequent class per head, and code.

    `temperatures` calibrate each head's probabilities (1 where none is named), and `decode` says how classes are chosen of them.
    `class_counts` are each head's labelled train rows per class, times their cards' ratios, and `balanced` the heads whose classes were
    drawn equally often all the same. `tables` say where a table like those of training is likely to have its pictures. Older runs have none
    of these.
    """

    format_version: int = FORMAT_VERSION
    task: str
    trunk: str
    image: ImageSpec
    box: BoxSpec | None
    group_column: str | None
    heads: dict[str, HeadSpec]
    attributes: dict[str, AttributeSpec]
    combine: CombinerDescription | None
    submission: dict[str, str]
    fallback: dict[str, int]
    precision: str
    epoch: int
    scores: dict[str, float | None]
    versions: dict[str, str]
    temperatures: dict[str, Annotated[float, Field(gt=0)]] = {}
    class_counts: dict[str, list[Annotated[int, Field(ge=0)]]] = {}
    balanced: list[str] = []
    decode: DecodeSpec = DecodeSpec()
    tables: list[TableImages] = []

    @property
    def combiner(self) -> Combiner | None:
        """The combined code as arithmetic."""
        return Combiner(self.combine.name, tuple(self.combine.order), tuple(self.combine.radices)) if self.combine else None


def misfit(description: ModelDescription) -> str | None:
    """What does not fit the heads and their classes, in words; None where all does, as in what training writes."""
    sizes = {head: len(attribute.classes) for head, attribute in description.attributes.items()}
    if description.combine and description.combiner:
        if [len(description.combine.classes.get(name, ())) for name in description.combine.order] != description.combine.radices:
            return "combine: expected the radices of its attributes' classes, in its order"
        sizes[description.combiner.name] = description.combiner.size
    for name, place in description.fallback.items():
        if not 0 <= place < sizes.get(name, place + 1):
            return f"fallback.{name}: expected a number from 0 to {sizes[name] - 1}, found {place}"
    if lacking := [head for head in description.heads if head not in description.fallback]:
        return f"fallback: expected a class for each head, found none of {', '.join(lacking)}"
    for what, table in (("class_counts", description.class_counts), ("decode.offsets", description.decode.offsets)):
        for head, numbers in table.items():
            classes = description.attributes[head].classes if head in description.attributes else []
            if len(numbers) != len(classes):
                return f"{what}.{head}: expected a number for each of {len(classes)} classes, found {len(numbers)}"
    counts, codes = len(description.decode.code_counts), description.combiner.size if description.combiner else 0
    return f"decode.code_counts: expected {codes} numbers or none, found {counts}" if counts not in (0, codes) else None


def describe_model(
    plan: Plan, *, fallback: Mapping[str, int], precision: str, epoch: int, scores: Mapping[str, float | None],
    temperatures: Mapping[str, float], class_counts: Mapping[str, Sequence[int]], decode: DecodeSpec,
) -> ModelDescription:  # fmt: skip
    """The description of a model trained by a plan."""
    combiner = combiner_for(plan)
    groups = [card.group for card in plan.cards.values() if card.group]
    return ModelDescription(
        task=plan.task.name,
        trunk=plan.task.trunk.name,
        image=plan.task.image,
        box=plan.box,
        group_column=groups[0] if groups else None,
        heads=dict(plan.task.heads),
        attributes=plan.heads,
        combine=CombinerDescription(
            name=combiner.name,
            order=list(combiner.order),
            radices=list(combiner.radices),
            classes={name: plan.attributes[name].classes for name in combiner.order},
        )
        if combiner
        else None,
        submission=plan.task.submission,
        fallback=dict(fallback),
        precision=precision,
        epoch=epoch,
        scores=dict(scores),
        versions=library_versions(),
        temperatures=dict(temperatures),
        class_counts={head: list(counts) for head, counts in class_counts.items()},
        balanced=list(plan.task.balance.heads) if plan.task.balance else [],
        decode=decode,
        tables=[
            TableImages(
                file=posixpath.basename(table.file),
                column=card.images.column,
                root=posixpath.relpath(card.images.root if table.images is None else table.images, posixpath.dirname(table.file) or "."),
            )
            for card in plan.cards.values()
            for table in card.tables
            if not card.images.folders
        ],
    )


def read_description(path: Path) -> ModelDescription:
    """Read a `model.json`.

    Raises:
        UserError: it is missing, damaged, or of another format version.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        found = raw.get("format_version")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; this is not a run directory, or its training has not finished an epoch") from error
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: damaged: expected the JSON that `attrcls train` writes") from error
    if found != FORMAT_VERSION:
        raise UserError(
            f"{path}: expected format version {FORMAT_VERSION}, found {found}; this attrcls is {version('attrcls')}: use the one that wrote it"
        )
    try:
        description = ModelDescription.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: damaged: {where}: {first['msg']}") from error
    if set(description.heads) != set(description.attributes):
        heads, found = (", ".join(names) for names in (description.heads, description.attributes))
        raise UserError(f"{path}: damaged: attributes: expected {heads}, found {found}")
    return description


def build_described(description: ModelDescription) -> Network:
    """The network that a description tells of, with random weights, ready to take the trained ones."""
    trunk = build_trunk(description.trunk, px=description.image.px)
    heads = {
        name: build_head(
            spec, features=trunk.features, context=LossContext(torch.ones(len(description.attributes[name].classes)), spec.label_smoothing)
        )
        for name, spec in description.heads.items()
    }
    return Network(trunk.module, heads, mean=description.image.mean, std=description.image.std)


def library_versions() -> dict[str, str]:
    """The versions that matter to a model's numbers."""
    return {name: version(name) for name in ("attrcls", "torch", "torchvision", "albumentations")}


def jsonable(scores: Mapping[str, Any]) -> dict[str, float | None]:
    """Scores with NaN as None, since JSON has no NaN."""
    return {key: None if value != value else float(value) for key, value in scores.items()}
