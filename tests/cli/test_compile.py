"""`train --compile`. Torch's own compiler takes minutes for a trunk: what is traced is run by the backend `eager` instead."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import attrcls.training.compiling as compiling


def train(cli, squares, out, *options):
    return cli(
        "train", squares / "squares.task.yaml", "--out", out, "--set", "trunk.name=squeezenet1_1", "--workers", 0, "--device", "cpu",
        "--precision", 32, "--batch-size", 5, "--epochs", 1, *options,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()


def test_a_compiled_training_gives_the_same_weights_under_the_same_names(cli, few_squares, tmp_path, monkeypatch):
    traced = []

    def backend(graph, inputs):
        traced.append(graph)
        return graph.forward

    monkeypatch.setattr(compiling, "_BACKEND", backend)
    done = train(cli, few_squares, tmp_path / "compiled", "--compile", "--set", "ema=0.9")
    assert done.code == 0, done.err
    assert len(traced) > 1
    assert train(cli, few_squares, tmp_path / "plain", "--set", "ema=0.9").code == 0
    ours, theirs = (load_file(tmp_path / run / "model/weights.safetensors") for run in ("compiled", "plain"))
    assert list(ours) == list(theirs)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
    scores = [pd.read_csv(tmp_path / run / "metrics.csv")["train_loss"].to_numpy() for run in ("compiled", "plain")]
    assert np.allclose(*scores, atol=1e-4)


def test_a_machine_without_a_compiler_says_so_before_any_picture_is_read(cli, few_squares, tmp_path, monkeypatch):
    import attrcls.runs.train as train_run

    def broken(graph, inputs):
        raise RuntimeError("no g++ found")

    monkeypatch.setattr(compiling, "_BACKEND", broken)
    monkeypatch.setattr(train_run, "prepare_data", lambda *arguments, **options: pytest.fail("the data was read"))
    refused = train(cli, few_squares, tmp_path / "run", "--compile")
    assert refused.code == 1
    assert "--compile: torch cannot compile here (" in refused.err
    assert "no g++ found" in refused.err
    assert "leave --compile out" in refused.err


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ValueError, match="something else"), compiling.advise_on_compiling():
        raise ValueError("something else")


def test_features_that_are_kept_leave_nothing_to_compile_and_the_command_says_so(cli, few_squares, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "_BACKEND", "eager")
    result = train(cli, few_squares, tmp_path / "run", "--compile", "--freeze")
    assert result.code == 0, result.err
    assert "--compile: features of the frozen trunk are kept" in result.err
