"""Finding where a number stopped being finite, by running the offending batch once more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from elman.errors import NonFiniteError


class Autopsy(Protocol):
    """What finds the sequences of a batch whose numbers are not finite."""

    def __call__(self, model: nn.Module, again: Callable[[], Tensor]) -> str | None:
        """Say which sequences and layers they are, in words that follow "because of"; None where none is found.

        Args:
            model: what was trained, in training mode.
            again: computes the loss of the offending batch again, with the same random numbers.
        """


def non_finite_error(
    model: nn.Module,
    again: Callable[[], Tensor],
    *,
    step: int,
    loss: float,
    norm: float | None,
    kept: int | None,
    autopsy: Autopsy | None = None,
) -> NonFiniteError:
    """Build the error for a step whose loss or gradient is infinite or not a number.

    Args:
        model: what was trained.
        again: computes the loss of the same batch again, with the same random numbers.
        step: the step's number, from 1.
        loss: the loss.
        norm: the norm of the gradient, None where the loss alone stopped the run.
        kept: the step of the last good checkpoint, None where there is none.
        autopsy: finds the sequences that are to blame; it is not asked where a weight is, which spoils all of them.
    """
    what, number = ("loss", loss) if not math.isfinite(loss) else ("gradient", norm)
    weight = broken_weight(model)
    place = weight or (first_output(model, again) if what == "loss" else last_gradient(model))
    blame = autopsy(model, again) if autopsy and not weight else None
    keeps = f"; the checkpoint of step {kept} is kept" if kept is not None else ""
    return NonFiniteError(
        f"the {what} became {number} at step {step}, first in {place or 'the loss itself'}"
        + (f", because of {blame}" if blame else ""),
        should=f"a finite {what}",
        found=str(number),
        hint=f"--set learning_rate=... ten times smaller, or a smaller --set clip=...{keeps}",
    )


def non_finite_evaluation(metric: str, value: float | None, *, step: int, kept: int | None) -> NonFiniteError:
    """Build the error for an evaluation that gives no number."""
    return NonFiniteError(
        f"{metric} became {value} in the evaluation at step {step}",
        should="a finite number",
        found=str(value),
        hint="--set learning_rate=... ten times smaller"
        + (f"; the checkpoint of step {kept} is kept" if kept is not None else ""),
    )


def broken_weight(model: nn.Module) -> str | None:
    """Name the first weight that is not finite: the update before has broken it."""
    for name, weight in model.named_parameters():
        if not is_finite(weight):
            return f"the weight {name}"
    return None


def first_output(model: nn.Module, again: Callable[[], Tensor]) -> str | None:
    """Name the first module whose output is not finite in a second run."""
    found: list[str] = []
    hooks = []
    for name, module in model.named_modules():

        def look(module: nn.Module, _: Any, output: Any, name: str = name) -> None:
            if not all(is_finite(tensor) for tensor in _tensors(output)):
                found.append(f"{name or 'the model'} ({type(module).__name__})")

        hooks.append(module.register_forward_hook(look))
    try:
        with torch.no_grad():
            again()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def last_gradient(model: nn.Module) -> str | None:
    """Name the weight nearest to the loss, in the order of the model's parts, whose gradient is not finite."""
    broken = [name for name, p in model.named_parameters() if p.grad is not None and not is_finite(p.grad)]
    return f"the gradient of {broken[-1]}" if broken else None


def is_finite(tensor: Tensor) -> bool:
    """Return whether every number of a tensor is finite; whole numbers always are."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _tensors(value)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _tensors(value)
