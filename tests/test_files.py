import os
import stat

import pytest

from attrcls.errors import AttrclsError
from attrcls.files import replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "old")

    def half_write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ValueError("killed")

    with pytest.raises(ValueError, match="killed"):
        half_write()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_a_written_file_is_readable_like_any_other_new_file(tmp_path):
    write_json(tmp_path / "deep" / "x.json", {"a": "é"})
    assert (tmp_path / "deep" / "x.json").read_text(encoding="utf-8") == '{\n  "a": "é"\n}\n'
    assert stat.S_IMODE((tmp_path / "deep" / "x.json").stat().st_mode) & 0o044


def test_a_folder_that_cannot_be_written_is_an_error_with_the_path(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AttrclsError, match="could not write"):
        write_text(tmp_path / "file" / "x.txt", "text")
