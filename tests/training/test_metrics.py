import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from attrcls.combine import Combiner
from attrcls.training.metrics import confusion_matrix, score_all, score_head


def test_a_hand_worked_case():
    scores = score_head(np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, -1]))
    # Class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3; class 2 occurs only where no label is.
    assert scores["top1"] == pytest.approx(3 / 4)
    assert scores["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_scikit_learns_on_random_cases(seed):
    generator = np.random.default_rng(seed)
    classes, rows = int(generator.integers(2, 8)), int(generator.integers(1, 60))
    targets, predicted = generator.integers(-1, classes, rows), generator.integers(0, classes, rows)
    targets[0] = 0
    known = targets >= 0
    scores = score_head(predicted, targets)
    given = {"y_true": targets[known], "y_pred": predicted[known]}
    assert scores["top1"] == pytest.approx(oracle.accuracy_score(**given), abs=1e-6)
    for name, function in (("precision", oracle.precision_score), ("recall", oracle.recall_score), ("f1", oracle.f1_score)):
        assert scores[name] == pytest.approx(function(**given, average="macro", zero_division=0), abs=1e-6)
    assert confusion_matrix(predicted, targets, classes=classes).tolist() == oracle.confusion_matrix(**given, labels=range(classes)).tolist()


@pytest.mark.parametrize(
    ("predicted", "targets", "top1"),
    [([0], [0], 1.0), ([1], [0], 0.0), ([2, 2], [2, 2], 1.0)],
    ids=["one class", "one row", "one value"],
)
def test_degenerate_cases_have_plain_scores(predicted, targets, top1):
    scores = score_head(np.array(predicted), np.array(targets))
    assert scores["top1"] == top1
    assert scores["f1"] == top1


def test_a_head_without_labels_has_no_score_and_does_not_count_in_the_mean():
    scores = score_all({"a": np.array([0, 1]), "b": np.array([0, 0])}, {"a": np.array([0, 1]), "b": np.array([-1, -1])}, combiner=None)
    assert np.isnan(scores["b/top1"])
    assert scores["mean/top1"] == 1.0


def test_the_code_is_scored_over_its_own_classes_where_all_its_heads_are_predicted():
    combiner = Combiner("code", ("a", "b"), (2, 2))
    predicted, targets = {"a": np.array([0, 1, 1]), "b": np.array([0, 1, 0])}, {"a": np.array([0, 1, 1]), "b": np.array([0, 1, 1])}
    scores = score_all(predicted, targets, combiner=combiner)
    assert scores["code/top1"] == pytest.approx(2 / 3)
    assert scores["code/f1"] == pytest.approx(oracle.f1_score([0, 3, 3], [0, 3, 2], average="macro", zero_division=0))
    assert "code/top1" not in score_all({"a": predicted["a"]}, targets, combiner=combiner)


@st.composite
def heads(draw, most_rows=30):
    """Predicted and given classes of two heads, with their class counts: absent classes, single ones, no label at all, one row."""
    rows = draw(st.integers(1, most_rows))
    classes = {"a": draw(st.integers(1, 6)), "b": draw(st.integers(1, 3))}
    # The largest class that occurs, so that one class alone, or none, is not rare.
    column = {name: st.integers(-1, draw(st.integers(-1, count - 1))) for name, count in classes.items()}
    targets = {name: np.array(draw(st.lists(column[name], min_size=rows, max_size=rows))) for name in classes}
    predicted = {name: np.array(draw(st.lists(st.integers(0, count - 1), min_size=rows, max_size=rows))) for name, count in classes.items()}
    return predicted, targets, classes


def oracle_scores(predicted, targets):
    """scikit-learn's scores over the rows with a label, NaN where there is none."""
    known = targets >= 0
    if not known.any():
        return dict.fromkeys(("top1", "precision", "recall", "f1"), np.nan)
    both = {"y_true": targets[known], "y_pred": predicted[known]}
    macro = {"average": "macro", "zero_division": 0}
    return {
        "top1": oracle.accuracy_score(**both), "precision": oracle.precision_score(**both, **macro),
        "recall": oracle.recall_score(**both, **macro), "f1": oracle.f1_score(**both, **macro),
    }  # fmt: skip


@settings(max_examples=100)
@given(heads())
def test_whatever_occurs_all_scores_are_scikit_learns(drawn):
    predicted, targets, classes = drawn
    combiner = Combiner("code", ("a", "b"), (classes["a"], classes["b"]))
    scores = score_all(predicted, targets, combiner=combiner)
    expected = {head: oracle_scores(predicted[head], targets[head]) for head in classes}
    for head, metrics in expected.items():
        for name, value in metrics.items():
            assert scores[f"{head}/{name}"] == pytest.approx(value, abs=1e-6, nan_ok=True)
    for name in ("top1", "f1"):
        known = [metrics[name] for metrics in expected.values() if not np.isnan(metrics[name])]
        assert scores[f"mean/{name}"] == pytest.approx(np.mean(known) if known else np.nan, abs=1e-6, nan_ok=True)
    both = (targets["a"] >= 0) & (targets["b"] >= 0)
    given_code = np.where(both, targets["a"] * classes["b"] + targets["b"], -1)
    code = oracle_scores(predicted["a"] * classes["b"] + predicted["b"], given_code)
    assert [scores["code/top1"], scores["code/f1"]] == pytest.approx([code["top1"], code["f1"]], abs=1e-6, nan_ok=True)


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(max_examples=60)
@given(heads())
def test_a_confusion_matrix_counts_every_labelled_row_once_and_is_scikit_learns(drawn):
    predicted, targets, classes = drawn
    for head, count in classes.items():
        matrix = confusion_matrix(predicted[head], targets[head], classes=count)
        known = targets[head] >= 0
        expected = np.zeros((count, count), dtype=int)
        if known.any():
            expected = oracle.confusion_matrix(targets[head][known], predicted[head][known], labels=range(count))
        assert matrix.tolist() == expected.tolist()
