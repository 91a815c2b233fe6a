from types import SimpleNamespace

import pytest
import torch

from attrcls.engine import advise_on_memory, has_native_bf16, in_float32, one_first, precision_of, start_engine
from attrcls.errors import AttrclsError, UserError


def test_precision_follows_the_hardware_unless_it_is_named():
    native = has_native_bf16(torch.device("cpu"))
    assert precision_of(start_engine(device="cpu")) == ("bf16-mixed" if native else "32-true")
    assert precision_of(start_engine(device="cpu", precision="32")) == "32-true"
    assert precision_of(start_engine(device="cpu", precision="bf16")) == "bf16-mixed"


@pytest.mark.parametrize(("device", "precision"), [("gpu", "auto"), ("cuda:99", "auto"), ("cpu", "16"), ("xpu", "auto")])
def test_a_device_or_precision_that_is_not_there_is_a_user_error(device, precision):
    with pytest.raises(UserError, match=r"--device|--precision"):
        start_engine(device=device, precision=precision)


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_NUM_TASKS": "1"}])
def test_a_batch_script_of_several_slurm_tasks_is_one_process(monkeypatch, step):
    for name, value in {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "0", **step}.items():
        monkeypatch.setenv(name, value)
    assert start_engine(device="cpu").world_size == 1


def test_where_the_first_process_fails_in_its_turn_it_lets_no_other_into_theirs():
    reached = []

    def process(rank):
        fabric = SimpleNamespace(local_rank=rank, barrier=lambda: reached.append(rank))
        with one_first(fabric):
            raise UserError("mistake")

    for rank in (0, 1):
        with pytest.raises(UserError):
            process(rank)
    assert reached == [1]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()]
)
def test_running_out_of_memory_ends_with_advice(error):
    with pytest.raises(AttrclsError, match="out of memory; use less"), advise_on_memory("use less"):
        raise error


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="something else"), advise_on_memory("use less"):
        raise RuntimeError("something else")


def test_features_reach_a_network_unrounded_in_float32():
    features = torch.tensor([[1 + 2**-12]])
    network = in_float32(start_engine(device="cpu", precision="bf16")).setup(torch.nn.Identity())
    assert torch.equal(network(features), features)
