"""Errors that attrcls raises on purpose, and the problem list that one of them carries.

Every message says what was expected, what was found, where (file, row, column, attribute) and how to mend it.
Only `attrcls.cli` catches these; `exit_code` is what the shell sees.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 20
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
        where = self.file
        if self.row is not None:
            where += f", row {self.row}"
        if self.column is not None:
            where += f", column {self.column}"
        return shortened(f"{where}: {self.message}", PROBLEM_CHARACTERS)


def shortened(text: str, characters: int) -> str:
    """The text without its middle, where it is longer than so many characters: the start names the place, the end the fix."""
    if len(text) <= characters:
        return text
    start, end = characters * 2 // 3, characters // 3
    return f"{text[:start]} … {len(text) - start - end:,} characters … {text[-end:]}"


class ProblemsError(UserError):
    """Everything that is wrong with a file or a dataset, found in one pass and raised once."""

    def __init__(self, title: str, problems: Sequence[Problem], *, fix: str | None = None) -> None:
        self.title = title
        self.problems = list(problems)
        lines = [title, *(f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS])]
        if len(self.problems) > SHOWN_PROBLEMS:
            lines.append(f"  … and {len(self.problems) - SHOWN_PROBLEMS} more")
        if fix:
            lines.append(fix)
        super().__init__("\n".join(lines))
