import numpy as np
import pytest

from attrcls.cleaning.roles import FEWEST_UNITS, draw_roles, units_of
from attrcls.types import MISSING


def targets_of(count: int, classes: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, count)


def test_no_unit_has_a_role_in_both_runs_and_each_is_as_given_in_one_at_least():
    units = units_of(targets_of(500, 4))
    first, second = draw_roles(units, classes=4, runs=2, seed=1)
    assert not ((~first.as_given) & (~second.as_given)).any()
    assert first.threshold.sum() == second.threshold.sum() == 25
    assert (first.planted != MISSING).sum() == 25
    assert not (first.threshold & (first.planted != MISSING)).any()


def test_of_three_runs_none_shares_a_changed_unit_with_another():
    changed = np.stack([~roles.as_given for roles in draw_roles(units_of(targets_of(500, 4)), classes=4, runs=3, seed=1)])
    assert changed.sum(axis=1).tolist() == [50, 50, 50]
    assert (changed.sum(axis=0) <= 1).all()


def test_planted_labels_are_wrong_classes_of_the_head():
    units = units_of(targets_of(1000, 3))
    for roles in draw_roles(units, classes=3, runs=2, seed=2):
        chosen = roles.planted != MISSING
        assert (roles.planted[chosen] != units.labels[chosen]).all()
        assert set(roles.planted[chosen]) == {0, 1, 2}


def test_with_many_classes_the_papers_share_of_threshold_samples_holds():
    roles = draw_roles(units_of(targets_of(1000, 99)), classes=99, runs=2, seed=0)[0]
    assert roles.threshold.sum() == 1000 // 100


def test_a_group_has_one_role_as_a_whole_and_a_blank_group_stands_alone():
    groups = np.array([f"p{row // 5}" for row in range(200)] + [""] * 50, dtype=object)
    targets = np.concatenate([np.repeat(targets_of(40, 2), 5), targets_of(50, 2)])
    units = units_of(targets, groups)
    assert len(units.labels) == 90
    for roles in draw_roles(units, classes=2, runs=2, seed=3):
        changed = roles.targets(units, classes=2)
        for person in range(40):
            assert len(set(changed[person * 5 : person * 5 + 5])) == 1


def test_labels_that_differ_in_a_group_are_units_of_their_own():
    units = units_of(np.array([0, 0, 1, 0]), np.array(["a", "a", "a", "b"], dtype=object))
    assert units.of_row.tolist() == [0, 0, 1, 2] and units.labels.tolist() == [0, 1, 0]
    assert units.mean(np.array([1.0, 3.0, 5.0, 7.0])).tolist() == [2.0, 5.0, 7.0]


def test_rows_without_a_label_belong_to_no_unit_and_stay_missing():
    units = units_of(np.array([MISSING, 1, MISSING, 0]))
    assert units.of_row.tolist() == [MISSING, 0, MISSING, 1]
    roles = draw_roles(units, classes=2, runs=2, seed=0)[0]
    assert roles.targets(units, classes=2).tolist() == [MISSING, 1, MISSING, 0]
    assert np.isnan(units.to_rows(np.array([0.5, 0.7]))[0])


@pytest.mark.parametrize(("count", "classes"), [(FEWEST_UNITS - 1, 3), (500, 1), (1, 2), (0, 2)])
def test_too_few_units_or_a_single_class_get_no_roles(count, classes):
    for roles in draw_roles(units_of(targets_of(count, classes)), classes=classes, runs=2, seed=0):
        assert roles.as_given.all()


def test_the_same_seed_draws_the_same_and_another_seed_another():
    units = units_of(targets_of(300, 3))
    drawn = [draw_roles(units, classes=3, runs=2, seed=seed)[0].threshold for seed in (5, 5, 6)]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()
