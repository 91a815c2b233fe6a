"""Optimisers and learning-rate schedules by name. A schedule is a pure function of the step, so it resumes for free."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from attrcls.errors import UserError
from attrcls.model.network import Network
from attrcls.sections import OptimiserSpec, ScheduleSpec
from attrcls.spec import suggest

# torch's OneCycleLR begins at 1/25 of the top rate and ends at 1/250,000 of it (Smith & Topin 2018).
_ONECYCLE_START, _ONECYCLE_END = 1 / 25, 1 / 250_000


def build_optimiser(network: Network, spec: OptimiserSpec, *, beside: Sequence[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """One parameter group each for trunk and heads, split by whether weight decay applies; first one for what learns `beside` them.

    Each group keeps its top rate as `top_lr`. Biases and normalisation scales, one-dimensional all, do not decay.
    """
    groups: list[dict[str, Any]] = []
    if beside:
        groups.append({"name": "beside", "params": list(beside), "lr": spec.lr, "top_lr": spec.lr, "weight_decay": 0.0})
    modules: list[tuple[str, nn.Module, float]] = [("trunk", network.trunk, spec.trunk_lr or spec.lr), ("heads", network.head_modules, spec.lr)]
    if network.rare_samples is not None:
        modules.insert(1, ("rare samples", network.rare_samples, spec.lr))
    for name, module, rate in modules:
        for decays in (True, False):
            parameters = [p for p in module.parameters() if (p.ndim > 1) == decays]
            decay = spec.weight_decay if decays else 0.0
            if parameters:
                groups.append({"name": name, "params": parameters, "lr": rate, "top_lr": rate, "weight_decay": decay})
    return make_optimiser(groups, spec)


def make_optimiser(groups: list[dict[str, Any]], spec: OptimiserSpec) -> torch.optim.Optimizer:
    """The optimiser that a task names, over groups that say their own `lr`, `top_lr` and `weight_decay`."""
    if spec.name == "sgd":
        return torch.optim.SGD(groups, momentum=spec.momentum)
    # Fused: one kernel per group instead of a dozen small ones per tensor; the arithmetic is the same.
    return torch.optim.Adam(groups, fused=True) if spec.name == "adam" else torch.optim.AdamW(groups, fused=True)


def _constant(spec: ScheduleSpec, progress: float, epoch: float) -> float:
    return 1.0


def _step(spec: ScheduleSpec, progress: float, epoch: float) -> float:
    return float(spec.step_factor ** int(epoch // spec.step_epochs))


def _cosine(spec: ScheduleSpec, progress: float, epoch: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _onecycle(spec: ScheduleSpec, progress: float, epoch: float) -> float:
    """Half a cosine up over the first `rise` of the steps, half a cosine down over the rest."""
    if progress < spec.rise:
        return _cosine_between(_ONECYCLE_START, 1.0, progress / spec.rise)
    return _cosine_between(1.0, _ONECYCLE_END, (progress - spec.rise) / (1 - spec.rise))


# Each maps (spec, share of the steps done 0–1, epochs done) to a factor on the top rate.
SCHEDULES: dict[str, Callable[[ScheduleSpec, float, float], float]] = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "onecycle": _onecycle,
}


def learning_rate_factor(spec: ScheduleSpec, *, step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the top learning rate is multiplied by before update `step` (from 0): warm-up first, then the schedule.

    Raises:
        UserError: no such schedule.
    """
    if spec.name not in SCHEDULES:
        raise UserError(f"schedule.name: no schedule {spec.name!r}{suggest(spec.name, SCHEDULES)} (schedules: {', '.join(SCHEDULES)})")
    warmup = min(round(spec.warmup_epochs * steps_per_epoch), steps_per_epoch * epochs)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    total = max(1, steps_per_epoch * epochs - warmup)
    return SCHEDULES[spec.name](spec, (step - warmup) / total, step / steps_per_epoch)


def set_learning_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's top rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["top_lr"] * factor


def set_top_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give every group another top rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["top_lr"] = lr


def build_ema(network: Network, decay: float, *, frozen_trunk: bool = False) -> torch.optim.swa_utils.AveragedModel:
    """An exponential moving average of weights and BatchNorm statistics: average ← d · average + (1 − d) · new.

    After n updates d = min(decay, (1 + n) / (10 + n)), the warm-up of TensorFlow's ExponentialMovingAverage, so that a
    short training is not judged by its first weights. A trunk that never learns is its own average: with `frozen_trunk` both
    networks share it, and an update costs what the heads cost.
    """

    def average(averages: list[Tensor], values: list[Tensor], updates: Tensor | int) -> None:
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        differing = [pair for pair in zip(averages, values, strict=True) if pair[0].data_ptr() != pair[1].data_ptr()]
        if not differing:
            return
        averages, values = map(list, zip(*differing, strict=True))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, values, 1 - warm)
        else:
            # Counters, such as BatchNorm's number of batches, have no average.
            torch._foreach_copy_(averages, values)

    # swa_utils annotates its callback as taking tuples; it hands over lists.
    ema = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=average, use_buffers=True)  # type: ignore[arg-type]
    if frozen_trunk:
        ema.module.trunk = network.trunk
    return ema


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
