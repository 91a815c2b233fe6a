"""Put the whole corpus of bad input through every command that reads it, and count: `make corpus`.

    python tests/count_corpus.py [--parts pictures,tables,specs] [--json FILE] [--seconds 120] [--share 1] [--every 1]

Prints the cases by kind, and how many ended in a traceback, hung, gave a wrong row, or had an exit code or a message that is
none; and the most memory that the process ever held, above what it held before. Exit code 1 when there was any.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from corpus.ground import make_ground
from corpus.try_pictures import try_pictures
from corpus.try_specs import try_specs
from corpus.try_tables import try_tables
from corpus.watch import Findings, Watch

PARTS = {"pictures": try_pictures, "tables": try_tables, "specs": try_specs}
MOST_MORE = 3 << 30
FAULTS = ("traceback", "hang", "wrong row", "exit code", "message")


def main() -> int:
    """Returns 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--json", type=Path, help="write the counts and faults here as well")
    parser.add_argument("--seconds", type=int, default=120, help="the time that one command may take")
    parser.add_argument("--share", type=int, default=1, help="try only each so many of the tables and specs")
    parser.add_argument("--every", type=int, default=1, help="train only on each so many of the tables and specs that can be trained on")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="corpus-") as name:
        folder = Path(name)
        os.environ["ATTRCLS_CACHE"] = str(folder / "cache")
        os.chdir(folder)
        ground = make_ground(folder / "ground")
        before = peak_mb()
        limit_memory()
        found = {}
        for part in arguments.parts.split(","):
            findings = Findings()
            PARTS[part](Watch(findings, seconds=arguments.seconds), ground, folder / part, share=arguments.share, every=arguments.every)
            found[part] = findings
        above = peak_mb() - before
    show(found, before=before, above=above)
    if arguments.json:
        arguments.json.write_text(json.dumps({"parts": {part: asdict(each) for part, each in found.items()}, "before_mb": before, "above_mb": above}))
    return 1 if any(findings.faults for findings in found.values()) else 0


def peak_mb() -> int:
    """The most memory that this process has held, in MB."""
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale


def limit_memory() -> None:
    """Let what wants endless memory fail here, before the machine does."""
    if sys.platform == "linux":
        held = next(int(line.split()[1]) << 10 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (held + MOST_MORE, resource.RLIM_INFINITY))


def show(found: dict[str, Findings], *, before: int, above: int) -> None:
    """The table that is printed."""
    print(f"{'part':10} {'kind':18} {'cases':>6}")
    for part, findings in found.items():
        for kind, number in findings.cases.items():
            print(f"{part:10} {kind:18} {number:>6}")
        print(f"{part:10} {'all':18} {sum(findings.cases.values()):>6}   in {findings.calls:,} calls of commands")
    faults = [fault for findings in found.values() for fault in findings.faults]
    for fault, case, detail in faults:
        print(f"\n{fault}: {case}\n  {detail}")
    print("\n" + ", ".join(f"{sum(fault == name for fault, _, _ in faults)} {name}" for name in FAULTS))
    print(f"peak memory {before + above:,} MB, {above:,} MB above what libraries and a small training had taken before")


if __name__ == "__main__":
    sys.exit(main())
