"""`attrcls card init`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.options import Encoding
from attrcls.cli.shell import alone, out, reported

app = typer.Typer(help="Make a data card.", no_args_is_help=True)


@app.callback()
def card() -> None:
    """Make a data card."""


@app.command("init")
@reported
@alone
def init(
    table: Annotated[Path, typer.Argument(help="a table of labels")],
    out_file: Annotated[Path | None, typer.Option("--out", help="the card [default: TABLE.card.yaml beside the table; - prints it]")] = None,
    encoding: Encoding = None,
    task: Annotated[bool, typer.Option("--task/--no-task", help="draft a task for it as well")] = True,
) -> None:
    """Draft a data card, and a task for it, from the columns of a table."""
    from attrcls.data.draft import draft_card, draft_task
    from attrcls.errors import AttrclsError, UserError
    from attrcls.files import write_text

    if out_file is not None and str(out_file) == "-":
        out.print(draft_card(table, encoding=encoding).rstrip())
        return
    if table.is_dir():
        raise UserError(f"{table}: expected a table of labels, found a folder; name the table in it")
    if out_file is not None and out_file.is_dir():
        raise UserError(f"--out {out_file}: expected a file's name, found a folder; name a file in it, such as {out_file / 'my.card.yaml'}")
    target = out_file or table.with_suffix(".card.yaml")
    text = draft_card(table, root=Path(os.path.relpath(table.parent, target.parent)).as_posix(), encoding=encoding)
    task_file = target.with_name(target.name.removesuffix(".yaml").removesuffix(".card") + ".task.yaml")
    for file in [target, *([task_file] if task else [])]:
        if file.exists():
            raise UserError(f"{file} exists already; name another with --out")
    of_task = draft_task(text, card_file=target.name)
    write_text(target, text)
    if task:
        try:
            write_text(task_file, of_task)
        except AttrclsError:
            # Both or none: a card alone would be in the way of the same command.
            target.unlink(missing_ok=True)
            raise
    out.print(f"card: {target}")
    if task:
        out.print(f"task: {task_file}")
        out.print(f"next: look through both, then attrcls data {task_file} · attrcls train {task_file}")
