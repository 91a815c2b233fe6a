"""What a stranger's names can do to the terminal: nothing, in any command's output."""

import shutil

import pandas as pd
import pytest
import yaml

HOSTILE = "\x1b[31mred\x1b]8;;http://x.example\x07link\r\b\x9b1m\u202egpj.\u2066[bold]b[/bold][link=http://x.example]:smile:"
SHOWN = "\\x1b[31mred\\x1b]8;;http://x.example\\x07link\\r\\x08\\x9b1m\\u202egpj.\\u2066[bold]b[/bold][link=http://x.example]:smile:"


def assert_harmless(result):
    for text in (result.out, result.err):
        obeyed = [
            letter for letter in text if (ord(letter) < 32 and letter not in "\n\t") or 0x7F <= ord(letter) < 0xA0 or letter in "\u202e\u2066\u2028"
        ]
        assert not obeyed, (obeyed[:5], text[:500])
    assert "Traceback" not in result.err


@pytest.fixture(scope="module")
def hostile(shared_squares, tmp_path_factory):
    """Squares with a hostile class, person, title and note, and with pictures that are not there."""
    folder = tmp_path_factory.mktemp("terminal")
    shutil.copytree(shared_squares / "images", folder / "images")
    table = pd.read_csv(shared_squares / "labels.csv", dtype=str).replace("large", HOSTILE)
    table.to_json(folder / "labels.jsonl", orient="records", lines=True)
    card = yaml.safe_load((shared_squares / "squares.card.yaml").read_text())
    card |= {"tables": ["labels.jsonl"], "title": HOSTILE}
    card["attributes"]["size"]["classes"] = ["small", HOSTILE]
    (folder / "squares.card.yaml").write_text(yaml.safe_dump(card))
    task = yaml.safe_load((shared_squares / "squares.task.yaml").read_text()) | {"title": HOSTILE, "epochs": 1}
    (folder / "squares.task.yaml").write_text(yaml.safe_dump(task))
    return folder


def test_classes_and_titles_are_shown_and_not_obeyed(cli, hostile, tmp_path):
    task = hostile / "squares.task.yaml"
    for command in (
        ("data", task),
        ("config", task),
        ("train", task, "--out", tmp_path / "run", "--workers", 0),
        ("predict", tmp_path / "run", hostile / "images", "--workers", 0),
        ("evaluate", tmp_path / "run", hostile, "--workers", 0),
    ):
        result = cli(*command)
        assert result.code == 0, result.err
        assert_harmless(result)
        if command[0] in {"data", "train"}:
            assert SHOWN in (result.out + result.err).replace("\n", "") or SHOWN[:40] in result.out


def test_file_names_in_errors_are_shown_and_not_obeyed(cli, hostile, tmp_path):
    table = pd.read_json(hostile / "labels.jsonl", lines=True, dtype=str)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(hostile / "images")
    for name in ("squares.card.yaml", "squares.task.yaml"):
        shutil.copy(hostile / name, tmp_path / "data")
    table.loc[0, ["file", "colour"]] = [f"{HOSTILE}.jpg", HOSTILE]
    table.to_json(tmp_path / "data" / "labels.jsonl", orient="records", lines=True)
    result = cli("train", tmp_path / "data" / "squares.task.yaml", "--out", tmp_path / "run")
    assert result.code == 2
    assert_harmless(result)
    assert SHOWN[:30] in result.err


def test_hostile_arguments_and_columns_are_shown_and_not_obeyed(cli, trained_run, tmp_path):
    table = tmp_path / "asked.jsonl"
    pd.DataFrame({HOSTILE: ["x"], "other": [HOSTILE]}).to_json(table, orient="records", lines=True)
    bad_text = tmp_path / "bad.yaml"
    bad_text.write_text(f"cards: [x]\n'{HOSTILE[5:9]}': 1\nheads: [y]\n")
    for command in (
        ("predict", trained_run, table),
        ("predict", trained_run, tmp_path / HOSTILE.replace("/", "")),
        ("report", HOSTILE),
        ("train", HOSTILE),
        ("train", bad_text),
        ("train", "mask18", "--set", HOSTILE),
        ("card", "init", table),
        ("sample", tmp_path / "s", "--kind", HOSTILE),
        ("clean-labels", "mask18", "--method", HOSTILE),
    ):
        result = cli(*command)
        assert result.code == 2, command
        assert result.err
        assert_harmless(result)


def test_predictions_on_the_terminal_are_harmless_and_the_file_is_exact(cli, trained_run, shared_squares, tmp_path):
    from attrcls.data.tables import read_table

    name = next((shared_squares / "images").iterdir()).name
    hostile = f"{HOSTILE[:-1]}.jpg".replace("/", "_")
    (tmp_path / "in").mkdir()
    shutil.copy(shared_squares / "images" / name, tmp_path / "in" / hostile)
    shown = cli("predict", trained_run, tmp_path / "in")
    assert shown.code == 0, shown.err
    assert_harmless(shown)
    assert cli("predict", trained_run, tmp_path / "in", "--csv", tmp_path / "p.csv").code == 0
    assert read_table(tmp_path / "p.csv", escaped=True)["path"].tolist() == [hostile]
