"""`train --folds` through the real command line, on a few drawn squares with a frozen trunk: seconds in all."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import attrcls.runs.epochs as epochs
from attrcls.errors import UserError
from attrcls.runs.prepare import prepare_folds
from attrcls.task import load_plan

# A trunk of few weights, which are written often.
QUICK = ("--epochs", 1, "--freeze", "--workers", 0, "--device", "cpu", "--batch-size", 2, "--lr", 0.05, "--set", "trunk.name=squeezenet1_1")


def train(cli, folder, out, *options, folds=2):
    return cli("train", folder / "squares.task.yaml", "--out", out, "--folds", folds, *QUICK, *options)


@pytest.fixture(scope="module", autouse=True)
def without_model_cards():
    """Their intervals are bootstrapped, which takes longer than these trainings; no test here reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attrcls.runs.train.write_model_card", lambda run: None)
        yield


@pytest.fixture(scope="module")
def folded(few_squares, tmp_path_factory):
    from attrcls.runs.folds import run_folds

    changes = {"epochs": 1, "trunk.freeze": True, "trunk.name": "squeezenet1_1", "batch_size": 2, "optimiser.lr": 0.05}
    out = tmp_path_factory.mktemp("folded") / "cv"
    return run_folds(str(few_squares / "squares.task.yaml"), folds=2, out=out, workers=0, changes=changes, device="cpu")


def test_each_fold_is_a_run_and_every_row_is_predicted_once_by_a_model_that_never_saw_its_group(folded, few_squares):
    table, oof = pd.read_csv(few_squares / "labels.csv"), pd.read_csv(folded / "oof.csv")
    assert oof["path"].str.removeprefix("images/").tolist() == table["file"].tolist()
    assert oof["colour_given"].tolist() == table["colour"].tolist()
    assert set(oof["fold"]) == {"fold-1", "fold-2"}
    for fold in ("fold-1", "fold-2"):
        splits = pd.read_csv(folded / fold / "splits.csv")
        learned = set(splits["group"][splits["split"] == "train"])
        held = oof[oof["fold"] == fold]
        assert learned.isdisjoint(held["group"]) and learned
        validation = pd.read_csv(folded / fold / "validation.csv")
        assert validation["row_id"].tolist() == held["row_id"].tolist()
        assert validation["colour"].tolist() == held["colour"].tolist()
        assert (folded / fold / "model" / "weights.safetensors").exists()
    sums = oof[["colour_p_red", "colour_p_green", "colour_p_blue"]].sum(axis=1)
    assert np.allclose(sums, 1, atol=2e-4)
    assert (oof["code"] == oof["colour"].map({"red": 0, "green": 2, "blue": 4}) + oof["size"].map({"small": 0, "large": 1})).all()


def test_mean_spread_and_pooled_score_are_those_of_the_folds_tables(folded):
    summary, oof = json.loads((folded / "folds.json").read_text()), pd.read_csv(folded / "oof.csv")
    right = oof["colour"] == oof["colour_given"]
    of_folds = [right[oof["fold"] == fold].mean() for fold in ("fold-1", "fold-2")]
    assert [fold["scores"]["colour/top1"] for fold in summary["folds"]] == pytest.approx(of_folds)
    assert summary["mean"]["colour/top1"] == pytest.approx(np.mean(of_folds))
    assert summary["sd"]["colour/top1"] == pytest.approx(np.std(of_folds, ddof=1))
    assert summary["pooled"]["colour/top1"][0] == pytest.approx(right.mean())
    assert "colour/top1" in (folded / "report.html").read_text()


def test_report_is_written_again_and_escapes_names(cli, folded, tmp_path):
    shutil.copytree(folded, tmp_path / "cv")
    summary = json.loads((folded / "folds.json").read_text())
    (tmp_path / "cv" / "folds.json").write_text(json.dumps({**summary, "task": "<script>alert(1)</script>"}))
    assert cli("report", tmp_path / "cv").code == 0
    assert "<script>" not in (tmp_path / "cv" / "report.html").read_text()
    (tmp_path / "cv" / "folds.json").write_text("{}")
    refused = cli("report", tmp_path / "cv")
    assert refused.code == 2 and "folds.json" in refused.err


def test_predict_averages_the_folds(cli, folded, few_squares, tmp_path):
    def predicted(*runs):
        result = cli("predict", *runs, few_squares / "images", "--csv", tmp_path / "out.csv", "--probabilities", "--workers", 0, "--device", "cpu")
        assert result.code == 0, result.err
        return pd.read_csv(tmp_path / "out.csv")

    whole, folds = predicted(folded), [predicted(folded / name) for name in ("fold-1", "fold-2")]
    for column in ("colour_p_red", "size_p_large"):
        assert np.allclose(whole[column], (folds[0][column] + folds[1][column]) / 2, atol=2e-4)
        assert not np.allclose(folds[0][column], folds[1][column], atol=2e-4)


