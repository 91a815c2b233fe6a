"""`clean-labels` and `train --decisions` through the real command line, on drawn squares with planted faults."""

import json
import shutil

import pandas as pd
import pytest

ALL = {"verdicts.csv", "aum_values.csv", "cleaned.csv", "review.html", "status.json", "config.yaml"}


@pytest.fixture
def faulty(squares):
    """The squares with the colours of eight pictures said wrong; column `true` is for scoring alone."""
    table = pd.read_csv(squares / "labels.csv")
    table["true"] = table["colour"]
    wrong = list(range(3, 80, 10))
    table.loc[wrong, "colour"] = table.loc[wrong, "colour"].map({"red": "green", "green": "blue", "blue": "red"})
    table.to_csv(squares / "labels.csv", index=False)
    return squares


def clean(cli, folder, out, *options):
    return cli("clean-labels", folder / "squares.task.yaml", "--out", out, "--workers", 0, *options)


def test_fast_cleaning_writes_every_file_and_ranks_planted_faults_first(cli, faulty, tmp_path):
    result = clean(cli, faulty, tmp_path / "clean", "--fast", "--set", "image.px=64")
    assert result.code == 0, result.err
    assert {path.name for path in (tmp_path / "clean").iterdir()} == ALL
    values = pd.read_csv(tmp_path / "clean" / "aum_values.csv")
    assert list(values.columns) == ["card", "row_id", "path", "head", "given_label", "aum", "label_score"]
    assert values["label_score"].between(0, 1).all()
    truth = pd.read_csv(faulty / "labels.csv").set_index("file")
    colour = values[values["head"] == "colour"]
    assert len(colour) == 68  # the train split only
    names = colour["path"].str.removeprefix("images/")
    wrong = (truth.loc[names, "colour"] != truth.loc[names, "true"]).to_numpy()
    ranks = colour["label_score"].rank().to_numpy()
    assert ranks[wrong].mean() < ranks[~wrong].mean() / 2
    status = json.loads((tmp_path / "clean" / "status.json").read_text())
    assert (status["state"], status["kind"]) == ("finished", "cleaning")
    assert "paper's rule" in result.out


def test_rows_that_are_left_out_are_told_kept_in_a_file_and_left_out_by_the_command_that_is_suggested(cli, faulty, tmp_path):
    (faulty / "images" / "p00_0.jpg").unlink()
    result = clean(cli, faulty, tmp_path / "clean", "--fast", "--set", "image.px=64", "--on-error", "skip")
    assert result.code == 0, result.err
    assert "some left out for 1 problem (skipped.txt)" in result.err
    skipped = (tmp_path / "clean" / "skipped.txt").read_text()
    assert skipped.startswith("labels.csv, row 1, column file: no file images/p00_0.jpg") and str(tmp_path) not in skipped
    [then] = [line for line in result.out.splitlines() if line.startswith("then: attrcls train")]
    assert "--on-error skip" in then.partition(" · ")[0]


def test_a_head_that_would_lose_many_of_its_labels_is_told_of(cli, faulty, tmp_path, monkeypatch):
    monkeypatch.setattr("attrcls.cli.clean.MUCH_DROPPED", 0.0)
    result = clean(cli, faulty, tmp_path / "clean", "--fast", "--set", "image.px=64")
    assert result.code == 0, result.err
    verdicts = pd.read_csv(tmp_path / "clean" / "verdicts.csv")
    losing = set(verdicts[verdicts["decision"] == "drop_label"]["head"])
    told = [line for line in result.err.splitlines() if "of its labels would be dropped" in line]
    assert losing and len(told) == len(losing) and all(any(f"{head}: " in line for line in told) for head in losing)


