import pytest
import torch

from attrcls.engine import advise_on_memory, has_native_bf16, in_float32, precision_of, start_engine
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
