import json
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import cut_sizes

from attrcls.errors import UserError
from attrcls.runs import sweep as sweep_module
from attrcls.runs.prepare import prepare_data
from attrcls.runs.sweep import check_sweep
from attrcls.runs.validation import Validation
from attrcls.task import load_plan
from attrcls.training.score import Scored
from attrcls.types import MISSING

RATES = (1e-4, 1e-3, 1e-2)


def sweep(cli, squares, out, *options, rates=RATES):
    return cli(
        "train", squares / "squares.task.yaml", "--out", out, "--workers", 0, "--freeze", "--sweep-lr", ",".join(map(str, rates)), *options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--set", "keep=last"),
        ("--set", "early_stop_epochs=1"),
        ("--set", "optimiser.name=sgd", "--set", "heads.size.hidden=8", "--set", "ema=null"),
        ("--set", "heads.size={kind: ordinal, ordinal: soft, loss_options: {sigma: 2}}"),
    ],
)
def test_each_rate_scores_what_a_training_of_its_own_scores_and_the_best_trains_the_run(cli, squares, tmp_path, options):
    cut_sizes(squares)
    result = sweep(cli, squares, tmp_path / "run", "--epochs", 4, *options)
    assert result.code == 0, result.err
    table = pd.read_csv(tmp_path / "run" / "sweep.csv")
    assert table["lr"].tolist() == list(RATES)
    best = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["run"]["lr"]
    assert f"lr {best}," in (tmp_path / "run" / "model" / "README.md").read_text().replace("\\", "")
    kept = []
    for rate in RATES:
        out = tmp_path / f"alone{rate}"
        alone = cli(
            "train", squares / "squares.task.yaml", "--out", out, "--workers", 0, "--freeze", "--lr", rate, "--epochs", 4, *options,
        )  # fmt: skip
        assert alone.code == 0, alone.err
        epoch = json.loads((out / "status.json").read_text())["kept_epoch"]
        metrics = pd.read_csv(out / "metrics.csv").set_index("epoch").loc[epoch]
        row = table.set_index("lr").loc[rate]
        assert row["epoch"] == epoch
        for name in table.columns.drop(["lr", "epoch"]):
            assert row[name] == pytest.approx(metrics[name], abs=1e-5, nan_ok=True), (rate, name)
        kept.append(metrics)
    best = max(range(len(RATES)), key=lambda place: (round(kept[place]["mean/f1"], 6), -kept[place]["val_loss"]))
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["run"]["lr"] == RATES[best]
    same = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("run", f"alone{RATES[best]}")]
    assert same[0] == same[1]


def test_the_outcome_is_told_and_a_best_rate_at_the_end_of_the_range_is_said_to_be_there(cli, squares, tmp_path):
    result = sweep(cli, squares, tmp_path / "run", rates=(1e-9, 1e-8, 1e-2))
    assert result.code == 0, result.err
    assert "0.01, the best of 3 from 1e-09 to 0.01 (mean/f1" in result.err
    assert "the largest tried" in result.err


def test_alone_the_option_tries_four_rates_a_decade(cli, squares, tmp_path):
    result = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", 0, "--freeze", "--epochs", 1, "--sweep-lr")
    assert result.code == 0, result.err
    rates = pd.read_csv(tmp_path / "run" / "sweep.csv")["lr"].tolist()
    assert rates[:5] == [1e-4, 1.8e-4, 3.2e-4, 5.6e-4, 1e-3]
    assert (len(rates), rates[-1]) == (17, 1.0)


@pytest.mark.parametrize("epochs_done", [0, 1])
def test_a_sweep_that_was_stopped_resumes_to_the_same_run(cli, squares, tmp_path, monkeypatch, epochs_done):
    import attrcls.runs.epochs as epochs
    import attrcls.runs.train as train

    assert sweep(cli, squares, tmp_path / "whole").code == 0

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if epochs_done:
            real = epochs.save_checkpoint

            def save_then_stop(state, path):
                real(state, path)
                if path.name == "last.safetensors":
                    raise KeyboardInterrupt

            patch.setattr(epochs, "save_checkpoint", save_then_stop)
        else:
            patch.setattr(train, "run_epochs", interrupt)
        assert sweep(cli, squares, tmp_path / "run").code == 130
    again = sweep(cli, squares, tmp_path / "run", "--resume")
    assert again.code == 0, again.err
    if epochs_done:
        assert "the best of those in sweep.csv" in again.err
    for name in ("metrics.csv", "sweep.csv", "model/weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    other = sweep(cli, squares, tmp_path / "run", "--resume", rates=(1e-4, 1e-3))
    assert other.code == 2
    assert "optimiser.sweep was" in other.err


def test_a_run_that_lost_its_chosen_rate_is_not_resumed(cli, squares, tmp_path):
    assert sweep(cli, squares, tmp_path / "run").code == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    del config["run"]["lr"]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    (tmp_path / "run" / "status.json").write_text(json.dumps({**status, "state": "interrupted"}))
    result = sweep(cli, squares, tmp_path / "run", "--resume")
    assert result.code == 2
    assert "expected run.lr to be the rate that the sweep chose, found None" in result.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--no-freeze",), "expected --freeze"),
        (("--set", "trunk.frozen_views=0"), "trunk.frozen_views above 0"),
        (("--set", "optimiser.clip_norm=1"), "clip their gradients together"),
    ],
)
def test_a_sweep_that_cannot_be_made_is_refused_before_anything_is_done(cli, squares, tmp_path, options, said):
    result = sweep(cli, squares, tmp_path / "run", *options)
    assert result.code == 2
    assert said in result.err
    assert not (tmp_path / "run" / "status.json").exists()


