"""Every picture through every command that reads pictures, among good ones whose answers are known."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from attrcls.data.images import read_image
from attrcls.errors import ImageError
from corpus.encoders import drawn, encoded
from corpus.ground import PREDICT, TRAIN, Ground, answer_of, rows_of
from corpus.pictures import READABLE, Picture, bad_pictures
from corpus.places import VANISHING, make_places, restless, rewritten, without_rights
from corpus.watch import Watch

EACH_DECOY = 7
REWRITES = 8


def try_pictures(watch: Watch, ground: Ground, folder: Path, **_: int) -> None:
    """Write them all into a folder, and let every command read it."""
    lot = _Lot(ground, folder)
    for picture in lot.pictures.values():
        watch.findings.count(picture.kind)
    watch.findings.count("no file", len(lot.places))
    _check_pixels(watch, lot)
    accepted = _predict(watch, lot)
    _look_train_and_clean(watch, lot, accepted)
    _evaluate(watch, lot, accepted)
    _one_by_one(watch, lot)
    _read_while_they_change(watch, lot)
    _read_without_rights(watch, lot)


class _Lot:
    """The folder: bad pictures, with a decoy after every seventh, the twins of those whose pixels are known, and what is no file."""

    def __init__(self, ground: Ground, folder: Path) -> None:
        self.ground, self.folder, self.images = ground, folder, folder / "images"
        self.images.mkdir(parents=True)
        good = sorted(ground.answers)
        self.decoys: dict[str, str] = {}
        self.pictures: dict[str, Picture] = {}
        self.twins: dict[str, str] = {}
        known: dict[bytes, str] = {}
        for number, picture in enumerate(bad_pictures()):
            name = f"{number:04}-{picture.name}"
            self.pictures[name] = picture
            (self.images / name).write_bytes(picture.data)
            if number % EACH_DECOY == 0:
                decoy = f"{number:04}-zz-decoy.jpg"
                self.decoys[decoy] = good[len(self.decoys) % len(good)]
                (self.images / decoy).write_bytes((ground.folder / "images" / self.decoys[decoy]).read_bytes())
            if picture.pixels is not None and picture.slack == 0 and picture.pixels.size < 1_000_000:
                twin = known.setdefault(encoded(picture.pixels, "PNG"), f"twin-{len(known)}.png")
                self.twins[name] = twin
        for data, twin in known.items():
            (self.images / twin).write_bytes(data)
        self.places = make_places(self.images, encoded(drawn(), "JPEG"))

    @property
    def names(self) -> list[str]:
        """Every name that a table may ask for, bad and good ones mixed."""
        names = [*self.pictures, *self.decoys, *self.places, *set(self.twins.values())]
        return [names[place] for place in np.random.default_rng(0).permutation(len(names))]

    def in_folder(self) -> list[str]:
        """The names that a search of the folder gives, in its order: no folders, and nothing that is not there."""
        return sorted(path.name for path in self.images.iterdir() if not path.is_dir() and path.suffix in READABLE)

    def expected(self, name: str) -> str:
        """`ok`, `refused` or `either`."""
        if name in self.pictures:
            return self.pictures[name].expected
        return "ok" if name in self.decoys or name.startswith("twin-") or name == "through-a-file.jpg" else "refused"


def _check_pixels(watch: Watch, lot: _Lot) -> None:
    """Pictures whose upright pixels are known have them."""
    for name, picture in lot.pictures.items():
        if picture.pixels is None:
            continue
        try:
            pixels = read_image(lot.images / name)
        except ImageError as error:
            watch.findings.blame("wrong row", name, f"expected its pixels, found {error}")
            continue
        if pixels.shape != picture.pixels.shape:
            watch.findings.blame("wrong row", name, f"expected the shape {picture.pixels.shape}, found {pixels.shape}")
        elif cv2.norm(pixels, picture.pixels, cv2.NORM_L1) / pixels.size > picture.slack:
            watch.findings.blame("wrong row", name, "its pixels are others")


def _predict(watch: Watch, lot: _Lot) -> set[str]:
    """The folder, and a table that names everything, some of it twice; returns the names that were accepted."""
    out = lot.folder / "folder.csv"
    watch.call("pictures folder", "predict", lot.ground.run, lot.images, "--csv", out, *PREDICT, codes=(3,))
    rows = rows_of(out)
    check_rows(watch, lot, "pictures folder", lot.in_folder(), rows)
    names = lot.names
    names += names[::9]
    pd.DataFrame({"file": names}).to_csv(lot.folder / "asked.csv", index=False)
    out = lot.folder / "table.csv"
    watch.call("pictures table", "predict", lot.ground.run, lot.folder / "asked.csv", "--csv", out, *PREDICT, codes=(3,))
    asked = rows_of(out)
    check_rows(watch, lot, "pictures table", names, asked)
    accepted = {row["file"] for row in asked if row["status"] == "ok"}
    both = set(names).intersection(lot.in_folder())
    differing = both & accepted.symmetric_difference(row["path"] for row in rows if row["status"] == "ok")
    if differing:
        watch.findings.blame("wrong row", "pictures table", f"a folder and a table accept different pictures: {sorted(differing)[:9]}")
    return accepted


def check_rows(watch: Watch, lot: _Lot, case: str, names: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """The row contract: one row per name, in order; what is refused has no answer, what is known has its own."""
    if [next(iter(row.values())) for row in rows] != list(names):
        watch.findings.blame("wrong row", case, f"expected {len(names)} rows in order, found {len(rows)} or another order")
        return
    by_name = {name: answer_of(row) for name, row in zip(names, rows, strict=True)}
    for name, row in zip(names, rows, strict=True):
        wanted, answer = lot.expected(name), answer_of(row)
        if wanted != "either" and (row["status"] == "ok") != (wanted == "ok"):
            watch.findings.blame("wrong row", name, f"{case}: expected {wanted}, found {row['status']}: {row['error']}")
        if row["status"] == "ok":
            twin = lot.ground.answers[lot.decoys[name]] if name in lot.decoys else by_name.get(lot.twins.get(name, name))
            if answer != twin or "" in answer or row["error"]:
                watch.findings.blame("wrong row", name, f"{case}: expected the answer {twin}, found {answer}")
        elif any(answer) or not row["error"] or "\n" in row["error"]:
            watch.findings.blame("wrong row", name, f"{case}: expected no answer and a reason in one line, found {row}")


def _look_train_and_clean(watch: Watch, lot: _Lot, accepted: set[str]) -> None:
    """The commands that start from a card: they list what cannot be read, or go on with exactly the rest."""
    card, task = lot.folder / "squares.card.yaml", lot.folder / "squares.task.yaml"
    card.write_text((lot.ground.folder / "squares.card.yaml").read_text())
    task.write_text(lot.ground.task.read_text())
    _labels(lot).to_csv(lot.folder / "labels.csv", index=False)
    looked = watch.call("pictures", "data", task, codes=(3,))
    if f"{len(lot.names) - len(accepted):,} problems" not in looked.err:
        watch.findings.blame("wrong row", "pictures data", f"expected {len(lot.names) - len(accepted)} problems: {looked.err[-300:]}")
    out = lot.folder / "run"
    watch.call("pictures stop", "train", task, "--out", out, *TRAIN, codes=(2,))
    if out.exists() and any(out.rglob("*.safetensors")):
        watch.findings.blame("wrong row", "pictures stop", "a refused training wrote a model")
    watch.call("pictures skip", "train", task, "--out", out, *TRAIN, "--on-error", "skip", codes=(0,))
    _check_used(watch, "pictures skip", out / "splits.csv", accepted)
    options = ("--full", "--on-error", "skip", "--all-splits", "--set", "epochs=1", *TRAIN[2:])
    watch.call("pictures clean", "clean-labels", task, "--out", lot.folder / "clean", *options, codes=(0,))
    _check_used(watch, "pictures clean", lot.folder / "clean" / "aum_values.csv", accepted)


def _labels(lot: _Lot) -> pd.DataFrame:
    names = lot.names
    colours, sizes = ["red", "green", "blue"], ["small", "large"]
    rows = [(name, colours[row % 3], sizes[row // 3 % 2], f"p{row // 3}") for row, name in enumerate(names)]
    return pd.DataFrame(rows, columns=["file", "colour", "Size", "person"])


def _check_used(watch: Watch, case: str, table: Path, accepted: set[str]) -> None:
    """The rows that a command went on with are the pictures that `predict` accepts."""
    if not table.exists():
        return  # the exit code has been blamed already
    used = {Path(path).name for path in pd.read_csv(table, dtype=str)["path"]}
    if used != accepted:
        watch.findings.blame("wrong row", case, f"differs from what predict reads in {sorted(used ^ accepted)[:5]}")


def _evaluate(watch: Watch, lot: _Lot, accepted: set[str]) -> None:
    """A table with labels, and the folder in the card's layout."""
    out = lot.folder / "scores.json"
    watch.call("pictures", "evaluate", lot.ground.run, lot.folder / "labels.csv", "--json", out, *PREDICT, codes=(3,))
    scores = json.loads(out.read_text())
    if (scores["rows"], scores["failed"]) != (len(accepted), len(lot.names) - len(accepted)):
        watch.findings.blame("wrong row", "pictures evaluate", f"expected {len(accepted)} rows, found {scores['rows']}")
    watch.call("pictures layout", "evaluate", lot.ground.run, lot.folder, *PREDICT, codes=(3,))


