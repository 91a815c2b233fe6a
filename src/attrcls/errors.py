"""Errors that attrcls raises on purpose, and the problem list that one of them carries.

Every message says what was expected, what was found, where (file, row, column, attribute) and how to mend it.
Only `attrcls.cli` catches these; `exit_code` is what the shell sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

SHOWN_PROBLEMS = 20
# Of one problem that many rows have.
SHOWN_ROWS = 5
# A cell may hold a hundred thousand characters; what is said of it must still be read.
PROBLEM_CHARACTERS = 500


class AttrclsError(Exception):
    """Anything attrcls reports without a traceback; exit code 1 means that the fault is ours or the machine's."""

    exit_code = 1


class UserError(AttrclsError):
    """The input, the arguments or the files are wrong, and the user can mend them; exit code 2."""

    exit_code = 2


class ImageError(AttrclsError):
    """One picture cannot be used. `status` is `missing` (no such file) or `unreadable` (anything else)."""

    def __init__(self, message: str, *, status: str = "unreadable") -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Problem:
    """One fault found in a user's file. `row` counts data rows from 1, as a person reads a table below its header."""

    file: str
    message: str
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        return self.of_rows([] if self.row is None else [self.row])

    def of_rows(self, rows: Sequence[int]) -> str:
        """The same said of these rows, in one line."""
        where = self.file
        if rows:
            more = len(rows) - SHOWN_ROWS
            where += f", {'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows[:SHOWN_ROWS]))}" + (f" and {more:,} more" if more > 0 else "")
        if self.column is not None:
            where += f", column {self.column}"
        return shortened(f"{where}: {self.message}", PROBLEM_CHARACTERS)


def shortened(text: str, characters: int) -> str:
    """The text without its middle, where it is longer than so many characters: the start names the place, the end the fix."""
    if len(text) <= characters:
        return text
    start, end = characters * 2 // 3, characters // 3
    return f"{text[:start]} … {len(text) - start - end:,} characters … {text[-end:]}"


def tell_problems(problems: Sequence[Problem]) -> tuple[list[str], int]:
    """The first of the problems, a line for those that are the same but for their rows, and how many problems are not among them."""
    alike: dict[Problem, list[int]] = {}
    for problem in problems:
        rows = alike.setdefault(replace(problem, row=None), [])
        rows += [] if problem.row is None else [problem.row]
    shown = list(alike.items())[:SHOWN_PROBLEMS]
    return [problem.of_rows(rows) for problem, rows in shown], len(problems) - sum(max(1, len(rows)) for _, rows in shown)


class ProblemsError(UserError):
    """Everything that is wrong with a file or a dataset, found in one pass and raised once."""

    def __init__(self, title: str, problems: Sequence[Problem], *, fix: str | None = None) -> None:
        self.title = title
        self.problems = list(problems)
        shown, left = tell_problems(self.problems)
        lines = [title, *(f"  {line}" for line in shown)]
        if left:
            lines.append(f"  … and {left:,} more")
        if fix:
            lines.append(fix)
        super().__init__("\n".join(lines))
