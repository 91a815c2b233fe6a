import numpy as np
import pytest

from attrcls.data.recipes import Recipes


@pytest.mark.parametrize(
    ("row", "repeat", "chosen"),
    [(0, 0, "usual"), (0, 1, "repeats"), (0, 2, "repeats"), (1, 0, "old"), (1, 1, "old"), (2, 0, "bandana"), (2, 3, "bandana")],
)
def test_a_draw_takes_its_groups_recipe_else_that_of_repeats_else_the_usual_one(row, repeat, chosen):
    recipes = Recipes("usual", "repeats", ["bandana", "old"], np.array([-1, 1, 0]))
    assert recipes.choose(row, repeat=repeat) == chosen


def test_without_groups_and_repeats_every_draw_takes_the_usual_recipe():
    assert {Recipes("usual").choose(row, repeat=repeat) for row in range(3) for repeat in range(3)} == {"usual"}


def test_repeats_without_a_recipe_of_their_own_take_the_usual_one_and_scarce_rows_still_their_groups():
    recipes = Recipes("usual", groups=["old"], group_of=np.array([-1, 0]))
    assert [recipes.choose(row, repeat=1) for row in range(2)] == ["usual", "old"]


def test_what_is_built_of_each_recipe_is_chosen_as_the_recipe_was():
    recipes = Recipes("usual", "repeats", ["bandana", "old"], np.array([-1, 1, 0]))
    built = recipes.built(str.upper)
    draws = [(row, repeat) for row in range(3) for repeat in range(2)]
    assert [built.choose(row, repeat=repeat) for row, repeat in draws] == [recipes.choose(row, repeat=repeat).upper() for row, repeat in draws]
    assert Recipes("usual").built(str.upper) == Recipes("USUAL", groups=[])
