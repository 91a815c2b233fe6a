import itertools

import pytest
import torch

from attrcls.errors import UserError
from attrcls.model.network import build_network
from attrcls.sections import OptimiserSpec, ScheduleSpec
from attrcls.task import load_plan
from attrcls.training.optim import SCHEDULES, build_ema, build_optimiser, learning_rate_factor, set_learning_rates


def factors(spec: ScheduleSpec, *, steps_per_epoch: int = 10, epochs: int = 4) -> list[float]:
    return [learning_rate_factor(spec, step=step, steps_per_epoch=steps_per_epoch, epochs=epochs) for step in range(steps_per_epoch * epochs)]


def test_constant_stays_and_step_drops_by_its_factor():
    assert set(factors(ScheduleSpec(name="constant"))) == {1.0}
    dropped = factors(ScheduleSpec(name="step", step_epochs=2, step_factor=0.1))
    assert dropped[19] == 1.0
    assert dropped[20] == pytest.approx(0.1)


def test_cosine_is_torchs_cosine_annealing():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=40)
    for ours in factors(ScheduleSpec(name="cosine")):
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-9)
        optimiser.step()
        oracle.step()


def test_onecycle_begins_peaks_and_ends_where_torchs_does():
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1.0, total_steps=40, pct_start=0.2)
    ours = factors(ScheduleSpec(name="onecycle", rise=0.2))
    assert ours[0] == pytest.approx(optimiser.param_groups[0]["lr"])
    assert max(ours) == ours[8] == pytest.approx(1.0)
    assert ours[-1] < 0.01
    assert all(later < earlier for earlier, later in itertools.pairwise(ours[8:]))


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_warm_up_rises_in_equal_steps_before_any_schedule(name):
    ours = factors(ScheduleSpec(name=name, warmup_epochs=0.4))
    assert ours[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])


def test_an_unknown_schedule_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        learning_rate_factor(ScheduleSpec(name="cosin"), step=0, steps_per_epoch=1, epochs=1)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_trunk_and_heads_have_rates_of_their_own_and_biases_do_not_decay(shared_squares, name):
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    network, _ = build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")
    optimiser = build_optimiser(network, OptimiserSpec(name=name, lr=1e-2, trunk_lr=1e-3, weight_decay=0.1))
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(list(network.parameters()))
    for group in optimiser.param_groups:
        assert group["lr"] == (1e-3 if group["name"] == "trunk" else 1e-2)
        assert all((parameter.ndim > 1) == (group["weight_decay"] > 0) for parameter in group["params"])
    set_learning_rates(optimiser, 0.5)
    assert {group["lr"] for group in optimiser.param_groups} == {5e-4, 5e-3}


@pytest.mark.parametrize(("decay", "expected"), [(0.99, 2 / 11), (0.1, 0.1)])
def test_the_average_moves_by_one_minus_the_decay_which_warms_up(decay, expected):
    layer = torch.nn.BatchNorm1d(1)
    torch.nn.init.constant_(layer.weight, 1.0)
    ema = build_ema(layer, decay)
    ema.update_parameters(layer)
    torch.nn.init.constant_(layer.weight, 2.0)
    layer.num_batches_tracked += 3
    ema.update_parameters(layer)
    assert ema.module.weight.item() == pytest.approx(expected * 1.0 + (1 - expected) * 2.0)
    assert ema.module.num_batches_tracked.item() == 3


def test_a_frozen_trunk_is_its_own_average_and_heads_are_averaged_all_the_same(shared_squares):
    plan = load_plan(str(shared_squares / "squares.task.yaml"))
    torch.manual_seed(0)
    network, _ = build_network(plan.task, {"colour": [1, 1, 1], "size": [1, 1]}, weights="none")
    averages = [build_ema(network, 0.9, frozen_trunk=shared) for shared in (True, False)]
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.head_modules.parameters():
                parameter.add_(torch.rand_like(parameter))
        for average in averages:
            average.update_parameters(network)
    shared, own = averages
    assert shared.module.trunk is network.trunk and own.module.trunk is not network.trunk
    for name, value in own.module.state_dict().items():
        assert torch.equal(shared.module.state_dict()[name], value), name
    assert not torch.equal(shared.module.head_modules["head_size"].layers[0].weight, network.head_modules["head_size"].layers[0].weight)
