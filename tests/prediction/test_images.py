import gc
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from attrcls.data.loader import Pictures
from attrcls.data.remote import parse_location
from attrcls.engine import start_engine
from attrcls.prediction import runtime as runtimes
from attrcls.prediction.forward import torch_forward
from attrcls.prediction.images import LocalRunner, Predictions, _distinct, predict_images
from attrcls.prediction.models import combiner_of, heads_of, load_models
from attrcls.prediction.runtime import ENGINES, start_runtime


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def run(engine, graph_cache):
    def predict(models, paths, *, batch_size: int = 8, workers: int = 0, advance=lambda images: None) -> Predictions:
        runtime = start_runtime(models, engine=engine, device="cpu", precision="auto", pictures=len(paths), batch_size=batch_size, cache=graph_cache)
        predicted = predict_images(
            models, paths, None, fabric=runtime.fabric, batch_size=batch_size, workers=workers, advance=advance, forwards=runtime.forwards
        )
        assert runtime.engine == engine
        return predicted

    return predict


@pytest.fixture(scope="module")
def models(trained_run):
    return load_models([trained_run])


def pictures(folder: Path) -> list[Path]:
    return sorted((folder / "images").glob("*.jpg"))


def test_a_file_gets_the_same_numbers_wherever_it_stands(run, models, shared_squares):
    paths = pictures(shared_squares)[:13]
    forward, backward = run(models, paths), run(models, paths[::-1])
    alone = run(models, paths[5:6])
    for head in ("colour", "size"):
        assert np.array_equal(forward.probabilities[head], backward.probabilities[head][::-1])
        assert np.array_equal(forward.probabilities[head][5], alone.probabilities[head][0])


def test_models_are_opened_when_the_first_pictures_are_there_and_once(models, shared_squares, graph_cache, monkeypatch):
    opened, decoded = [], []
    real = runtimes.torch_forward
    monkeypatch.setattr(runtimes, "torch_forward", lambda model, fabric: (opened.append(len(decoded)), real(model, fabric))[1])
    runtime = start_runtime(models, engine="torch", device="cpu", precision="32", pictures=9, batch_size=4, cache=graph_cache)
    read = Pictures.read
    monkeypatch.setattr(Pictures, "read", lambda self, row: (decoded.append(row), read(self, row))[1])
    predict_images(models, pictures(shared_squares)[:9], None, fabric=runtime.fabric, batch_size=4, workers=0, forwards=runtime.forwards)
    assert opened == [4]
    assert len(decoded) == 9


def test_workers_end_as_soon_as_their_runner_is_dropped_without_the_collector(models, shared_squares):
    fabric = start_engine(device="cpu")
    gc.disable()
    try:
        runner = LocalRunner(
            [torch_forward(models[0], fabric)], pictures(shared_squares)[:9], None, image=models[0].description.image, fabric=fabric,
            batch_size=4, workers=2,
        )  # fmt: skip
        next(runner.run(np.stack([np.arange(9)] * 2, axis=1)))
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        del runner
        assert not any(worker.is_alive() for worker in workers)
    finally:
        gc.enable()


def test_a_file_that_is_named_twice_is_run_once_and_told_twice(run, models, shared_squares):
    paths = pictures(shared_squares)[:3]
    counted = []
    twice = run(models, [*paths, *paths], advance=counted.append)
    assert sum(counted) == 3
    assert np.array_equal(twice.probabilities["colour"][:3], twice.probabilities["colour"][3:])


def test_the_first_row_of_each_picture_and_box_stands_for_all_of_the_same():
    paths = [Path("b.jpg"), Path("a.jpg"), parse_location("http://x/b.jpg"), Path("a.jpg"), Path("b.jpg")]
    rows, source = _distinct(paths, None)
    assert (rows.tolist(), source.tolist()) == ([0, 1, 2], [0, 1, 2, 1, 0])
    boxes = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 1, 1]], dtype=np.float64)
    rows, source = _distinct(paths, boxes)
    assert (rows.tolist(), source.tolist()) == ([0, 1, 2, 3], [0, 1, 2, 3, 0])
    assert [each.tolist() for each in _distinct([], None)] == [[], []]


def test_a_bad_picture_touches_no_other_row(run, models, shared_squares, tmp_path):
    paths = pictures(shared_squares)[:6]
    whole = run(models, paths)
    (tmp_path / "cut.jpg").write_bytes(paths[2].read_bytes()[:300])
    broken = run(models, [paths[0], tmp_path / "cut.jpg", paths[1], tmp_path / "gone.jpg", paths[3]])
    assert broken.status == ["ok", "unreadable", "ok", "missing", "ok"]
    assert [bool(error) for error in broken.error] == [False, True, False, True, False]
    assert np.array_equal(broken.probabilities["colour"][[0, 2, 4]], whole.probabilities["colour"][[0, 1, 3]])


def test_workers_change_nothing(run, models, shared_squares):
    paths = pictures(shared_squares)
    alone, helped = run(models, paths), run(models, paths, workers=2)
    assert np.array_equal(alone.probabilities["colour"], helped.probabilities["colour"])


def test_runs_with_the_same_heads_are_averaged(run, models, trained_run, shared_squares, tmp_path):
    shutil.copytree(trained_run, tmp_path / "second")
    pair = load_models([trained_run, tmp_path / "second"])
    paths = pictures(shared_squares)[:5]
    assert np.allclose(run(pair, paths).probabilities["size"], run(models, paths).probabilities["size"], atol=1e-6)


def test_a_run_whose_size_is_not_the_others_looks_at_its_own_pictures(run, models, trained_run, shared_squares, tmp_path):
    shutil.copytree(trained_run, tmp_path / "second")
    description = tmp_path / "second" / "model" / "model.json"
    description.write_text(description.read_text().replace('"px": 32', '"px": 40'))
    pair = load_models([trained_run, tmp_path / "second"])
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    predictions = run(pair, [*pictures(shared_squares)[:3], bad])
    assert predictions.status == ["ok", "ok", "ok", "unreadable"]
    assert np.allclose(predictions.probabilities["colour"][:3].sum(axis=1), 1, atol=1e-5)


def test_heads_of_several_runs_are_put_together_in_the_codes_order(models):
    assert list(heads_of(models)) == ["colour", "size"]
    combiner = combiner_of(models)
    assert combiner is not None
    assert combiner.radices == (3, 2)
