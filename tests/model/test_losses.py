"""Every loss against a case worked by hand, and against a second implementation from its authors' formulas, one sample and class at a time."""

import math

import pytest
import torch

from attrcls.errors import ProblemsError, UserError
from attrcls.model.heads import build_head
from attrcls.model.losses import LOSSES, LossContext, build_loss, effective_weights
from attrcls.sections import HeadSpec

COUNTS = torch.tensor([500, 60, 4])


def random_case(*, samples: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(samples, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return logits, torch.randint(0, 3, (samples,), generator=generator)


def one(name: str, logits: list[float], target: int, *, counts=(1, 1), smoothing: float = 0.0, **options: float) -> float:
    loss = build_loss(name, LossContext(torch.tensor(counts), smoothing), options)
    return loss(torch.tensor([logits]), torch.tensor([target])).item()


def log_softmax(values: list[float]) -> list[float]:
    total = math.log(sum(math.exp(value) for value in values))
    return [value - total for value in values]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_is_per_sample_and_its_gradient_is_that_of_finite_differences(name, smoothing):
    loss = build_loss(name, LossContext(COUNTS, smoothing))
    logits, targets = random_case(samples=6)
    assert loss(logits, targets).shape == (6,)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets), (logits,))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_and_its_gradient_stay_finite_where_a_class_is_certain_or_has_no_rows(name):
    loss = build_loss(name, LossContext(torch.tensor([7, 0, 3]), 0.1), {key: 0.5 for key in ("gamma", "gamma_other") if key_of(name, key)})
    logits = torch.tensor([[200.0, 0, 0], [0, 200.0, 0], [0, 0, 0]], requires_grad=True)
    losses = loss(logits, torch.tensor([0, 0, 2]))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert torch.isfinite(logits.grad).all()


def key_of(name: str, option: str) -> bool:
    return option in {"focal": "gamma", "asymmetric": "gamma_other"}.get(name, "").split()


@pytest.mark.parametrize("name", ["cross_entropy", "balanced_softmax", "logit_adjusted", "asymmetric"])
def test_with_equal_classes_and_no_smoothing_it_is_cross_entropy(name):
    logits, targets = random_case()
    ours = build_loss(name, LossContext(torch.tensor([9, 9, 9])))(logits, targets)
    assert torch.allclose(ours, torch.nn.functional.cross_entropy(logits, targets, reduction="none"), atol=1e-6)


def test_cross_entropy_smooths_as_torch_does():
    logits, targets = random_case()
    ours = build_loss("cross_entropy", LossContext(COUNTS, 0.2))(logits, targets)
    assert torch.equal(ours, torch.nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.2))


def test_weights_by_effective_number_are_those_worked_by_hand():
    # Effective numbers with a beta of 0.5: 1 + 0.5 + 0.25 = 1.75 for three rows, 1 for one; weights 4/7 and 1, whose mean over four rows is 19/28.
    assert effective_weights(torch.tensor([3, 1]), beta=0.5).tolist() == pytest.approx([4 / 7 / (19 / 28), 28 / 19])
    assert effective_weights(COUNTS, beta=0.0).tolist() == [1, 1, 1]
    assert one("cross_entropy", [0.0, 0.0], 1, counts=(3, 1), beta=0.5) == pytest.approx(math.log(2) * 28 / 19)


def test_weighted_cross_entropy_has_the_gradient_of_torchs_over_a_batch_like_the_train_rows():
    logits, _ = random_case(samples=6)
    targets = torch.tensor([0, 0, 0, 1, 1, 2])
    counts = torch.bincount(targets)
    ours = build_loss("cross_entropy", LossContext(counts), {"beta": 0.9})(logits, targets).mean()
    raw = torch.tensor([(1 - 0.9) / (1 - 0.9 ** int(count)) for count in counts], dtype=torch.float64)
    theirs = torch.nn.functional.cross_entropy(logits, targets, weight=raw / raw.sum() * 3)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_focal_loss_is_the_hand_worked_value():
    assert one("focal", [math.log(3.0), 0.0], 0) == pytest.approx((1 - 0.75) ** 2 * -math.log(0.75), rel=1e-6)
    assert one("focal", [math.log(3.0), 0.0], 0, gamma=0.5) == pytest.approx((1 - 0.75) ** 0.5 * -math.log(0.75), rel=1e-6)


