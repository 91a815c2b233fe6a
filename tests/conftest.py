"""What the tests share: a tiny drawn dataset, a run trained on it, and the command line called in this process."""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, settings

# The same examples each time, so that a failure in one place is a failure everywhere; nothing is timed.
settings.register_profile("steady", derandomize=True, deadline=None)
# For `make mutants`, where hundreds of failures are expected, and the smallest example of each is not asked for.
settings.register_profile("unshrunk", settings.get_profile("steady"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("steady")

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}
CARD = """\
title: Coloured squares
root: .
tables: [labels.csv]
images: {root: images, column: file}
group: person
attributes:
  colour: {classes: [red, green, blue]}
  size: {column: Size, classes: [small, large]}
"""
TASK = """\
title: Squares
cards: [squares.card.yaml]
heads: [colour, size]
image: {px: 32}
trunk: {name: resnet18, weights: none}
optimiser: {lr: 2.0e-3}
batch_size: 16
epochs: 2
combine: {name: code, order: [colour, size]}
submission: {ImageID: image, ans: code}
"""


@dataclass(frozen=True)
class Result:
    """What the shell would see."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def no_cache_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What fixtures that many tests share leave in the cache."""
    os.environ["ATTRCLS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test leaves features in the user's cache, or finds some there."""
    monkeypatch.setenv("ATTRCLS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Call `attrcls` with arguments, as its entry point does."""
    return lambda *arguments: call_cli(arguments, capsys, monkeypatch)


def call_cli(arguments: Sequence[object], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    from attrcls.cli.app import main

    monkeypatch.setattr(sys, "argv", ["attrcls", *map(str, arguments)])
    capsys.readouterr()
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)


@contextlib.contextmanager
def stopped_after(epoch: int) -> Iterator[None]:
    """Trainings inside end as by Ctrl-C once that epoch is kept."""
    from attrcls.runs import epochs

    real = epochs.save_checkpoint

    def save_then_stop(state: Any, path: Path) -> None:
        real(state, path)
        if path.name == "last.safetensors" and state.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "save_checkpoint", save_then_stop)
        yield


def draw_square(path: Path, *, colour: str, large: bool, seed: int = 0) -> None:
    """A coloured square on noise: 40 × 36 pixels."""
    generator = np.random.default_rng(seed)
    image = generator.integers(90, 140, (36, 40, 3), dtype=np.uint8)
    half = 14 if large else 6
    x, y = 20 + generator.integers(-3, 4), 18 + generator.integers(-2, 3)
    cv2.rectangle(image, (int(x - half), int(y - half)), (int(x + half), int(y + half)), COLOURS[colour], -1)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[:, :, ::-1])


def draw_squares(folder: Path, *, people: int = 20, each: int = 4) -> pd.DataFrame:
    """`labels.csv`, `images/`, a card and a task: `people` groups with `each` pictures."""
    rows = []
    for person in range(people):
        for index in range(each):
            number = person * each + index
            colour, large = list(COLOURS)[number % 3], (number // 3) % 2 == 1
            name = f"p{person:02}_{index}.jpg"
            draw_square(folder / "images" / name, colour=colour, large=large, seed=number)
            rows.append({"file": name, "colour": colour, "Size": "large" if large else "small", "person": f"p{person}"})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "labels.csv", index=False)
    (folder / "squares.card.yaml").write_text(CARD)
    (folder / "squares.task.yaml").write_text(TASK)
    return table


def cut_sizes(folder: Path) -> None:
    """Put numbers in place of the sizes' names, which the card then cuts at 10."""
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    table["Size"] = table["Size"].map({"small": "9.5", "large": "14"})
    table.to_csv(folder / "labels.csv", index=False)
    card = folder / "squares.card.yaml"
    card.write_text(card.read_text().replace("[small, large]}", "[small, large], cuts: [10]}"))


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """A fresh copy of the drawn dataset."""
    draw_squares(tmp_path / "squares")
    return tmp_path / "squares"


@pytest.fixture(scope="session")
def shared_squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn dataset, for tests that only read it."""
    folder = tmp_path_factory.mktemp("squares")
    draw_squares(folder)
    return folder


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for properties that write a file over and over: a new folder for each example would take most of the time."""
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(scope="session")
def few_squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of six people, for tests that run commands many times over and only read it."""
    folder = tmp_path_factory.mktemp("few_squares")
    draw_squares(folder, people=6, each=2)
    return folder


@pytest.fixture(scope="session")
def trained_run(shared_squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the drawn dataset, for tests that only read it."""
    from attrcls.runs.train import run_train

    out = tmp_path_factory.mktemp("runs") / "squares"
    return run_train(str(shared_squares / "squares.task.yaml"), out=out, workers=0)


@pytest.fixture(scope="session")
def graph_cache(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the ONNX graph of the finished run: making one takes seconds."""
    from attrcls.prediction.graphs import kept_graph
    from attrcls.prediction.models import load_models

    cache = tmp_path_factory.mktemp("graph_cache")
    kept_graph(load_models([trained_run])[0], cache)
    return cache


@pytest.fixture
def with_graph(graph_cache: Path, own_cache: None, tmp_path: Path) -> None:
    """The finished run's ONNX graph in the test's own cache."""
    shutil.copytree(graph_cache / "graphs", tmp_path / "cache" / "graphs")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Hide a package, as if it were not installed."""
    return lambda package: monkeypatch.setitem(sys.modules, package, None)