def test_a_folder_of_folds_has_one_vote_beside_another_run(folded):
    from attrcls.prediction.models import load_models

    assert [model.weight for model in load_models([folded, folded / "fold-1"])] == [0.5, 0.5, 1.0]


def test_evaluating_folds_on_rows_that_trained_them_is_refused(cli, folded, few_squares):
    refused = cli("evaluate", folded, few_squares, "--workers", 0, "--device", "cpu")
    assert refused.code == 2 and "trained one of these 2 models" in refused.err


def test_export_of_folds_names_one_to_export(cli, folded, tmp_path):
    refused = cli("export", folded, "--onnx", tmp_path / "a.onnx")
    assert refused.code == 2 and "fold-1" in refused.err


def test_fewer_groups_than_folds_is_refused_with_their_number(cli, few_squares, tmp_path):
    refused = train(cli, few_squares, tmp_path / "cv", folds=7)
    assert refused.code == 2
    assert "expected at least 7 groups" in refused.err and "found 6" in refused.err
    assert not (tmp_path / "cv").exists()
    one = train(cli, few_squares, tmp_path / "cv", folds=1)
    assert one.code == 2 and "--folds: expected 2 or more, found 1" in one.err


def test_several_processes_are_refused(cli, few_squares, tmp_path, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": 0, "WORLD_SIZE": 2, "GROUP_WORLD_SIZE": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr("attrcls.cli.shell.tell_end", lambda text, code: print(text) or code)
    refused = train(cli, few_squares, tmp_path / "cv")
    assert refused.code == 2 and "train --folds works in one process" in refused.out


def test_a_scarce_group_whose_labels_all_lie_in_one_fold_is_refused_before_any_fold_is_trained(cli, few_squares, tmp_path):
    folder = shutil.copytree(few_squares, tmp_path / "squares")
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    # Of all last pictures only one has a size, and the others teach nothing.
    table.loc[table["file"].str.endswith("_1.jpg") & (table["file"] != "p00_1.jpg"), "Size"] = ""
    table.to_csv(folder / "labels.csv", index=False)
    result = train(cli, folder, tmp_path / "cv", "--heads", "size", "--set", "scarce={last: {files: '*_1.jpg', augment: strong}}")
    assert result.code == 2
    assert "--folds 2: without fold" in result.err and "scarce.last" in result.err
    assert not list((tmp_path / "cv").glob("fold-*"))


def test_a_kill_in_the_second_fold_loses_nothing_of_the_first_and_the_results_are_the_same(cli, few_squares, folded, tmp_path, monkeypatch):
    real, done = epochs.save_checkpoint, []

    def interrupt(state, path):
        if "fold-2" in str(path):
            raise KeyboardInterrupt
        real(state, path)
        done.append(path)

    monkeypatch.setattr(epochs, "save_checkpoint", interrupt)
    out = tmp_path / "cv"
    stopped = train(cli, few_squares, out)
    assert stopped.code == 130 and done
    assert json.loads((out / "status.json").read_text())["state"] == "interrupted"
    for command in (("report", out), ("predict", out, few_squares / "images")):
        refused = cli(*command)
        assert refused.code == 2 and "not all trained" in refused.err
    for options, what in ((("--seed", 1), "seed"), (("--limit", 8), "--limit")):
        other = train(cli, few_squares, out, "--resume", *options)
        assert other.code == 2 and what in other.err
    assert "--folds was 2 and is now 3" in train(cli, few_squares, out, "--resume", folds=3).err
    monkeypatch.setattr(epochs, "save_checkpoint", real)
    before = (out / "fold-1" / "status.json").stat().st_mtime_ns
    resumed = train(cli, few_squares, out, "--resume")
    assert resumed.code == 0, resumed.err
    assert (out / "fold-1" / "status.json").stat().st_mtime_ns == before
    assert (out / "oof.csv").read_bytes() == (folded / "oof.csv").read_bytes()
    again = train(cli, few_squares, out, "--resume")
    assert again.code == 0 and "finished already" in again.err


def test_folds_replace_a_run_only_when_told_to_and_only_for_good_settings(cli, few_squares, folded, tmp_path):
    out = tmp_path / "cv"
    shutil.copytree(folded, out)
    kept = (out / "folds.json").read_bytes()
    assert "--overwrite" in train(cli, few_squares, out).err
    for mistake in (("--weights", "nothere.pth"), ("--decisions", tmp_path / "nothere.csv")):
        assert train(cli, few_squares, out, "--overwrite", *mistake).code == 2
        assert (out / "folds.json").read_bytes() == kept
    assert "a training of folds" in cli("train", few_squares / "squares.task.yaml", "--out", out, *QUICK, "--resume").err
    assert train(cli, few_squares, out, "--overwrite", "--limit", 10).code == 0
    summary = json.loads((out / "folds.json").read_text())
    assert summary["rows"] == 10


def test_given_validation_rows_are_cut_into_folds_and_test_rows_are_in_none(cli, few_squares, tmp_path):
    shutil.copytree(few_squares, tmp_path / "data")
    table = pd.read_csv(tmp_path / "data" / "labels.csv")
    table["split"] = table["person"].map({"p0": "val", "p1": "test"}).fillna("train")
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    card = tmp_path / "data" / "squares.card.yaml"
    card.write_text(card.read_text() + "split: {column: split}\n")
    result = train(cli, tmp_path / "data", tmp_path / "cv")
    assert result.code == 0, result.err
    oof = pd.read_csv(tmp_path / "cv" / "oof.csv")
    assert set(oof["group"].str.removeprefix("squares:")) == {"p0", "p2", "p3", "p4", "p5"}
    for fold in ("fold-1", "fold-2"):
        splits = pd.read_csv(tmp_path / "cv" / fold / "splits.csv")
        assert set(splits["group"][splits["split"] == "test"]) == set(splits["group"]) - set(oof["group"])
    scored = cli("evaluate", tmp_path / "cv", tmp_path / "data", "--workers", 0, "--device", "cpu")
    assert scored.code == 0 and "test split, 2 rows" in scored.out


@pytest.mark.parametrize("name", ["../cv", "a/b", "..", ""])
def test_an_ensemble_file_that_leads_elsewhere_is_refused(cli, folded, few_squares, tmp_path, name):
    shutil.copytree(folded, tmp_path / "cv")
    (tmp_path / "cv" / "ensemble.json").write_text(json.dumps({"format_version": 1, "members": [{"name": name, "weight": 1}]}))
    refused = cli("predict", tmp_path / "cv", few_squares / "images")
    assert refused.code == 2 and "the name of a folder beside this file" in refused.err


def test_an_ordinal_heads_distance_stands_in_the_folds_scores_and_in_their_report(cli, few_squares, tmp_path):
    result = train(cli, few_squares, tmp_path / "cv", "--set", "heads.colour.kind=ordinal", "--set", "monitor=colour/mae")
    assert result.code == 0, result.err
    summary, oof = json.loads((tmp_path / "cv" / "folds.json").read_text()), pd.read_csv(tmp_path / "cv" / "oof.csv")
    order = ["red", "green", "blue"]
    off = (oof["colour"].map(order.index) - oof["colour_given"].map(order.index)).abs()
    assert summary["pooled"]["colour/mae"][0] == pytest.approx(off.mean())
    assert summary["mean"]["colour/mae"] == pytest.approx(np.mean([off[oof["fold"] == fold].mean() for fold in ("fold-1", "fold-2")]))
    assert "colour/mae" in (tmp_path / "cv" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--sweep-lr", "1e-3,1e-2", "--set", "trunk.frozen_views=0"), "frozen trunk"), (("--decisions", "{out}/mine.csv"), "lies in --out")],
)
def test_what_is_refused_takes_no_fold_away(cli, few_squares, folded, tmp_path, options, said):
    out = tmp_path / "cv"
    shutil.copytree(folded, out)
    (out / "mine.csv").write_text("card,row_id,head,given_label,decision\n")
    result = train(cli, few_squares, out, "--overwrite", *(part.format(out=out) for part in options))
    assert result.code == 2
    assert said in result.err
    assert (out / "fold-2" / "model" / "weights.safetensors").exists() and (out / "mine.csv").exists()


def test_a_picture_alone_that_is_a_labelled_one_teaches_in_no_fold_that_is_scored_on_it(few_squares, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(few_squares, data)
    table = pd.read_csv(data / "labels.csv")
    table.iloc[:4].to_csv(data / "labels.csv", index=False)
    (data / "all.card.yaml").write_text("root: .\ntables: [all.csv]\nimages: {root: images, column: file}\nattributes: {}\n")
    table[["file"]].to_csv(data / "all.csv", index=False)
    task = (data / "squares.task.yaml").read_text().replace("[squares.card.yaml]", "[squares.card.yaml, all.card.yaml]")
    (data / "squares.task.yaml").write_text(task + "unlabelled: uda\n")
    plan = load_plan(str(data / "squares.task.yaml"))
    for part in prepare_folds(plan, [], folds=2):
        frame = part.manifest.frame
        scored = set(frame["path"][(frame["card"] == "squares") & (frame["split"] == "val")])
        assert len(scored) == 2
        assert not scored & set(frame["path"][frame["split"] == "train"])
        assert (frame["split"][(frame["card"] == "all") & ~frame["path"].isin(scored)] == "train").all()
    with pytest.raises(UserError, match="--folds 3: expected at least 3 groups, since none is cut apart, found 2"):
        prepare_folds(plan, [], folds=3)
