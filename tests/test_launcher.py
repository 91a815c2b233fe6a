import pytest

from attrcls.data.loader import default_workers
from attrcls.errors import UserError
from attrcls.launcher import Launch, find_launch
from attrcls.types import WHOLE, Share

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "RANK": "5", "WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_JOB_NAME": "train", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "4",
}  # fmt: skip


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN], ids=["torchrun", "srun"])
def test_a_launcher_says_which_of_how_many_processes_this_is(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == Launch(5, 8, 2)
    assert find_launch().per_machine == 4


def test_processes_of_a_machine_share_its_cores(monkeypatch):
    alone = default_workers()
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert default_workers() == max(1, alone // 4) or alone == 16


@pytest.mark.parametrize(
    "variables",
    [
        {},
        # A batch script around job steps, and a shell of one's own in a job.
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
        {**SRUN, "SLURM_JOB_NAME": "bash"},
        {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "1", "GROUP_WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"},
    ],
)
def test_one_process_is_no_launch(monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_launch() is None


@pytest.mark.parametrize("change", [{"SLURM_NTASKS_PER_NODE": "3"}, {"SLURM_PROCID": "first"}])
def test_variables_that_do_not_fit_together_are_refused(monkeypatch, change):
    for name, value in {**SRUN, **change}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError):
        find_launch()


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shares_are_all_of_a_batch_and_nothing_twice(processes):
    shares = [list(Share(rank, processes).of(range(4))) for rank in range(processes)]
    assert sorted(item for share in shares for item in share) == [0, 1, 2, 3]
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert WHOLE.of((1, 2)) == (1, 2)


def test_a_launcher_that_is_not_understood_is_told_and_is_no_traceback(cli, monkeypatch, shared_squares):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    for command in (("train", shared_squares / "squares.task.yaml"), ("data", shared_squares / "squares.task.yaml")):
        result = cli(*command)
        assert result.code == 2
        assert "srun with --ntasks-per-node" in result.err and "Traceback" not in result.err
