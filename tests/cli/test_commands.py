"""The other commands through the real command line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml
from conftest import draw_squares

from attrcls.card import load_card

COMMANDS = [
    "demo",
    "train",
    "pretrain",
    "predict",
    "ensemble",
    "average",
    "export",
    "evaluate",
    "report",
    "data",
    "list",
    "config",
    "schema",
    "card",
    "sample",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_stands_in_the_readme(cli, command):
    result = cli(command, "--help")
    assert result.code == 0
    assert "Usage:" in result.out
    assert f"attrcls {command}" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_help_imports_neither_torch_nor_pandas():
    code = "import sys; sys.argv = ['attrcls', '--help']\nfrom attrcls.cli.app import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "print(sorted({'torch', 'pandas', 'numpy', 'albumentations', 'pydantic'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_the_package_itself_imports_no_torch():
    code = "import attrcls, sys; assert 'torch' not in sys.modules and 'pandas' not in sys.modules; print(attrcls.train.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "run_train"


def test_list_shows_the_bundled_tasks_and_cards(cli):
    shown = cli("list").out
    assert all(name in shown for name in ("mask18", "fascode", "clothing", "age5", "sample_faces", "sample_fashion"))


def test_config_prints_every_key_and_says_where_the_task_was_found(cli):
    result = cli("config", "mask18", "--set", "heads.age.weight=2")
    config = yaml.safe_load(result.out)
    assert config["task"]["heads"]["age"]["weight"] == 2
    assert config["task"]["optimiser"]["name"] == "adamw"
    assert config["cards"]["mask18"]["attributes"]["age"]["cuts"] == [30, 60]
    assert "task mask18: bundled" in result.err


def test_schema_writes_what_an_editor_needs(cli, tmp_path):
    assert cli("schema", tmp_path).code == 0
    task = json.loads((tmp_path / "task.schema.json").read_text())
    card = json.loads((tmp_path / "card.schema.json").read_text())
    assert set(task["required"]) == {"cards", "heads"}
    assert set(card["required"]) == {"tables", "attributes"}
    assert task["additionalProperties"] is False
    for folder, schema in (("tasks", task), ("data_cards", card)):
        for path in (Path(__file__).parents[2] / folder).glob("*.yaml"):
            jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"cards": ["a"], "heads": ["b"], "epoch": 3}, task)


def test_a_card_is_drafted_from_the_columns_and_trains_as_it_is(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    table["fold"] = ["train"] * 60 + ["val"] * 20
    table["note"] = [f"note {row}" for row in range(80)]
    table.to_csv(squares / "mine.csv", index=False)
    result = cli("card", "init", squares / "mine.csv")
    assert result.code == 0, result.err
    card = yaml.safe_load((squares / "mine.card.yaml").read_text())
    assert card["images"] == {"root": "images", "column": "file"}
    assert (card["group"], card["split"]) == ("person", "fold")
    assert card["attributes"] == {"colour": {"classes": ["blue", "green", "red"]}, "size": {"column": "Size", "classes": ["large", "small"]}}
    assert "note: 80 different values" in (squares / "mine.card.yaml").read_text()
    options = ("--weights", "none", "--epochs", 1, "--set", "image.px=32", "--workers", 0, "--on-error", "skip")
    trained = cli("train", squares / "mine.task.yaml", "--out", tmp_path / "run", *options)
    assert trained.code == 0, trained.err
    assert cli("card", "init", squares / "mine.csv").code == 2


@pytest.mark.parametrize(("arguments", "said"), [((".",), "expected a table of labels, found a folder"), (("labels.csv", "--out", "."), "--out .:")])
def test_a_folder_in_place_of_a_file_drafts_nothing_and_is_told(cli, squares, monkeypatch, arguments, said):
    monkeypatch.chdir(squares)
    result = cli("card", "init", *arguments)
    assert result.code == 2
    assert said in result.err


def test_a_draft_for_another_folder_finds_its_table_and_names_clash_nowhere(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    table["colour "] = table["colour"]
    table.to_csv(squares / "mine.csv", index=False)
    assert cli("card", "init", squares / "mine.csv", "--out", tmp_path / "else" / "x.yaml").code == 0
    card = yaml.safe_load((tmp_path / "else" / "x.yaml").read_text())
    assert {"colour", "colour_2"} <= set(card["attributes"])
    assert (tmp_path / "else" / card["root"] / "labels.csv").is_file()


def test_a_column_or_file_whose_name_goes_on_in_another_line_adds_no_key_to_the_drafted_card(tmp_path):
    from attrcls.data.draft import draft_card

    table = pd.DataFrame({
        "file": [f"{'x' * 300}.jpg", *(f"{number}.jpg" for number in range(9))],
        "kind": ["a", "b"] * 5,
        "person\n": [f"p{number // 2}" for number in range(10)],
        "note\nkey: file\nx": [f"n{number}" for number in range(10)],
    })  # fmt: skip
    table.to_csv(tmp_path / "a\nkey: file.csv", index=False)
    drafted = yaml.safe_load(draft_card(tmp_path / "a\nkey: file.csv"))
    assert set(drafted) == {"title", "root", "tables", "images", "group", "attributes", "licence"}
    assert drafted["group"] == "person\n"


def test_a_drafted_card_keeps_given_splits_exact_thirds_and_names_that_yaml_reads_otherwise(cli, tmp_path):
    rows = 60
    table = pd.DataFrame({
        "file": [f"{row}.jpg" for row in range(rows)], "split": (["train"] * 3 + ["Validation", "dev"]) * 12, "on": [row % 2 for row in range(rows)],
        "date": [20240101 + row % 30 for row in range(rows)], "quality": [row % 30 / 29 for row in range(rows)],
    })  # fmt: skip
    table.to_csv(tmp_path / "t.csv", index=False)
    result = cli("card", "init", tmp_path / "t.csv")
    assert result.code == 0, result.err
    card, _ = load_card(str(tmp_path / "t.card.yaml"))
    assert card.split.values == {"Validation": "val", "dev": "val"}
    assert set(card.attributes) == {"on", "date", "quality"}
    assert card.attributes["date"].cuts == [20240111, 20240120]
    low, high = card.attributes["quality"].cuts
    assert 0 < low < high < 1
    assert yaml.safe_load((tmp_path / "t.task.yaml").read_text())["heads"] == ["on", "date", "quality"]


def test_an_unknown_users_home_is_no_such_file_and_a_poor_terminal_no_end(squares):
    unknown = subprocess.run([sys.executable, "-m", "attrcls", "data", "~nosuchuser/x.yaml"], capture_output=True, text=True, check=False)
    assert unknown.returncode == 2
    assert "~nosuchuser/x.yaml" in unknown.stderr and "Traceback" not in unknown.stderr
    arguments = [sys.executable, "-m", "attrcls", "data", str(squares / "squares.task.yaml")]
    poor = subprocess.run(arguments, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert poor.returncode == 0, poor.stderr
    assert b"\\u2588" in poor.stdout


def test_a_table_without_pictures_or_labels_drafts_no_card(cli, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    assert "no column names pictures" in cli("card", "init", tmp_path / "a.csv").err
    (tmp_path / "b.csv").write_text("f,y\n1.jpg,2\n3.jpg,2\n")
    result = cli("card", "init", tmp_path / "b.csv")
    assert (result.code, "no column looks like labels" in result.err) == (2, True)


def test_data_counts_classes_by_split_and_lists_what_is_wrong(cli, squares):
    fine = cli("data", squares / "squares.task.yaml")
    assert fine.code == 0, fine.err
    assert "80 rows: 68 train, 12 val" in fine.out
    assert "20 groups of 4 rows" in fine.out
    assert "pictures 40 pixels wide, 36 high" in fine.out
    (squares / "images" / "p00_0.jpg").write_bytes(b"broken")
    table = pd.read_csv(squares / "labels.csv")
    table.loc[1, "colour"] = "mauve"
    table.loc[2, "Size"] = None
    table.to_csv(squares / "labels.csv", index=False)
    broken = cli("data", squares / "squares.task.yaml")
    assert broken.code == 3
    assert "p00_0.jpg" in broken.err
    assert "row 2, column colour" in broken.err
    assert "no label" in broken.out


def test_evaluate_scores_a_folder_in_the_cards_layout_on_its_held_back_rows(cli, trained_run, shared_squares, tmp_path):
    result = cli("evaluate", trained_run, shared_squares, "--json", tmp_path / "s.json", "--workers", 0)
    assert result.code == 0, result.err
    assert "val split, 12 rows" in result.out
    assert "warning: 3 groups only: the intervals of the scores are too narrow" in result.err
    scores = json.loads((tmp_path / "s.json").read_text())
    metrics = pd.read_csv(trained_run / "metrics.csv")
    best = metrics.iloc[json.loads((trained_run / "status.json").read_text())["best_epoch"] - 1]
    for name in ("colour/top1", "size/f1", "mean/f1", "code/f1"):
        value, low, high = scores["scores"][name]
        assert value == pytest.approx(best[name], abs=1e-6)
        assert low <= value <= high


def test_a_folder_is_evaluated_as_the_card_whose_data_it_was_though_others_name_their_tables_alike(cli, tmp_path):
    for seed, name in enumerate(("a", "b")):
        draw_squares(tmp_path / name, people=6 + seed, each=2)
    task = (tmp_path / "a" / "squares.task.yaml").read_text().replace("[squares.card.yaml]", "[a/squares.card.yaml, b/squares.card.yaml]")
    for name in ("a", "b"):
        card = tmp_path / name / "squares.card.yaml"
        card.write_text(f"name: {name}\n{card.read_text()}")
    (tmp_path / "two.task.yaml").write_text(task)
    options = ("--freeze", "--epochs", 1, "--workers", 0, "--device", "cpu")
    trained = cli("train", tmp_path / "two.task.yaml", "--out", tmp_path / "run", *options)
    assert trained.code == 0, trained.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    for name in ("a", "b"):
        result = cli("evaluate", tmp_path / "run", tmp_path / name, "--json", tmp_path / "s.json", "--workers", 0)
        assert result.code == 0, result.err
        told = json.loads((tmp_path / "s.json").read_text())
        assert (told["split"], told["rows"]) == ("val", ((splits["card"] == name) & (splits["split"] == "val")).sum())
    shutil.rmtree(tmp_path / "cache" / "places")
    refused = cli("evaluate", tmp_path / "run", tmp_path / "a")
    assert refused.code == 2
    assert "the cards a and b both read labels.csv" in refused.err
    assert cli("evaluate", tmp_path / "run", tmp_path / "a" / "labels.csv", "--workers", 0).code == 0


def test_evaluate_takes_a_root_elsewhere_as_predict_does_and_none_where_there_is_no_table(cli, trained_run, shared_squares):
    elsewhere = cli("evaluate", trained_run, shared_squares / "labels.csv", "--image-root", "http://127.0.0.1:9/pictures")
    assert elsewhere.code == 2
    assert "http://127.0.0.1:9/pictures" in elsewhere.err
    for command, folder in (("evaluate", shared_squares), ("predict", shared_squares / "images")):
        refused = cli(command, trained_run, folder, "--image-root", shared_squares, "--encoding", "utf-8")
        assert refused.code == 2
        assert "expected a table to go with --image-root and --encoding, found a folder" in refused.err


def test_evaluate_reads_labels_from_the_table_itself_or_from_a_truth_file(cli, trained_run, shared_squares, tmp_path):
    own = cli("evaluate", trained_run, shared_squares / "labels.csv", "--json", tmp_path / "a.json")
    assert own.code == 0, own.err
    labels = pd.read_csv(shared_squares / "labels.csv")
    codes = labels["colour"].map(["red", "green", "blue"].index) * 2 + labels["Size"].map(["small", "large"].index)
    pd.DataFrame({"ImageID": labels["file"], "code": codes}).sample(frac=1, random_state=0).to_csv(tmp_path / "answers.csv", index=False)
    labels.rename(columns={"file": "ImageID"})[["ImageID"]].assign(code=0).to_csv(shared_squares / "info.csv", index=False)
    coded = cli("evaluate", trained_run, shared_squares / "info.csv", "--truth", tmp_path / "answers.csv", "--json", tmp_path / "b.json")
    assert coded.code == 0, coded.err
    one, two = (json.loads((tmp_path / name).read_text())["scores"] for name in ("a.json", "b.json"))
    assert one["code/f1"][0] == two["code/f1"][0]


def test_the_encoding_is_the_truths_where_the_input_is_no_table(cli, trained_run, shared_squares, tmp_path):
    labels = pd.read_csv(shared_squares / "labels.csv")
    labels.rename(columns={"file": "path"}).assign(note="é").to_csv(tmp_path / "truth.csv", index=False, encoding="latin-1")
    result = cli("evaluate", trained_run, shared_squares / "images", "--truth", tmp_path / "truth.csv", "--encoding", "latin-1", "--workers", 0)
    assert result.code == 0, result.err
    assert "80 rows" in result.out


def test_evaluate_never_calls_a_row_that_trained_a_test_row(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv").assign(split="train")
    table.to_csv(squares / "labels.csv", index=False)
    card = squares / "squares.card.yaml"
    card.write_text(card.read_text() + "split: split\n")
    options = ("--workers", 0, "--epochs", 1)
    assert cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", *options).code == 0
    assert "val split, 12 rows" in cli("evaluate", tmp_path / "run", squares).out
    (squares / "images" / "p00_0.jpg").unlink()
    partly = cli("evaluate", tmp_path / "run", squares)
    assert partly.code == 3
    assert "p00_0.jpg" in partly.err


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ("ImageID,code\np00_0.jpg,6\n", "expected a code from 0 to 5, found '6'"),
        ("ImageID,colour\np00_0.jpg,mauve\n", "truth.csv, row 1, column colour: expected one of red, green, blue, found 'mauve'"),
        ("ImageID,other\np00_0.jpg,1\n", "no column holds labels"),
        ("ImageID,code\nelse.jpg,1\n", "none of its 1 pictures is in the input"),
        ("ImageID,code\np00_0.jpg,1\np00_0.jpg,2\n", "more than once"),
        ("name,code\np00_0.jpg,1\n", "expected a column ImageID"),
    ],
)
def test_a_truth_file_that_cannot_be_used_is_refused(cli, trained_run, squares, tmp_path, truth, expected):
    (squares / "info.csv").write_text("ImageID\np00_0.jpg\np00_1.jpg\n")
    (tmp_path / "truth.csv").write_text(truth)
    result = cli("evaluate", trained_run, squares / "info.csv", "--truth", tmp_path / "truth.csv")
    assert result.code == 2
    assert expected in result.err


def test_predictions_are_never_taken_for_labels(cli, trained_run, shared_squares, tmp_path):
    assert cli("predict", trained_run, shared_squares / "labels.csv", "--csv", tmp_path / "p.csv", "--workers", 0).code == 0
    for arguments in ([tmp_path / "p.csv"], [shared_squares / "labels.csv", "--truth", tmp_path / "p.csv"]):
        result = cli("evaluate", trained_run, *arguments, "--workers", 0)
        assert result.code == 2
        assert "p.csv: holds predictions of colour, size" in result.err and "--truth FILE" in result.err
    scored = cli(
        "evaluate",
        trained_run,
        tmp_path / "p.csv",
        "--image-root",
        shared_squares / "images",
        "--truth",
        shared_squares / "labels.csv",
        "--workers",
        0,
    )
    assert scored.code == 0, scored.err


def test_rows_of_a_card_without_boxes_are_scored_as_they_were_trained_beside_one_with_boxes(cli, tmp_path):
    fashion = tmp_path / "fashion"
    assert cli("sample", fashion, "--kind", "fashion", "--people", 12).code == 0
    table = pd.read_csv(fashion / "train.csv").drop_duplicates("image_name")
    (tmp_path / "plain").mkdir()
    shutil.copytree(fashion / "train", tmp_path / "plain" / "pictures")
    table[["image_name", "Daily"]].to_csv(tmp_path / "plain" / "plain.csv", index=False)
    classes = ", ".join(load_card("sample_fashion")[0].attributes["daily"].classes)
    (tmp_path / "plain.card.yaml").write_text(
        f"tables: [plain.csv]\nimages: {{root: pictures, column: image_name}}\nattributes: {{daily: {{column: Daily, classes: [{classes}]}}}}\n"
    )
    (tmp_path / "two.task.yaml").write_text(
        "cards: [sample_fashion, plain.card.yaml]\nheads: [daily]\nimage: {px: 32, crop_boxes: true}\ntrunk: {weights: none}\n"
    )
    options = ("--data", f"sample_fashion={fashion}", "--data", f"plain={tmp_path / 'plain'}", "--epochs", 1, "--workers", 0)
    trained = cli("train", tmp_path / "two.task.yaml", "--out", tmp_path / "run", *options)
    assert trained.code == 0, trained.err
    result = cli("evaluate", tmp_path / "run", tmp_path / "plain", "--workers", 0)
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    held = ((splits["card"] == "plain") & (splits["split"] == "val")).sum()
    assert held > 0
    assert f"val split, {held} rows" in result.out


def test_report_writes_one_page_without_scripts_or_links_outside(cli, trained_run, tmp_path):
    result = cli("report", trained_run, "--out", tmp_path / "r.html")
    assert result.code == 0, result.err
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Content-Security-Policy" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert cli("report", tmp_path / "nothing").code == 2


def test_sample_draws_both_kinds_and_refuses_a_third(cli, tmp_path):
    assert cli("sample", tmp_path / "faces", "--people", 10).code == 0
    assert cli("sample", tmp_path / "fashion", "--kind", "fashion", "--people", 10).code == 0
    assert cli("data", "sample_faces", "--data", tmp_path / "faces").code == 0
    assert cli("data", "sample_fashion", "--data", tmp_path / "fashion").code == 0
    assert cli("data", "fascode", "--data", tmp_path / "fashion").code == 0
    assert cli("sample", tmp_path / "faces", "--people", 10).code == 2
    assert "faces or fashion" in cli("sample", tmp_path / "x", "--kind", "cats").err


@pytest.mark.parametrize("crop", ["true", "false"])
def test_boxes_are_cropped_or_not_from_training_to_report(cli, tmp_path, crop):
    assert cli("sample", tmp_path / "fashion", "--kind", "fashion", "--people", 12).code == 0
    options = ("--epochs", 1, "--set", f"image.crop_boxes={crop}", "--set", "image.px=32", "--workers", 0)
    trained = cli("train", "sample_fashion", "--data", tmp_path / "fashion", "--out", tmp_path / "run", *options)
    assert trained.code == 0, trained.err
    table = tmp_path / "fashion" / "test.csv"
    predicted = cli("predict", tmp_path / "run", table, "--image-root", tmp_path / "fashion" / "test", "--csv", tmp_path / "p.csv")
    assert predicted.code == 0, predicted.err
    assert len(pd.read_csv(tmp_path / "p.csv")) == len(pd.read_csv(table))
    blank = pd.read_csv(table, dtype=str).head(3)
    blank.loc[1, "BBox_xmin"] = None
    blank.to_csv(tmp_path / "blank.csv", index=False)
    gaps = cli("predict", tmp_path / "run", tmp_path / "blank.csv", "--image-root", tmp_path / "fashion" / "test", "--csv", tmp_path / "b.csv")
    status = pd.read_csv(tmp_path / "b.csv")["status"].tolist()
    assert (gaps.code, status) == ((3, ["ok", "unreadable", "ok"]) if crop == "true" else (0, ["ok"] * 3))
    whole = cli("predict", tmp_path / "run", tmp_path / "fashion" / "test", "--csv", tmp_path / "w.csv")
    assert ("saw whole pictures" in whole.err) == (crop == "true")
    assert cli("evaluate", tmp_path / "run", tmp_path / "fashion").code == 0
    assert cli("report", tmp_path / "run").code == 0
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text())["image"]["crop_boxes"] == (crop == "true")


def test_a_malformed_task_or_card_is_refused_with_all_its_faults(cli, squares):
    (squares / "squares.card.yaml").write_text("tables: [labels.csv]\nattribute: {}\nimages: {colum: file}\n")
    result = cli("train", squares / "squares.task.yaml")
    assert result.code == 2
    assert "did you mean 'attributes'" in result.err
    assert "did you mean 'column'" in result.err
    (squares / "squares.task.yaml").write_text("heads: [colour\n")
    assert "not valid YAML" in cli("train", squares / "squares.task.yaml").err


def test_the_python_api_does_what_the_commands_do(squares, tmp_path):
    from attrcls import clean_labels, evaluate, predict, train, write_report

    cleaned = clean_labels(str(squares / "squares.task.yaml"), out=tmp_path / "clean", workers=0, full=False)
    assert (cleaned.folder / "verdicts.csv").is_file()
    run = train(str(squares / "squares.task.yaml"), out=tmp_path / "run", changes={"epochs": 1}, workers=0)
    table = predict(run, squares / "images").table
    assert len(table) == 80
    assert evaluate(run, squares).rows == 12
    assert write_report(run).is_file()
    import attrcls

    assert attrcls.__all__ == ["average", "clean_labels", "ensemble", "evaluate", "predict", "pretrain", "train", "train_folds", "write_report"]
    assert all(callable(getattr(attrcls, name)) for name in attrcls.__all__)


def test_wandb_alone_gets_the_default_project():
    from attrcls.cli.app import with_values

    assert with_values(["train", "t", "--wandb"]) == ["train", "t", "--wandb", "attrcls"]
    assert with_values(["train", "--wandb", "--resume"]) == ["train", "--wandb", "attrcls", "--resume"]
    assert with_values(["train", "--wandb", "mine"]) == ["train", "--wandb", "mine"]


def test_evaluate_names_each_heads_worst_slices_and_writes_all_of_them(cli, trained_run, shared_squares, tmp_path):
    result = cli("evaluate", trained_run, shared_squares, "--workers", 0, "--slices", tmp_path / "s.csv", "--json", tmp_path / "s.json")
    assert result.code == 0
    assert "worst slices" in result.out
    table = pd.read_csv(tmp_path / "s.csv")
    assert set(table["head"]) == {"colour", "size"}
    assert {"size small", "size large"} <= set(table["slice"][table["head"] == "colour"])
    of_size = table[(table["head"] == "size") & (table["kind"] == "attribute")]
    assert of_size["rows"].sum() == json.loads((tmp_path / "s.json").read_text())["rows"]
    assert len(json.loads((tmp_path / "s.json").read_text())["slices"]) == len(table)


def test_evaluate_refuses_a_name_for_slices_that_it_cannot_write_before_any_work(cli, trained_run, shared_squares, tmp_path):
    result = cli("evaluate", trained_run, shared_squares, "--slices", tmp_path / "s.xlsx")
    assert result.code == 2
    assert ".csv, .jsonl, .parquet" in result.err


def test_a_run_carries_a_model_card_that_tells_its_scores(trained_run):
    card = (trained_run / "model" / "README.md").read_text(encoding="utf-8")
    assert "# Squares" in card
    assert "| colour | 12 |" in card


def test_a_drafted_card_finds_pictures_below_folders_of_any_name_and_says_where_it_finds_none(cli, tmp_path):
    (tmp_path / "data" / "pics_2024" / "a").mkdir(parents=True)
    (tmp_path / "data" / "another").mkdir()
    (tmp_path / "data" / "another" / "0.jpg").touch()
    for row in range(1, 8):
        (tmp_path / "data" / "pics_2024" / "a" / f"{row}.jpg").touch()
    pd.DataFrame({"file": [f"{row}.jpg" for row in range(8)], "kind": ["x", "y"] * 4}).to_csv(tmp_path / "data" / "t.csv", index=False)
    assert cli("card", "init", tmp_path / "data" / "t.csv").code == 0
    assert load_card(str(tmp_path / "data" / "t.card.yaml"))[0].images.root == "pics_2024/a"
    pd.DataFrame({"file": [f"none/{row}.jpg" for row in range(8)], "kind": ["x", "y"] * 4}).to_csv(tmp_path / "u.csv", index=False)
    told = cli("card", "init", tmp_path / "u.csv", "--out", "-")
    assert "# No picture was found: say in `root:`" in told.out
    assert yaml.safe_load(told.out)["images"]["root"] == "."


def test_a_drafted_card_guesses_groups_by_name_or_by_numbers_that_are_none_and_says_why(cli, tmp_path):
    rows = 240
    table = pd.DataFrame({"file": [f"{row}.jpg" for row in range(rows)], "kind": ["x", "y", "z"] * 80})
    table.assign(Photographer=[f"p{row // 4}" for row in range(rows)]).to_csv(tmp_path / "a.csv", index=False)
    assert "\ngroup: Photographer  # rows of one" in cli("card", "init", tmp_path / "a.csv", "--out", "-").out
    table.assign(serial=[f"{row // 4:05}" for row in range(rows)]).to_csv(tmp_path / "b.csv", index=False)
    assert "\ngroup: serial  # a guess, for its 60 values stand in 4 rows each: rows of one" in cli(
        "card", "init", tmp_path / "b.csv", "--out", "-"
    ).out.replace("'serial'", "serial")
    # Twenty classes of equally many rows are classes, and so are padded codes that are few.
    table.assign(level=[row % 20 for row in range(rows)], code=[f"{row % 3:02}" for row in range(rows)]).to_csv(tmp_path / "c.csv", index=False)
    drafted = yaml.safe_load(cli("card", "init", tmp_path / "c.csv", "--out", "-").out)
    assert "group" not in drafted and {"level", "code"} <= set(drafted["attributes"])


def test_a_drafted_card_cuts_numbers_among_which_a_few_are_none_and_names_classes_of_one_row(cli, tmp_path):
    rows = 100
    ages = [str(10 + row % 60) for row in range(rows)]
    ages[7] = ages[50] = "n/a"
    table = pd.DataFrame({"file": [f"{row}.jpg" for row in range(rows)], "age": ages, "kind": ["x", "y", "z", "y"] * 24 + ["x", "y", "y", "odd"]})
    table.to_csv(tmp_path / "t.csv", index=False)
    assert cli("card", "init", tmp_path / "t.csv").code == 0
    card, found = load_card(str(tmp_path / "t.card.yaml"))
    age = card.attributes["age"]
    assert len(age.cuts) == 2 and age.missing == ["", "n/a"] and age.index_of("n/a") == -1
    assert "# in one row only, so not to be learned: odd" in found.path.read_text()


def test_tables_beside_the_card_find_its_pictures_in_prediction_and_evaluation(cli, squares, tmp_path):
    # Pictures below a folder of no common name, the table in one of its own.
    data = tmp_path / "data"
    (data / "tables").mkdir(parents=True)
    shutil.move(squares / "images", data / "shots")
    shutil.move(squares / "labels.csv", data / "tables" / "labels.csv")
    card = squares / "squares.card.yaml"
    card.write_text(card.read_text().replace("tables: [labels.csv]", "tables: [tables/labels.csv]").replace("root: images", "root: shots"))
    options = ("--data", data, "--workers", 0, "--epochs", 1)
    assert cli("train", squares / "squares.task.yaml", *options, "--out", tmp_path / "run").code == 0
    shutil.copy(data / "tables" / "labels.csv", data / "tables" / "new.csv")
    for name in ("labels.csv", "new.csv"):
        predicted = cli("predict", tmp_path / "run", data / "tables" / name, "--csv", tmp_path / "p.csv", "--workers", 0)
        assert predicted.code == 0, predicted.err
        assert cli("evaluate", tmp_path / "run", data / "tables" / name, "--workers", 0).code == 0
    shutil.copy(data / "tables" / "labels.csv", tmp_path / "moved.csv")
    for command in (("predict", "--csv", tmp_path / "q.csv"), ("evaluate",)):
        refused = cli(command[0], tmp_path / "run", tmp_path / "moved.csv", *command[1:])
        assert refused.code == 2
        assert "moved.csv: none of its 80 pictures is found, such as 'p00_0.jpg'" in refused.err and "--image-root DIR" in refused.err
    assert not (tmp_path / "q.csv").exists()


def test_a_row_without_a_picture_is_told_once_with_its_name_in_evaluation(cli, trained_run, squares):
    (squares / "images" / "p00_0.jpg").unlink()
    partly = cli("evaluate", trained_run, squares / "labels.csv", "--workers", 0)
    assert partly.code == 3
    [line] = [line for line in partly.err.splitlines() if "no such file" in line]
    assert line.count("p00_0.jpg") == 1


def test_slices_that_are_no_worse_than_the_other_rows_are_not_called_the_worst(cli, trained_run, shared_squares, tmp_path):
    table = pd.read_csv(shared_squares / "labels.csv")
    assert cli("predict", trained_run, shared_squares / "labels.csv", "--csv", tmp_path / "p.csv", "--workers", 0).code == 0
    told = pd.read_csv(tmp_path / "p.csv")
    right = table.assign(colour=told["colour"], Size=told["size"])
    right.to_csv(tmp_path / "right.csv", index=False)
    result = cli("evaluate", trained_run, tmp_path / "right.csv", "--image-root", shared_squares / "images", "--workers", 0)
    assert result.code == 0, result.err
    assert "worst slices: none is worse than the other rows" in result.out