def test_balanced_softmax_is_a_softmax_that_counts_each_class_as_often_as_it_has_rows():
    # p = 9 e^0 / (9 e^0 + 1 e^0)
    assert one("balanced_softmax", [0.0, 0.0], 1, counts=(9, 1)) == pytest.approx(-math.log(0.1), rel=1e-6)
    logits, targets = random_case()
    ours = build_loss("balanced_softmax", LossContext(COUNTS))(logits, targets)
    for values, target, loss in zip(logits.tolist(), targets.tolist(), ours.tolist(), strict=True):
        parts = [int(count) * math.exp(value) for count, value in zip(COUNTS, values, strict=True)]
        assert loss == pytest.approx(-math.log(parts[target] / sum(parts)), rel=1e-5)


def test_logit_adjustment_by_tau_two_counts_shares_squared():
    assert one("logit_adjusted", [0.0, 0.0], 1, counts=(3, 1), tau=2.0) == pytest.approx(-math.log(1 / 10), rel=1e-6)
    logits, targets = random_case()
    # The paper's other form: log(1 + sum of (share of j / share of y)^tau * e^(f_j - f_y)).
    ours = build_loss("logit_adjusted", LossContext(COUNTS), {"tau": 1.5})(logits, targets)
    for values, target, loss in zip(logits.tolist(), targets.tolist(), ours.tolist(), strict=True):
        others = [(int(COUNTS[j]) / int(COUNTS[target])) ** 1.5 * math.exp(values[j] - values[target]) for j in range(3) if j != target]
        assert loss == pytest.approx(math.log(1 + sum(others)), rel=1e-5)


@pytest.mark.parametrize("name", ["balanced_softmax", "logit_adjusted"])
def test_a_smoothed_row_of_a_common_class_is_not_answered_with_a_rare_one(name):
    # At the minimum the shifted softmax says (1 - e) y + e * shares: 0.9 + 0.1 * 0.97 and 0.1 * 0.03. Smoothed towards all alike it would say
    # 0.95 and 0.05, and without the shift, 0.95 / 0.97 and 0.05 / 0.03, the rare class.
    loss = build_loss(name, LossContext(torch.tensor([97, 3]), 0.1))
    best = torch.tensor([[0.9 + 0.1 * 0.97, 0.1 * 0.03]], dtype=torch.float64).log() - torch.tensor([0.97, 0.03], dtype=torch.float64).log()
    best.requires_grad_()
    loss(best, torch.tensor([0])).sum().backward()
    assert best.grad.abs().max() < 1e-6
    assert best.argmax() == 0


@pytest.mark.parametrize("name", ["balanced_softmax", "logit_adjusted"])
def test_with_equal_classes_it_smooths_as_cross_entropy_does(name):
    logits, targets = random_case()
    ours = build_loss(name, LossContext(torch.tensor([9, 9, 9]), 0.2))(logits, targets)
    assert torch.allclose(ours, torch.nn.functional.cross_entropy(logits, targets, reduction="none", label_smoothing=0.2), atol=1e-6)


def test_a_class_without_rows_is_learned_against_as_the_most_frequent_and_takes_no_margin_from_others():
    assert one("balanced_softmax", [0.0, 0.0, 0.0], 1, counts=(6, 2, 0)) == pytest.approx(-math.log(2 / (6 + 2 + 6)), rel=1e-6)
    present = build_loss("ldam", LossContext(torch.tensor([100, 10000, 0])))
    # The rarest class that has rows has the whole margin of 0.5, at a scale of 30.
    far = torch.tensor([[0.0, 0.0, -1e4]])
    assert present(far, torch.tensor([0])).item() == pytest.approx(math.log(1 + math.exp(15)), rel=1e-6)
    assert torch.isfinite(build_loss("ldam", LossContext(torch.tensor([0, 0, 0])))(far, torch.tensor([1]))).all()


