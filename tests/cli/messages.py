"""Every error that a person can cause, provoked through the real command line: `python tests/cli/messages.py` prints them all in a row.

A case is a command, what is done to the drawn squares, to a card, a task or a run before it, and what its message must say: where the fault
lies, and how to mend it. `test_messages.py` checks the same cases.
"""

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import draw_squares

Provoke = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """One error: `says` are parts of its message, where the fault lies and the fix among them."""

    name: str
    command: str
    provoke: Provoke
    says: tuple[str, ...]
    code: int = 2


@dataclass(frozen=True)
class Told:
    """What the shell would see."""

    code: int
    out: str
    err: str


def write(file: str, content: str | bytes) -> Provoke:
    def provoke(place: Path) -> None:
        path = place / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # never through a hard link
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return provoke


def edit(file: str, old: str, new: str) -> Provoke:
    def provoke(place: Path) -> None:
        text = (place / file).read_text()
        assert old in text, f"{file} has no {old!r}"
        write(file, text.replace(old, new, 1))(place)

    return provoke


def card(old: str, new: str) -> Provoke:
    return edit("squares.card.yaml", old, new)


def task(old: str, new: str) -> Provoke:
    return edit("squares.task.yaml", old, new)


def labels(old: str, new: str) -> Provoke:
    return edit("labels.csv", old, new)


def gone(file: str) -> Provoke:
    return lambda place: shutil.rmtree(place / file) if (place / file).is_dir() else (place / file).unlink()


def folder(name: str) -> Provoke:
    return lambda place: (place / name).mkdir(parents=True)


def both(*provokes: Provoke) -> Provoke:
    return lambda place: [provoke(place) for provoke in provokes]


def nothing(place: Path) -> None:
    """The command itself is at fault."""


def two_cards(place: Path) -> None:
    shutil.copy(place / "squares.card.yaml", place / "other.card.yaml")
    task("[squares.card.yaml]", "[squares.card.yaml, other.card.yaml]")(place)


def no_submission(place: Path) -> None:
    description = json.loads((place / "run" / "model" / "model.json").read_text())
    write("run/model/model.json", json.dumps({**description, "submission": {}}))(place)


FIRST = "p00_0.jpg,red,small,p0"


def split(place: Path) -> None:
    """A split column: all train."""
    card("group: person", "group: person\nsplit: part")(place)
    header, *rows = (place / "labels.csv").read_text().splitlines()
    write("labels.csv", "".join(f"{line}\n" for line in [f"{header},part", *(f"{row},train" for row in rows)]))(place)


DATA, TRAIN = "data squares.task.yaml --no-duplicates", "train squares.task.yaml --workers 0"
CLEAN = "clean-labels squares.task.yaml --workers 0"
PREDICT, EVALUATE = "predict run labels.csv --workers 0", "evaluate run labels.csv --workers 0"

