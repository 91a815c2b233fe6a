"""What heads' losses are multiplied by, against their formulas by autograd and the authors' own steps."""

import pytest
import torch
from torch import nn

from attrcls.engine import start_engine
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.network import Losses, Network
from attrcls.sections import HeadSpec
from attrcls.training.balancing import BALANCERS, Balancing, Famo, Uncertainty
from attrcls.types import Batch

CPU = torch.device("cpu")
BOTH = {"a": torch.tensor(4), "b": torch.tensor(4)}


def means(a: float, b: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(a), "b": torch.tensor(b)}


def test_uncertainty_learns_by_the_gradient_of_kendalls_sum():
    balancer = Uncertainty(["a", "b"], CPU)
    balancer.load({"log_variances": torch.tensor([0.5, -1.0])})
    balancer.learn(means(2.0, 0.3), BOTH, parts=2)
    balancer.learn(means(1.0, 0.7), BOTH, parts=2)
    s = torch.tensor([0.5, -1.0], requires_grad=True)
    (sum(((-s).exp() * torch.tensor(each) + s / 2).sum() for each in ([2.0, 0.3], [1.0, 0.7])) / 2).backward()
    assert torch.allclose(balancer.parameters[0].grad, s.grad)
    assert [factor.item() for factor in balancer.factors(means(1, 1), BOTH).values()] == pytest.approx([0.60653, 2.71828], rel=1e-4)


def test_famo_takes_its_authors_steps():
    # Two quadratics of one weight; beside ours the authors' published class, in a few lines.
    def losses(weight: torch.Tensor) -> torch.Tensor:
        return torch.stack([10 * (weight - 1) ** 2, 0.1 * (weight + 2) ** 2]) + 0.1

    ours, balancer = torch.tensor(0.0, requires_grad=True), Famo(["a", "b"], CPU)
    theirs, logits = torch.tensor(0.0, requires_grad=True), torch.zeros(2, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.025, weight_decay=0.01)
    for _ in range(20):
        before = losses(ours)
        told = {"a": before[0].detach(), "b": before[1].detach()}
        factors = balancer.factors(told, BOTH)
        (slope,) = torch.autograd.grad(factors["a"] * before[0] + factors["b"] * before[1], ours)
        ours = (ours - 0.05 * slope).detach().requires_grad_()
        after = losses(ours).detach()
        balancer.after_update(told, BOTH, lambda after=after: {"a": after[0], "b": after[1]})

        before = losses(theirs) + 1e-8
        z = logits.softmax(-1)
        c = (z / before).sum().detach()
        (slope,) = torch.autograd.grad((before.log() * z.detach() / c).sum(), theirs)
        theirs = (theirs - 0.05 * slope).detach().requires_grad_()
        delta = before.log() - (losses(theirs) + 1e-8).log()
        (logits.grad,) = torch.autograd.grad(logits.softmax(-1), logits, grad_outputs=delta.detach())
        adam.step()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert torch.allclose(balancer.state()["logits"], logits.detach(), rtol=1e-4)
    assert balancer.state()["logits"].abs().max() > 0.1


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_a_head_without_a_label_in_the_batch_teaches_nothing(name):
    balancer, none = BALANCERS[name](["a", "b"], CPU), {"a": torch.tensor(4), "b": torch.tensor(0)}
    told = means(1.5, 0.0)
    balancer.learn(told, none, parts=1)
    balancer.after_update(told, none, lambda: means(1.0, 0.0))
    for parameter in balancer.parameters:
        assert parameter.grad[0] != 0
        assert parameter.grad[1] == 0
    assert all(torch.isfinite(factor) for factor in balancer.factors(told, none).values())
    if name == "famo":
        assert [factor.item() for factor in balancer.factors(told, none).values()] == [1, 0]


@pytest.mark.parametrize("name", sorted(BALANCERS))
def test_what_a_balancer_knows_survives_and_another_tasks_is_refused(name):
    balancer, again = (BALANCERS[name](["a", "b"], CPU) for _ in range(2))
    for step in range(3):
        balancer.after_update(means(1.0 + step, 1.0), BOTH, lambda: means(0.5, 0.9))
    again.load({key: value.clone() for key, value in balancer.state().items()})
    assert all(torch.equal(value, again.state()[key]) for key, value in balancer.state().items())
    with pytest.raises(ValueError, match="expected"):
        BALANCERS[name](["a", "b", "c"], CPU).load(balancer.state())


def test_looking_again_after_an_update_leaves_batchnorms_statistics_alone():
    heads = {head: build_head(HeadSpec(label_smoothing=0), features=6, context=LossContext(torch.ones(2))) for head in ("a", "b")}
    network = Network(nn.BatchNorm1d(6), heads, mean=(0, 0, 0), std=(1, 1, 1)).train()
    network.extract = lambda images: network.trunk(images.float())
    images = torch.randint(0, 9, (4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = {head: torch.tensor([0, 1, 0, 1]) for head in heads}
    batch = Batch(torch.arange(4), images, labels, {head: torch.ones(4, dtype=torch.bool) for head in heads})
    before = {key: value.clone() for key, value in network.state_dict().items()}
    balancer = Famo(["a", "b"], CPU)
    losses = Losses(torch.tensor(0.0), means(0.9, 0.2))
    balancing = Balancing(balancer, losses, BOTH, weights={"a": 1.0, "b": 1.0}, fabric=start_engine(device="cpu", precision="32"))
    balancing.after_update(network, batch, lambda: network(batch.images))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.trunk.track_running_stats
    assert balancer.state()["logits"].abs().max() > 0


def test_what_a_head_agrees_on_counts_also_in_a_batch_without_a_label_of_it():
    fabric = start_engine(device="cpu", precision="32")
    none, losses = {"a": torch.tensor(4), "b": torch.tensor(0)}, Losses(torch.tensor(0.0), means(1.5, 0.0))
    balancing = Balancing(Famo(["a", "b"], CPU), losses, none, weights={"a": 1.0, "b": 1.0}, fabric=fabric)
    assert [factor.item() for factor in balancing.of_agreements.values()] == [1, 0.5]
