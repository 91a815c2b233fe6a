"""Any torchvision classification model as a trunk: built by name, cut before its last linear layer.

Weights come by torchvision's own names, from a file, or not at all; what was and was not loaded is told.
"""

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.vision_transformer import interpolate_embeddings

from attrcls.errors import UserError
from attrcls.inside import refuse_links_out
from attrcls.spec import suggest
from attrcls.tensors import fill

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Trunk:
    """`module` maps float32 `(batch, 3, px, px)` to `(batch, features)`. `loaded` says in words which weights it has."""

    module: nn.Module
    features: int
    loaded: str


def build_trunk(name: str, *, px: int, weights: str = "none") -> Trunk:
    """A torchvision classification model without its last layer.

    `weights` is `none`, `DEFAULT`, a named set such as `IMAGENET1K_V2`, a file (`.pth`, `.pt`, `.safetensors`), or the
    directory of a run.
    Raises:
        UserError: no such model, no such weights, weights that cannot be fetched or do not fit, or a `px` that the
            architecture cannot take.
    """
    model = _build_model(name, px=px)
    last = _last_layer(model)
    features = _in_features(model.get_submodule(last))
    loaded = "no weights: the trunk starts from random numbers"
    if weights != "none":
        state, source = _read_weights(name, weights)
        state = _fit_positions(model, name, state, px=px)
        loaded = f"{source}: {_load(model, state, without=last, source=source)}"
    parent, _, child = last.rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    _check_size(model, name, px=px)
    # Auxiliary classifiers predict the old classes during training; nothing here uses them.
    for auxiliary in ("aux1", "aux2", "AuxLogits"):
        if hasattr(model, auxiliary):
            setattr(model, auxiliary, None)
    if hasattr(model, "aux_logits"):
        model.aux_logits = False  # type: ignore[assignment]
    return Trunk(model, features, loaded)


def known_trunks() -> list[str]:
    """The names of torchvision's classification models."""
    return list(torchvision.models.list_models(module=torchvision.models))


def _build_model(name: str, *, px: int) -> nn.Module:
    known = known_trunks()
    if name not in known:
        raise UserError(f"trunk.name: torchvision has no classification model {name!r}{suggest(name, known)}")
    options: dict[str, Any] = {"weights": None}
    if name.startswith("vit_"):
        options["image_size"] = px
    if name.startswith("maxvit"):
        options["input_size"] = (px, px)
    if name in {"googlenet", "inception_v3"}:
        # Their weights want inputs scaled to ±1, which the model itself makes of ours.
        options |= {"init_weights": True, "aux_logits": False, "transform_input": True}
    try:
        model: nn.Module = torchvision.models.get_model(name, **options)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise UserError(f"trunk {name} cannot be built for pictures of {px} px: {str(error).splitlines()[0]}; choose another image.px") from error
    return model


def _check_size(model: nn.Module, name: str, *, px: int) -> None:
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, 3, px, px))
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"trunk {name} cannot look at pictures of {px} px: {str(error).splitlines()[0]}; choose a larger image.px") from error
    model.train()


def _last_layer(model: nn.Module) -> str:
    """The classifier's name: the last linear layer, or SqueezeNet's last convolution."""
    kinds = (nn.Conv2d,) if type(model).__name__ == "SqueezeNet" else (nn.Linear,)
    names: list[str] = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    return names[-1]


def _in_features(layer: nn.Module) -> int:
    if isinstance(layer, nn.Conv2d):
        return layer.in_channels
    assert isinstance(layer, nn.Linear)
    return layer.in_features


