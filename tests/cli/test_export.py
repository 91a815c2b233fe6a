"""`attrcls export` through the real command line."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from cli.messages import run

from attrcls.answers.calibration import tempered
from attrcls.data.augment import Augmenter
from attrcls.data.images import read_image, resize_to
from attrcls.prediction.models import load_models
from attrcls.runs import export


@pytest.fixture(scope="module")
def onnx_file(trained_run, tmp_path_factory):
    """An export of the finished run, in a folder that was not there, and what the shell saw."""
    place = tmp_path_factory.mktemp("export")
    return place / "new" / "squares.onnx", run(f"export '{trained_run}' --onnx new/squares.onnx", place)


def opened(file):
    return onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])


def test_the_file_says_its_inputs_outputs_labels_preprocessing_and_task(onnx_file):
    file, result = onnx_file
    assert result.code == 0, result.err
    assert "opset 18" in result.out
    assert "validation pictures of the run" in result.out
    session = opened(file)
    assert [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()] == [("images", "tensor(uint8)", [3, 32, 32])]
    assert isinstance(session.get_inputs()[0].shape[0], str)
    names = ["colour_logits", "colour_probabilities", "size_logits", "size_probabilities"]
    assert [each.name for each in session.get_outputs()] == names
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == {"colour": ["red", "green", "blue"], "size": ["small", "large"]}
    assert json.loads(facts["task"])["heads"] == ["colour", "size"]
    assert json.loads(facts["combine"])["radices"] == [3, 2]
    assert json.loads(facts["preprocessing"])["centre_crop_px"] == 32


def test_whoever_follows_the_metadata_gets_what_predict_gives_at_any_batch_size(onnx_file, trained_run, shared_squares, cli, tmp_path):
    session = opened(onnx_file[0])
    facts = session.get_modelmeta().custom_metadata_map
    how, labels = json.loads(facts["preprocessing"]), json.loads(facts["labels"])
    temperatures = json.loads(facts["calibration"])["temperatures"]
    paths = sorted((shared_squares / "images").glob("*.jpg"))[:5]
    crop = Augmenter("none", px=how["centre_crop_px"])
    pictures = [crop(resize_to(read_image(path), px=how["resize_px"], fit=how["fit"]), (0,)) for path in paths]
    images = np.stack(pictures).transpose(0, 3, 1, 2)
    (tmp_path / "asked").mkdir()
    for path in paths:
        shutil.copy(path, tmp_path / "asked")
    table = tmp_path / "out.jsonl"
    predicted = cli("predict", trained_run, tmp_path / "asked", "--csv", table, "--precision", 32, "--engine", "torch", "--workers", 0)
    assert predicted.code == 0, predicted.err
    assert "engine: torch, 32" in predicted.err
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for some in (images[:1], images):
        for head, classes in labels.items():
            logits, probabilities = session.run([f"{head}_logits", f"{head}_probabilities"], {"images": some})
            assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
            assert np.array_equal(logits.argmax(axis=1), probabilities.argmax(axis=1))
            assert [classes[each] for each in probabilities.argmax(axis=1)] == [row[head] for row in rows[: len(some)]]
            confidence = tempered(probabilities, temperatures[head]).max(axis=1)
            assert np.allclose(confidence, [row[f"{head}_confidence"] for row in rows[: len(some)]], atol=5e-4)


def test_the_file_tells_nothing_of_the_machine(onnx_file):
    model = onnx.load(onnx_file[0])
    # Among millions of bytes of weights any three stand somewhere.
    for weights in model.graph.initializer:
        weights.ClearField("raw_data")
    content = model.SerializeToString()
    for word in (b"site-packages", b"attrcls/", b".py", b"/tmp", b"/home"):
        assert word not in content


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["labels.csv", "--onnx", "m.onnx"], ["labels.csv", "attrcls train"]),
        (["nowhere", "--onnx", "m.onnx"], ["nowhere", "attrcls train"]),
        (["run", "--onnx", "m.pt"], ["m.pt", ".onnx"]),
        (["run", "--onnx", "folder.onnx"], ["folder.onnx", "found a folder"]),
        (["run", "--onnx", "m.onnx", "--images", "empty"], ["empty", "no picture"]),
        (["run", "--onnx", "m.onnx", "--images", "broken"], ["broken", "no picture of it can be read"]),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(cli, trained_run, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained_run)
    (tmp_path / "labels.csv").write_text("file\n")
    for name in ("folder.onnx", "empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("no picture")
    result = cli("export", *options)
    assert result.code == 2, result.err
    assert all(part in result.err for part in says)
    assert not list(tmp_path.glob("m.*"))


def test_int8_is_smaller_keeps_the_contract_and_tells_what_it_costs(onnx_file, cli, trained_run, shared_squares, graph_cache, tmp_path, monkeypatch):
    from attrcls.export import onnx_file as home

    monkeypatch.setattr(home, "build_graph", lambda network, description: next((graph_cache / "graphs").glob("*.onnx")).read_bytes())
    small = tmp_path / "int8.onnx"
    result = cli("export", trained_run, "--onnx", small, "--int8", "--images", shared_squares / "images")
    assert result.code == 0, result.err
    assert result.out.count("of labels as in float32") == 2
    assert small.stat().st_size < 0.4 * onnx_file[0].stat().st_size
    whole, quantised = opened(onnx_file[0]), opened(small)
    assert [each.name for each in quantised.get_outputs()] == [each.name for each in whole.get_outputs()]
    facts = quantised.get_modelmeta().custom_metadata_map
    assert facts.items() > whole.get_modelmeta().custom_metadata_map.items()
    assert "int8" in facts["quantisation"]
    # Without the pictures of the run there is nothing to take ranges from: the test's own cache does not know where they lie.
    refused = cli("export", trained_run, "--onnx", tmp_path / "other.onnx", "--int8")
    assert refused.code == 2
    assert "--images DIR" in refused.err
    assert not (tmp_path / "other.onnx").exists()


def test_the_cost_of_int8_counts_labels_that_are_there_alone():
    import torch

    from attrcls.export.int8 import measure_cost

    def session(probabilities):
        return lambda images: {"kind_probabilities": np.array(probabilities, dtype=np.float32)}

    before, after = session([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]]), session([[0.8, 0.2], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    cost = measure_cost(before, after, torch.zeros(4, 3, 8, 8, dtype=torch.uint8), {"kind": np.array([0, 0, 0, -1])})["kind"]
    assert cost.agreement == 0.75
    assert cost.largest_difference == pytest.approx(0.2)
    assert (cost.labelled, cost.top1_before, cost.top1_after) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_a_graph_that_differs_from_torch_is_refused_and_the_old_file_stays(cli, trained_run, graph_cache, tmp_path, monkeypatch):
    from attrcls.export import onnx_file as home

    good = next((graph_cache / "graphs").glob("*.onnx")).read_bytes()
    old = tmp_path / "m.onnx"
    old.write_bytes(b"old")

    for shift in (0.01, float("nan")):

        def of_other_weights(network, description, shift=shift):
            # The graph is of the run as it is; what it is compared with no longer is.
            network.heads["size"].layers[-1].bias.data[0] += shift
            return good

        monkeypatch.setattr(home, "build_graph", of_other_weights)
        result = cli("export", trained_run, "--onnx", old)
        assert result.code == 1
        assert "differ from torch's" in result.err
        assert old.read_bytes() == b"old"
        assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_brings_it(cli, trained_run, tmp_path, without, package):
    without(package)
    result = cli("export", trained_run, "--onnx", tmp_path / "m.onnx")
    assert result.code == 2
    assert package in result.err
    assert "pip install '.[onnx]'" in result.err


def test_a_run_whose_pictures_are_not_here_is_checked_on_drawn_ones(trained_run, graph_cache, tmp_path, monkeypatch):
    from attrcls.runs import export as story

    # A model alone, as it is passed on.
    shutil.copytree(trained_run / "model", tmp_path / "alone" / "model")
    pictures, told = story._pictures(load_models([tmp_path / "alone"])[0], None)
    assert pictures.shape == (32, 3, 32, 32)
    assert "drawn pictures" in told
    assert "--images DIR" in told


def test_pictures_to_check_on_are_looked_for_behind_those_that_cannot_be_read(trained_run, shared_squares, tmp_path):
    for number in range(40):
        (tmp_path / f"a{number:02d}.jpg").write_text("no picture")
    shutil.copy(next((shared_squares / "images").glob("*.jpg")), tmp_path / "z.jpg")
    pictures, told = export._pictures(load_models([trained_run])[0], tmp_path)
    assert len(pictures) == 1
    assert told == f"1 picture of {tmp_path}"
