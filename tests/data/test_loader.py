import gc
import multiprocessing

import numpy as np
import pytest
import torch

from attrcls.data.augment import Augmenter
from attrcls.data.loader import DecodedLoader, LabelledBatches, PictureDataset, Pictures
from attrcls.data.manifest import Manifest, build_manifest
from attrcls.data.recipes import Recipes
from attrcls.errors import UserError
from attrcls.task import load_plan
from attrcls.types import Share


@pytest.fixture
def manifest(shared_squares) -> Manifest:
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    return build_manifest(plan.cards, {"squares": shared_squares})[0]


def make_batches(
    manifest: Manifest,
    *,
    workers: int = 0,
    batch_size: int = 16,
    seed: int = 0,
    ratios: dict[str, float] | None = None,
    weights: np.ndarray | None = None,
    recipe: str = "crop",
    repeat_recipe: str | None = None,
) -> LabelledBatches:
    pictures = Pictures(manifest.image_paths(), None, 36, "stretch")
    recipes = Recipes(Augmenter(recipe, px=32), repeats=Augmenter(repeat_recipe, px=32) if repeat_recipe else None)
    loader = DecodedLoader(PictureDataset(pictures, recipes), workers=workers)
    return LabelledBatches(manifest, loader, heads=["colour", "size"], batch_size=batch_size, seed=seed, ratios=ratios, weights=weights)


def test_an_epoch_holds_every_row_once_in_batches_of_nearly_one_size(manifest):
    batches = list(make_batches(manifest, batch_size=27).epoch(0))
    rows = torch.cat([batch.rows for batch in batches])
    assert sorted(rows.tolist()) == list(range(len(manifest)))
    assert {len(batch.rows) for batch in batches} == {26, 27}
    assert batches[0].images.shape[1:] == (3, 32, 32)
    assert batches[0].images.dtype == torch.uint8


def test_batches_are_the_same_with_any_number_of_workers(manifest):
    alone, helped = make_batches(manifest, workers=0), make_batches(manifest, workers=2)
    for epoch in (0, 3):
        for one, two in zip(alone.epoch(epoch), helped.epoch(epoch), strict=True):
            assert torch.equal(one.rows, two.rows)
            assert torch.equal(one.images, two.images)


def test_workers_end_as_soon_as_their_loader_is_dropped_without_the_collector(manifest):
    """In a reference cycle the collector would close the queues first, and dropping would wait 5 s for each worker."""
    gc.disable()
    try:
        batches = make_batches(manifest, workers=2)
        next(batches.epoch(0))
        workers = multiprocessing.active_children()
        assert len(workers) == 2
        del batches
        assert not any(worker.is_alive() for worker in workers)
    finally:
        gc.enable()


def test_epochs_differ_in_order_and_augmentation_and_can_be_asked_for_again(manifest):
    batches = make_batches(manifest)
    first, second, again = next(batches.epoch(0)), next(batches.epoch(1)), next(batches.epoch(0))
    assert not torch.equal(first.rows, second.rows)
    assert torch.equal(first.images, again.images)


def test_labels_stand_beside_their_own_rows(manifest):
    targets = manifest.targets("colour")
    for batch in make_batches(manifest).epoch(0):
        assert batch.targets["colour"].tolist() == targets[batch.rows.numpy()].tolist()
        assert batch.present["colour"].all()


def test_missing_labels_are_absent_and_their_targets_harmless(manifest):
    colours = manifest.targets("colour")
    colours[:10] = -1
    batch_list = list(make_batches(manifest.with_columns(colour=colours)).in_order())
    present = torch.cat([batch.present["colour"] for batch in batch_list])
    targets = torch.cat([batch.targets["colour"] for batch in batch_list])
    assert present[:10].sum() == 0
    assert present[10:].all()
    assert targets.min() == 0


@pytest.mark.parametrize(("ratio", "rows"), [(0.5, 40), (1.0, 80), (2.5, 200)])
def test_a_cards_ratio_says_how_often_its_rows_are_drawn(manifest, ratio, rows):
    drawn = torch.cat([batch.rows for batch in make_batches(manifest, ratios={"squares": ratio}).epoch(0)])
    counts = np.bincount(drawn.numpy(), minlength=80)
    assert len(drawn) == rows
    assert counts.max() - counts.min() <= 1


def test_repeats_of_a_row_are_augmented_anew(manifest):
    batches = list(make_batches(manifest.take(np.arange(4)), ratios={"squares": 6.0}).epoch(0))
    images = torch.cat([batch.images for batch in batches])
    rows = torch.cat([batch.rows for batch in batches])
    assert len({image.numpy().tobytes() for image in images[rows == 0]}) > 1


def test_a_picture_that_vanishes_while_training_ends_with_its_name(squares):
    plan = load_plan(str(squares / "squares.task.yaml"))
    manifest = build_manifest(plan.cards, {"squares": squares})[0]
    batches = make_batches(manifest)
    (squares / "images" / "p03_1.jpg").unlink()
    with pytest.raises(UserError, match=r"p03_1\.jpg"):
        list(batches.epoch(0))


def lopsided_weights(rows: int) -> np.ndarray:
    weights = np.full(rows, 0.5)
    weights[:8] = (rows - 0.5 * (rows - 8)) / 8
    return weights


def test_weighted_epochs_are_the_same_with_any_number_of_workers_and_keep_their_size(manifest):
    options = {"weights": lopsided_weights(80), "repeat_recipe": "strong", "ratios": {"squares": 1.5}}
    alone, helped = make_batches(manifest, **options), make_batches(manifest, workers=2, **options)
    for epoch in (0, 2):
        batches = list(zip(alone.epoch(epoch), helped.epoch(epoch), strict=True))
        assert sum(len(one.rows) for one, _ in batches) == 120
        assert all(torch.equal(one.rows, two.rows) and torch.equal(one.images, two.images) for one, two in batches)


def test_other_epochs_thin_out_other_rows(manifest):
    batches = make_batches(manifest, weights=lopsided_weights(80))
    drawn = [{int(row) for batch in batches.epoch(epoch) for row in batch.rows} for epoch in range(20)]
    assert drawn[0] != drawn[1]
    assert set.union(*drawn) == set(range(80))


def test_only_repeats_of_a_row_take_the_recipe_for_repeats(manifest):
    batches = list(make_batches(manifest.take(np.arange(4)), ratios={"squares": 3.0}, recipe="none", repeat_recipe="strong").epoch(0))
    rows, images = torch.cat([batch.rows for batch in batches]), torch.cat([batch.images for batch in batches])
    plain = torch.cat([batch.images for batch in make_batches(manifest.take(np.arange(4)), recipe="none").in_order()])
    for row in range(4):
        assert [torch.equal(image, plain[row]) for image in images[rows == row]].count(True) == 1


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_the_very_batches_of_one(manifest, processes):
    batches = make_batches(manifest, batch_size=7)
    shared = [list(batches.epoch(1, Share(rank, processes))) for rank in range(processes)]
    for index, whole in enumerate(batches.epoch(1)):
        for rank in range(processes):
            assert torch.equal(shared[rank][index].rows, whole.rows[rank::processes])
            assert torch.equal(shared[rank][index].images, whole.images[rank::processes])


def test_a_process_without_a_share_of_a_batch_gets_a_sample_without_labels_and_scores_nothing(manifest):
    batches = make_batches(manifest.take(np.arange(2)), batch_size=2)
    (batch,) = batches.epoch(0, Share(2, 3))
    assert len(batch.rows) == len(batch.images) == 1
    assert not any(present.any() for present in batch.present.values())
    assert list(batches.in_order(Share(2, 3))) == []
