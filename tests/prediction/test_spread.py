"""A job travels, starts in another process and gives back parts; a cluster of one worker in this process stands for Ray."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from attrcls.cluster import _FAULT, _Worker
from attrcls.errors import AttrclsError, UserError
from attrcls.prediction import spread
from attrcls.prediction.images import predict_images
from attrcls.prediction.models import load_models
from attrcls.prediction.runtime import start_runtime
from attrcls.prediction.spread import _block_size, cluster_runner

BATCH = 4


class InProcess:
    """Does every block here, the last first, by a job that was pickled as on its way."""

    workers = 2

    def __init__(self, change=lambda tables: tables):
        self.change = change

    def spread(self, job, blocks):
        work = pickle.loads(pickle.dumps(job)).start()
        return iter(self.change([work(block) for block in reversed(blocks)]))


@pytest.fixture(scope="module")
def models(trained_run):
    return load_models([trained_run])


@pytest.fixture
def paths(shared_squares, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    hidden = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg"))
    found = sorted((shared_squares / "images").glob("*.jpg"))[:30]
    return [*found, tmp_path / "broken.jpg", hidden, Path(), found[3]]


@pytest.fixture(autouse=True)
def own_cores(monkeypatch):
    """A job that starts in this process leaves it its cores and its folder."""
    monkeypatch.setattr(spread, "_take_one_core", lambda folder: None)


def predict(models, paths, tmp_path, *, cluster=None, engine="torch", boxes=None):
    runtime = start_runtime(models, engine=engine, device="cpu", precision="32", pictures=1, batch_size=BATCH, cache=tmp_path / "cache")
    elsewhere = cluster and (lambda image: cluster_runner(cluster, models, runtime, paths, boxes, image=image, batch_size=BATCH))
    return predict_images(models, paths, boxes, fabric=runtime.fabric, batch_size=BATCH, workers=0, forwards=runtime.forwards, elsewhere=elsewhere)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_rows_come_back_as_this_process_would_have_made_them_in_their_order(models, paths, tmp_path, with_graph, engine):
    here = predict(models, paths, tmp_path, engine=engine)
    there = predict(models, paths, tmp_path, engine=engine, cluster=InProcess())
    assert there.status == here.status == ["ok"] * 30 + ["unreadable", "missing", "missing", "ok"]
    assert there.error == here.error
    for head, values in here.probabilities.items():
        assert np.array_equal(values, there.probabilities[head])


def test_a_row_whose_box_is_no_box_is_told_as_here(models, paths, tmp_path):
    boxes = np.tile([2.0, 2.0, 30.0, 30.0], (len(paths), 1))
    boxes[1], boxes[2, 0] = (9, 9, 3, 3), np.nan
    image = models[0].description.image.model_copy(update={"crop_boxes": True})
    cropping = [type(models[0])(models[0].run, models[0].description.model_copy(update={"image": image}), models[0].network)]
    here = predict(cropping, paths, tmp_path, boxes=boxes)
    there = predict(cropping, paths, tmp_path, boxes=boxes, cluster=InProcess())
    assert there.status == here.status
    assert there.error == here.error
    assert here.status[:3] == ["ok", "unreadable", "unreadable"]
    assert np.array_equal(here.probabilities["colour"], there.probabilities["colour"])


@pytest.mark.parametrize(("change", "says"), [(lambda tables: [*tables, tables[0]], "twice"), (lambda tables: tables[1:], "did not give back")])
def test_a_block_that_comes_twice_or_never_is_an_error_and_not_a_table(models, paths, tmp_path, change, says):
    with pytest.raises(AttrclsError, match=says):
        predict(models, paths, tmp_path, cluster=InProcess(change))


def test_what_a_worker_refuses_travels_as_a_row(models, paths, tmp_path):
    class Refusing:
        def start(self):
            raise UserError("no such engine here")

    import pyarrow as pa

    from attrcls.cluster import _packed

    made = _Worker(Refusing())(pa.table({"block": [_packed(pa.table({"position": [1]}))]}))
    assert made[_FAULT].to_pylist() == ["no such engine here"]
    assert made["exit_code"].to_pylist() == [2]


def test_blocks_are_whole_batches_several_for_each_worker_and_never_large():
    assert _block_size(1_000_000, workers=8, batch_size=64) == 512
    assert _block_size(1_000_000, workers=8, batch_size=100) == 600
    assert _block_size(200, workers=2, batch_size=4) == 28
    assert _block_size(1, workers=64, batch_size=64) == 64
