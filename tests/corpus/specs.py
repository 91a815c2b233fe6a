"""More than 200 cards and tasks that are malformed: a wrong value at each key, keys lost and doubled, and YAML that attacks."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

# Every key of a card and of a task, each with a value that is right.
CARD: dict[str, Any] = {
    "name": "squares", "title": "Squares", "tables": [{"file": "labels.csv", "split": None, "images": None, "optional": False, "encoding": None}],
    "images": {"root": "images", "column": "file"}, "key": "file", "group": "person", "split": None, "box": None, "root": ".",
    "attributes": {
        "colour": {"classes": ["red", "green", "blue"], "column": "colour", "values": {"rot": "red"}, "missing": [""], "constant_in_group": False,
                   "description": ""},
        "size": {"classes": ["small", "large"], "column": "Size", "cuts": []},
    },
    "licence": "", "provenance": "", "known_faults": [], "intended_use": "",
}  # fmt: skip
TASK: dict[str, Any] = {
    "name": "squares", "title": "Squares", "cards": [{"card": "squares.card.yaml", "ratio": 1.0}],
    "heads": {"colour": {"kind": "softmax", "loss": "cross_entropy", "weight": 1.0, "label_smoothing": 0.1, "hidden": None, "dropout": 0.0},
    "size": {}},
    "image": {"px": 32, "margin": 0.125, "fit": "stretch", "crop_boxes": False, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
    "trunk": {"name": "squeezenet1_1", "weights": "none", "freeze": False, "frozen_views": 4, "freeze_epochs": 0}, "augment": "crop",
    "balance": {"heads": ["colour"], "strength": 1.0, "cap": 10.0, "repeat_augment": None},
    "scarce": {"few": {"where": {"colour": "red"}, "files": ["*/p0*"], "augment": "strong"}},
    "optimiser": {"name": "adamw", "lr": 0.002, "trunk_lr": None, "weight_decay": 0.01, "momentum": 0.9, "clip_norm": None, "accumulate": 1},
    "schedule": {"name": "onecycle", "warmup_epochs": 0.0, "rise": 0.2, "step_epochs": 3, "step_factor": 0.1}, "epochs": 1, "batch_size": 16,
    "seed": 0,
    "ema": 0.99, "early_stop_epochs": None, "monitor": "mean/f1", "keep": "best", "hold_back": {"share": 0.15, "seed": 0},
    "clean": {"combinations": True, "impossible": [{"colour": "red", "size": "large"}], "floor_share": 0.5, "floor_rows": 20},
    "combine": {"name": "code", "order": ["colour", "size"]}, "submission": {"ImageID": "image", "ans": "code"},
}  # fmt: skip
WRONG: dict[str, Any] = {
    "text": "nonsense", "true": True, "minus": -1, "huge": 10**30, "nan": float("nan"), "list": [], "nested": [[[1]]], "mapping": {"a": {"b": 1}},
    "null": None, "blank": "", "long": "x" * 20_000,
}  # fmt: skip


@dataclass(frozen=True)
class SpecFile:
    """The text of a card's or a task's file; `refused` says that no command may take it."""

    name: str
    kind: str
    what: Literal["card", "task"]
    data: bytes
    refused: bool = False


def bad_specs() -> Iterator[SpecFile]:
    """All of them."""
    for what, good in (("card", CARD), ("task", TASK)):
        yield SpecFile(f"{what}-good", "good", what, text_of(good))
        for path in _paths(good):
            for kind, value in WRONG.items():
                yield SpecFile(f"{what}-{'.'.join(map(str, path))}-{kind}", "wrong type", what, text_of(_with(good, path, value)))
        for key in good:
            yield SpecFile(f"{what}-without-{key}", "lost key", what, text_of({name: value for name, value in good.items() if name != key}))
            yield SpecFile(
                f"{what}-misspelt-{key}",
                "lost key",
                what,
                text_of({(name + "s" if name == key else name): each for name, each in good.items()}),
                True,
            )
            yield SpecFile(f"{what}-twice-{key}", "doubled key", what, text_of(good) + text_of({key: good[key]}), True)
        yield from _attacks(what, text_of(good).decode())


def text_of(spec: Mapping[str, Any]) -> bytes:
    """The YAML of plain values."""
    return yaml.safe_dump(copy.deepcopy(dict(spec)), sort_keys=False, allow_unicode=True).encode()


def _paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The way to each key, from the outside in; of a list only to its first entry."""
    if at:
        yield at
    below = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, each in below:
        yield from _paths(each, (*at, key))


def _with(spec: Mapping[str, Any], path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(spec))
    owner: Any = changed
    for part in path[:-1]:
        owner = owner[part]
    owner[path[-1]] = value
    return changed


