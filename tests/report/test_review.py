"""The review page as a file: what it holds, in which order, and that names from a dataset stay data."""

import base64
import hashlib
import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from attrcls.errors import UserError
from attrcls.report.review import write_review
from attrcls.report.suspects import MOST_IN_GROUP, gather_suspects


def gather(verdicts, faces, **changes):
    return gather_suspects(verdicts, **{"manifest": faces, "grouped": ["gender"], **changes})


def element(page, opening):
    text = page.read_text(encoding="utf-8")
    return text.partition(opening)[2].partition("</")[0]


def embedded(page):
    return json.loads(element(page, '<script type="application/json" id="data">'))


def card_rows(data):
    return [(card["head"], [data.suspects[place]["row_id"] for place in card["suspects"]]) for card in data.cards]


def test_cards_come_by_head_and_worst_first(verdicts, faces):
    assert card_rows(gather(verdicts, faces)) == [
        ("mask", ["r0"]),
        ("mask", ["r5"]),
        ("mask", ["r4"]),
        ("gender", ["r1", "r2"]),
        ("gender", ["r6"]),
    ]


def test_a_head_that_is_not_grouped_has_a_card_per_suspect(verdicts, faces):
    assert [rows for head, rows in card_rows(gather(verdicts, faces, grouped=[])) if head == "gender"] == [["r1"], ["r6"], ["r2"]]


def test_suspects_without_a_score_come_last(verdicts, faces):
    verdicts.loc[verdicts["row_id"] == "r0", "label_score"] = np.nan
    data = gather(verdicts, faces)
    assert [rows for head, rows in card_rows(data) if head == "mask"] == [["r5"], ["r4"], ["r0"]]
    assert next(suspect for suspect in data.suspects if suspect["row_id"] == "r0")["label_score"] is None


def test_a_group_card_shows_the_whole_person_and_marks_the_suspects(verdicts, faces):
    card = next(card for card in gather(verdicts, faces).cards if card["head"] == "gender")
    assert [picture["suspect"] is not None for picture in card["pictures"]] == [False, True, True]
    assert {picture["given"] for picture in card["pictures"]} == {"male"}
    assert card["group"].startswith("</script>")
    assert card["hidden"] == 0


def test_a_row_without_a_group_is_a_card_of_its_own(verdicts, faces):
    faces.frame.loc[[1, 2], "group"] = ""
    assert [rows for head, rows in card_rows(gather(verdicts, faces)) if head == "gender"] == [["r1"], ["r6"], ["r2"]]


def test_a_large_group_shows_its_suspects_and_some_of_the_others(verdicts, faces):
    repeated = pd.concat([faces.frame.iloc[[6]].assign(row_id=f"x{number}", path=f"images/x{number}.png") for number in range(20)])
    frame = pd.concat([repeated, faces.frame], ignore_index=True)
    card = gather(verdicts, type(faces)(frame, faces.classes, faces.roots)).cards[-1]
    assert len(card["pictures"]) == MOST_IN_GROUP
    assert [picture["path"] for picture in card["pictures"] if picture["suspect"] is not None] == ["images/p2_0.png"]
    assert card["hidden"] == 23 - MOST_IN_GROUP


def test_a_picture_is_kept_once_and_a_missing_one_is_counted(verdicts, faces):
    data = gather(verdicts, faces)
    shown = {picture["path"] for card in data.cards for picture in card["pictures"]}
    assert len(data.pictures) == len(shown)
    assert (data.pictures.count(""), data.unreadable, data.left_out) == (1, 1, 0)


def test_pictures_beyond_the_limit_are_left_out_and_counted(verdicts, faces, monkeypatch):
    monkeypatch.setattr("attrcls.report.suspects.DRAWN_AT_ONCE", 1)
    data = gather(verdicts, faces, most_bytes=1)
    assert data.left_out == len(data.pictures) - 1


def test_the_digest_is_of_what_is_asked_and_not_of_the_order_or_the_scores(verdicts, faces):
    first = gather(verdicts, faces).digest
    assert gather(verdicts.iloc[::-1].assign(label_score=0.5), faces).digest == first
    assert gather(verdicts.iloc[1:], faces).digest != first
    assert gather(verdicts.assign(suggested_label="male"), faces).digest != first


def test_verdicts_on_other_data_are_refused(verdicts, faces):
    with pytest.raises(UserError, match="'elsewhere' of toy"):
        gather(verdicts.replace({"row_id": {"r5": "elsewhere"}}), faces)
    with pytest.raises(UserError, match="verdict on age"):
        gather(verdicts.replace({"head": {"mask": "age"}}), faces)
    with pytest.raises(UserError, match="columns aum, threshold"):
        gather(verdicts.drop(columns=["aum", "threshold"]), faces)


def test_the_policy_names_the_hashes_of_the_one_style_and_the_one_script(review_page):
    text = review_page.read_text(encoding="utf-8")
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 1
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, scripts[0])]
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{hashes[0]}'",
        f"script-src 'sha256-{hashes[1]}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_hostile_names_stay_data(review_page):
    text = review_page.read_text(encoding="utf-8")
    assert "<script>window.hacked" not in text
    assert "<img" not in text
    assert embedded(review_page)["suspects"][0]["path"].endswith('<img src=x onerror="window.hacked=1">.png')


def test_the_page_loads_nothing(review_page):
    text = review_page.read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<link|<iframe", text)


def test_no_suspects_make_a_page_that_says_so(tmp_path, verdicts, faces):
    write_review(tmp_path / "review.html", verdicts.iloc[:0], manifest=faces, grouped=["gender"], title="Nothing")
    assert "Cleaning found no suspect label" in (tmp_path / "review.html").read_text(encoding="utf-8")


def test_half_a_surrogate_pair_in_the_title_does_not_stop_the_page(tmp_path, verdicts, faces):
    write_review(tmp_path / "review.html", verdicts, manifest=faces, grouped=[], title="\udcff")
    assert "<h1>?</h1>" in (tmp_path / "review.html").read_text(encoding="utf-8")
