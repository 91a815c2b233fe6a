import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, precision_recall_curve
from torch import nn

from attrcls.cleaning.aum import MarginSums
from attrcls.cleaning.noise import NoiseEstimate, RunSeen, _least_bound, best_threshold, estimate_noise, wrong_probability
from attrcls.cleaning.roles import Units, draw_roles, units_of


def blobs(count: int, classes: int, *, seed: int, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    centres = generator.normal(size=(classes, 16)) * 1.2
    return (centres[labels] + spread * generator.normal(size=(count, 16))).astype(np.float32), labels


def learn(features: np.ndarray, units: Units, *, classes: int, seed: int = 0, epochs: int = 8) -> NoiseEstimate:
    """Both runs of a linear layer by plain SGD, each row's margins summed as cleaning does."""
    seen = []
    for index, roles in enumerate(draw_roles(units, classes=classes, runs=2, seed=seed)):
        generator = torch.Generator().manual_seed(seed * 10 + index)
        torch.manual_seed(seed)
        layer, pictures = nn.Linear(features.shape[1], classes + 1), torch.from_numpy(features)
        targets = torch.from_numpy(roles.targets(units, classes=classes))
        optimiser, sums = torch.optim.SGD(layer.parameters(), lr=0.02, momentum=0.9), MarginSums(len(targets), classes + 1)
        for _ in range(epochs):
            for rows in torch.randperm(len(targets), generator=generator).split(64):
                logits = layer(pictures[rows])
                nn.functional.cross_entropy(logits, targets[rows]).backward()
                optimiser.step()
                optimiser.zero_grad()
                sums.add(rows, logits.detach(), targets[rows], torch.ones(len(rows), dtype=torch.bool))
        seen.append(RunSeen(roles, units.mean(sums.aum().numpy()), units.mean(sums.mean_logits().numpy())))
    return estimate_noise(units.labels, seen, classes=classes)


def best_f1_of_any_threshold(wrong: np.ndarray, evidence: np.ndarray) -> float:
    precision, recall, _ = precision_recall_curve(wrong, -evidence)
    return float((2 * precision * recall / np.maximum(precision + recall, 1e-9)).max())


@pytest.mark.parametrize(
    ("rate", "kind", "short_of_best"),
    # Six wrong labels per pair of classes are under-counted, and the threshold then lies low: the careful side.
    [(0.05, "any class", 0.12), (0.2, "any class", 0.05), (0.4, "any class", 0.05), (0.2, "next class", 0.05)],
)
def test_wrong_labels_are_not_over_counted_and_the_threshold_is_nearly_the_best_there_is(rate, kind, short_of_best):
    features, true = blobs(3000, 5, seed=1)
    generator = np.random.default_rng(7)
    wrong = generator.random(len(true)) < rate
    step = generator.integers(1, 5, len(true)) if kind == "any class" else 1
    given = np.where(wrong, (true + step) % 5, true)
    estimate = learn(features, units_of(given), classes=5)
    # A least bound over few wrong labels comes out low; it must not come out high.
    assert 0 < estimate.counts.sum() < 1.3 * wrong.sum()
    assert f1_score(wrong, estimate.suspect) > best_f1_of_any_threshold(wrong, estimate.evidence) - short_of_best
    assert (estimate.suggested[wrong & estimate.suspect] == true[wrong & estimate.suspect]).mean() > 0.8
    if kind == "next class":
        following = estimate.counts[np.arange(5), (np.arange(5) + 1) % 5].sum()
        assert following / estimate.counts.sum() > 0.6


@pytest.mark.parametrize(
    ("below", "share", "expected"),
    [
        # None below the first step: the least bound is 0, but the second label comes at 0.5.
        ([0.0, 1.0, 2.0, 4.0], [0.1, 0.25, 0.5, 0.8], 2.0),
        # Many: the least bound itself, 20 / 0.8.
        ([4.0, 9.0, 15.0, 20.0], [0.1, 0.25, 0.5, 0.8], 25.0),
        # Too many to be missed by chance: from the second on there would be 19 / 0.8.
        ([1.0, 15.0, 18.0, 20.0], [0.1, 0.25, 0.5, 0.8], 10.0),
        # A single one is no evidence.
        ([0.0, 0.0, 1.0, 1.0], [0.1, 0.25, 0.5, 0.8], 0.0),
    ],
)
def test_a_hand_worked_bound_takes_the_larger_of_the_least_bound_and_that_from_the_second_label_on(below, share, expected):
    assert _least_bound(np.array(below), np.array(share)) == pytest.approx(expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_handful_of_wrong_labels_is_found(seed):
    features, true = blobs(700, 2, seed=seed)
    wrong = np.random.default_rng(seed + 50).random(len(true)) < 0.01
    estimate = learn(features, units_of(np.where(wrong, 1 - true, true)), classes=2, seed=seed)
    assert f1_score(wrong, estimate.suspect) > 0.6


def test_clean_labels_are_nearly_all_kept():
    features, true = blobs(2000, 4, seed=2)
    estimate = learn(features, units_of(true), classes=4)
    assert estimate.suspect.mean() < 0.03


def test_a_persons_pictures_are_judged_together():
    person_features, person_labels = blobs(400, 2, seed=3, spread=1.5)
    wrong = np.random.default_rng(4).random(400) < 0.1
    given = np.where(wrong, 1 - person_labels, person_labels)
    generator = np.random.default_rng(5)
    features = (np.repeat(person_features, 5, axis=0) + 0.5 * generator.normal(size=(2000, 16))).astype(np.float32)
    groups = np.array([f"p{row // 5}" for row in range(2000)], dtype=object)
    units = units_of(np.repeat(given, 5), groups)
    estimate = learn(features, units, classes=2)
    rows = units.to_rows(estimate.evidence).reshape(400, 5)
    assert (rows == rows[:, :1]).all()
    assert f1_score(wrong, estimate.suspect) > 0.5


def test_the_paper_rule_suspects_what_lies_below_its_threshold_samples_in_every_run():
    features, true = blobs(1000, 3, seed=6)
    estimate = learn(features, units_of(true), classes=3)
    assert len(estimate.paper_thresholds) == 2
    assert (estimate.evidence[estimate.paper_suspect] < max(estimate.paper_thresholds)).all()


def test_a_hand_worked_threshold_has_the_best_expected_f1():
    # Two of ten labels lie low, and so do all wrong ones: expected F1 is 2·0.2·1 / (0.2 + 0.2) = 1 just above them.
    evidence = np.array([-5.0, -4.0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert best_threshold(evidence, np.array([-5.0, -4.0]), rate=0.2) == pytest.approx(-1.5)


def test_where_no_threshold_beats_suspecting_all_nothing_is_suspect():
    # Right and wrong labels have the same margins: expected F1 is 2·0.5·W / (A + 0.5) with W = A, largest at A = 1.
    evidence = np.array([-3.0, -2.0, -1.0])
    assert not (evidence < best_threshold(evidence, evidence, rate=0.5)).any()


def test_the_probability_of_being_wrong_falls_strictly_and_sums_to_the_number_of_wrong_labels():
    generator = np.random.default_rng(0)
    wrong, right = generator.normal(-2, 1, 200), generator.normal(2, 1, 800)
    evidence = np.concatenate([wrong, right])
    found = wrong_probability(evidence, generator.normal(-2, 1, 5000), rate=0.2)
    assert (np.diff(found[np.argsort(evidence)]) < 0).all()
    assert found.sum() == pytest.approx(200, rel=0.15)
    assert found[:200].mean() > 0.8 and found[200:].mean() < 0.06


def test_one_class_one_unit_or_ties_suspect_nothing():
    features = np.zeros((50, 16), dtype=np.float32)
    for count, classes, labels in ((50, 1, np.zeros(50)), (1, 2, np.zeros(1)), (50, 2, np.arange(50) % 2)):
        estimate = learn(features[:count], units_of(labels.astype(np.int64)), classes=classes)
        assert not estimate.suspect.any()
        assert ((estimate.wrong_probability >= 0) & (estimate.wrong_probability <= 1)).all()
