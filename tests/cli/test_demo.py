from pathlib import Path

import yaml


def test_the_demo_goes_from_drawing_to_report_and_says_what_to_try_next(cli, tmp_path):
    demo = tmp_path / "demo"
    result = cli("demo", demo, "--people", 12, "--epochs", 1)
    assert result.code == 0, result.err
    for name in (
        "faces/train/train.csv",
        "clean/verdicts.csv",
        "clean/review.html",
        "run/model/model.json",
        "predictions.csv",
        "scores.json",
        "run/report.html",
    ):
        assert (demo / name).is_file(), name
    assert "What to try next" in result.out
    assert f"then: attrcls train sample_faces --data {demo / 'faces'} --decisions {demo / 'clean' / 'verdicts.csv'} ·" in result.out
    # The model starts from the first trunk and learns from the labels that cleaning left.
    config = yaml.safe_load((demo / "run" / "config.yaml").read_text())["run"]
    assert config["weights_loaded"] == "first: 120 of 120 tensors loaded"
    assert config["decisions"]["file"] == "verdicts.csv"
    assert cli("demo", demo).code == 2
    assert cli("demo", demo, "--people", 12, "--epochs", 1, "--overwrite").code == 0


def test_the_demo_never_replaces_a_folder_of_something_else(cli, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    result = cli("demo", tmp_path / "mine", "--overwrite")
    assert result.code == 2
    assert (tmp_path / "mine" / "x").exists()
    assert Path(tmp_path / "mine").is_dir()
