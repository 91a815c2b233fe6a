"""The review page in a real browser: headless Chromium, driven as a person would, by keys, mouse and touch."""

import json
import os
import shutil
import time
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from attrcls.data.manifest import Manifest
from attrcls.report.review import write_review

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900")
PROMPTLY_SECONDS = 20  # for a busy machine; what takes long is found by counting, not by the clock


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
    """The page as a person sees it: cards are known by the words of their label."""

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

    def undo_by_control(self):
        ActionChains(self.chromium).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()

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


def read_csv(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False, na_filter=False)


def test_decided_by_keys_each_card_leads_to_the_next(page, review_page):
    page.open(review_page)
    assert page.current() == [0]
    page.keys("k")
    assert page.current() == [1]
    page.keys("d", "r", "r", "2")
    assert page.states() == ["keep", "drop_label", "relabel", "relabel", "relabel"]
    assert page.text("progress") == "6 of 6 decided"


def test_keys_count_by_their_place_where_the_keyboard_writes_another_script(page, review_page):
    page.open(review_page)
    page.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'ㅏ', code: 'KeyK', bubbles: true}))")
    page.run("document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'Process', code: 'KeyD', bubbles: true}))")
    assert page.states()[:3] == ["keep", "drop_label", "undecided"]


def test_decided_by_mouse_the_card_stays_at_hand(page, review_page):
    page.open(review_page)
    page.click(1, "relabel")
    page.click(0, "drop_label")
    page.click(2, "keep")
    assert page.states()[:3] == ["drop_label", "relabel", "keep"]
    assert page.current() == [2]
    assert page.find('[data-card="1"] [aria-pressed="true"]')[0].text == "→ wear"


def test_another_class_is_chosen_from_the_list_by_mouse(page, review_page):
    page.open(review_page)
    Select(page.find('[data-card="0"] select')[0]).select_by_visible_text("</script><script>window.hacked=1</script>")
    assert page.states()[0] == "relabel"
    assert read_csv(page.save())["new_label"][0] == "</script><script>window.hacked=1</script>"


def test_the_class_it_has_already_is_a_keep(page, review_page):
    page.open(review_page)
    page.keys("1")
    assert page.states()[0] == "keep"


def test_arrows_walk_over_the_cards(page, review_page):
    page.open(review_page)
    page.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.current() == [2]
    page.keys(Keys.ARROW_DOWN)
    assert page.current() == [3]
    page.keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert page.current() == [4]
    page.keys(Keys.ARROW_UP, Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert page.current() == [0]


def test_undo_takes_back_one_decision_after_another(page, review_page):
    page.open(review_page)
    page.keys("k", "r", "d", "d")
    assert page.text("progress") == "5 of 6 decided"
    page.keys("u")
    assert page.text("progress") == "3 of 6 decided"
    page.undo_by_control()
    page.chromium.find_element(By.ID, "undo").click()
    assert page.states() == ["keep", *["undecided"] * 4]
    assert page.current() == [1]
    page.keys("u", "u")
    assert page.text("progress") == "0 of 6 decided"
    assert not page.chromium.find_element(By.ID, "undo").is_enabled()


def test_undo_restores_an_earlier_decision(page, review_page):
    page.open(review_page)
    page.click(0, "keep")
    page.click(0, "drop_label")
    page.keys("u")
    assert page.states()[0] == "keep"


def test_decisions_outlive_a_reload_and_the_next_undecided_card_is_at_hand(page, review_page):
    page.open(review_page)
    page.keys("k", "3")
    states = page.states()
    page.reload()
    assert page.states() == states
    assert page.text("progress") == "2 of 6 decided"
    assert page.current() == [2]


def test_two_pages_keep_their_decisions_apart(page, review_page, verdicts, faces, tmp_path):
    page.open(review_page)
    page.keys("k")
    write_review(tmp_path / "other.html", verdicts.iloc[:5], manifest=faces, grouped=["gender"], title="Other")
    page.chromium.get((tmp_path / "other.html").as_uri())
    assert page.text("progress") == "0 of 5 decided"
    page.chromium.get(review_page.as_uri())
    assert page.text("progress") == "1 of 6 decided"


def test_what_others_left_in_the_memory_is_not_believed(page, review_page):
    page.open(review_page)
    page.keys("k")
    entries = {"0": {"decision": "relabel", "label": "strange"}, "1": {"decision": "explode"}, "2": None}
    entries |= dict.fromkeys(("99", "length"), {"decision": "keep"})
    for text in (json.dumps(entries), "{", "null", "7"):
        page.run("localStorage.setItem(localStorage.key(0), arguments[0])", text)
        page.reload()
        assert page.text("progress") == "0 of 6 decided"


def test_a_browser_without_memory_says_so_and_goes_on(page, review_page):
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('denied by a rule', 'SecurityError'); }})"
    page.open(review_page)
    script = page.chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": refuse})
    try:
        page.reload()
        assert "denied by a rule" in page.text("fault")
        page.keys("k")
        assert page.text("progress") == "1 of 6 decided"
        assert read_csv(page.save())["decision"][0] == "keep"
    finally:
        page.chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_every_cell_of_the_saved_file_is_right(page, review_page, verdicts):
    page.open(review_page)
    page.keys("r", "k")  # the hostile picture becomes "incorrect", r5 is kept, r4 stays as it is
    page.click(3, "relabel")
    file = page.save()
    written = file.read_bytes()
    assert not written.startswith(b"\xef\xbb\xbf")
    assert b"\r" not in written
    assert written.endswith(b"\n") and not written.endswith(b"\n\n")
    table = read_csv(file)
    keys = ["card", "row_id", "path", "head", "given_label", "suggested_label"]
    assert list(table) == [*keys, "decision", "new_label"]
    assert table[["row_id", "head", "decision", "new_label"]].to_numpy().tolist() == [
        ["r0", "mask", "relabel", "incorrect"],
        ["r4", "mask", "keep", ""],
        ["r5", "mask", "keep", ""],
        ["r1", "gender", "relabel", "female"],
        ["r2", "gender", "relabel", "female"],
        ["r6", "gender", "drop_label", ""],
    ]
    expected = verdicts.set_index(["row_id", "head"]).loc[list(zip(table["row_id"], table["head"], strict=True))].reset_index()
    pd.testing.assert_frame_equal(table[keys], expected[keys], check_dtype=False)
    assert table["path"][0] == 'images/=a,"b" ünï <img src=x onerror="window.hacked=1">.png'


