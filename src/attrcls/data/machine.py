"""What this process may use of its machine: cores, and memory. A container's limits count, not only what the host has."""

import math
import os
import shutil
from pathlib import Path

import torch

MAX_WORKERS = 16
# Batches that each worker process decodes ahead.
PREFETCH = 4
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int | None:
    """Bytes that a device has free now; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    # Of mps, too, whose memory is the computer's.
    found = [value for value in (_available(), _left_by_cgroup()) if value is not None]
    return min(found) if found else None


def _available() -> int | None:
    for line in _text(_PROC / "meminfo").splitlines():
        name, _, rest = line.partition(":")
        if name == "MemAvailable":
            return int(rest.split()[0]) * 1024
    return None


def _left_by_cgroup() -> int | None:
    left = []
    for folder in _cgroups():
        most, used = _text(folder / "memory.max").strip(), _text(folder / "memory.current").strip()
        if most.isdecimal() and used.isdecimal():
            left.append(max(0, int(most) - int(used)))
    return min(left) if left else None


def cores() -> int:
    """The cores that this process may use: those it may run on, or as many as its cgroup's share of time is worth, where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [_text(folder / "cpu.max") for folder in _cgroups()]
    # Version 1 of cgroups.
    limits.append(f"{_text(_CGROUP / 'cpu' / 'cpu.cfs_quota_us').strip()} {_text(_CGROUP / 'cpu' / 'cpu.cfs_period_us').strip()}")
    return max(1, min([allowed, *(quota for text in limits if (quota := quota_cores(text)) is not None)]))


def quota_cores(limit: str) -> int | None:
    """What `cpu.max` grants, `QUOTA PERIOD`, in cores, begun ones counted; None without a limit."""
    quota, _, period = limit.strip().partition(" ")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return max(1, math.ceil(int(quota) / int(period)))


def workers_for(cores: int, *, batch_bytes: int = 0, shared: int | None = None) -> int:
    """How many processes decode: one per core, up to a bound, and no more than have room in `shared` bytes of shared memory for the
    batches that they decode ahead. 0 is the process itself, which shares nothing."""
    most = min(MAX_WORKERS, cores)
    if not batch_bytes or shared is None:
        return most
    # Two more: the batch that is worked on, and the one that is on its way.
    return max(0, min(most, (shared // batch_bytes - 2) // PREFETCH))


def shared_memory() -> int | None:
    """Bytes that are free for what processes share; None where that is no place of its own. Containers often have but 64 MB."""
    try:
        return shutil.disk_usage("/dev/shm").free  # noqa: S108 (nothing is written there by name)
    except OSError:
        return None


def _cgroups() -> list[Path]:
    """The folders of this process's cgroup of version 2 and of those above it, whose limits hold as well; in a container it is the root."""
    own = next((line[3:].strip() for line in _text(_PROC / "self" / "cgroup").splitlines() if line.startswith("0::")), "/")
    folder = _CGROUP / own.lstrip("/")
    return [each for each in (folder, *folder.parents) if each.is_relative_to(_CGROUP)]


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