def test_the_same_command_gives_the_same_verdicts_from_kept_features_and_replaces_none_unasked(cli, faulty, tmp_path):
    assert clean(cli, faulty, tmp_path / "one", "--fast", "--set", "image.px=64").code == 0
    assert list((tmp_path / "cache").glob("*.safetensors"))
    assert clean(cli, faulty, tmp_path / "two", "--fast", "--set", "image.px=64").code == 0
    refused = clean(cli, faulty, tmp_path / "two", "--fast", "--set", "image.px=64")
    assert refused.code == 2
    assert "already holds a run" in refused.err and "--overwrite" in refused.err
    for name in ("verdicts.csv", "aum_values.csv", "cleaned.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("stop", ["run0, epoch 2", "run1, epoch 3"])
def test_a_full_cleaning_stopped_anywhere_resumes_to_the_same_verdicts(cli, faulty, tmp_path, monkeypatch, stop):
    from attrcls.cleaning import observe

    assert clean(cli, faulty, tmp_path / "whole", "--full").code == 0
    real = observe.save_checkpoint

    def interrupt(state, path, **options):
        real(state, path, **options)
        if stop == f"{path.stem}, epoch {state.epoch}":
            raise KeyboardInterrupt

    monkeypatch.setattr(observe, "save_checkpoint", interrupt)
    stopped = clean(cli, faulty, tmp_path / "clean", "--full")
    assert stopped.code == 130
    assert "--resume" in stopped.err
    monkeypatch.setattr(observe, "save_checkpoint", real)
    other = clean(cli, faulty, tmp_path / "clean", "--full", "--resume", "--limit", 10)
    assert other.code == 2
    assert "--limit was None and is now 10" in other.err
    assert clean(cli, faulty, tmp_path / "clean", "--full", "--resume").code == 0
    for name in ("verdicts.csv", "aum_values.csv", "cleaned.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    assert {path.name for path in (tmp_path / "clean").iterdir()} == ALL
    again = clean(cli, faulty, tmp_path / "clean", "--full", "--resume")
    assert again.code == 0
    assert "finished already" in again.err
    trained = cli("train", faulty / "squares.task.yaml", "--out", tmp_path / "clean", "--resume")
    assert trained.code == 2
    assert "expected a training" in trained.err and "found a cleaning" in trained.err


def test_full_cleaning_is_the_default_without_weights_and_can_audit_every_split(cli, faulty, tmp_path):
    result = clean(cli, faulty, tmp_path / "clean", "--all-splits", "--heads", "colour")
    assert result.code == 0, result.err
    assert "the whole network" in result.err
    values = pd.read_csv(tmp_path / "clean" / "aum_values.csv")
    assert set(values["head"]) == {"colour"}
    assert len(values) == 80


@pytest.mark.parametrize("method", ["confident", "both"])
def test_confident_learning_writes_the_same_files(cli, faulty, tmp_path, method):
    pytest.importorskip("cleanlab")
    result = clean(cli, faulty, tmp_path / "clean", "--fast", "--method", method, "--set", "image.px=64")
    assert result.code == 0, result.err
    assert {path.name for path in (tmp_path / "clean").iterdir()} == ALL
    values = pd.read_csv(tmp_path / "clean" / "aum_values.csv")
    assert values["aum"].isna().all() == (method == "confident")
    assert values["label_score"].between(0, 1).all()


def test_cleaned_csv_is_the_users_own_table_with_an_audit_column(cli, faulty, tmp_path):
    assert clean(cli, faulty, tmp_path / "clean", "--fast", "--set", "image.px=64").code == 0
    own, cleaned = pd.read_csv(faulty / "labels.csv"), pd.read_csv(tmp_path / "clean" / "cleaned.csv")
    assert list(cleaned.columns) == [*own.columns, "audit"]
    assert cleaned["file"].tolist() == own["file"].tolist()
    changed = cleaned["colour"].isna()
    assert (cleaned["colour"][~changed] == own["colour"][~changed]).all()
    assert cleaned["audit"][changed].str.contains("colour: drop_label").all()


def decisions_file(folder, rows, name="decisions.csv", **options):
    columns = ["card", "row_id", "path", "head", "given_label", "suggested_label", "decision", "new_label"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / name, index=False, **options)
    return folder / name


def row_of(squares, index, decision, new=""):
    label = pd.read_csv(squares / "labels.csv").iloc[index]
    path = f"images/{label['file']}"
    return ["squares", path, path, "colour", label["colour"], "red", decision, new]


def test_apply_writes_the_mended_table_and_never_overwrites_unasked(cli, squares, tmp_path):
    file = decisions_file(tmp_path, [row_of(squares, 1, "drop_label"), row_of(squares, 2, "relabel"), row_of(squares, 3, "keep")])
    command = ("clean-labels", squares / "squares.task.yaml", "--apply", file, "--out", tmp_path / "mended.csv")
    assert cli(*command).code == 0
    mended = pd.read_csv(tmp_path / "mended.csv", keep_default_na=False)
    assert mended["colour"].tolist()[:4] == ["red", "", "red", "red"]
    assert mended["audit"].tolist()[:4] == ["", "colour: drop_label (green)", "colour: relabel (blue → red)", "colour: keep (red)"]
    refused = cli(*command)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert cli(*command, "--overwrite").code == 0


def test_apply_carries_out_decisions_on_the_heads_that_are_asked_for_and_refuses_what_is_for_cleaning(cli, squares, tmp_path):
    large = pd.read_csv(squares / "labels.csv").iloc[1]
    of_size = ["squares", f"images/{large['file']}", f"images/{large['file']}", "size", large["Size"], "", "drop_label", ""]
    file = decisions_file(tmp_path, [row_of(squares, 1, "drop_label"), of_size])
    command = ("clean-labels", squares / "squares.task.yaml", "--apply", file, "--out", tmp_path / "mended.csv")
    assert cli(*command, "--heads", "size").code == 0
    mended = pd.read_csv(tmp_path / "mended.csv", keep_default_na=False)
    assert (mended["colour"][1], mended["Size"][1]) == (large["colour"], "")
    refused = cli(*command, "--all-splits", "--limit", 5, "--overwrite")
    assert refused.code == 2
    assert "leave --all-splits, --limit out" in refused.err


def test_a_label_whose_cell_says_another_ones_too_is_mended_in_a_table_with_a_column_for_each(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    table["both"] = table["colour"] + " " + table["Size"]
    table.drop(columns=["colour", "Size"]).to_csv(squares / "labels.csv", index=False)
    names = [f"{colour} {size}" for colour in ("red", "green", "blue") for size in ("small", "large")]
    values = {what: ", ".join(f"{name}: {name.split()[place]}" for name in names) for place, what in enumerate(("colour", "size"))}
    card = (squares / "squares.card.yaml").read_text()
    card = card.replace("colour: {", f"colour: {{column: both, values: {{{values['colour']}}}, ")
    card = card.replace("size: {column: Size,", f"size: {{column: both, values: {{{values['size']}}},")
    (squares / "squares.card.yaml").write_text(card)
    row = table.iloc[1]
    path = f"images/{row['file']}"
    file = decisions_file(tmp_path, [["squares", path, path, "colour", row["colour"], "", "drop_label", ""]])
    result = cli("clean-labels", squares / "squares.task.yaml", "--apply", file, "--out", tmp_path / "mended.csv")
    assert result.code == 0, result.err
    mended = pd.read_csv(tmp_path / "mended.csv", keep_default_na=False)
    assert (mended["colour"][1], mended["size"][1]) == ("", row["Size"])
    assert mended["size"].tolist() == table["Size"].tolist()


def test_cleaning_the_whole_network_sees_every_row_whatever_ratio_its_card_has(cli, squares, tmp_path):
    options = ("--full", "--set", "cards=[{card: squares.card.yaml, ratio: 0.5}]", "--set", "trunk.name=shufflenet_v2_x0_5")
    result = cli("clean-labels", squares / "squares.task.yaml", "--out", tmp_path / "clean", "--workers", 0, "--heads", "size", *options)
    assert result.code == 0, result.err
    values = pd.read_csv(tmp_path / "clean" / "aum_values.csv")
    assert len(values) == 68


def test_weights_in_the_folder_that_a_cleaning_would_replace_are_kept(cli, few_squares, trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "run")
    result = cli(
        "clean-labels", few_squares / "squares.task.yaml", "--weights", tmp_path / "run", "--out", tmp_path / "run", "--overwrite", "--workers", 0
    )
    assert result.code == 2
    assert "lies in --out" in result.err
    assert (tmp_path / "run" / "model" / "weights.safetensors").exists()


def test_a_finished_cleaning_is_not_taken_for_another_one(cli, few_squares, tmp_path):
    out = tmp_path / "clean"
    command = ("clean-labels", few_squares / "squares.task.yaml", "--out", out, "--workers", 0, "--heads", "size", "--fast")
    assert cli(*command).code == 0
    assert "finished already" in cli(*command, "--resume").err
    refused = cli(*command, "--resume", "--all-splits")
    assert refused.code == 2
    assert "--all-splits was False and is now True" in refused.err


def test_of_a_row_that_stands_twice_the_one_that_counts_is_mended(cli, squares, tmp_path):
    file = decisions_file(tmp_path, [row_of(squares, 1, "drop_label")])
    labels = pd.read_csv(squares / "labels.csv")
    pd.concat([labels, labels.iloc[[1]].assign(colour="blue")]).to_csv(squares / "labels.csv", index=False)
    assert cli("clean-labels", squares / "squares.task.yaml", "--apply", file, "--out", tmp_path / "mended.csv").code == 0
    mended = pd.read_csv(tmp_path / "mended.csv", keep_default_na=False)
    assert mended["colour"].iloc[[1, -1]].tolist() == ["", "blue"]
    assert mended["audit"].iloc[[1, -1]].tolist() == ["colour: drop_label (green)", ""]


def test_train_applies_decisions_to_the_train_split_and_says_what_it_did(cli, squares, tmp_path):
    file = decisions_file(tmp_path, [row_of(squares, index, "drop_label") for index in range(80)], sep=";", encoding="utf-8-sig")
    refused = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, "--epochs", 1, "--decisions", file)
    assert refused.code == 2
    assert "head colour has no labelled train row" in refused.err
    some = decisions_file(tmp_path, [row_of(squares, index, "drop_label") for index in range(40)])
    result = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, "--epochs", 1, "--decisions", some)
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "run" / "splits.csv")
    assert len(splits) == 80
    by_split = splits["colour"].isna().groupby(splits["split"]).sum()
    assert by_split["val"] == 0
    assert f"colour: {by_split['train']} dropped of 68" in result.err


