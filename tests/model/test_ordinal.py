"""Ordinal heads against cases worked by hand and the authors' sums, written out one sample and threshold at a time."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm

from attrcls.errors import UserError
from attrcls.model.heads import build_head
from attrcls.model.losses import LossContext
from attrcls.model.ordinal import ORDINALS, labels_around
from attrcls.sections import HeadSpec
from attrcls.training.metrics import score_head

COUNTS = torch.tensor([8, 4, 2, 1])


def random_logits(outputs: int, *, samples: int = 12) -> torch.Tensor:
    return torch.randn(samples, outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)


def targets(samples: int = 12) -> torch.Tensor:
    return torch.arange(samples) % 4


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


@pytest.mark.parametrize("name", sorted(ORDINALS))
def test_a_loss_is_per_sample_and_its_gradient_is_that_of_finite_differences(name):
    way = ORDINALS[name](LossContext(COUNTS), beta=0.9)
    logits = random_logits(way.outputs, samples=5)
    assert way.loss(logits, targets(5)).shape == (5,)
    assert torch.autograd.gradcheck(lambda x: way.loss(x, targets(5)), (logits,))


@pytest.mark.parametrize("name", sorted(ORDINALS))
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_of_every_class_are_none_negative_and_sum_to_one(name, classes):
    head = build_head(HeadSpec(kind="ordinal", ordinal=name), features=3, context=LossContext(torch.ones(classes)))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
        probabilities = head.probabilities(head(torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(4)) * 9))
    assert probabilities.shape == (2, 50, classes)
    assert (probabilities >= 0).all()
    assert torch.allclose(probabilities.sum(dim=-1), torch.ones(2, 50), atol=1e-6)


def test_corn_chains_conditional_probabilities():
    way = ORDINALS["corn"](LossContext(torch.ones(3)))
    logits = torch.tensor([[math.log(3.0), 0.0]])  # P(y > 0) is 3/4, P(y > 1 | y > 0) is 1/2
    assert way.decode(logits)[0].tolist() == pytest.approx([1 / 4, 3 / 8, 3 / 8])
    assert way.loss(logits.expand(3, -1), torch.tensor([0, 1, 2])).tolist() == pytest.approx([-math.log(p) for p in (1 / 4, 3 / 8, 3 / 8)])


def test_corns_sum_over_a_batch_is_its_authors():
    way, given = ORDINALS["corn"](LossContext(COUNTS)), targets()
    logits = random_logits(3)
    theirs = 0.0
    for k in range(3):  # of the samples that lie beyond k - 1, whether they lie beyond k
        for row, label in zip(logits.tolist(), given.tolist(), strict=True):
            if label > k - 1:
                theirs -= math.log(sigmoid(row[k])) if label > k else math.log(1 - sigmoid(row[k]))
    assert way.loss(logits, given).sum().item() == pytest.approx(theirs)


def test_corals_loss_is_its_authors_and_its_probabilities_are_differences():
    way, given = ORDINALS["coral"](LossContext(COUNTS)), targets()
    logits = random_logits(3)
    levels = torch.tensor([[1.0] * label + [0.0] * (3 - label) for label in given.tolist()], dtype=torch.float64)
    theirs = -(F.logsigmoid(logits) * levels + (F.logsigmoid(logits) - logits) * (1 - levels)).sum(dim=1)
    assert torch.allclose(way.loss(logits, given), theirs)
    falling = torch.tensor([[math.log(3.0), 0.0, -math.log(3.0)]])
    assert way.decode(falling)[0].tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4, 1 / 4])


def test_corals_thresholds_share_one_direction_and_never_cross():
    head = build_head(HeadSpec(kind="ordinal", ordinal="coral"), features=3, context=LossContext(COUNTS))
    with torch.no_grad():
        head.layers[-1].steps.copy_(torch.tensor([0.3, -40.0, 2.0]))
        logits = head(torch.randn(20, 3, generator=torch.Generator().manual_seed(5)))
    gaps = logits.diff(dim=1)
    assert torch.allclose(gaps, gaps[:1].expand_as(gaps), atol=1e-5)
    assert (gaps <= 1e-6).all()


def test_soft_labels_fall_with_the_distance_and_a_cold_temperature_is_cross_entropy():
    logits = torch.tensor([[0.0, 1.0, 2.0]])
    way = ORDINALS["soft"](LossContext(torch.ones(3)), temperature=1.0)
    parts = [1.0, math.exp(-1), math.exp(-2)]
    logs = F.log_softmax(logits, dim=1)[0].tolist()
    by_hand = -sum(part * log for part, log in zip(parts, logs, strict=True)) / sum(parts)
    assert way.loss(logits, torch.tensor([0])).item() == pytest.approx(by_hand, rel=1e-6)
    cold = ORDINALS["soft"](LossContext(torch.ones(3)), temperature=0.01)
    assert cold.loss(logits, torch.tensor([2])).item() == pytest.approx(-logs[2], rel=1e-6)


def test_labels_around_a_number_are_a_normal_distributions_share_between_the_cut_points():
    found = labels_around(torch.tensor([30.0, 58.0]), torch.tensor([30.0, 60.0]), sigma=2.0)
    # At a cut point half lies on either side; 58 lies one sigma below 60.
    by_hand = [[0.5, 0.5, 0.0], [0.0, norm.cdf(1), 1 - norm.cdf(1)]]
    assert found.numpy() == pytest.approx(np.array(by_hand), abs=1e-6)
    far = labels_around(torch.tensor([-1e6, 1e6]), torch.tensor([30.0, 60.0]), sigma=2.0)
    assert far.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_labels_around_no_cut_point_are_refused():
    with pytest.raises(ValueError, match="cut point"):
        labels_around(torch.tensor([30.0]), torch.tensor([]), sigma=2.0)


def test_a_head_of_numbers_learns_from_each_rows_own_and_from_its_class_where_that_is_not_known():
    context = LossContext(torch.ones(3), cuts=(30.0, 60.0))
    spec = HeadSpec(kind="ordinal", ordinal="soft", loss_options={"sigma": 2.0, "temperature": 1.0})
    head = build_head(spec, features=4, context=context)
    logits = torch.tensor([[0.0, 1.0, 2.0]] * 2, requires_grad=True)
    logs = F.log_softmax(logits, dim=1).detach()
    losses = head.loss(logits, torch.tensor([1, 0]), torch.tensor([58.0, math.nan]))
    parts = torch.tensor([1.0, math.exp(-1), math.exp(-2)])
    assert losses[0].item() == pytest.approx(-(norm.cdf(1) * logs[0, 1] + norm.cdf(-1) * logs[0, 2]).item(), rel=1e-5)
    assert losses[1].item() == pytest.approx(-(parts / parts.sum() * logs[1]).sum().item(), rel=1e-6)
    assert head.loss(logits, torch.tensor([1, 0])).detach()[1].item() == pytest.approx(losses[1].item())
    losses.sum().backward()
    assert logits.grad.isfinite().all()


def test_the_gradient_of_labels_around_numbers_is_that_of_finite_differences():
    way = ORDINALS["soft"](LossContext(COUNTS, cuts=(10.0, 20.0, 30.0)), sigma=4.0, beta=0.9)
    logits, numbers = random_logits(4, samples=5), torch.tensor([9.0, 10.0, math.nan, 22.0, 99.0])
    assert torch.autograd.gradcheck(lambda x: way.loss(x, targets(5), numbers), (logits,))


def test_an_ordinal_head_has_an_output_less_than_classes_but_for_the_soft_one_and_needs_two():
    outputs = {name: build_head(HeadSpec(kind="ordinal", ordinal=name), features=3, context=LossContext(COUNTS)).outputs for name in ORDINALS}
    assert outputs == {"corn": 3, "coral": 3, "soft": 4}
    with pytest.raises(UserError, match="two classes or more"):
        build_head(HeadSpec(kind="ordinal"), features=3, context=LossContext(torch.ones(1)))


def test_the_mean_absolute_error_counts_classes_and_leaves_out_missing_labels():
    predicted, given = torch.tensor([0, 2, 1, 3]).numpy(), torch.tensor([2, 2, -1, 0]).numpy()
    assert score_head(predicted, given, ordinal=True)["mae"] == pytest.approx(5 / 3)
    assert "mae" not in score_head(predicted, given)
    assert math.isnan(score_head(predicted, given * 0 - 1, ordinal=True)["mae"])
