"""Change the code in hundreds of small ways, one at a time, and count how many of them a test notices: `make mutants`.

    python tests/count_mutants.py [--least 85] [--children 2] [--keep FOLDER] [NAME ...]

The files that are changed, and the tests that should notice, stand in pyproject.toml under [tool.mutmut]. mutmut does it in a copy, because
it writes all its mutants beside the code. A NAME, such as 'attrcls.data.split.*fold_rows*', runs only the mutants of that name.

Prints per file how many mutants there were and how many were killed, and before that what each survivor changed. Exit code 1 when less than
`--least` percent were killed in any file. A survivor need not be a fault of the tests: a change that changes nothing cannot be noticed.
"""

import argparse
import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTMUT = Path(sysconfig.get_path("scripts")) / "mutmut"
COPIED = ("pyproject.toml", "src", "tests", "tasks", "data_cards")
# A test that ran for far longer than it should was stopped by the mutant as well.
KILLED = ("killed", "timeout")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Count:
    """The mutants of one file: how many there were, and the names of those that no test noticed, with what mutmut says of them."""

    mutants: int
    survivors: Mapping[str, str]

    @property
    def killed(self) -> int:
        """How many a test noticed."""
        return self.mutants - len(self.survivors)

    @property
    def share(self) -> float:
        """How many of a hundred a test noticed; a file without mutants has nothing to notice."""
        return 100 * self.killed / self.mutants if self.mutants else 100.0


def main() -> int:
    """Returns 0 when enough were killed in every file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="run only mutants of these names, with * for anything")
    parser.add_argument("--least", type=float, default=85, help="the percentage that must be killed in each file")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, help="how many mutants to try at once")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it, for `mutmut show` and `mutmut browse`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = arguments.keep or Path(name)
        copy_tree(folder)
        run = subprocess.run([MUTMUT, "run", "--max-children", str(arguments.children), *arguments.names], cwd=folder, env=ENVIRONMENT, check=False)
        if run.returncode:
            print("mutmut failed; what it found before is not counted", file=sys.stderr)
            return 1
        counts = count(ask(folder, "results", "--all", "true").splitlines(), mutated_files(), names=arguments.names)
        for survivor, status in sorted(pair for each in counts.values() for pair in each.survivors.items()):
            print(f"\n{status}: {survivor}\n{changed_lines(ask(folder, 'show', survivor))}")
    show(counts)
    return 1 if any(each.share < arguments.least for each in counts.values()) else 0


def mutated_files() -> list[str]:
    """The files that are changed, as pyproject.toml names them."""
    files: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]["only_mutate"]
    return files


def copy_tree(folder: Path) -> None:
    """What mutmut and the tests need, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(ROOT / name, folder / name)


def ask(folder: Path, *arguments: str) -> str:
    """What a command of mutmut prints about the run in `folder`."""
    return subprocess.run([MUTMUT, *arguments], cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout


def count(results: Iterable[str], files: Sequence[str], *, names: Sequence[str] = ()) -> dict[str, Count]:
    """The mutants of each file, from lines `NAME: STATUS`; with `names`, only of those that match one."""
    found: dict[str, dict[str, str]] = {file: {} for file in files}
    for line in results:
        mutant, _, status = line.strip().rpartition(": ")
        module = mutant.rpartition(".")[0]
        file = f"src/{module.replace('.', '/')}.py"
        if file in found and (not names or any(fnmatch.fnmatch(mutant, name) for name in names)):
            found[file][mutant] = status
    return {
        file: Count(len(statuses), {mutant: status for mutant, status in statuses.items() if status not in KILLED})
        for file, statuses in found.items()
    }


def changed_lines(diff: str) -> str:
    """The lines of a diff that were taken out and put in."""
    return "\n".join(line for line in diff.splitlines() if line.startswith(("-", "+")) and not line.startswith(("---", "+++")))


def show(counts: Mapping[str, Count]) -> None:
    """The table that is printed."""
    whole = Count(
        sum(each.mutants for each in counts.values()), {name: status for each in counts.values() for name, status in each.survivors.items()}
    )
    print(f"\n{'file':32} {'mutants':>8} {'killed':>8} {'share':>8}")
    for file, each in {**counts, "all": whole}.items():
        print(f"{file:32} {each.mutants:>8} {each.killed:>8} {each.share:>6.1f} %")


if __name__ == "__main__":
    sys.exit(main())
