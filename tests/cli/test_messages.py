"""What errors say: `messages.py` provokes them, one by one, and prints them in a row when it is run."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest


def load_messages():
    spec = importlib.util.spec_from_file_location("messages", Path(__file__).with_name("messages.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["messages"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


messages = load_messages()
# What only a programmer can read: types, objects, exceptions, containers.
PYTHON = re.compile(r"Traceback|NoneType|<class|<[\w.]+ object|\bat 0x|dtype|PosixPath|array\(|\['|\{'|\b[A-Z]\w+(Error|Exception)\b|nan\b")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return messages.make_template(tmp_path_factory.mktemp("messages") / "template")


@pytest.mark.parametrize("case", messages.CASES, ids=lambda case: case.name)
def test_an_error_says_where_it_lies_and_how_to_mend_it(case, template, tmp_path):
    told = messages.tell(case, template, tmp_path / "place")
    said = told.err if case.code == 2 else told.out + told.err
    assert told.code == case.code, said
    for part in case.says:
        assert part in said, f"{part!r} is not said:\n{said}"
    assert not PYTHON.search(said), said
    assert str(tmp_path) not in said, "paths are told as they were given"
    if case.code == 2:
        assert re.search(r"^(error: |Error: )", said, re.MULTILINE), said
    assert not re.search(r"(^|: ): ", said, re.MULTILINE), "something is missing before a colon"
    assert max(map(len, said.splitlines())) < 400, "a line too long to read"


def test_every_case_has_a_name_of_its_own():
    names = [case.name for case in messages.CASES]
    assert len(set(names)) == len(names)
    assert all(case.says and all(case.says) for case in messages.CASES)
