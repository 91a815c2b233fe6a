"""Pictures to probabilities on the machines of a cluster: rows travel there with the models, once, and parts come back."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from attrcls.cluster import Cluster, Work
from attrcls.data.remote import Location, address_of, parse_location
from attrcls.errors import AttrclsError
from attrcls.features.cache import default_cache
from attrcls.prediction.graphs import kept_graph
from attrcls.prediction.images import IntArray, LocalRunner, Runner
from attrcls.prediction.models import PackedModel, TrainedModel, pack_model, unpack_model
from attrcls.prediction.parts import Part
from attrcls.prediction.runtime import Runtime, open_runtime
from attrcls.prediction.views import View
from attrcls.sections import ImageSpec

# A block is lost with its worker, so it is a matter of seconds; each worker gets several, so that none waits long for the last.
BLOCK_PICTURES, BLOCKS_PER_WORKER = 512, 4
_BOX = ("xmin", "ymin", "xmax", "ymax")
_PROBABILITY = "p:"


@dataclass(frozen=True)
class PredictJob:
    """What a worker needs to predict as this process would: models of one picture size, and what was chosen to run them.

    `folder` is where the command was given: relative paths hold from there, where a worker's machine has it.
    """

    models: Sequence[PackedModel]
    graphs: Sequence[bytes]
    image: ImageSpec
    engine: str
    precision: str
    device: str
    batch_size: int
    folder: str
    views: Sequence[View] = ()

    def start(self) -> Work:
        """Open the models.

        Raises:
            UserError: this machine lacks the engine, its precision or the device.
        """
        _take_one_core(self.folder)
        models = [unpack_model(model) for model in self.models]
        runtime = open_runtime(
            models, self.graphs, engine=self.engine, device=self.device, precision=self.precision, batch_size=self.batch_size
        )  # fmt: skip

        def work(block: pa.Table) -> pa.Table:
            paths = [parse_location(os.fsdecode(address)) for address in block["address"].to_pylist()]
            boxes = np.stack([block[side].to_numpy() for side in _BOX], axis=1) if _BOX[0] in block.column_names else None
            runner = LocalRunner(
                runtime.forwards, paths, boxes, image=self.image, fabric=runtime.fabric, batch_size=self.batch_size, workers=0,
                views=self.views,
            )  # fmt: skip
            wanted = np.stack([block["position"].to_numpy(), np.arange(len(block))], axis=1)
            return pa.concat_tables([_part_to_table(part) for part in runner.run(wanted)])

        return work


class ClusterRunner:
    """Runs a job's models over rows' pictures on a cluster."""

    def __init__(self, cluster: Cluster, job: PredictJob, paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None) -> None:
        self._cluster, self._job, self._paths = cluster, job, paths
        self._boxes = boxes if job.image.crop_boxes else None

    def run(self, wanted: IntArray) -> Iterator[Part]:
        """Yield what comes of `(pictures, 2)` positions and rows, block by block as they get done.

        Raises:
            UserError, AttrclsError: as `Cluster.spread`; a picture came back twice, or did not.
        """
        waiting = set(wanted[:, 0].tolist())
        size = _block_size(len(wanted), workers=self._cluster.workers, batch_size=self._job.batch_size)
        blocks = [self._block(wanted[start : start + size]) for start in range(0, len(wanted), size)]
        for table in self._cluster.spread(self._job, blocks) if blocks else ():
            part = _table_to_part(table)
            came = set(part.positions.tolist())
            if len(came) < len(part.positions) or not came <= waiting:
                raise AttrclsError("the cluster gave back a picture twice; nothing was written: predict again")
            waiting -= came
            yield part
        if waiting:
            raise AttrclsError(f"the cluster did not give back {len(waiting):,} of {len(wanted):,} pictures; go on with --resume")

    def _block(self, wanted: IntArray) -> pa.Table:
        rows = wanted[:, 1]
        columns: dict[str, object] = {
            "position": wanted[:, 0],
            # As bytes: a file's name may be none that text can hold.
            "address": pa.array([os.fsencode(address_of(self._paths[row])) for row in rows.tolist()], pa.binary()),
        }
        if self._boxes is not None:
            columns |= {side: self._boxes[rows, index] for index, side in enumerate(_BOX)}
        return pa.table(columns)


def cluster_runner(
    cluster: Cluster, models: Sequence[TrainedModel], runtime: Runtime, paths: Sequence[Location], boxes: npt.NDArray[np.float64] | None, *,
    image: ImageSpec, batch_size: int, views: Sequence[View] = (),
) -> Runner:  # fmt: skip
    """What runs the models of one picture size on the cluster, as the runtime that was started here would."""
    # Workers are sent the graphs, and told of torch where there are none.
    runtime.open()
    same = [model for model in models if model.description.image == image]
    graphs = [kept_graph(model, default_cache()) for model in same] if runtime.engine != "torch" else []
    job = PredictJob(
        [pack_model(model) for model in same],
        graphs,
        image,
        runtime.engine,
        runtime.precision,
        runtime.fabric.device.type,
        batch_size,
        os.getcwd(),
        views,
    )
    return ClusterRunner(cluster, job, paths, boxes)


def _block_size(pictures: int, *, workers: int, batch_size: int) -> int:
    """Whole batches: a short one costs as much as a full one."""
    fair = min(BLOCK_PICTURES, math.ceil(pictures / (workers * BLOCKS_PER_WORKER)))
    return max(1, math.ceil(fair / batch_size)) * batch_size


def _take_one_core(folder: str) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    if os.path.isdir(folder):
        os.chdir(folder)


def _part_to_table(part: Part) -> pa.Table:
    failures = {position: json.dumps([status, message]) for position, status, message in part.failures}
    columns: dict[str, object] = {
        "position": part.positions.astype(np.int64),
        # As JSON, which holds also what of a file's name no text can.
        "failure": [failures.get(position, "") for position in part.positions.tolist()],
    }
    for head, values in part.outputs.items():
        flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).reshape(-1))
        columns[f"{_PROBABILITY}{head}"] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    return pa.table(columns)


def _table_to_part(table: pa.Table) -> Part:
    positions = table["position"].to_numpy()
    outputs = {}
    for name in table.column_names:
        if name.startswith(_PROBABILITY):
            column = table[name].combine_chunks()
            outputs[name.removeprefix(_PROBABILITY)] = column.flatten().to_numpy().reshape(len(positions), -1)
    failures = [(position, *json.loads(text)) for position, text in zip(positions.tolist(), table["failure"].to_pylist(), strict=True) if text]
    return Part(positions, outputs, failures)
