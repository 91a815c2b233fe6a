"""What the review page stands in a real browser: hostile names, no network, thousands of suspects, a phone."""

import json
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium.webdriver.common.by import By

from attrcls.data.manifest import Manifest
from attrcls.report.review import write_review


def test_hostile_names_are_shown_and_do_nothing(page, review_page):
    page.open(review_page)
    page.keys("3", "u", "?")
    page.chromium.find_element(By.ID, "help-close").click()
    assert page.run("window.hacked") is None
    assert page.run("document.scripts.length") == 2
    assert page.find("h1")[0].text == "Faces </script><script>window.hacked=1</script>"
    assert page.find('[data-card="0"] .name')[0].text.endswith('<img src=x onerror="window.hacked=1">.png')
    assert not page.find("img[src=x]")


def test_the_policy_stops_foreign_scripts_and_styles(page, review_page):
    page.open(review_page)
    policy = page.run("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    page.chromium.execute_script("""
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        const holder = document.createElement("div");
        holder.innerHTML = '<img src="data:," onerror="window.hacked = 1"><p id="styled" style="color: red"></p>';
        document.body.append(script, holder);
    """)
    time.sleep(0.2)
    assert page.run("window.hacked") is None
    assert page.run("getComputedStyle(document.getElementById('styled')).color") != "rgb(255, 0, 0)"
    refusals = [entry["message"] for entry in page.chromium.get_log("browser")]
    assert len([message for message in refusals if "Content Security Policy" in message]) == 3


def test_the_page_asks_nothing_of_any_network(page, review_page):
    page.open(review_page)
    page.keys("k", "r")
    page.save()
    events = [json.loads(entry["message"])["message"] for entry in page.chromium.get_log("performance")]
    asked = {event["params"]["request"]["url"].partition(":")[0] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert asked <= {"file", "data", "blob"}
    assert "file" in asked  # else nothing was watched


@pytest.fixture(scope="module")
def large_page(tmp_path_factory):
    """5,000 suspects over a handful of pictures."""
    folder = tmp_path_factory.mktemp("large")
    for number in range(5):
        Image.fromarray(np.full((40, 30, 3), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")
    rows = range(5000)
    frame = pd.DataFrame(
        {"card": "toy", "row_id": [f"r{row}" for row in rows], "path": [f"{row % 5}.png" for row in rows], "group": "", "split": "train"}
    )
    frame = frame.assign(xmin=np.nan, ymin=np.nan, xmax=np.nan, ymax=np.nan, mask=0)
    manifest = Manifest(frame, {"mask": ("wear", "normal")}, {"toy": folder})
    verdicts = frame[["card", "row_id", "path"]].assign(
        head="mask", given_label="wear", suggested_label="normal", suggested_confidence=0.9, label_score=np.linspace(0, 1, 5000),
        aum=-1.0, threshold=0.0, decision="drop_label", reason="below threshold",
    )  # fmt: skip
    write_review(folder / "review.html", verdicts, manifest=manifest, grouped=[], title="Many")
    return folder / "review.html"


def count_nodes(page):
    return page.run("document.getElementsByTagName('*').length")


def test_only_what_is_near_the_viewport_is_in_the_document(page, large_page):
    page.open(large_page)
    assert count_nodes(page) < 1500
    height = page.run("document.documentElement.scrollHeight")
    for part in (0.3, 0.6, 1.0):
        page.run("window.scrollTo({top: arguments[0]})", height * part)
        page.until(lambda: page.run("[...document.querySelectorAll('.suspect')].some(card => card.getBoundingClientRect().top > 60)"))
        assert count_nodes(page) < 1500
    assert page.find('[data-card="4999"]')


def test_a_decision_among_thousands_redraws_one_card(page, large_page):
    page.open(large_page)
    page.run(
        "(window.changed = 0, new MutationObserver(found => window.changed += found.length)"
        ".observe(document.getElementById('list'), {subtree: true, childList: true, attributes: true, characterData: true}))"
    )
    page.keys("k")
    assert page.text("progress") == "1 of 5,000 decided"
    assert 0 < page.run("window.changed") < 60
    page.keys(*"kd" * 40)
    assert page.text("progress") == "81 of 5,000 decided"
    assert page.current() == [81]
    assert page.run("document.querySelector('.suspect.current').getBoundingClientRect().bottom <= innerHeight")


def test_a_card_out_of_sight_is_shown_before_it_is_decided(page, large_page):
    page.open(large_page)
    page.run("window.scrollTo({top: 200000})")
    page.until(lambda: not page.find('[data-card="0"]'))
    page.keys("k")
    assert page.text("progress") == "0 of 5,000 decided"
    assert page.current() == [0]
    page.keys("k")
    assert page.text("progress") == "1 of 5,000 decided"


def test_a_phone_shows_all_of_it_and_takes_touches(page, review_page):
    page.chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True})
    page.chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        page.open(review_page)
        assert page.run("document.documentElement.scrollWidth") == 390
        button = page.find('[data-card="0"] button[value="drop_label"]')[0]
        assert button.size["height"] >= 44
        page.run("arguments[0].scrollIntoView({block: 'center'})", button)
        box = page.run("(({x, y, width, height}) => [x + width / 2, y + height / 2])(arguments[0].getBoundingClientRect())", button)
        for kind, points in (("touchStart", [{"x": box[0], "y": box[1]}]), ("touchEnd", [])):
            page.chromium.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.until(lambda: page.text("progress") == "1 of 6 decided")
        assert page.states()[0] == "drop_label"
    finally:
        page.chromium.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        page.chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
