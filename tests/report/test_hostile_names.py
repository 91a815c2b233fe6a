"""A dataset in which every name is an attack, from its labels to its pages, which are then opened in a real browser."""

import json
import shutil

import pandas as pd
import pytest
from selenium.common.exceptions import NoAlertPresentException

from attrcls.data.cells import escape_cell
from attrcls.data.tables import read_table

HACK = "window.hacked=1;alert(1)"
PAYLOADS = [
    f'<img src=x onerror="{HACK}">',
    f"</script><script>{HACK}</script>",
    f'"><svg onload={HACK}>',
    f"javascript:{HACK}",
    f"'-{HACK}-'",
    f"${{{HACK}}}`",
    "{{7*7}}{% raw %}",
    "<!--<script>",
    "</title></style></textarea>]]>",
    '<a href="http://x.example/a">http://x.example/a</a>',
    "<img src=//x.example/b.png><link rel=stylesheet href=//x.example/c.css>",
    "\u202egnp.exe",
    "a\u2028b\u2029c",
    "&lt;script&gt;&#x3c;",
]
# A file name holds no slash; the last ones are formulas to a spreadsheet.
FILES = [f"{name.replace('/', '_')}.jpg" for name in PAYLOADS] + ["=cmd.jpg", "-1.jpg", "@x.jpg", "'=q.jpg", "+1.jpg", "＝w.jpg"]
HOSTILE_CARD = {
    "title": PAYLOADS[1],
    "root": ".",
    "tables": ["labels.csv"],
    "images": {"root": ".", "column": "file"},
    "group": "person",
    "attributes": {
        "colour": {"classes": ["red", "green", "blue"]},
        "kind": {"classes": PAYLOADS, "constant_in_group": True, "description": PAYLOADS[0]},
    },
    "licence": PAYLOADS[2],
    "provenance": PAYLOADS[9],
    "known_faults": PAYLOADS,
    "intended_use": PAYLOADS[10],
}
HOSTILE_TASK = {
    "title": PAYLOADS[1] + PAYLOADS[0],
    "cards": ["hostile.card.yaml"],
    "heads": ["colour", "kind"],
    "image": {"px": 32},
    "trunk": {"name": "resnet18", "weights": "none"},
    "batch_size": 20,
    "epochs": 1,
    # Every combination there is, so that every label is suspect.
    "clean": {"impossible": [{"colour": colour, "kind": kind} for colour in ("red", "green", "blue") for kind in PAYLOADS]},
}


@pytest.fixture(scope="module")
def hostile(shared_squares, tmp_path_factory):
    """Two pictures a person, whose `kind` differs where it must not."""
    folder = tmp_path_factory.mktemp("hostile")
    pictures = sorted((shared_squares / "images").iterdir())[:40]
    names = [*FILES, *(picture.name for picture in pictures[len(FILES) :])]
    rows = []
    for number, (picture, name) in enumerate(zip(pictures, names, strict=True)):
        shutil.copy(picture, folder / name)
        kind = PAYLOADS[(number + number % 2) % len(PAYLOADS)]
        rows.append(
            {"file": name, "colour": ["red", "green", "blue"][number % 3], "kind": kind, "person": f"{PAYLOADS[number // 2 % 14]}{number // 28}"}
        )
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    for name, content in (("hostile.card.yaml", HOSTILE_CARD), ("hostile.task.yaml", HOSTILE_TASK)):
        (folder / name).write_text(json.dumps(content))
    return folder


def assert_nothing_ran(chromium, *, own_scripts):
    """No script but our own, no dialog, no request, and nothing for the console to say: our own policy refuses nothing of ours."""
    with pytest.raises(NoAlertPresentException):
        chromium.switch_to.alert  # noqa: B018
    assert chromium.execute_script("return window.hacked") is None
    assert chromium.execute_script("return document.scripts.length") == own_scripts
    assert not chromium.execute_script("return [...document.querySelectorAll('svg[onload], img[onerror], a[href^=javascript], link, iframe')].length")
    assert chromium.execute_script("return [...document.querySelectorAll('a')].every(link => link.getAttribute('href').startsWith('#'))")
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked, "nothing was watched"
    assert [url for url in asked if url.partition(":")[0] not in {"file", "data", "blob"}] == []


def test_hostile_names_do_nothing_from_cleaning_to_report(cli, page, hostile, tmp_path):
    task, clean, run = hostile / "hostile.task.yaml", tmp_path / "clean", tmp_path / "run"
    cleaned = cli("clean-labels", task, "--out", clean, "--fast", "--all-splits", "--set", "image.px=64", "--workers", 0)
    assert cleaned.code == 0, cleaned.err
    page.open(clean / "review.html")
    assert page.find("h1")[0].text == HOSTILE_TASK["title"]
    page.keys("k", "d", "1", "n", "u", "?")
    page.chromium.find_element("id", "help-close").click()
    page.filter("head", "kind")
    page.keys("d", "d")
    file = page.save()
    assert_nothing_ran(page.chromium, own_scripts=2)
    written = pd.read_csv(file, dtype=str, keep_default_na=False)
    verdicts = read_table(clean / "verdicts.csv", escaped=True)
    # The page escapes every cell as Python does: the same labels under the same keys.
    assert set(written["path"]) == {escape_cell(path) for path in verdicts["path"]}
    assert set(map(escape_cell, FILES)) <= set(written["path"])
    assert {escape_cell(name) for name in verdicts["given_label"]} == set(written["given_label"])
    trained = cli("train", task, "--out", run, "--workers", 0, "--decisions", file)
    assert trained.code == 0, trained.err
    assert cli("clean-labels", task, "--apply", file, "--out", tmp_path / "mended.csv").code == 0
    assert read_table(tmp_path / "mended.csv", escaped=True)["file"].tolist() == read_table(hostile / "labels.csv")["file"].tolist()
    scored = cli("evaluate", run, hostile, "--workers", 0)
    assert scored.code == 0, scored.err
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": f"failed {PAYLOADS[2]}", "message": "".join(PAYLOADS), "device": PAYLOADS[0]}))
    assert cli("report", run).code == 0
    page.chromium.get((run / "report.html").as_uri())
    assert page.find("h1")[0].text == HOSTILE_TASK["title"]
    shown = page.chromium.execute_script("return document.body.textContent")
    assert [text for text in PAYLOADS if text not in shown] == []
    assert page.find("figure img"), "no thumbnail was shown"
    assert_nothing_ran(page.chromium, own_scripts=0)


def test_the_reports_policy_lets_no_script_run_and_nothing_be_fetched(page, make_run):
    from attrcls.report import write_report

    page.chromium.get(write_report(make_run()).as_uri())
    page.chromium.execute_script("""
        const script = document.createElement("script");
        script.textContent = "window.hacked = 1";
        const holder = document.createElement("div");
        holder.innerHTML = '<img src="data:," onerror="window.hacked = 1"><img src="http://x.example/a.png"><form action="http://x.example/"></form>';
        document.body.append(script, holder);
        fetch("http://x.example/b").catch(() => {});
        document.querySelector("form").submit();
    """)
    refused = page.until(lambda: (found := page.chromium.get_log("browser")) and found)
    assert any("Content Security Policy" in entry["message"] for entry in refused)
    assert page.run("window.hacked") is None
    policy = page.run("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
    assert policy.startswith("default-src 'none'; img-src data:;") and "script-src" not in policy
