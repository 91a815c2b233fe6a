"""The same picture under another name: found when it was changed as people change pictures, and never taken for a look-alike."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from attrcls.data import twins
from attrcls.data.fingerprints import read_fingerprints
from attrcls.data.twins import KINDS, count_bits, find_twins, near_hashes


def draw_scene(seed: int) -> np.ndarray:
    """Blurred blobs and lines of many colours, 150 × 200, unlike any other seed's."""
    generator = np.random.default_rng(seed)
    image = cv2.resize(generator.integers(0, 255, (6, 8, 3), dtype=np.uint8), (200, 150), interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = tuple(int(value) for value in generator.integers((0, 0), (200, 150)))
        cv2.circle(image, centre, int(generator.integers(5, 25)), generator.integers(0, 255, 3).tolist(), -1, cv2.LINE_AA)
    return image


CHANGES = {
    "saved as a poor JPEG": (".jpg", lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1), "near"),
    "another format": (".png", lambda image: image, "near"),
    "half the size": (".jpg", lambda image: cv2.resize(image, (100, 75), interpolation=cv2.INTER_AREA), "near"),
    "another shape": (".jpg", lambda image: cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA), "near"),
    "brighter": (".jpg", lambda image: cv2.convertScaleAbs(image, alpha=1.15, beta=10), "near"),
    "cropped by 2 %": (".jpg", lambda image: image[3:-3, 4:-4], "near"),
    "cropped by 4 %": (".jpg", lambda image: image[6:-6, 8:-8], "near"),
    "mirrored": (".jpg", lambda image: image[:, ::-1], "mirrored"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_picture_is_found_among_others(tmp_path, change):
    ending, alter, kind = CHANGES[change]
    paths = save(tmp_path, [draw_scene(seed) for seed in range(12)])
    cv2.imwrite(str(tmp_path / f"again{ending}"), np.ascontiguousarray(alter(draw_scene(7))))
    found = find_twins(read_fingerprints([*paths, tmp_path / f"again{ending}"]))
    assert (found.pairs.tolist(), [KINDS[each] for each in found.kinds]) == ([[7, 12]], [kind])


def test_the_same_bytes_are_a_copy_and_are_compared_with_others_once(tmp_path):
    paths = save(tmp_path, [draw_scene(0), draw_scene(1)])
    for name in ("b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(paths[0].read_bytes())
    cv2.imwrite(str(tmp_path / "d.jpg"), cv2.resize(draw_scene(0), (100, 75), interpolation=cv2.INTER_AREA))
    found = find_twins(read_fingerprints([*paths, *(tmp_path / name for name in ("b.jpg", "c.jpg", "d.jpg"))]))
    kinds = {tuple(pair): KINDS[kind] for pair, kind in zip(found.pairs.tolist(), found.kinds, strict=True)}
    assert kinds == {(0, 2): "copy", (0, 3): "copy", (0, 4): "near"}


def test_a_films_frames_are_tied_without_comparing_each_with_each(tmp_path, monkeypatch):
    compared = []

    def counting(part, whole, *, margin):
        compared.append(margin)
        return overlay(part, whole, margin=margin)

    overlay = twins._overlay
    monkeypatch.setattr(twins, "_overlay", counting)
    noise = np.random.default_rng(0)
    frames = [np.clip(draw_scene(0) + noise.integers(-3, 4, (150, 200, 3)), 0, 255).astype(np.uint8) for _ in range(12)]
    found = find_twins(read_fingerprints(save(tmp_path, [*frames, draw_scene(1)])))
    assert sorted(set(found.pairs.ravel().tolist())) == list(range(12))
    assert (len(found.pairs), len(compared)) == (11, 11)
    assert {KINDS[kind] for kind in found.kinds} == {"near"}


def test_other_things_on_one_plain_background_are_no_duplicates(tmp_path):
    def garment(seed: int) -> np.ndarray:
        """One shape in one place on one carpet, with a print of its own: as a sender photographs shirts."""
        carpet = np.random.default_rng(99).normal((90, 30, 150), 4, (150, 200, 3))
        image = np.clip(carpet, 0, 255).astype(np.uint8)
        cv2.fillPoly(image, [np.array([[40, 30], [160, 30], [185, 70], [150, 75], [145, 135], [55, 135], [50, 75], [15, 70]])], (235, 235, 235))
        generator = np.random.default_rng(seed)
        for _ in range(14):
            start = tuple(int(value) for value in generator.integers((75, 50), (120, 105)))
            cv2.rectangle(image, start, (start[0] + 8, start[1] + 4), generator.integers(0, 120, 3).tolist(), -1)
        return image

    prints = read_fingerprints(save(tmp_path, [garment(seed) for seed in range(10)]))
    near = {tuple(sorted(pair)) for part in near_hashes(prints.hashes[:, 0], prints.hashes[:, 0], distance=8) for pair in part.tolist()}
    assert any(one != other for one, other in near), "hashes alone should be fooled, or this tests nothing"
    assert len(find_twins(prints).pairs) == 0


def test_what_cannot_be_read_or_shows_nothing_is_left_out_and_told(tmp_path):
    blank = np.full((50, 50, 3), 255, np.uint8)
    paths = save(tmp_path, [draw_scene(0), blank, blank - 1])
    (tmp_path / "broken.jpg").write_bytes(paths[0].read_bytes()[:400])
    (tmp_path / "broken_again.jpg").write_bytes(paths[0].read_bytes()[:400])
    prints = read_fingerprints([*paths, *(tmp_path / name for name in ("broken.jpg", "broken_again.jpg", "gone.jpg"))])
    assert (prints.position.tolist(), list(prints.plain), list(prints.failed)) == ([0], [1, 2], [3, 4, 5])
    assert len(find_twins(prints).pairs) == 0


def test_no_pictures_have_no_twins():
    assert find_twins(read_fingerprints([])).pairs.shape == (0, 2)


@pytest.mark.parametrize("distance", [0, 3, 8])
def test_near_hashes_are_those_that_comparing_all_with_all_finds(distance):
    generator = np.random.default_rng(distance)
    hashes = generator.integers(0, 1 << 63, 300, dtype=np.uint64) << np.uint64(1)
    # Half of the queries differ from a hash in 0 to 12 bits, so that pairs lie on both sides of the limit.
    queries = generator.integers(0, 1 << 63, 300, dtype=np.uint64)
    for row in range(150):
        flipped = generator.choice(64, row % 13, replace=False).astype(np.uint64)
        queries[row] = hashes[row] ^ np.bitwise_or.reduce(np.uint64(1) << flipped, initial=np.uint64(0))
    found = {tuple(pair) for part in near_hashes(queries, hashes, distance=distance) for pair in part.tolist()}
    wanted = {
        (row, column)
        for row, query in enumerate(queries.tolist())
        for column, hash_ in enumerate(hashes.tolist())
        if (query ^ hash_).bit_count() <= distance
    }
    assert found == wanted
    assert len(wanted) >= 10
    assert sum(map(len, near_hashes(queries, hashes, distance=distance))) == len(wanted), "each pair comes once"


def test_many_equal_hashes_come_in_chunks_and_none_is_lost(monkeypatch):
    monkeypatch.setattr("attrcls.data.twins.CHUNK_PAIRS", 50)
    same = np.zeros(30, np.uint64)
    parts = list(near_hashes(same, same, distance=1))
    assert max(len(part) for part in parts) <= 50
    assert len({tuple(pair) for part in parts for pair in part.tolist()}) == 900


def test_bits_are_counted_as_python_counts_them():
    words = np.array([0, 1, (1 << 64) - 1, 0xDEADBEEFCAFEF00D], np.uint64)
    assert count_bits(words).tolist() == [word.bit_count() for word in words.tolist()]


def save(folder: Path, images: list[np.ndarray]) -> list[Path]:
    paths = [folder / f"{number}.jpg" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image)
    return paths
