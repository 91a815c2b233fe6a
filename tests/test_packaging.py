"""The wheel holds the bundled tasks and cards, and finds them without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from attrcls.spec import bundled_specs

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)], cwd=ROOT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_a_wheel_finds_its_tasks_cards_and_templates_without_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assets = [path.name for ending in ("*.j2", "*.css", "*.js") for path in (ROOT / "src/attrcls/report").glob(ending)]
    assert {"report.html.j2", "review.html.j2", "review_page.js"} <= set(assets)
    assert {f"attrcls/report/{asset}" for asset in assets} <= set(names)
    code = (
        "import attrcls.spec as s, pathlib; "
        "paths = [p for k in ('tasks', 'data_cards') for p in s.bundled_specs(k).values()]; "
        "print(*sorted(f'{p.parent.name}/{p.name}' for p in paths)); "
        "assert all('bundled' in p.parts for p in paths)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment).stdout
    here = sorted(f"{path.parent.name}/{path.name}" for folder in ("tasks", "data_cards") for path in (ROOT / folder).glob("*.yaml"))
    assert shown.split() == here


def test_the_checkout_finds_the_same_files_at_its_top_level():
    assert {path.parent for path in bundled_specs("tasks").values()} == {ROOT / "tasks"}
    assert {path.parent for path in bundled_specs("data_cards").values()} == {ROOT / "data_cards"}


def test_the_lock_file_has_hashes_and_names_no_registry():
    text = (ROOT / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
    assert len(lines) > 50
    assert all(line.endswith("\\") for line in lines)
    assert "index-url" not in text
    assert "://" not in text


def test_no_source_file_is_over_300_lines():
    sources = [path for ending in ("*.py", "*.js", "*.css", "*.j2") for path in (ROOT / "src").rglob(ending)]
    long = [path.name for path in sources if len(path.read_text(encoding="utf-8").splitlines()) > 300]
    assert long == []
