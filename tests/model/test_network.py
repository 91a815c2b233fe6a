import math

import pytest
import torch
from torch import nn

from attrcls.errors import UserError
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.network import Network, build_network, masked_losses
from attrcls.sections import HeadSpec
from attrcls.task import load_plan
from attrcls.types import Batch


def make_batch(targets: dict[str, list[int]]) -> Batch:
    tensors = {head: torch.tensor(values) for head, values in targets.items()}
    size = len(next(iter(targets.values())))
    present = {head: values >= 0 for head, values in tensors.items()}
    return Batch(torch.arange(size), torch.zeros(size, 4), {head: values.clamp(min=0) for head, values in tensors.items()}, present)


def make_heads(*names: str, classes: int = 2) -> dict[str, nn.Module]:
    spec = HeadSpec(label_smoothing=0)
    return {name: build_head(spec, features=4, context=LossContext(torch.ones(classes))) for name in names}


def test_an_attribute_may_be_called_like_a_modules_method():
    heads = make_heads("type", "train", "values")
    network = Network(nn.Identity(), heads, mean=(0, 0, 0), std=(1, 1, 1))
    assert list(network(torch.zeros(2, 4))) == ["type", "train", "values"]


def test_each_head_is_its_sum_over_labelled_samples_divided_by_their_number():
    logits = {"a": torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 9.0]], requires_grad=True), "b": torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 1.0]])}
    batch = make_batch({"a": [0, 0, -1], "b": [-1, -1, 1]})
    losses = masked_losses(make_heads("a", "b"), logits, batch, weights={"a": 1.0, "b": 2.0})
    by_hand_a = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    by_hand_b = math.log(1 + math.exp(-1))
    assert losses.heads["a"].item() == pytest.approx(by_hand_a)
    assert losses.heads["b"].item() == pytest.approx(by_hand_b)
    assert losses.total.item() == pytest.approx(by_hand_a + 2 * by_hand_b)
    losses.total.backward()
    assert logits["a"].grad is not None
    assert logits["a"].grad[2].abs().sum() == 0


def test_the_masked_loss_equals_torchs_ignore_index():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 5, generator=generator)
    targets = torch.randint(-1, 5, (50,), generator=generator)
    ours = masked_losses(make_heads("a", classes=5), {"a": logits}, make_batch({"a": targets.tolist()}), weights={"a": 1.0})
    assert ours.total.item() == pytest.approx(nn.functional.cross_entropy(logits, targets, ignore_index=-1).item(), rel=1e-6)


def test_a_head_with_no_label_in_a_batch_adds_exactly_zero_and_no_gradient():
    logits = torch.tensor([[float("inf"), 0.0], [1.0, 2.0]], requires_grad=True)
    losses = masked_losses(make_heads("a"), {"a": logits}, make_batch({"a": [-1, -1]}), weights={"a": 1.0})
    assert losses.total.item() == 0
    assert not torch.isnan(losses.total)


def test_shares_of_a_batch_add_up_to_its_mean_where_the_labels_of_all_are_counted():
    logits, targets = torch.randn(5, 2, generator=torch.Generator().manual_seed(0)), [0, -1, 1, 1, -1]
    whole = masked_losses(make_heads("a"), {"a": logits}, make_batch({"a": targets}), weights={"a": 2.0})
    parts = [
        masked_losses(make_heads("a"), {"a": logits[part]}, make_batch({"a": targets[part]}), weights={"a": 2.0}, labelled={"a": torch.tensor(3)})
        for part in (slice(0, 2), slice(2, 4), slice(4, 5))
    ]
    assert sum(part.total.item() for part in parts) == pytest.approx(whole.total.item())


def test_frozen_batchnorm_stays_in_eval_mode_while_the_trunk_learns(shared_squares):
    plan = load_plan(str(shared_squares / "squares.task.yaml"), overrides=["trunk.freeze_bn=true", "trunk.name=shufflenet_v2_x0_5"])
    network, _ = build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")
    modes = {type(module).__name__: module.training for module in network.train().trunk.modules()}
    assert (modes["BatchNorm2d"], modes["Conv2d"]) == (False, True)


def test_unknown_kinds_name_the_nearest():
    with pytest.raises(UserError, match="no kind 'softmx'; did you mean 'softmax'"):
        build_head(HeadSpec(kind="softmx"), features=4, context=LossContext(torch.ones(2)))


def test_a_head_may_have_a_hidden_layer_and_dropout():
    head = build_head(HeadSpec(hidden=6, dropout=0.5), features=4, context=LossContext(torch.ones(3)))
    assert [type(layer).__name__ for layer in head.layers] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert head(torch.zeros(2, 4)).shape == (2, 3)


@pytest.fixture
def network(shared_squares) -> Network:
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    return build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")[0]


def test_pictures_are_normalised_as_torchvision_does(network):
    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    ours = torch.addcmul(network.shift, pixels.float(), network.scale)
    assert torch.allclose(ours, (pixels / 255 - mean) / std, atol=1e-5)


def test_logits_are_float32_even_when_the_trunk_runs_in_bf16(network):
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert {head: (values.dtype, values.shape) for head, values in logits.items()} == {
        "colour": (torch.float32, (2, 3)),
        "size": (torch.float32, (2, 2)),
    }


def test_features_go_straight_to_the_heads(network):
    assert network(torch.zeros(5, 512))["colour"].shape == (5, 3)


def test_a_frozen_trunk_learns_nothing_and_keeps_its_batchnorm_statistics(network):
    network.set_trunk_frozen(True)
    network.train()
    before = {key: value.clone() for key, value in network.trunk.state_dict().items()}
    network(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8))["colour"].sum().backward()
    assert all(parameter.grad is None for parameter in network.trunk.parameters())
    assert all(parameter.grad is not None for parameter in network.heads["colour"].parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.trunk.state_dict().items())
    network.set_trunk_frozen(False)
    assert network.train().trunk.training
