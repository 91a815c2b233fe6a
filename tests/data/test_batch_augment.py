"""Augmentation in batches on a device: hand-worked cases of each operation, and the same distributions as albumentations'."""

import math

import cv2
import numpy as np
import pytest
import torch

from attrcls.data import batch_ops as ops
from attrcls.data.augment import RECIPES, Augmenter, build_transforms
from attrcls.data.batch_augment import BatchAugmenter, affine_matrices, crop_windows, hole_sizes
from attrcls.errors import UserError

PICTURES = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (6, 36, 36, 3), dtype=np.uint8))
ALL = np.ones(6, dtype=bool)
STILL = np.broadcast_to(np.array([[1.0, 0, 0], [0, 1, 0]]), (6, 2, 3))
# A blurred picture, in which neighbours differ little: two ways to mix them then differ by rounding alone.
SMOOTH = cv2.GaussianBlur(PICTURES[0].numpy(), (9, 9), 3)


def whole(*values):
    return np.array(values, dtype=np.int64)


def same(value):
    return np.full(6, value, dtype=np.int64)


def keys(count, *, epoch=0):
    return [(0, 1, epoch, row, 0, 0) for row in range(count)]


def test_mirroring_turns_the_chosen_pictures_alone():
    out = ops.mirror(PICTURES, np.array([True, False, True, False, False, False]))
    assert torch.equal(out[0], PICTURES[0].flip(1))
    assert torch.equal(out[1], PICTURES[1])
    assert torch.equal(out[2][:, 0], PICTURES[2][:, -1])


def test_cutting_takes_each_picture_where_it_is_told():
    out = ops.cut(PICTURES, whole(0, 1, 2, 3, 4, 4), whole(4, 3, 2, 1, 0, 4), height=32, width=30)
    assert torch.equal(out[1], PICTURES[1, 1:33, 3:33])
    assert torch.equal(out[4], PICTURES[4, 4:36, 0:30])


def test_a_warp_that_moves_nothing_changes_nothing():
    assert torch.equal(ops.warp(PICTURES, STILL, ALL), PICTURES)


def test_a_shift_shows_the_mirror_image_at_the_border():
    shift = STILL.copy()
    shift[:, 0, 2], shift[:, 1, 2] = 3, -2
    out = ops.warp(PICTURES, shift, ALL)
    assert torch.equal(out[:, :34, 3:], PICTURES[:, 2:, :33])
    assert torch.equal(out[:, :34, :3], PICTURES[:, 2:, [3, 2, 1]])
    assert torch.equal(out[:, 34:, 3:], PICTURES[:, [34, 33], :33])
    assert torch.equal(ops.warp(PICTURES, shift, ~ALL), PICTURES)


def test_a_quarter_turn_and_a_doubling_are_exact():
    quarter = affine_matrices(np.full((6, 5), 0.5), arguments(rotate=(90, 90)), (36, 36))
    assert torch.equal(ops.warp(PICTURES, quarter, ALL), torch.rot90(PICTURES, 1, (1, 2)))
    twice = STILL * 2.0
    assert torch.equal(ops.warp(PICTURES, twice, ALL)[:, ::2, ::2], PICTURES[:, :18, :18])


@pytest.mark.parametrize(
    "changed", [{"rotate": (9, 9)}, {"scale": {"x": (1.1, 1.1), "y": (0.9, 0.9)}}, {"translate_px": {"x": (4, 4), "y": (-5, -5)}}]
)
def test_a_warp_is_opencvs_to_a_few_levels(changed):
    matrix = affine_matrices(np.full((1, 5), 0.5), arguments(**changed), (36, 36))
    ours = ops.warp(torch.from_numpy(SMOOTH)[None], matrix, ALL[:1])[0].numpy()
    theirs = build_transforms([{"name": "Affine", "border_mode": 4, "p": 1.0, **changed}], px=36)[0](image=SMOOTH)["image"]
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 3


