import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrcls.combine import Combiner
from attrcls.errors import UserError

MASK18 = Combiner("ans", ("mask", "gender", "age"), (3, 2, 3))


def test_the_code_is_six_mask_plus_three_gender_plus_age():
    mask, gender, age = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1]), np.array([0, 2, 1, 2])
    assert MASK18.encode({"mask": mask, "gender": gender, "age": age}).tolist() == (mask * 6 + gender * 3 + age).tolist() == [0, 11, 13, 17]


def test_decoding_undoes_encoding_for_every_code():
    codes = np.arange(18)
    assert MASK18.encode(MASK18.decode(codes)).tolist() == codes.tolist()


def test_a_missing_attribute_makes_the_code_missing_and_back():
    assert MASK18.encode({"mask": [0, 1], "gender": [-1, 1], "age": [0, 1]}).tolist() == [-1, 10]
    assert MASK18.decode([-1])["age"].tolist() == [-1]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.data())
def test_any_radices_round_trip(radices, data):
    combiner = Combiner("code", tuple(f"a{i}" for i in range(len(radices))), tuple(radices))
    code = data.draw(st.integers(0, combiner.size - 1))
    assert combiner.encode(combiner.decode([code])).tolist() == [code]


def test_what_is_outside_its_range_is_refused():
    with pytest.raises(UserError, match="expected gender from 0 to 1"):
        MASK18.encode({"mask": [0], "gender": [2], "age": [0]})
    with pytest.raises(UserError, match="expected 0 to 17"):
        MASK18.decode([18])
    with pytest.raises(UserError, match="'age' is not among"):
        MASK18.encode({"mask": [0], "gender": [1]})
