"""Batches on their way to the device: on CUDA the next one is copied while the network works on this one."""

from collections.abc import Iterable, Iterator

import torch

from attrcls.types import Batch


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches in their order, on `device`. Copies run on a stream of their own, one batch ahead; only CUDA has such
    streams, and elsewhere each batch is taken when it is asked for."""
    if device.type == "cuda":
        yield from _ahead(batches, device)
    else:
        for batch in batches:
            yield batch.to(device)


def _ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    # What lies on the device already was made on the stream that computes, and `to` leaves it as it is.
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: tuple[Batch, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(side):
            coming = batch.to(device), side.record_event()
        if waiting is not None:
            yield _arrived(*waiting, device)
        waiting = coming
    if waiting is not None:
        yield _arrived(*waiting, device)


def _arrived(batch: Batch, copied: torch.cuda.Event, device: torch.device) -> Batch:
    """The batch, for work that waits until it is copied; its memory is not given away while that work may still use it."""
    computing = torch.cuda.current_stream(device)
    computing.wait_event(copied)
    for tensor in batch.tensors():
        tensor.record_stream(computing)
    return batch