def test_a_window_of_the_wanted_size_is_the_window_and_a_larger_one_is_resized_as_opencv_does():
    out = ops.resize_cut(PICTURES, same(2), same(3), same(32), same(32), height=32, width=32)
    assert torch.equal(out, PICTURES[:, 2:34, 3:35])
    out = ops.resize_cut(torch.from_numpy(SMOOTH)[None], whole(5), whole(1), whole(30), whole(25), height=20, width=20)[0].numpy()
    theirs = cv2.resize(SMOOTH[5:35, 1:26], (20, 20), interpolation=cv2.INTER_LINEAR)
    assert np.abs(out.astype(int) - theirs.astype(int)).max() <= 1


def test_brightness_is_added_and_stays_within_bytes():
    grey = torch.full((3, 2, 2, 3), 100, dtype=torch.uint8)
    out = ops.brighten(grey, np.array([1.0, 2.0, 1.0]), np.array([30.0, 100.0, -200.0]), np.array([True, True, True]))
    assert out[:, 0, 0, 0].tolist() == [130, 255, 0]
    assert torch.equal(ops.brighten(grey, np.zeros(3), np.zeros(3), np.zeros(3, dtype=bool)), grey)


def test_erasing_fills_each_window_and_none_without_height():
    out = ops.erase(PICTURES, same(2), same(5), whole(3, 0, 3, 3, 3, 3), same(4), fill=7)
    assert (out[0, 2:5, 5:9] == 7).all()
    kept = out[0].clone()
    kept[2:5, 5:9] = PICTURES[0, 2:5, 5:9]
    assert torch.equal(kept, PICTURES[0])
    assert torch.equal(out[1], PICTURES[1])


# Its operations are more than a device has here.
ON_DEVICE = sorted(set(RECIPES) - {"randaugment"})


@pytest.mark.parametrize("recipe", ON_DEVICE)
def test_a_picture_depends_on_its_key_alone_whatever_stands_beside_it(recipe):
    augment = BatchAugmenter(recipe, px=32, from_px=36)
    together = augment(PICTURES, keys(6))
    assert together.shape == (6, 32, 32, 3)
    assert together.dtype == torch.uint8
    order = [4, 1, 5]
    assert torch.equal(BatchAugmenter(recipe, px=32, from_px=36)(PICTURES[order], [keys(6)[at] for at in order]), together[order])
    assert torch.equal(augment(PICTURES[3:4], keys(6)[3:4]), together[3:4])
    assert torch.equal(augment(PICTURES, keys(6, epoch=1)), together) == (recipe == "none")


def test_without_augmentation_pixels_are_the_ordinary_paths_to_the_bit():
    out = BatchAugmenter("none", px=32, from_px=36)(PICTURES, keys(6))
    plain = Augmenter("none", px=32)
    assert np.array_equal(out.numpy(), np.stack([plain(picture, (0,)) for picture in PICTURES.numpy()]))


def seen(recipe, *, count=600, px=32):
    """What a recipe of each path makes of one picture under many keys: batch, and albumentations."""
    picture = torch.from_numpy(SMOOTH)[None].expand(count, -1, -1, -1)
    batch = BatchAugmenter(recipe, px=px, from_px=36)(picture, keys(count)).numpy()
    plain = Augmenter(recipe, px=px)
    return batch, np.stack([plain(SMOOTH, key) for key in keys(count)])


def test_crop_makes_the_same_pictures_equally_often():
    """Both of 25 places, mirrored or not: each some 12 times of 600."""
    batch, plain = ([picture.tobytes() for picture in pictures] for pictures in seen("crop"))
    assert set(batch) == set(plain)
    assert len(set(batch)) == 50
    assert max(batch.count(one) for one in set(batch)) < 30


@pytest.mark.parametrize("recipe", ["geometric", "strong", "zoom"])
def test_the_mean_and_spread_of_every_pixel_are_the_same_as_albumentations(recipe):
    batch, plain = (pictures.astype(float) for pictures in seen(recipe))
    error = np.sqrt((batch.var(axis=0) + plain.var(axis=0)) / 600)
    assert (np.abs(batch.mean(axis=0) - plain.mean(axis=0)) < 5 * error + 1.0).all()
    assert np.median(batch.std(axis=0) / plain.std(axis=0)) == pytest.approx(1, abs=0.06)


