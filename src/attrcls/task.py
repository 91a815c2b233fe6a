"""Tasks: what to train, on which cards, and how. A `Task` holds choices only; the numbers live in the run.

Enters: `tasks/NAME.yaml` or a user's own file, and overrides. Leaves: a frozen `Task` with its `Card`s.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from attrcls.card import RESERVED_NAMES, AttributeSpec, BoxSpec, Card, load_card
from attrcls.errors import UserError
from attrcls.sections import (
    FLAGS,
    FROZEN_LR,
    BalanceSpec,
    CardUse,
    CleanSpec,
    CombineSpec,
    Count,
    HeadSpec,
    HoldBackSpec,
    ImageSpec,
    MixSpec,
    OptimiserSpec,
    RsgSpec,
    ScarceSpec,
    ScheduleSpec,
    Seed,
    Share,
    TrunkSpec,
    UnlabelledSpec,
    as_balance,
    as_card_use,
    as_head,
    as_unlabelled,
    heads_with_blank_options,
)
from attrcls.spec import Found, Spec, find_spec, parse_assignment, parse_spec, read_yaml, suggest, with_values

# What a trunk can be pretrained on beside an attribute: by how many quarter turns a picture was turned to the left (Gidaris et al. 2018).
ROTATION = "rotation"
ROTATIONS = AttributeSpec(classes=["upright", "left", "upside_down", "right"])
# torchvision's models of this kind, which have a stage called layer4.
RESNETS = ("resnet", "resnext", "wide_resnet")


class Task(Spec):
    """What to train. Every key has a default but `cards` and `heads`."""

    name: str
    title: str = ""
    cards: list[Annotated[CardUse, BeforeValidator(as_card_use, json_schema_input_type=str | CardUse)]] = Field(min_length=1)
    heads: dict[str, Annotated[HeadSpec, BeforeValidator(as_head, json_schema_input_type=HeadSpec | None)]] = Field(min_length=1)
    loss_balance: Literal["fixed", "uncertainty", "famo"] = Field(
        default="fixed", description="how heads are weighed against each other beside their `weight`: not at all, or as is learned"
    )
    image: ImageSpec = ImageSpec()
    trunk: TrunkSpec = TrunkSpec()
    augment: str | list[dict[str, Any]] = Field(default="crop", description="a recipe's name, or a list of albumentations transforms")
    balance: Annotated[BalanceSpec | None, BeforeValidator(as_balance, json_schema_input_type=list[str] | BalanceSpec | None)] = Field(
        default=None, description="heads whose classes to draw equally often, or a mapping with the choices made"
    )
    scarce: dict[str, ScarceSpec] | None = Field(
        default=None, description="groups of scarce train rows, each with a recipe of its own; a row takes that of the first that it is in"
    )
    mix: MixSpec | None = Field(default=None, description="mixup and CutMix of train pictures")
    unlabelled: Annotated[UnlabelledSpec | None, BeforeValidator(as_unlabelled, json_schema_input_type=str | UnlabelledSpec | None)] = Field(
        default=None, description="learn from rows without a label: a method (uda, fixmatch, freematch), or a mapping with the choices made"
    )
    rsg: RsgSpec | None = Field(default=None, description="make samples of a head's rare classes, in training of a ResNet")
    optimiser: OptimiserSpec = OptimiserSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    epochs: Count = 8
    batch_size: Count = Field(default=64, description="pictures per batch, of all processes together where a launcher starts several")
    seed: Seed = 0
    ema: Share | None = Field(default=0.99, description="decay of an exponential moving average of the weights, per update")
    early_stop_epochs: Count | None = Field(default=None, description="stop after so many epochs without a better score")
    monitor: str = Field(default="mean/f1", description="the validation metric that picks the best epoch")
    keep: Literal["best", "last"] = Field(default="best", description="which epoch becomes the model; both stay as checkpoints")
    hold_back: HoldBackSpec = HoldBackSpec()
    clean: CleanSpec = CleanSpec()
    combine: CombineSpec | None = None
    decode: Literal["argmax", "joint", "offsets"] = Field(
        default="argmax",
        description="how classes are chosen: each head's likeliest; joint: with the train rows' combinations; offsets: tuned for macro-F1",
    )
    submission: dict[str, str] = Field(
        default={}, description="column to what fills it: image, code, a head (its class name), HEAD.id, or an input column"
    )

    @property
    def ordinal_heads(self) -> list[str]:
        """The heads whose classes have an order."""
        return [head for head, spec in self.heads.items() if spec.kind == "ordinal"]

    @model_validator(mode="before")
    @classmethod
    def _rate_of_heads_alone(cls, raw: Any) -> Any:
        trunk, optimiser = (raw.get(key) or {} for key in ("trunk", "optimiser")) if isinstance(raw, dict) else ({}, {})
        if not isinstance(trunk, dict) or not isinstance(optimiser, dict) or not trunk.get("freeze") or "lr" in optimiser:
            return raw
        return {**raw, "optimiser": {**optimiser, "lr": FROZEN_LR}}

    @field_validator("heads", mode="before", json_schema_input_type=list[str] | dict[str, HeadSpec | None])
    @classmethod
    def _heads_as_list(cls, value: object) -> object:
        return dict.fromkeys(value) if isinstance(value, list) and all(isinstance(head, str) for head in value) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.combine:
            if len(set(self.combine.order)) != len(self.combine.order):
                raise ValueError(f"combine.order: expected each attribute once, found {', '.join(self.combine.order)}")
            if not self.combine.name.strip() or self.combine.name in {*self.heads, *RESERVED_NAMES}:
                raise ValueError(f"combine.name: {self.combine.name!r} is blank, a head's name or reserved; choose another")
        columns = [name for head in self.heads for name in (head, *(f"{head}_{what}" for what in ("confidence", "given", "calibrated")))]
        columns += [self.combine.name, f"{self.combine.name}_given"] if self.combine else []
        if twice := [name for name in columns if columns.count(name) > 1]:
            raise ValueError(f"heads: {twice[0]} would be a column of predictions twice; give the head or code of that name another")
        named = {"balance": self.balance.heads if self.balance else [], "unlabelled": (self.unlabelled.heads or []) if self.unlabelled else []}
        for key, heads in named.items():
            for head in heads:
                if head not in self.heads:
                    raise ValueError(f"{key}.heads: no head {head!r}{suggest(head, self.heads)} (heads: {', '.join(self.heads)})")
                if heads.count(head) > 1:
                    raise ValueError(f"{key}.heads: expected each head once, found {', '.join(heads)}")
        if self.scarce == {}:
            raise ValueError("scarce: expected groups of train rows by name, found an empty mapping; name one, or leave `scarce` out")
        if self.decode == "joint" and not self.combine:
            raise ValueError("decode: joint needs the task to have a `combine:`; add one, or use argmax or offsets")
        if self.mix and self.mix.cutmix and self.trunk.freeze and self.trunk.frozen_views and not self.own_recipes:
            raise ValueError(
                "mix.cutmix: cuts pictures, and of a frozen trunk's pictures only features are kept; use mix.mixup, or trunk.frozen_views: 0"
            )
        if self.mix and self.unlabelled and self.unlabelled.tsa:
            raise ValueError("unlabelled.tsa: asks how well each label is known, and with mix: a picture has two; leave one of them out")
        if self.rsg:
            if self.rsg.head not in self.heads:
                raise ValueError(f"rsg.head: no head {self.rsg.head!r}{suggest(self.rsg.head, self.heads)} (heads: {', '.join(self.heads)})")
            if self.trunk.freeze:
                raise ValueError("rsg: makes samples inside a trunk that learns, found trunk.freeze; leave one of them out")
            if self.mix:
                raise ValueError("rsg: makes samples of one class, found `mix`, which makes pictures of two; leave one of them out")
            if self.unlabelled:
                raise ValueError("rsg: makes samples of labelled pictures, found `unlabelled`, whose pictures have no label; leave one of them out")
            if self.loss_balance == "famo":
                raise ValueError("loss_balance: famo sees each batch twice, and rsg makes other samples each time; use uncertainty or fixed")
            if not self.trunk.name.startswith(RESNETS):
                raise ValueError(f"rsg: needs a ResNet (resnet…, resnext…, wide_resnet…), found trunk.name {self.trunk.name}; leave it out")
        if "code" in self.submission.values() and not self.combine:
            raise ValueError("submission: 'code' needs the task to have a `combine:`")
        return self

    @property
    def own_recipes(self) -> bool:
        """Whether repeats or scarce rows have a recipe of their own, and so are new pictures each time."""
        return bool(self.scarce) or (self.balance is not None and self.balance.repeat_augment is not None)


@dataclass(frozen=True)
class Plan:
    """A task with its cards read and checked against it: all that training needs to be told. `pretext` is the one head of a pretraining, an
    attribute or `ROTATION`, whose labels no card holds."""

    task: Task
    cards: Mapping[str, Card]
    found: Found
    found_cards: Mapping[str, Found]
    pretext: str | None = None

    @property
    def heads(self) -> dict[str, AttributeSpec]:
        """Each head's attribute, from the first card that has it; the cards are known to agree."""
        if self.pretext == ROTATION:
            return {ROTATION: ROTATIONS}
        return {head: next(card.attributes[head] for card in self.cards.values() if head in card.attributes) for head in self.task.heads}

    @property
    def attributes(self) -> dict[str, AttributeSpec]:
        """Every attribute of the cards, whether or not it has a head."""
        return {name: spec for card in self.cards.values() for name, spec in card.attributes.items()}

    def cuts_of(self, head: str) -> list[float]:
        """Where the number behind a head's classes is cut; [] where no card cuts one.

        Raises:
            UserError: cards cut it at different points.
        """
        found = {name: card.attributes[head].cuts for name, card in self.cards.items() if head in card.attributes and card.attributes[head].cuts}
        first = next(iter(found), "")
        for name, cuts in found.items():
            if cuts != found[first]:
                raise UserError(
                    f"heads.{head}.loss_options.sigma: expected all cards to cut {head} at the same points, found {_points(found[first])} in "
                    f"{first} and {_points(cuts)} in {name}; leave sigma out"
                )
        return list(found.get(first, []))

    @property
    def ratios(self) -> dict[str, float]:
        """Each card's draws per epoch over its train rows."""
        return {name: use.ratio for name, use in zip(self.cards, self.task.cards, strict=True)}

    @property
    def box(self) -> BoxSpec | None:
        """The box columns, when pictures are to be cut out."""
        boxes = [card.box for card in self.cards.values() if card.box]
        return boxes[0] if boxes and self.task.image.crop_boxes else None


