"""`--cache DIR` on the command line: the same results sooner, or the same results."""

import errno
import os
import shutil
import subprocess
import sys

import pytest
from conftest import stopped_after
from test_disk import FULL, READ_ONLY, Disk, watched

from attrcls.data.loader import Pictures

FILES = ("metrics.csv", "splits.csv", "validation.csv", "model/weights.safetensors")


def train(cli, squares, out, *options):
    return cli("train", squares / "squares.task.yaml", "--out", out, "--set", "trunk.name=squeezenet1_1", "--workers", 0, *options)


def contents(run):
    return [(run / name).read_bytes() for name in FILES]


@pytest.fixture(scope="module")
def plain(few_squares, tmp_path_factory):
    """A training without a cache."""
    from attrcls.runs.train import run_train

    task = str(few_squares / "squares.task.yaml")
    return contents(run_train(task, out=tmp_path_factory.mktemp("plain") / "run", workers=0, overrides=["trunk.name=squeezenet1_1"]))


@pytest.fixture
def read(monkeypatch):
    """The pictures that were decoded for a batch since."""
    real, seen = Pictures.read, []
    monkeypatch.setattr(Pictures, "read", lambda self, row: seen.append(self.paths[row].name) or real(self, row))
    return seen


def test_it_gives_the_same_bytes_when_it_is_built_and_when_it_is_there_with_any_number_of_workers(cli, few_squares, plain, tmp_path, read):
    built = train(cli, few_squares, tmp_path / "built", "--cache", tmp_path / "kept")
    assert built.code == 0, built.err
    assert f"cache  {tmp_path / 'kept'}: 0.0 MB for 12 pictures, 0 of them in it already" in built.err
    assert len(read) == 12
    helped = train(cli, few_squares, tmp_path / "helped", "--cache", tmp_path / "kept", "--workers", 2)
    assert f"cache  {tmp_path / 'kept'}: 0.0 MB for 12 pictures, 12 of them in it already" in helped.err
    assert train(cli, few_squares, tmp_path / "both", "--cache", tmp_path / "another", "--workers", 2).code == 0
    assert contents(tmp_path / "built") == contents(tmp_path / "helped") == contents(tmp_path / "both") == plain
    assert len(read) == 12


@pytest.mark.parametrize("first", [False, True])
def test_a_resume_may_begin_or_cease_to_use_it(cli, few_squares, plain, tmp_path, first):
    options = ("--cache", tmp_path / "kept")
    with stopped_after(1):
        assert train(cli, few_squares, tmp_path / "run", *(options if first else ())).code == 130
    assert train(cli, few_squares, tmp_path / "run", "--resume", *(() if first else options)).code == 0
    assert contents(tmp_path / "run") == plain


def test_what_it_holds_is_not_checked_again_and_what_changed_since_is(cli, few_squares, tmp_path, monkeypatch):
    import attrcls.data.check as check

    shutil.copytree(few_squares, tmp_path / "squares")
    assert train(cli, tmp_path / "squares", tmp_path / "run", "--cache", tmp_path / "kept").code == 0
    real, seen = check.read_image, []
    monkeypatch.setattr(check, "read_image", lambda path, **options: seen.append(path.name) or real(path, **options))
    assert train(cli, tmp_path / "squares", tmp_path / "second", "--cache", tmp_path / "kept").code == 0
    assert seen == []
    (tmp_path / "squares" / "images" / "p01_0.jpg").write_bytes(b"<html>")
    broken = train(cli, tmp_path / "squares", tmp_path / "third", "--cache", tmp_path / "kept")
    assert broken.code == 2
    assert "p01_0.jpg: a web page, not an image" in broken.err
    assert seen == ["p01_0.jpg"]


def test_a_changed_and_a_damaged_picture_train_as_without_it(cli, few_squares, tmp_path):
    shutil.copytree(few_squares, tmp_path / "squares")
    assert train(cli, tmp_path / "squares", tmp_path / "run", "--cache", tmp_path / "kept").code == 0
    images = tmp_path / "squares" / "images"
    shutil.copy(images / "p00_1.jpg", images / "p00_0.jpg")
    with (tmp_path / "kept" / "36-stretch.pixels").open("r+b") as file:
        file.seek(4096 * 3 + 17)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 64]))
    assert train(cli, tmp_path / "squares", tmp_path / "with", "--cache", tmp_path / "kept").code == 0
    assert train(cli, tmp_path / "squares", tmp_path / "without").code == 0
    assert contents(tmp_path / "with") == contents(tmp_path / "without") != contents(tmp_path / "run")


def test_cleaning_in_full_finds_the_same_labels_with_it(cli, few_squares, tmp_path, read):
    command = ("clean-labels", few_squares / "squares.task.yaml", "--full", "--set", "trunk.name=squeezenet1_1", "--workers", 0)
    assert cli(*command, "--out", tmp_path / "plain").code == 0
    read.clear()
    cleaned = cli(*command, "--out", tmp_path / "kept", "--cache", tmp_path / "pixels")
    assert cleaned.code == 0, cleaned.err
    assert "pictures, 0 of them in it already" in cleaned.err
    assert len(read) == len(set(read))
    for name in ("verdicts.csv", "aum_values.csv"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "kept" / name).read_bytes()
    assert str(tmp_path) not in (tmp_path / "kept" / "status.json").read_text()


