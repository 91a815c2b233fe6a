"""What must not stand in two splits, through the real command line: groups, files by any path, and pictures under another name."""

import shutil

import cv2
import pandas as pd
import pytest

COMMANDS = ["data", "train", "clean-labels"]


@pytest.fixture
def split_squares(squares):
    """The drawn squares with a split column: four of the twenty people test."""
    table = pd.read_csv(squares / "labels.csv")
    table["part"] = ["test" if person in {"p16", "p17", "p18", "p19"} else "train" for person in table["person"]]
    save(squares, table)
    card = squares / "squares.card.yaml"
    card.write_text(card.read_text() + "split: part\n")
    return squares


def save(folder, table):
    table.to_csv(folder / "labels.csv", index=False)


def run(cli, command, folder, tmp_path, *options):
    out = () if command == "data" else ("--out", tmp_path / "out", "--workers", 0)
    return cli(command, folder / "squares.task.yaml", *out, *options)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_group_in_two_splits_is_an_error_with_its_rows_splits_and_the_fix(cli, split_squares, tmp_path, command):
    table = pd.read_csv(split_squares / "labels.csv")
    table.loc[[0, 1], "part"] = "test"
    table.loc[5, "part"] = "val"
    save(split_squares, table)
    result = run(cli, command, split_squares, tmp_path)
    assert result.code == 2
    assert "labels.csv, column person: group 'p0' has rows in train (rows 3, 4) and test (rows 1, 2); a group must stay in one split" in result.err
    assert "group 'p1' has rows in train (rows 5, 7, 8) and val (row 6)" in result.err
    assert "Give all rows of a group, and of a picture, the same split" in result.err
    assert "--on-error skip" in result.err
    assert not (tmp_path / "out" / "status.json").exists()


def test_skipping_trains_without_the_earlier_splits_rows_of_such_a_group(cli, split_squares, tmp_path):
    table = pd.read_csv(split_squares / "labels.csv")
    table.loc[0, "part"] = "test"
    save(split_squares, table)
    assert run(cli, "train", split_squares, tmp_path, "--on-error", "skip", "--epochs", 1).code == 0
    splits = pd.read_csv(tmp_path / "out" / "splits.csv")
    assert splits.loc[splits["group"] == "squares:p0", ["path", "split"]].to_numpy().tolist() == [["images/p00_0.jpg", "test"]]
    assert "group 'p0' has rows in train" in (tmp_path / "out" / "skipped.txt").read_text()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("way", ["a key", "a link", "a hard link", "another path"])
def test_one_file_in_two_splits_is_an_error_however_it_is_reached(cli, split_squares, tmp_path, command, way):
    images = split_squares / "images"
    table = pd.read_csv(split_squares / "labels.csv").drop(columns="person")
    card = split_squares / "squares.card.yaml"
    card.write_text(card.read_text().replace("group: person\n", "key: number\n" if way == "a key" else ""))
    name = "other.jpg"
    if way == "a link":
        (images / name).symlink_to("p00_0.jpg")
    elif way == "a hard link":
        (images / name).hardlink_to(images / "p00_0.jpg")
    else:
        (images / "x").mkdir()
        name = "p00_0.jpg" if way == "a key" else "x/../p00_0.jpg"
    table = pd.concat([table, table.iloc[[0]].assign(file=name, part="test")]).assign(number=range(81))
    save(split_squares, table)
    result = run(cli, command, split_squares, tmp_path)
    assert result.code == 2, result.out
    assert "in train (row 1) and test (row 81); a picture must stay in one split" in result.err
    assert ("are one file" in result.err) == (way != "a key")


def test_a_picture_that_two_cards_share_is_never_trained_and_validated(cli, squares, tmp_path):
    for name, attribute in (("one", "colour"), ("two", "size")):
        card = (squares / "squares.card.yaml").read_text().replace("group: person\n", "")
        lines = [line for line in card.splitlines() if not line.startswith(f"  {'size' if attribute == 'colour' else 'colour'}:")]
        (squares / f"{name}.card.yaml").write_text("\n".join(lines) + "\n")
    task = (squares / "squares.task.yaml").read_text()
    (squares / "squares.task.yaml").write_text(task.replace("[squares.card.yaml]", "[one.card.yaml, two.card.yaml]"))
    result = run(cli, "train", squares, tmp_path, "--epochs", 1)
    assert result.code == 0, result.err
    splits = pd.read_csv(tmp_path / "out" / "splits.csv")
    assert (splits.groupby("card").size() == 80).all()
    assert (splits.groupby("path")["split"].nunique() == 1).all()
    assert 12 <= (splits["split"] == "val").sum() / 2 <= 28


