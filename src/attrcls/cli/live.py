"""The live view of a training: a bar and one row an epoch on a terminal, plain lines elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from attrcls.cli.shell import err, warn

if TYPE_CHECKING:
    from attrcls.types import Step


class EpochLines:
    """Prints what a training is, then a line per epoch; on a terminal a bar runs below them."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self.started = False
        self._console = console
        self._progress = progress
        self._bar: TaskID | None = None
        self._columns: list[tuple[str, str]] = []
        self._epochs = 0
        self._rows_seen = 0
        self._steps_seen = 0
        self._began = 0.0

    def pictures(self, number: int) -> Callable[[int], None]:
        """Move a bar of its own, or print a line, while a frozen trunk's features are computed."""
        if self._progress is None:
            self._console.print(f"computing a frozen trunk's features of {number:,} views, once; later runs find them")
            return lambda done: None
        progress, began, seen = self._progress, time.monotonic(), 0
        bar = progress.add_task("features", total=number, rate="", left="")

        def advance(done: int) -> None:
            nonlocal seen
            seen += done
            seconds = max(1e-6, time.monotonic() - began)
            left = timedelta(seconds=round((number - seen) * seconds / seen))
            progress.update(bar, completed=seen, visible=seen < number, rate=f"{seen / seconds:,.0f} images/s", left=f"{left} left")

        return advance

    def waiting(self, what: str, *, total: int) -> Callable[[int], None]:
        """Move a bar on a terminal; elsewhere say nothing."""
        if self._progress is None:
            return lambda done: None
        progress, seen = self._progress, 0
        bar = progress.add_task(what, total=total, rate="", left="")

        def advance(done: int) -> None:
            nonlocal seen
            seen += done
            progress.update(bar, completed=seen, visible=seen < total)

        return advance

    def start(self, facts: Mapping[str, str], *, epochs: int, warnings: Sequence[str]) -> None:
        """Print the facts and warnings of a training, the first or another."""
        if self._progress and self._bar is not None:
            self._progress.remove_task(self._bar)
        self.started, self._epochs, self._rows_seen, self._steps_seen, self._columns = True, epochs, 0, 0, []
        for name, text in facts.items():
            self._console.print(f"{name:>7}  ", style="bold", end="")
            self._console.print(text)
        for text in warnings:
            warn(text)
        if self._progress:
            self._bar = self._progress.add_task("", total=None, rate="", left="")
        self._began = time.monotonic()

    def warn(self, text: str) -> None:
        """Print a warning."""
        warn(text)

    def step(self, step: "Step") -> None:
        """Move the bar."""
        self._rows_seen += step.samples
        self._steps_seen += 1
        if self._progress is None or self._bar is None:
            return
        seconds = max(1e-6, time.monotonic() - self._began)
        done, total = step.epoch * step.steps_in_epoch + step.index + 1, self._epochs * step.steps_in_epoch
        left = timedelta(seconds=round((total - done) * seconds / self._steps_seen))
        self._progress.update(
            self._bar, completed=done, total=total, rate=f"{self._rows_seen / seconds:,.0f} images/s", left=f"{left} left",
            description=f"epoch {step.epoch + 1}/{self._epochs}",
        )  # fmt: skip

    def epoch(self, row: Mapping[str, Any], *, best: bool) -> None:
        """Print the epoch's row, under a header the first time."""
        if not self._columns:
            self._columns = _columns(row)
            self._console.print(" ".join([f"{'epoch':>7}", *(title for title, _ in self._columns), "images/s"]), style="bold")
        cells = [f"{row[key]:>{len(title)}.3f}" for title, key in self._columns]
        mark = " *" if best else ""
        self._console.print(" ".join([f"{row['epoch']:>3}/{self._epochs:<3}", *cells, f"{row['images_per_second']:>8,.0f}{mark}"]))


@contextlib.contextmanager
def train_view() -> Iterator[EpochLines]:
    """A view that fits the terminal, or the lack of one."""
    if not err.is_terminal:
        yield EpochLines(err, None)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        yield EpochLines(progress.console, progress)


def _columns(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and key of each number shown: losses, the share of pictures without a label that counted, each head's top-1 (and macro-F1 of the
    mean and the code)."""
    wanted = [("train loss", "train_loss"), ("val loss", "val_loss")]
    wanted += [(key.replace("/unlabelled_", " "), key) for key in row if key.endswith("/unlabelled_used")]
    wanted += [(key.replace("/", " "), key) for key in row if key.endswith("/top1")]
    wanted += [(key.replace("/", " "), key) for key in row if key.endswith("/f1") and (key.startswith("mean") or f"{key[:-3]}/recall" not in row)]
    return [(title, key) for title, key in dict.fromkeys(wanted) if key in row]


@contextlib.contextmanager
def image_progress() -> Iterator[Any]:
    """Gives a function that is told how many pictures there are and returns one to be told of progress."""
    if not err.is_terminal:
        yield lambda images: lambda done: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}", markup=False))
    with Progress(*columns, console=err, transient=True) as progress:

        def started(images: int) -> Any:
            bar = progress.add_task("pictures", total=images, rate="")
            began, seen = time.monotonic(), 0

            def advance(done: int) -> None:
                nonlocal seen
                seen += done
                progress.update(bar, completed=seen, rate=f"{seen / max(1e-6, time.monotonic() - began):,.0f} images/s")

            return advance

        yield started
