import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attrcls.combine import Combiner, combiner_for
from attrcls.errors import UserError
from attrcls.task import load_plan

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


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 12), st.data())
def test_rows_of_any_labels_come_back_and_a_row_that_misses_one_comes_back_missing(radices, rows, data):
    combiner = Combiner("code", tuple(f"a{i}" for i in range(len(radices))), tuple(radices))
    labels = {
        attribute: np.array(data.draw(st.lists(st.integers(-1, radix - 1), min_size=rows, max_size=rows)), dtype=np.int64)
        for attribute, radix in zip(combiner.order, radices, strict=True)
    }
    missing = np.logical_or.reduce([column == -1 for column in labels.values()])
    codes = combiner.encode(labels)
    assert codes.shape == (rows,)
    assert ((codes == -1) == missing).all()
    assert ((codes >= -1) & (codes < combiner.size)).all()
    for attribute, column in combiner.decode(codes).items():
        assert column.tolist() == np.where(missing, -1, labels[attribute]).tolist()


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(-40, 8_000))
def test_a_code_outside_the_range_is_refused_and_none_inside(radices, code):
    combiner = Combiner("code", tuple(f"a{i}" for i in range(len(radices))), tuple(radices))
    if -1 <= code < combiner.size:
        assert all(-1 <= int(column[0]) < radix for column, radix in zip(combiner.decode([code]).values(), radices, strict=True))
    else:
        with pytest.raises(UserError, match=f"expected 0 to {combiner.size - 1}"):
            combiner.decode([code])


def test_codes_of_small_integers_do_not_overflow():
    combiner = Combiner("code", ("a", "b"), (20, 20))
    columns = {"a": np.array([19], dtype=np.int8), "b": np.array([19], dtype=np.int8)}
    assert combiner.encode(columns).tolist() == [399]
    assert combiner.encode(columns).dtype == np.int64
    assert combiner.decode(np.array([19], dtype=np.int8))["a"].dtype == np.int64


def test_errors_of_a_code_name_it_and_what_was_found():
    combiner = Combiner("ans", ("a", "b"), (3, 2))
    with pytest.raises(UserError, match="combined code 'ans': attribute 'b' is not among a, c"):
        combiner.encode({"a": [0], "c": [0]})
    with pytest.raises(UserError, match="attribute 'a' is not among none"):
        combiner.encode({})
    with pytest.raises(UserError, match="combined code 'ans': expected a from 0 to 2, found 0 to 3"):
        combiner.encode({"a": [0, 3], "b": [0, 0]})
    with pytest.raises(UserError, match="combined code 'ans': expected 0 to 5, found -2 to 4"):
        combiner.decode([-2, 4])
    with pytest.raises(UserError, match="one positive class count per attribute"):
        Combiner("ans", ("a",), (0,))
    assert Combiner("ans", ("a",), (1,)).size == 1


def test_a_code_needs_a_class_count_for_each_of_its_attributes_and_one_attribute_at_least():
    with pytest.raises(UserError, match=r"^combined code 'ans': expected one positive class count per attribute, found \(3, 2\)$"):
        Combiner("ans", ("a",), (3, 2))
    with pytest.raises(UserError, match=r"expected one positive class count per attribute, found \(\)$"):
        Combiner("ans", (), ())


def test_a_task_says_its_code_and_the_classes_of_its_attributes_are_the_radices():
    assert combiner_for(load_plan("mask18")) == Combiner("ans", ("mask", "gender", "age"), (3, 2, 3))
    assert combiner_for(load_plan("age5")) is None


def test_no_rows_have_no_codes_and_they_are_integers_all_the_same():
    codes = MASK18.encode({"mask": [], "gender": [], "age": []})
    assert (codes.shape, codes.dtype) == ((0,), np.int64)
    assert {attribute: (column.shape, column.dtype) for attribute, column in MASK18.decode([]).items()} == dict.fromkeys(
        ("mask", "gender", "age"), ((0,), np.int64)
    )
