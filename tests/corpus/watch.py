"""Calls commands in this process and notes what must never come of one: a traceback, a hang, an exit code out of turn."""

import contextlib
import faulthandler
import io
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ALLOWED = (0, 2, 3)
# A refusal that fills the screen is read by nobody.
LONGEST_MESSAGE = 20_000


@dataclass(frozen=True)
class Said:
    """What a call ended with and printed; the code is -1 where it did not end by itself."""

    code: int
    out: str
    err: str


@dataclass
class Findings:
    """Cases tried, by kind, and what was wrong: (fault, case, detail), where a fault is one of `traceback`, `hang`, `exit code`,
    `message` and `wrong row`."""

    cases: dict[str, int] = field(default_factory=dict)
    calls: int = 0
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, kind: str, number: int = 1) -> None:
        """Note cases of a kind."""
        self.cases[kind] = self.cases.get(kind, 0) + number

    def blame(self, fault: str, case: str, detail: object) -> None:
        """Note a fault."""
        self.faults.append((fault, case, str(detail)[-2000:]))
        print(f"{fault}: {case}", file=sys.stderr, flush=True)


class _TimeIsUpError(BaseException):
    """Not an Exception, so that nothing on the way catches it."""


class Watch:
    """Calls `attrcls` with a time limit, and files what is wrong with how it ended."""

    def __init__(self, findings: Findings, *, seconds: int) -> None:
        self.findings = findings
        self.seconds = seconds
        signal.signal(signal.SIGALRM, self._time_is_up)

    def call(self, case: str, *arguments: object, codes: Sequence[int] = ALLOWED, names: Path | None = None) -> Said:
        """What the shell would see of one command. A refusal (exit code 2) must name the file `names`."""
        from attrcls.cli.app import main

        self.findings.calls += 1
        out, err, code = io.StringIO(), io.StringIO(), 0
        sys.argv = ["attrcls", *map(str, arguments)]
        where = f"{case}: {sys.argv[1]}"
        broken = None
        with self._limited(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0
            except _TimeIsUpError:
                broken = ("hang", traceback.format_exc())
            except BaseException:  # what would be a traceback
                broken = ("traceback", traceback.format_exc())
        said = Said(-1 if broken else code, out.getvalue(), err.getvalue())
        for fault, detail in [broken] if broken else _faults(said, codes, names):
            self.findings.blame(fault, where, detail)
        return said

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        # The alarm reaches Python code only; where the C code below hangs, the process ends and says where it was.
        faulthandler.dump_traceback_later(2 * self.seconds, exit=True)
        signal.alarm(self.seconds)
        try:
            yield
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()

    @staticmethod
    def _time_is_up(*_: object) -> None:
        raise _TimeIsUpError


def _faults(said: Said, codes: Sequence[int], names: Path | None) -> Iterator[tuple[str, str]]:
    if said.code not in codes:
        yield "exit code", f"{said.code}, expected one of {codes}: {said.err[-1500:]}"
    if "Traceback (most recent call last)" in said.out + said.err:
        yield "traceback", said.err
    if re.search(r"\b\w+Warning: ", said.err):
        yield "message", f"a warning meant for programmers: {said.err[-1500:]}"
    if len(said.out + said.err) > LONGEST_MESSAGE and said.code == 2:
        yield "message", f"{len(said.err):,} characters long: {said.err[:300]}"
    if said.code == 2 and not said.err.startswith("error: "):
        yield "message", f"no `error:` first: {said.err[:500]}"
    if said.code == 2 and names is not None and names.name not in said.err:
        yield "message", f"{names.name} is not named: {said.err[:500]}"
