"""The page as a whole: one file that needs nothing else, and stays itself whatever things are called."""

import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml
from PIL import Image

from attrcls.report import write_model_card, write_report

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = '<script>alert("1")</script>\'&'


class Outline(HTMLParser):
    """Tags with their attributes, the text, and whether every tag was closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(path):
    page = Outline()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def text_of(path):
    return re.sub(r"\s+", " ", " ".join(outline(path).text))


def test_the_report_lies_in_the_run_by_default_and_elsewhere_if_asked(make_run, tmp_path):
    run = make_run()
    assert write_report(run) == run / "report.html"
    assert write_report(run, tmp_path / "new/page.html").is_file()


def test_the_page_tells_its_sections_in_order(make_run):
    page = outline(write_report(make_run()))
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    assert ids == ["data", "curves", "heads", "code", "slices", "certainty", "errors", "trained", "next"]


def test_the_headline_says_what_it_was_measured_on(make_run):
    text = text_of(write_report(make_run()))
    assert "Mean top-1 0.675" in text
    assert "Mean macro-F1 0.589" in text
    assert "Combined code macro-F1 0.417" in text
    assert "Measured on 5 validation rows of 3 groups, labels as given (not cleaned)." in text
    assert "took 2 min 5 s · 3 epochs, best 3 by mean/f1" in text


def test_confusions_are_told_in_words(make_run):
    assert "wear taken for normal : 1 time, 33 % of the rows given wear" in text_of(write_report(make_run()))


def test_what_was_trained_is_told(make_run):
    text = text_of(write_report(make_run()))
    assert "resnet18 from ImageNet, 120 of 122 tensors" in text
    assert "seed 7" in text
    assert "attrcls 0.1.0, torch 2.14.0" in text
    assert "head mask loss focal" in text


def test_the_page_runs_no_script_and_loads_nothing(make_run):
    path = write_report(make_run())
    page = outline(path)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href"):
            assert re.match(r"data:|#|$", attributes.get(key) or "")
    assert "url(h" not in path.read_text(encoding="utf-8")


def test_no_id_is_used_twice(make_run):
    ids = [attributes["id"] for _, attributes in outline(write_report(make_run())).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hostile_and_foreign_names_stay_text(make_run):
    names = [HOSTILE, "口罩 ünïcode", "{{ 7 * 7 }}", "$\\frac{1}$"]
    rows = [{"x": (given, predicted, 0.9)} for given in names for predicted in names]
    run = make_run(
        heads={"x": names},
        rows=rows,
        combine=None,
        card={"title": HOSTILE, "licence": HOSTILE, "known_faults": [HOSTILE]},
        status={"message": HOSTILE, "state": "failed"},
    )
    path = write_report(run)
    assert "script" not in {tag for tag, _ in outline(path).tags}
    text = text_of(path)
    assert HOSTILE in text
    assert "口罩 ünïcode" in text
    assert "{{ 7 * 7 }}" in text


def test_writing_twice_gives_the_same_page(make_run):
    run = make_run()
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_worst_errors_show_their_pictures(make_run):
    run = make_run()
    (run / "images").mkdir()
    for row in range(8, 13):
        Image.fromarray(np.full((20, 30, 3), row * 20, dtype=np.uint8)).save(run / f"images/{row}.png")
    path = write_report(run, image_roots={"toy": run / "images"})
    pictures = [attributes for tag, attributes in outline(path).tags if tag == "img"]
    assert len(pictures) == 3
    assert "not found" not in text_of(path)


def test_pictures_that_moved_are_found_where_the_caller_says(make_run, tmp_path):
    run = make_run()
    (tmp_path / "moved").mkdir()
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "moved/10.png")
    path = write_report(run, image_roots={"toy": tmp_path / "moved"})
    assert sum(tag == "img" for tag, _ in outline(path).tags) == 1
    assert "2 pictures were not found" in text_of(path)
    assert "no picture" in text_of(path)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rows": []}, id="no validation rows"),
        pytest.param({"rows": [], "train_rows": 0}, id="no rows at all"),
        pytest.param({"rows": [{"mask": ("", "wear", 0.5), "gender": ("", "male", 0.5)}]}, id="no label at all"),
        pytest.param({"val_loss": [], "train_loss": []}, id="no epoch"),
        pytest.param({"val_loss": ["nan"], "train_loss": ["nan"], "status": {"seconds": float("nan")}}, id="one epoch of NaN"),
        pytest.param({"status": {"state": "interrupted", "best_epoch": None, "finished": None, "started": "?"}}, id="interrupted"),
        pytest.param({"heads": {"x": ["only"]}, "rows": [{"x": ("only", "only", 1.0)}], "combine": None}, id="one class"),
        pytest.param({"card": {"licence": None, "known_faults": [], "intended_use": ""}}, id="a card that says nothing"),
        pytest.param({"rows": [{"mask": ("wear", "wear", 1.0), "gender": ("male", "male", 1.0)}]}, id="no mistake"),
    ],
)
def test_a_page_comes_out_of_a_poor_run_too(make_run, changes):
    page = outline(write_report(make_run(**changes)))
    assert "nan" not in " ".join(page.text).split()


@pytest.mark.parametrize(
    ("keep", "epochs", "best", "lr", "said"),
    [
        ("best", 3, 3, None, "The epoch was chosen on these same rows"),
        ("best", 1, 1, None, None),
        ("last", 3, 2, None, None),
        ("last", 3, 2, 0.01, "The learning rate was chosen on these same rows"),
        ("best", 3, 2, 0.01, "The epoch and the learning rate were chosen on these same rows"),
        ("best", 0, None, None, None),
    ],
)
def test_page_and_card_say_what_the_validation_rows_chose_and_nothing_else(make_run, keep, epochs, best, lr, said):
    run = make_run(val_loss=[1.0] * epochs, train_loss=[1.0] * epochs, status={"best_epoch": best})
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["task"]["keep"] = keep
    config["run"]["lr"] = lr
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for text in (text_of(write_report(run)), write_model_card(run).read_text()):
        assert said in text if said else "chosen on these same rows" not in text


def test_scores_are_told_apart_from_predictions_that_another_decoder_decides(make_run):
    run = make_run(
        rows=[{"mask": ("wear", "wear", 0.9), "gender": ("male", "male", 0.9)}, {"mask": ("normal", "wear", 0.6), "gender": ("", "male", 0.9)}]
    )
    before = text_of(write_report(run))
    assert "mask: normal never predicted" in before and "decided by" not in before
    model = json.loads((run / "model" / "model.json").read_text())
    model["decode"] = {"asked": "offsets", "used": "offsets", "reason": "macro-F1: offsets 0.402, argmax 0.278", "offsets": {}}
    (run / "model" / "model.json").write_text(json.dumps(model))
    for text in (text_of(write_report(run)), write_model_card(run).read_text()):
        assert "Predictions are decided by offsets instead: macro-F1: offsets 0.402, argmax 0.278." in text
        assert "never predicted" not in text


def test_a_matrix_of_very_many_classes_is_not_drawn_and_its_confusions_are_listed(make_run):
    names = [f"c{place}" for place in range(200)]
    rows = [{"x": (names[place], names[place * 7 % 200], 0.5)} for place in range(200)]
    text = text_of(write_report(make_run(heads={"x": names}, rows=rows, combine=None)))
    assert "A matrix of 200 classes is too large to read" in text
    assert "Most common confusions" in text


def test_groups_without_a_mistake_are_not_called_the_worst(make_run):
    rows = [{"mask": ("wear", "wear", 0.9), "gender": ("male", "male", 0.9)}] * 4
    assert "Worst group" not in text_of(write_report(make_run(rows=rows, columns={"group": ["toy:a", "toy:a", "toy:b", "toy:b"]})))


def test_thirty_classes_make_a_page(make_run):
    names = [f"class number {place}" for place in range(30)]
    rows = [{"x": (names[place], names[place * 7 % 30], 0.5)} for place in range(30)]
    assert "class number 29" in text_of(write_report(make_run(heads={"x": names}, rows=rows, combine=None)))


def test_a_run_that_wrote_no_validation_makes_a_page(make_run):
    run = make_run(rows=[], status={"val_rows": 0})
    os.unlink(run / "validation.csv")
    assert "There are no validation rows" in text_of(write_report(run))


def test_a_run_that_training_wrote_makes_a_page_with_its_pictures(trained_run, tmp_path):
    path = write_report(trained_run, tmp_path / "page.html")
    text = text_of(path)
    assert "Squares" in text
    assert "not found" not in text


def test_each_head_is_cut_by_the_other_attributes_and_a_failing_slice_is_marked(make_run):
    wrong = {"mask": ("wear", "normal", 0.9), "gender": ("female", "female", 0.9)}
    right = {"mask": ("wear", "wear", 0.9), "gender": ("male", "male", 0.9)}
    text = text_of(write_report(make_run(rows=[wrong] * 30 + [right] * 60, columns={"group": [""] * 90})))
    slices = text.split("and not by chance.")[1].split("Worst errors")[0]
    assert "gender female fails 30" in slices
    assert "gender male fails" not in slices
    assert "mask fails on gender female: top-1 0.000 there, 1.000 on the other rows" in text


def test_the_worst_groups_are_named_with_what_was_right(make_run):
    assert "of 2 right" in text_of(write_report(make_run(columns={"group": ["toy:a", "toy:a", "toy:b", "toy:b", "toy:c"]})))
