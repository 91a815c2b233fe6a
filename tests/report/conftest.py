"""A tiny run directory for the tests to spoil, a few suspect faces, and a browser to review them in."""

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from attrcls.data.manifest import Manifest
from attrcls.report.review import write_review

HEADS = {"mask": ["wear", "incorrect", "normal"], "gender": ["male", "female"]}
# (given, predicted, confidence) per head and row: mask has 3 of 5 right, gender 3 of the 4 that have a label.
ROWS = [
    {"mask": ("wear", "wear", 0.9), "gender": ("male", "male", 0.8)},
    {"mask": ("wear", "wear", 0.8), "gender": ("female", "male", 0.7)},
    {"mask": ("wear", "normal", 0.95), "gender": ("female", "female", 0.6)},
    {"mask": ("incorrect", "wear", 0.6), "gender": ("", "male", 0.9)},
    {"mask": ("normal", "normal", 0.7), "gender": ("male", "male", 0.5)},
]
CODE = {"name": "ans", "order": ["mask", "gender"], "radices": [3, 2]}

# Whatever a dataset calls its files, people and classes stays text.
EVIL = "</script><script>window.hacked=1</script>"
EVIL_FILE = '=a,"b" \u00fcn\u00ef <img src=x onerror="window.hacked=1">.png'
FACE_CLASSES = {"mask": ("wear", "incorrect", EVIL), "gender": ("male", "female")}

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900")
PROMPTLY_SECONDS = 20  # for a busy machine; what takes long is found by counting, not by the clock

Answer = tuple[str, str, float]


def build_run(
    folder: Path,
    *,
    heads: Mapping[str, Sequence[str]] = HEADS,
    rows: Sequence[Mapping[str, Answer]] = ROWS,
    combine: Mapping[str, Any] | None = CODE,
    model_combine: Mapping[str, Any] | None = None,
    train_rows: int = 8,
    val_loss: Sequence[float] = (1.2, 0.9, 0.8),
    train_loss: Sequence[float] = (1.3, 0.95, 0.75),
    status: Mapping[str, Any] | None = None,
    card: Mapping[str, Any] | None = None,
    columns: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Write a run whose validation answers are `rows`, and whose train rows take the classes in turn.

    `status` and `card` replace single keys, `model_combine` what the model says of the code; `columns` adds columns (boxes, say) to validation.csv.
    """
    (folder / "model").mkdir(parents=True)
    facts = {"title": "Toy faces", "licence": "CC0", "known_faults": ["drawn, not seen"], "intended_use": "tests", **(card or {})}
    config = {
        "task": {"name": "toy", "title": "Toy task", "cards": [{"card": "toy"}], "heads": {head: {"loss": "focal"} for head in heads}, "seed": 7},
        "cards": {"toy": facts},
        "run": {"weights_loaded": "resnet18 from ImageNet, 120 of 122 tensors"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    _write_json(folder / "status.json", _status(len(val_loss), status or {}))
    attributes = {head: {"classes": list(classes)} for head, classes in heads.items()}
    model = {"format_version": 1, "heads": {head: {} for head in heads}, "attributes": attributes, "combine": model_combine or combine}
    _write_json(folder / "model/model.json", model)
    _splits(heads, rows, train_rows).to_csv(folder / "splits.csv", index=False)
    _metrics(heads, train_loss, val_loss).to_csv(folder / "metrics.csv", index=False)
    _validation(heads, rows, combine).assign(**(columns or {})).to_csv(folder / "validation.csv", index=False)
    return folder


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Build a run at `tmp_path/run`; takes the keywords of `build_run`."""
    return lambda **changes: build_run(tmp_path / "run", **changes)


def make_faces(folder: Path, *, people: int = 4, each: int = 3) -> Manifest:
    """A manifest of grey squares of `people`, the first one hostile, one picture gone; mask varies by picture, gender by person."""
    rows = []
    for number in range(people * each):
        person, index = divmod(number, each)
        name = EVIL_FILE if number == 0 else f"p{person}_{index}.png"
        if number != 1:
            (folder / "images").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 30, 3), 20 * number % 256, dtype=np.uint8)).save(folder / "images" / name)
        group = f"toy:{EVIL}" if person == 0 else f"toy:p{person}"
        rows.append({"card": "toy", "row_id": f"r{number}", "path": f"images/{name}", "group": group, "mask": number % 3, "gender": person % 2})
    frame = pd.DataFrame(rows).assign(split="train", xmin=np.nan, ymin=np.nan, xmax=np.nan, ymax=np.nan)
    return Manifest(frame, FACE_CLASSES, {"toy": folder})


