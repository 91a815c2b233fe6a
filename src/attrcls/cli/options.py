"""Options that several commands share, declared once so that they read and behave alike."""

import contextlib
from typing import Annotated, Any

import typer

from attrcls.errors import UserError

DataDirs = Annotated[list[str], typer.Option("--data", help="folder of the card's data; with several cards CARD=DIR, once each")]
Overrides = Annotated[list[str], typer.Option("--set", help="override any key, such as heads.age.weight=2; may be repeated")]
ImageColumn = Annotated[str | None, typer.Option(help="the table's column of pictures [default: found by its name]")]
ImageRoot = Annotated[
    str | None, typer.Option(help="the folder, or URL, of the table's pictures [default: beside it, in images/, or as the training's cards say]")
]
Encoding = Annotated[str | None, typer.Option(help="the table's encoding [default: UTF-8, then cp949]")]
Balance = Annotated[str | None, typer.Option("--balance", metavar="HEADS", help="draw these heads' classes equally often, such as mask,age; or none")]
BatchSize = Annotated[int, typer.Option(help="pictures per batch")]
Workers = Annotated[int | None, typer.Option(min=0, help="processes that decode [default: one per core, up to 16]")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps")]
RawCells = Annotated[bool, typer.Option("--raw-cells", help="write no ' before text that a spreadsheet would run (= + - @)")]
# A text: a path would forget that ./device is no device.
Cache = Annotated[
    str | None,
    typer.Option(
        "--cache",
        metavar="DIR|device",
        help="keep decoded pictures in a folder, for later epochs and runs; device keeps all on --device, if they fit (a folder so named: ./device)",
    ),
]
CacheSize = Annotated[str | None, typer.Option(help="how large --cache may grow, such as 500MB [default: 20GB]")]
Precision = Annotated[str, typer.Option(help="auto, 32 or bf16")]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="spread over a Ray cluster: HOST:PORT, auto, or local: --workers processes here"),
]
Views = Annotated[
    str | None,
    typer.Option("--tta", metavar="VIEWS", help="average views of each picture: flip, five-crop, scales, or several such as flip,scales"),
]
Adjust = Annotated[
    float, typer.Option("--adjust", metavar="TAU", help="logit adjustment by the train rows' classes: 1 as if all were equally frequent")
]
Decode = Annotated[str | None, typer.Option("--decode", help="argmax, or joint or offsets where the run has it [default: what the run says]")]
Quota = Annotated[
    list[str],
    typer.Option("--quota", metavar="uniform|HEAD=uniform|FILE", help="meet class shares exactly: a file has head, class, and share or count"),
]
Abstain = Annotated[float | None, typer.Option("--abstain", metavar="P", help="leave cells blank whose calibrated confidence is below P")]
InferenceEngine = Annotated[
    str, typer.Option("--engine", help="torch, onnxruntime, openvino, or auto: for many pictures the fastest that is installed for the device")
]


def size_of_cache(cache: str | None, size: str | None) -> str:
    """How large `--cache` may grow.

    Raises:
        UserError: `--cache-size` is given, and no cache that grows.
    """
    if size is not None and cache in (None, "device"):
        raise UserError(f"--cache-size {size}: says how large --cache DIR may grow; name that folder, or leave --cache-size out")
    return size or "20GB"


def sweep_rates(rates: str | None) -> list[float] | None:
    """The rates of `--sweep-lr a,b`.

    Raises:
        UserError: one is no number, or there is one only.
    """
    if rates is None:
        return None
    with contextlib.suppress(ValueError):
        found = [float(rate) for rate in rates.split(",")]
        if len(found) > 1:
            return found
    raise UserError(f"--sweep-lr: expected two or more learning rates such as 1e-3,1e-2, found {rates!r}")


def balance_changes(balance: str | None) -> dict[str, Any]:
    """What `--balance a,b` changes in a task: only the heads, so that its other choices hold; `none` turns balancing off."""
    if balance is None:
        return {}
    heads = [head.strip() for head in balance.split(",")]
    return {"balance": None} if heads == ["none"] else {"balance.heads": heads}
