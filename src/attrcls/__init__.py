"""attrcls: a table of images with several labels each to one multi-head model, a prediction table and a report.

    from attrcls import predict, train
    run = train("mask18", data="input", out="runs/first")
    table = predict(run, "input/eval/info.csv").table

Importing this package imports neither torch nor pandas; the functions do when they are first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrcls.runs.average import run_average as average
    from attrcls.runs.clean import run_clean as clean_labels
    from attrcls.runs.ensemble import run_ensemble as ensemble
    from attrcls.runs.evaluate import run_evaluate as evaluate
    from attrcls.runs.folds import run_folds as train_folds
    from attrcls.runs.predict import run_predict as predict
    from attrcls.runs.pretrain import run_pretrain as pretrain
    from attrcls.runs.report import run_report as write_report
    from attrcls.runs.train import run_train as train

_HOMES = {
    "average": "average",
    "clean_labels": "clean",
    "ensemble": "ensemble",
    "evaluate": "evaluate",
    "predict": "predict",
    "pretrain": "pretrain",
    "train": "train",
    "train_folds": "folds",
    "write_report": "report",
}
__all__ = ["average", "clean_labels", "ensemble", "evaluate", "predict", "pretrain", "train", "train_folds", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'attrcls' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"attrcls.runs.{_HOMES[name]}"), f"run_{_HOMES[name]}")
