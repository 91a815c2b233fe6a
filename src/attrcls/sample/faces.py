"""The faces sample: the mask competition's layout, drawn, with the competition's own label faults and their truth.

What goes in is a folder, a number of people and a seed. What comes out: `train/`, `eval/`, `train_truth.csv` and `eval_answers.csv`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attrcls.sample.chance import chance, dealt
from attrcls.sample.face import draw_face
from attrcls.sample.facemask import Wear, choose_mask
from attrcls.sample.folder import SampleSummary, new_folder, write_picture, write_table
from attrcls.sample.person import FEMALE, MALE, Person, meet_person

EVALUATION_SHARE = 0.3
RACE = "Drawn"
WEARS = {**{f"mask{number}": Wear.WORN for number in range(1, 6)}, "incorrect_mask": Wear.INCORRECT, "normal": Wear.ABSENT}
SWAPPED = {"incorrect_mask": "normal", "normal": "incorrect_mask"}

YOUNG, MIDDLE, OLD = (14, 28), (36, 56), (60, 84)
# 3 men to 7 women, and two people of sixty or more in twenty.
DECK_OF_PEOPLE = (
    *((MALE, YOUNG),) * 3,
    *((MALE, MIDDLE),) * 2,
    (MALE, OLD),
    *((FEMALE, YOUNG),) * 7,
    *((FEMALE, MIDDLE),) * 6,
    (FEMALE, OLD),
)
WRONG_GENDER_DECK = (True,) + (False,) * 32
SWAPPED_FILES_DECK = (True,) + (False,) * 19
ENDING_DECK = (".jpg",) * 8 + (".jpeg", ".png")
STRAY_FILE_DECK = (True,) + (False,) * 9
# What macOS leaves beside each file on a foreign disk: an AppleDouble header, which is no picture.
STRAY_BYTES = bytes.fromhex("00051607000200004d6163204f5320582020202020202020") + bytes(40)
RECORDED_AGES = (18, 60)


@dataclass(frozen=True)
class _Record:
    """One person of the training table: who they are, and what the table and the file names say."""

    number: int
    person: Person
    said_gender: int
    said_age: int
    has_swapped_files: bool
    ending: str
    has_stray_file: bool

    @property
    def folder(self) -> str:
        return f"{self.number:06d}_{_gender_name(self.said_gender)}_{RACE}_{self.said_age}"


def draw_faces(directory: Path, *, people: int = 120, seed: int = 0) -> SampleSummary:
    """Draw the faces sample into `directory`: 7 pictures of each of `people`, and of 30 % as many people for evaluation.

    Each person is a pure function of `seed` and their number, so a larger sample holds a smaller one.

    Raises:
        UserError: the directory holds files already, or `people` or `seed` is out of range.
        AttrclsError: the folder cannot be written; nothing is left behind.
    """
    with new_folder(directory, people=people, seed=seed) as folder:
        faults = _draw_train(folder, people=people, seed=seed)
        evaluation_images = _draw_evaluation(folder, people=round(people * EVALUATION_SHARE), seed=seed)
    names = ("train/train.csv", "train/images", "eval/info.csv", "eval/images", "train_truth.csv", "eval_answers.csv")
    return SampleSummary(
        directory=directory,
        people=people,
        images=people * len(WEARS),
        evaluation_images=evaluation_images,
        faults=faults,
        written=tuple(directory / name for name in names),
    )


def combined_code(*, wear: Wear, gender: int, age: int) -> int:
    """The competition's class, 0 to 17: mask * 6 + gender * 3 + age, where age is <30, 30-59 or 60 and more."""
    return int(wear) * 6 + gender * 3 + (age >= 30) + (age >= 60)