def test_frozen_trunks_say_that_they_do_not_need_it(cli, few_squares, tmp_path):
    frozen = train(cli, few_squares, tmp_path / "run", "--freeze", "--epochs", 1, "--cache", tmp_path / "kept")
    assert frozen.code == 0
    assert "not used: a frozen trunk's features are kept" in frozen.err
    fast = cli(
        "clean-labels", few_squares / "squares.task.yaml", "--fast", "--out", tmp_path / "clean", "--cache", tmp_path / "other",
        "--set", "trunk.name=squeezenet1_1", "--workers", 0,
    )  # fmt: skip
    assert fast.code == 0
    assert "--cache is for --full" in fast.err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--cache", "labels.csv"), "labels.csv: expected a folder, found a file; name another one"),
        (("--cache", "labels.csv/kept"), "labels.csv/kept: expected a folder, found a file; name another one"),
        (("--cache", "kept", "--cache-size", "much"), "--cache-size: expected a size such as 20GB or 500MB, found 'much'"),
    ],
)
@pytest.mark.parametrize("command", ["train", "clean-labels"])
def test_a_cache_that_cannot_be_is_refused_before_anything_is_read(cli, few_squares, tmp_path, monkeypatch, command, options, told):
    monkeypatch.chdir(few_squares)
    refused = cli(command, "squares.task.yaml", "--out", tmp_path / "run", *options)
    assert refused.code == 2
    assert told in refused.err
    assert not (tmp_path / "run").exists()
    assert not (few_squares / "kept").exists()


@pytest.mark.parametrize("code", [errno.EACCES, READ_ONLY])
@pytest.mark.parametrize("write", [0, 1])
def test_a_folder_that_may_not_be_written_is_refused(cli, few_squares, tmp_path, code, write):
    """As the folder is made, and as the first file in it is."""
    (tmp_path / "kept").mkdir()
    with watched(Disk(tmp_path / "kept", fails_at=write, code=code, stays=False)):
        refused = train(cli, few_squares, tmp_path / "run", "--cache", tmp_path / "kept" / "deep")
    assert refused.code == 2
    assert f"--cache {tmp_path / 'kept' / 'deep'}: cannot be written ({os.strerror(code).lower()}); name another folder" in refused.err


@pytest.mark.parametrize("write", range(4))
def test_on_a_full_disk_training_goes_on_without_it_and_says_so(cli, few_squares, plain, tmp_path, write):
    """The folder, the lock, and the two files."""
    (tmp_path / "kept").mkdir()
    with watched(Disk(tmp_path / "kept", fails_at=write, code=FULL)) as disk:
        done = train(cli, few_squares, tmp_path / "run", "--cache", tmp_path / "kept" / "deep")
    assert [os.path.basename(name) for name in disk.writes[:4]][: write + 1] == ["deep", ".lock", "36-stretch.index", "36-stretch.pixels"][
        : write + 1
    ]
    assert done.code == 0, done.err
    assert "no space left on device; pictures that are not in it are decoded each time" in done.err
    assert done.err.count("warning: --cache") == 1
    assert contents(tmp_path / "run") == plain


# A child whose files the kernel itself lets grow to so many bytes.
LIMITED = """
import resource, sys
from attrcls.cli.app import main
sys.argv = ["attrcls", *sys.argv[1:]]
import attrcls.data.pixelfile as pixelfile
real = pixelfile.PixelFile.put
def put(self, *arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
    try:
        return real(self, *arguments, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pixelfile.PixelFile.put = put
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_the_kernels_refusal_met_by_a_worker_reaches_the_screen_and_training_ends_as_without_it(few_squares, plain, tmp_path):
    command = [
        sys.executable, "-c", LIMITED, "train", few_squares / "squares.task.yaml", "--out", tmp_path / "run", "--workers", "2",
        "--set", "trunk.name=squeezenet1_1", "--cache", tmp_path / "kept",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "file too large; pictures that are not in it are decoded each time" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(tmp_path / "run") == plain


def test_two_trainings_may_build_it_at_once(few_squares, plain, tmp_path):
    commands = [
        [sys.executable, "-m", "attrcls", "train", few_squares / "squares.task.yaml", "--out", tmp_path / name, "--workers", "1",
         "--set", "trunk.name=squeezenet1_1", "--cache", tmp_path / "kept"]
        for name in ("one", "two")
    ]  # fmt: skip
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for command in commands]
    for one in both:
        told = one.communicate()[1]
        assert one.returncode == 0, told
        assert "warning: --cache" not in told
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == plain
    assert (tmp_path / "kept" / "36-stretch.index").stat().st_size == 12 * 48
