"""Balancing through the real command line, from a look at the data to the report."""

import pandas as pd
import pytest
import yaml


@pytest.fixture
def lopsided(squares):
    """The drawn squares with few large ones, of which none is blue."""
    table = pd.read_csv(squares / "labels.csv")
    dropped = (table["Size"] == "large") & ((table["colour"] == "blue") | (table.index % 4 == 0))
    table[~dropped].to_csv(squares / "labels.csv", index=False)
    return squares


def test_data_shows_counts_before_and_after_and_changes_nothing(cli, lopsided):
    result = cli("data", lopsided / "squares.task.yaml", "--balance", "colour,size")
    assert result.code == 0, result.err
    assert "effective sample size" in result.out
    assert "most repeated in an epoch:" in result.out
    for head in ("colour", "size"):
        assert f"{head}  " in result.out
    gaps = [line.split()[-2:] for line in result.out.splitlines() if line.startswith("largest − smallest")]
    assert [after for _, after in gaps] == ["0", "0"]
    assert "balance:" not in cli("data", lopsided / "squares.task.yaml").out


def test_data_says_what_cannot_be_made_equal_and_why(cli, lopsided):
    result = cli("data", lopsided / "squares.task.yaml", "--balance", "size", "--set", "balance.cap=1.2")
    assert result.code == 0, result.err
    assert "size is not as equal as asked: large gets" in result.out
    assert "the cap of 1.2 holds them back" in result.out


@pytest.mark.parametrize("command", ["data", "train"])
def test_a_misspelt_head_is_refused_with_the_nearest_name(cli, squares, command):
    result = cli(command, squares / "squares.task.yaml", "--balance", "colr")
    assert result.code == 2
    assert "no head 'colr'; did you mean 'colour'?" in result.err


def test_a_misspelt_recipe_for_repeats_is_refused(cli, squares):
    task = squares / "squares.task.yaml"
    named = cli("train", task, "--balance", "size", "--set", "balance.repeat_augment=strng")
    assert (named.code, "balance.repeat_augment: expected one of" in named.err, "did you mean 'strong'" in named.err) == (2, True, True)
    listed = cli("train", task, "--balance", "size", "--set", "balance.repeat_augment=[{name: HorizontalFlp}]")
    assert (listed.code, "balance.repeat_augment.0: expected `name:`" in listed.err) == (2, True)


def test_none_turns_a_tasks_balance_off(cli, squares, tmp_path):
    task = squares / "squares.task.yaml"
    task.write_text(task.read_text() + "balance: [colour]\n")
    result = cli("train", task, "--balance", "none", "--out", tmp_path / "run", "--workers", 0, "--epochs", 1)
    assert result.code == 0, result.err
    assert not (tmp_path / "run" / "balance.csv").exists()


def test_a_balanced_run_tells_its_weights_and_the_report_shows_them(cli, lopsided, tmp_path):
    run = tmp_path / "run"
    options = ("--balance", "colour,size", "--set", "balance.repeat_augment=strong", "--workers", 0, "--epochs", 1)
    result = cli("train", lopsided / "squares.task.yaml", "--out", run, *options)
    assert result.code == 0, result.err
    assert "balance  colour gap" in result.err
    table = pd.read_csv(run / "balance.csv").merge(pd.read_csv(run / "splits.csv"), on=["card", "row_id"])
    assert set(table["split"]) == {"train"}
    assert table["weight"].mean() == pytest.approx(1, abs=1e-5)
    for head in ("colour", "size"):
        draws = table.groupby(head)["draws"].sum()
        assert draws.max() == pytest.approx(draws.min(), abs=0.01)
    assert yaml.safe_load((run / "config.yaml").read_text())["task"]["balance"]["heads"] == ["colour", "size"]
    assert cli("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert 'id="balance"' in page
    assert "Draws per epoch and class of size, as it is and balanced" in page
    assert "Most repeated rows" in page


def test_data_shows_the_draws_that_training_has_also_where_rows_have_no_label(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv", dtype=str)
    table.loc[table.index % 2 == 0, ["colour", "Size"]] = ""
    table.to_csv(squares / "labels.csv", index=False)
    shown = cli("data", squares / "squares.task.yaml", "--balance", "size", "--no-duplicates")
    assert shown.code == 0, shown.err
    assert cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--balance", "size", "--workers", 0, "--epochs", 1).code == 0
    draws = pd.read_csv(tmp_path / "run" / "balance.csv")["draws"].sum()
    assert f"balance: {draws:,.0f} draws an epoch" in shown.out


def test_the_report_refuses_weights_of_other_rows(cli, lopsided, tmp_path):
    run = tmp_path / "run"
    assert cli("train", lopsided / "squares.task.yaml", "--out", run, "--balance", "size", "--workers", 0, "--epochs", 1).code == 0
    table = pd.read_csv(run / "balance.csv", dtype=str)
    table.assign(row_id="x" + table["row_id"]).to_csv(run / "balance.csv", index=False)
    result = cli("report", run)
    assert result.code == 2
    assert "expected weights for train rows of splits.csv" in result.err
