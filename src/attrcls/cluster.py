"""Work spread over the machines of a Ray cluster: the only file that knows Ray.

Blocks of rows and a job go in, what the job makes of each block comes out, as it gets done. A worker that dies is started again and its
block done again, by Ray. Ray is imported when it is asked for, tells nobody of its use, and starts no web page.
"""

import contextlib
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from attrcls.errors import AttrclsError, UserError
from attrcls.graph.extras import require

# What a job makes of one block of rows.
Work = Callable[[pa.Table], pa.Table]
_ADDRESS = re.compile(r"(?P<host>[^\s/:]+|\[[0-9a-f:]+\]):(?P<port>\d{1,5})", re.IGNORECASE)
_CONNECT_SECONDS = 5.0
# A picture that kills every worker that opens it would be tried for ever.
_NO_PROGRESS_SECONDS = 1800
# Of a cluster that is started here: rows wait in it, a model lies in it once, no picture ever does.
_STORE_BYTES = 256 << 20
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else each actor is remarked upon, in the driver's terminal.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # `uv run` would have the folder that it stands in, pictures and all, sent to every machine.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}
# A cluster for this machine alone listens to this machine alone.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_BLOCK, _FAULT, _EXIT_CODE = "block", "fault", "exit_code"


class Job(Protocol):
    """What workers do, as it travels to them: once, by Ray's object store, whatever their number."""

    def start(self) -> Work:
        """Make ready, in a worker; called once in each process."""


@dataclass
class Cluster:
    """A cluster that was joined, with so many workers of one CPU each, and `gpus` of a GPU; `said` is what Ray said of trouble."""

    workers: int
    gpus: float = 0.0
    said: list[str] = field(default_factory=list)

    def spread(self, job: Job, blocks: Sequence[pa.Table]) -> Iterator[pa.Table]:
        """What the job makes of every block, in the order in which they get done.

        Raises:
            UserError, AttrclsError: as the job did; or a worker failed otherwise, or no block was done for half an hour.
        """
        import ray.data

        _quieten(ray.data.DataContext.get_current())
        # A row is a block, packed: Ray starts tasks of its own to look at tables that it is given.
        rows = ray.data.from_items([{_BLOCK: _packed(block)} for block in blocks], override_num_blocks=len(blocks)).map_batches(
            _Worker, fn_constructor_args=(job,), batch_size=1, batch_format="pyarrow", num_cpus=1, num_gpus=self.gpus or None,
            compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(blocks))),
        )  # fmt: skip
        made = iter(rows.iter_rows())
        while True:
            try:
                row = next(made, None)
            except Exception as error:  # Ray wraps what a worker raised in exceptions of many kinds
                raise AttrclsError(f"the cluster failed: {_last_line(error)}; what is done is kept: go on with --resume") from error
            if row is None:
                return
            if row[_FAULT]:
                raise (UserError if row[_EXIT_CODE] == UserError.exit_code else AttrclsError)(row[_FAULT])
            yield _unpacked(row[_BLOCK])

    @property
    def warnings(self) -> list[str]:
        """What the user should know of how it went."""
        if not self.said:
            return []
        return [f"Ray told {len(self.said)} times of a worker that died or a block that was done again; the last: {_last_line(self.said[-1])}"]