def test_ldams_margins_are_largest_for_the_rarest_class_and_fall_with_the_fourth_root():
    # Logits are 30 times the cosine. Sixteen rows have half the margin of one: 7.5 and 15 of it.
    assert one("ldam", [0.0, 0.0], 1, counts=(16, 1)) == pytest.approx(math.log(1 + math.exp(15)), rel=1e-6)
    assert one("ldam", [0.0, 0.0], 0, counts=(16, 1)) == pytest.approx(math.log(1 + math.exp(7.5)), rel=1e-6)
    logits, targets = random_case()
    ours = build_loss("ldam", LossContext(COUNTS), {"margin": 0.3, "scale": 10})(logits, targets)
    for values, target, loss in zip(logits.tolist(), targets.tolist(), ours.tolist(), strict=True):
        margin = 0.3 * int(COUNTS[target]) ** -0.25 / 4**-0.25
        moved = [10 * (value / 10 - margin) if j == target else value for j, value in enumerate(values)]
        assert loss == pytest.approx(-log_softmax(moved)[target], rel=1e-5)


def test_ldam_weighs_rare_classes_more_after_its_share_of_the_epochs_and_not_before():
    logits, targets = random_case()
    loss = build_loss("ldam", LossContext(COUNTS, epochs=10), {"deferred": 0.75, "beta": 0.99})
    early = loss(logits, targets)
    loss.start_epoch(7)
    assert torch.equal(loss(logits, targets), early)
    loss.start_epoch(8)
    assert torch.allclose(loss(logits, targets), early * effective_weights(COUNTS, beta=0.99)[targets], rtol=1e-5)
    assert not loss.state_dict(), "what a loss knows of the classes is no part of the model"


def test_a_head_under_ldam_gives_scaled_cosines_of_features_and_weights():
    head = build_head(HeadSpec(loss="ldam", loss_options={"scale": 20}), features=2, context=LossContext(torch.ones(3)))
    (weight,) = head.parameters()
    with torch.no_grad():
        weight.copy_(torch.tensor([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0]]))
    assert head(torch.tensor([[7.0, 0.0], [0.0, 0.0]])).flatten().tolist() == pytest.approx([20, 0, 20 / math.sqrt(2), 0, 0, 0])


def test_the_asymmetric_loss_focuses_other_classes_by_their_probability():
    logits = [math.log(3.0), 0.0]  # p is 3/4 and 1/4
    by_hand = -(0.95 * math.log(0.75) + 0.05 * 0.25**4 * math.log(0.25))
    assert one("asymmetric", logits, 0, smoothing=0.1) == pytest.approx(by_hand, rel=1e-6)
    many, targets = random_case()
    ours = build_loss("asymmetric", LossContext(COUNTS, 0.3), {"gamma_given": 1, "gamma_other": 2})(many, targets)
    for values, target, loss in zip(many.tolist(), targets.tolist(), ours.tolist(), strict=True):
        total = 0.0
        for j, log in enumerate(log_softmax(values)):
            p = math.exp(log)
            total -= (0.7 + 0.1) * (1 - p) * log if j == target else 0.1 * p**2 * log
        assert loss == pytest.approx(total, rel=1e-6)


def test_options_that_a_loss_has_not_and_values_out_of_range_are_refused_by_name():
    context = LossContext(torch.ones(2))
    with pytest.raises(UserError, match="did you mean 'focal'"):
        build_loss("focale", context)
    with pytest.raises(ProblemsError) as fault:
        build_loss("focal", context, {"gama": 1, "beta": 1.0})
    assert "gama: unknown key; did you mean 'gamma'? (known here: beta, gamma)" in str(fault.value.problems)
    assert "beta: expected" in str(fault.value.problems)
    with pytest.raises(UserError, match="balanced_softmax takes no options, found tau"):
        build_loss("balanced_softmax", context, {"tau": 1})