def test_filters_choose_by_head_class_reason_and_decision(page, review_page):
    page.open(review_page)

    def shown():
        return [int(card.get_attribute("data-card")) for card in page.find(".suspect")]

    page.filter("head", "gender")
    assert shown() == [3, 4]
    assert [option.text for option in Select(page.chromium.find_element(By.ID, "filter-given")).options] == ["any", "male (3)"]
    page.filter("head", "")
    page.filter("given", "incorrect")
    assert shown() == [2]
    page.filter("given", "")
    page.filter("suggested", "incorrect")
    assert shown() == [0]
    page.filter("suggested", "")
    page.filter("reason", "class floor")
    assert shown() == [2]
    page.filter("suggested", "female")
    assert shown() == []
    assert page.text("none") == "No suspect matches these filters."
    page.filter("suggested", "")
    page.filter("reason", "")
    page.click(1, "drop_label")
    page.filter("decision", "drop_label")
    assert shown() == [1]
    page.filter("decision", "undecided")
    assert shown() == [0, 2, 3, 4]


def test_keys_stay_within_the_filter(page, review_page):
    page.open(review_page)
    page.filter("head", "gender")
    page.find("#bar")[0].click()
    page.keys("d", "d")
    assert page.text("said") == "All that is shown here is decided."
    page.filter("head", "")
    assert page.states() == ["undecided"] * 3 + ["drop_label"] * 2


def test_a_group_card_decides_all_suspects_of_the_person_and_nothing_else(page, review_page):
    page.open(review_page)
    card = page.find('[data-card="3"]')[0]
    assert len(card.find_elements(By.CSS_SELECTOR, "figure")) == 3
    assert len(card.find_elements(By.CSS_SELECTOR, ".flagged")) == 2
    page.click(3, "keep")
    assert page.text("progress") == "2 of 6 decided"
    table = read_csv(page.save()).query("head == 'gender'")
    assert dict(zip(table["row_id"], table["decision"], strict=True)) == {"r1": "keep", "r2": "keep", "r6": "drop_label"}
    page.chromium.find_element(By.ID, "undo").click()
    assert page.text("progress") == "0 of 6 decided"


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


def test_help_lists_the_keys_and_no_key_decides_behind_it(page, review_page):
    page.open(review_page)
    page.keys("?")
    assert "relabel to the suggestion" in page.text("help")
    page.keys("k", Keys.ESCAPE)
    assert page.run("document.getElementById('help').open") is False
    assert page.text("progress") == "0 of 6 decided"


def test_a_list_that_has_the_focus_takes_its_own_keys(page, review_page):
    page.open(review_page)
    page.chromium.find_element(By.ID, "filter-head").send_keys("m")
    assert page.text("progress") == "0 of 6 decided"


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
