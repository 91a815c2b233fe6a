"""YAML files in, frozen pydantic models out, with every error of a file collected and raised once.

Also finds a task or a card by path or by the name under which it is bundled with attrcls.
"""

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from attrcls.errors import Problem, ProblemsError, UserError

SpecKind = Literal["tasks", "data_cards"]
MAX_SPEC_BYTES = 1_000_000
_CALLED: Mapping[SpecKind, str] = {"tasks": "task", "data_cards": "data card"}
# What is likely a table of labels, given where a spec should be.
_TABLES = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})


class Spec(BaseModel):
    """Base of every part of a card or a task: frozen; unknown keys, and numbers that are none, are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False)


SpecT = TypeVar("SpecT", bound=Spec)


@dataclass(frozen=True)
class Found:
    """Where a task or card was found. `bundled` says that a name, not a path, was given."""

    name: str
    path: Path
    bundled: bool


def find_spec(kind: SpecKind, argument: str, *, relative_to: Path | None = None) -> Found:
    """Find a task or card: an existing path (relative to `relative_to`, if given) wins over a bundled name.

    Raises:
        UserError: neither exists; the message names the nearest bundled name.
    """
    path = (relative_to or Path()) / os.path.expanduser(argument)
    # os.path, unlike Path, finds a name that is too long simply absent.
    if os.path.isfile(path):
        if path.suffix.lower() in _TABLES:
            raise UserError(f"{path}: expected a {_CALLED[kind]}, which is YAML, found a table; draft one from it: attrcls card init {path}")
        # labels.card.yaml and labels.task.yaml, as `card init` calls them, are both about labels.
        return Found(path.stem.removesuffix(".card").removesuffix(".task"), path, bundled=False)
    bundled = bundled_specs(kind)
    if argument in bundled:
        return Found(argument, bundled[argument], bundled=True)
    what = _CALLED[kind]
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder; expected a {what}: a YAML file, or one of {', '.join(bundled)}")
    raise UserError(
        f"no {what} {argument!r}: there is no such file, and no bundled {what} of that name"
        f"{suggest(argument, bundled)} (bundled: {', '.join(bundled)}; see `attrcls list`)"
    )


@cache
def bundled_specs(kind: SpecKind) -> dict[str, Path]:
    """The bundled files of a kind by name, from the wheel, an editable install or a checkout alike."""
    package = Path(str(files("attrcls")))
    for folder in (package / "bundled" / kind, package.parents[1] / kind):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    raise UserError(f"this installation of attrcls lacks its bundled {kind}; install it again")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, is not UTF-8 text or valid YAML (the line is named), repeats a key, uses
            anchors, or holds something else than a mapping.
    """
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise UserError(f"{path}: expected a small YAML file, found one of more than {MAX_SPEC_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected UTF-8 text, found byte {error.object[error.start]:#04x}; save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a subclass of SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError: an escape such as "\U7fffffff", which is no character.
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UserError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise UserError(f"{path}: not valid YAML: nested too deeply") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {_kind_of(value)}")
    return value


def read_json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file that attrcls wrote.

    Raises:
        UserError: the file is missing, is not JSON, or holds something else than an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); put back the file that attrcls wrote") from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected a mapping of keys to values, found {_kind_of(value)}; put back the file that attrcls wrote")
    return value


def parse_spec(model: type[SpecT], raw: Mapping[str, Any], *, file: str, given: Mapping[str, str] | None = None) -> SpecT:
    """Build a spec from plain values, those of `file`; `given` names what said those at some keys instead, such as a flag.

    Raises:
        ProblemsError: all faults at once, each with its key path, what was found, and the nearest right key.
    """
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        problems = [_problem(_explain(model, fault), file=file, given=given or {}) for fault in error.errors()]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        of_file = any(problem.file == file for problem in problems)
        raise ProblemsError(f"{file if of_file else 'what was asked for'}: {count} found", problems) from error


def _problem(text: str, *, file: str, given: Mapping[str, str]) -> Problem:
    for key, flag in given.items():
        if text.startswith((f"{key}: ", f"{key}.")):
            return Problem(flag, text.removeprefix(f"{key}: "))
    return Problem(file, text)