def make_verdict(manifest: Manifest, row: int, head: str, *, score: float, **changes: Any) -> dict[str, Any]:
    """A verdict on one label of the manifest, which suggests the class after the given one."""
    place = int(manifest.targets(head)[row])
    classes = manifest.classes[head]
    names = {"given_label": classes[place], "suggested_label": classes[(place + 1) % len(classes)]}
    numbers = {"suggested_confidence": 0.87, "label_score": score, "aum": -1.5, "threshold": -0.25}
    where = manifest.frame.loc[row, ["card", "row_id", "path"]].to_dict()
    return {**where, "head": head, **names, **numbers, "decision": "drop_label", "reason": "below threshold", **changes}


@pytest.fixture
def faces(tmp_path: Path) -> Manifest:
    """Four people with three pictures each."""
    return make_faces(tmp_path / "faces")


@pytest.fixture
def verdicts(faces: Manifest) -> pd.DataFrame:
    """Three suspect masks and two suspect people: two pictures of the first, one of the third, in no order."""
    floor = {"decision": "keep", "reason": "class floor"}
    return pd.DataFrame(
        [
            make_verdict(faces, 6, "gender", score=0.3),
            make_verdict(faces, 4, "mask", score=0.4, **floor),
            make_verdict(faces, 1, "gender", score=0.2),
            make_verdict(faces, 0, "mask", score=0.1),
            make_verdict(faces, 2, "gender", score=0.5),
            make_verdict(faces, 5, "mask", score=0.2),
        ]
    )


