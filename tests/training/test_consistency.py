"""Consistency losses, each against a case worked by hand; thresholds that move; training signal annealing."""

import math

import pytest
import torch

from attrcls.engine import start_engine
from attrcls.errors import UserError
from attrcls.model.heads import Head, build_head
from attrcls.model.losses import LossContext
from attrcls.sections import HeadSpec, UnlabelledSpec
from attrcls.training.annealing import annealed, signal_bound
from attrcls.training.consistency import CONSISTENCY, Consistency, check_unlabelled, first_means, fixmatch, free_thresholds, moved_means, uda
from attrcls.types import Batch

# One weak view that is sure of class 0, one that leans to class 1.
WEAK = torch.tensor([[0.9, 0.1], [0.4, 0.6]])
STRONG = torch.tensor([[0.5, 0.5], [0.8, 0.2]]).log()
FIXED = torch.tensor([0.8, 0.8])


@pytest.fixture
def heads() -> dict[str, Head]:
    return {head: build_head(HeadSpec(), features=4, context=LossContext(torch.tensor([1, 1]))) for head in ("a", "b")}


def make(spec: UnlabelledSpec, running=None, weights=None) -> Consistency:
    weights = weights or {"a": 1.0, "b": 1.0}
    return Consistency(spec, weights=weights, running={} if running is None else running, fabric=start_engine(device="cpu", precision="32"))


def test_uda_is_the_cross_entropy_against_the_sharpened_weak_view_worked_by_hand():
    judged = uda(WEAK, STRONG, FIXED, 0.5)
    # Temperature 0.5 squares: 0.81 : 0.01 and 0.16 : 0.36.
    first = -(0.81 / 0.82 * math.log(0.5) + 0.01 / 0.82 * math.log(0.5))
    second = -(0.16 / 0.52 * math.log(0.8) + 0.36 / 0.52 * math.log(0.2))
    assert judged.loss.tolist() == pytest.approx([first, second])
    assert judged.used.tolist() == [True, False]


def test_sharpened_probabilities_are_the_softmax_of_logits_over_the_temperature():
    logits = torch.tensor([[2.0, -1.0, 0.5]])
    strong = torch.tensor([[0.1, 0.2, 0.7]]).log()
    expected = -((logits / 0.4).softmax(1) * strong).sum()
    assert uda(logits.softmax(1), strong, torch.zeros(3), 0.4).loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_temperature_near_nothing_gives_the_likeliest_class_and_a_finite_gradient():
    weak = torch.full((1, 3), 1 / 3)
    logits = torch.zeros(1, 3, requires_grad=True)
    judged = uda(torch.cat([weak, torch.tensor([[0.2, 0.5, 0.3]])]), logits.log_softmax(dim=1).expand(2, 3), torch.full((3,), 0.8), 0.001)
    assert judged.loss.tolist() == pytest.approx([math.log(3), math.log(3)])
    torch.where(judged.used, judged.loss, 0.0).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_fixmatch_takes_the_weak_views_class_as_the_label_worked_by_hand():
    judged = fixmatch(WEAK, STRONG, FIXED)
    assert judged.loss.tolist() == pytest.approx([-math.log(0.5), -math.log(0.2)])
    assert judged.used.tolist() == [True, False]


def test_freematchs_thresholds_begin_at_one_over_the_classes_and_follow_the_batches_worked_by_hand():
    means = first_means(2)
    assert free_thresholds(means).tolist() == pytest.approx([0.5, 0.5])
    # Mean confidence (0.9 + 0.6) / 2, mean probabilities 0.65 and 0.35; in the first step λ = 1/10.
    batch = torch.tensor([0.75, 0.65, 0.35])
    moved = moved_means(means, batch, step=0)
    assert moved.tolist() == pytest.approx([0.1 * 0.5 + 0.9 * 0.75, 0.1 * 0.5 + 0.9 * 0.65, 0.1 * 0.5 + 0.9 * 0.35])
    assert free_thresholds(moved).tolist() == pytest.approx([0.725, 0.725 * 0.365 / 0.635])
    assert moved_means(means, batch, step=10**6).tolist() == pytest.approx([0.5 + 0.001 * 0.25, 0.5 + 0.001 * 0.15, 0.5 - 0.001 * 0.15])


