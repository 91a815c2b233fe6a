"""The sections of a task file: each a frozen set of choices, with the default of every one.

Enters: a part of `tasks/NAME.yaml`. Leaves: the same, typed; `task.py` puts them together and checks them against each other.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from attrcls.spec import Spec

# Linear heads on features that do not change want a far higher rate than a trunk: top-1 on validation after eight epochs was
# 0.30 at 0.0005, 0.44 at 0.01 and 0.47 at 0.02 on clothing's garments, 0.60, 0.72 and 0.73 on age5's bands; after twenty
# epochs 0.01 and 0.02 did equally well.
FROZEN_LR = 0.01
# The options that give a task's keys on the command line.
FLAGS = {
    "trunk.weights": "--weights", "trunk.freeze": "--freeze", "epochs": "--epochs", "batch_size": "--batch-size", "seed": "--seed",
    "optimiser.lr": "--lr", "optimiser.sweep": "--sweep-lr", "optimiser.accumulate": "--accumulate",
    "balance": "--balance", "balance.heads": "--balance",
}  # fmt: skip
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

    kind: str = Field(default="softmax", description="softmax, or ordinal for classes that have an order")
    ordinal: Literal["corn", "coral", "soft"] | None = Field(default=None, description="how an ordinal head is taught; corn by default")
    loss: str = "cross_entropy"
    loss_options: dict[str, float] = Field(default={}, description="the loss's own choices, such as gamma of focal")
    weight: Annotated[float, Field(ge=0)] = 1.0
    label_smoothing: Share = Field(default=0.1, description="of a softmax head")
    hidden: Annotated[int, Field(ge=1, le=65_536)] | None = Field(default=None, description="width of a hidden layer, if one is wanted")
    dropout: Share = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "ordinal" and self.loss != "cross_entropy":
            raise ValueError(f"an ordinal head's loss is the one that `ordinal` names, found loss {self.loss}; leave `loss` out")
        if self.kind != "ordinal" and self.ordinal:
            raise ValueError(f"ordinal: {self.ordinal} is for a head of kind: ordinal, found kind: {self.kind}")
        return self


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


def _as_patterns(value: object) -> object:
    return [value] if isinstance(value, str) else value


class ScarceSpec(Spec):
    """Scarce train rows, named by their labels, their files or both: wherever their labels teach, they are augmented by a recipe of their own."""

    where: dict[str, str] = Field(default={}, description="attribute to class name, all of which a row has after cleaning")
    files: Annotated[list[str], BeforeValidator(_as_patterns, json_schema_input_type=str | list[str])] = Field(
        default=[], description="patterns such as */mask4.*, one of which a row's path below its card's folder is like; * stands for / as well"
    )
    augment: str | list[dict[str, Any]] = Field(description="a recipe's name, or a list of albumentations transforms")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.where and not self.files:
            raise ValueError("expected `where` (attribute: class) or `files` (a pattern such as */mask4.*), found neither")
        return self


class MixSpec(Spec):
    """Train pictures are mixed with others of their batch, and learn both's labels, each by its share."""

    mixup: Annotated[float, Field(ge=0, le=100)] = Field(default=0.0, description="alpha of the shares' beta distribution, adding pictures; 0: not")
    cutmix: Annotated[float, Field(ge=0, le=100)] = Field(default=0.0, description="the same, pasting a rectangle; 0: not")
    prob: Annotated[float, Field(gt=0, le=1)] = Field(default=1.0, description="share of the batches that are mixed")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.mixup and not self.cutmix:
            raise ValueError("expected mixup or cutmix above 0, found neither; leave `mix` out to mix nothing")
        return self


class RsgSpec(Spec):
    """Samples of one head's rare classes (those with fewer train rows than the mean class) made before a ResNet's last stage, in training."""

    head: str
    deferred: Annotated[float, Field(ge=0, le=1)] = Field(default=0.5, description="share of the epochs before the first samples are made")
    centres: Annotated[int, Field(ge=1, le=1000)] = Field(default=15, description="centres of each class")
    strength: Annotated[float, Field(gt=0, le=10)] = Field(
        default=1.0, description="how many samples are made, 1: as many as there are frequent ones"
    )


class HoldBackSpec(Spec):
    """What is held back for validation where a card gives no validation rows."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    seed: Seed = 0
    duplicates: Literal["ignore", "group"] = Field(
        default="ignore", description="group: pictures that show the same (attrcls data lists them), and their groups, stay in one split"
    )


class DecodeSpec(Spec):
    """How a model's classes are chosen, as it was fitted on validation rows: what `model.json` says under `decode`.

    `used` is what predict does, which is argmax where `asked` was worse than it, and `reason` says so; scores are cross-fitted macro-F1.
    `code_counts` are the train rows of each combined code, `strength` what their ratios count for, `offsets` those of each class.
    """

    asked: Literal["argmax", "joint", "offsets"] = "argmax"
    used: Literal["argmax", "joint", "offsets"] = "argmax"
    reason: str = ""
    strength: float = 0.0
    code_counts: list[Annotated[int, Field(ge=0)]] = []
    offsets: dict[str, list[float]] = {}
    argmax_f1: float | None = None
    fitted_f1: float | None = None


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


class UnlabelledSpec(Spec):
    """Train rows without a head's label teach it too: its answers to a weak and to a strong view of a picture are to agree.

    One picture without a label per labelled one costs twice the decoding and three times the forward passes; the papers take
    seven, which pays where there are many times as many such pictures, and repeats the same few where there are not.
    """

    method: str = "uda"
    heads: list[str] | None = Field(default=None, min_length=1, description="which heads; by default all that some train rows have no label for")
    ratio: Annotated[float, Field(gt=0, le=100)] = Field(default=1.0, description="pictures without a label per labelled one, in each batch")
    weight: Annotated[float, Field(ge=0)] = Field(default=1.0, description="of this loss beside that of the labels")
    temperature: Positive | None = Field(default=None, description="uda: sharpens the weak view's answer below 1; 0.4 by default")
    confidence: Share | None = Field(default=None, description="of the weak view's answer, for it to count; uda: 0.8, fixmatch: 0.95 by default")
    tsa: Literal["linear", "log", "exp"] | None = Field(
        default=None, description="uda: leave out labels that are known already, by a bound that rises so over the training"
    )
    weak: str | list[dict[str, Any]] = Field(default="crop", description="recipe of the weak view; a frozen trunk's kept views: none")
    strong: str | list[dict[str, Any]] = Field(default="randaugment", description="recipe of the strong view")


def as_card_use(value: object) -> object:
    """A card by its name alone, as a mapping."""
    return {"card": value} if isinstance(value, str) else value


def as_head(value: object) -> object:
    """A head without any choice, as a mapping."""
    return {} if value is None else value


def as_balance(value: object) -> object:
    """A list of heads to balance, as a mapping."""
    return {"heads": value} if isinstance(value, list) else value


def as_unlabelled(value: object) -> object:
    """A method by its name alone, as a mapping."""
    return {"method": value} if isinstance(value, str) else value


def heads_with_blank_options(value: Any) -> Any:
    """`heads: [a, b]` and `heads: {a:, b:}`, both of which are fine, as a mapping of mappings."""
    if isinstance(value, list) and all(isinstance(head, str) for head in value):
        return {head: {} for head in value}
    if isinstance(value, dict):
        return {head: {} if options is None else options for head, options in value.items()}
    return value
