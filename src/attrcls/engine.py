"""Device, precision, processes and seeds: the only file that knows lightning-fabric.

One process, or several that a launcher (torchrun, srun) started: what they do together is here, and with one process each of these
functions gives back what it was given.
"""

import atexit
import contextlib
import logging
import platform
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn

from attrcls.data.machine import cores
from attrcls.errors import AttrclsError, UserError
from attrcls.launcher import Launch, find_launch
from attrcls.types import Share

# What the rest of the house calls it; only this file knows whose it is.
Engine = Fabric
Precision = Literal["auto", "32", "bf16"]
_FABRIC_PRECISION = {"32": "32-true", "bf16": "bf16-mixed"}
_MadeT = TypeVar("_MadeT")
# How long processes wait for each other, the reading of all tables and pictures included. One that dies is noticed at once: the
# launcher ends the others, and its connections close.
_LONGEST_WAIT = timedelta(hours=6)
# What torch says where a connection to another process is lost.
_LOST = ("gloo", "NCCL", "ProcessGroup", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
_ENDED = "attrcls/ended"


def start_engine(*, device: str = "auto", precision: str = "auto") -> Fabric:
    """A Fabric on one device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; `auto` precision is bf16 where it is native.

    Where a launcher started several processes, each has a device of its own (`cuda` for the local one's number), and they are connected.
    Raises:
        UserError: the device is not there, or no such precision.
    """
    launch = find_launch()
    chosen = _device(device)
    if precision not in {"auto", *_FABRIC_PRECISION}:
        raise UserError(f"--precision: expected auto, 32 or bf16, found {precision!r}")
    if precision == "auto":
        precision = "bf16" if has_native_bf16(chosen) else "32"
    # Torch counts a host's cores, also where a container may use the time of a few of them.
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    if chosen.type == "cuda":
        # TF32 for what stays in float32: the same ranges, and 10 bits of mantissa, as bf16 autocast has fewer anyway.
        torch.set_float32_matmul_precision("high")
    # Fabric remarks on precision, and on devices that were deliberately not chosen; the run says both itself.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if launch:
            return _connected(launch, chosen, _FABRIC_PRECISION[precision])
        devices = [chosen.index or 0] if chosen.type == "cuda" else 1
        # Fabric itself would look for a launcher, and take a batch script of several SLURM tasks for one.
        alone = LightningEnvironment()
        return Fabric(accelerator=chosen.type, devices=devices, precision=cast("Any", _FABRIC_PRECISION[precision]), plugins=[alone])


def in_float32(fabric: Fabric) -> Fabric:
    """An engine on the same device in float32, for training on features: mixed precision would round the inputs themselves."""
    return start_engine(device=str(fabric.device) if fabric.world_size == 1 else fabric.device.type, precision="32")


def share_of(fabric: Fabric) -> Share:
    """Which of how many processes this is."""
    return Share(fabric.global_rank, fabric.world_size)


def set_up(network: nn.Module, optimiser: torch.optim.Optimizer, fabric: Fabric, *, some_rest: bool = False) -> tuple[Any, Any]:
    """Network and optimiser for training: gradients are averaged over the processes (DDP) as they are computed.

    `some_rest`: some parameters that may learn do not yet.
    """
    if isinstance(fabric.strategy, DDPStrategy):
        # Not buffers: the loop shares BatchNorm's statistics, which every process gathers on its own pictures.
        fabric.strategy._ddp_kwargs = {"broadcast_buffers": False, "find_unused_parameters": some_rest}
    with warnings.catch_warnings():
        # torch has a new name for the former, which the oldest torch that will do does not know.
        warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
        return cast("tuple[Any, Any]", fabric.setup(network, optimiser))


def summed(values: Mapping[str, Tensor], fabric: Fabric) -> dict[str, Tensor]:
    """Each tensor's sum over all processes, detached; all are of one type, and have the same shapes everywhere."""
    own = {name: value.detach() for name, value in values.items()}
    if fabric.world_size == 1 or not own:
        return own
    flat = torch.cat([value.reshape(-1) for value in own.values()]).to(fabric.device)
    parts = fabric.all_reduce(flat, reduce_op="sum").split([value.numel() for value in own.values()])  # type: ignore[union-attr]
    return {name: part.view(value.shape).to(value.device) for (name, value), part in zip(own.items(), parts, strict=True)}


def of_first(fabric: Fabric, make: Callable[[], _MadeT]) -> _MadeT:
    """What the first process makes, handed to all: they then decide alike."""
    if fabric.world_size == 1:
        return make()
    return cast("_MadeT", fabric.broadcast(make() if fabric.is_global_zero else None))


@contextlib.contextmanager
def one_first(fabric: Fabric) -> Iterator[None]:
    """One process of each machine goes through the block before the others, which find on its disk what it left there.

    Where it fails, the others stay out: what it has to say is not to be hidden by what they would meet.
    """
    if fabric.local_rank:
        fabric.barrier()
    yield
    if not fabric.local_rank:
        fabric.barrier()


def wait_for_all(fabric: Fabric) -> None:
    """Go on when all processes are here."""
    fabric.barrier()


@contextlib.contextmanager
def notice_lost_processes(fabric: Fabric) -> Iterator[None]:
    """Say what it means when the other processes cannot be reached any more, and end in peace when the launcher ends this one.

    Raises:
        AttrclsError: another process ended inside the block.
    """
    if fabric.world_size == 1:
        yield
        return
    try:
        yield
    except (RuntimeError, AttrclsError, KeyboardInterrupt) as error:
        # The launcher ends the others when one has ended; what is being written is written to its end.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        lost = isinstance(error, distributed.DistError) or any(word in str(error) for word in _LOST)
        if not isinstance(error, RuntimeError) or not lost:
            raise
        raise AttrclsError(_lost(fabric.global_rank, fabric.world_size)) from error


def end_together(exit_code: int) -> tuple[bool, int]:
    """Whether this process is the first to end early, and so the one to say why; and the exit code of the one that is."""
    if not distributed.is_initialized():
        launch = find_launch()
        return launch is None or launch.rank == 0, exit_code
    mine = f"{distributed.get_rank()} {exit_code}"
    try:
        first = distributed.distributed_c10d._get_default_store().compare_set(_ENDED, "", mine).decode()
    except RuntimeError:  # The process that kept the store is gone; with torchrun the launcher keeps it.
        return True, exit_code
    return first == mine, int(first.split()[1])


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


def _connected(launch: Launch, device: torch.device, precision: str) -> Fabric:
    """Join the other processes: nccl between GPUs, gloo between CPUs."""
    if ":" in str(device):
        raise UserError(f"--device {device}: a launcher gives each process a GPU of its own; say --device {device.type}")
    if device.type == "mps":
        raise UserError("--device mps: several processes work on CUDA or on the CPU; use --device cpu")
    if device.type == "cuda" and launch.per_machine > torch.cuda.device_count():
        raise UserError(
            f"expected a GPU for each process, found {launch.per_machine} processes and {torch.cuda.device_count()} GPUs on this machine; "
            "start fewer processes, or use --device cpu"
        )
    strategy = DDPStrategy(timeout=_LONGEST_WAIT)
    fabric = Fabric(
        accelerator=device.type, devices=launch.per_machine, num_nodes=launch.machines, strategy=strategy, precision=cast("Any", precision)
    )
    joined_before = distributed.is_initialized()
    fabric.launch()
    if not joined_before:
        atexit.register(_leave)
        signal.signal(signal.SIGTERM, lambda *_: _end_by_launcher(launch))
    return fabric


def _end_by_launcher(launch: Launch) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise AttrclsError(_lost(launch.rank, launch.processes))


def _lost(rank: int, processes: int) -> str:
    return f"process {rank + 1} of {processes} ends: another process ended, or the launcher stopped all; run the same command again with --resume"


def _leave() -> None:
    with contextlib.suppress(RuntimeError, ValueError, AssertionError):
        distributed.destroy_process_group()


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