@pytest.fixture
def copied_squares(split_squares):
    """As `split_squares`, with two test pictures of new persons: a train picture saved anew, and a mere copy with another label."""
    images = split_squares / "images"
    cv2.imwrite(str(images / "again.jpg"), cv2.imread(str(images / "p00_0.jpg")), [cv2.IMWRITE_JPEG_QUALITY, 92])
    shutil.copy(images / "p01_0.jpg", images / "copy.jpg")
    table = pd.read_csv(split_squares / "labels.csv")
    rows = table.iloc[[0, 4]].assign(file=["again.jpg", "copy.jpg"], person=["new", "newer"], part="test")
    rows["Size"] = [table["Size"][0], "small" if table["Size"][4] == "large" else "large"]
    save(split_squares, pd.concat([table, rows]))
    return split_squares


def test_data_lists_pictures_that_stand_in_several_splits_and_writes_them(cli, copied_squares, tmp_path):
    result = run(cli, "data", copied_squares, tmp_path, "--duplicates-csv", tmp_path / "d.csv")
    assert result.code == 0, result.err
    assert "duplicates: 2 pictures under 4 names, of 82 files" in result.out
    assert "2 pictures stand in several splits under different names" in result.err
    assert "hold_back.duplicates=group" in result.err
    assert "1 picture under several names with labels that contradict each other: size" in result.err
    table = pd.read_csv(tmp_path / "d.csv").fillna("")
    assert table["path"].tolist() == [f"images/{name}" for name in ("p01_0.jpg", "copy.jpg", "p00_0.jpg", "again.jpg")]
    assert table["duplicate_kind"].tolist() == ["copy", "copy", "near", "near"]
    assert set(table["duplicate_splits"]) == {"train test"}
    assert table["duplicate_contradicts"].tolist() == ["size", "size", "", ""]


def test_data_says_when_no_picture_stands_twice_and_need_not_look(cli, shared_squares, tmp_path):
    assert "duplicates: none among 80 files" in run(cli, "data", shared_squares, tmp_path).out
    assert "duplicates" not in run(cli, "data", shared_squares, tmp_path, "--no-duplicates").out
    refused = run(cli, "data", shared_squares, tmp_path, "--no-duplicates", "--duplicates-csv", tmp_path / "d.csv")
    assert (refused.code, "leave one of them out" in refused.err) == (2, True)
    assert run(cli, "data", shared_squares, tmp_path, "--duplicates-csv", tmp_path / "d.doc").code == 2


def test_duplicates_and_their_groups_share_a_split_where_the_task_asks_for_it(cli, squares, tmp_path):
    table = pd.read_csv(squares / "labels.csv")
    for person in range(0, 20, 2):
        shutil.copy(squares / "images" / f"p{person:02}_0.jpg", squares / "images" / f"p{person + 1:02}_0.jpg")
    table.to_csv(squares / "labels.csv", index=False)
    pairs = table["person"].str[1:].astype(int) // 2
    for asked in ("group", "ignore"):
        result = run(cli, "train", squares, tmp_path, "--epochs", 1, "--overwrite", "--set", f"hold_back.duplicates={asked}")
        assert result.code == 0, result.err
        splits = pd.read_csv(tmp_path / "out" / "splits.csv")
        assert splits["split"].value_counts()["val"] >= 8
        assert (splits.groupby(pairs)["split"].nunique() == 1).all() == (asked == "group")
    assert "several splits" not in result.err


def test_training_warns_of_duplicates_that_given_splits_keep_apart(cli, copied_squares, tmp_path):
    result = run(cli, "train", copied_squares, tmp_path, "--epochs", 1, "--set", "hold_back.duplicates=group")
    assert result.code == 0
    assert "2 pictures stand in several splits under different names" in result.err
