"""`attrcls predict --engine` through the real command line."""

import os

import numpy as np
import pandas as pd
import pytest

from attrcls.errors import AttrclsError
from attrcls.graph import build, sessions
from attrcls.prediction import images, runtime
from attrcls.prediction.models import load_models
from attrcls.prediction.runtime import ENGINES

GRAPH_ENGINES = [name for name in ENGINES if name != "torch"]


@pytest.fixture
def asked(shared_squares, tmp_path):
    """Repeated rows, a blank cell, a file that is gone and one that is broken."""
    names = [str(path) for path in sorted((shared_squares / "images").glob("*.jpg"))[:13]]
    (tmp_path / "broken.jpg").write_text("no picture")
    names = [*names, "gone.jpg", names[0], "", str(tmp_path / "broken.jpg")]
    pd.DataFrame({"path": names, "mine": range(len(names))}).to_csv(tmp_path / "asked.csv", index=False)
    return tmp_path / "asked.csv"


def predict(cli, run, asked, *options):
    out = asked.parent / "out.csv"
    result = cli("predict", *([run] if not isinstance(run, list) else run), asked, "--csv", out, "--workers", 0, "--batch-size", 8, *options)
    return result, pd.read_csv(out) if out.exists() else None


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_an_engine_keeps_the_row_contract_and_agrees_with_torch(cli, trained_run, asked, with_graph, engine):
    result, wanted = predict(cli, trained_run, asked, "--engine", "torch", "--precision", 32, "--probabilities")
    assert result.code == 3
    result, found = predict(cli, trained_run, asked, "--engine", engine, "--precision", 32, "--probabilities")
    assert result.code == 3
    assert f"engine: {engine}, 32, on cpu" in result.err
    kinds = found.dtypes == np.float64
    pd.testing.assert_frame_equal(found.loc[:, ~kinds], wanted.loc[:, ~kinds])
    assert np.allclose(found.loc[:, kinds], wanted.loc[:, kinds], atol=2e-4, equal_nan=True)
    # Of the same run twice, the mean is the same.
    result, pair = predict(cli, [trained_run, trained_run], asked, "--engine", engine, "--precision", 32, "--probabilities")
    assert np.allclose(pair.loc[:, kinds], found.loc[:, kinds], atol=2e-4, equal_nan=True)


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_a_stopped_prediction_goes_on_under_the_same_engine_alone(cli, trained_run, asked, with_graph, engine, monkeypatch):
    monkeypatch.setattr(images, "PART_PICTURES", 8)
    monkeypatch.setattr(images, "PART_SECONDS", -1.0)
    _, whole = predict(cli, trained_run, asked, "--engine", engine)
    (asked.parent / "out.csv").unlink()
    real, batches = images.LocalRunner._forward, []

    def stopping(self, pixels):
        batches.append(len(pixels))
        if stop and len(batches) > 1:
            raise KeyboardInterrupt
        return real(self, pixels)

    monkeypatch.setattr(images.LocalRunner, "_forward", stopping)
    stop = True
    assert predict(cli, trained_run, asked, "--engine", engine)[0].code == 130
    stop = False
    for name, run in (("torch", 2), (engine, 1)):
        batches.clear()
        result, found = predict(cli, trained_run, asked, "--engine", name, "--resume")
        assert result.code == 3
        assert len(batches) == run
    pd.testing.assert_frame_equal(found, whole)


def test_auto_is_torch_for_few_pictures_and_the_fastest_installed_for_many(cli, trained_run, asked, with_graph, without, monkeypatch):
    assert "engine: torch" in predict(cli, trained_run, asked)[0].err
    monkeypatch.setattr(runtime, "WORTH_A_GRAPH", 10)
    assert "engine: openvino, 32" in predict(cli, trained_run, asked, "--precision", 32)[0].err
    without("openvino")
    assert "engine: onnxruntime, 32" in predict(cli, trained_run, asked, "--precision", 32)[0].err
    without("onnxruntime")
    assert "engine: torch, 32" in predict(cli, trained_run, asked, "--precision", 32)[0].err


def test_auto_takes_torch_and_says_so_where_the_trunk_cannot_be_written(cli, trained_run, asked, monkeypatch):
    def fails(*args, **options):
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(build, "_export", fails)
    monkeypatch.setattr(runtime, "WORTH_A_GRAPH", 10)
    result, _ = predict(cli, trained_run, asked)
    assert result.code == 3
    assert "engine: torch" in result.err
    assert "no such operator" in result.err
    named, _ = predict(cli, trained_run, asked, "--engine", "onnxruntime")
    assert named.code == 1
    assert "--engine torch" in named.err