def test_flips_brightness_and_erasing_come_as_often_as_their_chance_says():
    black = np.array(
        [
            (picture == 0).all(axis=2).any()
            for picture in BatchAugmenter("strong", px=32, from_px=36)(PICTURES[:1].expand(2000, -1, -1, -1).clamp(min=90), keys(2000)).numpy()
        ]
    )
    assert black.mean() == pytest.approx(0.25, abs=0.04)
    batch = BatchAugmenter("flip", px=32, from_px=36)(PICTURES[:1].expand(2000, -1, -1, -1), keys(2000))
    assert float((batch == batch[0]).flatten(1).all(dim=1).float().mean()) == pytest.approx(0.5, abs=0.05)


def test_crops_keep_to_their_scale_and_ratio_as_albumentations_does():
    transform = build_transforms("zoom", px=32)[2]
    size, generator = (360, 360), np.random.default_rng(0)
    ours = np.stack(crop_windows(generator.random((2000, 22)), size, scale=(0.5, 1.0), ratio=(0.85, 1.18)), axis=1)
    transform.set_random_state(generator, __import__("random").Random(0))
    found = np.array([transform.get_params_dependent_on_data({"shape": (*size, 3)}, {})["crop_coords"] for _ in range(2000)])
    theirs = np.stack([found[:, 1], found[:, 0], found[:, 3] - found[:, 1], found[:, 2] - found[:, 0]], axis=1)
    for windows in (ours, theirs):
        share = windows[:, 2] * windows[:, 3] / 360**2
        assert share.min() > 0.49 and share.max() <= 1
        assert (windows[:, :2] >= 0).all() and (windows[:, :2] + windows[:, 2:] <= 360).all()
    assert ours.mean(axis=0) == pytest.approx(theirs.mean(axis=0), rel=0.08, abs=2)
    assert ours.std(axis=0) == pytest.approx(theirs.std(axis=0), rel=0.08)


def test_a_crop_that_never_fits_is_the_largest_in_the_middle():
    top, left, heights, widths = crop_windows(np.full((1, 22), 0.5), (20, 100), scale=(1.0, 1.0), ratio=(0.9, 1.1))
    assert (top[0], left[0], heights[0], widths[0]) == (0, 39, 20, 22)


def test_holes_keep_to_their_scale_and_one_that_cannot_fit_is_none():
    heights, widths = hole_sizes(np.random.default_rng(0).random((500, 2)), (200, 200), scale=(0.02, 0.15), ratio=(0.3, 3.3))
    share = heights * widths / 200**2
    assert share.min() > 0.018 and share.max() < 0.155
    assert math.isclose((widths / heights).min(), 0.3, rel_tol=0.1)
    assert hole_sizes(np.zeros((2, 2)), (10, 100), scale=(0.9, 1.0), ratio=(0.3, 3.3))[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ([{"name": "HorizontalFlip"}, {"name": "CLAHE"}], r"augment: --cache device cannot do CLAHE; use --cache DIR, or a recipe of Affine"),
        ([{"name": "Affine", "rotate": [-5, 5]}], "cannot do Affine with border_mode=0, 4 alone"),
        ([{"name": "Affine", "shear": [-5, 5], "border_mode": 4}], "cannot do Affine with shear="),
        ([{"name": "Erasing", "fill": "random"}], "cannot do Erasing with fill='random'"),
        ([{"name": "RandomCrop", "height": 40, "width": 40}], "cannot do RandomCrop of 40 × 40 px out of pictures of 36 × 36"),
        ("randaugment", "cannot do SomeOf"),
        ([{"name": "CenterCrop", "height": 20, "width": 20}], "end with 20 × 20 px, and 32 px are wanted"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(recipe, told):
    with pytest.raises(UserError, match=told):
        BatchAugmenter(recipe, px=32, from_px=36)


def arguments(**changed):
    own = build_transforms([{"name": "Affine", "border_mode": 4, **changed}], px=32)[0].get_transform_init_args()
    return own
