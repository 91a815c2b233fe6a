"""`--cache device` on the command line, with the CPU as the device."""

import pytest
from conftest import stopped_after

import attrcls.data.device_cache as device_cache
from attrcls.data.loader import Pictures

FILES = ("metrics.csv", "splits.csv", "validation.csv", "model/weights.safetensors")


def train(cli, squares, out, *options):
    return cli(
        "train", squares / "squares.task.yaml", "--out", out, "--set", "trunk.name=squeezenet1_1", "--workers", 0, "--device", "cpu", *options
    )  # fmt: skip


def contents(run):
    return [(run / name).read_bytes() for name in FILES]


def test_without_augmentation_it_gives_the_ordinary_bytes_and_decodes_each_picture_once(cli, few_squares, tmp_path, monkeypatch):
    real, seen = Pictures.read, []
    monkeypatch.setattr(Pictures, "read", lambda self, row: seen.append(self.paths[row].name) or real(self, row))
    kept = train(cli, few_squares, tmp_path / "kept", "--set", "augment=none", "--cache", "device")
    assert kept.code == 0, kept.err
    assert "cache  cpu: 0.0 GB for 12 pictures, augmented there in batches" in kept.err
    assert len(seen) == 12
    assert train(cli, few_squares, tmp_path / "plain", "--set", "augment=none").code == 0
    assert contents(tmp_path / "kept") == contents(tmp_path / "plain")


def test_with_augmentation_a_resumed_run_equals_one_that_was_not_stopped_with_any_number_of_workers(cli, few_squares, tmp_path, monkeypatch):
    options = ("--cache", "device", "--set", "augment=strong", "--balance", "colour", "--set", "balance.repeat_augment=zoom")
    options = (*options, "--set", "scarce={small: {where: {size: small}, augment: geometric}}")
    whole = train(cli, few_squares, tmp_path / "whole", *options)
    assert whole.code == 0, whole.err
    monkeypatch.setattr(device_cache, "_DECODE_BATCH", 3)
    with stopped_after(1):
        assert train(cli, few_squares, tmp_path / "run", *options, "--workers", 2).code == 130
    without = train(cli, few_squares, tmp_path / "run", "--resume", *options[2:])
    assert without.code == 2
    assert "--resume: --cache was 'device' and is now None" in without.err
    assert train(cli, few_squares, tmp_path / "run", "--resume", *options).code == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_cleaning_in_full_decodes_once_for_both_of_its_runs(cli, few_squares, tmp_path, monkeypatch):
    real, seen = Pictures.read, []
    monkeypatch.setattr(Pictures, "read", lambda self, row: seen.append(self.paths[row].name) or real(self, row))
    cleaned = cli(
        "clean-labels", few_squares / "squares.task.yaml", "--full", "--set", "trunk.name=squeezenet1_1", "--workers", 0, "--device", "cpu",
        "--out", tmp_path / "clean", "--cache", "device",
    )  # fmt: skip
    assert cleaned.code == 0, cleaned.err
    assert "cpu: 0.0 GB for" in cleaned.err
    assert len(seen) == len(set(seen))


def test_a_set_that_does_not_fit_is_refused_with_its_size_before_it_is_decoded(cli, few_squares, tmp_path, monkeypatch):
    monkeypatch.setattr(device_cache, "free_memory", lambda device: device_cache.RESERVE_BYTES + 12 * 36 * 36 * 3 - 1)
    monkeypatch.setattr(Pictures, "read", lambda self, row: pytest.fail("a picture was decoded"))
    refused = train(cli, few_squares, tmp_path / "run", "--cache", "device")
    assert refused.code == 2
    assert "--cache device: 12 pictures at 36 px need 0.0 GB, and cpu has 2.1 GB free, 2.1 GB of them for the network; use --cache DIR" in refused.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_an_operation_that_it_does_not_know_is_refused_by_name(cli, few_squares, tmp_path):
    refused = train(cli, few_squares, tmp_path / "run", "--cache", "device", "--set", "augment=[{name: CLAHE}]")
    assert refused.code == 2
    assert "augment: --cache device cannot do CLAHE; use --cache DIR" in refused.err
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_folder_called_device_is_named_with_a_dot(cli, few_squares, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train(cli, few_squares, tmp_path / "run", "--cache", "./device", "--epochs", 1).code == 0
    assert (tmp_path / "device" / "36-stretch.pixels").exists()


def test_a_picture_that_went_bad_after_the_check_is_named_as_ever(cli, few_squares, tmp_path, monkeypatch):
    from attrcls.errors import ImageError

    def read(self, row):
        raise ImageError("a web page, not an image")

    monkeypatch.setattr(Pictures, "read", read)
    refused = train(cli, few_squares, tmp_path / "run", "--cache", "device")
    assert refused.code == 2
    assert "a web page, not an image; it was readable before" in refused.err