@contextlib.contextmanager
def joined_cluster(address: str, *, workers: int | None = None, gpu: bool = False) -> Iterator[Cluster]:
    """Join the cluster at `HOST:PORT` or `auto` (the one that this machine is of), or start one here: `local`.

    `workers` is by default one for each CPU of the cluster; with `gpu` they share its GPUs evenly. It is left, or ended, with the block.
    Raises:
        UserError: Ray is not installed, no such address, nobody answers there, or the cluster cannot be used.
    """
    require("ray", what=f"--ray {address}")
    if workers is not None and workers < 1:
        raise UserError(f"--workers: expected 1 or more with --ray, found {workers}")
    _check_address(address)
    os.environ.update(_SETTINGS | (_LOOPBACK if address == "local" else {}))
    # Where Ray itself would: its sockets lie there, and a socket's path has to be short.
    place = "/tmp" if os.path.isdir("/tmp") else None  # noqa: S108 (a folder of its own is made in it)
    folder = tempfile.mkdtemp(prefix="attrcls-ray-", dir=place) if address == "local" else None
    import ray

    said: list[str] = []
    try:
        try:
            _start(ray, address, workers=workers, folder=folder)
            _divert(said)
            cpus, gpus = _resources(ray)
        except Exception as error:
            raise UserError(f"--ray {address}: no cluster that can be used: {_last_line(error)}") from error
        if cpus < 1 or (gpu and gpus == 0):
            raise UserError(f"--ray {address}: the cluster has {cpus} CPUs and {gpus:g} GPUs; add machines, or use --device cpu")
        count = min(workers or cpus, cpus)
        # In ten thousandths, as Ray counts.
        yield Cluster(count, min(1.0, int(gpus / count * 10_000) / 10_000) if gpu else 0.0, said)
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


class _Worker:
    """A job in a process of the cluster. It starts with the first block, so that what it raises then is told as any fault is."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._work: Work | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        made, fault, exit_code = b"", "", 0
        try:
            self._work = self._work or self._job.start()
            made = _packed(self._work(_unpacked(rows[_BLOCK][0].as_py())))
        except AttrclsError as error:
            fault, exit_code = str(error), error.exit_code
        return pa.table({_BLOCK: pa.array([made], pa.binary()), _FAULT: [fault], _EXIT_CODE: [exit_code]})


def _packed(table: pa.Table) -> bytes:
    with pa.BufferOutputStream() as stream:
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
        return bytes(stream.getvalue())


def _unpacked(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()


def _check_address(address: str) -> None:
    """Refuse what is no address, and one at which nobody listens: Ray itself would try for minutes."""
    if address == "local":
        return
    if address.startswith("ray://"):
        raise UserError(f"--ray {address}: give the command on a machine of the cluster, with --ray auto; from outside it is not run")
    match = _ADDRESS.fullmatch(_address_of_this_machine() if address == "auto" else address)
    if not match:
        expected = "this machine is of no cluster: `ray start` makes it one" if address == "auto" else "expected local, auto or HOST:PORT"
        raise UserError(f"--ray {address}: {expected}")
    try:
        socket.create_connection((match["host"].strip("[]"), int(match["port"])), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--ray {address}: nobody answers there ({reason}); `ray status` on the cluster's machine gives its address") from None


def _address_of_this_machine() -> str:
    """Where the cluster is that `ray start` made this machine part of, or was: a cluster that died leaves its address behind."""
    if given := os.environ.get("RAY_ADDRESS"):
        return given
    try:
        return (Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster").read_text().strip()  # noqa: S108
    except OSError:
        return ""


def _start(ray: Any, address: str, *, workers: int | None, folder: str | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if folder is not None:
        quiet |= {"num_cpus": workers, "include_dashboard": False, "object_store_memory": _STORE_BYTES, "_temp_dir": folder}
    with _without_stderr():
        ray.init(address=address, **quiet)


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Ray's core says which log level it was given, past Python's stderr; what goes wrong is raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _resources(ray: Any) -> tuple[int, float]:
    """How many CPUs and GPUs the cluster has."""
    found = ray.cluster_resources()
    return int(found.get("CPU", 0)), float(found.get("GPU", 0))


def _divert(said: list[str]) -> None:
    """Keep what Ray's daemons say of dead workers: it is printed on stdout, where tables go, and no option is against it."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, *_, **__: said.extend(map(str, data.get("lines", [])))


def _quieten(context: Any) -> None:
    context.enable_progress_bars = False
    # Not in every version.
    for name, value in {"print_on_execution_start": False, "execution_no_progress_timeout_s": _NO_PROGRESS_SECONDS}.items():
        if hasattr(context, name):
            setattr(context, name, value)
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _last_line(error: object) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
