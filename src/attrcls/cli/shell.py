"""Exit codes and messages: the only place that catches attrcls's errors."""

import errno
import functools
import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from attrcls.errors import AttrclsError, UserError, shortened
from attrcls.launcher import find_launch

ROWS_FAILED = 3
INTERRUPTED = 130
LINE_CHARACTERS = 2000
CommandT = TypeVar("CommandT", bound=Callable[..., Any])

# What a terminal obeys instead of showing: control characters but newline and tab, the second half of Latin-1's among them; what
# turns the direction of text, so that it reads as something else; line ends of Unicode; and halves of pairs, which no encoding takes.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    """The text with every character that a terminal would obey written out, such as `\\x1b`."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class _HarmlessConsole(Console):
    """A console on which text only shows: names come from strangers' files, so no markup, emoji or control character of theirs counts."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """What every text, and every cell of a table, goes through on its way to the screen."""
        return super().render_str(harmless(text), **options)


# Results go to stdout, all that is said about them to stderr.
out = _HarmlessConsole()
err = _HarmlessConsole(stderr=True)


def reported(command: CommandT) -> CommandT:
    """Let a command end with a message and an exit code instead of a traceback.

    Of several processes that a launcher started, the first prints what there is to say, and the first to fail says why.
    """

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            launch = find_launch()
            out.quiet = err.quiet = launch is not None and launch.rank > 0
            return command(*args, **kwargs)
        except AttrclsError as error:
            raise typer.Exit(tell_end(str(error), error.exit_code)) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read along has enough
                raise
            where = f"{error.filename}: " if error.filename else ""
            raise typer.Exit(tell_end(f"the system refused: {where}{error.strerror or error}", AttrclsError.exit_code)) from None
        except KeyboardInterrupt:
            text = "interrupted; nothing half-written is left behind. Where a command has --resume, it goes on from there"
            raise typer.Exit(tell_end(text, INTERRUPTED)) from None

    return run  # type: ignore[return-value]


def alone(command: CommandT) -> CommandT:
    """Refuse a command of which several processes would do the same work, and write the same files, once each."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        refuse_launcher(command.__name__)
        return command(*args, **kwargs)

    return run  # type: ignore[return-value]


def refuse_launcher(name: str) -> None:
    """Raises:
    UserError: a launcher started several processes.
    """
    if launch := find_launch():
        raise UserError(
            f"{name} works in one process, and a launcher started {launch.processes}: run it without torchrun or srun "
            "(train, pretrain and clean-labels share their work)"
        )


def tell_end(text: str, exit_code: int) -> int:
    """Say why the command ends early, and give its exit code; of several processes the first to end says it, and the others end as it did."""
    tells = True
    if _launched():
        from attrcls.engine import end_together

        tells, exit_code = end_together(exit_code)
    if tells:
        err.quiet = False
        say_error(text)
    return exit_code


def _launched() -> bool:
    try:
        return find_launch() is not None
    except UserError:  # This may be what the command ends with: no process knows of the others.
        return False


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
