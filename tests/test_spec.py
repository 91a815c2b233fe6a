from pathlib import Path

import pytest
from pydantic import Field

from attrcls.errors import ProblemsError, UserError
from attrcls.spec import Spec, bundled_specs, find_spec, parse_assignment, parse_spec, read_yaml, with_values


class Inner(Spec):
    size: int = 1
    names: list[str] = []


class Outer(Spec):
    title: str
    inner: Inner = Inner()
    parts: dict[str, Inner] = {}
    share: float = Field(default=0.5, ge=0, le=1)


def test_all_errors_of_a_file_are_raised_at_once_with_their_key_paths():
    raw = {"inner": {"size": "big", "siez": 2}, "parts": {"a": {"nams": []}}, "share": 3}
    with pytest.raises(ProblemsError) as caught:
        parse_spec(Outer, raw, file="x.yaml")
    text = str(caught.value)
    assert len(caught.value.problems) == 5
    assert "title: this key is needed" in text
    assert "inner.size: expected a valid integer" in text
    assert "inner.siez: unknown key; did you mean 'size'?" in text
    assert "parts.a.nams: unknown key; did you mean 'names'?" in text
    assert "share: expected less than or equal to 1, found 3" in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number):
    with pytest.raises(ProblemsError, match="expected a finite number"):
        parse_spec(Outer, {"title": "x", "share": number}, file="x.yaml")


def test_a_yaml_boolean_where_text_belongs_says_to_quote_it():
    with pytest.raises(ProblemsError, match="put it in quotes"):
        parse_spec(Inner, {"names": [True]}, file="x.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1, 2", "line 1: not valid YAML"),
        ("a: 1\na: 2", "line 2: not valid YAML: key 'a' is given twice"),
        ("- 1\n- 2", "expected a mapping of keys to values, found a list"),
        ("", "found nothing"),
        ("title: 2024-02-30", "line 1: not valid YAML: '2024-02-30' is no timestamp"),
        ("a: 1\nb: !!bool x", "line 2: not valid YAML: 'x' is no bool"),
        ("a: !!timestamp x", "'x' is no timestamp"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!float x", "'x' is no float"),
        ("a: 0x_", "'0x_' is no int"),
        ("a: &x 1\nb: *x", "anchors and aliases are not used here"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ('a: "\\U7fffffff"', "not valid YAML"),
        ("{" * 5000, "not valid YAML"),
    ],
)
def test_yaml_that_is_not_a_plain_mapping_is_refused_with_its_place(tmp_path, text, expected):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert expected in str(caught.value)


def test_yaml_that_is_not_utf8_says_so(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes("title: 옷".encode("cp949"))
    with pytest.raises(UserError, match="expected UTF-8 text"):
        read_yaml(path)


def test_an_existing_path_wins_over_a_bundled_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_spec("tasks", "mask18").bundled
    Path("mask18").write_text("title: mine")
    assert not find_spec("tasks", "mask18").bundled


def test_an_unknown_name_is_answered_with_the_nearest_one():
    with pytest.raises(UserError, match="did you mean 'mask18'"):
        find_spec("tasks", "mask81")
    with pytest.raises(UserError, match="no such file"):
        find_spec("tasks", "long" * 100)


@pytest.mark.parametrize("kind", ["tasks", "data_cards"])
def test_the_promised_tasks_and_cards_are_bundled(kind):
    assert set(bundled_specs(kind)) >= {"mask18", "fascode", "clothing", "age5", "sample_faces", "sample_fashion"}


def test_an_override_reaches_any_depth_and_leaves_the_original_alone():
    raw = {"heads": {"age": {"weight": 1}}}
    key, value = parse_assignment("heads.age.weight=2")
    assert with_values(raw, [(key, value)]) == {"heads": {"age": {"weight": 2}}}
    assert raw == {"heads": {"age": {"weight": 1}}}
    assert with_values({}, [("a.b", [1])]) == {"a": {"b": [1]}}


@pytest.mark.parametrize("bad", ["epochs", "=3", "a..b=1", "a=[1", "seed=0x_"])
def test_an_override_that_is_no_assignment_is_refused(bad):
    with pytest.raises(UserError, match="--set"):
        parse_assignment(bad)


@pytest.mark.parametrize("key", ["a[b", "str", "XSpec", "\x1b[31m"])
def test_an_unknown_key_that_looks_like_a_type_is_told_as_it_stands(key):
    with pytest.raises(ProblemsError, match="unknown key") as caught:
        parse_spec(Outer, {"title": "x", "inner": {key: 1}, key: 2}, file="x.yaml")
    assert [problem.message.partition(": ")[0] for problem in caught.value.problems] == [f"inner.{key}", key]
