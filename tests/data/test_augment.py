import subprocess
import sys

import cv2
import numpy as np
import pytest

from attrcls.data.augment import RECIPES, Augmenter, build_transforms
from attrcls.errors import UserError

PICTURE = np.random.default_rng(0).integers(0, 255, (72, 72, 3), dtype=np.uint8)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_recipe_gives_the_trunks_size_and_depends_on_the_key_alone(recipe):
    augment = Augmenter(recipe, px=64)
    first = augment(PICTURE, (0, 1, 2, 3))
    augment(PICTURE, (9, 9))
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, Augmenter(recipe, px=64)(PICTURE, (0, 1, 2, 3)))


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - {"none"}))
def test_other_keys_give_other_pictures(recipe):
    augment = Augmenter(recipe, px=64)
    assert len({augment(PICTURE, (0, 0, row)).tobytes() for row in range(20)}) > 1


def test_none_is_the_centre_crop():
    assert np.array_equal(Augmenter("none", px=64)(PICTURE, (5,)), PICTURE[4:68, 4:68])


def test_flip_only_mirrors():
    centre = PICTURE[4:68, 4:68]
    seen = {Augmenter("flip", px=64)(PICTURE, (row,)).tobytes() for row in range(30)}
    assert seen == {centre.tobytes(), np.ascontiguousarray(centre[:, ::-1]).tobytes()}


def test_geometric_rotates_then_translates_then_scales():
    names = [
        [key for key in ("rotate", "translate_percent", "scale") if transform_changes(transform, key)]
        for transform in build_transforms("geometric", px=64)
    ]
    assert [name for found in names for name in found] == ["rotate", "translate_percent", "scale"]


def test_randaugment_cuts_out_one_window_of_at_most_half_the_side_and_changes_most_of_the_rest():
    plain = np.full((72, 72, 3), 60, dtype=np.uint8)
    holes = [(Augmenter("randaugment", px=64)(plain, (row,)) == 127).all(axis=2) for row in range(20)]
    for hole in holes:
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert 6 <= np.ptp(rows) + 1 <= 32
        assert 6 <= np.ptp(columns) + 1 <= 32
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert len({Augmenter("randaugment", px=64)(PICTURE, (row,)).tobytes() for row in range(20)}) == 20


def transform_changes(transform: object, key: str) -> bool:
    value = getattr(transform, key, None)
    still = {"rotate": (0, 0), "translate_percent": None, "scale": {"x": (1.0, 1.0), "y": (1.0, 1.0)}}[key]
    return type(transform).__name__ == "Affine" and value not in (None, still)


def test_strong_leaves_the_hue_of_a_picture_alone():
    colour = np.full((72, 72, 3), (200, 60, 60), dtype=np.uint8)
    for row in range(20):
        out = Augmenter("strong", px=64)(colour, (row,))
        lit = out[out.sum(axis=2) > 0]
        hue = cv2.cvtColor(lit[None], cv2.COLOR_RGB2HSV)[..., 0].astype(int)
        assert np.minimum(hue, 180 - hue).max() <= 1


def test_an_explicit_list_is_built_and_brought_to_size():
    augment = Augmenter([{"name": "HorizontalFlip", "p": 1.0}, {"name": "Affine", "rotate": [5, 5], "p": 1.0}], px=64)
    assert augment(PICTURE, (0,)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("geometrik", "did you mean 'geometric'"),
        ([{"name": "HorizontalFlop"}], "did you mean 'HorizontalFlip'"),
        ([{"p": 0.5}], "expected `name:`"),
        ([{"name": "HorizontalFlip", "p": 3}], r"augment\.0: HorizontalFlip does not take these arguments"),
        ([{"name": "HorizontalFlip", "q": 0.5}], "does not take these arguments"),
        ([{"name": "HorizontalFlip"}, {"name": "Normalize"}], "leave out Normalize"),
        ([{"name": "ToTensorV2"}], "ToTensorV2"),
    ],
)
def test_a_recipe_that_does_not_exist_or_fit_is_refused(recipe, expected):
    with pytest.raises(UserError, match=expected):
        Augmenter(recipe, px=64)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"name": "RandomCrop", "height": 224, "width": 224}, r"my\.augment: .*80x80, as image\.px 64 gives"),
        ({"name": "RandomCrop", "height": 82, "width": 82, "p": 0.01}, "80x80"),
        ({"name": "ImageOnlyTransform"}, "NotImplementedError"),
        ({"name": "RandomCropNearBBox"}, "80x80"),
    ],
)
def test_a_transform_that_cannot_be_done_on_the_pictures_is_refused_by_the_recipes_name(transform, expected):
    with pytest.raises(UserError, match=expected):
        Augmenter([transform], px=64, where="my.augment")
    with pytest.raises(UserError, match="72x72"):
        Augmenter([{"name": "RandomCrop", "height": 76, "width": 76}], px=64, from_px=72)


def test_importing_albumentations_asks_the_network_for_nothing():
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise SystemExit('the network was asked')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "import attrcls.data.augment\n"
    )
    assert subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True).returncode == 0
