"""`attrcls demo`."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import out, reported

# Only a folder with this file in it is ever replaced.
MARKER = ".attrcls-demo"


@reported
def demo(
    directory: Annotated[Path, typer.Argument(help="a new folder for sample data, run and results")] = Path("demo"),
    people: Annotated[int, typer.Option(min=10, help="people to draw, seven pictures each")] = 120,
    epochs: Annotated[int | None, typer.Option(min=1, help="passes over the train rows")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier demo in the folder")] = False,
) -> None:
    """Run the main job on drawn faces: train, predict, evaluate, report. A few minutes on two cores."""
    from attrcls.cli import evaluate, predict, report, sample, train

    _make_room(directory, overwrite=overwrite)
    faces, run, table = directory / "faces", directory / "run", directory / "predictions.csv"
    scores, info, answers = directory / "scores.json", faces / "eval" / "info.csv", faces / "eval_answers.csv"

    _announce("Drawing people: seven pictures each, some labels wrong on purpose", f"attrcls sample {faces} --people {people}")
    sample.sample(faces, people=people)
    extra = f" --epochs {epochs}" if epochs else ""
    _announce("Training one network with three heads", f"attrcls train sample_faces --data {faces} --out {run}{extra}")
    train.train("sample_faces", data=[str(faces)], out_dir=run, epochs=epochs)
    _announce("Predicting people it has never seen", f"attrcls predict {run} {info} --csv {table}")
    predict.predict([str(run), str(info)], csv=table)
    _announce("Scoring against the truth that was kept aside", f"attrcls evaluate {run} {info} --truth {answers} --json {scores}")
    evaluate.evaluate([str(run), str(info)], truth=answers, json=scores)
    _announce("Writing the report", f"attrcls report {run}")
    report.report(run)

    out.print()
    out.print("Done. What lies where:", style="bold")
    for path, what in [
        (faces, "the drawn dataset; train_truth.csv tells which labels were planted wrong"),
        (run, "the run: model, checkpoints, metrics.csv, splits.csv"),
        (table, "a row per picture: mask, gender, age, confidences, the combined code"),
        (scores, "the scores above, with their intervals"),
        (run / "report.html", "open this in a browser"),
    ]:
        out.print(f"  {path}  {what}")
    out.print("What to try next:", style="bold")
    out.print("  attrcls card init your_labels.csv     drafts a data card and a task from your own table")
    out.print("  attrcls data TASK                     shows what is in it before anything is trained")
    out.print(f"  attrcls train sample_faces --data {faces} --out {directory / 'longer'} --epochs 20")


def _announce(what: str, command: str) -> None:
    out.print()
    out.print(what, style="bold")
    out.print(f"$ {command}", style="cyan")


def _make_room(directory: Path, *, overwrite: bool) -> None:
    from attrcls.errors import UserError

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        if not (directory / MARKER).exists():
            raise UserError(f"{directory} holds something else; name a new folder: attrcls demo FOLDER")
        if not overwrite:
            raise UserError(f"{directory} holds an earlier demo; name another folder, or replace it with --overwrite")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARKER).write_text("made by attrcls demo; may be deleted\n", encoding="utf-8")