@pytest.mark.parametrize(("rates", "said"), [("fast", "--sweep-lr: expected two or more learning rates"), ("0.1", "--sweep-lr: expected two or more"),
                                             ("0.1,-1", "optimiser.sweep"), ("0.1,0.1", "expected each rate once")])  # fmt: skip
def test_rates_that_are_none_are_refused(cli, squares, tmp_path, rates, said):
    result = cli("train", squares / "squares.task.yaml", "--out", tmp_path / "run", "--freeze", "--sweep-lr", rates)
    assert result.code == 2
    assert said in result.err


def test_a_sweep_has_nothing_to_choose_by_where_no_validation_row_has_a_label(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv", dtype=str)
    held = table["person"] == table["person"].iloc[0]
    table["part"] = held.map({True: "val", False: "train"})
    table.loc[held, ["colour", "Size"]] = None
    table.to_csv(squares / "labels.csv", index=False)
    card = squares / "squares.card.yaml"
    card.write_text(card.read_text() + "split: {column: part}\n")
    result = sweep(cli, squares, tmp_path / "run")
    assert result.code == 2, result.err
    assert "chooses by mean/f1, which no rate gave: no validation row has such a label" in result.err
    assert not (tmp_path / "run" / "status.json").exists()


def test_a_sweep_without_validation_rows_is_refused(squares):
    plan = load_plan(str(squares / "squares.task.yaml"), changes={"trunk.freeze": True, "optimiser.sweep": list(RATES)})
    with pytest.raises(UserError, match="chooses by the validation rows, and there are none"):
        check_sweep(plan, views=4, val_rows=0)


def test_a_rate_whose_loss_is_no_number_is_never_the_best():
    trial = sweep_module._Trial()
    task = SimpleNamespace(monitor="val_loss", keep="best", early_stop_epochs=None)
    trial.end_epoch({"lr": 1.0, "epoch": 1, "val_loss": 0.1, "mean/f1": 0.9}, task)
    trial.end_epoch({"lr": 1.0, "epoch": 2, "val_loss": float("nan"), "mean/f1": 0.5}, task)
    healthy = {"lr": 0.1, "epoch": 2, "val_loss": 0.7, "mean/f1": 0.5}
    for monitor in ("val_loss", "mean/f1"):
        assert sweep_module._best(pd.DataFrame([trial.row, healthy]), SimpleNamespace(monitor=monitor)) == 0.1
    with pytest.raises(UserError, match=r"diverged with each of them, from 1 on; try smaller ones"):
        sweep_module._best(pd.DataFrame([trial.row]), SimpleNamespace(monitor="mean/f1"))


def test_a_head_that_diverged_makes_the_validation_loss_no_number_and_one_without_labels_does_not(squares):
    plan = load_plan(str(squares / "squares.task.yaml"))
    manifest = prepare_data(plan, [squares]).manifest.of_split("val")
    heads = list(plan.task.heads)
    probabilities = {head: np.full((len(manifest), len(manifest.classes[head])), 0.5) for head in heads}
    losses = {head: float("nan") if head == heads[0] else 0.5 for head in heads}
    assert math.isnan(Validation(Scored(probabilities, losses), manifest, None).row(plan.task)["val_loss"])
    blank = manifest.with_columns(**{heads[0]: MISSING})
    assert Validation(Scored(probabilities, losses), blank, None).row(plan.task)["val_loss"] == 0.5 * (len(heads) - 1)


def test_a_rate_that_diverges_spoils_no_other(cli, squares, tmp_path):
    result = sweep(cli, squares, tmp_path / "run", "--set", "optimiser.name=sgd", rates=(1e-2, 1e30))
    assert result.code == 0, result.err
    assert "0.01, the best of 2" in result.err
    assert cli("train", squares / "squares.task.yaml", "--out", tmp_path / "alone", "--workers", 0, "--freeze", "--lr", 1e-2,
               "--set", "optimiser.name=sgd").code == 0  # fmt: skip
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == (tmp_path / "alone" / "metrics.csv").read_bytes()
