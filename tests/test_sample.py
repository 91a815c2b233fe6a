"""The sample datasets: their layout, their repeatability, and that their truth files tell the truth."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from attrcls.errors import UserError
from attrcls.sample import SampleSummary, draw_faces, draw_fashion
from attrcls.sample.chance import dealt
from attrcls.sample.facemask import Wear
from attrcls.sample.faces import combined_code

PEOPLE = 40
GENDERS = {"male": 0, "female": 1}
WEARS = {"incorrect_mask": 1, "normal": 2}
LABELS = ("Daily", "Gender", "Embellishment")
DRAWERS = pytest.mark.parametrize("draw", [draw_faces, draw_fashion])


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return draw_faces(tmp_path_factory.mktemp("sample") / "faces", people=PEOPLE, seed=3)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> SampleSummary:
    return draw_fashion(tmp_path_factory.mktemp("sample") / "fashion", people=PEOPLE // 2, seed=3)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_faces_have_the_competition_layout(faces: SampleSummary) -> None:
    people = read(faces.directory / "train" / "train.csv")
    assert list(people[0]) == ["id", "gender", "race", "age", "path"]
    assert len(people) == PEOPLE == faces.people
    for person in people:
        assert person["path"] == f"{person['id']}_{person['gender']}_{person['race']}_{person['age']}"
        names = [path for path in (faces.directory / "train" / "images" / person["path"]).iterdir() if not path.name.startswith("._")]
        assert sorted(path.stem for path in names) == ["incorrect_mask", "mask1", "mask2", "mask3", "mask4", "mask5", "normal"]
    evaluation = read(faces.directory / "eval" / "info.csv")
    assert list(evaluation[0]) == ["ImageID", "ans"]
    assert {row["ans"] for row in evaluation} == {"0"}
    assert {row["ImageID"] for row in evaluation} == {path.name for path in (faces.directory / "eval" / "images").iterdir()}


def test_faces_come_in_three_formats_with_stray_files_that_are_no_pictures(faces: SampleSummary) -> None:
    files = list((faces.directory / "train" / "images").rglob("*.*"))
    endings = Counter(path.suffix for path in files)
    assert set(endings) == {".jpg", ".jpeg", ".png"}
    assert endings[".jpg"] > endings[".jpeg"] + endings[".png"]
    stray = [path for path in files if path.name.startswith("._")]
    assert len(stray) == PEOPLE // 10
    assert all(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR) is None for path in stray)
    assert len(files) - len(stray) == faces.images == 7 * PEOPLE


def test_every_face_is_a_portrait_of_96_by_128(faces: SampleSummary) -> None:
    folders = (faces.directory / "train" / "images", faces.directory / "eval" / "images")
    pictures = [path for folder in folders for path in folder.rglob("*.*") if not path.name.startswith("._")]
    assert {cv2.imread(str(path)).shape for path in pictures} == {(128, 96, 3)}
    assert len(pictures) == faces.images + faces.evaluation_images


def test_face_truth_says_what_the_file_names_say(faces: SampleSummary) -> None:
    for row in read(faces.directory / "train_truth.csv"):
        folder, _, name = row["file"].partition("/")
        _, gender, _, age = folder.split("_")
        assert (faces.directory / "train" / "images" / row["file"]).exists()
        wear = WEARS.get(name.rpartition(".")[0], 0)
        assert int(row["said18"]) == wear * 6 + GENDERS[gender] * 3 + (int(age) >= 30) + (int(age) >= 60)


def test_face_truth_differs_from_the_labels_exactly_where_it_is_marked_wrong(faces: SampleSummary) -> None:
    rows = read(faces.directory / "train_truth.csv")
    for row in rows:
        said, true = int(row["said18"]), int(row["true18"])
        assert (said // 6 != true // 6) == (row["mask_wrong"] == "1")
        assert (said // 3 % 2 != true // 3 % 2) == (row["gender_wrong"] == "1")
        assert (said % 3 != true % 3) == (row["age_wrong"] == "1")
    assert faces.faults == sum(int(row["gender_wrong"]) + int(row["mask_wrong"]) for row in rows)


def test_face_faults_come_in_the_promised_shares(faces: SampleSummary) -> None:
    rows = read(faces.directory / "train_truth.csv")
    swapped = {row["file"].partition("/")[0] for row in rows if row["mask_wrong"] == "1"}
    misgendered = {row["file"].partition("/")[0] for row in rows if row["gender_wrong"] == "1"}
    assert len(swapped) == PEOPLE // 20
    assert len(misgendered) in (1, 2)
    assert all(row["mask_wrong"] == "0" for row in rows if "/mask" in row["file"])


def test_faces_are_lopsided_and_their_recorded_ages_are_clipped(faces: SampleSummary) -> None:
    ages = [int(person["age"]) for person in read(faces.directory / "train" / "train.csv")]
    assert min(ages) == 18 and max(ages) == 60
    true = [int(row["true18"]) for row in read(faces.directory / "train_truth.csv") if "/normal" in row["file"]]
    assert sum(code // 3 % 2 for code in true) == 0.7 * PEOPLE
    assert sum(code % 3 == 2 for code in true) == 0.1 * PEOPLE


def test_evaluation_answers_are_the_list_in_its_order_and_hold_all_three_ways_to_wear(faces: SampleSummary) -> None:
    answers = read(faces.directory / "eval_answers.csv")
    assert [row["ImageID"] for row in answers] == [row["ImageID"] for row in read(faces.directory / "eval" / "info.csv")]
    people = round(0.3 * PEOPLE)
    assert Counter(int(row["ans"]) // 6 for row in answers) == {0: 5 * people, 1: people, 2: people}


@DRAWERS
def test_nobody_is_in_both_train_and_evaluation(draw, tmp_path: Path) -> None:
    written = contents(draw(tmp_path / "sample", people=10).directory)
    pictures = [content for name, content in written.items() if name.endswith((".jpg", ".jpeg", ".png")) and "/._" not in name]
    assert len(set(pictures)) == len(pictures)
    if draw is draw_fashion:
        train, test = ({row["wearer"] for row in read(tmp_path / "sample" / f"{split}.csv")} for split in ("train", "test"))
        assert (len(train), len(test), train & test) == (10, 3, set())


@DRAWERS
def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_pictures(draw, tmp_path: Path) -> None:
    first, again, other = (contents(draw(tmp_path / name, people=10, seed=seed).directory) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert first == again
    assert not set(first.values()) & {content for name, content in other.items() if name.endswith(".jpg") and "._" not in name}


@DRAWERS
def test_a_larger_sample_holds_the_smaller_one(draw, tmp_path: Path) -> None:
    small, large = (contents(draw(tmp_path / str(people), people=people, seed=5).directory) for people in (10, 14))
    for name, content in small.items():
        assert large[name] == content or name.endswith(".csv")
    for name in ("train/train.csv", "train_truth.csv") if draw is draw_faces else ("train.csv", "test.csv"):
        assert large[name].startswith(small[name])


def test_fashion_has_the_columns_and_pictures_of_fascode(fashion: SampleSummary) -> None:
    for split, images in (("train", fashion.images), ("test", fashion.evaluation_images)):
        rows = read(fashion.directory / f"{split}.csv")
        header = "image_name,BBox_xmin,BBox_ymin,BBox_xmax,BBox_ymax,Daily,Gender,Embellishment,wearer"
        assert ",".join(rows[0]) == header
        named = {row["image_name"] for row in rows}
        assert named == {path.name for path in (fashion.directory / split).iterdir()}
        assert len(named) == images < len(rows)
        assert max(Counter(row["image_name"] for row in rows).values()) == 2


def test_fashion_boxes_lie_inside_their_pictures_and_two_in_a_picture_do_not_overlap(fashion: SampleSummary) -> None:
    last: dict[str, int] = {}
    for row in read(fashion.directory / "train.csv"):
        height, width, _ = cv2.imread(str(fashion.directory / "train" / row["image_name"])).shape
        left, top, right, bottom = (int(row[f"BBox_{side}"]) for side in ("xmin", "ymin", "xmax", "ymax"))
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (right - left) >= 20 and (bottom - top) >= 80
        assert left >= last.get(row["image_name"], 0)
        last[row["image_name"]] = right


def test_fashion_truth_follows_the_tables_row_by_row_and_marks_every_difference(fashion: SampleSummary) -> None:
    said = [(split, row) for split in ("train", "test") for row in read(fashion.directory / f"{split}.csv")]
    truth = read(fashion.directory / "truth.csv")
    assert list(truth[0]) == ["split", "image_name", *LABELS, *(f"{label}_wrong" for label in LABELS)]
    for (split, row), true in zip(said, truth, strict=True):
        assert (true["split"], true["image_name"]) == (split, row["image_name"])
        for label in LABELS:
            assert (row[label] != true[label]) == (true[f"{label}_wrong"] == "1")


def test_fashion_faults_are_one_label_in_24_and_never_in_the_test_split(fashion: SampleSummary) -> None:
    truth = read(fashion.directory / "truth.csv")
    for label in LABELS:
        assert sum(row[f"{label}_wrong"] == "1" for row in truth) == PEOPLE // 2 * 6 / 24
        assert all(row[f"{label}_wrong"] == "0" for row in truth if row["split"] == "test")
    assert fashion.faults == 3 * PEOPLE // 2 * 6 / 24


def test_fashion_classes_are_lopsided_and_all_there(fashion: SampleSummary) -> None:
    truth = [row for row in read(fashion.directory / "truth.csv") if row["split"] == "train"]
    for label, classes in (("Daily", 7), ("Gender", 6), ("Embellishment", 3)):
        counts = Counter(int(row[label]) for row in truth)
        assert sorted(counts) == list(range(classes))
        assert max(counts.values()) >= 2 * min(counts.values())


@DRAWERS
def test_the_summary_names_what_was_written(draw, tmp_path: Path) -> None:
    summary = draw(tmp_path / "sample", people=10)
    assert all(path.exists() for path in summary.written)
    assert {path.name for path in tmp_path.iterdir()} == {"sample"}


@DRAWERS
def test_an_empty_folder_is_filled_and_a_taken_one_refused_untouched(draw, tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    summary = draw(tmp_path / "sample", people=10)
    before = contents(summary.directory)
    with pytest.raises(UserError, match="is not empty"):
        draw(tmp_path / "sample", people=10, seed=1)
    assert contents(summary.directory) == before


@DRAWERS
def test_a_file_in_the_way_is_refused(draw, tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        draw(tmp_path / "sample")


@DRAWERS
@pytest.mark.parametrize(("people", "seed", "flag"), [(9, 0, "--people"), (-1, 0, "--people"), (10**9, 0, "--people"), (10, -1, "--seed")])
def test_numbers_out_of_range_are_refused_by_their_flag_and_write_nothing(draw, people: int, seed: int, flag: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=flag):
        draw(tmp_path / "sample", people=people, seed=seed)
    assert not list(tmp_path.iterdir())


def test_a_drawing_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("attrcls.sample.faces.write_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_faces(tmp_path / "sample", people=10)
    assert not list(tmp_path.iterdir())


def test_a_dealt_deck_keeps_its_shares_in_every_turn() -> None:
    cards = [dealt("aab", seed=1, stream="letters", index=index) for index in range(30)]
    assert all(sorted(cards[start : start + 3]) == ["a", "a", "b"] for start in range(0, 30, 3))
    assert len({"".join(cards[start : start + 3]) for start in range(0, 30, 3)}) > 1


def test_the_combined_code_is_the_competition_formula() -> None:
    assert combined_code(wear=Wear.WORN, gender=0, age=29) == 0
    assert combined_code(wear=Wear.INCORRECT, gender=1, age=30) == 10
    assert combined_code(wear=Wear.ABSENT, gender=1, age=60) == 17
