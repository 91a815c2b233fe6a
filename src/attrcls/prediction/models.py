"""Trained models as prediction needs them: read from run directories, checked to go together."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attrcls.combine import Combiner
from attrcls.errors import UserError
from attrcls.inside import refuse_links_out
from attrcls.model.description import ModelDescription, build_described, misfit, read_description
from attrcls.model.network import Network
from attrcls.prediction.members import members_of
from attrcls.tensors import fill, load_tensors, pack_tensors, unpack_tensors


@dataclass(frozen=True)
class TrainedModel:
    """A run's network with its weights, what `model.json` says of it, and the weight of its vote among models of the same head."""

    run: Path
    description: ModelDescription
    network: Network
    weight: float = 1.0


@dataclass(frozen=True)
class PackedModel:
    """A trained model as it travels to other machines: no path is needed there, and nothing is pickled but bytes and text."""

    run: str
    description: str
    weights: bytes
    weight: float


def pack_model(model: TrainedModel) -> PackedModel:
    """A model to be sent."""
    return PackedModel(str(model.run), model.description.model_dump_json(), pack_tensors(model.network.state_dict()), model.weight)


def unpack_model(packed: PackedModel) -> TrainedModel:
    """The model of `pack_model`, on the CPU."""
    description = ModelDescription.model_validate_json(packed.description)
    network = build_described(description)
    fill(network, unpack_tensors(packed.weights))
    return TrainedModel(Path(packed.run), description, network, packed.weight)


def load_models(runs: Sequence[Path]) -> list[TrainedModel]:
    """Read the models of runs, in order; a folder of folds, or of an ensemble, gives its own, which together have the vote of one run.

    Raises:
        UserError: a run has no whole model, or two models disagree about a head's classes or the combined code.
    """
    models = [_load_model(member, weight) for run in runs for member, weight in members_of(run)]
    first = models[0].description
    for model in models[1:]:
        description = model.description
        for head, attribute in description.attributes.items():
            other = next((m for m in models if head in m.description.attributes), model)
            if other.description.attributes[head].classes != attribute.classes:
                raise UserError(f"{model.run} and {other.run} disagree about the classes of {head}: they belong to different tasks")
        if description.combine and first.combine and description.combine != first.combine:
            raise UserError(f"{model.run} and {models[0].run} disagree about the combined code: they belong to different tasks")
        if (description.box is None) != (first.box is None):
            raise UserError(f"{model.run} and {models[0].run}: one crops by boxes and the other does not; predict with them one at a time")
    return models


def heads_of(models: Sequence[TrainedModel]) -> dict[str, list[str]]:
    """Each head's class names, in the combined code's order first, then as the models name them."""
    heads = {head: attribute.classes for model in models for head, attribute in model.description.attributes.items()}
    combiner = combiner_of(models)
    order = [head for head in (combiner.order if combiner else ()) if head in heads]
    return {head: heads[head] for head in dict.fromkeys([*order, *heads])}


def combiner_of(models: Sequence[TrainedModel]) -> Combiner | None:
    """The combined code, when the models together have all of its heads."""
    heads = {head for model in models for head in model.description.heads}
    combiner = next((model.description.combiner for model in models if model.description.combiner), None)
    return combiner if combiner and set(combiner.order) <= heads else None


def _load_model(run: Path, weight: float) -> TrainedModel:
    if not os.path.isdir(run):  # unlike Path, it finds a name that is too long simply absent
        raise UserError(f"no run directory {run}; `attrcls train` makes one")
    refuse_links_out(run)
    folder = run / "model" if (run / "model").is_dir() or not (run / "model.json").exists() else run
    description = read_description(folder / "model.json")
    network = build_described(description)
    tensors, _ = load_tensors(folder / "weights.safetensors")
    try:
        fill(network, tensors)
    except RuntimeError as error:
        fault = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{folder}: weights.safetensors does not fit model.json ({fault}); the files belong to different runs") from error
    if found := misfit(description):
        raise UserError(f"{folder / 'model.json'}: damaged: {found}; put back the file that the run wrote")
    return TrainedModel(run, description, network, weight)
