"""What predicting very many pictures on N machines takes: a measured rate of one machine, and a simulation of all that goes wrong.

    python benchmarks/scale_cost.py --rate IMAGES_PER_S [--pictures N] [--machines 1,8,64,256] [--price DOLLARS_PER_HOUR]

Workers, several on each machine, pull blocks of pictures. Machines differ in speed for good (lognormal), now and then a block is 3 to 10
times slower, and machines fail at exponential times: their blocks are done again and they are back some minutes later. All machines are
paid for until the last block is done. The rate is the best `images/s` of `benchmarks/results.json` where it has any and none is given.
"""

import argparse
import bisect
import heapq
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Trouble:
    """What goes wrong. `spread` is the standard deviation of the logarithm of machines' speeds (mean 1), `slow_share` the share of blocks
    that take `slow_times` as long, from and to; a machine fails every `hours_between_failures` on average and is gone `restart_seconds`."""

    spread: float = 0.1
    slow_share: float = 0.01
    slow_times: tuple[float, float] = (3.0, 10.0)
    hours_between_failures: float = math.inf
    restart_seconds: float = 300.0


@dataclass
class Machine:
    """One machine's speed, and when it fails: a list that is drawn as far as it is asked for."""

    speed: float
    gaps: Iterator[float]
    restart_seconds: float
    failures: list[float] = field(default_factory=list)

    def next_failure(self, now: float) -> float:
        """The first failure that is not before `now`; during a restart there is none."""
        while not self.failures or self.failures[-1] < now:
            back = self.failures[-1] + self.restart_seconds if self.failures else 0.0
            self.failures.append(back + next(self.gaps))
        return self.failures[bisect.bisect_left(self.failures, now)]


@dataclass(frozen=True)
class Outcome:
    """What a simulated prediction took; `wasted` is the share of the machine-hours beyond what steady, equal machines need."""

    machines: int
    wall_hours: float
    machine_hours: float
    wasted: float
    failures: int
    blocks_again: int


def simulate(
    *, pictures: int, images_per_s: float, machines: int, workers: int, block: int, start_seconds: float, trouble: Trouble, seed: int = 0
) -> Outcome:
    """Draw machines and run the blocks through them; the same arguments give the same outcome."""
    chance = random.Random(seed)
    # So that the mean speed, not its median, is 1.
    speeds = [chance.lognormvariate(-(trouble.spread**2) / 2, trouble.spread) for _ in range(machines)]
    fleet = [Machine(speed, _gaps(trouble.hours_between_failures, chance), trouble.restart_seconds) for speed in speeds]
    blocks = math.ceil(pictures / block)
    seconds, again = run_blocks(fleet, blocks=blocks, block_seconds=block * workers / images_per_s, workers=workers, trouble=trouble, chance=chance)
    wall = (start_seconds + seconds) / 3600
    failures = sum(at <= seconds for machine in fleet for at in machine.failures)
    needed = blocks * block / images_per_s / 3600
    return Outcome(machines, wall, wall * machines, 1 - needed / (wall * machines), failures, again)


def run_blocks(
    fleet: Sequence[Machine], *, blocks: int, block_seconds: float, workers: int, trouble: Trouble, chance: random.Random
) -> tuple[float, int]:
    """Seconds until the last block is done, and how many were done again. `block_seconds` is what a worker of speed 1 needs."""
    waiting, done, again, now = blocks, 0, 0, 0.0
    idle: list[int] = []
    # (time, order, machine, what happens): a worker is free, its block is done, or its machine failed with it.
    events = [(0.0, number, number % len(fleet), "free") for number in range(len(fleet) * workers)]
    order = len(events)
    while done < blocks:
        now, _, number, what = heapq.heappop(events)
        machine = fleet[number]
        free = [number]
        if what == "done":
            done += 1
        elif what == "failed":
            waiting, again = waiting + 1, again + 1
            heapq.heappush(events, (now + machine.restart_seconds, order, number, "free"))
            order += 1
            free = [idle.pop()] if idle else []
        for each in free:
            if not waiting:
                idle.append(each)
                continue
            waiting -= 1
            slow = chance.uniform(*trouble.slow_times) if chance.random() < trouble.slow_share else 1.0
            end, failure = now + block_seconds * slow / fleet[each].speed, fleet[each].next_failure(now)
            heapq.heappush(events, (min(end, failure), order, each, "done" if end <= failure else "failed"))
            order += 1
    return now, again


def _gaps(hours: float, chance: random.Random) -> Iterator[float]:
    while True:
        yield math.inf if math.isinf(hours) else chance.expovariate(1 / (hours * 3600))


def measured_rate() -> float | None:
    """The best rate among the measured ones."""
    if not RESULTS.exists():
        return None
    rates = [float(result["ratio"]) for result in json.loads(RESULTS.read_text()) if result.get("unit") == "images/s" and "predict" in result["name"]]
    return max(rates, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=measured_rate(), help="pictures per second of one whole machine, as you measured it")
    parser.add_argument("--pictures", type=int, default=100_000_000)
    parser.add_argument("--machines", default="1,8,64,256")
    parser.add_argument("--workers", type=int, default=2, help="workers on each machine: its cores")
    parser.add_argument("--block", type=int, default=512)
    parser.add_argument("--start-seconds", type=float, default=60.0, help="until the first block: Ray, Python, the model")
    parser.add_argument("--spread", type=float, default=Trouble.spread)
    parser.add_argument("--slow-share", type=float, default=Trouble.slow_share)
    parser.add_argument("--hours-between-failures", type=float, default=24.0, help="of one machine; inf for none")
    parser.add_argument("--restart-seconds", type=float, default=Trouble.restart_seconds)
    parser.add_argument("--price", type=float, help="what you pay for one machine and hour, in dollars")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if not given.rate:
        parser.error("--rate: give a rate that you measured; benchmarks/results.json has none in images/s")
    trouble = Trouble(
        given.spread, given.slow_share, hours_between_failures=given.hours_between_failures, restart_seconds=given.restart_seconds
    )  # fmt: skip
    print("machines  wall hours  machine-hours  wasted  failures  blocks again" + ("  dollars" if given.price else ""))
    for machines in map(int, given.machines.split(",")):
        found = simulate(
            pictures=given.pictures, images_per_s=given.rate, machines=machines, workers=given.workers, block=given.block,
            start_seconds=given.start_seconds, trouble=trouble, seed=given.seed,
        )  # fmt: skip
        dollars = f"  {found.machine_hours * given.price:7,.0f}" if given.price else ""
        print(
            f"{machines:8,}  {found.wall_hours:10,.1f}  {found.machine_hours:13,.1f}  {found.wasted:6.1%}  {found.failures:8,}  "
            f"{found.blocks_again:12,}{dollars}"
        )


if __name__ == "__main__":
    main()
