"""Optimisers, and gradient clipping by the global norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from elman.training.settings import TrainingSettings

Groups = list[dict[str, object]]


def adamw(groups: Groups, settings: TrainingSettings, fused: bool) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101)."""
    betas = (settings.beta1, settings.beta2)
    return AdamW(groups, lr=settings.learning_rate, betas=betas, fused=fused)


def sgd(groups: Groups, settings: TrainingSettings, fused: bool) -> Optimizer:
    """Stochastic gradient descent, with Nesterov momentum if the momentum is not 0."""
    momentum = settings.momentum
    optimiser = SGD(groups, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=fused)
    fill_momentum(optimiser)
    return optimiser


OPTIMISERS: dict[str, Callable[[Groups, TrainingSettings, bool], Optimizer]] = {"adamw": adamw, "sgd": sgd}


def build_optimiser(model: nn.Module, settings: TrainingSettings) -> Optimizer:
    """Return the optimiser of the settings, with weight decay on matrices and none on vectors."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: Groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return OPTIMISERS[settings.optimiser]([group for group in groups if group["params"]], settings, fused)


STATE_NAMES: dict[type[Optimizer], frozenset[str]] = {
    AdamW: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    SGD: frozenset({"momentum_buffer"}),
}
"""The state of each optimiser for a parameter: `step` is a number, the others have the parameter's shape."""


def restore_state(optimiser: Optimizer, state: dict[int, dict[str, Any]]) -> None:
    """Restore the state of an optimiser's parameters, as in `state_dict()["state"]`.

    The groups stay as they were built, so that a resumed run takes its current settings. The fused optimisers check no
    shapes and would read and write out of bounds, so everything is checked before.

    Raises:
        ValueError: the state does not belong to these parameters.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for number, values in state.items():
        if type(number) is not int or not 0 <= number < len(parameters):
            raise ValueError(f"the optimiser has no parameter {number!r}")
        names = STATE_NAMES[type(optimiser)]
        if not isinstance(values, dict) or values.keys() != names:
            raise ValueError(f"the optimiser's state of parameter {number} has other names than {sorted(names)}")
        for name, value in values.items():
            _check_state(f"{name} of parameter {number}", name, value, parameters[number])
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    if isinstance(optimiser, SGD):
        fill_momentum(optimiser)


def _check_state(where: str, name: str, value: Any, parameter: Tensor) -> None:
    """Check one tensor of an optimiser's state against its parameter; the device follows the parameter on loading."""
    shape = torch.Size() if name == "step" else parameter.shape
    dtype = torch.float32 if name == "step" else parameter.dtype
    if not isinstance(value, Tensor) or value.shape != shape or value.dtype != dtype:
        kind = f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{where} is {kind} and should be {tuple(shape)} of {dtype}")


def fill_momentum(optimiser: Optimizer) -> None:
    """Set the momentum of parameters without one to zero, which is equivalent.

    The fused SGD needs all or none, and a part of the model that a batch does not reach has none in the first steps.
    """
    for group in optimiser.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if "momentum_buffer" not in optimiser.state[parameter]:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


class Norms(NamedTuple):
    """Global norm of the gradient.

    Attributes:
        before: before clipping.
        after: after clipping.
    """

    before: float
    after: float


def clip_gradients(model: nn.Module, largest: float) -> Norms:
    """Clip the gradients of `model` to a global norm of at most `largest`; 0 only measures.

    (Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.) A gradient that is not finite stays unchanged.
    """
    gradients: list[Tensor] = [p.grad for p in model.parameters() if p.grad is not None]
    before = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
    if largest == 0 or before <= largest or not math.isfinite(before):
        return Norms(before, before)
    torch._foreach_mul_(gradients, largest / before)
    return Norms(before, largest)
