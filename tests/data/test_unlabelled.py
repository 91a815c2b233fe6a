import numpy as np
import pytest
import torch

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, PictureDataset, Pictures
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.recipes import Recipes
from attrcls.data.unlabelled import UnlabelledBatches
from attrcls.task import load_plan
from attrcls.types import MISSING, Share


@pytest.fixture
def manifest(few_squares) -> Manifest:
    """Ten pictures; the first five lack their size."""
    plan = load_plan(str(few_squares / "squares.task.yaml"))
    rows = build_manifest(plan.cards, {"squares": few_squares})[0].take(range(10))
    return rows.with_columns(size=np.where(np.arange(10) < 5, MISSING, rows.targets("size")))


def make(manifest: Manifest, *, batch_size: int = 4, workers: int = 0, seed: int = 0) -> UnlabelledBatches:
    recipes = Recipes(Augmenter("crop", px=32), repeats=Augmenter("strong", px=32))
    dataset = PictureDataset(Pictures(manifest.image_paths(), None, 36, "stretch"), recipes)
    return UnlabelledBatches(manifest, DecodedLoader(dataset, workers=workers), heads=["colour", "size"], batch_size=batch_size, seed=seed)


def test_all_rows_are_seen_equally_often_epoch_after_epoch_also_where_they_are_few(manifest):
    batches = make(manifest)
    epochs = [torch.cat([batch.rows for batch in batches.epoch(epoch, steps=5)]).tolist() for epoch in range(2)]
    assert [len(rows) for rows in epochs] == [20, 20]
    assert all(np.bincount(rows).tolist() == [2] * 10 for rows in epochs)
    assert epochs[0][:10] != epochs[0][10:]


def test_a_batch_has_both_views_of_each_row_and_says_what_labels_it_has(manifest):
    batch = next(make(manifest).epoch(0, steps=5))
    assert batch.images.shape == batch.strong.shape == (4, 3, 32, 32)
    assert not torch.equal(batch.images, batch.strong)
    assert batch.present["size"].tolist() == (batch.rows >= 5).tolist()
    assert batch.present["colour"].all()


def test_an_epoch_is_the_same_whenever_it_is_asked_for_and_with_any_number_of_workers(manifest):
    alone, helped = list(make(manifest).epoch(3, steps=3)), list(make(manifest, workers=1).epoch(3, steps=3))
    for one, two in zip(alone, helped, strict=True):
        assert torch.equal(one.rows, two.rows)
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.strong, two.strong)
    assert not torch.equal(alone[0].images, next(make(manifest, seed=1).epoch(3, steps=3)).images)


def test_the_same_row_looks_otherwise_each_time(manifest):
    views = [batch.strong[batch.rows == 0] for batch in make(manifest, batch_size=10).epoch(0, steps=3)]
    assert len({view.numpy().tobytes() for view in views}) == 3


def test_processes_share_each_batch_and_one_without_a_share_teaches_nothing(manifest):
    whole = list(make(manifest, batch_size=3).epoch(1, steps=2))
    shares = [list(make(manifest, batch_size=3).epoch(1, Share(rank, 4), steps=2)) for rank in range(4)]
    for step, batch in enumerate(whole):
        assert [shares[rank][step].rows.item() for rank in range(3)] == batch.rows.tolist()
        assert torch.equal(torch.cat([shares[rank][step].strong for rank in range(3)]), batch.strong)
        assert all(present.all() for present in shares[3][step].present.values())
