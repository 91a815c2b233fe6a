"""`attrcls export`."""

from pathlib import Path
from typing import Annotated

import typer

from attrcls.cli.shell import alone, out, reported


@reported
@alone
def export(
    run: Annotated[Path, typer.Argument(help="a run directory")],
    onnx: Annotated[Path, typer.Option("--onnx", help="the file to write, .onnx")],
    images: Annotated[Path | None, typer.Option("--images", help="pictures to check it on [default: the run's own, else drawn ones]")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="quantise the trunk to 8-bit integers, and say what it costs in accuracy")] = False,
) -> None:
    """Write a run's network as one ONNX file, after it gave what torch gives on pictures. Exit code 1 where it does not."""
    from attrcls.runs.export import run_export

    exported = run_export(run, onnx=onnx, images=images, int8=int8)
    out.print(f"{exported.file}: opset {exported.opset}")
    out.print(f"  input   {exported.input}, RGB, as resized: normalising is inside")
    for name in exported.outputs:
        out.print(f"  output  {name}")
    out.print(f"  checked against torch on {exported.pictures}: largest difference of a probability {exported.difference:.1e}")
    for head, cost in exported.int8.items():
        scores = f", top-1 {cost.top1_before:.3f} before and {cost.top1_after:.3f} after, over {cost.labelled:,} labels" if cost.labelled else ""
        out.print(f"  int8    {head}: {cost.agreement:.2%} of labels as in float32, probabilities within {cost.largest_difference:.3f}{scores}")
