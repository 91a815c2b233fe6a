"""What this process may use of its machine: cores, and memory. A container's limits count, not only what the host has."""

from pathlib import Path

import torch

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
    most, used = (_text(folder / name) for folder in [_own_cgroup()] for name in ("memory.max", "memory.current"))
    return max(0, int(most) - int(used)) if most.strip().isdecimal() and used.strip().isdecimal() else None


def _own_cgroup() -> Path:
    """The folder of this process's cgroup of version 2; inside a container it is the root."""
    for line in _text(_PROC / "self" / "cgroup").splitlines():
        if line.startswith("0::"):
            return _CGROUP / line[3:].strip().lstrip("/")
    return _CGROUP


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