def _points(cuts: Sequence[float]) -> str:
    return ", ".join(f"{cut:g}" for cut in cuts)


def load_plan(argument: str, *, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None, heads: Sequence[str] = ()) -> Plan:
    """Read a task and its cards, apply overrides (`a.b=value`, then `changes` by dotted key), and check them together.

    `heads` keeps only those heads, and nothing of `balance`, `unlabelled` and `rsg` that the file has for the others. Raises:
        UserError: a file is missing or not valid, a head has no attribute, or two cards disagree about classes.
    """
    found = find_spec("tasks", argument)
    raw = {"name": found.name, **read_yaml(found.path)}
    if "heads" not in raw and {"tables", "attributes"} <= {*raw}:
        raise UserError(f"{found.path}: expected a task, found a data card; name a task that has it among its `cards:`, as `card init` drafts one")
    of_flags = changes or {}
    asked = [*map(parse_assignment, overrides), *of_flags.items()]
    given = {key: f"--set {key}" for key, _ in asked} | {key: FLAGS.get(key, key) for key in of_flags}
    for change in asked:
        # Each time, so that a key below finds what a short form before it says.
        raw = with_values(_spelt_out(raw), [change])
    raw = _spelt_out(raw)
    task = parse_spec(Task, raw, file=str(found.path), given=given)
    if heads:
        for head in heads:
            if head not in task.heads:
                raise UserError(f"--heads: task {task.name} has no head {head!r}{suggest(head, task.heads)} (heads: {', '.join(task.heads)})")
        reduced = _of_heads_alone(raw, heads, asked=[key for key, _ in asked])
        task = parse_spec(Task, reduced, file=f"{found.path} with --heads {','.join(heads)}", given=given)
    cards, found_cards = {}, {}
    for use in task.cards:
        card, where = load_card(use.card, relative_to=None if found.bundled else found.path.parent)
        if card.name in cards:
            raise UserError(f"{found.path}: two cards are called {card.name!r}; give one another `name:`")
        cards[card.name], found_cards[card.name] = card, where
    _check_together(task, cards, file=str(found.path))
    return Plan(task, cards, found, found_cards)