def test_decisions_of_other_labels_are_refused_and_the_first_differences_named(cli, squares, tmp_path):
    rows = [row_of(squares, 1, "drop_label"), row_of(squares, 2, "drop_label")]
    rows[1][4] = "green"
    result = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--decisions", decisions_file(tmp_path, rows))
    assert result.code == 2
    assert "row 2" in result.err
    assert "the label was 'green' when this was decided, and is 'blue' now" in result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--heads", "color"), "did you mean 'colour'?"),
        (("--full", "--method", "confident"), "leave --full out"),
        (("--apply", "nowhere.csv"), "--apply needs --out FILE"),
        (("--weights", "nowhere.pth"), "nowhere.pth"),
        (("--set", "clean.floor=3"), "did you mean 'floor_rows'?"),
        (("--set", "clean.impossible=[{colour: pink}]"), "no class 'pink'"),
    ],
)
def test_bad_arguments_end_with_a_message_and_code_2_and_leave_no_folder_that_would_be_in_the_way(cli, squares, tmp_path, options, told, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("clean-labels", squares / "squares.task.yaml", "--workers", 0, *options)
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "runs" / "clean-squares" / "config.yaml").exists()


def test_a_folder_of_something_else_is_not_overwritten_even_if_asked(cli, squares, tmp_path):
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "mine.txt").write_text("mine")
    result = clean(cli, squares, tmp_path / "clean", "--overwrite")
    assert result.code == 2
    assert (tmp_path / "clean" / "mine.txt").exists()


