"""Decision files: read whatever saved them, refused where they do not fit, applied to one split."""

import pandas as pd
import pytest

from attrcls.cleaning.decisions import apply_decisions, read_decisions
from attrcls.errors import ProblemsError, UserError
from attrcls.types import MISSING


@pytest.fixture
def manifest(manifest_of):
    made = manifest_of(colour=(["red", "green", "blue"], [0, 1, 2, MISSING]), size=(["s", "l"], [0, 1, 0, 1]))
    return made.with_columns(split=["train", "train", "val", "train"])


def write(tmp_path, rows, **options):
    file = tmp_path / "decisions.csv"
    columns = ["card", "row_id", "head", "given_label", "suggested_label", "decision", "new_label"]
    pd.DataFrame(rows, columns=columns).to_csv(file, index=False, **options)
    return file


GOOD = [
    ["c", "r0", "colour", "red", "green", "drop_label", ""],
    ["c", "r1", "colour", "green", "blue", "relabel", ""],
    ["c", "r2", "colour", "blue", "red", "drop_label", ""],
    ["c", "r1", "size", "l", "s", "keep", ""],
]


def test_decisions_change_only_the_labels_of_the_wanted_split(tmp_path, manifest):
    changed, done = apply_decisions(manifest, read_decisions(write(tmp_path, GOOD), manifest), splits=["train"])
    assert changed.targets("colour").tolist() == [MISSING, 2, 2, MISSING]
    assert changed.targets("size").tolist() == [0, 1, 0, 1]
    assert manifest.targets("colour").tolist() == [0, 1, 2, MISSING]
    colour = done[done["head"] == "colour"].set_index("class")
    assert colour.loc["red", ["labels", "dropped"]].tolist() == [1, 1]
    assert colour.loc["green", "relabelled"] == 1
    assert colour.loc["blue", ["dropped", "elsewhere"]].tolist() == [0, 1]


def test_every_split_is_changed_where_none_is_named(tmp_path, manifest):
    changed, done = apply_decisions(manifest, read_decisions(write(tmp_path, GOOD), manifest))
    assert changed.targets("colour").tolist() == [MISSING, 2, MISSING, MISSING]
    assert done["elsewhere"].sum() == 0


@pytest.mark.parametrize("options", [{"sep": ";"}, {"sep": "\t"}, {"encoding": "utf-8-sig"}, {"sep": ";", "encoding": "utf-8-sig"}])
def test_a_file_saved_by_a_spreadsheet_reads_the_same(tmp_path, manifest, options):
    plain = read_decisions(write(tmp_path, GOOD), manifest).table
    pd.testing.assert_frame_equal(read_decisions(write(tmp_path, GOOD, **options), manifest).table, plain)


def test_a_new_label_wins_over_the_suggestion(tmp_path, manifest):
    file = write(tmp_path, [["c", "r0", "colour", "red", "green", "relabel", "blue"]])
    changed, _ = apply_decisions(manifest, read_decisions(file, manifest))
    assert changed.targets("colour")[0] == 2


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["c", "r9", "colour", "red", "", "drop_label", ""], "card c has no row 'r9'"),
        (["d", "r0", "colour", "red", "", "drop_label", ""], "card d has no row 'r0'"),
        (["c", "r0", "color", "red", "", "drop_label", ""], "no attribute 'color'; did you mean 'colour'?"),
        (["c", "r0", "colour", "green", "", "drop_label", ""], "the label was 'green' when this was decided, and is 'red' now"),
        (["c", "r3", "colour", "green", "", "drop_label", ""], "is 'no label' now"),
        (["c", "r0", "colour", "red", "", "drop", ""], "expected keep, drop_label, relabel, found 'drop'"),
        (["c", "r0", "colour", "red", "", "relabel", ""], "expected the class to relabel to"),
        (["c", "r0", "colour", "red", "", "relabel", "gren"], "found 'gren'; did you mean 'green'?"),
        (["c", "r0", "colour", "red", "", "relabel", "red"], "relabels 'red' to itself"),
    ],
)
def test_a_decision_that_does_not_fit_is_named_with_its_row(tmp_path, manifest, row, told):
    with pytest.raises(ProblemsError) as caught:
        read_decisions(write(tmp_path, [GOOD[0], row] if row[1] != "r0" else [GOOD[1], row]), manifest)
    assert told in str(caught.value)
    assert "row 2" in str(caught.value)


def test_a_decision_on_another_picture_is_refused_though_row_and_label_fit(tmp_path, manifest):
    """Rows without an id are numbered: a table sorted anew would have another picture of the same label dropped."""
    paths = manifest.frame["path"].tolist()
    file = write(tmp_path, GOOD[:2])
    pd.read_csv(file).assign(path=paths[:2]).to_csv(file, index=False)
    assert len(read_decisions(file, manifest)) == 2
    pd.read_csv(file).assign(path=[paths[0], "elsewhere.jpg"]).to_csv(file, index=False)
    with pytest.raises(ProblemsError, match=r"row 2.*'r1' was picture 'elsewhere.jpg' when this was decided"):
        read_decisions(file, manifest)


def test_two_decisions_on_one_label_are_refused(tmp_path, manifest):
    with pytest.raises(ProblemsError, match="decided twice"):
        read_decisions(write(tmp_path, [GOOD[0], [*GOOD[0][:5], "keep", ""]]), manifest)


def test_a_file_without_a_needed_column_names_it(tmp_path, manifest):
    file = tmp_path / "other.csv"
    file.write_text("card,row_id,head,given,decision\n")
    with pytest.raises(UserError, match="found no 'given_label'"):
        read_decisions(file, manifest)


def test_a_partial_manifest_passes_over_decisions_on_rows_that_it_lacks(tmp_path, manifest):
    few = manifest.take([1])
    assert len(read_decisions(write(tmp_path, GOOD), few, partial=True)) == 2
    with pytest.raises(ProblemsError):
        read_decisions(write(tmp_path, GOOD), few)
