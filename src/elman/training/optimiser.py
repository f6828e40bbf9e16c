"""The optimisers, and the clipping of gradients by the norm of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

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
    """Stochastic gradient descent with Nesterov's momentum where there is momentum."""
    momentum = settings.momentum
    return SGD(groups, lr=settings.learning_rate, momentum=momentum, nesterov=momentum > 0, fused=fused)


OPTIMISERS: dict[str, Callable[[Groups, TrainingSettings, bool], Optimizer]] = {"adamw": adamw, "sgd": sgd}


def build_optimiser(model: nn.Module, settings: TrainingSettings) -> Optimizer:
    """Return the optimiser that the settings name, with weight decay on matrices and none on vectors."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: Groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return OPTIMISERS[settings.optimiser]([group for group in groups if group["params"]], settings, fused)


class Norms(NamedTuple):
    """The norm of the whole gradient before and after clipping."""

    before: float
    after: float


def clip_gradients(model: nn.Module, largest: float) -> Norms:
    """Scale the gradients of `model` so that their norm as one vector is at most `largest`; 0 only measures.

    (Pascanu, Mikolov and Bengio 2013, https://arxiv.org/abs/1211.5063.) A gradient that is not finite is left as it is.
    """
    gradients: list[Tensor] = [p.grad for p in model.parameters() if p.grad is not None]
    before = float(nn.utils.get_total_norm(gradients)) if gradients else 0.0
    if largest == 0 or before <= largest or not math.isfinite(before):
        return Norms(before, before)
    torch._foreach_mul_(gradients, largest / before)
    return Norms(before, largest)
