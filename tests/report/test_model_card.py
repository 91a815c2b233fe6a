"""The card that lies beside a model: all there is to know of it, for whoever gets no more than the model."""

import re

import yaml

from attrcls.report import write_model_card

HOSTILE = "<script>alert(1)</script> | `rm` [link](javascript:x) *star*"


def card_of(run):
    return write_model_card(run).read_text(encoding="utf-8")


def rows_of(card, heading):
    """The cells of the first table below a heading."""
    lines = card.split(heading, 1)[1].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def test_the_card_lies_beside_the_model_with_front_matter_that_is_yaml(make_run):
    run = make_run()
    assert write_model_card(run) == run / "model" / "README.md"
    _, front, body = card_of(run).split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "image-classification"
    assert body.startswith("# Toy task\n")


def test_a_card_of_one_head_has_no_empty_table_of_slices(make_run):
    rows = [{"x": (name, "a", 0.9)} for name in "aabb"]
    card = card_of(make_run(heads={"x": ["a", "b"]}, rows=rows, combine=None, columns={"group": ["toy:a", "toy:a", "toy:b", "toy:b"]}))
    assert "There is one attribute only" in card
    assert "| head | slice |" not in card


def test_the_card_tells_data_licence_use_and_known_faults(make_run):
    card = card_of(make_run())
    assert "- licence: CC0" in card
    assert "- Toy faces: tests" in card.split("## Intended use")[1]
    assert "- Known of the data (toy): drawn, not seen" in card.split("## Limits")[1]
    assert rows_of(card, "### Toy faces")[2][:2] == ["train", "8"]


def test_every_score_has_its_interval_and_what_guessing_gets(make_run):
    scores = {row[0]: row[1:] for row in rows_of(card_of(make_run()), "## Scores")[2:]}
    assert set(scores) == {"mask", "gender", "ans"}
    rows, top1, _, guess = scores["mask"]
    assert rows == "5"
    assert top1.startswith("0.600 \\[0.")
    assert guess == "0.600"


def test_the_worst_slices_of_each_head_are_named_with_their_rows(make_run):
    table = rows_of(card_of(make_run()), "### Where it is worst")
    assert ["mask", "gender female"] in [row[:2] for row in table]
    assert {row[0] for row in table[2:]} == {"mask", "gender"}


def test_the_card_says_what_was_cleaned_and_balanced_and_where_nothing_was(make_run):
    run = make_run()
    assert "none was cleaned" in card_of(run)
    assert "Classes were not balanced" in card_of(run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["run"]["decisions"] = {"done": [{"head": "mask", "class": "wear", "labels": 30, "dropped": 4, "relabelled": 1, "kept": 0}]}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert rows_of(card_of(run), "## Labels and balance")[2] == ["mask", "wear", "30", "4", "1"]


def test_a_run_without_validation_rows_says_that_nothing_was_measured(make_run):
    run = make_run(rows=[], status={"val_rows": 0})
    (run / "validation.csv").unlink()
    assert "nothing was measured" in card_of(run)


def test_names_stay_text_in_markdown(make_run):
    card = card_of(make_run(card={"title": HOSTILE, "licence": f"CC0\n# a heading of its own {HOSTILE}"}))
    body = card.split("---\n", 2)[2]
    assert "<script" not in body.replace("\\<", "")
    assert "\n# a heading" not in card
    assert not re.search(r"(?<!\\)\](?=\()", card)
    assert body.count("\n# ") + body.startswith("# ") == 1


def test_the_card_tells_what_was_loaded_before_training(make_run):
    assert "- weights before training: resnet18 from ImageNet, 120 of 122 tensors" in card_of(make_run())
