"""`--compile`: the trunk through torch.compile, in place, so that weights keep their names."""

import contextlib
from collections.abc import Iterator

import torch

from attrcls.errors import AttrclsError, UserError
from attrcls.model.network import Network
from attrcls.task import Task

_BACKEND = "inductor"


def check_compiling(device: torch.device) -> None:
    """Compile a few operations: a compiler that is missing shows only when it is needed, which must not be after the data was read.

    Raises:
        AttrclsError: nothing can be compiled on this machine.
    """
    with advise_on_compiling():
        torch.compile(_few_operations, backend=_BACKEND)(torch.ones(8, device=device))


def check_compiled(task: Task, device: torch.device) -> None:
    """As `check_compiling`, of a task's trunk. Raises as it, and:
    UserError: the trunk is another one at every batch.
    """
    if task.rsg:
        raise UserError("--compile: a trunk in which rsg makes samples is another one at every batch; leave one of them out")
    check_compiling(device)


def _few_operations(values: torch.Tensor) -> torch.Tensor:
    return values * 2 + 1


def compile_trunk(network: Network) -> None:
    """Have the trunk compiled when it first runs, and again for another mode or batch size; a copy of it is not compiled."""
    # Without `dynamic`: sizes of batches differ by one, which the second of them makes torch allow for.
    network.trunk.compile(backend=_BACKEND)


@contextlib.contextmanager
def advise_on_compiling() -> Iterator[None]:
    """Turn a failure to compile into advice.

    Raises:
        AttrclsError: torch could not compile inside the block.
    """
    try:
        yield
    except Exception as error:
        # Its kinds are private to torch, and importing them takes a second.
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        # The first line names the backend, the next says what ails it.
        reason = " ".join([line.strip() for line in str(error).splitlines() if line.strip()][:2]) or type(error).__name__
        raise AttrclsError(f"--compile: torch cannot compile here ({reason}); install a C++ compiler, or leave --compile out") from error
