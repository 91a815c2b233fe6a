import errno
import multiprocessing
import os
import pickle
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from attrcls.data import cache as cache_module
from attrcls.data import pixelfile
from attrcls.data.cache import CachedPictures, open_cache
from attrcls.data.loader import Pictures
from attrcls.errors import ImageError, UserError

PX = 18
RECORD = 1024


def draw(path: Path, *, seed: int) -> None:
    """A BMP: its size in bytes says nothing of its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.fixture
def pictures(tmp_path) -> Pictures:
    paths = [tmp_path / "pictures" / f"{number}.bmp" for number in range(6)]
    for seed, path in enumerate(paths):
        draw(path, seed=seed)
    return Pictures(paths, None, PX, "stretch")


def opened(tmp_path, *, size="20GB"):
    cache = open_cache(tmp_path / "kept", size)
    assert cache is not None
    return cache


def kept(tmp_path, pictures, **options) -> CachedPictures:
    """As another process would open it."""
    reader = opened(tmp_path, **options).keep(pictures)
    assert isinstance(reader, CachedPictures)
    return reader


def read_all(reader) -> np.ndarray:
    return np.stack([reader.read(row) for row in range(len(reader.paths))])


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the pictures that were decoded since."""
    real, seen = Pictures.read, []
    monkeypatch.setattr(Pictures, "read", lambda self, row: seen.append(self.paths[row].name) or real(self, row))
    return seen


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("boxed", [False, True])
def test_pictures_are_decoded_once_and_the_same_to_the_bit_ever_after(tmp_path, pictures, decoded, fit, boxed):
    boxes = np.array([[2, 3, 20, 25]] * 5 + [[np.nan] * 4]) if boxed else None
    pictures = Pictures(pictures.paths, boxes, PX, fit)
    plain = read_all(pictures)
    decoded.clear()
    assert np.array_equal(read_all(kept(tmp_path, pictures)), plain)
    assert len(decoded) == 6
    again = read_all(kept(tmp_path, pictures))
    assert np.array_equal(again, plain)
    assert len(decoded) == 6


def test_what_a_reader_does_to_its_pixels_stays_with_it(tmp_path, pictures):
    reader = kept(tmp_path, pictures)
    plain = read_all(pictures)
    for _ in range(3):
        reader.read(0)[:] = 0
    assert np.array_equal(read_all(reader), plain)


@pytest.mark.parametrize("changes", [{"px": 20}, {"fit": "crop"}, {"boxes": np.array([[0, 0, 20, 20.0]] * 6)}])
def test_pictures_prepared_in_another_way_are_kept_apart(tmp_path, pictures, decoded, changes):
    others = Pictures(pictures.paths, changes.get("boxes"), changes.get("px", PX), changes.get("fit", "stretch"))
    plain = read_all(pictures), read_all(others)
    for _ in range(2):
        assert np.array_equal(read_all(kept(tmp_path, pictures)), plain[0])
        assert np.array_equal(read_all(kept(tmp_path, others)), plain[1])
    assert len(decoded) == 4 * 6


def test_a_row_without_a_box_shares_its_pixels_with_the_whole_picture(tmp_path, pictures, decoded):
    read_all(kept(tmp_path, pictures))
    read_all(kept(tmp_path, Pictures(pictures.paths, np.full((6, 4), np.nan), PX, "stretch")))
    assert len(decoded) == 6


@pytest.mark.parametrize("change", ["mtime", "size"])
def test_a_picture_that_changed_is_decoded_anew_also_by_who_reads_already(tmp_path, pictures, decoded, change):
    reader = kept(tmp_path, pictures)
    read_all(reader)
    before = pictures.paths[2].stat()
    draw(pictures.paths[2], seed=99)
    if change == "size":
        with pictures.paths[2].open("ab") as file:
            file.write(b"more")
    os.utime(pictures.paths[2], ns=(before.st_atime_ns, before.st_mtime_ns + (change == "mtime")))
    assert not opened(tmp_path).holds(pictures)[2]
    fresh = read_all(pictures)
    decoded.clear()
    assert np.array_equal(read_all(reader), fresh)
    assert np.array_equal(read_all(kept(tmp_path, pictures)), fresh)
    assert decoded == ["2.bmp"]


def test_another_version_of_a_decoder_decodes_anew(tmp_path, pictures, decoded, monkeypatch):
    read_all(kept(tmp_path, pictures))
    monkeypatch.setattr(pixelfile, "_STAMPED", b"1 of another day")
    assert not opened(tmp_path).holds(pictures).any()
    for _ in range(2):
        read_all(kept(tmp_path, pictures))
    assert len(decoded) == 12
    assert (tmp_path / "kept" / f"{PX}-stretch.pixels").stat().st_size == 6 * RECORD