def _read_weights(name: str, weights: str) -> tuple[StateDict, str]:
    path = Path(os.path.expanduser(weights))
    of_run = path / "model" / "weights.safetensors"
    # os.path, unlike Path, finds a name that is too long simply absent.
    if os.path.isfile(of_run):
        refuse_links_out(path)
        path = of_run
    if os.path.isfile(path):
        # What was loaded is written into the run, which is passed on: no folder of this machine.
        return _read_file(path), Path(weights).name
    known = torchvision.models.get_model_weights(name)
    names = ["DEFAULT", *(str(member.name) for member in known)]
    if weights not in names:
        looks_like_path = path.suffix or "/" in weights
        missing = f"no file {weights}" if looks_like_path else f"{name} has no weights {weights!r}{suggest(weights, names)}"
        raise UserError(f"trunk.weights: {missing}; give one of {', '.join(names)}, a file, or none, there or with --weights")
    chosen = known[weights]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
    try:
        return chosen.get_state_dict(progress=True, check_hash=True), f"torchvision {chosen}"
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"the weights {chosen} are not on this machine and could not be downloaded ({_reason(error)})\n"
            f"  file: {cached.name}\n"
            f"  looked for at: {cached}\n"
            f"Put the file there, give a file of your own with --weights FILE, or start from random numbers with --weights none"
        ) from error


def _reason(error: Exception) -> str:
    return (str(getattr(error, "reason", "")) or str(error) or type(error).__name__).splitlines()[0]


def _read_file(path: Path) -> StateDict:
    try:
        # weights_only: a stranger's pickle must not run code here.
        state = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"--weights {path}: holds something else than tensors, and reading that could run its maker's code; nothing was run. "
            "Ask for a state_dict, or a .safetensors file"
        ) from error
    except Exception as error:  # torch raises many kinds, RuntimeError, EOFError among them
        raise UserError(
            f"--weights {path}: expected a state_dict, found a file that cannot be read as one; write it with "
            "torch.save(model.state_dict(), 'weights.pth'), or as .safetensors"
        ) from error
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"--weights {path}: expected a state_dict of tensors, found {type(state).__name__}")
    if any(key.startswith("trunk.") for key in state):  # a model of attrcls: its heads are another task's
        state = {key.removeprefix("trunk."): value for key, value in state.items() if key.startswith("trunk.")}
    return {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}


def _fit_positions(model: nn.Module, name: str, state: StateDict, *, px: int) -> StateDict:
    """Stretch a ViT's position embeddings to another picture size, as torchvision's own references do."""
    key = "encoder.pos_embedding"
    if not name.startswith("vit_") or key not in state or state[key].shape == model.state_dict()[key].shape:
        return state
    stretched: StateDict = interpolate_embeddings(px, int(model.patch_size), dict(state))  # type: ignore[arg-type]
    return stretched


def _load(model: nn.Module, state: StateDict, *, without: str, source: str) -> str:
    own = model.state_dict()
    wanted = {key for key in own if not key.startswith(without + ".")}
    wrong = [key for key in wanted & state.keys() if state[key].shape != own[key].shape]
    if wrong:
        key = sorted(wrong)[0]
        raise UserError(
            f"--weights {source}: {len(wrong)} tensors have another shape, such as {key}: expected {tuple(own[key].shape)}, "
            f"found {tuple(state[key].shape)}; these weights belong to another trunk"
        )
    loaded = wanted & state.keys()
    parameters = {key for key, _ in model.named_parameters()} & wanted
    if not loaded & parameters:
        raise UserError(f"--weights {source}: no tensor fits the trunk; it wants names such as {', '.join(sorted(parameters)[:3])}")
    fill(model, {key: state[key] for key in loaded}, strict=False)
    # num_batches_tracked is bookkeeping that old files lack; its absence means nothing.
    absent = sorted(key for key in wanted - loaded if not key.endswith("num_batches_tracked"))
    unused = sorted(state.keys() - wanted)
    told = [f"{len(loaded)} of {len(loaded) + len(absent)} tensors loaded"]
    if absent:
        told.append(f"left at random: {_some(absent)}")
    if unused:
        told.append(f"left out: {_some(unused)}")
    return "; ".join(told)


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