def _spelt_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A task with the short forms of its sections as mappings, which overrides reach into."""
    long = {"balance": as_balance(raw.get("balance")), "unlabelled": as_unlabelled(raw.get("unlabelled"))}
    return {**raw, "heads": heads_with_blank_options(raw.get("heads")), **long}


def _of_heads_alone(raw: Mapping[str, Any], heads: Sequence[str], *, asked: Collection[str]) -> dict[str, Any]:
    """A valid task for these of its heads. What was `asked` for beside its file, by dotted key, stays: of another head it is refused."""
    kept = {**raw, "heads": {name: spec for name, spec in raw["heads"].items() if name in heads}}
    for key in ("balance", "unlabelled"):
        if not {key, f"{key}.heads"} & {*asked} and raw[key] and raw[key].get("heads"):
            left = [head for head in raw[key]["heads"] if head in heads]
            kept[key] = {**raw[key], "heads": left} if left else None
    if not {"rsg", "rsg.head"} & {*asked} and raw.get("rsg") and raw["rsg"]["head"] not in heads:
        kept["rsg"] = None
    return kept


def _check_together(task: Task, cards: Mapping[str, Card], *, file: str) -> None:
    known: dict[str, tuple[str, AttributeSpec]] = {}
    for card in cards.values():
        for name, spec in card.attributes.items():
            owner, other = known.setdefault(name, (card.name, spec))
            if spec.classes != other.classes:
                raise UserError(
                    f"{file}: cards {owner} and {card.name} disagree about the classes of {name}: {', '.join(other.classes)} there, "
                    f"{', '.join(spec.classes)} here; use the same class names in the same order"
                )
    for head in [*task.heads, *(task.combine.order if task.combine else [])]:
        if head not in known:
            raise UserError(f"{file}: no card has an attribute {head!r}{suggest(head, known)} (attributes: {', '.join(known)})")
        if head in task.heads and task.heads[head].kind == "ordinal" and len(known[head][1].classes) < 2:
            raise UserError(f"{file}: heads.{head}.kind: ordinal needs two classes or more, found {known[head][1].classes[0]} alone; use softmax")
        for name in known[head][1].classes if head in task.heads else ():
            if f"{head}_p_{name}" in {*task.heads, task.combine.name if task.combine else ""}:
                raise UserError(f"{file}: heads: {head}_p_{name} would be a column of predictions twice; give the head or code of that name another")
    for index, ruled_out in enumerate(task.clean.impossible):
        for head, label in ruled_out.items():
            if head not in known:
                raise UserError(f"{file}: clean.impossible.{index}: no attribute {head!r}{suggest(head, known)}")
            if label not in known[head][1].classes:
                raise UserError(f"{file}: clean.impossible.{index}.{head}: no class {label!r}{suggest(label, known[head][1].classes)}")
    for column, source in task.submission.items():
        head = re.sub(r"\.id$", "", source)
        if source.endswith(".id") and head not in known:
            raise UserError(f"{file}: submission.{column}: no attribute {head!r}{suggest(head, known)}")
    if task.image.crop_boxes and not any(card.box for card in cards.values()):
        raise UserError(f"{file}: image.crop_boxes is on, but no card of the task has a box; add `box:` to the card or turn it off")
