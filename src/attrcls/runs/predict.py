"""Prediction as a story: runs + input → models → probabilities → table."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from attrcls.cluster import Cluster, joined_cluster
from attrcls.data.loader import default_workers
from attrcls.data.remote import is_url, parse_location
from attrcls.data.tables import check_table_name, write_table
from attrcls.engine import advise_on_memory
from attrcls.errors import UserError
from attrcls.features.cache import default_cache
from attrcls.files import refuse_inputs
from attrcls.prediction.answers import ABSTAINED, READ, answer, check_rules
from attrcls.prediction.images import Predictions, Runner, predict_images
from attrcls.prediction.inputs import PredictInput, read_input
from attrcls.prediction.models import TrainedModel, combiner_of, heads_of, load_models
from attrcls.prediction.output import check_submission, prediction_table, submission_table
from attrcls.prediction.parts import KeptParts, kept_parts
from attrcls.prediction.runtime import Runtime, start_runtime
from attrcls.prediction.spread import cluster_runner
from attrcls.prediction.views import View, check_views, parse_views
from attrcls.sections import ImageSpec

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Predicted:
    """A prediction's table, and what it was made from. `ran_on` says in words which engine and precision did it, `fallen_back`
    names pictures that a submission had to guess."""

    table: pd.DataFrame
    asked: PredictInput
    models: Sequence[TrainedModel]
    predictions: Predictions
    ran_on: str
    fallen_back: Sequence[str] = ()
    warnings: Sequence[str] = ()

    @property
    def failed(self) -> int:
        """How many rows could not be read; those that abstained are done."""
        return sum(status not in READ for status in self.predictions.status)

    @property
    def abstained(self) -> int:
        """How many rows have a cell left blank for want of certainty."""
        return self.predictions.status.count(ABSTAINED)


def run_predict(
    runs: Sequence[str | Path] | str | Path,
    source: str | Path,
    *,
    csv: str | Path | None = None,
    submission: bool = False,
    probabilities: bool = False,
    image_column: str | None = None,
    image_root: str | Path | None = None,
    encoding: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    batch_size: int = 64,
    workers: int | None = None,
    resume: bool = False,
    raw_cells: bool = False,
    ray: str | None = None,
    tta: str | None = None,
    adjust: float = 0.0,
    decode: str | None = None,
    quota: Sequence[str] = (),
    abstain: float | None = None,
    started: Callable[[int], Advance] = lambda images: lambda done: None,
) -> Predicted:
    """Predict a folder, a picture or a table with one run or several, and write the table where `csv` says. Table and pictures may
    lie elsewhere: a URL names them.

    Runs with the same heads are averaged, runs with different heads of one task are put together. `started` is told
    the number of pictures and returns what is then told of progress. `resume` goes on with the same prediction, of the same
    models, pictures and settings, where it was stopped. `engine` is torch, onnxruntime, openvino, or auto: the fastest that is
    installed for the device, where there are pictures enough. `raw_cells` leaves cells that a spreadsheet would run as they are in
    a CSV; a submission's always are, because a scorer compares them. `ray` spreads the work over the cluster at that address, or over
    `workers` processes here (`local`); the table is the same. `tta` names views of each picture that are averaged: flip, five-crop, scales,
    or several with commas between.

    Classes are chosen as the run was trained to, or by `decode`; `adjust` is the strength of logit adjustment by the train rows' classes;
    `quota` meets class counts exactly (`uniform`, `HEAD=uniform`, or files of shares); a cell less certain than `abstain` stays blank.
    Raises:
        UserError: a run or the input cannot be used; single pictures that cannot are told by the `status` column.
    """
    out, views = Path(csv) if csv else None, parse_views(tta)
    if out:
        if is_url(out):
            raise UserError(f"--csv {csv}: expected a file on this machine; copy it from there")
        check_table_name(out)
        refuse_inputs("--csv", out, source, *quota)
    models = load_models([Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)])
    asked = read_input(
        parse_location(source), image_column=image_column, image_root=parse_location(image_root) if image_root else None,
        encoding=encoding, box=models[0].description.box, known=models[0].description.tables,
    )  # fmt: skip
    asked.refuse_nowhere()
    if submission and abstain is not None:
        raise UserError("--submission and --abstain: a scorer wants an answer for every row; leave one of them out")
    if submission:
        check_submission(asked, columns=models[0].description.submission, heads=heads_of(models), combiner=combiner_of(models))
    rules = check_rules(models, rows=len(asked.paths), adjust=adjust, decode=decode, quota=quota, abstain=abstain)
    runtime = start_runtime(
        models, engine=engine, device=device, precision=precision, pictures=len(asked.paths) * max(1, len(views)), batch_size=batch_size,
        cache=default_cache(),
    )  # fmt: skip
    joined = joined_cluster(ray, workers=workers, gpu=runtime.fabric.device.type == "cuda") if ray else contextlib.nullcontext()
    with joined as cluster:
        predictions, kept = predict_rows(
            models, asked, runtime=runtime, batch_size=batch_size, workers=workers, resume=resume, started=started, cluster=cluster, views=views,
        )  # fmt: skip
    answers = answer(models, predictions, rules)
    classes, combiner = heads_of(models), combiner_of(models)
    fallen_back: list[str] = []
    if submission:
        first = models[0].description
        fallback = {key: value for model in reversed(models) for key, value in model.description.fallback.items()}
        table = submission_table(asked, answers, columns=first.submission, classes=classes, combiner=combiner, fallback=fallback)
        fallen_back = [name for name, status in zip(asked.table[asked.image_column], predictions.status, strict=True) if status != "ok"]
    else:
        table = prediction_table(asked, answers, classes=classes, combiner=combiner, probabilities=probabilities)
    if out:
        write_table(table, out, raw=raw_cells or submission)
    # Only now: a table that could not be written, on a full disk say, is made of them again.
    kept.drop()
    warnings = [*runtime.warnings, *rules.warnings, *answers.warnings, *(cluster.warnings if cluster else ())]
    if models[0].description.box and asked.boxes is None:
        warnings.append("this model was trained on pictures cropped to their boxes, and the input has no boxes: it saw whole pictures")
    return Predicted(table, asked, models, answers.predictions, str(runtime), fallen_back, warnings)


def predict_rows(
    models: Sequence[TrainedModel],
    asked: PredictInput,
    *,
    runtime: Runtime,
    batch_size: int,
    workers: int | None,
    resume: bool = False,
    started: Callable[[int], Advance] = lambda images: lambda done: None,
    cluster: Cluster | None = None,
    views: Sequence[View] = (),
) -> tuple[Predictions, KeptParts]:
    """Probabilities of an input's rows by the runtime that was started, here or by its like on a cluster, and what of them the cache keeps.

    It is kept until the caller drops it, when the predictions are where they belong; with `resume` it is taken up again. Raises:
        UserError: `views` are cut out of pictures that have no room for them.
    """
    for model in models:
        check_views(views, model.description.image)
    largest = max(model.description.image.px for model in models)
    # A handful of pictures is read sooner than worker processes start.
    workers = (default_workers(batch_size * largest**2 * 3) if workers is None else workers) if len(asked.paths) > batch_size else 0
    advance = started(len(asked.paths))
    fabric = runtime.fabric
    if resume:
        # What was kept is the engine's that runs, which auto knows when it is open.
        runtime.open()
    kept = kept_parts(
        default_cache(), models, asked.paths, asked.boxes, fabric=fabric, batch_size=batch_size, engine=lambda: runtime.engine, views=views
    )
    if not resume:
        kept.drop()

    def on_cluster(image: ImageSpec) -> Runner:
        assert cluster is not None
        return cluster_runner(cluster, models, runtime, asked.paths, asked.boxes, image=image, batch_size=batch_size, views=views)

    with advise_on_memory(f"the batch is {batch_size}: try --batch-size {max(1, batch_size // 2)}"):
        predictions = predict_images(
            models, asked.paths, asked.boxes, fabric=fabric, batch_size=batch_size, workers=workers, advance=advance, kept=kept,
            forwards=runtime.forwards, elsewhere=on_cluster if cluster else None, views=views,
        )  # fmt: skip
    return predictions, kept
