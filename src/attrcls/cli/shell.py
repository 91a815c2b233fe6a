"""Exit codes and messages: the only place that catches attrcls's errors."""

import errno
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console

from attrcls.errors import AttrclsError, shortened

ROWS_FAILED = 3
INTERRUPTED = 130
LINE_CHARACTERS = 2000
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

# Results go to stdout, all that is said about them to stderr. Markup and emoji are off: names come from users' files.
out = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
err = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def reported(command: CommandT) -> CommandT:
    """Let a command end with a message and an exit code instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except AttrclsError as error:
            say_error(str(error))
            raise typer.Exit(error.exit_code) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read along has enough
                raise
            where = f"{error.filename}: " if error.filename else ""
            say_error(f"the system refused: {where}{error.strerror or error}")
            raise typer.Exit(AttrclsError.exit_code) from None
        except KeyboardInterrupt:
            say_error("interrupted; nothing half-written is left behind. Where a command has --resume, it goes on from there")
            raise typer.Exit(INTERRUPTED) from None

    return run  # type: ignore[return-value]


def say_error(text: str) -> None:
    """An error, with its first line marked."""
    err.print("error: ", style="bold red", end="")
    err.print("\n".join(shortened(line, LINE_CHARACTERS) for line in text.split("\n")))


def warn(text: str) -> None:
    """Something to know that stops nothing."""
    err.print("warning: ", style="bold yellow", end="")
    err.print(shortened(text, LINE_CHARACTERS))


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
