"""`attrcls demo`."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import alone, out, reported

# Only a folder with this file in it is ever replaced.
MARKER = ".attrcls-demo"
# Passes over the train rows: of the small trunk that the wrong labels are looked for with, and of the model.
FIRST_EPOCHS, EPOCHS = 4, 3


@reported
@alone
def demo(
    directory: Annotated[Path, typer.Argument(help="a new folder for sample data, run and results")] = Path("demo"),
    people: Annotated[int, typer.Option(min=10, help="people to draw, seven pictures each")] = 120,
    epochs: Annotated[int | None, typer.Option(min=1, help=f"of both trainings [default: {FIRST_EPOCHS}, then {EPOCHS}]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier demo in the folder")] = False,
) -> None:
    """Run the main job on drawn faces: clean labels, train, predict, evaluate, report. A few minutes on two cores."""
    from attrcls.cli import clean, evaluate, predict, report, sample, train

    _make_room(directory, overwrite=overwrite)
    faces, first, cleaned, run = (directory / name for name in ("faces", "first", "clean", "run"))
    first_epochs, run_epochs = epochs or FIRST_EPOCHS, epochs or EPOCHS
    verdicts, table = cleaned / "verdicts.csv", directory / "predictions.csv"
    scores, info, answers = directory / "scores.json", faces / "eval" / "info.csv", faces / "eval_answers.csv"

    _announce("Drawing people: seven pictures each, some labels wrong on purpose", f"attrcls sample {faces} --people {people}")
    sample.sample(faces, people=people)
    given = f"sample_faces --data {faces}"
    _announce("No pretrained weights: learning a first trunk", f"attrcls train {given} --epochs {first_epochs} --out {first}")
    train.train("sample_faces", data=[str(faces)], out_dir=first, epochs=first_epochs)
    _announce("Looking for wrong labels with it", f"attrcls clean-labels {given} --weights {first} --out {cleaned}")
    clean.clean_labels("sample_faces", data=[str(faces)], weights=str(first), out_path=cleaned)
    _announce(
        "Training one network with three heads on the labels that are left",
        f"attrcls train {given} --weights {first} --decisions {verdicts} --epochs {run_epochs} --out {run}",
    )
    train.train("sample_faces", data=[str(faces)], weights=str(first), decisions=verdicts, out_dir=run, epochs=run_epochs)
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
        (cleaned / "review.html", "the suspect labels to look through and decide on, in a browser"),
        (run, "the run: model, checkpoints, metrics.csv, splits.csv"),
        (table, "a row per picture: mask, gender, age, confidences, the combined code"),
        (scores, "the scores above, with their intervals"),
        (run / "report.html", "open this in a browser"),
    ]:
        out.print(f"  {path}  {what}")
    out.print("What to try next:", style="bold")
    out.print("  attrcls card init your_labels.csv     drafts a data card and a task from your own table")
    out.print("  attrcls data TASK                     shows what is in it before anything is trained")
    out.print(f"  attrcls train sample_faces --data {faces} --out runs/longer --epochs 20")


def _announce(what: str, command: str) -> None:
    out.print()
    out.print(what, style="bold")
    out.print(f"$ {command}", style="cyan")


def _make_room(directory: Path, *, overwrite: bool) -> None:
    from attrcls.errors import UserError
    from attrcls.files import write_text

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        if not (directory / MARKER).exists():
            raise UserError(f"{directory} holds something else; name a new folder: attrcls demo FOLDER")
        if not overwrite:
            raise UserError(f"{directory} holds an earlier demo; name another folder, or replace it with --overwrite")
        shutil.rmtree(directory)
    write_text(directory / MARKER, "made by attrcls demo; may be deleted\n")
