import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attrcls.card import Card
from attrcls.data.manifest import build_manifest
from attrcls.errors import ProblemsError, UserError
from attrcls.spec import parse_spec
from attrcls.types import MISSING


def make_card(name: str = "pack", **changes: object) -> Card:
    raw = {
        "name": name,
        "tables": ["t.csv"],
        "images": {"root": "img", "column": "file"},
        "attributes": {"kind": {"classes": ["cat", "dog"]}, "age": {"classes": ["young", "old"], "cuts": [10]}},
        **changes,
    }
    return parse_spec(Card, raw, file=f"{name}.yaml")


def write_pack(folder: Path, text: str, *, pictures: tuple[str, ...] = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")) -> Path:
    (folder / "img").mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text(text, encoding="utf-8")
    for name in pictures:
        (folder / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "img" / name).write_bytes(b"x")
    return folder


def test_a_row_has_its_key_path_group_split_and_targets(tmp_path):
    card = make_card(group="who", split="part")
    write_pack(tmp_path, "file,kind,age,who,part\na.jpg,cat,3,ann,train\nb.jpg,1,30,bob,val\nc.jpg,,,,test\n")
    manifest, problems = build_manifest({"pack": card}, {"pack": tmp_path})
    frame = manifest.frame
    assert problems == []
    assert frame["row_id"].tolist() == ["img/a.jpg", "img/b.jpg", "img/c.jpg"]
    assert frame["path"].tolist() == ["img/a.jpg", "img/b.jpg", "img/c.jpg"]
    assert frame["group"].tolist() == ["pack:ann", "pack:bob", ""]
    assert frame["split"].tolist() == ["train", "val", "test"]
    assert manifest.targets("kind").tolist() == [0, 1, MISSING]
    assert manifest.targets("age").tolist() == [0, 1, MISSING]
    assert manifest.class_counts("kind").tolist() == [1, 1]
    assert manifest.image_paths()[0] == tmp_path / "img" / "a.jpg"


def test_blanks_around_a_groups_name_make_no_other_group_and_a_blank_split_is_what_the_card_says(tmp_path):
    card = make_card(group="who", split={"column": "part", "values": {"": "test", "1": "train"}})
    write_pack(tmp_path, "file,kind,age,who,part\na.jpg,cat,3,ann,1\nb.jpg,1,30,bob,\nc.jpg,,, ann ,train\n")
    frame = build_manifest({"pack": card}, {"pack": tmp_path})[0].frame
    assert frame["group"].tolist() == ["pack:ann", "pack:bob", "pack:ann"]
    assert frame["split"].tolist() == ["train", "test", "train"]


def test_a_group_of_whole_numbers_is_the_same_where_a_gap_made_them_decimals(tmp_path):
    card = make_card(group="who", tables=[{"file": "t.csv", "split": "train"}, {"file": "u.csv", "split": "test"}])
    write_pack(tmp_path, "file,kind,age,who\na.jpg,cat,3,7\nb.jpg,1,30,12\n")
    (tmp_path / "u.csv").write_text("file,kind,age,who\nc.jpg,cat,3,7.0\nd.jpg,dog,3,\n")
    with pytest.raises(ProblemsError, match="group '7' has rows in"):
        build_manifest({"pack": card}, {"pack": tmp_path})
    # Other names stay as they are, a number with zeros in front or a version too.
    (tmp_path / "u.csv").write_text("file,kind,age,who\nc.jpg,cat,3,7.0\nd.jpg,dog,3,v2.0\n")
    write_pack(tmp_path, "file,kind,age,who\na.jpg,cat,3,007\nb.jpg,1,30,12\n")
    assert build_manifest({"pack": card}, {"pack": tmp_path})[0].frame["group"].tolist() == ["pack:007", "pack:12", "pack:7.0", "pack:v2.0"]


def test_attributes_may_be_called_number_and_table(tmp_path):
    card = make_card(attributes={"number": {"classes": ["a", "b"]}, "table": {"classes": ["no", "yes"]}})
    write_pack(tmp_path, "file,number,table\na.jpg,a,yes\nb.jpg,b,no\n")
    manifest, _ = build_manifest({"pack": card}, {"pack": tmp_path})
    assert [manifest.targets(name).tolist() for name in ("number", "table")] == [[0, 1], [1, 0]]


def test_a_number_is_kept_beside_its_class_until_the_label_is_another(tmp_path):
    card = make_card(attributes={"age": {"classes": ["young", "old"], "cuts": [10], "values": {"7": "old"}, "missing": ["", "-1"]}})
    write_pack(tmp_path, "file,age\na.jpg,9.5\nb.jpg,10\nc.jpg,-1\nd.jpg,old\ne.jpg,7\nf.jpg,3\n", pictures=tuple(f"{name}.jpg" for name in "abcdef"))
    manifest, _ = build_manifest({"pack": card}, {"pack": tmp_path})
    assert manifest.targets("age").tolist() == [0, 1, MISSING, 1, 1, 0]
    assert manifest.numbers("age", [10]).tolist() == pytest.approx([9.5, 10, math.nan, math.nan, math.nan, 3], nan_ok=True)
    mended = manifest.with_columns(age=np.array([0, 0, 1, 1, MISSING, MISSING]))
    assert mended.numbers("age", [10]).tolist() == pytest.approx([9.5] + [math.nan] * 5, nan_ok=True)


def test_an_attribute_that_no_number_is_cut_for_has_none(tmp_path):
    write_pack(tmp_path, "file,kind,age\na.jpg,cat,3\n")
    manifest, _ = build_manifest({"pack": make_card()}, {"pack": tmp_path})
    assert np.isnan(manifest.numbers("kind", [])).all()


def test_every_fault_is_found_at_once_with_file_row_and_column(tmp_path):
    card = make_card(split="part", group="who")
    rows = [
        "a.jpg,cat,3,ann,train",
        "a.jpg,cat,3,ann,train",
        "b.jpg,catt,x,bob,train",
        "gone.jpg,dog,1,cy,train",
        "../t.csv,dog,1,di,train",
        ",dog,1,ed,trian",
    ]
    write_pack(tmp_path, "file,kind,age,who,part\n" + "\n".join([*rows, "c.jpg,dog,1,fay,train", "d.jpg,dog,1,fay,test"]) + "\n")
    with pytest.raises(ProblemsError) as caught:
        build_manifest({"pack": card}, {"pack": tmp_path})
    text = [str(problem) for problem in caught.value.problems]
    assert len(text) == 8
    assert any("t.csv, row 3, column kind: expected one of cat, dog, found 'catt'; did you mean 'cat'?" in line for line in text)
    assert any("row 3, column age: expected a number" in line for line in text)
    assert any("row 4, column file: no file img/gone.jpg" in line for line in text)
    assert any("row 5, column file: '../t.csv' leads out of the image folder" in line for line in text)
    assert any("row 6, column file: expected an image path, found a blank cell" in line for line in text)
    assert any("row 6, column part: expected one of train, val, test, found 'trian'" in line for line in text)
    assert any("row 2, column file: 'img/a.jpg' stands here a second time" in line for line in text)
    assert any("group 'fay' has rows in train (row 7) and test (row 8)" in line for line in text)
    assert "--on-error skip" in str(caught.value)


def test_skipping_goes_on_without_the_bad_rows_and_lists_them(tmp_path):
    card = make_card()
    write_pack(tmp_path, "file,kind,age\na.jpg,cat,3\nb.jpg,bird,3\na.jpg,dog,3\nc.jpg,dog,3\n")
    manifest, problems = build_manifest({"pack": card}, {"pack": tmp_path}, on_error="skip")
    assert manifest.frame["row_id"].tolist() == ["img/a.jpg", "img/c.jpg"]
    assert len(problems) == 2


def test_skipping_keeps_a_straddling_group_where_it_is_tested(tmp_path):
    card = make_card(group="who", split="part")
    write_pack(tmp_path, "file,kind,age,who,part\na.jpg,cat,3,ann,train\nb.jpg,cat,3,ann,test\nc.jpg,dog,1,bob,train\n")
    manifest, problems = build_manifest({"pack": card}, {"pack": tmp_path}, on_error="skip")
    assert manifest.frame["row_id"].tolist() == ["img/b.jpg", "img/c.jpg"]
    assert len(problems) == 1


def test_a_group_with_blank_and_test_splits_straddles_too(tmp_path):
    card = make_card(group="who", split="part")
    write_pack(tmp_path, "file,kind,age,who,part\na.jpg,cat,3,ann,\nb.jpg,cat,3,ann,test\n")
    with pytest.raises(ProblemsError, match=r"group 'ann' has rows in train \(row 1\) and test \(row 2\)"):
        build_manifest({"pack": card}, {"pack": tmp_path})


@pytest.mark.parametrize("path", ["/etc/passwd", "C:\\x.jpg", "x/../../../y.jpg", "..\\t.csv"])
def test_a_path_that_climbs_out_of_the_image_root_is_refused(tmp_path, path):
    write_pack(tmp_path, f"file,kind,age\n{path},cat,3\n")
    with pytest.raises(ProblemsError, match="leads out of the image folder"):
        build_manifest({"pack": make_card()}, {"pack": tmp_path})


def test_rows_of_one_picture_with_different_boxes_are_different_objects(tmp_path):
    card = make_card(box={"xmin": "l", "ymin": "t", "xmax": "r", "ymax": "b"})
    write_pack(tmp_path, "file,kind,age,l,t,r,b\na.jpg,cat,3,0,0,5,5\na.jpg,dog,3,5.5,0,9,5\n")
    manifest, _ = build_manifest({"pack": card}, {"pack": tmp_path})
    assert manifest.frame["row_id"].tolist() == ["img/a.jpg@0,0,5,5", "img/a.jpg@5.5,0,9,5"]
    assert manifest.boxes().tolist() == [[0, 0, 5, 5], [5.5, 0, 9, 5]]


@pytest.mark.parametrize(
    ("box", "expected"), [("1,1,1,5", "expected xmin < xmax"), ("1,x,2,5", "expected a number of pixels, found 'x'"), ("1,1,,5", "found ''")]
)
def test_a_box_that_is_none_is_refused(tmp_path, box, expected):
    card = make_card(box={"xmin": "l", "ymin": "t", "xmax": "r", "ymax": "b"})
    write_pack(tmp_path, f"file,kind,age,l,t,r,b\na.jpg,cat,3,{box}\n")
    with pytest.raises(ProblemsError) as caught:
        build_manifest({"pack": card}, {"pack": tmp_path})
    assert expected in str(caught.value)


def make_folders_card() -> Card:
    folders = {"attribute": "kind", "files": {"one": "cat", "two": "dog"}}
    return make_card(images={"root": "img", "column": "file", "folders": folders}, key="id", group="id")


def test_a_folder_of_a_person_gives_a_row_per_expected_file_whatever_its_extension(tmp_path):
    write_pack(
        tmp_path, "id,file,age\n7,p7,3\n8,p8,30\n", pictures=("p7/one.jpg", "p7/two.PNG", "p7/._one.jpg", "p8/one.jpeg", "p8/two.jpg", "p8/other.jpg")
    )
    manifest, _ = build_manifest({"pack": make_folders_card()}, {"pack": tmp_path})
    assert manifest.frame["path"].tolist() == ["img/p7/one.jpg", "img/p7/two.PNG", "img/p8/one.jpeg", "img/p8/two.jpg"]
    assert manifest.frame["row_id"].tolist() == ["7/one", "7/two", "8/one", "8/two"]
    assert manifest.targets("kind").tolist() == [0, 1, 0, 1]
    assert manifest.targets("age").tolist() == [0, 0, 1, 1]


def test_a_folder_that_lacks_a_file_or_has_it_twice_is_reported(tmp_path):
    write_pack(tmp_path, "id,file,age\n7,p7,3\n8,gone,30\n", pictures=("p7/one.jpg", "p7/one.png"))
    with pytest.raises(ProblemsError) as caught:
        build_manifest({"pack": make_folders_card()}, {"pack": tmp_path})
    text = str(caught.value)
    assert "found one.jpg, one.png" in text
    assert "expected one of two{.jpg,.jpeg,.png} in img/p7, found none" in text
    assert "no folder img/gone" in text


def test_cards_are_joined_by_attribute_name_and_a_lacking_attribute_is_missing(tmp_path):
    one, two = make_card("one"), make_card("two", attributes={"kind": {"classes": ["cat", "dog"]}})
    write_pack(tmp_path / "1", "file,kind,age\na.jpg,cat,3\n")
    write_pack(tmp_path / "2", "file,kind\na.jpg,dog\n")
    manifest, _ = build_manifest({"one": one, "two": two}, {"one": tmp_path / "1", "two": tmp_path / "2"})
    assert list(zip(manifest.frame["card"], manifest.frame["row_id"], strict=True)) == [("one", "img/a.jpg"), ("two", "img/a.jpg")]
    assert manifest.targets("age").tolist() == [0, MISSING]


def test_taking_rows_returns_a_new_manifest_and_leaves_the_old_one_alone(tmp_path):
    write_pack(tmp_path, "file,kind,age\na.jpg,cat,3\nb.jpg,dog,3\n")
    manifest, _ = build_manifest({"pack": make_card()}, {"pack": tmp_path})
    before = manifest.frame.copy()
    part = manifest.take(np.array([1])).with_columns(split="val")
    assert part.frame["row_id"].tolist() == ["img/b.jpg"]
    pd.testing.assert_frame_equal(manifest.frame, before)


def test_a_missing_folder_table_or_column_is_a_user_error_that_names_the_fix(tmp_path):
    with pytest.raises(UserError, match="--data DIR"):
        build_manifest({"pack": make_card()}, {"pack": tmp_path / "nowhere"})
    with pytest.raises(UserError, match=r"t\.csv"):
        build_manifest({"pack": make_card()}, {"pack": tmp_path})
    write_pack(tmp_path, "fil,kind,age\na.jpg,cat,3\n")
    with pytest.raises(UserError, match="'fil'"):
        build_manifest({"pack": make_card()}, {"pack": tmp_path})


def test_the_same_file_name_in_two_tables_image_folders_is_two_rows(tmp_path):
    card = make_card(tables=[{"file": "t.csv", "images": "one"}, {"file": "u.csv", "images": "two", "split": "test"}])
    for table, folder in (("t.csv", "one"), ("u.csv", "two")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"x")
        (tmp_path / table).write_text("file,kind,age\n1.jpg,cat,3\n")
    manifest, _ = build_manifest({"pack": card}, {"pack": tmp_path})
    assert manifest.frame["row_id"].tolist() == ["one/1.jpg", "two/1.jpg"]


def test_when_no_row_is_usable_the_reasons_are_told(tmp_path):
    write_pack(tmp_path, "file,kind,age\ngone.jpg,cat,3\n")
    with pytest.raises(ProblemsError, match=r"(?s)no usable row.*no file img/gone\.jpg"):
        build_manifest({"pack": make_card()}, {"pack": tmp_path}, on_error="skip")


def test_a_table_in_another_encoding_is_read_where_the_card_says_so(tmp_path):
    card = make_card(tables=[{"file": "t.csv", "encoding": "latin-1"}], attributes={"kind": {"classes": ["chat", "bête"]}})
    write_pack(tmp_path, "")
    (tmp_path / "t.csv").write_bytes("file,kind\na.jpg,bête\n".encode("latin-1"))
    assert build_manifest({"pack": card}, {"pack": tmp_path})[0].targets("kind").tolist() == [1]


ROWS = st.tuples(
    st.sampled_from(["a.jpg", "b.jpg", "c.jpg", "sub/d.jpg", "gone.jpg", "", "../t.csv"]),
    st.sampled_from(["cat", "dog", "1", "", "bird"]),
    st.sampled_from(["3", "10", "9.5", "", "old?"]),
    st.sampled_from(["ann", "bob", "", "가"]),
    st.sampled_from(["train", "val", "test", "", "Test", "never"]),
)
KINDS, SPLITS = {"cat": 0, "dog": 1, "1": 1, "": MISSING}, {"train": "train", "val": "val", "test": "test", "Test": "test", "": ""}
AGES = {"3": 0, "9.5": 0, "10": 1, "": MISSING}


@settings(max_examples=60)
@given(rows=st.lists(ROWS, min_size=1, max_size=10))
def test_every_row_of_a_table_is_in_the_manifest_or_its_fault_is_told(scratch, rows):
    folder = write_pack(
        scratch, "file,kind,age,who,part\n" + "".join(f"{','.join(row)}\n" for row in rows),
        pictures=("a.jpg", "b.jpg", "c.jpg", "sub/d.jpg"),
    )  # fmt: skip
    roots, cards = {"pack": folder}, {"pack": make_card(group="who", split="part")}
    seen: set[str] = set()
    faulty, usable = set(), []
    for number, (file, kind, age, who, part) in enumerate(rows, start=1):
        if file in ("gone.jpg", "", "../t.csv") or kind not in KINDS or age not in AGES or part not in SPLITS or file in seen:
            faulty.add(number)
        else:
            usable.append((f"img/{file}", KINDS[kind], AGES[age], f"pack:{who}" if who else "", SPLITS[part]))
        # Even where the first row of a picture is faulty: which of the two is right is for people to say.
        seen.add(file)
    splits_of: dict[str, set[str]] = {}
    for *_, group, split in usable:
        splits_of.setdefault(group, set()).add(split or "train")
    # Of a group in several splits the rows of the last of train, val, test stay.
    last = {group: max(found, key=["train", "val", "test"].index) for group, found in splits_of.items()}
    kept = [row for row in usable if not row[3] or (row[4] or "train") == last[row[3]]]
    straddling = sum(bool(group) and len(found) > 1 for group, found in splits_of.items())
    if not kept:
        with pytest.raises(ProblemsError, match="no usable row"):
            build_manifest(cards, roots, on_error="skip")
        return
    manifest, problems = build_manifest(cards, roots, on_error="skip")
    frame = manifest.frame
    found = zip(frame["path"], manifest.targets("kind").tolist(), manifest.targets("age").tolist(), frame["group"], frame["split"], strict=True)
    assert list(found) == kept
    assert frame["row_id"].is_unique
    assert {problem.row for problem in problems} - {None} == faulty
    assert sum(problem.row is None for problem in problems) == straddling
    if problems:
        with pytest.raises(ProblemsError) as caught:
            build_manifest(cards, roots)
        assert caught.value.problems == problems