CASES = [
    # The command line itself.
    Case("an unknown command", "trian squares", nothing, ("Usage:", "trian")),
    Case("an unknown flag", "train squares.task.yaml --epoch 3", nothing, ("Usage:", "--epoch", "--epochs")),
    Case("no task", "train", nothing, ("Usage:", "argument 'task'")),
    Case("letters for a number", "train squares.task.yaml --epochs many", nothing, ("--epochs", "integer")),
    Case("a choice that is none", "train squares.task.yaml --on-error ignore", nothing, ("--on-error", "ignore", "'stop'", "'skip'")),
    Case("a negative count", "train squares.task.yaml --limit 0", nothing, ("--limit", "greater than or equal to 1")),
    Case("predict without input", "predict run", nothing, ("attrcls predict RUN INPUT",)),
    Case("evaluate without input", "evaluate run", nothing, ("attrcls evaluate RUN INPUT",)),
    Case("a device that is none", f"{TRAIN} --device gpu", nothing, ("--device", "'gpu'", "auto, cpu, cuda")),
    Case("a device that is not here", f"{TRAIN} --device cuda:99", nothing, ("--device cuda:99", "--device cpu")),
    Case("a precision that is none", f"{TRAIN} --precision 8", nothing, ("--precision", "'8'", "auto, 32 or bf16")),
    Case("--set without a value", f"{TRAIN} --set epochs", nothing, ("--set epochs", "KEY=VALUE")),
    Case("--set with a broken value", f"{TRAIN} --set 'heads=[a'", nothing, ("--set heads=[a", "YAML", "such as")),
    Case("--set below a value", f"{TRAIN} --set epochs.more=2", nothing, ("epochs",)),
    Case("--set of an unknown key", f"{TRAIN} --set epoch=2", nothing, ("epoch", "did you mean 'epochs'")),
    Case("an encoding that is none", f"{PREDICT} --encoding utf9", nothing, ("--encoding utf9", "utf-8")),
    Case("a batch of nobody", f"{PREDICT} --batch-size 0", nothing, ("--batch-size", "1 or more", "0")),
    Case("an epoch count of none", f"{TRAIN} --epochs 0", nothing, ("what was asked for: 1 problem", "--epochs: expected greater than", "found 0")),
    Case("a rate of none", f"{TRAIN} --lr 0", nothing, ("--lr: expected greater than 0, found 0",)),
    Case("balance of a head that is none", f"{TRAIN} --balance color", nothing, ("--balance: no head 'color'", "did you mean 'colour'")),
    Case("--set with a value that is none", f"{TRAIN} --set batch_size=0", nothing, ("--set batch_size: expected greater than", "found 0")),
    Case(
        "a fault of the file beside one of a flag",
        f"{TRAIN} --epochs 0",
        task("epochs: ", "seed: -1\nepochs: "),
        ("squares.task.yaml: seed", "--epochs"),
    ),
    Case("a sweep of one rate", f"{TRAIN} --freeze --sweep-lr 1e-3", nothing, ("--sweep-lr: expected two or more learning rates", "'1e-3'")),
    Case(
        "a sweep of one rate in the task",
        TRAIN,
        task("lr: 2.0e-3", "sweep: [0.1]"),
        ("optimiser.sweep: expected 2 or more, found 1",),
    ),
    Case("system facts without tracking", f"{TRAIN} --wandb-system", nothing, ("--wandb-system", "give --wandb")),
    Case("the size of no cache", f"{TRAIN} --cache-size 5GB", nothing, ("--cache-size 5GB", "--cache DIR")),
    Case("the size of no cache, in cleaning", f"{CLEAN} --cache-size 5GB", nothing, ("--cache-size 5GB", "--cache DIR")),
    Case(
        "weights that are none, in the task",
        TRAIN,
        task("weights: none", "weights: nope"),
        ("trunk.weights: resnet18 has no weights 'nope'", "--weights"),
    ),
    Case("a card in place of a task", "train squares.card.yaml", nothing, ("squares.card.yaml: expected a task, found a data card", "cards:")),
    Case("a table in place of a task", "train labels.csv", nothing, ("labels.csv: expected a task", "attrcls card init labels.csv")),
    Case(
        "no picture where the table's folder is",
        "predict run other/labels.csv",
        lambda place: write("other/labels.csv", (place / "labels.csv").read_text())(place),
        ("other/labels.csv: none of its", "'p00_0.jpg'", "--image-root DIR"),
    ),
    Case(
        "no picture where the card says",
        TRAIN,
        card("images: {root: images", "images: {root: pictures"),
        ("no image folder", "pictures", "images: {root: FOLDER}", "rows 1, 2, 3, 4, 5 and"),
    ),
    Case(
        "duplicates written over the table",
        "data squares.task.yaml --duplicates-csv labels.csv",
        nothing,
        ("--duplicates-csv labels.csv", "read here", "name another"),
    ),
    Case(
        "decisions carried out over the table",
        "clean-labels squares.task.yaml --apply d.csv --out labels.csv --overwrite",
        write("d.csv", "card,row_id,head,decision\n"),
        ("--out labels.csv", "read here"),
    ),
    Case(
        "a report of a cleaning",
        "report clean",
        write("clean/status.json", '{"format_version": 1, "state": "finished", "kind": "cleaning"}'),
        ("clean: a cleaning has no report", "review.html"),
    ),
    Case("a head that is none", f"{TRAIN} --heads color", nothing, ("--heads", "'color'", "did you mean 'colour'")),
    Case(
        "an option that a loss has not",
        f"{TRAIN} --set heads.size.loss=focal --set heads.size.loss_options.gama=2",
        nothing,
        ("squares.task.yaml: heads.size.loss_options", "gama", "did you mean 'gamma'"),
    ),
    Case(
        "an option of a loss out of range",
        f"{TRAIN} --set heads.size.loss_options.beta=1",
        nothing,
        ("squares.task.yaml: heads.size.loss_options", "beta", "less than 1"),
    ),
    Case(
        "an option of a loss without any",
        f"{TRAIN} --set heads.size.loss=balanced_softmax --set heads.size.loss_options.tau=1",
        nothing,
        ("squares.task.yaml: heads.size.loss_options", "balanced_softmax takes no options", "leave them out"),
    ),
    Case(
        "an option that an ordinal head has not",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.loss_options.gamma=2",
        nothing,
        ("squares.task.yaml: heads.size.loss_options", "gamma", "known here: beta"),
    ),
    Case(
        "an ordinal head with a loss",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.loss=focal",
        nothing,
        ("heads.size", "`ordinal` names", "leave `loss` out"),
    ),
    Case(
        "an ordinal way without its kind", f"{TRAIN} --set heads.size.ordinal=corn", nothing, ("heads.size", "kind: ordinal", "found kind: softmax")
    ),
    Case("an ordinal way that is none", f"{TRAIN} --set heads.size.ordinal=corm", nothing, ("heads.size.ordinal", "'corm'", "did you mean 'corn'")),
    Case(
        "a sigma around no number",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.ordinal=soft --set heads.size.loss_options.sigma=2",
        nothing,
        ("squares.task.yaml: heads.size.loss_options.sigma", "no card has attributes.size.cuts", "leave sigma out"),
    ),
    Case(
        "a sigma around numbers that no table has",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.ordinal=soft --set heads.size.loss_options.sigma=2",
        card("[small, large]}", "[small, large], cuts: [5]}"),
        ("squares.task.yaml: heads.size.loss_options.sigma", "none among 10 train rows", "class names", "leave sigma out"),
    ),
    Case(
        "a sigma of nothing",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.ordinal=soft --set heads.size.loss_options.sigma=0",
        nothing,
        ("squares.task.yaml: heads.size.loss_options", "sigma", "greater than 0"),
    ),
    Case(
        "a sigma around two cards' cut points",
        f"{TRAIN} --set heads.size.kind=ordinal --set heads.size.ordinal=soft --set heads.size.loss_options.sigma=2",
        both(card("[small, large]}", "[small, large], cuts: [5]}"), two_cards, edit("other.card.yaml", "cuts: [5]", "cuts: [6]")),
        ("heads.size.loss_options.sigma", "same points", "5 in squares", "6 in other", "leave sigma out"),
    ),
    Case(
        "an order of one class",
        f"{TRAIN} --set heads.size.kind=ordinal",
        card("[small, large]", "[small]"),
        ("squares.task.yaml: heads.size.kind", "two classes or more", "use softmax"),
    ),
    Case(
        "an error in classes of a head without order",
        f"{TRAIN} --set monitor=size/mae",
        nothing,
        ("monitor", "'size/mae'"),
    ),
    Case("a balance of losses that is none", f"{TRAIN} --set loss_balance=fama", nothing, ("loss_balance", "'fama'", "did you mean 'famo'")),
    Case(
        "a balance of losses in a sweep",
        f"{TRAIN} --freeze --sweep-lr 0.1,0.2 --set loss_balance=famo --weights none",
        nothing,
        ("--sweep-lr", "loss_balance: famo", "leave it out"),
    ),
    Case("a mix of nothing", f"{TRAIN} --set 'mix={{prob: 0.5}}'", nothing, ("mix", "mixup or cutmix above 0", "leave `mix` out")),
    Case("a mix that is none", f"{TRAIN} --set mix.mixupp=1", nothing, ("mix.mixupp", "did you mean 'mixup'")),
    Case("features cut", f"{TRAIN} --freeze --set mix.cutmix=1", nothing, ("mix.cutmix", "frozen trunk", "mix.mixup")),
    Case("rare samples of no head", f"{TRAIN} --set rsg.head=color", nothing, ("rsg.head", "'color'", "did you mean 'colour'")),
    Case("rare samples in a frozen trunk", f"{TRAIN} --freeze --set rsg.head=colour", nothing, ("rsg", "trunk.freeze", "leave one of them out")),
    Case("rare samples of mixed ones", f"{TRAIN} --set rsg.head=colour --set mix.mixup=1", nothing, ("rsg", "`mix`", "leave one of them out")),
    Case("rare samples without a ResNet", f"{TRAIN} --set rsg.head=colour --set trunk.name=alexnet", nothing, ("rsg", "resnet", "alexnet")),
    Case("rare samples compiled", f"{TRAIN} --set rsg.head=colour --compile", nothing, ("--compile", "rsg", "leave one of them out")),
    Case(
        "rare samples without rare classes",
        f"{TRAIN} --set rsg.head=size",
        card("[small, large]}", "[small], values: {large: small}}"),
        ("rsg", "every class of size", "leave `rsg` out"),
    ),
    Case(
        "a scarce group of no attribute",
        f"{TRAIN} --set 'scarce.few={{where: {{color: red}}, augment: strong}}'",
        nothing,
        ("squares.task.yaml: scarce.few.where", "'color'", "did you mean 'colour'"),
    ),
    Case(
        "a scarce group of no class",
        f"{TRAIN} --set 'scarce.few={{where: {{colour: redd}}, augment: strong}}'",
        nothing,
        ("squares.task.yaml: scarce.few.where.colour", "'redd'", "did you mean 'red'"),
    ),
    Case(
        "a scarce group of no recipe",
        f"{TRAIN} --set 'scarce.few={{files: p0*, augment: stron}}'",
        nothing,
        ("squares.task.yaml: scarce.few.augment", "'stron'", "did you mean 'strong'"),
    ),
    Case(
        "a scarce group of no transform",
        f"{TRAIN} --set 'scarce.few={{files: p0*, augment: [{{name: HorizontalFlp}}]}}'",
        nothing,
        ("scarce.few.augment.0", "HorizontalFlp", "did you mean 'HorizontalFlip'"),
    ),
    Case(
        "a scarce group on a device that cannot do its recipe",
        f"{TRAIN} --device cpu --cache device --set 'scarce.few={{where: {{size: small}}, augment: randaugment}}'",
        nothing,
        ("scarce.few.augment: --cache device cannot do SomeOf", "--cache DIR"),
    ),
    Case("a scarce group without a recipe", f"{TRAIN} --set 'scarce.few.files=p0*'", nothing, ("scarce.few.augment", "needed and not given")),
    Case(
        "a scarce group that looks for nothing", f"{TRAIN} --set scarce.few.augment=strong", nothing, ("scarce.few", "`where`", "`files`", "neither")
    ),
    Case(
        "a scarce group with a misspelt key",
        f"{TRAIN} --set 'scarce.few={{file: p0*, augment: strong}}'",
        nothing,
        ("scarce.few.file", "did you mean 'files'"),
    ),
    Case("scarce groups of nobody", f"{TRAIN} --set 'scarce={{}}'", nothing, ("scarce", "found an empty mapping", "leave `scarce` out")),
    Case(
        "scarce groups without rows",
        f"{TRAIN} --set 'scarce.few={{files: [p0*, q*], where: {{size: large}}, augment: strong}}'",
        nothing,
        ("squares.task.yaml: scarce.few", "size large and a path like p0* or q*", "none among 10", "is images/p0", "--set scarce=null"),
    ),
    Case(
        "scarce groups in a sweep",
        f"{TRAIN} --freeze --sweep-lr 0.1,0.2 --weights none --set 'scarce.few={{where: {{size: small}}, augment: strong}}'",
        nothing,
        ("--sweep-lr", "no scarce"),
    ),
    Case("a balanced head twice", f"{TRAIN} --balance size,size", nothing, ("--balance: ", "each head once")),
    Case("a balanced head twice in the task", TRAIN, task("epochs: ", "balance: [size, size]\nepochs: "), ("squares.task.yaml: balance.heads",)),
    Case("--data of a card that is none", f"{DATA} --data squars=.", two_cards, ("--data squars=.", "did you mean", "CARD=DIR")),
    Case("a duplicates' table that is none", "data squares.task.yaml --duplicates-csv d.xlsx", nothing, ("d.xlsx", ".csv")),
    Case("a duplicates' table of nothing", f"{DATA} --duplicates-csv d.csv", nothing, ("--duplicates-csv", "--no-duplicates", "leave one")),
    Case("a sample that is none", "sample drawn --kind cats", nothing, ("--kind", "'cats'", "faces or fashion")),
    Case("a sample into a full folder", "sample .", nothing, ("folder",)),
    Case("a demo into a full folder", "demo .", nothing, ("attrcls demo FOLDER",)),
    # Tasks and cards.
    Case("a task that is none", "train squares.tsk.yaml", nothing, ("squares.tsk.yaml", "attrcls list")),
    Case("a bundled task misspelt", "train mask81", nothing, ("'mask81'", "did you mean 'mask18'")),
    Case("a folder for a task", "train images", nothing, ("images", "a YAML file")),
    Case("a task that is no YAML", DATA, task("heads: [colour, size]", "heads: [colour"), ("squares.task.yaml", "line", "not valid YAML")),
    Case("a key twice", DATA, task("epochs: 2", "epochs: 2\nepochs: 3"), ("squares.task.yaml", "epochs")),
    Case("a task that is a list", DATA, write("squares.task.yaml", "- a\n"), ("squares.task.yaml", "a mapping", "a list")),
    Case("a task that is not UTF-8", DATA, write("squares.task.yaml", b"title: \xff\n"), ("squares.task.yaml", "0xff", "save it as UTF-8")),
    Case("an empty task", DATA, write("squares.task.yaml", ""), ("squares.task.yaml", "a mapping")),
    Case("several faults of a task", DATA, both(task("epochs: 2", "epochs: two"), task("trunk", "trnk")), ("epochs", "did you mean 'trunk'")),
    Case("a head with no attribute", DATA, task("[colour, size]", "[color, size]"), ("squares.task.yaml", "'color'", "did you mean 'colour'")),
    Case("a combined head with no attribute", DATA, task("order: [colour, size]", "order: [color]"), ("'color'", "did you mean 'colour'")),
    Case("a combined head twice", DATA, task("order: [colour, size]", "order: [size, size]"), ("combine.order", "once")),
    Case("a combined code named as a head", DATA, task("name: code", "name: size"), ("combine.name", "choose another")),
    Case("a submission without a code", DATA, task("combine: {name: code, order: [colour, size]}", ""), ("submission", "combine")),
    Case("a submission of no head", DATA, task("ans: code", "ans: color.id"), ("submission.ans", "'color'", "did you mean 'colour'")),
    Case("boxes to crop but none", DATA, task("{px: 32}", "{px: 32, crop_boxes: true}"), ("image.crop_boxes", "add `box:`")),
    Case(
        "an impossible class", DATA, task("epochs: 2", "clean: {impossible: [{colour: redd}]}"), ("clean.impossible.0.colour", "did you mean 'red'")
    ),
    Case("an impossible head", DATA, task("epochs: 2", "clean: {impossible: [{color: red}]}"), ("clean.impossible.0", "'colour'")),
    Case(
        "unlabelled rows where there are none",
        f"{TRAIN} --set unlabelled=uda",
        nothing,
        ("every train row has a label", "--decisions", "attributes: {}"),
    ),
    Case(
        "a temperature that no method knows",
        f"{TRAIN} --set unlabelled={{method:\\ fixmatch,temperature:\\ 1}}",
        nothing,
        ("unlabelled.temperature", "leave it out"),
    ),
    Case("a pretext that is none", "pretrain squares.task.yaml --on sise", nothing, ("--on", "did you mean 'size'", "rotation")),
    Case("a trunk that is none", TRAIN, task("resnet18", "resnet81"), ("trunk.name", "resnet81", "did you mean 'resnet18'")),
    Case("a loss that is none", f"{TRAIN} --set heads.size.loss=focl", nothing, ("heads.size.loss", "did you mean 'focal'")),
    Case("a recipe that is none", f"{TRAIN} --set augment=corp", nothing, ("augment", "did you mean 'crop'")),
    Case("a transform that is none", f"{TRAIN} --set 'augment=[{{name: HorizontalFlp}}]'", nothing, ("augment.0", "HorizontalFlip")),
    Case(
        "a transform's argument that is none", f"{TRAIN} --set 'augment=[{{name: HorizontalFlip, q: 1}}]'", nothing, ("augment.0", "HorizontalFlip")
    ),
    Case("a monitor that is none", f"{TRAIN} --set monitor=mean/f2", nothing, ("monitor", "mean/f2", "mean/f1")),
    Case("a picture too small for its trunk", f"{TRAIN} --set image.px=8 --set trunk.name=inception_v3", nothing, ("8 px", "image.px")),
    Case("weights that are none", f"{TRAIN} --weights IMAGENET", nothing, ("--weights", "IMAGENET", "none")),
    Case("weights that are no weights", f"{TRAIN} --weights labels.csv", nothing, ("--weights labels.csv", ".safetensors")),
    Case("weights of a wider trunk", f"{TRAIN} --weights run --set trunk.name=resnet50", nothing, ("--weights run", "another trunk")),
    Case("weights of another kind of trunk", f"{TRAIN} --weights run --set trunk.name=alexnet", nothing, ("--weights run", "no tensor fits")),
    Case("a card that is none", DATA, task("squares.card", "squars.card"), ("squars.card.yaml", "no data card")),
    Case("a card's unknown key", DATA, card("column: file", "colum: file"), ("squares.card.yaml", "images.colum", "did you mean 'column'")),
    Case("a class twice", DATA, card("[red, green, blue]", "[red, green, red]"), ("squares.card.yaml", "attributes.colour", "each class once")),
    Case("cuts that do not rise", DATA, card("[small, large]}", "[small, large], cuts: [5, 2]}"), ("attributes.size", "rising", "found 5, 2")),
    Case("a value that maps to no class", DATA, card("[small, large]}", "[small, large], values: {x: smal}}"), ("values", "did you mean 'small'")),
    Case("a reserved attribute", DATA, card("  size:", "  path:"), ("attributes.path", "reserved")),
    Case(
        "constant in no group",
        DATA,
        both(card("group: person\n", ""), card("[small, large]}", "[small, large], constant_in_group: true}")),
        ("group",),
    ),
    Case("two cards of one name", DATA, both(two_cards, edit("other.card.yaml", "title:", "name: squares\ntitle:")), ("'squares'", "`name:`")),
    Case("two cards that disagree", f"{DATA}", both(two_cards, edit("other.card.yaml", "[red, green", "[green, red")), ("colour", "same order")),
    Case("no data folder told", DATA, card("root: .\n", ""), ("card squares", "labels.csv", "--data DIR")),
    Case("a data folder that is none", f"{DATA} --data nowhere", nothing, ("nowhere", "labels.csv", "--data DIR")),
    Case("pictures of no pixels", f"{TRAIN} --set image.px=1", nothing, ("image.px", "8", "found 1")),
    # Tables.
    Case("a table that is gone", DATA, gone("labels.csv"), ("labels.csv", "no such file")),
    Case("a table misspelt", DATA, card("[labels.csv]", "[label.csv]"), ("label.csv", "did you mean labels.csv")),
    Case("optional tables all gone", DATA, card("[labels.csv]", "[{file: l.csv, optional: true}]"), ("card squares", "l.csv", "--data DIR")),
    Case("a column that is gone", DATA, labels("file,", "File,"), ("labels.csv", "'file'", "did you mean 'File'")),
    Case("a label column misspelt", DATA, labels("colour", "color"), ("labels.csv", "'colour'", "did you mean 'color'")),
    Case("a table of zero bytes", DATA, write("labels.csv", ""), ("labels.csv", "zero bytes")),
    Case("a table of a header only", DATA, write("labels.csv", "file,colour,Size,person\n"), ("labels.csv", "header only")),
    Case("a spreadsheet", DATA, write("labels.csv", b"PK\x03\x04" + bytes(60)), ("labels.csv", "CSV")),
    Case("a table in UTF-16 without its mark", DATA, write("labels.csv", "file,colour\n".encode("utf-16-le")), ("labels.csv", "NUL")),
    Case("a column twice", DATA, labels("file,colour", "file,file"), ("labels.csv", "rename")),
    Case("a row too long", DATA, labels(FIRST, FIRST + ",more"), ("labels.csv", "row 1")),
    Case("a quote without its end", DATA, labels(FIRST, 'p00_0.jpg,"red,small,p0'), ("labels.csv", "never closed", "look for")),
    Case("a table of JSON", DATA, both(card("labels.csv", "l.json"), write("l.json", "[]")), ("l.json", ".jsonl")),
    Case(
        "lines that are no JSON",
        DATA,
        both(card("labels.csv", "l.jsonl"), write("l.jsonl", '{"file": 1}\n[]\n')),
        ("l.jsonl", "row 2", "one object a line"),
    ),
    Case("a Parquet file that is none", DATA, both(card("labels.csv", "l.parquet"), write("l.parquet", "no")), ("l.parquet", "Parquet")),
    Case("a folder for a table", DATA, both(gone("labels.csv"), folder("labels.csv")), ("labels.csv", "a folder", "name the file in it")),
    # Rows and pictures.
    Case("a class misspelt", TRAIN, labels("red", "redd"), ("labels.csv, row 1, column colour", "'redd'", "did you mean 'red'", "--on-error skip")),
    Case("a picture that is gone", TRAIN, gone("images/p00_0.jpg"), ("row 1, column file", "images/p00_0.jpg", "--on-error skip")),
    Case("a picture that is broken", TRAIN, write("images/p00_0.jpg", b"broken"), ("images/p00_0.jpg", "not", "--on-error skip")),
    Case("a picture of zero bytes", TRAIN, write("images/p00_0.jpg", b""), ("images/p00_0.jpg", "zero bytes", "--on-error skip")),
    Case("a web page for a picture", TRAIN, write("images/p00_0.jpg", "<html>sorry</html>"), ("a web page", "download it again")),
    Case("a path out of the folder", TRAIN, labels("p00_0.jpg", "../p.jpg"), ("row 1, column file", "stay below it")),
    Case("a blank path", TRAIN, labels("p00_0.jpg", ""), ("row 1, column file", "a blank cell")),
    Case("a row twice", TRAIN, labels("p00_1.jpg", "p00_0.jpg"), ("row 2, column file", "a second time")),
    Case("no image folder", TRAIN, card("root: images", "root: img"), ("no image folder img", "images: {root: FOLDER}")),
    Case(
        "a split that is none",
        TRAIN,
        both(split, labels(FIRST + ",train", FIRST + ",trian")),
        ("row 1, column part", "'trian'", "did you mean 'train'"),
    ),
    Case("a group in two splits", TRAIN, both(split, labels(FIRST + ",train", FIRST + ",test")), ("group 'p0'", "test (row 1)", "--on-error skip")),
    Case(
        "a group in two splits, looked at",
        DATA,
        both(split, labels(FIRST + ",train", FIRST + ",test")),
        ("group 'p0'", "test (row 1)", "--on-error skip"),
    ),
    Case("bad rows, looked at", DATA, labels("red", "redd"), ("row 1, column colour", "--on-error skip"), 3),
    Case("nothing usable", f"{TRAIN} --on-error skip", gone("images"), ("no usable row", "no image folder")),
    Case("a group column that is gone", TRAIN, card("group: person", "group: persn"), ("'persn'", "did you mean 'person'")),
    Case("one row only", TRAIN, write("labels.csv", f"file,colour,Size,person\n{FIRST}\n"), ("2 train groups", "found 1")),
    Case("only test rows", TRAIN, card("[labels.csv]", "[{file: labels.csv, split: test}]"), ("no train row", "give some rows")),
    Case("a head without labels", TRAIN, card("column: Size", "column: person, missing: [p0, p1, p2, p3, p4, p5]"), ("size", "--heads", "missing:")),
    # Runs.
    Case("a run that is there already", f"{TRAIN} --out run", nothing, ("--out run", "--resume", "--overwrite")),
    Case("a folder of other files", f"{TRAIN} --out images", nothing, ("--out images", "name a new folder")),
    Case("a file for a folder", f"{TRAIN} --out labels.csv", nothing, ("--out labels.csv", "found a file")),
    Case("decisions that are gone", f"{TRAIN} --decisions d.csv", nothing, ("d.csv", "no such file")),
    Case("decisions that are none", f"{TRAIN} --decisions labels.csv", nothing, ("labels.csv", "decisions.csv", "found no")),
    Case("resuming with another rate", f"{TRAIN} --out run --resume --lr 0.5", nothing, ("--resume", "optimiser.lr", "0.5")),
    Case("a run that is none", "predict nowhere labels.csv", nothing, ("nowhere", "attrcls train")),
    Case("a folder that is no run", "predict images labels.csv", nothing, ("images", "not a run directory")),
    Case("a description that is damaged", PREDICT, write("run/model/model.json", "{"), ("model.json", "damaged")),
    Case(
        "a description of another version",
        PREDICT,
        edit("run/model/model.json", '"format_version": ', '"format_version": 9'),
        ("format version", "use the one"),
    ),
    Case("weights that are damaged", PREDICT, write("run/model/weights.safetensors", "x"), ("weights.safetensors", "train again")),
    Case("weights that are gone", PREDICT, gone("run/model/weights.safetensors"), ("weights.safetensors", "train again")),
    Case("an input that is none", "predict run nothing.csv", nothing, ("nothing.csv", "a folder, a picture, or a table")),
    Case("an input that is neither", "predict run squares.card.yaml", nothing, ("squares.card.yaml", ".csv")),
    Case("a folder without pictures", "predict run empty", folder("empty"), ("empty", "no picture")),
    Case("no column of pictures", "predict run t.csv", write("t.csv", "a,b\n1,2\n"), ("t.csv", "--image-column")),
    Case("a column of pictures that is none", f"{PREDICT} --image-column image", nothing, ("labels.csv", "'image'")),
    Case("an engine that is none", f"{PREDICT} --engine onnx", nothing, ("--engine", "onnxruntime", "found 'onnx'")),
    Case("an export of no run", "export images --onnx m.onnx", nothing, ("images", "not a run directory")),
    Case("an export to no ONNX file", "export run --onnx m.pt", nothing, ("--onnx m.pt", ".onnx")),
    Case("predictions into no table", f"{PREDICT} --csv p.xlsx", nothing, ("p.xlsx", ".csv")),
    Case("a submission the task has not", f"{PREDICT} --csv p.csv --submission", no_submission, ("--submission", "`submission:`")),
    Case("a picture that predict cannot read", f"{PREDICT} --csv p.csv", write("images/p00_0.jpg", b"x"), ("p.csv", "1 without a prediction"), 3),
    Case("a split to score that is none", f"{EVALUATE} --split tset", nothing, ("--split", "labels.csv", "'split'")),
    Case("a split to score without rows", "evaluate run . --split test", nothing, ("test split", "train, val")),
    Case("a truth without a match", f"{EVALUATE} --truth t.csv", write("t.csv", "file,colour\nx.jpg,red\n"), ("t.csv", "written the same way")),
    Case("a truth without labels", f"{EVALUATE} --truth t.csv", write("t.csv", "file,x\np00_0.jpg,1\n"), ("t.csv", "--truth FILE")),
    Case(
        "a truth with a picture twice",
        f"{EVALUATE} --truth t.csv",
        write("t.csv", "file,colour\np00_0.jpg,red\np00_0.jpg,red\n"),
        ("t.csv", "more than once"),
    ),
    Case("a truth with another name", f"{EVALUATE} --truth t.csv", write("t.csv", "name,colour\np00_0.jpg,red\n"), ("t.csv", "column file")),
    Case("a truth with a class that is none", f"{EVALUATE} --truth t.csv", write("t.csv", "file,colour\np00_0.jpg,redd\n"), ("t.csv", "'redd'")),
    Case("a report of no run", "report images", nothing, ("images", "attrcls train")),
    Case("a report of nothing", "report nowhere", nothing, ("nowhere", "attrcls train")),
    Case("a report of a damaged run", "report run", write("run/status.json", "{"), ("status.json", "train again")),
    Case("a report without a table", "report run", gone("run/metrics.csv"), ("metrics.csv", "train again")),
    Case("a report of a broken table", "report run", write("run/validation.csv", "x\n1\n"), ("validation.csv",)),
    # Cleaning.
    Case("decisions to apply to nowhere", "clean-labels squares.task.yaml --apply d.csv", nothing, ("--apply", "--out FILE")),
    Case("decisions to apply that are none", "clean-labels squares.task.yaml --apply labels.csv --out c.csv", nothing, ("labels.csv", "decision")),
    Case(
        "decisions applied over a file", "clean-labels squares.task.yaml --apply d.csv --out labels.csv", nothing, ("--out labels.csv", "--overwrite")
    ),
    Case("decisions applied into a folder", "clean-labels squares.task.yaml --apply d.csv --out images", nothing, ("--out images", "cleaned.csv")),
    Case("a method with --full", f"{CLEAN} --method confident --full", nothing, ("--method confident", "leave --full out")),
    Case("a cleaning into a run", f"{CLEAN} --out run --resume", nothing, ("--resume", "--out")),
    # Drafting a card.
    Case("a card drafted over another", "card init labels.csv --out squares.card.yaml", nothing, ("squares.card.yaml", "--out")),
    Case("a card of no pictures", "card init t.csv", write("t.csv", "a,b\n1,2\n"), ("t.csv", "no column names pictures")),
    Case("a card of no labels", "card init t.csv", write("t.csv", "a,b\n1.jpg,2\n2.jpg,2\n"), ("t.csv", "no column looks like labels")),
]