@pytest.mark.parametrize(("engine", "package"), [("onnxruntime", "onnxruntime"), ("onnxruntime", "onnxscript"), ("openvino", "openvino")])
def test_a_missing_package_is_named_with_the_command_that_brings_it(cli, trained_run, asked, without, engine, package):
    without(package)
    result, found = predict(cli, trained_run, asked, "--engine", engine)
    assert result.code == 2
    assert found is None
    assert package in result.err
    assert f"pip install '.[{ENGINES[engine]}]'" in result.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "tensorrt"], ["--engine", "'tensorrt'", "openvino"]),
        (["--engine", "onnxruntime", "--precision", "bf16"], ["--precision bf16", "--engine openvino or torch"]),
        (["--engine", "openvino", "--device", "cuda"], ["runs on the CPU", "--engine torch"]),
        (["--engine", "openvino", "--precision", "16"], ["--precision", "'16'"]),
        (["--engine", "openvino", "--batch-size", "0"], ["--batch-size", "found 0"]),
    ],
)
def test_an_engine_device_or_precision_that_is_not_there_is_told(cli, trained_run, asked, options, says):
    result, found = predict(cli, trained_run, asked, *options)
    assert result.code == 2, result.err
    assert found is None
    assert all(part in result.err for part in says)


def test_a_damaged_graph_in_the_cache_is_made_again(trained_run, graph_cache, tmp_path, monkeypatch):
    good = next((graph_cache / "graphs").glob("*.onnx"))
    monkeypatch.setattr("attrcls.prediction.graphs.build_graph", lambda network, description: good.read_bytes())
    kept = tmp_path / "cache" / "graphs" / good.name
    kept.parent.mkdir(parents=True)
    for engine in GRAPH_ENGINES:
        kept.write_bytes(good.read_bytes()[:1000])
        runtime.start_runtime(
            load_models([trained_run]), engine=engine, device="cpu", precision="32", pictures=1, batch_size=2, cache=tmp_path / "cache"
        ).open()
        assert kept.read_bytes() == good.read_bytes()


def test_auto_takes_torch_and_says_so_where_the_faster_engine_cannot_run_the_graph(cli, trained_run, asked, graph_cache, monkeypatch):
    def broken(graph, outputs, **options):
        raise AttrclsError("the ONNX graph cannot be run (no such operator)")

    monkeypatch.setattr(runtime, "WORTH_A_GRAPH", 1)
    monkeypatch.setattr(runtime, "open_openvino", broken)
    monkeypatch.setattr(runtime, "new_graph", lambda model, cache: b"")
    monkeypatch.setattr(runtime, "kept_graph", lambda model, cache: b"")
    result, found = predict(cli, trained_run, asked, "--engine", "auto")
    assert result.code in (0, 3), result.err
    assert found is not None
    assert "engine: torch" in result.err
    assert "no such operator); torch was used, not openvino" in result.err
    named, _ = predict(cli, trained_run, asked, "--engine", "openvino")
    assert named.code == 1
    assert "no such operator" in named.err


def test_graphs_that_are_stale_or_too_many_leave_the_cache(trained_run, tmp_path, monkeypatch):
    from attrcls.prediction import graphs

    monkeypatch.setattr(graphs, "build_graph", lambda network, description: bytes(100))
    monkeypatch.setattr(graphs, "_MOST_KEPT_BYTES", 250)
    folder = tmp_path / "graphs"
    folder.mkdir()
    for number, age in enumerate((50, 40, 1e9)):
        (folder / f"{number}.onnx").write_bytes(bytes(100))
        then = (folder / f"{number}.onnx").stat().st_mtime - age
        os.utime(folder / f"{number}.onnx", (then, then))
    graphs.kept_graph(load_models([trained_run])[0], tmp_path)
    assert {path.stem for path in folder.iterdir()} >= {"1"}
    assert not {"0", "2"} & {path.stem for path in folder.iterdir()}
    assert len(list(folder.iterdir())) == 2


def test_bf16_is_refused_where_the_cpu_has_none(cli, trained_run, asked, monkeypatch):
    monkeypatch.setattr(runtime, "has_native_bf16", lambda device: False)
    result, _ = predict(cli, trained_run, asked, "--engine", "openvino", "--precision", "bf16")
    assert result.code == 2
    assert "this CPU has no bf16" in result.err
    assert "--precision 32" in result.err


@pytest.mark.parametrize("engine", GRAPH_ENGINES)
def test_what_an_engine_says_of_pictures_that_it_cannot_run_is_ours(graph_cache, engine):
    graph = next((graph_cache / "graphs").glob("*.onnx")).read_bytes()
    if engine == "onnxruntime":
        session = sessions.open_onnxruntime(graph, ["colour_logits"], threads=1)
    else:
        session = sessions.open_openvino(graph, ["colour_logits"], threads=1, precision="32")
    with pytest.raises(AttrclsError, match="cannot be run"):
        session(np.zeros((1, 3, 5, 7), dtype=np.uint8))
