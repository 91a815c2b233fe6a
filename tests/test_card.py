import math

import pytest

from attrcls.card import AttributeSpec, Card, load_card
from attrcls.errors import ProblemsError, UserError
from attrcls.spec import bundled_specs, parse_spec
from attrcls.types import MISSING

AGE = AttributeSpec(classes=["<30", "30-59", ">=60"], cuts=[30, 60])


@pytest.mark.parametrize(
    ("cell", "index"), [("29", 0), ("29.9", 0), ("30", 1), ("59", 1), ("60", 2), ("100", 2), ("-1", 0), ("<30", 0), (">=60", 2), ("", MISSING)]
)
def test_a_number_is_cut_at_its_cut_points_and_names_still_count(cell, index):
    assert AGE.index_of(cell) == index


@pytest.mark.parametrize("cell", ["old", "nan", "inf", "3,5"])
def test_a_cell_that_is_no_number_is_refused_where_numbers_are_cut(cell):
    with pytest.raises(ValueError, match="expected a number to be cut at"):
        AGE.index_of(cell)


def test_class_names_that_cuts_would_put_elsewhere_are_refused_and_others_may_be_numbers(tmp_path):
    card = "root: .\ntables: [t.csv]\nimages: {{column: file}}\nattributes: {{age: {{classes: {classes}, cuts: [30, 60]}}}}\n"
    (tmp_path / "a.card.yaml").write_text(card.format(classes="[0, 1, 2]"))
    with pytest.raises(UserError, match=r"attributes\.age\.classes: '1' is a number too, which cuts put in another class"):
        load_card(str(tmp_path / "a.card.yaml"))
    (tmp_path / "b.card.yaml").write_text(card.format(classes="[0, 30, 60]"))
    assert load_card(str(tmp_path / "b.card.yaml"))[0].attributes["age"].index_of("30") == 1
    assert AttributeSpec(classes=["0", "30", "60"], cuts=[30, 60]).index_of("30") == 1


def test_names_ids_mapped_values_and_other_case_are_all_understood():
    spec = AttributeSpec(classes=["male", "female"], values={"M": "male", "여": "female"}, missing=["", "?"])
    assert [spec.index_of(cell) for cell in ("male", "1", "M", "여", "FEMALE", " male ", "0", "1.0", "?", "")] == [0, 1, 0, 1, 1, 0, 0, 1, -1, -1]


def test_a_number_means_what_values_and_missing_say_of_it_however_it_is_written():
    # As pandas writes 0 and 1 in a column with a gap: not an id, which would swap the two.
    swapped = AttributeSpec(classes=["female", "male"], values={"0": "male", "1": "female"}, missing=["", "-1"])
    assert [swapped.index_of(cell) for cell in ("0", "0.0", "1.0", "-1.0", "")] == [1, 1, 0, MISSING, MISSING]
    cut = AttributeSpec(classes=["young", "old"], cuts=[30], missing=["", "-1"], values={"99": "young"})
    assert [cut.index_of(cell) for cell in ("-1.0", "99.0", "40.0")] == [MISSING, 0, 1]
    assert [math.isnan(cut.number_of(cell)) for cell in ("-1.0", "99.0", "40.0")] == [True, True, False]
    # Where they say different things of one number, only their own spellings count.
    apart = AttributeSpec(classes=["a", "b"], values={"1": "a", "1.0": "b"})
    assert [apart.index_of(cell) for cell in ("1", "1.0")] == [0, 1]


def test_an_unknown_cell_is_refused_with_the_nearest_class():
    with pytest.raises(ValueError, match="expected one of male, female, found 'femal'; did you mean 'female'"):
        AttributeSpec(classes=["male", "female"]).index_of("femal")


def test_ids_are_not_guessed_where_class_names_are_numbers():
    spec = AttributeSpec(classes=["10", "20"])
    assert spec.index_of("20") == spec.index_of("20.0") == 1
    with pytest.raises(ValueError, match="found '1'"):
        spec.index_of("1")


@pytest.mark.parametrize("cell", ["-1", "2", "0.5"])
def test_ids_outside_the_classes_are_refused(cell):
    with pytest.raises(ValueError, match="expected one of a, b"):
        AttributeSpec(classes=["a", "b"]).index_of(cell)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"classes": ["a", "a"]}, "each class once"),
        ({"classes": ["a", " "]}, "not blank"),
        ({"classes": ["a", "b"], "cuts": [1, 2]}, "one number less than the 2 classes, rising; found 1, 2"),
        ({"classes": ["a", "b", "c"], "cuts": [2, 1]}, "one number less than the 3 classes, rising; found 2, 1"),
        ({"classes": ["a", "b"], "values": {"x": "bb"}}, "did you mean 'b'"),
        ({"classes": []}, "expected 1 or more"),
        ({"classes": ["a"], "constant_in_group": True}, "needs the card to name a group"),
    ],
)
def test_an_attribute_that_cannot_be_meant_is_refused(change, expected):
    with pytest.raises(ProblemsError) as caught:
        parse_spec(Card, {"name": "x", "tables": ["a.csv"], "attributes": {"y": change}}, file="x.yaml")
    assert expected in str(caught.value)


@pytest.mark.parametrize("name", ["path", "split", "status", "two words", "3d"])
def test_an_attribute_may_not_be_called_like_a_column_of_ours(name):
    with pytest.raises(ProblemsError, match="not reserved"):
        parse_spec(Card, {"name": "x", "tables": ["a.csv"], "attributes": {name: {"classes": ["a"]}}}, file="x.yaml")


@pytest.mark.parametrize("name", sorted(bundled_specs("data_cards")))
def test_every_bundled_card_is_valid_and_says_licence_and_use(name):
    card, found = load_card(name)
    assert found.bundled
    assert card.licence
    assert card.provenance
    assert card.intended_use
    assert card.known_faults


def test_the_mask_card_knows_the_seven_files_of_a_person():
    card, _ = load_card("mask18")
    folders = card.images.folders
    assert folders is not None
    assert list(folders.files.values()) == ["wear"] * 5 + ["incorrect", "normal"]
    assert card.column_of("mask") is None
    assert card.column_of("age") == "age"


def test_short_forms_of_tables_and_split_are_understood():
    card = parse_spec(Card, {"name": "x", "tables": ["a.csv"], "split": "fold", "attributes": {"y": {"classes": ["a"]}}}, file="x.yaml")
    assert card.tables[0].file == "a.csv"
    assert card.split is not None
    assert card.split.column == "fold"


def test_a_missing_card_is_a_user_error():
    with pytest.raises(UserError, match="no data card 'nope'"):
        load_card("nope")
