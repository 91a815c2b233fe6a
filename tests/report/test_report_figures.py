"""Figures as inline SVG: safe to put beside one another in a page, whatever things are called."""

import math
import re
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from attrcls.report.datafacts import LabelCounts
from attrcls.report.figures import draw_class_counts, draw_confusions, draw_curves
from attrcls.report.numbers import Curves
from attrcls.report.svg import shorten

HOSTILE = ["<script>alert(1)</script>", "a\"b'c&d", "$x^2$ \\frac{", "маска 口罩 مُ", "nul\x00bell\x07"]
CURVES = Curves(epochs=(1, 2, 3), columns={"train_loss": (3.0, 2.0, 1.0), "val_loss": (3.0, math.nan, 1.5), "none": (math.nan,) * 3})


def curves_of(columns):
    return draw_curves(CURVES, columns, name="curve-loss", label="Loss per epoch", best_epoch=2)


def words_in(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("text")]


def test_a_figure_is_an_svg_with_a_label_for_who_cannot_see_it():
    root = ElementTree.fromstring(curves_of({"train": "train_loss"}))
    assert root.tag == "svg"
    assert (root.get("role"), root.get("aria-label")) == ("img", "Loss per epoch")


def test_a_figure_takes_its_colours_and_font_from_the_page():
    svg = curves_of({"train": "train_loss", "validation": "val_loss"})
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert "#0000" not in svg
    assert "font-family" not in svg
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_drawing_twice_gives_the_same_svg_and_changes_no_settings():
    before = dict(mpl.rcParams)
    assert curves_of({"train": "train_loss"}) == curves_of({"train": "train_loss"})
    assert dict(mpl.rcParams) == before


def test_two_figures_share_no_ids():
    first = draw_curves(CURVES, {"train": "train_loss"}, name="one", label="", best_epoch=None)
    second = draw_curves(CURVES, {"train": "train_loss"}, name="two", label="", best_epoch=None)
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r'(?:url\(|href=")#([\w.-]+)', first)) <= ids[0]


def test_the_best_epoch_is_marked():
    assert "best 2" in words_in(curves_of({"train": "train_loss"}))


def test_curves_without_a_single_number_are_not_drawn():
    assert curves_of({"a": "none", "b": "not a column"}) == ""


def test_one_epoch_is_drawn():
    curves = Curves(epochs=(1,), columns={"mask/top1": (0.5,)})
    assert "1" in words_in(draw_curves(curves, {"mask": "mask/top1"}, name="c", label="", best_epoch=1))


@pytest.mark.parametrize("count", [1, 2, 17, 30])
def test_a_confusion_matrix_names_every_class_twice_and_counts_in_its_cells(count):
    names = [f"class {number}" for number in range(count)]
    confusions = [[100 + row if row == column else 0 for column in range(count)] for row in range(count)]
    words = words_in(draw_confusions(confusions, classes=names, name="m", label="Matrix"))
    assert all(words.count(name) == 2 for name in names)
    assert [words.count(str(100 + row)) for row in range(count)] == [1] * count


def test_a_class_without_rows_is_drawn_empty():
    words = words_in(draw_confusions([[0, 0], [0, 3]], classes=["a", "b"], name="m", label="Matrix"))
    assert "0" not in words


def test_class_counts_tell_the_total_of_each_class():
    labels = LabelCounts(classes=("a", "b"), splits=("train", "val"), counts=((1200, 34), (0, 0)), missing=(0, 0))
    words = words_in(draw_class_counts(labels, name="k", label="Counts"))
    assert "1,234" in words
    assert "0" in words


def test_hostile_names_stay_text():
    labels = LabelCounts(classes=tuple(HOSTILE), splits=("train",), counts=((1,),) * 5, missing=(0,))
    for svg in (
        draw_class_counts(labels, name="k", label=HOSTILE[0]),
        draw_confusions([[1] * 5] * 5, classes=HOSTILE, name="m", label=HOSTILE[1]),
    ):
        assert "<script" not in svg
        words = words_in(svg)
        assert shorten(HOSTILE[1]) in words
        assert shorten(HOSTILE[2]) in words


def test_long_names_are_shortened_and_control_characters_replaced():
    assert shorten("dungarees and overalls of the city", most=10) == "dungarees…"
    assert shorten("a\x07b") == "a\N{REPLACEMENT CHARACTER}b"
