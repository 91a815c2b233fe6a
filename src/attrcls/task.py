"""Tasks: what to train, on which cards, and how. A `Task` holds choices only; the numbers live in the run.

Enters: `tasks/NAME.yaml` or a user's own file, and overrides. Leaves: a frozen `Task` with its `Card`s.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from attrcls.card import RESERVED_NAMES, AttributeSpec, BoxSpec, Card, load_card
from attrcls.errors import UserError
from attrcls.spec import Found, Spec, find_spec, parse_assignment, parse_spec, read_yaml, suggest, with_value

# Linear heads on features that do not change want a far higher rate than a trunk: top-1 on validation after eight epochs was
# 0.30 at 0.0005, 0.44 at 0.01 and 0.47 at 0.02 on clothing's garments, 0.60, 0.72 and 0.73 on age5's bands; after twenty
# epochs 0.01 and 0.02 did equally well.
FROZEN_LR = 0.01
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class CardUse(Spec):
    """A card of the task; each epoch draws `ratio` times its train rows."""

    card: str
    ratio: Annotated[float, Field(gt=0, le=1000)] = 1.0


class ImageSpec(Spec):
    """How a picture becomes the trunk's input."""

    px: Annotated[int, Field(ge=8, le=2048)] = Field(default=128, description="side of the square that the trunk sees")
    margin: Annotated[float, Field(ge=0, le=1)] = Field(default=0.125, description="room around it for random crops, as a share of px")
    fit: Literal["stretch", "crop", "pad"] = Field(default="stretch", description="how a picture that is not square is made so")
    crop_boxes: bool = Field(default=False, description="cut out each row's box first, where the card has boxes")
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)

    @property
    def resize_px(self) -> int:
        """The side, in pixels, to which a picture is resized before the crop."""
        return round(self.px * (1 + self.margin))


class TrunkSpec(Spec):
    """The shared backbone: any torchvision classification model by its name."""

    name: str = "resnet18"
    weights: str = Field(default="DEFAULT", description="DEFAULT or a named set of torchvision, a file, a run, or none")
    freeze: bool = Field(default=False, description="train the heads only, with BatchNorm in eval mode")
    freeze_bn: bool = Field(default=False, description="BatchNorm in eval mode: it keeps the statistics that the weights came with")
    frozen_views: Annotated[int, Field(ge=0, le=1000)] = Field(default=4, description="freeze: views kept of a picture; 0 augments each epoch")
    freeze_epochs: Annotated[int, Field(ge=0)] = Field(default=0, description="heads first for so many epochs, then all")


class HeadSpec(Spec):
    """One attribute's head and its loss; the classes come from the card."""

    kind: str = "softmax"
    loss: str = "cross_entropy"
    weight: Annotated[float, Field(ge=0)] = 1.0
    label_smoothing: Share = 0.1
    hidden: Annotated[int, Field(ge=1, le=65_536)] | None = Field(default=None, description="width of a hidden layer, if one is wanted")
    dropout: Share = 0.0


class OptimiserSpec(Spec):
    """`trunk_lr` is the trunk's own rate; by default it learns at `lr` like the heads."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: Positive = Field(default=5e-4, description=f"top learning rate; {FROZEN_LR} by default where the trunk is frozen")
    trunk_lr: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    momentum: Share = Field(default=0.9, description="of sgd")
    sweep: list[Positive] | None = Field(
        default=None, min_length=2, description="rates to try side by side on a frozen trunk; the best trains the run"
    )
    clip_norm: Positive | None = Field(default=None, description="largest gradient norm")
    accumulate: Count = Field(default=1, description="batches per update")


class ScheduleSpec(Spec):
    """`warmup_epochs` rises linearly from zero before any schedule; onecycle warms up by itself."""

    name: str = "onecycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    rise: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.2, description="onecycle: share of the steps in which the rate rises")
    step_epochs: Count = Field(default=3, description="step: epochs between two drops")
    step_factor: Annotated[float, Field(gt=0, le=1)] = Field(default=0.1, description="step: what each drop multiplies by")


class BalanceSpec(Spec):
    """Train rows are weighed so that the classes of each of these heads are drawn equally often, all heads at once."""

    heads: list[str] = Field(min_length=1, description="whose classes to make equal")
    strength: Annotated[float, Field(ge=0, le=1)] = Field(default=1.0, description="0 leaves the classes as they are, 1 makes them equal")
    cap: Annotated[float, Field(ge=1, le=1e6)] = Field(default=10.0, description="how many times as often a row may be drawn, at most")
    repeat_augment: str | list[dict[str, Any]] | None = Field(
        default=None, description="the recipe for a row's second and further draws in an epoch; by default the same as for its first"
    )


class HoldBackSpec(Spec):
    """What is held back for validation where a card gives no validation rows."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0
    duplicates: Literal["ignore", "group"] = Field(
        default="ignore", description="group: pictures that show the same (attrcls data lists them), and their groups, stay in one split"
    )


class CombineSpec(Spec):
    """The combined code's column name, and its attributes with the most significant first."""

    name: str
    order: list[str] = Field(min_length=1)


class CleanSpec(Spec):
    """What `clean-labels` suspects beside what its method finds, and what it leaves alone."""

    combinations: bool = Field(default=True, description="suspect combinations of labels that are impossible or very rare")
    impossible: list[dict[str, str]] = Field(default=[], description="combinations that cannot be, each a mapping of head to class name")
    floor_share: Annotated[float, Field(ge=0, le=1)] = Field(default=0.5, description="the largest share of its labels that a class may lose")
    floor_rows: Annotated[int, Field(ge=0)] = Field(default=20, description="the number of labels below which no class may fall")