def _draw_train(folder: Path, *, people: int, seed: int) -> int:
    table, truth = [], []
    for index in range(people):
        rng = chance(seed, "train person", index)
        record = _record(rng, seed=seed, index=index)
        table.append((f"{record.number:06d}", _gender_name(record.said_gender), RACE, record.said_age, record.folder))
        home = folder / "train" / "images" / record.folder
        home.mkdir(parents=True)
        for name, said, shown in _pictures(record):
            write_picture(home / f"{name}{record.ending}", draw_face(record.person, choose_mask(rng, wear=shown), rng))
            truth.append(_truth_row(record, name=name, said=said, shown=shown))
        if record.has_stray_file:
            (home / f"._mask1{record.ending}").write_bytes(STRAY_BYTES)
    write_table(folder / "train" / "train.csv", ("id", "gender", "race", "age", "path"), table)
    write_table(folder / "train_truth.csv", ("file", "said18", "true18", "gender_wrong", "mask_wrong", "age_wrong"), truth)
    return sum(gender_wrong + mask_wrong for *_, gender_wrong, mask_wrong, _ in truth)


def _draw_evaluation(folder: Path, *, people: int, seed: int) -> int:
    pictures = folder / "eval" / "images"
    pictures.mkdir(parents=True)
    answers = {}
    for index in range(people):
        rng = chance(seed, "evaluation person", index)
        person = _person(rng, seed=seed, stream="evaluation people", index=index)
        ending = dealt(ENDING_DECK, seed=seed, stream="evaluation endings", index=index)
        for wear in WEARS.values():
            name = f"{rng.bytes(20).hex()}{ending}"
            write_picture(pictures / name, draw_face(person, choose_mask(rng, wear=wear), rng))
            answers[name] = combined_code(wear=wear, gender=person.gender, age=person.age)
    # Sorted by their random names, so that the order gives away neither person nor class.
    rows = sorted(answers.items())
    write_table(folder / "eval" / "info.csv", ("ImageID", "ans"), [(name, 0) for name, _ in rows])
    write_table(folder / "eval_answers.csv", ("ImageID", "ans"), rows)
    return len(rows)


def _record(rng: np.random.Generator, *, seed: int, index: int) -> _Record:
    person = _person(rng, seed=seed, stream="train people", index=index)
    youngest, oldest = RECORDED_AGES
    return _Record(
        number=index + 1,
        person=person,
        said_gender=person.gender ^ dealt(WRONG_GENDER_DECK, seed=seed, stream="wrong gender", index=index),
        said_age=min(max(person.age, youngest), oldest),
        has_swapped_files=dealt(SWAPPED_FILES_DECK, seed=seed, stream="swapped files", index=index),
        ending=dealt(ENDING_DECK, seed=seed, stream="endings", index=index),
        has_stray_file=dealt(STRAY_FILE_DECK, seed=seed, stream="stray files", index=index),
    )


def _person(rng: np.random.Generator, *, seed: int, stream: str, index: int) -> Person:
    gender, (youngest, oldest) = dealt(DECK_OF_PEOPLE, seed=seed, stream=stream, index=index)
    return meet_person(rng, gender=gender, age=int(rng.integers(youngest, oldest + 1)))


def _pictures(record: _Record) -> Iterator[tuple[str, Wear, Wear]]:
    """Each file's name, what the name says of the mask, and what the picture shows."""
    for name, said in WEARS.items():
        yield name, said, WEARS[SWAPPED.get(name, name)] if record.has_swapped_files else said


def _truth_row(record: _Record, *, name: str, said: Wear, shown: Wear) -> tuple[str, int, int, int, int, int]:
    person = record.person
    return (
        f"{record.folder}/{name}{record.ending}",
        combined_code(wear=said, gender=record.said_gender, age=record.said_age),
        combined_code(wear=shown, gender=person.gender, age=person.age),
        int(record.said_gender != person.gender),
        int(said is not shown),
        # Clipping keeps every age in its class, so this column is 0 throughout: a control for cleaning.
        0,
    )


def _gender_name(gender: int) -> str:
    return "female" if gender == FEMALE else "male"
