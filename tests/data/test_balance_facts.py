import numpy as np
import pytest

from attrcls.data.balance_facts import measure_balance

LABELS = np.array([0] * 8 + [1] * 2 + [-1] * 2)


def measure(weights, *, cap=10.0, base=None, names=("plenty", "few", "none")):
    base = np.ones(len(LABELS)) if base is None else base
    return measure_balance({"kind": LABELS}, {"kind": names}, base=base, weights=np.array(weights), strength=1.0, cap=cap)


EVEN = [5 / 8] * 8 + [5 / 2] * 2 + [1.0] * 2


def test_counts_gap_and_ratio_before_and_after_leave_out_a_class_without_rows():
    head = measure(EVEN).heads[0]
    assert [(each.before, each.after) for each in head.classes] == [(8, 5), (2, 5), (0, 0)]
    assert (head.gap_before, head.gap_after, head.ratio_before, head.ratio_after) == (6, 0, 4, 1)
    assert head.unmet == ""


def test_the_effective_sample_size_is_kishs():
    # 12² / (8·(5/8)² + 2·(5/2)² + 2) = 144 / 17.625
    assert measure(EVEN).effective == pytest.approx(144 / 17.625)
    assert measure([1.0] * 12).effective == pytest.approx(12)


def test_the_most_repeated_rows_are_those_drawn_more_than_once():
    assert measure(EVEN).repeated == ((8, 2.5), (9, 2.5))
    assert measure([1.0] * 12).repeated == ()


def test_draws_count_what_a_cards_ratio_adds():
    facts = measure([1.0] * 12, base=np.full(12, 1.5))
    assert (facts.draws, facts.heads[0].classes[0].before) == (18, 12)


def test_what_the_cap_keeps_from_being_equal_is_said():
    assert measure([7 / 8] * 8 + [1.5] * 2 + [1.0] * 2, cap=1.5).unmet == [
        "kind is not as equal as asked: few gets 3 of 5 draws; the cap of 1.5 holds them back"
    ]


def test_labels_that_do_not_go_together_are_blamed_where_the_cap_is_not_reached():
    assert "do not occur together in that proportion" in measure([7 / 8] * 8 + [1.5] * 2 + [1.0] * 2).unmet[0]


def test_a_head_without_a_single_label_has_nothing_to_say():
    facts = measure_balance({"kind": np.full(3, -1)}, {"kind": ("a", "b")}, base=np.ones(3), weights=np.ones(3), strength=1.0, cap=10.0)
    assert (facts.heads[0].gap_after, facts.heads[0].ratio_after, facts.unmet) == (0, 1, [])
