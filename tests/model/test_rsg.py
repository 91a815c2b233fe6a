"""Samples of rare classes: when they are made, of what, and by which losses their maker learns."""

import pytest
import torch
import torch.nn.functional as F

from attrcls.errors import UserError
from attrcls.model.network import MADE, add_rare_samples, build_network
from attrcls.model.rsg import RareSamples, build_rare_samples
from attrcls.sections import RsgSpec
from attrcls.task import load_plan

# Class 2 is rare: the mean class has 7 rows.
COUNTS = torch.tensor([10, 9, 2])


def make(**options: float) -> RareSamples:
    torch.manual_seed(0)
    return RareSamples(4, COUNTS, RsgSpec(head="a", **{"centres": 3, **options}), epochs=10)


def maps(*, batch: int = 7) -> torch.Tensor:
    return torch.randn(batch, 4, 2, 3, generator=torch.Generator().manual_seed(1))


def labels(*values: int) -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.tensor(values)
    return targets.clamp(min=0), targets >= 0


def test_no_samples_are_made_before_their_epoch_and_rare_ones_after_it():
    maker, given = make(), labels(0, 1, 0, 2, 1, 2, 0)
    for epoch, made in ((0, 0), (4, 0), (5, 4)):
        maker.start_epoch(epoch)
        result = maker(maps(), *given)
        # Five frequent ones for two rare ones: two rounds.
        assert len(result.maps) == made
        assert set(result.targets.tolist()) <= {2}
        assert torch.isfinite(result.loss)


@pytest.mark.parametrize("values", [(0, 1, 0, 1, 0, 1, 0), (2, 2, 2, 2, 2, 2, 2), (-1,) * 7, (0, -1, -1, -1, -1, -1, -1)])
def test_a_batch_without_rare_frequent_or_any_labels_gives_none(values):
    for epoch in (0, 9):
        maker = make()
        maker.start_epoch(epoch)
        result = maker(maps(), *labels(*values))
        assert len(result.maps) == 0
        assert torch.isfinite(result.loss)


def test_a_sample_is_a_rare_one_moved_by_what_becomes_of_a_frequent_ones_offset():
    maker, given = make(), labels(0, 2, -1, 1, 0)
    with torch.no_grad():
        maker.centres.normal_(generator=torch.Generator().manual_seed(2))
    maker.start_epoch(9)
    given_maps = maps(batch=5)
    result = maker(given_maps, *given)
    expected = []
    for row, label in ((0, 0), (3, 1), (4, 0)):
        scores = given_maps[row].mean(dim=(1, 2)) @ maker.assign_weight[label] + maker.assign_bias[label]
        offset = given_maps[row] - maker.centres[label, scores.argmax()][:, None, None]
        expected.append(given_maps[1] + maker.move(offset[None])[0])
    assert torch.allclose(result.maps, torch.stack(expected), atol=1e-5)


def test_the_centres_learn_from_weighted_squared_distances_and_the_test_from_pairs():
    maker, (targets, present) = make(), labels(0, 2, 1, 0)
    with torch.no_grad():
        maker.centres.normal_(generator=torch.Generator().manual_seed(2))
    given, total = maps(batch=4), 0.0
    for row, label in zip(given, targets.tolist(), strict=True):
        nearness = (row.mean(dim=(1, 2)) @ maker.assign_weight[label] + maker.assign_bias[label]).softmax(dim=0)
        for place in range(3):
            total += nearness[place] * ((row - maker.centres[label, place][:, None, None]) ** 2).sum() / 4
    pairs = maker.contrast(torch.cat([given[:2], given[2:]], dim=1))
    total += F.cross_entropy(pairs, torch.tensor([0, 0]))
    assert maker(given, targets, present).loss.item() == pytest.approx(0.1 * total.item(), rel=1e-4)


def test_nothing_flows_back_into_the_maps_and_the_test_rests_once_samples_are_made():
    maker, given = make(), labels(0, 1, 0, 2, 1, 2, 0)
    maker.start_epoch(9)
    source = maps().requires_grad_()
    result = maker(source, *given)
    (result.maps.sum() + result.loss).backward()
    assert source.grad is None
    assert maker.move.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in maker.contrast.parameters())


def test_where_no_class_is_rare_it_is_refused(shared_squares):
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    network, _ = build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")
    with pytest.raises(UserError, match="none is rare; leave `rsg` out"):
        build_rare_samples(network.trunk, torch.tensor([3, 3, 3]), RsgSpec(head="colour"), epochs=2)


def test_made_samples_change_no_pictures_logits_but_by_batchnorm_and_add_to_the_loss(shared_squares):
    plan = load_plan(str(shared_squares / "squares.task.yaml"), overrides=["rsg.head=colour", "rsg.deferred=0"])
    counts = {"colour": [9, 3, 1], "size": [1, 1]}
    network, _ = build_network(plan.task, counts, weights="none")
    add_rare_samples(network, plan.task, counts)
    network.start_epoch(0)
    pictures = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    targets, present = labels(0, 0, 1, 2, 0, -1)
    plain, made = network.eval()(pictures), network(pictures, targets, present)
    assert set(made) == {"colour", "size", MADE}
    assert all(torch.allclose(made[head], plain[head], atol=1e-5) for head in plain)
    made[MADE].backward()
    assert network.trunk.layer4[0].conv1.weight.grad.abs().sum() > 0
    assert network.trunk.layer3[0].conv1.weight.grad.abs().sum() == 0
    assert not network.trunk.layer4._forward_pre_hooks
