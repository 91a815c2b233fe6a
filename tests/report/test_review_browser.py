"""Deciding on the review page in a real browser: by keys and by mouse, undo, reload, filters, and the saved file."""

import json

import pandas as pd
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from attrcls.report.review import write_review


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
    ActionChains(page.chromium).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()
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
    entries |= {place: {"decision": "keep"} for place in ("99", "length")}
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
