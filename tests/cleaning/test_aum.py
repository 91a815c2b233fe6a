import weakref

import pytest
import torch
from aum import AUMCalculator

from attrcls.cleaning.aum import MarginSums, margins_of


def test_a_hand_worked_margin_is_the_given_logit_minus_the_largest_other():
    logits = torch.tensor([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0], [3.0, 3.0, 0.0]])
    assert margins_of(logits, torch.tensor([0, 1, 0])).tolist() == [-3.0, 3.0, 0.0]


def test_the_mean_over_epochs_is_the_aum():
    sums = MarginSums(2, 2)
    for first, second in ((1.0, 4.0), (3.0, -2.0)):
        sums.add(torch.tensor([1, 0]), torch.tensor([[first, 0.0], [second, 0.0]]), torch.tensor([0, 0]), torch.tensor([True, True]))
    assert sums.aum().tolist() == [1.0, 2.0]
    assert sums.mean_logits().tolist() == [[1.0, 0.0], [2.0, 0.0]]


@pytest.mark.parametrize("seed", range(5))
def test_aum_equals_the_authors_package_on_logged_logits(seed, tmp_path):
    generator = torch.Generator().manual_seed(seed)
    rows, classes = 64, int(torch.randint(2, 12, (1,), generator=generator))
    targets = torch.randint(classes, (rows,), generator=generator)
    sums, oracle = MarginSums(rows, classes), AUMCalculator(str(tmp_path))
    for _ in range(6):
        # Batches of 1 are left out: the oracle squeezes their only dimension away.
        for batch in torch.randperm(rows, generator=generator).split(16):
            logits = torch.randn(len(batch), classes, generator=generator) * 10
            sums.add(batch, logits, targets[batch], torch.ones(len(batch), dtype=torch.bool))
            oracle.update(logits, targets[batch], batch.tolist())
    expected = [oracle.sums[row] / oracle.counts[row] for row in range(rows)]
    assert sums.aum().tolist() == pytest.approx(expected, abs=1e-5)


def test_a_missing_label_adds_nothing_even_where_logits_are_infinite():
    sums = MarginSums(2, 2)
    logits = torch.tensor([[float("inf"), float("nan")], [1.0, 0.0]])
    sums.add(torch.tensor([0, 1]), logits, torch.tensor([0, 0]), torch.tensor([False, True]))
    assert torch.isnan(sums.aum()[0]) and sums.aum()[1] == 1.0
    assert sums.counts.tolist() == [0, 1]


def test_a_row_that_stands_twice_in_a_batch_counts_twice():
    sums = MarginSums(1, 2)
    sums.add(torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [4.0, 0.0]]), torch.tensor([0, 0]), torch.tensor([True, True]))
    assert sums.aum().tolist() == [2.5] and sums.counts.tolist() == [2]


def test_a_single_class_has_no_margin_and_a_batch_of_one_works():
    sums = MarginSums(1, 1)
    sums.add(torch.tensor([0]), torch.tensor([[7.0]]), torch.tensor([0]), torch.tensor([True]))
    assert sums.aum().tolist() == [0.0]


def test_many_steps_are_summed_in_parts_without_losing_a_row(monkeypatch):
    monkeypatch.setattr("attrcls.cleaning.aum._LOGITS_AT_ONCE", 10)
    generator = torch.Generator().manual_seed(0)
    rows, classes = 23, 4
    sums, margins, logits_sum = MarginSums(rows, classes), torch.zeros(rows, dtype=torch.float64), torch.zeros(rows, classes)
    targets = torch.randint(classes, (rows,), generator=generator)
    present = torch.rand(rows, generator=generator) > 0.3
    for _ in range(3):
        for batch in torch.randperm(rows, generator=generator).split(4):
            logits = torch.randn(len(batch), classes, generator=generator)
            sums.add(batch, logits, targets[batch], present[batch])
            margins[batch] += margins_of(logits, targets[batch])
            logits_sum[batch] += logits
    assert sums.counts.tolist() == (3 * present).tolist()
    assert torch.allclose(sums.aum()[present], margins[present] / 3, atol=1e-6)
    assert torch.allclose(sums.mean_logits()[present], logits_sum[present] / 3, atol=1e-6)
    assert sums.aum()[~present].isnan().all() and sums.mean_logits()[~present].isnan().all()


@pytest.mark.parametrize(("at_once", "steps"), [(8, 2), (9, 3)])
def test_steps_are_let_go_as_soon_as_so_many_logits_have_come(at_once, steps, monkeypatch):
    monkeypatch.setattr("attrcls.cleaning.aum._LOGITS_AT_ONCE", at_once)
    sums = MarginSums(2, 2)
    for _ in range(2):
        waiting = []
        for _ in range(steps):
            assert all(logits() is not None for logits in waiting)
            logits = torch.zeros(2, 2)
            waiting.append(weakref.ref(logits))
            sums.add(torch.tensor([0, 1]), logits, torch.tensor([0, 1]), torch.tensor([True, True]))
            del logits
        assert all(logits() is None for logits in waiting)


def test_sums_go_on_from_where_they_were_kept():
    steps = [(torch.tensor([0, 1]), torch.tensor([[value, 0.0, 1.0], [0.0, value, 5.0]])) for value in (2.0, 8.0, -4.0)]
    targets, present = torch.tensor([0, 1]), torch.tensor([True, True])
    whole, first, second = (MarginSums(3, 3) for _ in range(3))
    for rows, logits in steps:
        whole.add(rows, logits, targets, present)
    for rows, logits in steps[:2]:
        first.add(rows, logits, targets, present)
    kept = {name: tensor.clone() for name, tensor in first.state().items()}
    second.load(kept)
    for rows, logits in steps[2:]:
        second.add(rows, logits, targets, present)
    # The margins of row 0 are 1, 7 and -5; those of row 1 are -3, 3 and -9.
    assert second.aum()[:2].tolist() == whole.aum()[:2].tolist() == [1.0, -3.0]
    assert second.mean_logits()[:2].tolist() == whole.mean_logits()[:2].tolist() == [[2.0, 0.0, 1.0], [0.0, 2.0, 5.0]]
    assert second.counts.tolist() == [3, 3, 0]
    assert second.aum()[2].isnan() and second.mean_logits()[2].isnan().all()


def test_state_keeps_margins_logits_and_counts_by_name():
    sums = MarginSums(2, 2)
    sums.add(torch.tensor([1]), torch.tensor([[3.0, 1.0]]), torch.tensor([0]), torch.tensor([True]))
    state = sums.state()
    assert {name: tensor.tolist() for name, tensor in state.items()} == {
        "margins": [0.0, 2.0], "logits": [[0.0, 3.0], [0.0, 1.0]], "counts": [0, 1],
    }  # fmt: skip
    assert (state["margins"].dtype, state["logits"].dtype, state["counts"].dtype) == (torch.float64, torch.float32, torch.int64)
    assert (sums.aum().dtype, sums.mean_logits().dtype) == (torch.float64, torch.float32)