def test_a_picture_that_vanished_is_missing_as_without_a_cache(tmp_path, pictures):
    reader = kept(tmp_path, pictures)
    read_all(reader)
    pictures.paths[0].unlink()
    with pytest.raises(ImageError, match="no such file") as caught:
        reader.read(0)
    assert caught.value.status == "missing"


def flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


DAMAGES = {
    "first pixel": lambda index, pixels: flip(pixels, 0),
    "last pixel": lambda index, pixels: flip(pixels, PX * PX * 3 - 1),
    "padding": lambda index, pixels: flip(pixels, RECORD - 1),
    "key": lambda index, pixels: flip(index, 0),
    "stamp": lambda index, pixels: flip(index, 16),
    "seal": lambda index, pixels: flip(index, 47),
    "pixels cut short": lambda index, pixels: os.truncate(pixels, RECORD // 2),
    "index cut within an entry": lambda index, pixels: os.truncate(index, 30),
    "no index": lambda index, pixels: index.unlink(),
    "no pixels": lambda index, pixels: pixels.unlink(),
    "zeros": lambda index, pixels: pixels.write_bytes(bytes(6 * RECORD)),
    "two pictures swapped": lambda index, pixels: pixels.write_bytes(
        pixels.read_bytes()[RECORD : 2 * RECORD] + pixels.read_bytes()[:RECORD] + pixels.read_bytes()[2 * RECORD :]
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed_and_mended(tmp_path, pictures, decoded, damage):
    plain = read_all(pictures)
    read_all(kept(tmp_path, pictures))
    DAMAGES[damage](*(tmp_path / "kept" / f"{PX}-stretch.{kind}" for kind in ("index", "pixels")))
    decoded.clear()
    assert np.array_equal(read_all(kept(tmp_path, pictures)), plain)
    assert "0.bmp" in decoded
    decoded.clear()
    assert np.array_equal(read_all(kept(tmp_path, pictures)), plain)
    assert decoded == []


def test_damage_that_comes_while_it_is_read_is_noticed(tmp_path, pictures):
    reader, plain = kept(tmp_path, pictures), read_all(pictures)
    read_all(reader)
    with (tmp_path / "kept" / f"{PX}-stretch.pixels").open("r+b") as file:
        file.truncate(100)
        assert np.array_equal(read_all(reader), plain)
        file.seek(RECORD + 5)
        file.write(b"x")
    assert np.array_equal(read_all(reader), plain)


@pytest.mark.parametrize("at", range(0, PX * PX * 3, 131))
def test_no_flipped_byte_of_the_pixels_passes(tmp_path, pictures, at, decoded):
    reader = kept(tmp_path, pictures)
    reader.read(0)
    flip(tmp_path / "kept" / f"{PX}-stretch.pixels", at)
    decoded.clear()
    kept(tmp_path, pictures).read(0)
    assert decoded == ["0.bmp"]


def _build(folder, pictures, wait, found):
    """What a process of its own does."""
    reader = open_cache(folder, "20GB").keep(pictures)
    wait.wait()
    found.put(read_all(reader))


def test_processes_that_build_it_at_once_get_the_same_pixels_and_leave_each_once(tmp_path, pictures):
    context = multiprocessing.get_context("fork")
    wait, found = context.Barrier(4), context.Queue()
    builders = [context.Process(target=_build, args=(tmp_path / "kept", pictures, wait, found)) for _ in range(4)]
    for builder in builders:
        builder.start()
    results = [found.get(timeout=120) for _ in builders]
    for builder in builders:
        builder.join()
    plain = read_all(pictures)
    assert all(np.array_equal(result, plain) for result in results)
    assert (tmp_path / "kept" / f"{PX}-stretch.index").stat().st_size == 6 * 48
    assert opened(tmp_path).holds(pictures).all()


def test_a_process_waits_while_another_gives_out_places(tmp_path, pictures):
    context = multiprocessing.get_context("fork")
    wait, found = context.Barrier(1), context.Queue()
    cache = opened(tmp_path)
    builder = context.Process(target=_build, args=(tmp_path / "kept", pictures, wait, found))
    with cache._locked():
        builder.start()
        time.sleep(0.2)
        assert not (tmp_path / "kept" / f"{PX}-stretch.index").exists()
    assert np.array_equal(found.get(timeout=120), read_all(pictures))
    builder.join()


def test_a_worker_that_was_not_forked_opens_the_files_for_itself(tmp_path, pictures, decoded):
    reader = pickle.loads(pickle.dumps(kept(tmp_path, pictures)))
    read_all(reader)
    assert opened(tmp_path).holds(pictures).all()
    read_all(reader)
    assert len(decoded) == 6


def test_it_grows_to_its_size_and_no_further_whatever_else_it_holds(tmp_path, pictures, decoded):
    others = Pictures(pictures.paths, None, PX, "crop")
    read_all(kept(tmp_path, Pictures(pictures.paths[:2], None, PX, "crop")))
    cache = opened(tmp_path, size="5.2KB")
    plain = read_all(pictures)
    decoded.clear()
    reader = cache.keep(pictures)
    for _ in range(2):
        assert np.array_equal(read_all(reader), plain)
    assert decoded == [f"{number}.bmp" for number in (0, 1, 2, 3, 4, 5, 3, 4, 5)]
    assert "for 3 pictures, 0 of them in it already; 3 more are decoded each time: it may take 0.0 MB (--cache-size)" in cache.told()
    assert isinstance(cache.keep(others), CachedPictures)
    assert sum(file.stat().st_size for file in (tmp_path / "kept").glob("*.pixels")) == 5 * RECORD
    assert cache.trouble() is None


def test_it_leaves_some_of_its_disk_free(tmp_path, pictures, decoded, monkeypatch):
    free = cache_module.RESERVE_BYTES + 2 * RECORD + 100
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 10**12 - free, free))
    cache = opened(tmp_path)
    read_all(cache.keep(pictures))
    assert "for 2 pictures, 0 of them in it already; 4 more are decoded each time" in cache.told()
    assert int(opened(tmp_path).holds(pictures).sum()) == 2


def test_it_tells_how_large_it_gets_and_what_is_in_it_once_per_picture(tmp_path, pictures):
    twice = Pictures([*pictures.paths, *pictures.paths], None, PX, "stretch")
    read_all(kept(tmp_path, Pictures(pictures.paths[:4], None, PX, "stretch")))
    cache = opened(tmp_path)
    cache.keep(twice)
    cache.keep(twice)
    assert cache.told() == f"{tmp_path / 'kept'}: 0.0 MB for 6 pictures, 4 of them in it already"


def test_a_disk_that_fills_up_meanwhile_stops_the_writing_and_nothing_else(tmp_path, pictures, decoded, monkeypatch):
    cache = opened(tmp_path)
    reader, plain = cache.keep(pictures), read_all(pictures)
    reader.read(0)
    monkeypatch.setattr(cache_module, "RESERVE_BYTES", 10**18)
    assert np.array_equal(read_all(reader), plain)
    trouble = cache.trouble()
    assert trouble and "of its disk is free; pictures that are not in it are decoded each time" in trouble
    assert cache.trouble() is None
    assert opened(tmp_path).holds(pictures).tolist() == [True] + [False] * 5


@pytest.mark.parametrize("how", ["refused", "short"])
@pytest.mark.parametrize("write", [0, 1])
def test_a_write_that_fails_stops_the_writing_and_nothing_else(tmp_path, pictures, monkeypatch, how, write):
    """The pixels, and the entry that says they are whole."""
    cache, plain, real, writes = opened(tmp_path), read_all(pictures), os.pwrite, []
    reader = cache.keep(pictures)
    reader.read(0)

    def fail(handle, data, at):
        writes.append(at)
        if len(writes) <= write:
            return real(handle, data, at)
        if how == "short" and len(writes) == write + 1:
            return real(handle, bytes(data)[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", fail)
    assert np.array_equal(read_all(reader), plain)
    assert len(writes) == write + (2 if how == "short" else 1)
    assert "no space left on device" in (cache.trouble() or "")
    assert np.array_equal(read_all(kept(tmp_path, Pictures(pictures.paths[:1], None, PX, "stretch"))), plain[:1])
    monkeypatch.setattr(os, "pwrite", real)
    assert np.array_equal(read_all(kept(tmp_path, pictures)), plain)
    assert opened(tmp_path).holds(pictures).all()


def test_a_full_disk_that_took_half_an_entry_leaves_no_entry_askew(tmp_path, pictures, monkeypatch):
    real, plain, writes = os.pwrite, read_all(pictures), []

    def fail(handle, data, at):
        writes.append(at)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, bytes(data)[:100], at)

    monkeypatch.setattr(os, "pwrite", fail)
    cache = opened(tmp_path)
    assert np.array_equal(read_all(cache.keep(pictures)), plain)
    assert "no space left" in (cache.trouble() or "")
    monkeypatch.setattr(os, "pwrite", real)
    for _ in range(2):
        assert np.array_equal(read_all(kept(tmp_path, pictures)), plain)
    assert (tmp_path / "kept" / f"{PX}-stretch.index").stat().st_size == 6 * 48


@pytest.mark.parametrize(("size", "number"), [("20GB", 20 * 10**9), ("1.5 tb", 1_500 * 10**9), ("500MB", 5 * 10**8), ("0KB", 0)])
def test_sizes_are_read(size, number):
    assert cache_module._bytes_of(size) == number


@pytest.mark.parametrize("size", ["", "20", "GB", "-1GB", "20 G", "20GiB", "1e9GB", "nanGB"])
def test_other_sizes_are_refused(tmp_path, size):
    with pytest.raises(UserError, match="--cache-size: expected a size such as 20GB"):
        open_cache(tmp_path / "kept", size)
    assert not (tmp_path / "kept").exists()
