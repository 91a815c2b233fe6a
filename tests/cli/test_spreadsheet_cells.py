"""File names and labels that a spreadsheet would run, through every command: escaped where people look, exact where it counts."""

import csv
import shutil

import pandas as pd
import pytest

from attrcls.data.tables import read_table

NAMES = ["=cmd.jpg", "-1.jpg", "@x.jpg", "'=q.jpg", "+1.jpg"]
ESCAPED = ["'=cmd.jpg", "'-1.jpg", "'@x.jpg", "''=q.jpg", "'+1.jpg"]


def cells_of(file):
    """Every cell as a spreadsheet would get it."""
    with open(file, newline="", encoding="utf-8") as opened:
        return [cell for row in csv.reader(opened) for cell in row]


def runs_in_a_spreadsheet(cell):
    try:
        float(cell)
    except ValueError:
        return cell.lstrip(" ")[:1] in set("=+-@\t\r\n") - {""}
    return False


@pytest.fixture(scope="module")
def formulas(shared_squares, tmp_path_factory):
    """Squares in the data folder itself, the first five and one person named as formulas, and a column of the owner's own."""
    folder = tmp_path_factory.mktemp("formulas")
    table = pd.read_csv(shared_squares / "labels.csv", dtype=str)
    names = [*NAMES, *table["file"][len(NAMES) :]]
    for old, new in zip(table["file"], names, strict=True):
        shutil.copy(shared_squares / "images" / old, folder / new)
    table = table.assign(file=names, person=["=1+1" if person == "p1" else person for person in table["person"]])
    table["=note"] = ["=HYPERLINK(1)", "'=typed", "-1.5", "+x", ""] * 16
    table.loc[:4, "colour"] = ["green", "blue", "red", "green", "blue"]
    table.to_csv(folder / "labels.csv", index=False)
    card = (shared_squares / "squares.card.yaml").read_text().replace("root: images,", "root: .,")
    (folder / "squares.card.yaml").write_text(card)
    (folder / "squares.task.yaml").write_text((shared_squares / "squares.task.yaml").read_text())
    return folder


@pytest.fixture(scope="module")
def trained(formulas, tmp_path_factory):
    from attrcls.runs.train import run_train

    return run_train(str(formulas / "squares.task.yaml"), out=tmp_path_factory.mktemp("run") / "run", workers=0, changes={"epochs": 1})


def test_cleaning_escapes_its_tables_and_takes_its_own_verdicts_back(cli, formulas, tmp_path):
    task, out = formulas / "squares.task.yaml", tmp_path / "clean"
    done = cli("clean-labels", task, "--out", out, "--workers", 0, "--fast", "--all-splits", "--set", "image.px=64")
    assert done.code == 0, done.err
    for name in ("verdicts.csv", "aum_values.csv", "cleaned.csv"):
        assert not [cell for cell in cells_of(out / name) if runs_in_a_spreadsheet(cell)], name
    assert set(ESCAPED) <= set(cells_of(out / "aum_values.csv"))
    assert set(NAMES) <= set(read_table(out / "aum_values.csv", escaped=True)["path"])
    own = read_table(formulas / "labels.csv")
    again = read_table(out / "cleaned.csv", escaped=True)
    pd.testing.assert_frame_equal(again[["file", "person", "=note"]], own[["file", "person", "=note"]])
    # Every label of the five becomes a decision, as if all were suspect.
    values = pd.read_csv(out / "aum_values.csv", dtype=str, keep_default_na=False)
    decisions = values[values["path"].isin(ESCAPED)].assign(decision="drop_label", new_label="")
    decisions.to_csv(tmp_path / "decisions.csv", index=False)
    mended = cli("clean-labels", task, "--apply", tmp_path / "decisions.csv", "--out", tmp_path / "mended.csv")
    assert mended.code == 0, mended.err
    assert read_table(tmp_path / "mended.csv", escaped=True)["colour"].tolist()[:6] == ["", "", "", "", "", own["colour"][5]]
    trained = cli("train", task, "--out", tmp_path / "run", "--workers", 0, "--epochs", 1, "--decisions", tmp_path / "decisions.csv")
    assert trained.code == 0, trained.err
    assert "dropped" in trained.err


def test_a_table_that_cleaning_wrote_is_a_cards_table_once_the_card_says_so(cli, formulas, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(formulas, folder)
    task = folder / "squares.task.yaml"
    (tmp_path / "none.csv").write_text("card,row_id,head,given_label,decision\n")
    assert cli("clean-labels", task, "--apply", tmp_path / "none.csv", "--out", folder / "cleaned.csv").code == 0
    assert cli("clean-labels", task, "--apply", tmp_path / "none.csv", "--out", folder / "raw.csv", "--raw-cells").code == 0
    assert set(NAMES) <= set(cells_of(folder / "raw.csv"))
    card = (folder / "squares.card.yaml").read_text()

    def data(tables):
        (folder / "squares.card.yaml").write_text(card.replace("tables: [labels.csv]", f"tables: [{tables}]"))
        return cli("data", task)

    as_it_stands = data("cleaned.csv")
    assert as_it_stands.code == 3
    assert "but '=cmd.jpg' is: for a table that attrcls wrote, say escaped: true beside file: in the card" in as_it_stands.err
    for good in ("{file: cleaned.csv, escaped: true}", "raw.csv"):
        done = data(good)
        assert done.code == 0, done.err
        assert "80 rows: 68 train, 12 val" in done.out


def test_a_runs_own_tables_are_escaped_and_found_again_by_report_and_evaluate(cli, trained, formulas):
    for table in trained.glob("*.csv"):
        assert not [cell for cell in cells_of(table) if runs_in_a_spreadsheet(cell)], table
    assert set(ESCAPED) <= set(cells_of(trained / "splits.csv"))
    assert cli("report", trained).code == 0
    held_back = int((pd.read_csv(trained / "splits.csv")["split"] == "val").sum())
    scored = cli("evaluate", trained, formulas, "--workers", 0)
    assert scored.code == 0, scored.err
    assert f"val split, {held_back} rows" in scored.out


def test_predictions_are_escaped_unless_raw_and_a_submission_never_is(cli, trained, formulas, tmp_path):
    (tmp_path / "asked.csv").write_text("path,=note\n" + "".join(f"{name},=1+1\n" for name in NAMES))
    command = ("predict", trained, tmp_path / "asked.csv", "--image-root", formulas, "--workers", 0)
    assert cli(*command, "--csv", tmp_path / "p.csv").code == 0
    assert not [cell for cell in cells_of(tmp_path / "p.csv") if runs_in_a_spreadsheet(cell)]
    again = read_table(tmp_path / "p.csv", escaped=True)
    assert (again["path"].tolist(), again["=note"].tolist(), again["status"].tolist()) == (NAMES, ["=1+1"] * 5, ["ok"] * 5)
    assert cli(*command, "--csv", tmp_path / "raw.csv", "--raw-cells").code == 0
    assert read_table(tmp_path / "raw.csv")["path"].tolist() == NAMES
    assert cli(*command, "--csv", tmp_path / "s.csv", "--submission").code == 0
    assert read_table(tmp_path / "s.csv")["ImageID"].tolist() == NAMES
    shown = cli(*command)
    assert "\n'=cmd.jpg,'=1+1," in shown.out