def _one_by_one(watch: Watch, lot: _Lot) -> None:
    """As the input itself: what is no file, and what is no table."""
    for name in lot.places:
        watch.call(f"alone {name}", "predict", lot.ground.run, lot.images / name, "--csv", lot.folder / "one.csv", *PREDICT, codes=(2, 3))
        watch.call(f"alone {name}", "evaluate", lot.ground.run, lot.images / name, *PREDICT, codes=(2, 3))
    kinds = ("folder.jpg", "pipe.png", "socket.jpg", "loop-a.png", "dangling.jpg", "to-a-pipe.png", "to-a-device.jpg")
    for kind, ending in zip(kinds, (".csv", ".csv", ".jsonl", ".parquet", ".csv", ".parquet", ".tsv"), strict=True):
        link = lot.folder / f"{kind}{ending}"
        link.symlink_to(lot.images / kind)
        watch.call(link.name, "predict", lot.ground.run, link, *PREDICT, codes=(2, 3))
        watch.call(link.name, "evaluate", lot.ground.run, lot.ground.folder / "labels.csv", "--truth", link, *PREDICT, codes=(2,))
        watch.call(link.name, "card", "init", link, "--out", "-", codes=(2,))
        watch.call(link.name, "train", link, codes=(2,))
    watch.findings.count("no file", len(kinds))