@pytest.fixture
def review_page(tmp_path: Path, faces: Manifest, verdicts: pd.DataFrame) -> Path:
    """The review page of `verdicts`."""
    file = tmp_path / "out/review.html"
    write_review(file, verdicts, manifest=faces, grouped=["gender"], title=f"Faces {EVIL}")
    return file


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests; each opens its own page."""
    browser, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    if not (browser and driver):
        reason = "the review page was NOT tested in a browser: chromium and chromedriver are needed (apt-get install chromium chromium-driver)"
        if os.environ.get("ATTRCLS_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the driver named, selenium looks for none and asks nothing of the network.
    chromium = webdriver.Chrome(options=options, service=Service(driver))
    yield chromium
    chromium.quit()


class Page:
    """The page as a person sees it: a card is known by its place in the order."""

    def __init__(self, chromium, downloads):
        self.chromium, self.downloads = chromium, downloads

    def open(self, file):
        self.chromium.get(file.as_uri())
        # All local files share the browser's memory.
        self.chromium.execute_script("localStorage.clear()")
        self.reload()
        return self

    def reload(self):
        self.chromium.refresh()
        self.until(lambda: self.text("progress"))

    def until(self, holds):
        return WebDriverWait(self.chromium, PROMPTLY_SECONDS, poll_frequency=0.05).until(lambda _: holds())

    def keys(self, *keys):
        ActionChains(self.chromium).send_keys(*keys).perform()

    def find(self, css):
        return self.chromium.find_elements(By.CSS_SELECTOR, css)

    def text(self, name):
        return self.chromium.find_element(By.ID, name).text

    def run(self, script, *arguments):
        return self.chromium.execute_script(f"return {script}", *arguments)

    def states(self):
        return [card.get_attribute("data-state") for card in self.find(".suspect")]

    def current(self):
        return [int(card.get_attribute("data-card")) for card in self.find(".suspect.current")]

    def click(self, card, value):
        self.find(f'[data-card="{card}"] button[value="{value}"]')[0].click()

    def filter(self, name, value):
        Select(self.chromium.find_element(By.ID, f"filter-{name}")).select_by_value(value)

    def save(self):
        file = self.downloads / "decisions.csv"
        file.unlink(missing_ok=True)
        self.chromium.find_element(By.ID, "save").click()
        self.until(file.exists)
        return file


@pytest.fixture
def page(chromium, tmp_path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    chromium.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    for kind in ("browser", "performance"):
        chromium.get_log(kind)
    yield Page(chromium, downloads)
    # A refusal of our own policy or a fault in our own script would stand here.
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def _status(epochs: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format_version": 1,
        "state": "finished",
        "started": "2026-11-21T09:00:00+00:00",
        "finished": "2026-11-21T09:02:05+00:00",
        "seconds": 125.0,
        "epochs_done": epochs,
        "message": None,
        "versions": {"attrcls": "0.1.0", "torch": "2.14.0"},
        "device": "cpu",
        "precision": "32-true",
        "train_rows": 8,
        "val_rows": 5,
        "problems_skipped": 0,
        "best_epoch": epochs,
        "monitor": "mean/f1",
        **changes,
    }


def _splits(heads: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Answer]], train_rows: int) -> pd.DataFrame:
    train = [{head: classes[row % len(classes)] for head, classes in heads.items()} for row in range(train_rows)]
    val = [{head: row[head][0] for head in heads} for row in rows]
    table = pd.DataFrame([*train, *val], columns=list(heads))
    places = range(len(table))
    table.insert(0, "card", "toy")
    table.insert(1, "row_id", [f"r{place}" for place in places])
    table.insert(2, "path", [f"{place}.png" for place in places])
    table.insert(3, "group", [f"toy/{place // 2}" for place in places])
    table.insert(4, "split", ["train"] * train_rows + ["val"] * len(rows))
    return table


def _metrics(heads: Mapping[str, Sequence[str]], train_loss: Sequence[float], val_loss: Sequence[float]) -> pd.DataFrame:
    epochs = range(1, len(val_loss) + 1)
    table = pd.DataFrame({"epoch": epochs, "lr": 0.001, "train_loss": train_loss, "val_loss": val_loss})
    scores = {f"{name}/{score}": [0.5 + 0.1 * epoch for epoch in epochs] for name in [*heads, "mean", "ans"] for score in ("top1", "f1")}
    return pd.concat([table, pd.DataFrame(scores)], axis=1)


def _validation(heads: Mapping[str, Sequence[str]], rows: Sequence[Mapping[str, Answer]], combine: Mapping[str, Any] | None) -> pd.DataFrame:
    columns = [f"{head}{ending}" for head in heads for ending in ("_given", "", "_confidence")]
    answers = [[cell for head in heads for cell in row[head]] for row in rows]
    table = pd.DataFrame(answers, columns=columns)
    places = range(8, 8 + len(rows))
    table.insert(0, "card", "toy")
    table.insert(1, "row_id", [f"r{place}" for place in places])
    table.insert(2, "path", [f"{place}.png" for place in places])
    table.insert(3, "group", [f"toy/{place // 2}" for place in places])
    if combine:
        for part, ending in enumerate(("_given", "")):
            table[f"{combine['name']}{ending}"] = [_code(heads, combine, row, part) for row in rows]
    return table


def _code(heads: Mapping[str, Sequence[str]], combine: Mapping[str, Any], row: Mapping[str, Answer], part: int) -> str:
    code = 0
    for head, radix in zip(combine["order"], combine["radices"], strict=True):
        name = str(row[head][part])
        if not name:
            return ""
        code = code * radix + list(heads[head]).index(name)
    return str(code)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
