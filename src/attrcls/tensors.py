"""Tensors on disk: safetensors files, written whole or not at all. No pickles."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from attrcls.errors import AttrclsError, UserError
from attrcls.files import write_with


def save_tensors(tensors: Mapping[str, Tensor], path: Path, *, metadata: Mapping[str, str]) -> None:
    """A safetensors file, whole or not at all; tensors are copied to the CPU in the plain memory layout."""
    plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    try:
        write_with(path, lambda temporary: safetensors.torch.save_file(plain, temporary, metadata=dict(metadata)))
    except safetensors.SafetensorError as error:
        raise AttrclsError(f"could not write {path}: {error}; the old file, if any, is untouched") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A safetensors file's tensors and header metadata.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; the run is not complete: put the file back, or train again") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"{path}: damaged, or not a safetensors file ({error}); put the file back, or train again") from error


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file's bytes, as they travel to other machines."""
    return bytes(safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in tensors.items()}))


def unpack_tensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of `pack_tensors`."""
    return dict(safetensors.torch.load(data))


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""


def digest_tensors(digest: Digest, tensors: Mapping[str, Tensor]) -> None:
    """Take names and values of tensors into a digest, whatever their device and memory layout."""
    for name, tensor in tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())


def fill(module: nn.Module, tensors: Mapping[str, Tensor], *, strict: bool = True) -> None:
    """`load_state_dict`, also of tensors that came without the versions of the modules that they are from.

    safetensors files do not keep these, and torchvision's mnasnet refuses tensors without one: where there are none, the
    module's own are taken. Raises:
        RuntimeError: as `load_state_dict` does.
    """
    state = OrderedDict(tensors)
    state._metadata = getattr(tensors, "_metadata", None) or module.state_dict()._metadata  # type: ignore[attr-defined]
    module.load_state_dict(state, strict=strict)