def _read_while_they_change(watch: Watch, lot: _Lot) -> None:
    """Files that vanish or change between the look and the reading are refused; one that is replaced all the time is one or the other."""
    decoys = list(lot.decoys)[:6]
    pd.DataFrame({"file": [name for pair in zip(decoys, VANISHING, strict=False) for name in pair]}).to_csv(lot.folder / "restless.csv", index=False)
    out = lot.folder / "restless-out.csv"
    with restless(lot.images, encoded(drawn(), "PNG")):
        watch.call("restless", "predict", lot.ground.run, lot.folder / "restless.csv", "--csv", out, *PREDICT, codes=(3,))
    if out.exists():
        check_rows(watch, lot, "restless", pd.read_csv(lot.folder / "restless.csv")["file"].tolist(), rows_of(out))
    watch.findings.count("changing", len(VANISHING) + 1)
    sources = [lot.ground.folder / "images" / name for name in sorted(lot.ground.answers)[:2]]
    allowed = {lot.ground.answers[source.name] for source in sources} | {("",) * 5}
    contents = [source.read_bytes() for source in sources]
    with rewritten(lot.images / "rewritten.jpg", [*contents, contents[0][:400]]):
        for _ in range(REWRITES):
            watch.call("rewritten", "predict", lot.ground.run, lot.images / "rewritten.jpg", "--csv", out, *PREDICT, codes=(0, 3))
            found = answer_of(rows_of(out)[0])
            if found not in allowed:
                watch.findings.blame("wrong row", "rewritten", f"{found} is neither picture's answer")


def _read_without_rights(watch: Watch, lot: _Lot) -> None:
    closed = lot.images / "closed.png"
    closed.write_bytes(encoded(drawn(), "PNG"))
    closed.chmod(0)
    with without_rights() as tried:
        try:
            read_image(closed)
            fault = "it was read"
        except ImageError as error:
            fault = "" if "permission denied" in str(error) else str(error)
    if tried:
        watch.findings.count("no rights")
        if fault:
            watch.findings.blame("message", "closed.png", fault)