def _attacks(what: Literal["card", "task"], good: str) -> Iterator[SpecFile]:
    laughs = 'a: &a ["ha", "ha", "ha"]\n' + "".join(
        f"{after}: &{after} [{', '.join([f'*{name}'] * 9)}]\n" for name, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    attacks = {
        "laughs": laughs + good, "self": "a: &a [*a]\n" + good, "self-mapping": "&a\nb: *a\n" + good, "merge": "x: &x {title: 1}\n<<: *x\n" + good,
        "merge-list": "<<: [1, 2]\n" + good, "merge-text": "<<: text\n" + good, "apply": "title: !!python/object/apply:os.system ['true']\n",
        "name": "title: !!python/name:os.system\n", "module": "title: !!python/module:os\n", "binary": "title: !!binary '////'\n",
        "set": "!!set {a, b}\n",
        "omap": "title: !!omap [a: 1, b: 2]\n", "pairs": "title: !!pairs [a: 1, a: 2]\n", "unknown-tag": "title: !mine x\n",
        "int-tag": "epochs: !!int x\n",
        "float-tag": "epochs: !!float x\n", "timestamp": "title: 2024-02-30\n", "timestamp-tag": "title: !!timestamp x\n",
        "bool-tag": "title: !!bool x\n",
        "null-key": "null: 1\n" + good, "list-key": "? [a, b]\n: 1\n" + good, "mapping-key": "? {a: b}\n: 1\n" + good, "number-key": "1: 1\n" + good,
        "float-key": ".nan: 1\n.nan: 2\n" + good, "bool-key": "yes: 1\n" + good, "date-key": "2024-01-02: 1\n" + good,
        "deep-list": "a: " + "[" * 20_000,
        "deep-closed": "title: " + "[" * 3000 + "]" * 3000, "deep-mapping": "a: " + "{a: " * 3000 + "1" + "}" * 3000,
        "deep-indent": "".join(" " * level + f"a{level}:\n" for level in range(600)) + " " * 601 + "1\n", "tabs": good.replace("  ", "\t"),
        "two-documents": good + "---\n" + good, "cut": good[: len(good) // 2], "cut-quote": good + "x: 'open", "directive": "%YAML 9.9\n---\n" + good,
        "directive-twice": "%YAML 1.1\n%YAML 1.1\n---\n" + good, "tag-directive": "%TAG ! tag:x,2000:\n---\n" + good, "nothing": "",
        "comment": "# only\n",
        "scalar": "text", "list": "- a\n- b\n", "null": "~", "sexagesimal": "epochs: 190:20:30\n" + good.replace("epochs", "title2"),
        "octal": "seed: 0o8\n",
        "underscores": "seed: 0x_\n", "long-int": "seed: " + "9" * 5000 + "\n", "exponent": "seed: 1e999999\n", "colon": "a: b: c\n" + good,
        "anchor": "&\n" + good,
        "alias": "a: *none\n" + good, "percent": "title: %s\n", "brackets": "title: ]\n", "escape": 'title: "\\x"\n',
        "surrogate": 'title: "\\ud800"\n',
        "far-escape": 'title: "\\U7fffffff"\n', "control": "title: \x07\n", "large": good + "# " + "x" * 1_200_000 + "\n",
        "many-keys": "".join(f"k{number}: 1\n" for number in range(5000)) + good,
        "json": '{"title": "x", "heads": [], "cards": []}', "html": "<html></html>", "csv": "a,b\n1,2\n",
    }  # fmt: skip
    alone = {"deep-closed", "percent"}
    for name, text in attacks.items():
        body = text if good in text or name in alone else text + good.replace("title:", "title2:", 1)
        refused = name not in ("comment-behind", "directive-twice", "tag-directive", "null", "nothing", "tabs", "mapping-key")
        yield SpecFile(f"{what}-yaml-{name}", "YAML", what, body.encode("utf-8", "surrogatepass"), refused and body != good)
    raw = good.encode()
    for name, data in {"utf-16": good.encode("utf-16"), "latin-1": b"title2: \xe9\n" + raw, "nul": raw[:40] + b"\0" + raw[40:],
                       "rubbish": bytes(range(256)) * 4,
                       "png": b"\x89PNG\r\n\x1a\n" + bytes(50), "zip": b"PK\x03\x04" + bytes(50), "nuls": bytes(100)}.items():  # fmt: skip
        yield SpecFile(f"{what}-bytes-{name}", "encoding", what, data, refused=True)
    yield SpecFile(f"{what}-bytes-mark", "encoding", what, b"\xef\xbb\xbf" + raw)
