"""`attrcls sample`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import alone, count, out, reported


@reported
@alone
def sample(
    directory: Annotated[Path, typer.Argument(help="a new folder")],
    kind: Annotated[str, typer.Option(help="faces (the mask competition's layout) or fashion (FASCODE's)")] = "faces",
    people: Annotated[int, typer.Option(help="people to draw; several pictures each")] = 120,
    seed: Annotated[int, typer.Option(help="another seed draws other people")] = 0,
) -> None:
    """Draw a sample dataset with planted label faults, and the truth beside it."""
    from attrcls.errors import UserError
    from attrcls.sample import draw_faces, draw_fashion

    draw = {"faces": draw_faces, "fashion": draw_fashion}.get(kind)
    if draw is None:
        raise UserError(f"--kind: expected faces or fashion, found {kind!r}")
    drawn = draw(directory, people=people, seed=seed)
    out.print(f"{directory}: {count(drawn.images, 'picture')}, of {people:,} people")
    out.print(f"next: attrcls train sample_{kind} --data {directory}")
