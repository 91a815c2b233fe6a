"""Decision files: read whatever saved them, refused where they do not fit, applied to one split."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.cleaning.decisions import apply_decisions, read_decisions
from attrcls.data.tables import write_table
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
    with pytest.raises(ProblemsError, match="decided twice, as relabel to blue and as relabel to green"):
        read_decisions(write(tmp_path, [[*GOOD[0][:5], "relabel", "blue"], [*GOOD[0][:5], "relabel", ""]]), manifest)


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


CLASSES = {"colour": ["red", "grün, dunkel", 'the "blue"'], "size": ["1", "NA"]}
COLUMNS = ["card", "row_id", "path", "head", "given_label", "suggested_label", "decision", "new_label"]


@st.composite
def decided(draw):
    """Targets per head, and a decision on some of the labels: (row, head, decision, index of the class to relabel to)."""
    rows = draw(st.integers(1, 8))
    targets = {head: draw(st.lists(st.integers(-1, len(names) - 1), min_size=rows, max_size=rows)) for head, names in CLASSES.items()}
    labels = [(row, head) for head in CLASSES for row in range(rows) if targets[head][row] != MISSING]
    chosen = draw(st.lists(st.sampled_from(labels), unique=True)) if labels else []
    found = []
    for row, head in chosen:
        other = draw(st.sampled_from([index for index in range(len(CLASSES[head])) if index != targets[head][row]]))
        found.append((row, head, draw(st.sampled_from(["keep", "drop_label", "relabel"])), other))
    return targets, found


def cells_of(manifest, targets, decision, *, proposed):
    """A decision as a row of a file; the class to relabel to stands in one of two columns."""
    row, head, what, other = decision
    names, new = CLASSES[head], CLASSES[head][other] if what == "relabel" else ""
    known = [manifest.frame[column].iat[row] for column in ("card", "row_id", "path")]
    return [*known, head, names[targets[head][row]], new if proposed else "", what, "" if proposed else new]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=25)
@given(drawn=decided(), proposed=st.booleans(), chance=st.randoms(use_true_random=False))
def test_what_was_decided_is_what_is_done_whatever_the_files_order(manifest_of, scratch, ending, drawn, proposed, chance):
    targets, decisions = drawn
    manifest = manifest_of(**{head: (CLASSES[head], values) for head, values in targets.items()})
    rows = [cells_of(manifest, targets, decision, proposed=proposed) for decision in decisions]
    expected = {head: list(values) for head, values in targets.items()}
    for row, head, what, other in decisions:
        if what != "keep":
            expected[head][row] = other if what == "relabel" else MISSING
    for name, ordered in (("one", rows), ("other", chance.sample(rows, len(rows)))):
        file = scratch / f"{name}{ending}"
        if not rows and ending == ".jsonl":  # it has no header to stand alone
            continue
        write_table(pd.DataFrame(ordered, columns=COLUMNS, dtype=str), file)
        changed, done = apply_decisions(manifest, read_decisions(file, manifest))
        assert {head: changed.targets(head).tolist() for head in expected} == expected
        assert int(done[["dropped", "relabelled", "kept"]].to_numpy().sum()) == len(rows)


@settings(max_examples=40)
@given(drawn=decided().filter(lambda drawn: bool(drawn[1])), data=st.data())
def test_a_file_with_one_foreign_row_is_refused_whole(manifest_of, scratch, drawn, data):
    targets, decisions = drawn
    manifest = manifest_of(**{head: (CLASSES[head], values) for head, values in targets.items()})
    rows = [cells_of(manifest, targets, decision, proposed=False) for decision in decisions]
    number = data.draw(st.integers(0, len(rows) - 1))
    rows[number][data.draw(st.sampled_from([0, 1, 2, 3, 4, 6]))] += "x"
    file = scratch / "decisions.csv"
    write_table(pd.DataFrame(rows, columns=COLUMNS, dtype=str), file)
    with pytest.raises(ProblemsError) as caught:
        read_decisions(file, manifest)
    assert [problem.row for problem in caught.value.problems] == [number + 1]