def parse_assignment(assignment: str) -> tuple[str, Any]:
    """The dotted key and the YAML value of a `KEY=VALUE` argument.

    Raises:
        UserError: there is no `=`, a key is blank, or the value is not YAML.
    """
    dotted, equals, text = assignment.partition("=")
    if not equals or not all(dotted.strip().split(".")):
        raise UserError(f"--set {assignment}: expected KEY=VALUE, such as heads.age.weight=2")
    try:
        return dotted.strip(), yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a subclass of SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"--set {assignment}: the value is not valid YAML; expected one such as 0.1, adamw or '[a, b]'") from error


def with_values(raw: Mapping[str, Any], values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A copy of `raw` with the value at each `a.b.c` replaced, in this order; levels that are missing are made."""
    changed = dict(raw)
    for dotted, value in values:
        changed = _with_value(changed, dotted, value)
    return changed


def _with_value(raw: Mapping[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    first, _, rest = dotted.partition(".")
    if not rest:
        return {**raw, first: value}
    below = raw.get(first)
    if below is not None and not isinstance(below, Mapping):
        raise UserError(f"{dotted}: expected {first} to hold keys, found {below!r}; give it as a mapping, or leave {rest} out")
    return {**raw, first: _with_value(below or {}, rest, value)}


def suggest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the choice nearest to `word`, or an empty string."""
    nearest = difflib.get_close_matches(word, list(choices), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys (YAML keeps the last one silently) and anchors (they allow bombs)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(problem="anchors and aliases are not used here", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError, AttributeError) as error:
            # What PyYAML stumbles on where a scalar is not what its tag, or its look, says: `!!bool x`, 2024-02-30.
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(problem=f"{node.value!r} is no {kind}", problem_mark=node.start_mark) from error

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key_node, _ in node.value:
            if key_node.value.__hash__ and key_node.value in seen:
                raise yaml.constructor.ConstructorError(problem=f"key {key_node.value!r} is given twice", problem_mark=key_node.start_mark)
            if isinstance(key_node, yaml.ScalarNode):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


def _explain(model: type[BaseModel], fault: ErrorDetails) -> str:
    # An unknown key is a stranger's text, and may look like a type.
    unknown = fault["loc"][-1:] if fault["type"] == "extra_forbidden" else ()
    path = [part for part in fault["loc"][: len(fault["loc"]) - len(unknown)] if not _is_union_branch(part)] + list(unknown)
    key = ".".join(str(part) for part in path)
    found = fault.get("input")
    if fault["type"] == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        return f"{key}: unknown key{suggest(str(path[-1]), known)} (known here: {', '.join(known)})"
    if fault["type"] == "missing":
        return f"{key}: this key is needed and not given"
    # Where a rule spans several keys, its message names them, and there is no key to put before it.
    if fault["type"] == "too_short":
        return f"{key}: expected {fault['ctx']['min_length']} or more, found {fault['ctx']['actual_length']}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ").split(", unable to parse")[0]
    expected = message if fault["type"] == "value_error" else f"expected {message}, found {_kind_of(found)}"
    choices = (fault.get("ctx") or {}).get("expected")
    if fault["type"] == "literal_error" and choices and isinstance(found, str):
        expected += suggest(found, [choice.strip("' ") for choice in choices.replace(" or ", ", ").split(",")])
    if fault["type"] == "string_type" and isinstance(found, bool):
        expected += "; YAML reads yes, no, on and off as booleans: put it in quotes"
    return f"{key}: {expected}" if key else expected


def _is_union_branch(part: str | int) -> bool:
    # pydantic adds the tried type ("str", "TableSpec", "list[...]") to the path of a union's errors.
    return isinstance(part, str) and (part in {"str", "int", "float"} or (part[:1].isupper() and part.endswith("Spec")) or "[" in part)


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    models: list[type[BaseModel]] = [model]
    for part in path:
        fields = [owner.model_fields[part] for owner in models if isinstance(part, str) and part in owner.model_fields]
        if fields:
            models = [found for field in fields for found in _models_in(field.annotation)]
    return sorted({name for owner in models for name in owner.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _models_in(argument)]


def _kind_of(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "…")
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)
