"""The simulation that `docs/scale.md` quotes, against cases worked by hand."""

import importlib.util
import itertools
import math
import random
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def scale_cost():
    spec = importlib.util.spec_from_file_location("scale_cost", Path(__file__).parents[1] / "benchmarks" / "scale_cost.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["scale_cost"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def simulate(scale_cost, *, machines, trouble=None, **changes):
    asked = {"pictures": 400, "images_per_s": 10.0, "workers": 1, "block": 100, "start_seconds": 0.0} | changes
    return scale_cost.simulate(machines=machines, trouble=trouble or scale_cost.Trouble(spread=0, slow_share=0), **asked)


def test_equal_machines_that_never_fail_take_what_division_says(scale_cost):
    # Four blocks of ten seconds: one machine 40 s, two 20 s, three 20 s too, as one of them does two.
    for machines, seconds, wasted in ((1, 40, 0), (2, 20, 0), (3, 20, 1 / 3), (4, 10, 0), (8, 10, 1 / 2)):
        found = simulate(scale_cost, machines=machines)
        assert found.wall_hours * 3600 == pytest.approx(seconds)
        assert found.machine_hours * 3600 == pytest.approx(seconds * machines)
        assert found.wasted == pytest.approx(wasted)
        assert (found.failures, found.blocks_again) == (0, 0)


def test_workers_of_a_machine_share_its_rate_and_the_start_is_paid_for(scale_cost):
    found = simulate(scale_cost, machines=2, workers=2, start_seconds=5.0)
    assert found.wall_hours * 3600 == pytest.approx(5 + 20)
    assert found.wasted == pytest.approx(1 - 40 / 50)


def test_slow_blocks_hold_up_only_who_has_them(scale_cost):
    found = simulate(scale_cost, machines=2, trouble=scale_cost.Trouble(spread=0, slow_share=1, slow_times=(3.0, 3.0)))
    assert found.wall_hours * 3600 == pytest.approx(60)


def test_a_failure_costs_its_block_and_the_restart_and_an_idle_machine_takes_the_block_over(scale_cost):
    trouble = scale_cost.Trouble(spread=0, slow_share=0, restart_seconds=5.0)

    def fleet(*first_failures):
        never = itertools.repeat(math.inf)
        return [scale_cost.Machine(1.0, itertools.chain([first], never), 5.0) for first in first_failures]

    def run(machines, blocks):
        return scale_cost.run_blocks(machines, blocks=blocks, block_seconds=10.0, workers=1, trouble=trouble, chance=random.Random(0))

    # Alone: done at 10, lost at 15, back at 20, done at 30.
    assert run(fleet(15.0), 2) == (30.0, 1)
    # Of two, the other has its one block done at 10, waits, takes the lost one at 15, and is done with it at 25.
    assert run(fleet(15.0, math.inf), 3) == (25.0, 1)
    # A failure that comes when all is done costs nothing.
    assert run(fleet(15.0, 40.0), 1) == (10.0, 0)


def test_the_same_seed_gives_the_same_figures_and_failures_cost_time(scale_cost):
    trouble = scale_cost.Trouble(hours_between_failures=0.1)
    asked = {"pictures": 1_000_000, "images_per_s": 50.0, "machines": 8, "workers": 2, "block": 512, "start_seconds": 60.0}
    found = scale_cost.simulate(**asked, trouble=trouble, seed=3)
    assert found == scale_cost.simulate(**asked, trouble=trouble, seed=3)
    assert found != scale_cost.simulate(**asked, trouble=trouble, seed=4)
    calm = scale_cost.simulate(**asked, trouble=scale_cost.Trouble(), seed=3)
    assert found.failures > 20 and found.blocks_again > 20 and calm.failures == 0
    assert found.wall_hours > calm.wall_hours > 1_000_000 / 50 / 8 / 3600 * 0.8
