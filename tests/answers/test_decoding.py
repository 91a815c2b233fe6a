from itertools import product

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score

from attrcls.answers.calibration import group_folds
from attrcls.answers.decoding import Decoder, adjusted, code_scores, count_codes, log_ratios
from attrcls.answers.fitting import _CANDIDATES, _scores_of_shifts, choose_decoder, fit_joint, fit_offsets, macro_f1
from attrcls.combine import Combiner

CODE = Combiner("code", ("a", "b"), (2, 3))


def probable(rows: int, *, seed: int, sharp: float = 1.5) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        head: softmax(generator.normal(0, sharp, (rows, radix)), axis=1).astype(np.float32)
        for head, radix in zip(CODE.order, CODE.radices, strict=True)
    }


def dependent(rows: int, *, seed: int, noise: float) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels of which b is 2·a nine times in ten, and heads that see them through noise."""
    generator = np.random.default_rng(seed)
    a = generator.integers(0, 2, rows)
    b = np.where(generator.random(rows) < 0.9, 2 * a, generator.integers(0, 3, rows))
    labels = {"a": a, "b": b}
    seen = {}
    for head, radix in zip(CODE.order, CODE.radices, strict=True):
        clues = np.eye(radix)[labels[head]] + generator.normal(0, noise, (rows, radix))
        seen[head] = softmax(clues / noise**2, axis=1).astype(np.float32)
    return seen, labels


def test_the_joint_decoder_takes_the_best_of_all_codes():
    probabilities, ratios = probable(200, seed=0), np.random.default_rng(1).normal(0, 2, CODE.size)
    chosen = Decoder("joint", strength=0.7, log_ratios=ratios).decide(probabilities, CODE)
    for row in range(200):
        scores = {
            (a, b): np.log(probabilities["a"][row, a]) + np.log(probabilities["b"][row, b]) + 0.7 * ratios[a * 3 + b]
            for a, b in product(range(2), range(3))
        }
        assert (chosen["a"][row], chosen["b"][row]) == max(scores, key=scores.get)


def test_without_strength_the_joint_decoder_is_argmax_and_a_head_outside_the_code_always_is():
    probabilities = {**probable(300, seed=2), "c": softmax(np.random.default_rng(3).normal(size=(300, 4)), axis=1)}
    joint = Decoder("joint", strength=0.0, log_ratios=np.random.default_rng(1).normal(0, 2, CODE.size)).decide(probabilities, CODE)
    strong = Decoder("joint", strength=5.0, log_ratios=np.random.default_rng(1).normal(0, 2, CODE.size)).decide(probabilities, CODE)
    for head, values in probabilities.items():
        assert (joint[head] == values.argmax(axis=1)).all()
    assert (strong["c"] == probabilities["c"].argmax(axis=1)).all()
    assert (strong["a"] != joint["a"]).any()


def test_more_rows_than_fit_at_once_are_decoded_alike(monkeypatch):
    from attrcls.answers import decoding

    probabilities, decoder = probable(50, seed=4), Decoder("joint", strength=1, log_ratios=np.arange(6.0))
    whole = decoder.decide(probabilities, CODE)
    monkeypatch.setattr(decoding, "_ROWS_AT_ONCE", 7)
    parts = decoder.decide(probabilities, CODE)
    assert all((whole[head] == parts[head]).all() for head in CODE.order)


def test_the_scores_of_codes_are_sums_of_their_heads_in_the_codes_order():
    probabilities = {"a": np.array([[0.25, 0.75]]), "b": np.array([[0.2, 0.3, 0.5]])}
    assert np.exp(code_scores(probabilities, CODE)) == pytest.approx(np.array([[0.05, 0.075, 0.125, 0.15, 0.225, 0.375]]))


def test_ratios_of_combinations_of_a_hand_worked_case():
    # 12 rows, 6 codes. Marginals with one row added per class: a (7/14, 7/14), b (5/15, 5/15, 5/15); each code by chance 1/6.
    counts = [4, 2, 0, 0, 2, 4]
    assert np.exp(log_ratios(counts, CODE)) == pytest.approx(np.array([(count + 1) / 18 * 6 for count in counts]))
    # Where classes are independent, and there are many rows, nothing is news.
    assert np.abs(log_ratios([1000, 2000, 3000] * 2, CODE)).max() < 0.01
    assert np.isfinite(log_ratios([0, 0, 0, 0, 0, 9], CODE)).all()


def test_codes_are_counted_over_rows_that_have_every_label():
    labels = {"a": np.array([0, 1, 1, -1]), "b": np.array([2, 0, -1, 1])}
    assert count_codes(labels, CODE).tolist() == [0, 0, 1, 1, 0, 0]


def test_logit_adjustment_is_menons_rule_and_nothing_at_zero():
    probabilities = np.array([[0.6, 0.3, 0.1]])
    assert adjusted(probabilities, [60, 30, 10], 0.0) == pytest.approx(probabilities)
    assert adjusted(probabilities, [60, 30, 10], 1.0) == pytest.approx(np.full((1, 3), 1 / 3))
    logits = np.random.default_rng(5).normal(size=(50, 3))
    shares = np.array([0.6, 0.3, 0.1])
    expected = (logits - 0.7 * np.log(shares)).argmax(axis=1)
    assert (adjusted(softmax(logits, axis=1), [600, 300, 100], 0.7).argmax(axis=1) == expected).all()
    # A class that no train row has is not made likely: it counts as the most frequent.
    unseen = adjusted(np.array([[0.95, 0.025, 0.025]]), [600, 400, 0], 1.0)
    raw = np.array([0.95 / 600, 0.025 / 400, 0.025 / 600])
    assert unseen == pytest.approx((raw / raw.sum())[None])
    assert np.isfinite(adjusted(probabilities, [0, 0, 0], 1.0)).all()


def test_codes_of_no_rows_have_a_column_each():
    nothing = {"a": np.zeros((0, 2), dtype=np.float32), "b": np.zeros((0, 3), dtype=np.float32)}
    assert code_scores(nothing, CODE).shape == (0, 6)


def test_macro_f1_is_scikit_learns_over_the_classes_that_occur():
    generator = np.random.default_rng(6)
    for _ in range(20):
        given, said = generator.integers(0, 4, (2, 15))
        assert macro_f1(said, given, 6) == pytest.approx(f1_score(given, said, average="macro", zero_division=0))
    assert macro_f1(np.zeros(0, dtype=int), np.zeros(0, dtype=int), 3) == 0.0


def test_the_strength_is_where_the_codes_are_likeliest():
    probabilities, labels = dependent(800, seed=7, noise=1.2)
    counts = count_codes(labels, CODE)
    decoder = fit_joint(probabilities, labels, combiner=CODE, code_counts=counts)
    codes, ratios = CODE.encode(labels), log_ratios(counts, CODE)

    def likelihood(strength: float) -> float:
        return np.log(softmax(code_scores(probabilities, CODE) + strength * ratios, axis=1)[np.arange(800), codes]).mean()

    assert likelihood(decoder.strength) >= max(likelihood(strength) for strength in np.linspace(0, 3, 61)) - 1e-6
    assert decoder.strength > 0.5


def test_offsets_never_score_below_argmax_on_their_own_rows_and_do_better_where_a_class_is_shunned():
    generator = np.random.default_rng(8)
    labels = {"a": generator.integers(0, 2, 400), "b": generator.integers(0, 3, 400)}
    probabilities = {head: softmax(np.eye(radix)[labels[head]] * 2 + generator.normal(0, 1, (400, radix)) - np.arange(radix), axis=1)
                     for head, radix in zip(CODE.order, CODE.radices, strict=True)}  # fmt: skip
    decoder = fit_offsets(probabilities, labels, combiner=CODE)
    given = CODE.encode(labels)
    plain, shifted = (CODE.encode(each.decide(probabilities, CODE)) for each in (Decoder(), decoder))
    assert macro_f1(shifted, given, 6) > macro_f1(plain, given, 6) + 0.05
    assert decoder.offsets["b"][2] > decoder.offsets["b"][0]
    alone = fit_offsets(probabilities, labels, combiner=None)
    for head, radix in zip(CODE.order, CODE.radices, strict=True):
        own, before = alone.decide(probabilities, None)[head], probabilities[head].argmax(axis=1)
        assert macro_f1(own, labels[head], radix) >= macro_f1(before, labels[head], radix)


def test_the_scores_of_all_shifts_are_those_of_each_shift_alone():
    generator = np.random.default_rng(12)
    for _ in range(10):
        # Margins on a coarse grid, so that some meet a shift exactly.
        logs = np.round(generator.normal(0, 1, (30, 4)) * 5) / 5
        given, place = generator.integers(0, 4, 30), int(generator.integers(0, 4))
        others = np.where(np.arange(4) == place, -np.inf, logs)
        rival, margin = others.argmax(axis=1), others.max(axis=1) - logs[:, place]
        first = np.array([np.searchsorted(_CANDIDATES, m, "left" if place < r else "right") for m, r in zip(margin, rival, strict=True)])
        found = _scores_of_shifts(first, rival, np.full(30, place), given, 4)
        for score, shift in zip(found, _CANDIDATES, strict=True):
            moved = np.where((shift > margin) | ((shift == margin) & (place < rival)), place, rival)
            assert score == pytest.approx(macro_f1(moved, given, 4))


def test_offsets_stay_at_zero_where_they_would_change_nothing():
    probabilities = {"a": np.array([[0.9, 0.1], [0.1, 0.9]]), "b": np.eye(3)[[0, 2]]}
    decoder = fit_offsets(probabilities, {"a": np.array([0, 1]), "b": np.array([0, 2])}, combiner=CODE)
    assert all(not values.any() for values in decoder.offsets.values())
    none = fit_offsets(probabilities, {"a": np.array([-1, -1]), "b": np.array([-1, -1])}, combiner=CODE)
    assert all(not values.any() for values in none.offsets.values())


def choose(kind, probabilities, labels, *, combiner=CODE, groups=None):
    counts = count_codes(labels, CODE)
    folds = group_folds(np.arange(len(labels["a"])) // 4 if groups is None else groups)
    return choose_decoder(kind, probabilities, labels, folds, combiner=combiner, code_counts=counts)


def test_joint_decoding_is_used_where_it_helps_on_rows_it_was_not_fitted_on():
    probabilities, labels = dependent(1200, seed=9, noise=1.2)
    choice = choose("joint", probabilities, labels)
    assert choice.used
    assert choice.fitted_f1 > choice.argmax_f1 + 0.02
    assert "joint" in choice.reason and "cross-fitted" in choice.reason


def test_offsets_fitted_to_noise_are_not_used_and_the_reason_is_told():
    generator = np.random.default_rng(10)
    kept = []
    for seed in range(4):
        labels = {"a": generator.integers(0, 2, 24), "b": generator.integers(0, 3, 24)}
        choice = choose("offsets", probable(24, seed=seed), labels)
        assert choice.used == (choice.fitted_f1 >= choice.argmax_f1)
        kept.append(choice)
    assert not all(choice.used for choice in kept)
    assert all("argmax kept" in choice.reason for choice in kept if not choice.used)


@pytest.mark.parametrize(
    ("kind", "labels", "options", "says"),
    [
        ("joint", {"a": [0, 1], "b": [0, 1]}, {"combiner": None}, "has not all heads"),
        ("joint", {"a": [0, -1], "b": [-1, 1]}, {}, "no train row has every label"),
        ("offsets", {"a": [-1, -1], "b": [-1, -1]}, {}, "no validation row"),
        ("offsets", {"a": [0, 1], "b": [0, 1]}, {"groups": [7, 7]}, "fewer than two validation groups"),
    ],
)
def test_argmax_is_kept_where_nothing_can_be_fitted_or_judged(kind, labels, options, says):
    choice = choose(kind, probable(2, seed=11), {head: np.array(values) for head, values in labels.items()}, **options)
    assert not choice.used
    assert says in choice.reason