def test_a_heads_loss_is_over_all_its_wanted_samples_and_only_sure_ones_add_to_it(heads):
    weak, strong = WEAK.log(), STRONG
    wanted = {"a": torch.tensor([True, True]), "b": torch.tensor([False, True])}
    consistency = make(UnlabelledSpec(method="fixmatch", confidence=0.8, weight=0.5), weights={"a": 2.0, "b": 1.0})
    total, told = consistency(heads, {"a": weak, "b": weak}, {"a": strong, "b": strong}, wanted, step=0)
    assert told["a"].loss.item() == pytest.approx(-math.log(0.5) / 2)
    assert (told["a"].used.item(), told["a"].samples.item()) == (1, 2)
    assert (told["b"].loss.item(), told["b"].used.item(), told["b"].samples.item()) == (0, 0, 1)
    assert total.item() == pytest.approx(2.0 * 0.5 * -math.log(0.5) / 2)


def test_a_batch_without_wanted_samples_adds_exactly_zero_and_moves_no_threshold(heads):
    running: dict = {}
    weak = torch.tensor([[9.0, float("inf")]])
    total, told = make(UnlabelledSpec(method="freematch"), running)(heads, {"a": WEAK[:1].log()}, {"a": weak}, {"a": torch.tensor([False])}, step=0)
    assert total.item() == 0
    assert told["a"].samples.item() == 0
    assert torch.equal(running["a"], first_means(2))


def test_the_weak_view_gets_no_gradient_and_a_strong_view_that_is_quite_wrong_a_finite_one(heads):
    weak = torch.tensor([[50.0, -50.0]], requires_grad=True)
    strong = torch.tensor([[-60.0, 20.0]], requires_grad=True)
    total, _ = make(UnlabelledSpec())(heads, {"a": weak}, {"a": strong}, {"a": torch.tensor([True])}, step=0)
    total.backward()
    assert weak.grad is None
    assert strong.grad is not None
    assert strong.grad.tolist()[0] == pytest.approx([-1, 1], abs=1e-5)


def test_each_methods_defaults_are_its_papers():
    told = {name: (method.confidence, method.temperature) for name, method in CONSISTENCY.items()}
    assert told == {"uda": (0.8, 0.4), "fixmatch": (0.95, None), "freematch": (None, None)}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"method": "fixmatch", "temperature": 0.4}, "unlabelled.temperature: fixmatch knows none; leave it out, or use unlabelled.method: uda"),
        ({"method": "fixmatch", "tsa": "log"}, "unlabelled.tsa: fixmatch knows none"),
        ({"method": "freematch", "confidence": 0.5}, "unlabelled.confidence: freematch knows none; leave it out, or use .*uda or fixmatch"),
    ],
)
def test_what_a_method_does_not_know_is_refused(options, expected):
    with pytest.raises(UserError, match=expected):
        check_unlabelled(UnlabelledSpec(**options))


def test_the_annealed_bound_rises_from_chance_to_one_worked_by_hand():
    assert signal_bound("linear", done=0, classes=4) == 0.25
    assert signal_bound("linear", done=0.5, classes=4) == 0.625
    assert signal_bound("log", done=0.5, classes=2) == pytest.approx(0.5 * (1 - math.exp(-2.5)) + 0.5)
    assert signal_bound("exp", done=0.5, classes=2) == pytest.approx(0.5 * math.exp(-2.5) + 0.5)
    assert [signal_bound(name, done=1, classes=2) for name in ("linear", "exp")] == [1, 1]


def test_annealing_leaves_out_labels_that_are_known_already(heads):
    yes = torch.tensor([True, True, False])
    batch = Batch(torch.arange(3), torch.zeros(3, 4), {"a": torch.tensor([0, 0, 0])}, {"a": yes})
    logits = {"a": torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.5, 0.5]]).log()}
    assert annealed(batch, heads, logits, "linear", done=0.5).present["a"].tolist() == [False, True, False]
    assert annealed(batch, heads, logits, None, done=0.5) is batch


def test_heads_that_are_balanced_against_each_other_weigh_what_they_agree_on_likewise(heads):
    spec = UnlabelledSpec(confidence=0)
    logits = {head: torch.tensor([[2.0, 0.0]]) for head in heads}
    wanted = {head: torch.tensor([True]) for head in heads}
    alone = [make(spec)(heads, {head: logits[head]}, {head: logits[head]}, {head: wanted[head]}, step=0)[0] for head in heads]
    both, _ = make(spec)(heads, logits, logits, wanted, step=0, factors={"a": torch.tensor(0.25), "b": torch.tensor(0.5)})
    assert both.item() == pytest.approx(0.25 * alone[0].item() + 0.5 * alone[1].item())
