"""Verdicts from audits: reasons, group and combination checks, the floor."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.cleaning.audit import HeadAudit, join
from attrcls.cleaning.decisions import apply_decisions, read_decisions
from attrcls.cleaning.roles import units_of
from attrcls.cleaning.verdicts import VERDICT_COLUMNS, value_table, verdict_table
from attrcls.data.tables import write_table
from attrcls.sections import CleanSpec
from attrcls.types import MISSING

NO_FLOOR = CleanSpec(floor_share=1.0, floor_rows=0)


def audit_of(manifest, head, *, suspect=(), score=None, constant=False) -> HeadAudit:
    targets = manifest.targets(head)
    units = units_of(targets, manifest.frame["group"].to_numpy(dtype=object) if constant else None)
    count = len(units.labels)
    flags = np.isin(np.arange(count), list(suspect))
    scores = np.linspace(0.1, 0.9, count) if score is None else np.array(score, dtype=float)
    suggested = (units.labels + 1) % len(manifest.classes[head])
    aum = np.where(targets == MISSING, np.nan, np.arange(len(targets), dtype=float))
    return HeadAudit(manifest.classes[head], targets, units, aum, scores, flags, suggested, np.full(count, 0.7), threshold=-1.5)


def test_a_suspect_label_gets_one_row_with_every_column_and_is_dropped_at_first(manifest_of):
    manifest = manifest_of(colour=(["red", "green"], [0, 1, MISSING, 1]))
    table = verdict_table(manifest, {"colour": audit_of(manifest, "colour", suspect=[1])}, NO_FLOOR, constant=())
    assert list(table.columns) == list(VERDICT_COLUMNS)
    row = table.iloc[0]
    assert (row["row_id"], row["given_label"], row["suggested_label"], row["decision"]) == ("r1", "green", "red", "drop_label")
    assert (row["aum"], row["threshold"], row["suggested_confidence"]) == (1.0, -1.5, 0.7)
    assert len(table) == 1


def test_suspects_come_worst_first_within_a_head_and_a_group_stays_together(manifest_of):
    manifest = manifest_of(["a", "b", "a", "b", "c"], colour=(["red", "green"], [0, 1, 0, 1, 0]))
    audit = audit_of(manifest, "colour", suspect=[0, 1], score=[0.3, 0.1, 0.9], constant=True)
    table = verdict_table(manifest, {"colour": audit}, NO_FLOOR, constant={"colour"})
    assert table["row_id"].tolist() == ["r1", "r3", "r0", "r2"]
    assert "by 2 pictures of the group" in table["reason"].iloc[0]


def test_a_label_that_differs_within_its_group_is_suspect_where_it_must_not(manifest_of):
    manifest = manifest_of(["a", "a", "a", "b"], colour=(["red", "green"], [0, 0, 1, 1]))
    table = verdict_table(manifest, {"colour": audit_of(manifest, "colour", constant=True)}, NO_FLOOR, constant={"colour"})
    assert table["row_id"].tolist() == ["r2"]
    assert table["reason"].iloc[0] == "differs within group a: 2 of its pictures say red"
    assert verdict_table(manifest, {"colour": audit_of(manifest, "colour")}, NO_FLOOR, constant=()).empty


def test_an_impossible_combination_blames_the_label_with_the_worse_score(manifest_of):
    manifest = manifest_of(mask=(["on", "off"], [0, 1]), gender=(["man", "woman"], [0, 1]))
    audits = {"mask": audit_of(manifest, "mask", score=[0.9, 0.9]), "gender": audit_of(manifest, "gender", score=[0.2, 0.9])}
    spec = CleanSpec(impossible=[{"mask": "on", "gender": "man"}], floor_share=1.0, floor_rows=0)
    table = verdict_table(manifest, audits, spec, constant=())
    assert table[["row_id", "head", "reason"]].to_numpy().tolist() == [["r0", "gender", "impossible together: mask on, gender man"]]
    off = spec.model_copy(update={"combinations": False})
    assert verdict_table(manifest, audits, off, constant=()).empty


def test_a_very_rare_combination_is_suspect_and_a_merely_scarce_class_is_not(manifest_of):
    # 200 × (0, 0), 200 × (1, 1) and one (0, 1), where chance alone would bring 100.
    manifest = manifest_of(a=(["x", "y"], [0] * 201 + [1] * 200), b=(["u", "v"], [0] * 200 + [1] * 201))
    table = verdict_table(manifest, {"a": audit_of(manifest, "a"), "b": audit_of(manifest, "b")}, NO_FLOOR, constant=())
    assert table["row_id"].tolist() == ["r200"]
    assert table["reason"].iloc[0].startswith("very rare together: a x, b v (1 times, 101 by chance)")
    scarce = manifest_of(a=(["x", "y"], [0] * 100 + [1]), b=(["u", "v"], [0, 1] * 50 + [0]))
    assert verdict_table(scarce, {"a": audit_of(scarce, "a"), "b": audit_of(scarce, "b")}, NO_FLOOR, constant=()).empty


def test_the_floor_keeps_half_of_a_class_and_twenty_labels_and_says_so(manifest_of):
    manifest = manifest_of(colour=(["red", "green"], [0] * 60 + [1] * 24))
    everything = verdict_table(manifest, {"colour": audit_of(manifest, "colour", suspect=range(84))}, CleanSpec(), constant=())
    dropped = everything[everything["decision"] == "drop_label"].groupby("given_label").size().to_dict()
    assert dropped == {"red": 30, "green": 4}
    kept = everything[everything["decision"] == "keep"]
    assert kept["reason"].str.contains("kept by the floor: ").all()
    assert everything[everything["decision"] == "drop_label"]["label_score"].max() < 0.9


def test_none_suspect_gives_an_empty_table_with_all_columns(manifest_of):
    manifest = manifest_of(colour=(["red"], [0, 0]))
    table = verdict_table(manifest, {"colour": audit_of(manifest, "colour")}, CleanSpec(), constant=())
    assert list(table.columns) == list(VERDICT_COLUMNS)
    assert table.empty


def test_the_value_table_has_every_label_with_its_own_margin_and_its_groups_score(manifest_of):
    manifest = manifest_of(["a", "a", "b"], colour=(["red", "green"], [0, 0, MISSING]))
    table = value_table(manifest, {"colour": audit_of(manifest, "colour", score=[0.25], constant=True)})
    assert table[["row_id", "given_label", "aum", "label_score"]].to_numpy().tolist() == [["r0", "red", 0.0, 0.25], ["r1", "red", 1.0, 0.25]]


def test_joined_methods_rank_by_the_mean_rank_and_suspect_as_many_as_they_do_on_average(manifest_of):
    manifest = manifest_of(colour=(["red", "green"], [0, 1, 0, 1]))
    aum = audit_of(manifest, "colour", suspect=[0], score=[0.1, 0.4, 0.6, 0.9])
    confident = audit_of(manifest, "colour", suspect=[0, 1, 2], score=[0.2, 0.1, 0.7, 0.8])
    joined = join(aum, confident)
    np.testing.assert_allclose(joined.score, [1 / 6, 1 / 6, 2 / 3, 1.0])
    assert joined.suspect.tolist() == [True, True, False, False]


@settings(max_examples=40)
@given(
    targets=st.lists(st.integers(-1, 2), min_size=1, max_size=40).filter(lambda targets: max(targets) >= 0),
    share=st.floats(0, 1),
    rows=st.integers(0, 10),
    data=st.data(),
)
def test_written_verdicts_are_read_and_done_and_no_class_falls_below_its_floor(manifest_of, scratch, targets, share, rows, data):
    manifest = manifest_of(colour=(["red", "green", "blue"], targets))
    labelled = sum(target != MISSING for target in targets)
    suspect = data.draw(st.sets(st.integers(0, labelled - 1)))
    spec = CleanSpec(floor_share=share, floor_rows=rows)
    table = verdict_table(manifest, {"colour": audit_of(manifest, "colour", suspect=suspect)}, spec, constant=())
    file = scratch / "verdicts.csv"
    write_table(table, file)
    decisions = read_decisions(file, manifest)
    assert len(decisions) == len(table) == len(suspect)
    changed, _ = apply_decisions(manifest, decisions)
    before, after = manifest.class_counts("colour"), changed.class_counts("colour")
    assert (before - after <= before * share + 1e-9).all()
    assert ((after >= rows) | (after == before)).all()
    assert (changed.targets("colour")[manifest.targets("colour") == MISSING] == MISSING).all()
