from attrcls.errors import Problem, shortened


def test_a_text_that_is_too_long_keeps_its_start_and_its_end():
    text = "start" + "x" * 100_000 + "end"
    short = shortened(text, 300)
    assert short.startswith("start") and short.endswith("end")
    assert len(short) < 340
    assert "99,708 characters" in short
    assert shortened("short", 5) == "short"


def test_a_problem_with_a_huge_cell_still_says_where_and_what():
    told = str(Problem("labels.csv", f"expected red, found {'x' * 100_000}; did you mean 'red'?", row=3, column="colour"))
    assert told.startswith("labels.csv, row 3, column colour: expected red")
    assert told.endswith("did you mean 'red'?")
    assert len(told) < 600
