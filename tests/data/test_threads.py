"""Small pieces of work in threads."""

import pytest

from attrcls.data.threads import in_threads


@pytest.mark.parametrize("rows", [0, 1, 99, 100, 101, 1234])
def test_results_come_in_the_order_of_the_rows(rows):
    assert in_threads(lambda row: row * row, rows) == [row * row for row in range(rows)]


def test_what_the_work_raises_is_raised():
    def work(row: int) -> int:
        if row == 150:
            raise ValueError("row 150")
        return row

    with pytest.raises(ValueError, match="row 150"):
        in_threads(work, 200)