def test_one_class_a_group_of_one_and_a_handful_of_rows_give_no_verdicts_and_no_traceback(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv").head(12)
    table["colour"] = "red"
    table["person"] = [f"p{index}" for index in range(12)]
    table.to_csv(squares / "labels.csv", index=False)
    result = clean(cli, squares, tmp_path / "clean", "--fast")
    assert result.code == 0, result.err
    verdicts = pd.read_csv(tmp_path / "clean" / "verdicts.csv")
    assert len(verdicts) == 0
    assert "decision" in verdicts.columns


def test_a_head_without_any_label_is_named_and_may_be_left_out(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    table["colour"] = ""
    table.to_csv(squares / "labels.csv", index=False)
    result = clean(cli, squares, tmp_path / "clean", "--fast")
    assert result.code == 2
    assert "head colour has no labelled train row" in result.err and "--heads" in result.err
    assert not (tmp_path / "clean").exists()
    assert clean(cli, squares, tmp_path / "clean", "--fast", "--heads", "size").code == 0
    assert set(pd.read_csv(tmp_path / "clean" / "aum_values.csv")["head"]) == {"size"}


@pytest.mark.parametrize("how", ["--fast", "--full"])
def test_a_last_batch_of_one_picture_is_judged_too(cli, squares, tmp_path, how):
    table = pd.read_csv(squares / "labels.csv").head(65)
    table.to_csv(squares / "labels.csv", index=False)
    result = clean(cli, squares, tmp_path / "clean", how, "--all-splits", "--set", "image.px=64")
    assert result.code == 0, result.err
    values = pd.read_csv(tmp_path / "clean" / "aum_values.csv")
    assert (values["head"] == "colour").sum() == 65
    assert values["aum"].notna().all()


def test_a_cleaning_that_was_killed_as_it_emptied_its_folder_resumes(cli, faulty, tmp_path, monkeypatch):
    from attrcls.runs.folder import RunFolder

    command = ("clean-labels", faulty / "squares.task.yaml", "--fast", "--set", "image.px=32", "--workers", 0, "--out", tmp_path / "run")

    def killed(folder, status):
        real(folder, status)
        raise KeyboardInterrupt

    real = RunFolder.write_status
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_status", killed)
        # First between its status and its config, then as a resume, which finds no config, empties the folder again.
        assert cli(*command).code == 130
        assert cli(*command, "--resume").code == 130
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "being replaced"
    resumed = cli(*command, "--resume")
    assert resumed.code == 0, resumed.err
    assert (tmp_path / "run" / "verdicts.csv").exists()
