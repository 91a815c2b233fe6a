"""Batches on their way to the device. Streams of CUDA cannot be had here: what is tested with stand-ins is the order of things."""

import contextlib
import dataclasses

import pytest
import torch

from attrcls.data import prefetch
from attrcls.types import Batch


def batch(number):
    one = torch.full((2,), number)
    return Batch(rows=one, images=one, targets={"mask": one}, present={"mask": one > 0}, strong=one, numbers={"mask": one})


def test_without_streams_each_batch_is_taken_when_it_is_asked_for():
    taken = []

    def batches():
        for number in range(3):
            taken.append(number)
            yield batch(number)

    found = prefetch.on_device(batches(), torch.device("cpu"))
    assert int(next(found).rows[0]) == 0
    assert taken == [0]
    assert [int(each.rows[0]) for each in found] == [1, 2]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_on_cuda_one_batch_is_copied_ahead_and_work_waits_for_its_own_copy_alone(monkeypatch, count):
    told = []

    class Stream:
        def __init__(self, device=None):
            self.copies = 0

        def record_event(self):
            self.copies += 1
            told.append(f"copied {self.copies - 1}")
            return self.copies - 1

        def wait_event(self, event):
            told.append(f"wait for {event}")

    computing = Stream()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: computing)
    monkeypatch.setattr(Batch, "to", lambda self, device: self)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: told.append("held") if stream is computing else None)
    rows = []
    for each in prefetch.on_device(map(batch, range(count)), torch.device("cuda")):
        rows.append(int(each.rows[0]))
        told.append(f"work on {rows[-1]}")
    assert rows == list(range(count))
    # Each field has one tensor; what a picture is mixed with is made where it is used.
    assert told.count("held") == (len(dataclasses.fields(Batch)) - 1) * count
    if count == 3:
        assert [what for what in told if what != "held"] == [
            "copied 0", "copied 1", "wait for 0", "work on 0", "copied 2", "wait for 1", "work on 1", "wait for 2", "work on 2",
        ]  # fmt: skip
