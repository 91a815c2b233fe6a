"""What a run keeps on disk of its weights: a resumable checkpoint, and the model that `predict` reads. No pickles."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attrcls.errors import UserError
from attrcls.files import write_json
from attrcls.tensors import fill, load_tensors, save_tensors
from attrcls.training.loop import TrainState

CHECKPOINT_VERSION = 1
_STATE_KEY = "attrcls_state"


def save_checkpoint(state: TrainState, path: Path, *, watched: Mapping[str, Tensor] | None = None) -> None:
    """Everything in `state` as one safetensors file, its numbers as JSON in the file's header; whole or not at all.

    `watched` are tensors of whoever consumes the training's Steps, which must not get ahead of it or fall behind.
    """
    tensors = {f"network.{key}": value for key, value in state.network.state_dict().items()}
    if state.ema is not None:
        shared = _shared_with_average(state)
        tensors |= {f"ema.{key}": value for key, value in state.ema.state_dict().items() if key not in shared}
    for index, slots in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
    if state.balancer is not None:
        tensors |= {f"balancer.{key}": value for key, value in state.balancer.state().items()}
    tensors |= {f"running.{head}": means for head, means in state.running.items()}
    tensors |= {f"watched.{key}": value for key, value in (watched or {}).items()}
    numbers = {
        "version": CHECKPOINT_VERSION,
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "best_score": state.best_score,
        "tracking_id": state.tracking_id,
        "history": state.history,
    }
    save_tensors(tensors, path, metadata={_STATE_KEY: json.dumps(numbers)})


def load_checkpoint(state: TrainState, path: Path) -> dict[str, Tensor]:
    """Fill `state`, built for the same task, from a checkpoint; returns what was saved as `watched`.

    Raises:
        UserError: the file is damaged, of an unknown version, or of another task.
    """
    tensors, metadata = load_tensors(path)
    try:
        return _fill(state, tensors, json.loads(metadata.get(_STATE_KEY, "{}")), path)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: damaged: expected the checkpoint that `attrcls` writes; train anew with --overwrite") from error


def _fill(state: TrainState, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    if numbers.get("version") != CHECKPOINT_VERSION:
        raise UserError(f"{path}: expected a checkpoint of version {CHECKPOINT_VERSION}, found {numbers.get('version')}; train anew with --overwrite")
    try:
        fill(state.network, _below(tensors, "network."))
        if state.ema is not None:
            shared = {key: tensors[f"network.{own}"] for key, own in _shared_with_average(state).items()}
            fill(state.ema, {**shared, **_below(tensors, "ema.")})
    except RuntimeError as error:
        raise UserError(f"{path}: the checkpoint belongs to another task or trunk; resume with the same command, or use --overwrite") from error
    if state.balancer is not None:
        state.balancer.load(_below(tensors, "balancer."))
    parameters = [parameter for group in state.optimiser.param_groups for parameter in group["params"]]
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in _below(tensors, "optimiser.").items():
        index, _, slot = key.partition(".")
        # Fused optimisers walk through memory: a slot must lie there as its parameter does (channels last, say), or
        # moments silently meet the wrong weights.
        like = parameters[int(index)]
        slots.setdefault(int(index), {})[slot] = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
    state.optimiser.load_state_dict({"state": slots, "param_groups": state.optimiser.state_dict()["param_groups"]})
    state.epoch, state.history = numbers["epoch"], numbers["history"]
    state.best_epoch, state.best_score = numbers["best_epoch"], numbers["best_score"]
    state.tracking_id = numbers["tracking_id"]
    state.running = _below(tensors, "running.")
    return _below(tensors, "watched.")


def _shared_with_average(state: TrainState) -> dict[str, str]:
    """Keys of the average's tensors that are the network's own, as a frozen trunk's are, to their keys there: such are kept once."""
    averaged = state.scored_network
    if averaged is state.network or averaged.trunk is not state.network.trunk:
        return {}
    return {f"module.trunk.{key}": f"trunk.{key}" for key in averaged.trunk.state_dict()}


def save_model(network: torch.nn.Module, description: Mapping[str, Any], folder: Path) -> None:
    """`weights.safetensors` and `model.json`: all that prediction needs, and nothing that only training does."""
    tensors = {key: value for key, value in network.state_dict().items() if not key.startswith("rare_samples.")}
    save_tensors(tensors, folder / "weights.safetensors", metadata={})
    write_json(folder / "model.json", dict(description))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
