"""The main job through the real command line, on the drawn squares: happy paths and bad input."""

import json
import shutil

import pandas as pd
import pytest
import torch
from conftest import stopped_after
from safetensors.torch import load_file


def train(cli, folder, out, *options):
    return cli("train", folder / "squares.task.yaml", "--out", out, "--workers", 0, *options)


def test_train_makes_a_run_directory_that_tells_everything(cli, squares, tmp_path):
    result = train(cli, squares, tmp_path / "run")
    assert result.code == 0, result.err
    run = tmp_path / "run"
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["epochs_done"], status["train_rows"], status["val_rows"]) == ("finished", 2, 68, 12)
    metrics = pd.read_csv(run / "metrics.csv")
    assert metrics["epoch"].tolist() == [1, 2]
    assert {"train_loss", "val_loss", "colour/top1", "size/f1", "mean/f1", "code/top1", "code/f1"} <= set(metrics.columns)
    splits = pd.read_csv(run / "splits.csv")
    assert splits.groupby("group")["split"].nunique().max() == 1
    model = json.loads((run / "model" / "model.json").read_text())
    assert model["combine"]["radices"] == [3, 2]
    assert model["attributes"]["colour"]["classes"] == ["red", "green", "blue"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"last.safetensors", "best.safetensors"}
    assert not list(run.rglob("*.pkl")) + list(run.rglob("*.pth"))
    assert "attrcls predict" in result.out


def test_a_run_is_not_overwritten_unless_asked(cli, squares, tmp_path):
    assert train(cli, squares, tmp_path / "run", "--epochs", 1).code == 0
    before = (tmp_path / "run" / "metrics.csv").read_text()
    refused = train(cli, squares, tmp_path / "run", "--epochs", 1)
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert (tmp_path / "run" / "metrics.csv").read_text() == before
    assert train(cli, squares, tmp_path / "run", "--epochs", 2, "--overwrite").code == 0
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) == 2