def make_template(place: Path) -> Path:
    """The drawn squares of six people, with a run trained on them."""
    draw_squares(place, people=6, each=2)
    told = run(f"{TRAIN} --out run --epochs 1", place)
    assert told.code == 0, told.err
    return place


def tell(case: Case, template: Path, place: Path) -> Told:
    """Provoke a case in a fresh copy of the template."""
    # The weights are too large to copy for each case, and nobody writes into them.
    shutil.copytree(template, place, copy_function=lambda source, to: (os.link if source.endswith(".safetensors") else shutil.copy2)(source, to))
    case.provoke(place)
    return run(case.command, place)


def run(command: str, place: Path) -> Told:
    """Call `attrcls` in a folder, as its entry point does."""
    from attrcls.cli.app import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with _arguments(["attrcls", *shlex.split(command)]), contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Told(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _arguments(arguments: list[str]) -> Iterator[None]:
    before = sys.argv
    sys.argv = arguments
    try:
        yield
    finally:
        sys.argv = before


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["ATTRCLS_CACHE"] = f"{scratch}/cache"
        template = make_template(Path(scratch) / "template")
        for number, case in enumerate(CASES):
            told = tell(case, template, Path(scratch) / str(number))
            sys.stdout.write(f"── {case.name}\n$ attrcls {case.command}\n{told.err.rstrip()}\n[exit {told.code}]\n\n")
            shutil.rmtree(Path(scratch) / str(number))