def _as_card_use(value: object) -> object:
    return {"card": value} if isinstance(value, str) else value


def _as_head(value: object) -> object:
    return {} if value is None else value


def _as_balance(value: object) -> object:
    return {"heads": value} if isinstance(value, list) else value


class Task(Spec):
    """What to train. Every key has a default but `cards` and `heads`."""

    name: str
    title: str = ""
    cards: list[Annotated[CardUse, BeforeValidator(_as_card_use, json_schema_input_type=str | CardUse)]] = Field(min_length=1)
    heads: dict[str, Annotated[HeadSpec, BeforeValidator(_as_head, json_schema_input_type=HeadSpec | None)]] = Field(min_length=1)
    image: ImageSpec = ImageSpec()
    trunk: TrunkSpec = TrunkSpec()
    augment: str | list[dict[str, Any]] = Field(default="crop", description="a recipe's name, or a list of albumentations transforms")
    balance: Annotated[BalanceSpec | None, BeforeValidator(_as_balance, json_schema_input_type=list[str] | BalanceSpec | None)] = Field(
        default=None, description="heads whose classes to draw equally often, or a mapping with the choices made"
    )
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
    submission: dict[str, str] = Field(
        default={}, description="column to what fills it: image, code, a head (its class name), HEAD.id, or an input column"
    )

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
        for head in self.balance.heads if self.balance else ():
            if head not in self.heads:
                raise ValueError(f"balance.heads: no head {head!r}{suggest(head, self.heads)} (heads: {', '.join(self.heads)})")
            if self.balance and self.balance.heads.count(head) > 1:
                raise ValueError(f"balance.heads: expected each head once, found {', '.join(self.balance.heads)}")
        if "code" in self.submission.values() and not self.combine:
            raise ValueError("submission: 'code' needs the task to have a `combine:`")
        return self


@dataclass(frozen=True)
class Plan:
    """A task with its cards read and checked against it: all that training needs to be told."""

    task: Task
    cards: Mapping[str, Card]
    found: Found
    found_cards: Mapping[str, Found]

    @property
    def heads(self) -> dict[str, AttributeSpec]:
        """Each head's attribute, from the first card that has it; the cards are known to agree."""
        return {head: next(card.attributes[head] for card in self.cards.values() if head in card.attributes) for head in self.task.heads}

    @property
    def attributes(self) -> dict[str, AttributeSpec]:
        """Every attribute of the cards, whether or not it has a head."""
        return {name: spec for card in self.cards.values() for name, spec in card.attributes.items()}

    @property
    def ratios(self) -> dict[str, float]:
        """Each card's draws per epoch over its train rows."""
        return {name: use.ratio for name, use in zip(self.cards, self.task.cards, strict=True)}

    @property
    def box(self) -> BoxSpec | None:
        """The box columns, when pictures are to be cut out."""
        boxes = [card.box for card in self.cards.values() if card.box]
        return boxes[0] if boxes and self.task.image.crop_boxes else None


def load_plan(argument: str, *, overrides: Sequence[str] = (), changes: Mapping[str, Any] | None = None, heads: Sequence[str] = ()) -> Plan:
    """Read a task and its cards, apply overrides (`a.b=value`, then `changes` by dotted key), and check them together.

    `heads` keeps only those heads. Raises:
        UserError: a file is missing or not valid, a head has no attribute, or two cards disagree about classes.
    """
    found = find_spec("tasks", argument)
    raw = {"name": found.name, **read_yaml(found.path)}
    raw["heads"] = _heads_with_blank_options(raw.get("heads"))
    raw["balance"] = _as_balance(raw.get("balance"))
    for dotted, value in [*map(parse_assignment, overrides), *(changes or {}).items()]:
        raw = with_value(raw, dotted, value)
    task = parse_spec(Task, raw, file=str(found.path))
    if heads:
        for head in heads:
            if head not in task.heads:
                raise UserError(f"--heads: task {task.name} has no head {head!r}{suggest(head, task.heads)} (heads: {', '.join(task.heads)})")
        task = task.model_copy(update={"heads": {name: spec for name, spec in task.heads.items() if name in heads}})
    cards, found_cards = {}, {}
    for use in task.cards:
        card, where = load_card(use.card, relative_to=None if found.bundled else found.path.parent)
        if card.name in cards:
            raise UserError(f"{found.path}: two cards are called {card.name!r}; give one another `name:`")
        cards[card.name], found_cards[card.name] = card, where
    _check_together(task, cards, file=str(found.path))
    return Plan(task, cards, found, found_cards)


def _check_together(task: Task, cards: Mapping[str, Card], *, file: str) -> None:
    known: dict[str, tuple[str, AttributeSpec]] = {}
    for card in cards.values():
        for name, spec in card.attributes.items():
            owner, other = known.setdefault(name, (card.name, spec))
            if spec.classes != other.classes:
                raise UserError(
                    f"{file}: cards {owner} and {card.name} disagree about the classes of {name}: "
                    f"{', '.join(other.classes)} there, {', '.join(spec.classes)} here; "
                    "use the same class names in the same order"
                )
    wanted = [*task.heads, *(task.combine.order if task.combine else [])]
    for head in wanted:
        if head not in known:
            raise UserError(f"{file}: no card has an attribute {head!r}{suggest(head, known)} (attributes: {', '.join(known)})")
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


def _heads_with_blank_options(value: Any) -> Any:
    # `heads: [a, b]` and `heads: {a:, b:}` are both fine; overrides need them as a mapping.
    if isinstance(value, list) and all(isinstance(head, str) for head in value):
        return {head: {} for head in value}
    if isinstance(value, dict):
        return {head: {} if options is None else options for head, options in value.items()}
    return value