def test_a_folder_with_other_files_is_never_replaced(cli, squares, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    result = train(cli, squares, tmp_path / "mine", "--overwrite")
    assert result.code == 2
    assert "holds other files" in result.err
    assert (tmp_path / "mine" / "thesis.txt").exists()


# After the last epoch's checkpoint nothing is left to train, but its row of metrics.csv to write.
@pytest.mark.parametrize(("stop", "options"), [(2, ()), (3, ()), (2, ("--freeze",))])
def test_ctrl_c_ends_cleanly_and_the_run_resumes_to_the_same_weights(cli, squares, tmp_path, monkeypatch, stop, options):
    assert train(cli, squares, tmp_path / "whole", "--epochs", 3, *options).code == 0
    with stopped_after(stop):
        stopped = train(cli, squares, tmp_path / "run", "--epochs", 3, *options)
    assert stopped.code == 130
    assert "--resume" in stopped.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "interrupted"
    # What a frozen trunk gave may be gone from the cache: it is computed again, from the checkpoint's trunk.
    monkeypatch.setenv("ATTRCLS_CACHE", str(tmp_path / "another"))
    assert train(cli, squares, tmp_path / "run", "--epochs", 3, "--resume", *options).code == 0
    weights = [(tmp_path / name / "checkpoints" / "last.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0][-100_000:] == weights[1][-100_000:]
    assert (tmp_path / "whole" / "metrics.csv").read_bytes() == (tmp_path / "run" / "metrics.csv").read_bytes()
    statuses = [json.loads((tmp_path / name / "status.json").read_text()) for name in ("whole", "run")]
    told = [[status[key] for key in ("state", "epochs_done", "best_epoch", "kept_epoch")] for status in statuses]
    assert told[0] == told[1]
    assert told[0][:2] == ["finished", 3]


@pytest.mark.parametrize("options", [(), ("--freeze",), ("--balance", "colour,size", "--set", "balance.repeat_augment=strong")])
def test_the_same_command_gives_the_same_bytes_of_metrics_and_weights_with_any_number_of_workers(cli, squares, tmp_path, options):
    runs = [(tmp_path / "first", 0), (tmp_path / "second", 0), *([] if options else [(tmp_path / "two_workers", 2)])]
    for out, workers in runs:
        assert cli("train", squares / "squares.task.yaml", "--out", out, "--workers", workers, *options).code == 0
    for name in ("metrics.csv", "splits.csv", "validation.csv", "model/weights.safetensors"):
        assert len({(out / name).read_bytes() for out, _ in runs}) == 1, name
    other = tmp_path / "other_seed"
    assert cli("train", squares / "squares.task.yaml", "--out", other, "--workers", 0, "--seed", 1, *options).code == 0
    assert (other / "metrics.csv").read_bytes() != (runs[0][0] / "metrics.csv").read_bytes()
    assert pd.read_csv(other / "timings.csv")["epoch"].tolist() == [1, 2]


def test_resuming_another_task_is_refused_and_a_finished_run_says_so(cli, squares, tmp_path):
    assert train(cli, squares, tmp_path / "run", "--epochs", 1).code == 0
    again = train(cli, squares, tmp_path / "run", "--epochs", 1, "--resume")
    assert again.code == 0
    assert "finished already" in again.err
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    (tmp_path / "run" / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    other = train(cli, squares, tmp_path / "run", "--epochs", 1, "--lr", 0.5, "--resume")
    assert other.code == 2
    assert "optimiser.lr was 0.002 and is now 0.5" in other.err


@pytest.mark.parametrize("left", ["config.yaml", "checkpoints"])
def test_a_replacement_killed_as_it_emptied_the_folder_starts_over_whatever_was_left(cli, squares, tmp_path, left):
    assert train(cli, squares, tmp_path / "whole", "--epochs", 1).code == 0
    # Of another run, which was to give way.
    assert train(cli, squares, tmp_path / "run", "--epochs", 2, "--lr", 0.5).code == 0
    for entry in (tmp_path / "run").iterdir():
        if entry.name not in (left, "status.json"):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    (tmp_path / "run" / "status.json").write_text(json.dumps({"format_version": 1, "state": "being replaced"}))
    resumed = train(cli, squares, tmp_path / "run", "--epochs", 1, "--overwrite", "--resume")
    assert resumed.code == 0, resumed.err
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == (tmp_path / "whole" / "metrics.csv").read_bytes()


def test_a_run_is_not_resumed_on_other_rows(cli, squares, tmp_path):
    assert train(cli, squares, tmp_path / "run", "--epochs", 1).code == 0
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    (tmp_path / "run" / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    table = pd.read_csv(squares / "labels.csv")
    table.loc[0, "colour"] = "blue" if table.loc[0, "colour"] == "red" else "red"
    table.to_csv(squares / "labels.csv", index=False)
    resumed = train(cli, squares, tmp_path / "run", "--epochs", 1, "--resume")
    assert resumed.code == 2
    assert "the tables changed" in resumed.err


def test_a_resume_without_its_checkpoint_and_an_overwrite_with_a_mistake_lose_nothing(cli, squares, tmp_path):
    run = tmp_path / "run"
    assert train(cli, squares, run, "--epochs", 1).code == 0
    mistake = train(cli, squares, run, "--epochs", 1, "--overwrite", "--weights", "nothere.pth")
    assert mistake.code == 2
    own = train(cli, squares, run, "--epochs", 1, "--overwrite", "--weights", run)
    assert own.code == 2
    assert f"--weights {run} lies in --out {run}, which --overwrite would empty" in own.err
    assert json.loads((run / "status.json").read_text())["state"] == "finished"
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    shutil.rmtree(run / "checkpoints")
    resumed = train(cli, squares, run, "--epochs", 1, "--resume")
    assert resumed.code == 2
    assert "last.safetensors is missing" in resumed.err
    assert (run / "model" / "weights.safetensors").exists()


def test_a_resume_where_nothing_was_saved_yet_starts_over(cli, few_squares, tmp_path):
    options = ("--epochs", 1, "--set", "trunk.name=squeezenet1_1", "--resume")
    run = tmp_path / "run"
    # Nothing at all; a run that was stopped before its config was written; one stopped before its first checkpoint.
    assert train(cli, few_squares, run, *options).code == 0
    for left in (["status.json"], ["status.json", "config.yaml", "splits.csv"]):
        for path in run.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in left:
                path.unlink()
        (run / "status.json").write_text('{"format_version": 1, "state": "running", "epochs_done": 0}')
        again = train(cli, few_squares, run, *options)
        assert again.code == 0, again.err
        assert "resumed after" not in again.err
        assert json.loads((run / "status.json").read_text())["state"] == "finished"


def test_a_folder_with_another_programs_status_json_is_left_alone(cli, squares, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "status.json").write_text('{"ok": true}')
    assert train(cli, squares, tmp_path / "web", "--overwrite").code == 2
    assert (tmp_path / "web" / "status.json").exists()


def test_all_unknown_names_of_a_task_are_told_at_once(cli, squares):
    result = cli("train", squares / "squares.task.yaml", "--set", "augment=crp", "--set", "schedule.name=cosin", "--set", "heads.size.loss=focl")
    assert result.code == 2
    assert all(name in result.err for name in ("'crop'", "'cosine'", "'focal'"))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_kept_epoch_is_the_best_or_the_last_as_asked(cli, squares, tmp_path, keep):
    assert train(cli, squares, tmp_path / "run", "--epochs", 3, "--set", f"keep={keep}").code == 0
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    model = json.loads((tmp_path / "run" / "model" / "model.json").read_text())
    assert status["best_epoch"] == metrics["mean/f1"].idxmax() + 1
    assert model["epoch"] == status["kept_epoch"] == (3 if keep == "last" else status["best_epoch"])
    assert model["scores"]["mean/f1"] == pytest.approx(metrics["mean/f1"][model["epoch"] - 1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--set", "heads.colour.wieght=2"), "did you mean 'weight'"),
        (("--set", "heads.colour.loss=focl"), "did you mean 'focal'"),
        (("--set", "schedule.name=cosin"), "did you mean 'cosine'"),
        (("--set", "augment=geometrc"), "did you mean 'geometric'"),
        (("--set", "trunk.name=resnet"), "found 'resnet'; did you mean 'resnet"),
        (("--set", "monitor=mean/f2"), "found 'mean/f2'; did you mean 'mean/f1'"),
        (("--heads", "color"), "did you mean 'colour'"),
        (("--weights", "no.pth"), "no file no.pth"),
        (("--device", "cuda:7"), "--device"),
        (("--precision", "16"), "--precision"),
        (("--epochs", "0"), "epochs"),
        (("--on-error", "ignore"), "ignore"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_a_users_mistake_is_told_with_its_fix_and_leaves_no_folder(cli, squares, tmp_path, options, expected):
    result = train(cli, squares, tmp_path / "run", "--epochs", 1, *options)
    assert result.code == 2
    assert expected in result.err
    assert "Traceback" not in result.err


def test_every_bad_picture_is_listed_before_training_and_can_be_skipped(cli, squares, tmp_path):
    images = squares / "images"
    (images / "p00_0.jpg").write_bytes(b"")
    (images / "p01_1.jpg").write_bytes((images / "p01_1.jpg").read_bytes()[:400])
    (images / "p02_2.jpg").unlink()
    refused = train(cli, squares, tmp_path / "run")
    assert refused.code == 2
    assert "labels.csv, row 11, column file: no file" in refused.err
    (images / "p02_2.jpg").write_bytes(b"not a picture")
    refused = train(cli, squares, tmp_path / "run")
    assert refused.code == 2
    assert all(name in refused.err for name in ("p00_0.jpg", "p01_1.jpg", "p02_2.jpg", "--on-error skip"))
    skipped = train(cli, squares, tmp_path / "run", "--epochs", 1, "--on-error", "skip")
    assert skipped.code == 0
    assert "left out for 3 problems" in skipped.err
    assert len((tmp_path / "run" / "skipped.txt").read_text().splitlines()) == 3


def test_a_head_without_labels_is_refused_and_a_class_without_rows_is_warned_of(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    table.assign(Size="").to_csv(squares / "labels.csv", index=False)
    refused = train(cli, squares, tmp_path / "run")
    assert refused.code == 2
    assert "head size has no labelled train row; leave it out with --heads" in refused.err
    assert train(cli, squares, tmp_path / "run", "--epochs", 1, "--heads", "colour").code == 0
    table[table["colour"] != "blue"].to_csv(squares / "labels.csv", index=False)
    warned = train(cli, squares, tmp_path / "other", "--epochs", 1)
    assert warned.code == 0
    assert "no train row is blue" in warned.err


def test_a_batch_of_one_is_trained_or_told_about(cli, squares, tmp_path):
    told = train(cli, squares, tmp_path / "run", "--epochs", 1, "--limit", 4, "--batch-size", 1)
    assert told.code == 2
    assert "--batch-size 2" in told.err
    frozen = train(cli, squares, tmp_path / "frozen", "--epochs", 1, "--limit", 4, "--batch-size", 1, "--freeze")
    assert frozen.code == 0


def test_a_frozen_trunk_sees_each_view_once_and_later_runs_find_its_features(cli, squares, tmp_path):
    first = train(cli, squares, tmp_path / "first", "--freeze", "--set", "trunk.frozen_views=2")
    assert first.code == 0, first.err
    assert "136 views" in first.err
    assert "features of 2 views of each picture kept" in first.err
    second = train(cli, squares, tmp_path / "second", "--freeze", "--set", "trunk.frozen_views=2", "--lr", 0.01)
    assert second.code == 0
    assert "136 views" not in second.err
    models = [load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("first", "second")]
    for name, tensor in models[0].items():
        assert torch.equal(tensor, models[1][name]) == name.startswith("trunk."), name
    # The whole model is saved: it predicts from pictures what the heads said of kept features.
    predicted = cli("evaluate", tmp_path / "first", squares, "--json", tmp_path / "scores.json")
    assert predicted.code == 0, predicted.err
    metrics = pd.read_csv(tmp_path / "first" / "metrics.csv")
    kept = metrics.iloc[int(json.loads((tmp_path / "first" / "status.json").read_text())["kept_epoch"]) - 1]
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert scores["colour/top1"][0] == pytest.approx(kept["colour/top1"], abs=1e-6)


def test_heads_learn_from_kept_features_unrounded_where_the_trunk_runs_in_bf16(cli, squares, tmp_path):
    result = train(cli, squares, tmp_path / "run", "--freeze", "--epochs", 1, "--precision", "bf16")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["precision"] == "bf16-mixed"
    assert load_file(tmp_path / "run" / "model" / "weights.safetensors")["head_modules.head_colour.layers.0.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    "option",
    ["trunk.frozen_views=0", "balance={heads: [colour], repeat_augment: strong}", "scarce={small: {where: {size: small}, augment: strong}}"],
)
def test_a_frozen_trunk_can_see_new_pictures_each_epoch(cli, squares, tmp_path, option):
    result = train(cli, squares, tmp_path / "run", "--epochs", 1, "--freeze", "--set", option, "--set", "mix.cutmix=1")
    assert result.code == 0, result.err
    assert "augmented anew each epoch" in result.err
    assert not list((tmp_path / "cache").glob("*.safetensors"))


def test_a_run_that_fails_is_not_taken_for_a_whole_one(cli, squares, tmp_path):
    result = train(cli, squares, tmp_path / "run", "--epochs", 3, "--lr", 1e30)
    assert result.code == 1
    assert "training diverged" in result.err
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "failed"


def test_early_stopping_ends_after_epochs_without_a_better_score(cli, squares, tmp_path):
    options = ("--epochs", 9, "--set", "early_stop_epochs=1", "--set", "optimiser.lr=1e-9")
    assert train(cli, squares, tmp_path / "run", *options).code == 0
    assert len(pd.read_csv(tmp_path / "run" / "metrics.csv")) < 9


def test_wandb_offline_tracks_a_run_and_is_not_imported_otherwise(cli, squares, tmp_path, monkeypatch):
    import sys

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert train(cli, squares, tmp_path / "plain", "--epochs", 1).code == 0
    monkeypatch.delitem(sys.modules, "wandb")
    result = train(cli, squares, tmp_path / "tracked", "--epochs", 1, "--wandb")
    assert result.code == 0, result.err
    assert list((tmp_path / "tracked").rglob("*.wandb"))


@pytest.fixture
def table(squares):
    pictures = sorted(path.name for path in (squares / "images").iterdir())[:5]
    frame = pd.DataFrame({"ImageID": [*pictures, "gone.jpg", pictures[0]], "code": 9, "이름": "가"})
    frame.to_csv(squares / "info.csv", index=False)
    return squares / "info.csv"


def test_predict_keeps_every_row_and_ends_with_3_when_some_could_not_be_read(cli, trained_run, table, tmp_path):
    result = cli("predict", trained_run, table, "--csv", tmp_path / "p.csv", "--probabilities")
    assert result.code == 3, result.err
    frame = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert list(frame.columns[:3]) == ["ImageID", "code_input", "이름"]
    assert frame["status"].tolist() == ["ok"] * 5 + ["missing", "ok"]
    assert frame.iloc[0].tolist() == frame.iloc[6].tolist()
    assert set(frame["colour"][:5]) <= {"red", "green", "blue"}
    assert frame["colour"][5] == frame["code"][5] == ""
    assert {"colour_p_red", "size_p_large", "size_confidence"} <= set(frame.columns)
    assert "7 rows, 1 without" in result.out


def test_a_submission_has_every_row_and_names_what_it_guessed(cli, trained_run, table, tmp_path):
    result = cli("predict", trained_run, table, "--csv", tmp_path / "s.csv", "--submission")
    assert result.code == 3
    frame = pd.read_csv(tmp_path / "s.csv")
    assert list(frame.columns) == ["ImageID", "ans"]
    assert frame["ans"].between(0, 5).all()
    assert "gone.jpg: could not be read" in result.err


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_a_folder_is_predicted_into_every_format(cli, trained_run, shared_squares, tmp_path, name):
    assert cli("predict", trained_run, shared_squares / "images", "--csv", tmp_path / name, "--workers", 0).code == 0
    read = {"p.csv": pd.read_csv, "p.jsonl": lambda path: pd.read_json(path, lines=True), "p.parquet": pd.read_parquet}[name]
    frame = read(tmp_path / name)
    assert len(frame) == 80
    assert (frame["status"] == "ok").all()


def test_one_picture_is_printed_when_no_file_is_named(cli, trained_run, shared_squares):
    result = cli("predict", trained_run, shared_squares / "images" / "p00_0.jpg")
    assert result.code == 0
    assert result.out.splitlines()[0].startswith("path,colour,colour_confidence,size")


def test_heads_of_two_runs_are_combined_into_the_code(cli, squares, tmp_path):
    for head in ("colour", "size"):
        assert train(cli, squares, tmp_path / head, "--epochs", 1, "--heads", head).code == 0
    assert cli("predict", tmp_path / "colour", tmp_path / "size", squares / "images", "--csv", tmp_path / "p.csv").code == 0
    frame = pd.read_csv(tmp_path / "p.csv")
    names = {"colour": ["red", "green", "blue"], "size": ["small", "large"]}
    assert (frame["code"] == frame["colour"].map(names["colour"].index) * 2 + frame["size"].map(names["size"].index)).all()
    assert cli("predict", tmp_path / "colour", squares / "images", "--csv", tmp_path / "one.csv").code == 0
    assert "code" not in pd.read_csv(tmp_path / "one.csv").columns
    refused = cli("predict", tmp_path / "colour", squares / "images", "--csv", tmp_path / "s.csv", "--submission")
    assert refused.code == 2
    assert "name runs that together do" in refused.err


def break_run(run, how):
    if how == "empty":
        shutil.rmtree(run)
        run.mkdir()
    elif how == "no weights":
        (run / "model" / "weights.safetensors").unlink()
    elif how == "cut weights":
        path = run / "model" / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:5000])
    elif how == "no json":
        (run / "model" / "model.json").write_text("{")
    elif how == "version":
        path = run / "model" / "model.json"
        path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 99'))
    elif how == "other classes":
        path = run / "model" / "model.json"
        path.write_text(path.read_text().replace('"blue"\n', '"blue", "pink"\n'))
    elif how == "gone":
        shutil.rmtree(run)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("gone", "no run directory"), ("empty", "model.json"), ("no weights", "weights.safetensors"), ("cut weights", "damaged"),
        ("no json", "damaged"), ("version", "expected format version 1, found 99"), ("other classes", "does not fit model.json"),
    ],
)  # fmt: skip
def test_a_run_directory_that_is_not_whole_is_refused(cli, trained_run, shared_squares, tmp_path, how, expected):
    shutil.copytree(trained_run, tmp_path / "run")
    break_run(tmp_path / "run", how)
    result = cli("predict", tmp_path / "run", shared_squares / "images", "--csv", tmp_path / "p.csv")
    assert result.code == 2
    assert expected in result.err
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [(("--csv", "p.xlsx"), "expected a name that ends in"), (("--batch-size", "0"), "--batch-size"), (("--image-column", "nope"), "nope")],
)
def test_a_mistake_in_predicts_options_is_told(cli, trained_run, table, options, expected):
    result = cli("predict", trained_run, table, *options)
    assert result.code == 2
    assert expected in result.err


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told["attributes"].pop("size"), "attributes: expected colour, size"),
        (lambda told: told.update(fallback={}), "fallback: expected a class for each head"),
        (lambda told: told["fallback"].update(colour=99), "fallback.colour: expected a number from 0 to 2, found 99"),
        (lambda told: told["combine"].update(radices=[2, 2]), "combine: expected the radices"),
    ],
)
def test_a_model_file_whose_parts_do_not_fit_each_other_is_refused_before_any_picture(cli, trained_run, shared_squares, tmp_path, change, expected):
    shutil.copytree(trained_run, tmp_path / "run")
    file = tmp_path / "run" / "model" / "model.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))
    result = cli("predict", tmp_path / "run", shared_squares / "images", "--csv", tmp_path / "p.csv", "--submission")
    assert result.code == 2, result.err
    assert "model.json: damaged: " in result.err and expected in result.err


def test_a_file_that_is_read_is_never_written_over_and_a_root_that_is_not_there_is_told(cli, trained_run, table, tmp_path):
    before = table.read_bytes()
    linked = tmp_path / "link.csv"
    linked.symlink_to(table)
    for arguments in (("predict", "--csv", table), ("predict", "--csv", linked), ("evaluate", "--json", table), ("evaluate", "--slices", table)):
        result = cli(arguments[0], trained_run, table, *arguments[1:])
        assert result.code == 2
        assert "would be replaced; name another" in result.err
    assert table.read_bytes() == before
    absent = cli("predict", trained_run, table, "--image-root", tmp_path / "nowhere", "--csv", tmp_path / "p.csv")
    assert absent.code == 2
    assert "nowhere: no such folder" in absent.err
    assert not (tmp_path / "p.csv").exists()


def test_predict_needs_a_run_and_an_input(cli, trained_run):
    assert cli("predict", trained_run).code == 2


def test_a_trunk_that_asks_for_its_files_version_trains_resumes_predicts_and_starts_another(cli, squares, tmp_path):
    """torchvision's mnasnet; safetensors files do not keep a module's version."""
    options, run = ("--set", "trunk.name=mnasnet0_5", "--epochs", 1), tmp_path / "run"
    assert train(cli, squares, run, *options).code == 0
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    assert train(cli, squares, run, *options, "--resume").code == 0
    assert cli("predict", run, squares / "images" / "p00_0.jpg").code == 0
    assert train(cli, squares, tmp_path / "other", *options, "--weights", run).code == 0
