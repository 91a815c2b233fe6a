"""What this process may use, in containers of all kinds."""

import os

import pytest
import torch

from attrcls.data import machine
from attrcls.data.machine import cores, free_memory, quota_cores, workers_for

MB = 10**6


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of so many cores, and files of its cgroups."""
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cgroup")

    def made(count, **files):
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(count)), raising=False)
        for name, text in files.items():
            file = tmp_path / name.replace("__", "/").replace("_dot_", ".")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return made


@pytest.mark.parametrize("count", [2, 16, 128])
def test_without_a_limit_all_cores_that_it_may_run_on_count(host, count):
    host(count)
    assert cores() == count
    host(count, cgroup__cpu_dot_max="max 100000\n")
    assert cores() == count


@pytest.mark.parametrize(("count", "quota", "found"), [(128, 200_000, 2), (128, 150_000, 2), (128, 50_000, 1), (2, 1_600_000, 2)])
def test_a_containers_share_of_time_counts_where_it_is_less(host, count, quota, found):
    host(count, cgroup__cpu_dot_max=f"{quota} 100000\n")
    assert cores() == found


def test_limits_of_the_groups_above_hold_too(host):
    host(128, proc__self__cgroup="0::/jobs/mine\n", cgroup__jobs__cpu_dot_max="400000 100000\n", cgroup__jobs__mine__cpu_dot_max="max 100000\n")
    assert cores() == 4


def test_the_first_version_of_cgroups_is_read(host):
    host(128, cgroup__cpu__cpu_dot_cfs_quota_us="300000\n", cgroup__cpu__cpu_dot_cfs_period_us="100000\n")
    assert cores() == 3
    host(128, cgroup__cpu__cpu_dot_cfs_quota_us="-1\n")
    assert cores() == 128


@pytest.mark.parametrize("limit", ["", "max", "max 100000", "many 100000", "100000 0", "100000"])
def test_what_sets_no_limit_is_none(limit):
    assert quota_cores(limit) is None


@pytest.mark.parametrize(("count", "workers"), [(1, 1), (2, 2), (16, 16), (128, 16)])
def test_a_worker_per_core_up_to_a_bound(count, workers):
    assert workers_for(count) == workers
    assert workers_for(count, batch_bytes=10 * MB, shared=64_000 * MB) == workers


@pytest.mark.parametrize(("shared", "workers"), [(64 * MB, 1), (50 * MB, 0), (0, 0), (260 * MB, 6)])
def test_what_they_decode_ahead_must_fit_into_shared_memory(shared, workers):
    assert workers_for(128, batch_bytes=10 * MB, shared=shared) == workers


def test_free_memory_is_the_least_of_what_the_machine_and_the_container_have(host):
    host(2, proc__meminfo="MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert free_memory(torch.device("cpu")) == 4000 * 1024
    host(2, cgroup__memory_dot_max="3000000\n", cgroup__memory_dot_current="1000000\n")
    assert free_memory(torch.device("cpu")) == 2_000_000


def test_nothing_is_said_of_memory_where_the_system_says_nothing(host):
    host(2)
    assert free_memory(torch.device("cpu")) is None


def test_the_engine_takes_no_more_threads_than_cores(monkeypatch):
    import attrcls.engine as engine

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        monkeypatch.setattr(engine, "cores", lambda: 2)
        engine.start_engine(device="cpu")
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(engine, "cores", lambda: 128)
        engine.start_engine(device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
