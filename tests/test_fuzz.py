"""The fuzzer (`make fuzz`), a few hundred rounds of it; and that it sees a fault, and repeats itself."""

import random

import fuzz
import pytest


def test_changed_tables_specs_and_pictures_are_read_or_refused(tmp_path):
    done, faults = fuzz.fuzz(tmp_path, rounds=600)
    assert done == 600
    assert faults == []


def test_another_error_than_ours_is_a_fault_and_its_file_is_kept(tmp_path, monkeypatch):
    def stumble(path):
        raise KeyError("no such key")

    monkeypatch.setattr(fuzz, "read_table", stumble)
    _, faults = fuzz.fuzz(tmp_path, rounds=2)
    assert len(faults) == 1
    assert "round 0, table" in faults[0]
    assert "KeyError" in faults[0]
    assert [path.stem for path in tmp_path.glob("round-*")] == ["round-0"]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_makes_the_same_changes_again(seed):
    made = [fuzz.changed(b"a,b\n1,2\n" * 50, random.Random(seed), other=b"x" * 90) for _ in range(2)]
    assert made[0] == made[1] != b"a,b\n1,2\n" * 50
