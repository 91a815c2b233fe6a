"""Every card and task through every command that reads them."""

from itertools import islice
from pathlib import Path

from corpus.ground import Ground
from corpus.specs import CARD, TASK, bad_specs, text_of
from corpus.watch import Watch


def try_specs(watch: Watch, ground: Ground, folder: Path, *, share: int, every: int) -> None:
    """`config` reads each `share`-th; `data` and `train` each that `config` takes (`train` each `every`-th of those), and the refused too."""
    folder.mkdir()
    (folder / "images").symlink_to(ground.folder / "images")
    (folder / "labels.csv").write_bytes((ground.folder / "labels.csv").read_bytes())
    files = {"card": folder / "squares.card.yaml", "task": folder / "squares.task.yaml"}
    good = {"card": text_of(CARD), "task": text_of(TASK)}
    taken = refused = 0
    for spec in islice(bad_specs(), 0, None, share):
        watch.findings.count(f"{spec.what}: {spec.kind}")
        for what, file in files.items():
            file.write_bytes(spec.data if what == spec.what else good[what])
        said = watch.call(spec.name, "config", files["task"], codes=(2,) if spec.refused else (0, 2))
        if said.code == 0:
            taken += 1
            looked = watch.call(spec.name, "data", files["task"])
            if looked.code != 2 and taken % every == 0:
                options = ("--epochs", 1, "--workers", 0, "--device", "cpu", "--on-error", "skip", "--overwrite", "--out", folder / "run")
                watch.call(spec.name, "train", files["task"], *options, codes=(0, 2))
        else:
            refused += 1
            if refused % every == 0:
                watch.call(spec.name, "data", files["task"], codes=(2,))
                watch.call(spec.name, "train", files["task"], codes=(2,))
                watch.call(spec.name, "clean-labels", files["task"], codes=(2,))
