"""A fused trunk: the same features, without BatchNorm, and the network that it was made of as it was."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from attrcls.model.fused import fused


def _trained(name: str) -> nn.Module:
    """With statistics that are not the initial ones, or folding them in would change nothing."""
    torch.manual_seed(0)
    trunk = torchvision.models.get_model(name, weights=None)
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return trunk.eval()


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "densenet121", "regnet_y_400mf"])
def test_a_fused_trunk_gives_the_same_features_within_rounding(name: str) -> None:
    trunk = _trained(name)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = trunk(images)
        torch.testing.assert_close(fused(trunk)(images), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


def test_no_batch_norm_is_left_in_a_fused_resnet_and_the_original_keeps_its_own() -> None:
    trunk = _trained("resnet18")
    before = copy.deepcopy(trunk.state_dict())
    quick = fused(trunk)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    assert all(torch.equal(value, before[name]) for name, value in trunk.state_dict().items())
    assert all(parameter.requires_grad for parameter in trunk.parameters())


def test_channels_last_survives_fusing() -> None:
    trunk = _trained("resnet18").to(memory_format=torch.channels_last)
    first = next(module for module in fused(trunk).modules() if isinstance(module, nn.Conv2d))
    assert first.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", ["swin_t", "vit_b_32"])
def test_a_trunk_without_batch_norm_is_left_as_it_is(name: str) -> None:
    trunk = (
        torchvision.models.get_model(name, weights=None, image_size=32) if name == "vit_b_32" else torchvision.models.get_model(name, weights=None)
    )
    assert fused(trunk) is trunk


def test_a_trunk_that_cannot_be_traced_is_left_as_it_is() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.norm(images) if images.sum() > 0 else images

    trunk = Branching()
    assert fused(trunk) is trunk
