"""Device, precision and seeds: the only file that knows lightning-fabric."""

import contextlib
import logging
import platform
import warnings
from collections.abc import Iterator
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import nn

from attrcls.errors import AttrclsError, UserError

# What the rest of the house calls it; only this file knows whose it is.
Engine = Fabric
Precision = Literal["auto", "32", "bf16"]
_FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed"}


def start_engine(*, device: str = "auto", precision: str = "auto") -> Fabric:
    """A Fabric on one device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `auto` precision is bf16 where it is native.

    Raises:
        UserError: the device is not there, or no such precision.
    """
    chosen = _device(device)
    if precision not in {"auto", *_FABRIC_PRECISION}:
        raise UserError(f"--precision: expected auto, 32 or bf16, found {precision!r}")
    if precision == "auto":
        precision = "bf16" if has_native_bf16(chosen) else "32"
    if chosen.type == "cuda":
        # TF32 for what stays in float32: the same ranges, and 10 bits of mantissa, as bf16 autocast has fewer anyway.
        torch.set_float32_matmul_precision("high")
    # Fabric remarks on precision, and on devices that were deliberately not chosen; the run says both itself.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        devices = [chosen.index or 0] if chosen.type == "cuda" else 1
        return Fabric(accelerator=chosen.type, devices=devices, precision=cast("Any", _FABRIC_PRECISION[precision]))


def in_float32(fabric: Fabric) -> Fabric:
    """An engine on the same device in float32, for training on features: mixed precision would round the inputs themselves."""
    return start_engine(device=str(fabric.device), precision="32")


def has_native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 itself: AVX512-BF16 or AMX on a CPU, compute capability 8 on CUDA."""
    if device.type == "cuda":
        return bool(torch.cuda.get_device_capability(device) >= (8, 0))
    if device.type == "cpu" and platform.machine() in {"x86_64", "AMD64"}:
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def place(network: nn.Module, fabric: Fabric) -> nn.Module:
    """The network on the engine's device, with channels last where convolutions run faster so."""
    network.to(fabric.device)
    if fabric.device.type in {"cpu", "cuda"}:
        network.to(memory_format=torch.channels_last)
    return network


def seed_everything(seed: int) -> None:
    """Seed torch's generator: initial weights and dropout. Data randomness is keyed and needs no seed here."""
    torch.manual_seed(seed)


@contextlib.contextmanager
def advise_on_memory(advice: str) -> Iterator[None]:
    """Turn running out of memory into advice: what of the caller's options would need less.

    Raises:
        AttrclsError: memory ran out inside the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if "DataLoader worker" in text or "shared memory" in text:
            raise AttrclsError(
                f"a decoding process was killed or had no shared memory ({text.splitlines()[0]}); try fewer --workers, or 0"
            ) from error
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text or "out of memory" in text):
            raise
        raise AttrclsError(f"out of memory; {advice}") from error


def precision_of(fabric: Fabric) -> str:
    """The engine's precision in Fabric's words, such as `bf16-mixed`."""
    return str(fabric._precision.precision)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device: expected auto, cpu, cuda, cuda:N or mps, found {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices that torch can see; use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: not available here; use --device cpu")
    if device.type not in {"cpu", "cuda", "mps"}:
        raise UserError(f"--device: expected auto, cpu, cuda, cuda:N or mps, found {name!r}")
    return device
