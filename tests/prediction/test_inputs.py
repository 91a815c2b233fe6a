import os

import numpy as np
import pandas as pd
import pytest

from attrcls.card import BoxSpec
from attrcls.errors import UserError
from attrcls.model.description import TableImages
from attrcls.prediction.inputs import read_input


def touch(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_a_folder_is_searched_below_and_hidden_and_other_files_are_passed_over(tmp_path):
    touch(
        tmp_path / "b.JPG",
        tmp_path / "sub" / "a b.png",
        tmp_path / "._b.jpg",
        tmp_path / ".git" / "x.jpg",
        tmp_path / "notes.txt",
        tmp_path / "옷.webp",
    )
    asked = read_input(tmp_path)
    assert asked.table["path"].tolist() == ["b.JPG", "sub/a b.png", "옷.webp"]
    assert all(path.is_file() for path in asked.paths)


def test_a_single_picture_is_a_table_of_one_row(tmp_path):
    touch(tmp_path / "one.jpeg")
    asked = read_input(tmp_path / "one.jpeg")
    assert asked.table["path"].tolist() == [str(tmp_path / "one.jpeg")]


@pytest.mark.parametrize("column", ["path", "file", "filename", "image", "image_name", "ImageID", "imageid", "PATH"])
def test_the_image_column_is_found_by_its_name(tmp_path, column):
    (tmp_path / "t.csv").write_text(f"id,{column}\n1,x.jpg\n")
    assert read_input(tmp_path / "t.csv").image_column == column


def test_files_are_looked_up_beside_the_table_in_images_and_under_the_root(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "images" / "b.jpg", tmp_path / "else" / "c.jpg", tmp_path / "abs.jpg")
    (tmp_path / "t.csv").write_text(f"path\na.jpg\nb.jpg\nc.jpg\n{tmp_path / 'abs.jpg'}\n \n")
    paths = read_input(tmp_path / "t.csv").paths
    assert paths[:2] == [tmp_path / "a.jpg", tmp_path / "images" / "b.jpg"]
    assert not paths[2].exists()
    assert paths[3] == tmp_path / "abs.jpg"
    assert not paths[4].is_file()
    rooted = read_input(tmp_path / "t.csv", image_root=tmp_path / "else").paths
    assert rooted[2].exists()
    assert not rooted[0].exists()


def test_files_are_looked_up_where_the_table_of_that_name_had_its_own_or_else_where_any_had(tmp_path):
    known = [TableImages(file="train.csv", column="photo", root="a"), TableImages(file="test.csv", column="shot", root="../b")]
    touch(tmp_path / "t" / "a" / "x.jpg", tmp_path / "b" / "x.jpg", tmp_path / "b" / "y.jpg")
    for name in ("train.csv", "test.csv"):
        (tmp_path / "t" / name).write_text("photo,shot,path\nx.jpg,x.jpg,none.jpg\n")
    train, test = (read_input(tmp_path / "t" / name, known=known) for name in ("train.csv", "test.csv"))
    assert (train.image_column, [*train.paths]) == ("photo", [tmp_path / "t" / "a" / "x.jpg"])
    assert (test.image_column, [*test.paths]) == ("shot", [tmp_path / "b" / "x.jpg"])
    (tmp_path / "t" / "new.csv").write_text("path\ny.jpg\n")
    assert [*read_input(tmp_path / "t" / "new.csv", known=known).paths] == [tmp_path / "b" / "y.jpg"]


def test_a_name_that_two_likely_folders_have_is_refused_and_what_lies_beside_the_table_comes_first(tmp_path):
    known = [TableImages(file="train.csv", column="path", root=root) for root in ("a", "b")]
    touch(tmp_path / "a" / "x.jpg", tmp_path / "b" / "x.jpg", tmp_path / "b" / "y.jpg", tmp_path / "y.jpg")
    (tmp_path / "t.csv").write_text("path\ny.jpg\n")
    assert [*read_input(tmp_path / "t.csv", known=known).paths] == [tmp_path / "y.jpg"]
    (tmp_path / "t.csv").write_text("path\ny.jpg\nx.jpg\n")
    with pytest.raises(UserError, match=r"'x.jpg' is found in .*a and in .*b; say which .* --image-root DIR"):
        read_input(tmp_path / "t.csv", known=known)
    assert [*read_input(tmp_path / "t.csv", image_root=tmp_path / "a", known=known).paths][1] == tmp_path / "a" / "x.jpg"


def test_a_table_of_which_no_picture_is_found_is_in_the_wrong_place_and_one_with_a_single_picture_is_not(tmp_path):
    (tmp_path / "t.csv").write_text('path\na.jpg\n""\nb.jpg\n')
    with pytest.raises(UserError, match=rf"none of its 2 pictures is found, such as 'a.jpg' \(looked in {tmp_path}, .*--image-root DIR"):
        read_input(tmp_path / "t.csv").refuse_nowhere()
    touch(tmp_path / "b.jpg")
    read_input(tmp_path / "t.csv").refuse_nowhere()
    # What says by itself where it lies is each row's own trouble.
    (tmp_path / "t.csv").write_text("path\n/nowhere/a.jpg\n")
    read_input(tmp_path / "t.csv").refuse_nowhere()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_encodings_and_separators_of_the_world_are_read(tmp_path, encoding, separator):
    (tmp_path / "t.csv").write_text(f"image_name{separator}이름\n사진 1.jpg{separator}가나다\n", encoding=encoding)
    asked = read_input(tmp_path / "t.csv")
    assert asked.image_column == "image_name"
    assert asked.table.iloc[0].tolist() == ["사진 1.jpg", "가나다"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("t.csv", b"", "t.csv"),
        ("t.csv", b"path\n", "found the header only"),
        ("t.csv", b"path,path\na.jpg,b.jpg\n", "path"),
        ("t.csv", b"picture,label\na.jpg,1\n", "--image-column"),
        ("t.csv", b"\xff\xd8\xff\xe0\x00\x10JFIF", "t.csv"),
        ("t.xyz", b"path\na.jpg\n", "expected a folder, a picture"),
    ],
)
def test_a_table_that_cannot_be_used_is_a_user_error(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_input(tmp_path / name)
    assert expected in str(caught.value)


def test_what_is_not_there_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no input"):
        read_input(tmp_path / "nothing.csv")
    with pytest.raises(UserError, match="no input"):
        read_input(tmp_path / f"{'long' * 100}.csv")
    with pytest.raises(UserError, match="no picture in this folder"):
        read_input(tmp_path)
    (tmp_path / "t.csv").write_text("path\na.jpg\n")
    with pytest.raises(UserError, match="did you mean 'path'"):
        read_input(tmp_path / "t.csv", image_column="pth")


def test_boxes_are_read_where_the_model_crops_and_needed_there(tmp_path):
    (tmp_path / "t.csv").write_text("path,l,t,r,b\na.jpg,1,2,3.5,4\nb.jpg,1,x,3,4\n")
    boxes = read_input(tmp_path / "t.csv", box=BoxSpec(xmin="l", ymin="t", xmax="r", ymax="b")).boxes
    assert boxes is not None
    assert boxes[0].tolist() == [1, 2, 3.5, 4]
    assert np.isnan(boxes[1, 1])
    with pytest.raises(UserError, match="boxes that this model crops by"):
        read_input(tmp_path / "t.csv", box=BoxSpec())


def test_jsonl_and_parquet_tables_are_read(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"path": "a.jpg", "n": 1}\n')
    pd.DataFrame({"path": ["a.jpg"], "n": [1]}).to_parquet(tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        assert read_input(tmp_path / name).table.iloc[0].tolist() == ["a.jpg", "1"]


def test_names_that_an_earlier_table_of_ours_escaped_are_found_and_a_file_that_is_called_so_comes_first(tmp_path):
    touch(tmp_path / "=a.jpg", tmp_path / "'-b.jpg", tmp_path / "-b.jpg")
    pd.DataFrame({"path": ["'=a.jpg", "'-b.jpg"]}).to_csv(tmp_path / "predictions.csv", index=False)
    asked = read_input(tmp_path / "predictions.csv")
    assert [path.name for path in asked.paths] == ["=a.jpg", "'-b.jpg"]
    assert asked.table["path"].tolist() == ["'=a.jpg", "'-b.jpg"]


def test_links_to_folders_are_followed_once_though_they_lead_round_in_a_circle(tmp_path):
    touch(tmp_path / "in" / "a" / "x.jpg", tmp_path / "else" / "y.jpg")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "else", target_is_directory=True)
    (tmp_path / "in" / "c").symlink_to(tmp_path / "else", target_is_directory=True)
    (tmp_path / "else" / "round").symlink_to(tmp_path / "in", target_is_directory=True)
    assert read_input(tmp_path / "in").table["path"].tolist() == ["a/x.jpg", "b/y.jpg"]


def test_pictures_have_the_name_of_their_own_folder_and_not_of_a_link_to_it_and_links_lead_no_further_up(tmp_path):
    touch(tmp_path / "in" / "v2" / "x.jpg", tmp_path / "in" / "z" / "deep" / "y.jpg", tmp_path / "outside.jpg")
    (tmp_path / "in" / "current").symlink_to(tmp_path / "in" / "v2", target_is_directory=True)
    (tmp_path / "in" / "v2" / "all").symlink_to(tmp_path / "in" / "z", target_is_directory=True)
    (tmp_path / "in" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert read_input(tmp_path / "in").table["path"].tolist() == ["v2/x.jpg", "z/deep/y.jpg"]


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(tmp_path, monkeypatch):
    touch(tmp_path / "a" / "x.jpg", tmp_path / "locked" / "y.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(UserError, match=r"locked: this folder cannot be read \(Permission denied\)"):
        read_input(tmp_path)
