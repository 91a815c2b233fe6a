"""The count of mutants (`make mutants`), without the half hour that the mutants themselves take."""

import tomllib
from pathlib import Path

import pytest
from count_mutants import Count, changed_lines, count, mutated_files, show

ROOT = Path(__file__).parents[1]
RESULTS = """
    attrcls.one.x_f__mutmut_1: killed
    attrcls.one.x_f__mutmut_2: survived
    attrcls.one.xǁClassǁ__init____mutmut_1: timeout
    attrcls.two.three.x_g__mutmut_1: no tests
    attrcls.elsewhere.x_h__mutmut_1: survived
"""
FILES = ("src/attrcls/one.py", "src/attrcls/two/three.py")


def test_what_no_test_noticed_or_reached_survives_and_what_never_ended_does_not():
    counts = count(RESULTS.splitlines(), FILES)
    assert counts["src/attrcls/one.py"] == Count(3, {"attrcls.one.x_f__mutmut_2": "survived"})
    assert counts["src/attrcls/two/three.py"] == Count(1, {"attrcls.two.three.x_g__mutmut_1": "no tests"})
    assert [each.share for each in counts.values()] == [pytest.approx(200 / 3), 0]


def test_a_part_of_the_mutants_is_counted_by_itself(capsys):
    counts = count(RESULTS.splitlines(), FILES, names=["attrcls.one.*__init__*"])
    assert [(each.mutants, each.killed, each.share) for each in counts.values()] == [(1, 1, 100), (0, 0, 100)]
    show(counts)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["all", "1", "1", "100.0", "%"]


def test_of_a_diff_the_changed_lines_are_shown():
    assert changed_lines("# name: survived\n--- a.py\n+++ a.py\n@@ -1,2 +1,2 @@\n def f():\n-    return 1\n+    return 2\n") == (
        "-    return 1\n+    return 2"
    )


def test_the_files_that_are_changed_and_their_tests_are_there():
    tests = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]["pytest_add_cli_args_test_selection"]
    assert len(mutated_files()) == len(tests) == 4
    assert [name for name in (*mutated_files(), *tests) if not (ROOT / name).is_file()] == []
